/*
 * Searchable text. The first byte chooses: a message is saved, and what was saved can be read and is found in itself;
 * or a saved form as somebody else wrote it is looked into; or bytes are normalised in pieces and as a whole.
 */
#include "mime/text_internal.h"
#include "mime/utf8.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX ((size_t)1 << 24)

static const char *const charsets[] = {"utf-8",   "iso-8859-1", "iso-2022-jp", "shift_jis",
                                       "gb18030", "koi8-r",     "euc-kr",      "big5"};

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static enum err match(struct span saved, struct span needle, bool *is_found)
{
    char *text = calloc(needle.len + 1, 1);
    struct mime_text_leaf leaves[] = {
        {.kind = MIME_TEXT_ANY, .needle = text},
        {.kind = MIME_TEXT_BODY, .needle = text},
        {.kind = MIME_TEXT_HEADER, .name = (char *)"subject", .needle = text},
        {.kind = MIME_TEXT_ADDRESS, .name = (char *)"from", .needle = text},
        {.kind = MIME_TEXT_SUBJECT, .name = (char *)"subject", .needle = (char *)""},
        {.kind = MIME_TEXT_LARGER, .number = 10},
        {.kind = MIME_TEXT_SENT_ON, .number = 0},
    };
    enum err result;

    check(text != NULL);
    memcpy(text, needle.ptr, needle.len);
    result = mime_text_match(saved, leaves, sizeof leaves / sizeof *leaves, is_found);
    free(text);
    return result;
}

static void check_message(struct span message)
{
    struct mime_tree *tree = NULL;
    struct buf saved, again;
    bool is_found[7];

    if (mime_parse(message, MIME_LIMITS_DEFAULT, &tree) != ERR_OK)
        return;
    buf_init(&saved, OUT_MAX);
    buf_init(&again, OUT_MAX);
    check(mime_text_save(tree->root, message, &saved) == ERR_OK);
    check(match(buf_span(&saved), SPAN_LIT(""), is_found) == ERR_OK);
    check(is_found[0] && is_found[1] && is_found[5] == (message.len > 10));
    /* Every name of a field stands in the text. */
    check(mime_text_save(tree->root, message, &again) == ERR_OK);
    check(span_is_equal(buf_span(&saved), buf_span(&again)));
    mime_tree_free(&tree);
    buf_fini(&saved);
    buf_fini(&again);
}

static void check_normal(struct span charset, struct span text)
{
    struct mime_text_reader reader;
    struct buf whole, pieces;

    buf_init(&whole, OUT_MAX);
    buf_init(&pieces, OUT_MAX);
    check(mime_text_normalise(text, charset, &whole) == ERR_OK);
    check(mime_utf8_is_valid(buf_span(&whole)));
    check(mime_text_reader_init(&reader, charset, &pieces) == ERR_OK);
    for (size_t at = 0; at < text.len; at++)
        check(mime_text_reader_feed(&reader, span_slice(text, at, at + 1)) == ERR_OK);
    check(mime_text_reader_end(&reader) == ERR_OK);
    mime_text_reader_fini(&reader);
    check(mime_utf8_is_valid(buf_span(&pieces)));
    /* A character that breaks off at the end is replaced in the one, and left out in the other. */
    if (span_is_equal(charset, SPAN_LIT("utf-8")))
        check(span_has_prefix(buf_span(&whole), buf_span(&pieces)) && whole.len <= pieces.len + 3);
    buf_fini(&whole);
    buf_fini(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size};
    bool is_found[7];
    struct buf out;

    if (size == 0)
        return 0;
    rest = span_skip(rest, 1);
    buf_init(&out, OUT_MAX);
    switch (data[0] % 4) {
    case 0:
        check_message(rest);
        break;
    case 1:
        (void)match(rest, span_slice(rest, 0, 3), is_found);
        break;
    case 2:
        check_normal(span_of(charsets[data[0] / 4 % 8]), rest);
        break;
    default:
        check(mime_text_add_value(rest, &out) == ERR_OK);
        check(mime_text_add_addresses(rest, &out) == ERR_OK);
        break;
    }
    buf_fini(&out);
    return 0;
}

/*
 * Encoded words: what is encoded decodes to itself (CR, LF and NUL to blanks), in words that are legal one by one;
 * whatever is decoded is UTF-8 without line ends.
 */
#include "mime/utf8.h"
#include "mime/word.h"

#include <stdlib.h>
#include <string.h>

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_text(struct span text)
{
    check(mime_utf8_is_valid(text));
    for (size_t i = 0; i < text.len; i++)
        check(text.ptr[i] != '\r' && text.ptr[i] != '\n' && text.ptr[i] != '\0');
}

/* Every word stands alone on its line and is whole UTF-8 by itself. */
static void check_words(struct span encoded)
{
    struct span line;
    while (span_take_until(&encoded, '\n', &line)) {
        struct buf alone;
        if (encoded.ptr != NULL) {
            check(line.len > 0 && line.ptr[line.len - 1] == '\r');
            line.len--;
        }
        if (span_has_prefix(line, SPAN_LIT(" ")))
            line = span_skip(line, 1);
        check(line.len <= 75 && span_has_prefix(line, SPAN_LIT("=?utf-8?")));
        for (size_t i = 0; i < line.len; i++)
            check(line.ptr[i] > ' ' && line.ptr[i] < 127);
        buf_init(&alone, 1000);
        check(mime_word_decode(line, &alone) == ERR_OK);
        check(!span_has_prefix(buf_span(&alone), SPAN_LIT("=?utf-8?")) || alone.len < line.len);
        buf_fini(&alone);
    }
}

static void check_identity(struct span text)
{
    struct buf encoded, decoded;
    buf_init(&encoded, 1 << 24);
    buf_init(&decoded, 1 << 24);
    check(mime_word_encode(text, &encoded) == ERR_OK);
    if (!span_is_equal(buf_span(&encoded), text))
        check_words(buf_span(&encoded));
    check(mime_word_decode(buf_span(&encoded), &decoded) == ERR_OK);
    check(decoded.len == text.len);
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        check(decoded.data[i] == (byte == '\r' || byte == '\n' || byte == '\0' ? ' ' : byte));
    }
    buf_fini(&encoded);
    buf_fini(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span value = {(const char *)data, size};
    struct buf out;
    buf_init(&out, 1 << 24);
    check(mime_word_decode(value, &out) == ERR_OK);
    check_text(buf_span(&out));
    check_identity(buf_span(&out));
    buf_clear(&out);
    check(mime_word_encode(value, &out) == ERR_OK);
    if (mime_utf8_is_valid(value))
        check_identity(value);
    buf_fini(&out);
    return 0;
}

/* What a client asks of FETCH, and what a server answers; the first byte says which of the two. The plain forms of
   items that were understood are understood again, with the same labels. */
#include "imap/fetch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void parse_again(const struct imap_fetch *fetch, size_t size)
{
    struct imap_fetch *again = malloc(sizeof *again);
    struct imap_cursor cursor;
    struct buf text;
    check(again != NULL);
    buf_init(&text, 10 * size + 100);
    for (size_t i = 0; i < fetch->len; i++)
        check(buf_add_string(&text, i > 0 ? " " : "(") == ERR_OK && buf_add_span(&text, fetch->items[i].raw) == ERR_OK);
    check(buf_add_string(&text, ")\r\n") == ERR_OK);
    imap_cursor_init_text(&cursor, buf_span(&text));
    check(imap_fetch_parse(&cursor, again) == ERR_OK && again->len == fetch->len);
    for (size_t i = 0; i < fetch->len; i++)
        check(span_is_equal(fetch->items[i].label, again->items[i].label));
    imap_fetch_fini(again);
    buf_fini(&text);
    free(again);
}

/* What is put together one by one is all there, each thing once, with the value that came last. */
static void gather_again(const struct imap_answer *answers, size_t len, size_t size)
{
    static struct imap_answer again[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    struct buf list;
    size_t again_len = 0;
    buf_init(&list, size + 10);
    for (size_t i = 0; i < len; i++)
        check(imap_answers_gather(&list, &answers[i], 1) == ERR_OK);
    imap_cursor_init_text(&cursor, buf_span(&list));
    check(len == 0 || imap_fetch_answers(&cursor, again, &again_len) == ERR_OK);
    check(again_len <= len && (len == 0) == (again_len == 0));
    for (size_t i = 0; i < again_len; i++)
        check(!span_is_case_equal(again[i].label, answers[len - 1].label) ||
              span_is_equal(again[i].value, answers[len - 1].value));
    buf_fini(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct imap_fetch fetch;
    static struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    size_t len;
    if (size == 0 || size > 10000)
        return 0;
    imap_cursor_init_text(&cursor, (struct span){(const char *)data + 1, size - 1});
    if (data[0] % 2 == 0) {
        if (imap_fetch_parse(&cursor, &fetch) == ERR_OK) {
            parse_again(&fetch, size);
            imap_fetch_fini(&fetch);
        }
        return 0;
    }
    if (imap_fetch_answers(&cursor, answers, &len) == ERR_OK) {
        for (size_t i = 0; i < len; i++)
            check(answers[i].label.len > 0 && answers[i].value.len > 0);
        gather_again(answers, len, size);
    }
    return 0;
}

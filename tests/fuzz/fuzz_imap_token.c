/* Values, strings and response codes out of any text: what was taken is a part of the text, what was not taken leaves
   the cursor where it was, and what is written can be read again. */
#include "imap/token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void take_all(struct span text)
{
    struct imap_cursor cursor;
    struct span raw;
    struct imap_string string;
    imap_cursor_init_text(&cursor, text);
    while (!imap_at_end(&cursor)) {
        size_t at = cursor.at;
        if (imap_take_value(&cursor, &raw)) {
            check(cursor.at > at && raw.ptr == text.ptr + at && raw.len == cursor.at - at);
            struct imap_cursor again;
            imap_cursor_init_text(&again, raw);
            check(imap_take_value(&again, &raw) && again.at == again.text.len);
        } else {
            check(cursor.at == at);
            cursor.at++;
        }
        check(cursor.at <= text.len);
    }
    for (cursor.at = 0; cursor.at < text.len; cursor.at++) {
        size_t at = cursor.at;
        uint64_t number;
        check(imap_take_code(&cursor, &raw) || cursor.at == at);
        cursor.at = at;
        check(imap_take_nstring(&cursor, &string) || cursor.at == at);
        check(cursor.at <= text.len);
        cursor.at = at;
        check(imap_take_number(&cursor, 1000, &number) || cursor.at == at);
        cursor.at = at;
        check(imap_take_name(&cursor, &raw) || cursor.at == at);
        cursor.at = at;
    }
}

static void write_and_read(struct span text)
{
    struct buf out, back;
    struct imap_cursor cursor;
    struct imap_string string;
    buf_init(&out, 3 * text.len + 100);
    buf_init(&back, text.len + 1);
    for (int form = 0; form < 3; form++) {
        buf_clear(&out);
        buf_clear(&back);
        check((form < 2 ? imap_add_astring(&out, text, form == 0) : imap_add_nstring(&out, text)) == ERR_OK);
        imap_cursor_init_text(&cursor, buf_span(&out));
        check(imap_take_nstring(&cursor, &string) && imap_at_end(&cursor) && string.kind != IMAP_NIL);
        check(imap_string_add(&string, &back) == ERR_OK && span_is_equal(buf_span(&back), text));
    }
    buf_fini(&out);
    buf_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {size > 0 ? (const char *)data : "", size};
    if (size > 4000)
        return 0;
    take_all(text);
    write_and_read(text);
    return 0;
}

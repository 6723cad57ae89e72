/*
 * Walking a header loses no byte; what mime_field_add writes is read back as the same field.
 */
#include "mime/field.h"

#include <stdlib.h>

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_added(struct span value)
{
    struct buf added, unfolded;
    struct mime_field field;
    size_t at = 0;
    enum err result;

    buf_init(&added, 1 << 20);
    buf_init(&unfolded, 1 << 20);
    result = mime_field_add(&added, "Name", value);
    if (result == ERR_OK) {
        check(mime_field_next(buf_span(&added), &at, &field) && at == added.len && mime_field_is(&field, "name"));
        check(mime_field_unfold(field.value, &unfolded) == ERR_OK);
        check(span_is_equal(buf_span(&unfolded), span_trim(value)));
    } else {
        check(result == ERR_MALFORMED && added.len == 0);
    }
    buf_fini(&added);
    buf_fini(&unfolded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span header = {(const char *)data, size}, rest;
    struct mime_field field, found;
    struct buf unfolded;
    size_t at = 0, sum = 0, named = 0;

    buf_init(&unfolded, 1 << 20);
    while (mime_field_next(header, &at, &field)) {
        /* Each field begins where the one before it ended: all together are the header. */
        check(field.whole.ptr == header.ptr + sum && field.whole.len > 0);
        check(field.value.ptr >= field.whole.ptr &&
              field.value.ptr + field.value.len <= field.whole.ptr + field.whole.len);
        sum += field.whole.len;
        check(at == sum);
        named += mime_field_is(&field, "a");
        buf_clear(&unfolded);
        check(mime_field_unfold(field.value, &unfolded) == ERR_OK);
        check(span_find_byte(buf_span(&unfolded), 0, '\r') == unfolded.len);
        check(span_find_byte(buf_span(&unfolded), 0, '\n') == unfolded.len);
        check_added(buf_span(&unfolded));
    }
    rest = span_skip(header, at);
    check(rest.len == 0 || span_has_prefix(rest, SPAN_LIT("\r\n")) || rest.ptr[0] == '\n');
    check(mime_field_count(header, "A") == named);
    check(mime_field_find(header, "A", &found) == (named > 0));
    check_added(header);
    buf_fini(&unfolded);
    return 0;
}

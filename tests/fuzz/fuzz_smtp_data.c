/* Message bytes: the only end is CRLF . CRLF however the input is cut, and what is encoded again has just one. */
#include "smtp/data.h"

#include <stdlib.h>
#include <string.h>

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_wire(struct span wire)
{
    struct buf whole;
    buf_init(&whole, 1 << 22);
    check(buf_add_string(&whole, "\r\n") == ERR_OK && buf_add_span(&whole, wire) == ERR_OK);
    struct span span = buf_span(&whole);
    check(span_find(span, 0, SPAN_LIT("\r\n.\r\n")) == span.len - 5);
    for (size_t i = 0; i < span.len; i++) {
        check(span.ptr[i] != '\0');
        check(span.ptr[i] != '\r' || (i + 1 < span.len && span.ptr[i + 1] == '\n'));
        check(span.ptr[i] != '\n' || (i > 0 && span.ptr[i - 1] == '\r'));
    }
    buf_fini(&whole);
}

static void encode_and_compare(struct span message, size_t piece)
{
    struct buf wire, back;
    buf_init(&wire, 1 << 22);
    buf_init(&back, 1 << 22);
    size_t at = 0, used = 0;
    enum err err;
    do
        err = smtp_data_encode(message, &at, piece, &wire);
    while (err == ERR_OK);
    check(err == ERR_END);
    check_wire(buf_span(&wire));
    struct smtp_data_decoder decoder;
    smtp_data_begin(&decoder, false, false);
    check(smtp_data_feed(&decoder, buf_span(&wire), &back, &used) == ERR_OK);
    check(decoder.is_ended && used == wire.len && smtp_data_judge(&decoder) == ERR_OK);
    check(back.len >= message.len && back.len <= message.len + 2);
    check(message.len == 0 || memcmp(back.data, message.ptr, message.len) == 0);
    buf_fini(&wire);
    buf_fini(&back);
}

/* The first byte says how the rest is cut and whether it is a chunk. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t piece = (size_t)(data[0] & 0x3f) + 1;
    bool is_chunked = (data[0] & 0x80) != 0;
    struct span bytes = {(const char *)data + 1, size - 1};
    struct smtp_data_decoder whole, cut;
    struct buf whole_out, cut_out;
    size_t whole_used = 0, cut_used = 0;
    buf_init(&whole_out, 1 << 22);
    buf_init(&cut_out, 1 << 22);
    smtp_data_begin(&whole, true, is_chunked);
    smtp_data_begin(&cut, true, is_chunked);
    check(smtp_data_feed(&whole, bytes, &whole_out, &whole_used) == ERR_OK);
    for (size_t at = 0; at < bytes.len && !cut.is_ended; at += piece) {
        size_t used;
        check(smtp_data_feed(&cut, span_slice(bytes, at, at + piece), &cut_out, &used) == ERR_OK);
        cut_used += used;
    }
    check(whole.is_ended == cut.is_ended && whole_used == cut_used);
    check(span_is_equal(buf_span(&whole_out), buf_span(&cut_out)));
    if (whole.is_ended)
        check(span_find(span_slice(bytes, 0, whole_used), whole_used - 3, SPAN_LIT(".\r\n")) == whole_used - 3);
    if (is_chunked)
        check(smtp_data_end(&whole, &whole_out) == ERR_OK);
    if (whole.is_ended)
        encode_and_compare(buf_span(&whole_out), piece);
    buf_fini(&whole_out);
    buf_fini(&cut_out);
    return 0;
}

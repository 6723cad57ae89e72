#include "mime/encoding_internal.h"

#include <string.h>

/* 19 groups of four columns (RFC 2045 §6.8: no more than 76). */
#define LINE_WIDTH 76

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of a digit, or -1 for bytes that are to be ignored (RFC 2045 §6.8). */
static int digit_value(char byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

/* A group that ends early: two digits are one byte, three are two; a single one is nothing. */
static void put_rest(struct mime_coder *coder, struct mime_sink *sink)
{
    for (unsigned bits = coder->bits_len; bits >= 8; bits -= 8)
        mime_sink_put(sink, (char)(coder->bits >> (bits - 8) & 0xFF));
    coder->bits = 0;
    coder->bits_len = 0;
}

/* RFC 2045 §6.8: "=" says that the end of the data has been reached; what follows it is no data. A "=" where no group
   can end is a foreign character like any other. */
enum err mime_base64_decode(struct mime_coder *coder, struct span bytes, struct buf *out)
{
    struct mime_sink sink = {.out = out};

    for (size_t i = 0; i < bytes.len && !coder->is_ended; i++) {
        int value = digit_value(bytes.ptr[i]);

        if (bytes.ptr[i] == '=' && coder->bits_len >= 12) {
            put_rest(coder, &sink);
            coder->is_ended = true;
        } else if (value >= 0) {
            coder->bits = coder->bits << 6 | (uint32_t)value;
            coder->bits_len += 6;
            if (coder->bits_len == 24)
                put_rest(coder, &sink);
        }
    }
    mime_sink_flush(&sink);
    return sink.result;
}

enum err mime_base64_decode_end(struct mime_coder *coder, struct buf *out)
{
    struct mime_sink sink = {.out = out};

    put_rest(coder, &sink);
    coder->is_ended = true;
    mime_sink_flush(&sink);
    return sink.result;
}

/* Writes the `bits_len` bits that are held as one group, padded, and breaks the line when it is full. */
static void put_group(struct mime_coder *coder, struct mime_sink *sink)
{
    uint32_t bits = coder->bits << (24 - coder->bits_len);

    for (unsigned i = 0; i < 4; i++)
        mime_sink_put(sink, i * 6 < coder->bits_len ? alphabet[bits >> (18 - 6 * i) & 63] : '=');
    coder->bits = 0;
    coder->bits_len = 0;
    coder->column += 4;
    if (coder->column == LINE_WIDTH) {
        mime_sink_put(sink, '\r');
        mime_sink_put(sink, '\n');
        coder->column = 0;
    }
}

enum err mime_base64_encode(struct mime_coder *coder, struct span bytes, struct buf *out)
{
    struct mime_sink sink = {.out = out};

    for (size_t i = 0; i < bytes.len; i++) {
        coder->bits = coder->bits << 8 | (unsigned char)bytes.ptr[i];
        coder->bits_len += 8;
        if (coder->bits_len == 24)
            put_group(coder, &sink);
    }
    mime_sink_flush(&sink);
    return sink.result;
}

enum err mime_base64_encode_end(struct mime_coder *coder, struct buf *out)
{
    struct mime_sink sink = {.out = out};

    if (coder->bits_len > 0)
        put_group(coder, &sink);
    if (coder->column > 0) {
        mime_sink_put(&sink, '\r');
        mime_sink_put(&sink, '\n');
        coder->column = 0;
    }
    mime_sink_flush(&sink);
    return sink.result;
}

/*
 * Decoding what was encoded gives the same bytes; neither depends on how the bytes are cut; what is encoded is fit to
 * be signed (RFC 3156 §3 and §5). The first byte chooses encoding and pieces.
 */
#include "mime/encoding.h"

#include <stdlib.h>
#include <string.h>

typedef enum err (*feed_fn)(struct mime_coder *coder, struct span bytes, struct buf *out);
typedef enum err (*end_fn)(struct mime_coder *coder, struct buf *out);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void run(struct mime_coder coder, struct span bytes, size_t step, feed_fn feed, end_fn end, struct buf *out)
{
    for (size_t at = 0; at < bytes.len; at += step) {
        struct span piece = span_slice(bytes, at, at + step);
        char *block = malloc(piece.len);

        check(block != NULL);
        memcpy(block, piece.ptr, piece.len);
        check(feed(&coder, (struct span){block, piece.len}, out) == ERR_OK);
        free(block);
    }
    check(end(&coder, out) == ERR_OK);
}

/* Runs a coder over the whole and over pieces, which must agree. */
static void run_both(struct mime_coder coder, struct span bytes, size_t step, feed_fn feed, end_fn end, struct buf *out)
{
    struct buf pieces;

    buf_init(&pieces, 1 << 24);
    run(coder, bytes, bytes.len + 1, feed, end, out);
    run(coder, bytes, step, feed, end, &pieces);
    check(span_is_equal(buf_span(out), buf_span(&pieces)));
    buf_fini(&pieces);
}

static void check_fit_to_sign(struct span text)
{
    struct span line;

    while (span_take_until(&text, '\n', &line)) {
        /* Every LF ends a CRLF; what follows the last is a line too. */
        check(text.ptr == NULL || (line.len > 0 && line.ptr[line.len - 1] == '\r'));
        if (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        check(line.len <= 76 && !span_has_prefix(line, SPAN_LIT("From ")) && !span_has_prefix(line, SPAN_LIT(".")));
        check(line.len == 0 || (line.ptr[line.len - 1] != ' ' && line.ptr[line.len - 1] != '\t'));
        for (size_t i = 0; i < line.len; i++)
            check(line.ptr[i] == '\t' || (line.ptr[i] >= ' ' && line.ptr[i] < 127));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mime_coder coder = {0};
    struct buf encoded, decoded;
    struct span bytes;
    size_t step;

    if (size < 1)
        return 0;
    bytes = (struct span){(const char *)data + 1, size - 1};
    coder.encoding = (data[0] & 1) != 0 ? MIME_BASE64 : MIME_QUOTED_PRINTABLE;
    coder.is_text = (data[0] & 2) != 0;
    step = (size_t)(data[0] >> 2) + 1;
    buf_init(&encoded, 1 << 24);
    buf_init(&decoded, 1 << 24);
    run_both(coder, bytes, step, mime_encode_feed, mime_encode_end, &encoded);
    check_fit_to_sign(buf_span(&encoded));
    run_both(coder, buf_span(&encoded), step, mime_decode_feed, mime_decode_end, &decoded);
    check(span_is_equal(buf_span(&decoded), bytes));
    /* And as a body from outside. */
    buf_clear(&decoded);
    run_both(coder, bytes, step, mime_decode_feed, mime_decode_end, &decoded);
    check(decoded.len <= bytes.len);
    (void)mime_encoding_parse(bytes);
    buf_fini(&encoded);
    buf_fini(&decoded);
    return 0;
}

/*
 * The two encodings that change bytes; mime/encoding.c chooses between them. The rules are those of mime/encoding.h.
 */
#ifndef MIME_ENCODING_INTERNAL_H
#define MIME_ENCODING_INTERNAL_H

#include "mime/encoding.h"

ERR_RETURN enum err mime_base64_decode(struct mime_coder *coder, struct span bytes, struct buf *out);
ERR_RETURN enum err mime_base64_decode_end(struct mime_coder *coder, struct buf *out);
ERR_RETURN enum err mime_base64_encode(struct mime_coder *coder, struct span bytes, struct buf *out);
ERR_RETURN enum err mime_base64_encode_end(struct mime_coder *coder, struct buf *out);

ERR_RETURN enum err mime_qp_decode(struct mime_coder *coder, struct span bytes, struct buf *out);
ERR_RETURN enum err mime_qp_decode_end(struct mime_coder *coder, struct buf *out);
ERR_RETURN enum err mime_qp_encode(struct mime_coder *coder, struct span bytes, struct buf *out);
ERR_RETURN enum err mime_qp_encode_end(struct mime_coder *coder, struct buf *out);

/* Output is gathered here and added in pieces; a failed addition is remembered. */
struct mime_sink {
    struct buf *out;
    enum err result;
    size_t len;
    char bytes[1024];
};

static inline void mime_sink_flush(struct mime_sink *sink)
{
    if (sink->result == ERR_OK)
        sink->result = buf_add(sink->out, sink->bytes, sink->len);
    sink->len = 0;
}

static inline void mime_sink_put(struct mime_sink *sink, char byte)
{
    if (sink->len == sizeof sink->bytes)
        mime_sink_flush(sink);
    sink->bytes[sink->len++] = byte;
}

#endif

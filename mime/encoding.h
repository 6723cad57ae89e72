/*
 * Content transfer encodings, piece by piece (RFC 2045 §6).
 *
 * Decoders are lenient as mail programs are (base64 with foreign characters, quoted-printable with bad escapes) and
 * bounded by the maximum of the buffer they write to. Encoders write CRLF lines of at most 76 columns.
 */
#ifndef MIME_ENCODING_H
#define MIME_ENCODING_H

#include "base/buf.h"
#include "mime/part.h"

/* State of one decoding or encoding in progress; start with a zeroed struct and set `encoding`. */
struct mime_coder {
    enum mime_encoding encoding;
    uint32_t bits;
    unsigned bits_len;
    unsigned column;
    char held[80];
    size_t held_len;
    bool is_ended;
    bool is_text; /* encoders: CRLF is a line break and stays one; otherwise CR and LF are data */
};

/* Decodes the next piece; 7bit, 8bit, binary and unknown encodings copy. */
ERR_RETURN enum err mime_decode_feed(struct mime_coder *coder, struct span bytes, struct buf *out);
ERR_RETURN enum err mime_decode_end(struct mime_coder *coder, struct buf *out);
/* Encodes the next piece as quoted-printable or base64. Quoted-printable protects trailing blanks, "From " at a line's
   start and a lone dot, so that the result is safe to sign (RFC 3156 §3, §5). */
ERR_RETURN enum err mime_encode_feed(struct mime_coder *coder, struct span bytes, struct buf *out);
ERR_RETURN enum err mime_encode_end(struct mime_coder *coder, struct buf *out);

/* Decodes a whole body. */
ERR_RETURN enum err mime_decode(enum mime_encoding encoding, struct span body, struct buf *out);
/* The encoding a raw Content-Transfer-Encoding value names. */
enum mime_encoding mime_encoding_parse(struct span value);
const char *mime_encoding_name(enum mime_encoding encoding);

#endif

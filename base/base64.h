/*
 * Base64 (RFC 4648 §4) of short strings that are wholly in memory: SASL responses, armour checks, keys in headers.
 * MIME bodies, which are decoded piece by piece and leniently, have their own coder in mime/encoding.h.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

/* Adds the encoding of `bytes`, padded, without line breaks. */
ERR_RETURN enum err base64_encode(struct span bytes, struct buf *out);
/* Adds the decoding of `text`; strict: canonical padding, no blanks. ERR_MALFORMED otherwise, then `out` is as before.
 */
ERR_RETURN enum err base64_decode(struct span text, struct buf *out);

#endif

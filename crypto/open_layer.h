/*
 * Cryptographic layers of an incoming message, from the outermost inwards (RFC 9787 §4.4): a layer is one only if it is
 * the whole of what it stands in.
 */
#ifndef CRYPTO_OPEN_LAYER_H
#define CRYPTO_OPEN_LAYER_H

#include "base/buf.h"
#include "mime/part.h"

enum crypto_layer_kind {
    CRYPTO_LAYER_NONE = 0,
    CRYPTO_LAYER_ENCRYPTED,   /* PGP/MIME, also as Exchange mangles it */
    CRYPTO_LAYER_INLINE,      /* armour as the sole text/plain body */
    CRYPTO_LAYER_SIGNED,      /* multipart/signed by OpenPGP */
    CRYPTO_LAYER_CLEARSIGNED, /* clear-signed text as the sole text/plain body */
    CRYPTO_LAYER_SMIME_ENCRYPTED,
    CRYPTO_LAYER_SMIME_SIGNED, /* multipart/signed by S/MIME */
    CRYPTO_LAYER_SMIME_OPAQUE, /* signed-data with its text inside */
    CRYPTO_LAYER_SMIME_COMPRESSED
};

struct crypto_layer {
    enum crypto_layer_kind kind;
    struct span cipher;             /* armour of the encrypted kinds; CMS, where the text is inside */
    struct span content, signature; /* what the signed kinds sign, and with what */
    const struct mime_part *signed_part;
    struct buf texts[2]; /* own what had to be decoded */
};

/* The layer that `part` of `bytes` is as a whole. Decoded text is at most as long as the part. */
ERR_RETURN enum err crypto_layer_find(const struct mime_part *part, struct span bytes, struct crypto_layer *layer_out);
void crypto_layer_fini(struct crypto_layer *layer);

/* Whether any part below (or at) `part` is encrypted or signed by itself, beside others. */
ERR_RETURN enum err crypto_layer_scan(const struct mime_part *part, struct span bytes, bool *has_encrypted_out,
                                      bool *has_signed_out);

#endif

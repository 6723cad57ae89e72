/*
 * Where S/MIME writes to: layers that are pushed through one another, so that no layer is held in memory. A writer ends
 * either in a memory file or in the layer around it, and is given to OpenSSL as a BIO that encodes in base64. Who may
 * include this: crypto/smime_*.c and engine_smime.c.
 */
#ifndef CRYPTO_SMIME_OUT_H
#define CRYPTO_SMIME_OUT_H

#include "mime/encoding.h"
#include "mime/pieces.h"

#include <openssl/bio.h>

struct crypto_smime_out {
    int fd; /* where it ends, if `next` is NULL */
    size_t size_max;
    BIO *next;
    struct mime_coder coder;
    struct buf text;
    enum err err; /* the first that was met; all later writes fail with it */
};

/* `next` NULL: appends to `fd`, which may grow to `size_max` bytes. */
void crypto_smime_out_init(struct crypto_smime_out *out, int fd, size_t size_max, BIO *next);
void crypto_smime_out_fini(struct crypto_smime_out *out);
/* Bytes as they are: header fields, boundaries. Not between the writes to a BIO and crypto_smime_out_end. */
ERR_RETURN enum err crypto_smime_out_text(struct crypto_smime_out *out, struct span text);
ERR_RETURN enum err crypto_smime_out_pieces(struct crypto_smime_out *out, const struct mime_pieces *pieces);
/* A BIO that writes base64 in lines (RFC 2045 §6.8) to `out`; the caller frees it. NULL: no memory. */
BIO *crypto_smime_out_bio(struct crypto_smime_out *out);
/* Ends the base64, with a line end. */
ERR_RETURN enum err crypto_smime_out_end(struct crypto_smime_out *out);

/* Writes all of `pieces` to `bio`. ERR_ENGINE if it does not take them. */
ERR_RETURN enum err crypto_smime_write(BIO *bio, const struct mime_pieces *pieces);

#endif

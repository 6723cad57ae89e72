/*
 * The engines that seal, behind one table: what each adds to a payload that seal.c and own.c have made ready, and how
 * its own work is told from anything else when the result is read again. Who adds an engine adds a row to engine.c.
 *
 * Runs in a keeper and in `privyseal seal`; only crypto/seal*.c, crypto/own.c, the engines and tests include this.
 */
#ifndef CRYPTO_ENGINE_H
#define CRYPTO_ENGINE_H

#include "crypto/seal.h"
#include "mime/pieces.h"

struct crypto_engine_job {
    struct keyring_gpg *gpg; /* NULL: none */
    const struct crypto_seal_request *request;
    struct span outer;                 /* the outer header, less what says how the body is to be read */
    const struct mime_pieces *payload; /* header and body, with CRLF line ends */
    bool is_signed;                    /* write_encrypted: signed by request->signer, too */
    bool is_own;                       /* the payload must come back byte for byte, whatever is in it */
    int fd;
    size_t output_max; /* bytes that the file may hold */
};

struct crypto_engine {
    const char *name;
    enum keyring_format format;
    /* Whether it has what it takes; the first of a format that does is taken. */
    bool (*can_seal)(const struct keyring_gpg *gpg, const struct crypto_seal_request *request);
    /* Append the whole message to the file. Errors as crypto_seal gives them; what the file holds then is worthless. */
    enum err (*write_signed)(const struct crypto_engine_job *job);
    enum err (*write_encrypted)(const struct crypto_engine_job *job);
    /* Strict: the whole of `message` is what one of the two writes. */
    bool (*is_signed)(struct span message, const struct mime_tree *tree);
    bool (*is_encrypted)(struct span message, const struct mime_tree *tree);
};

extern const struct crypto_engine crypto_engine_openpgp, crypto_engine_smime;

/* NULL: there is none for what the request asks. */
const struct crypto_engine *crypto_engine_find(const struct keyring_gpg *gpg,
                                               const struct crypto_seal_request *request);

/* What every multipart/signed has: two parts, and nothing more. */
bool crypto_engine_has_two_parts(const struct mime_tree *tree);

#endif

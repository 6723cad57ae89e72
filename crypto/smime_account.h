/*
 * What the S/MIME engine has of an account: anchors, certificates, and a way to its private keys. Given to seal and
 * open by the keeper or the command line; where there is nothing of the kind, NULL.
 */
#ifndef CRYPTO_SMIME_ACCOUNT_H
#define CRYPTO_SMIME_ACCOUNT_H

#include "keyring/certificates.h"

#include <openssl/evp.h>

/* The private key of one of the account's own certificates; the caller frees it (EVP_PKEY_free; they are counted).
   ERR_NO_KEY: there is none; ERR_KEY_LOCKED: not now (`asks_person`: whether somebody may be asked for a PIN). */
typedef enum err (*crypto_private_key_fn)(void *context, const struct keyring_certificate *certificate,
                                          bool asks_person, EVP_PKEY **key_out);

/* How a chain that verified stands with its issuers' revocation lists and responders, leaf first; NULL: none did, so
   that nobody can be asked. ERR_OK: none of it is revoked, or nobody asks for that; ERR_REVOKED: one is; ERR_LOOKUP: it
   could not be learnt, and must be. `*is_unknown_out`: it could not be learnt, and need not be. */
typedef enum err (*crypto_revocation_fn)(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out);

enum crypto_smime_content { CRYPTO_SMIME_AUTO = 0, CRYPTO_SMIME_GCM, CRYPTO_SMIME_CBC };

struct crypto_smime {
    const struct keyring_anchors *anchors;     /* NULL: no chain leads anywhere */
    struct keyring_certificates *certificates; /* current */
    crypto_private_key_fn private_key;         /* NULL: there are none */
    crypto_revocation_fn revocation;           /* NULL: nobody asks */
    void *context;                             /* of both */
    bool is_opaque;                    /* signs with the text inside (RFC 8551 §3.5.2), not beside it (§3.5.3) */
    bool is_pss;                       /* RSA signatures by PSS (RFC 4056) */
    bool is_oaep;                      /* RSA key transport by OAEP (RFC 3560) */
    bool is_compressed;                /* compresses what it encrypts (RFC 3274) */
    enum crypto_smime_content content; /* AUTO: GCM where all recipients are known to take it */
};

#endif

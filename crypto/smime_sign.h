/*
 * CMS signed-data over a payload (RFC 8551 §3.5, RFC 5652 §5), through OpenSSL: with a hash that fits the key, the
 * signer's certificate and its issuers, and the signed attributes that mail has (content type, digest, time, what this
 * program reads, and which certificate it is: RFC 5035).
 */
#ifndef CRYPTO_SMIME_SIGN_H
#define CRYPTO_SMIME_SIGN_H

#include "mime/pieces.h"

#include <openssl/bio.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

struct crypto_smime_signer {
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) * path;    /* that verified, from the certificate on; NULL: none did, and it is made of `issuers` */
    STACK_OF(X509) * issuers; /* those that may help a reader; NULL: none. Only its own are taken, roots left out. */
    bool is_pss;              /* of an RSA key (RFC 4056), with a salt as long as the hash */
    int64_t at;               /* the signing time, seconds */
};

#define CRYPTO_SMIME_SIGNATURE_MAX ((size_t)1048576)

/* Adds the DER of a signature that stands beside the payload; `*micalg_out` is its hash as RFC 8551 §3.5.3.2 names it,
   static. ERR_NO_SIGNING_KEY: the key is none for this certificate; ERR_ENGINE. */
ERR_RETURN enum err crypto_smime_sign(const struct crypto_smime_signer *signer, const struct mime_pieces *payload,
                                      struct buf *der_out, const char **micalg_out);
/* Writes BER with the payload inside to `out`, piece by piece. */
ERR_RETURN enum err crypto_smime_sign_opaque(const struct crypto_smime_signer *signer,
                                             const struct mime_pieces *payload, BIO *out);

#endif

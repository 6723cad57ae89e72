/*
 * CMS enveloped-data and authEnveloped-data (RFC 5652 §6, RFC 5083, RFC 8551 §3.3 and §3.4), through OpenSSL, written
 * while the content comes.
 */
#ifndef CRYPTO_SMIME_ENCRYPT_H
#define CRYPTO_SMIME_ENCRYPT_H

#include "crypto/smime_stream.h"

#include <stdbool.h>

struct crypto_smime_envelope {
    STACK_OF(X509) * recipients; /* judged by the caller */
    bool is_gcm;                 /* authEnveloped-data with AES-256-GCM, else enveloped-data with AES-256-CBC */
    bool is_oaep;                /* RSA keys: OAEP with SHA-256 (RFC 3560), else PKCS #1 v1.5 */
};

struct crypto_smime_encrypting {
    CMS_ContentInfo *cms;
    struct crypto_smime_stream stream; /* its bio takes the content */
};

/* RSA recipients get the key by key transport, those with a curve by ECDH (KeyAgreeRecipientInfo) with AES-256 key wrap
   and the X9.63 KDF with a hash that fits the curve. ERR_NO_RECIPIENTS: there are none; ERR_NO_KEY: a certificate is of
   a kind that nothing can be encrypted to; ERR_ENGINE. After an error there is nothing to end. */
ERR_RETURN enum err crypto_smime_encrypt_begin(const struct crypto_smime_envelope *envelope, BIO *out,
                                               struct crypto_smime_encrypting *encrypting_out);
/* Ends what was begun, and frees it; `so_far` as for crypto_smime_stream_end. */
ERR_RETURN enum err crypto_smime_encrypt_end(struct crypto_smime_encrypting *encrypting, enum err so_far);

#endif

/*
 * What the files that make up keyring/x509_key.h share. Nobody else includes this.
 */
#ifndef KEYRING_X509_KEY_INTERNAL_H
#define KEYRING_X509_KEY_INTERNAL_H

#include "keyring/x509_key.h"

#include <openssl/pkcs12.h>

/* ---- x509_key.c ---- */
/* Adds a key, which it takes over in any case, unless it is there already. */
ERR_RETURN enum err keyring_key_files_take(struct keyring_key_files *files, EVP_PKEY *key);

/* ---- x509_pbe.c: how a file has a passphrase hashed ---- */
/* What is left of the work that one file may ask for. */
struct keyring_key_work {
    uint64_t left;
};
/* ERR_LIMIT: more than is left. */
ERR_RETURN enum err keyring_key_work_spend(struct keyring_key_work *work, uint64_t iterations);
/* Looks at what must be done to decrypt by this algorithm. ERR_KEY_UNUSABLE: it is none that we know. */
ERR_RETURN enum err keyring_key_work_for(struct keyring_key_work *work, const X509_ALGOR *algorithm);

/* ---- x509_pkcs12.c ---- */
/* For the ciphers of old files; NULL if there is no memory. Lives as long as the process. */
OSSL_LIB_CTX *keyring_key_legacy(void);
/* As keyring_key_files_read. */
ERR_RETURN enum err keyring_key_pkcs12_read(struct keyring_key_files *files, PKCS12 *file,
                                            const struct secret *passphrase, struct keyring_key_work *work);
/* A PKCS#8 key that is encrypted. */
ERR_RETURN enum err keyring_key_pkcs8_read(struct keyring_key_files *files, const X509_SIG *sealed,
                                           const struct secret *passphrase, struct keyring_key_work *work);

#endif

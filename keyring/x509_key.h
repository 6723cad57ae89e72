/*
 * Private keys of X.509 certificates: read from the files in which people have them (PKCS#12, RFC 7292; PKCS#8, RFC
 * 5958; the older forms of OpenSSL; PEM or DER), matched with their certificates, and the form in which they are kept.
 *
 * Old PKCS#12 files need ciphers that nothing else here may use: those live in a library context of their own, and what
 * was read is handed over to the ordinary one. How often a file has a passphrase hashed is bounded before that is done.
 * Runs in the command line; keepers load what was kept.
 */
#ifndef KEYRING_X509_KEY_H
#define KEYRING_X509_KEY_H

#include "base/buf.h"
#include "base/secret.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#define KEYRING_KEY_FILE_MAX ((size_t)4 << 20)
#define KEYRING_KEY_SAVED_MAX ((size_t)16384)
#define KEYRING_KEY_ITERATIONS_MAX ((uint64_t)10000000) /* in one file, all that it asks for together */
#define KEYRING_KEY_PASSPHRASE_MAX ((size_t)1024)
#define KEYRING_KEYS_MAX 64
#define KEYRING_KEY_CERTIFICATES_MAX 256

struct keyring_key_pair {
    X509 *certificate; /* NULL: none that belongs to the key has been read yet */
    EVP_PKEY *key;
};

/* What was read, from one file or several. */
struct keyring_key_files {
    struct keyring_key_pair pairs[KEYRING_KEYS_MAX];
    size_t pairs_len;
    STACK_OF(X509) * others; /* certificates that belong to none of the keys: issuers, mostly; may be NULL */
    uint64_t iterations_max; /* that one file may ask for */
};

/* `iterations_max`: KEYRING_KEY_ITERATIONS_MAX where a person waits. */
void keyring_key_files_init(struct keyring_key_files *files, uint64_t iterations_max);
void keyring_key_files_fini(struct keyring_key_files *files);

/* Adds what is in a file. Without a passphrase (NULL or empty) only what needs none is read. After an error some
   of it may have been added; reading the file again adds nothing twice.
   ERR_KEY_LOCKED: it takes a passphrase, and none was given; ERR_AUTH_FAILED: this one does not open it;
   ERR_MALFORMED: no file of any of these kinds, or damaged; ERR_LIMIT: it asks for too much work, or holds too many;
   ERR_KEY_UNUSABLE: a key, or a cipher, that cannot be used here. */
ERR_RETURN enum err keyring_key_files_read(struct keyring_key_files *files, struct span bytes,
                                           const struct secret *passphrase);
/* Adds a certificate, which belongs to one of the keys or to the others. */
ERR_RETURN enum err keyring_key_files_add(struct keyring_key_files *files, X509 *certificate);

/* Whether the two belong together and the key's own numbers fit each other. */
bool keyring_key_fits(X509 *certificate, EVP_PKEY *key);

/* As it is kept: adds PKCS#8 (DER, in clear) to a secret buffer. */
ERR_RETURN enum err keyring_key_save(EVP_PKEY *key, struct buf *out);
/* ERR_MALFORMED. The caller frees the key. */
ERR_RETURN enum err keyring_key_load(struct span saved, EVP_PKEY **key_out);

/* Adds a PKCS#12 file: AES-256, PBKDF2 with SHA-256. `issuers` may be NULL. */
ERR_RETURN enum err keyring_key_export(X509 *certificate, EVP_PKEY *key, STACK_OF(X509) * issuers,
                                       const struct secret *passphrase, struct buf *out);

#endif

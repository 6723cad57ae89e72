/*
 * The four OpenPGP operations that sealing and opening need, through GPGME, with their results judged strictly
 * (design 1.1.2 and 1.1.4). Runs in keepers and the command line.
 */
#ifndef CRYPTO_OPENPGP_H
#define CRYPTO_OPENPGP_H

#include "crypto/decision.h"
#include "keyring/gpg.h"
#include "mime/pieces.h"

/* Makes a detached armoured signature over `content`; `micalg_out` is the RFC 3156 name ("pgp-sha512"). */
ERR_RETURN enum err crypto_openpgp_sign(struct keyring_gpg *gpg, const char *signer, const struct mime_pieces *content,
                                        struct buf *signature_out, char micalg_out[24]);
/* Encrypts `content` (and signs it if `signer` is not "") to the keys in the files `key_files`, armoured, appended to
   `fd` up to `output_max` bytes with CRLF line ends. Fails if any recipient could not be used. A signing key that is
   locked may bring up a pinentry only if `asks_person`. */
ERR_RETURN enum err crypto_openpgp_encrypt(struct keyring_gpg *gpg, const char *signer, bool asks_person,
                                           const char *const *key_files, size_t key_files_len,
                                           const struct mime_pieces *content, int fd, uint64_t output_max);

struct crypto_openpgp_opened {
    struct buf text; /* plain text: empty unless everything below was checked */
    struct crypto_signature signatures[8];
    size_t signatures_len;
    bool is_encrypted;
    char session_key[CRYPTO_SESSION_KEY_SIZE]; /* with which the text was encrypted; "" if the engine did not tell */
};
void crypto_openpgp_opened_fini(struct crypto_openpgp_opened *opened);

struct crypto_openpgp_how {
    size_t text_max;         /* bounds the expansion */
    bool asks_person;        /* a key that is locked may bring up a pinentry; else it is ERR_KEY_LOCKED at once */
    const char *session_key; /* of an earlier opening: no key is used, and no signature is checked; NULL or "": none */
};
/* Decrypts wholly, checks wholly (return code and mdc_method == 2), then gives the text. ERR_DECRYPT for every failure
   that depends on the data, ERR_KEY_LOCKED if the key is locked or could not be unlocked. */
ERR_RETURN enum err crypto_openpgp_decrypt(struct keyring_gpg *gpg, struct span cipher,
                                           const struct crypto_openpgp_how *how,
                                           struct crypto_openpgp_opened *opened_out);
/* Encrypts something to the key and decrypts it again, so that a card asks the person for its PIN if it wants it.
   ERR_KEY_LOCKED: declined, or the card is not there; ERR_NO_KEY: nothing can be encrypted to it any more. */
ERR_RETURN enum err crypto_openpgp_unlock_card(struct keyring_gpg *gpg, const char *key_cache_dir,
                                               const char *fingerprint);
/* Verifies a detached signature over `content`. */
ERR_RETURN enum err crypto_openpgp_verify(struct keyring_gpg *gpg, struct span signature, struct span content,
                                          struct crypto_openpgp_opened *opened_out);

#endif

/*
 * Keys of the store as an OpenPGP message to oneself: encrypted to an own key and signed by one, so that nobody else
 * can read them, nor put others in their place. Runs in keepers.
 */
#ifndef CRYPTO_WRAP_H
#define CRYPTO_WRAP_H

#include "crypto/openpgp.h"

#define CRYPTO_WRAP_SECRET_MAX ((size_t)4096)
#define CRYPTO_WRAP_MAX ((size_t)65536)
#define CRYPTO_HOLDER_SIZE (KEYRING_FPR_SIZE + 1 + 64)

/* Names the state that the public key is in: its fingerprint, a blank, and a digest of it as others encrypt to it. It
   differs when a subkey has come or gone. ERR_NO_KEY. */
ERR_RETURN enum err crypto_wrap_holder(struct keyring_gpg *gpg, const char *key_cache_dir, const char *reader,
                                       const char *signer, char holder_out[CRYPTO_HOLDER_SIZE]);
/* Adds `secret`, encrypted to `reader` and signed by `signer`, of both of which the secret part must be here
   (ERR_NO_SIGNING_KEY otherwise); it was opened once to see that it can be. A locked key may bring up a pinentry only
   if `asks_person`, else it is ERR_KEY_LOCKED. */
ERR_RETURN enum err crypto_wrap(struct keyring_gpg *gpg, const char *key_cache_dir, const char *reader,
                                const char *signer, bool asks_person, struct span secret, struct buf *out);
/* Adds what was wrapped to a secret buffer. ERR_KEY_LOCKED: the key is here, but locked; ERR_DECRYPT: this cannot be
   opened with the keys that are here, is not whole, or was not signed by one of them. */
ERR_RETURN enum err crypto_unwrap(struct keyring_gpg *gpg, bool asks_person, struct span wrapped, struct buf *out);

#endif

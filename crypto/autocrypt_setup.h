/*
 * The Autocrypt setup message (level 1, section 4.4): an own secret key on its way to another mail program, under a
 * code that a person carries over.
 *
 * A message to oneself whose second part holds OpenPGP armour, encrypted under the code by AES-256; inside is the
 * secret key in armour, as gpg-agent gives it: with the key's own passphrase, if it has one. In the command line.
 */
#ifndef CRYPTO_AUTOCRYPT_SETUP_H
#define CRYPTO_AUTOCRYPT_SETUP_H

#include "base/secret.h"
#include "keyring/autocrypt.h"
#include "keyring/gpg.h"

#define CRYPTO_SETUP_CODE_LEN 44u          /* nine blocks of four digits with dashes between */
#define CRYPTO_SETUP_MAX ((size_t)1048576) /* bytes of what is read or written */

/* A new code. */
ERR_RETURN enum err crypto_setup_code(struct secret *code_out);
/* What a person typed: 36 digits with whatever stands between them, in the form that counts; anything else stays. */
ERR_RETURN enum err crypto_setup_normalise(struct span typed, struct secret *code_out);
/* Adds the message for the own key `fingerprint`. `at`: its Date. ERR_NOT_FOUND: there is no such secret key. */
ERR_RETURN enum err crypto_setup_write(struct keyring_gpg *gpg, const char *fingerprint, const char *address,
                                       enum keyring_preference preference, const struct secret *code, int64_t at,
                                       struct buf *out);

struct crypto_setup {
    struct buf armour;
    char begin[8];   /* the code's first digits, for the person; "" */
    bool is_numeric; /* Passphrase-Format: numeric9x4 */
};
/* Whether the file is a message that says it is one, of version 1. */
bool crypto_setup_is(struct span message);
/* Takes its encrypted part out. ERR_MALFORMED. The caller finishes `setup_out` after ERR_OK. */
ERR_RETURN enum err crypto_setup_read(struct span message, struct crypto_setup *setup_out);
void crypto_setup_fini(struct crypto_setup *setup);
/* Adds the secret key, in armour. ERR_AUTH_FAILED: the code is another one. ERR_MALFORMED: it was not encrypted under a
   code alone with its integrity protected, or holds no secret key. */
ERR_RETURN enum err crypto_setup_open(struct keyring_gpg *gpg, const struct crypto_setup *setup,
                                      const struct secret *code, struct buf *key_out);

#endif

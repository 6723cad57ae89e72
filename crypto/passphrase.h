/*
 * A key made of a person's passphrase by scrypt (RFC 7914), and the recipe by which the same key is made again.
 *
 * It takes half a second and 128 MB, so that guessing is dear: in keepers and the command line, never in a loop that
 * serves others.
 */
#ifndef CRYPTO_PASSPHRASE_H
#define CRYPTO_PASSPHRASE_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

#define CRYPTO_PASSPHRASE_KEY_SIZE 32
#define CRYPTO_RECIPE_SIZE 64
#define CRYPTO_RECIPE_SALT_LEN 32 /* hexadecimal digits */

/* "scrypt 17 8 1 <salt>": log2 of N, r, p; the salt is random, and different each time. */
ERR_RETURN enum err crypto_recipe_new(char recipe_out[CRYPTO_RECIPE_SIZE]);
/* The salt, which names this recipe and no other; borrowed. ERR_MALFORMED: it is none, or wants less than is safe or
   more than 256 MB. */
ERR_RETURN enum err crypto_recipe_salt(const char *recipe, struct span *salt_out);
/* The caller wipes the key. ERR_MALFORMED as above; ERR_MEMORY: there is not as much as it takes. */
ERR_RETURN enum err crypto_passphrase_key(const char *recipe, struct span passphrase,
                                          uint8_t key_out[CRYPTO_PASSPHRASE_KEY_SIZE]);

#endif

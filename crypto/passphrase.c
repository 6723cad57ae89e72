#include "crypto/passphrase.h"

#include "base/log.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdio.h>

#define LOG_N 17
#define LOG_N_MIN 15
#define LOG_N_MAX 18
#define BLOCK 8 /* r: with N it gives the memory, 128 * N * r */
#define LANES 1 /* p */
#define LANES_MAX 4
#define MEMORY_MAX ((uint64_t)1 << 28)
#define MEMORY_MORE ((uint64_t)1 << 20)

struct recipe {
    uint64_t log_n, block, lanes;
    struct span salt;
};

enum err crypto_recipe_new(char recipe[CRYPTO_RECIPE_SIZE])
{
    uint8_t salt[CRYPTO_RECIPE_SALT_LEN / 2];
    if (RAND_bytes(salt, sizeof salt) != 1)
        return ERR_INTERNAL;
    size_t len = (size_t)snprintf(recipe, CRYPTO_RECIPE_SIZE, "scrypt %d %d %d ", LOG_N, BLOCK, LANES);
    for (size_t i = 0; i < sizeof salt; i++, len += 2)
        (void)snprintf(recipe + len, CRYPTO_RECIPE_SIZE - len, "%02x", salt[i]);
    return ERR_OK;
}

static bool take_number(struct span *rest, uint64_t min, uint64_t max, uint64_t *number_out)
{
    struct span word;
    return span_take_until(rest, ' ', &word) && span_to_u64(word, max, number_out) && *number_out >= min;
}

static bool is_salt(struct span salt)
{
    for (size_t i = 0; i < salt.len; i++)
        if (span_find_byte(SPAN_LIT("0123456789abcdef"), 0, salt.ptr[i]) == 16)
            return false;
    return salt.len == CRYPTO_RECIPE_SALT_LEN;
}

static enum err read_recipe(const char *text, struct recipe *recipe)
{
    struct span rest = span_of(text), word;
    if (!span_take_until(&rest, ' ', &word) || !span_is_equal(word, SPAN_LIT("scrypt")) ||
        !take_number(&rest, LOG_N_MIN, LOG_N_MAX, &recipe->log_n) ||
        !take_number(&rest, BLOCK, BLOCK, &recipe->block) || !take_number(&rest, LANES, LANES_MAX, &recipe->lanes) ||
        !is_salt(rest))
        return log_failure(ERR_MALFORMED, "how a key is made of a passphrase");
    recipe->salt = rest;
    return ERR_OK;
}
_Static_assert(((uint64_t)128 * BLOCK << LOG_N_MAX) <= MEMORY_MAX, "no recipe takes more");

enum err crypto_recipe_salt(const char *text, struct span *salt)
{
    struct recipe recipe;
    enum err err = read_recipe(text, &recipe);
    if (err == ERR_OK)
        *salt = recipe.salt;
    return err;
}

static enum err derive(const struct recipe *recipe, struct span passphrase, uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE])
{
    uint64_t n = (uint64_t)1 << recipe->log_n, block = recipe->block, lanes = recipe->lanes;
    uint64_t memory_max = MEMORY_MAX + MEMORY_MORE;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)(uintptr_t)passphrase.ptr, passphrase.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)recipe->salt.ptr, recipe->salt.len),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_R, &block),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_P, &lanes),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory_max),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    /* Of what it needs nothing but memory can be missing. */
    bool is_made = context != NULL && EVP_KDF_derive(context, key, CRYPTO_PASSPHRASE_KEY_SIZE, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return is_made ? ERR_OK : log_failure(ERR_MEMORY, "making a key of a passphrase");
}

enum err crypto_passphrase_key(const char *text, struct span passphrase, uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE])
{
    struct recipe recipe;
    enum err err = read_recipe(text, &recipe);
    /* A password of no bytes must still be a pointer. */
    if (err == ERR_OK && passphrase.len == 0)
        passphrase = SPAN_LIT("");
    return err == ERR_OK ? derive(&recipe, passphrase, key) : err;
}

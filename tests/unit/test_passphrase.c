/* A key is made of a passphrase, always the same one, and by no recipe that is too weak or too dear. */
#include "crypto/passphrase.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SALT "00112233445566778899aabbccddeeff"
#define SMALL "scrypt 15 8 1 " SALT

static void the_same_in_every_version(void **state)
{
    /* hashlib.scrypt(b"correct horse", salt=SALT, n=2**15, r=8, p=1, dklen=32) of Python. */
    static const uint8_t wanted[CRYPTO_PASSPHRASE_KEY_SIZE] = {
        0x5c, 0x4e, 0xfa, 0xc9, 0xc8, 0xcf, 0xe2, 0xa1, 0x94, 0x5d, 0xd1, 0x85, 0x2a, 0x99, 0xd5, 0x7d,
        0xb1, 0xeb, 0x07, 0x12, 0x32, 0xb2, 0x72, 0x1f, 0xcd, 0x09, 0x9f, 0x53, 0x92, 0xab, 0x81, 0xcf};
    uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE], other[CRYPTO_PASSPHRASE_KEY_SIZE];
    (void)state;
    assert_int_equal(crypto_passphrase_key(SMALL, SPAN_LIT("correct horse"), key), ERR_OK);
    assert_memory_equal(key, wanted, sizeof key);
    assert_int_equal(crypto_passphrase_key(SMALL, SPAN_LIT("correct horsE"), other), ERR_OK);
    assert_memory_not_equal(key, other, sizeof key);
    assert_int_equal(crypto_passphrase_key("scrypt 15 8 2 " SALT, SPAN_LIT("correct horse"), other), ERR_OK);
    assert_memory_not_equal(key, other, sizeof key);
    assert_int_equal(
        crypto_passphrase_key("scrypt 15 8 1 10112233445566778899aabbccddeeff", SPAN_LIT("correct horse"), other),
        ERR_OK);
    assert_memory_not_equal(key, other, sizeof key);
    assert_int_equal(crypto_passphrase_key(SMALL, SPAN_NONE, other), ERR_OK);
}

static void a_new_recipe(void **state)
{
    char recipe[CRYPTO_RECIPE_SIZE], other[CRYPTO_RECIPE_SIZE];
    uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE], again[CRYPTO_PASSPHRASE_KEY_SIZE];
    struct span salt;
    (void)state;
    assert_int_equal(crypto_recipe_new(recipe), ERR_OK);
    assert_int_equal(crypto_recipe_new(other), ERR_OK);
    assert_string_not_equal(recipe, other);
    assert_int_equal(strncmp(recipe, "scrypt 17 8 1 ", 14), 0);
    assert_int_equal(crypto_recipe_salt(recipe, &salt), ERR_OK);
    assert_int_equal(salt.len, CRYPTO_RECIPE_SALT_LEN);
    assert_ptr_equal(salt.ptr, recipe + 14);
    assert_int_equal(crypto_passphrase_key(recipe, SPAN_LIT("p"), key), ERR_OK);
    assert_int_equal(crypto_passphrase_key(recipe, SPAN_LIT("p"), again), ERR_OK);
    assert_memory_equal(key, again, sizeof key);
}

static void what_is_no_recipe(void **state)
{
    static const char *const recipes[] = {"",
                                          "scrypt",
                                          "scrypt ",
                                          "scrypt 17 8 1",
                                          "scrypt 17 8 1 ",
                                          "bcrypt 17 8 1 " SALT,
                                          "scrypt 14 8 1 " SALT,
                                          "scrypt 19 8 1 " SALT,
                                          "scrypt 4294967311 8 1 " SALT,
                                          "scrypt 17 4 1 " SALT,
                                          "scrypt 17 16 1 " SALT,
                                          "scrypt 17 8 0 " SALT,
                                          "scrypt 17 8 5 " SALT,
                                          "scrypt 17 8 1 " SALT "0",
                                          "scrypt 17 8 1 " SALT " ",
                                          "scrypt 17 8 1 0011223344556677",
                                          "scrypt 17 8 1 00112233445566778899aabbccddeefG",
                                          "scrypt -1 8 1 " SALT};
    uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE];
    struct span salt;
    (void)state;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        assert_int_equal(crypto_passphrase_key(recipes[i], SPAN_LIT("p"), key), ERR_MALFORMED);
        assert_int_equal(crypto_recipe_salt(recipes[i], &salt), ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_in_every_version),
        cmocka_unit_test(a_new_recipe),
        cmocka_unit_test(what_is_no_recipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

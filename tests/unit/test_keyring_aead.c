/*
 * Own keys that ask for AEAD. gpg 2.2 cannot make one, as 2.4 does by default; so one is made here from a key of 2.2,
 * by changing the features in its self-signature and signing that again.
 */
#include "tests/unit/gpg_home.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KEY_BODY_LEN 51 /* version 4, Ed25519: 1 + 4 + 1 + 10 + 2 + 33 */

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE];

static int set_up(void **state)
{
    (void)state;
    return gpg_home_open(&home) == ERR_OK && gpg_home_make_key(&home, "Alice <alice@example.org>", alice) == ERR_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

static void read_file(const char *name, struct buf *out)
{
    char path[128], piece[4096];
    size_t count;
    (void)snprintf(path, sizeof path, "%s/%s", home.path, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    buf_init(out, 1 << 16);
    while ((count = fread(piece, 1, sizeof piece, file)) > 0)
        assert_int_equal(buf_add(out, piece, count), ERR_OK);
    (void)fclose(file);
}

/* A packet of the old format with a one-byte length, as gpg writes short ones; the seed's is as short. */
static struct span packet_at(const struct buf *key, size_t *at)
{
    assert_true(*at + 2 < key->len && ((unsigned char)key->data[*at] & 0xc3) == 0x80);
    struct span body = {key->data + *at + 2, (unsigned char)key->data[*at + 1]};
    *at += 2 + body.len;
    assert_true(*at <= key->len);
    return body;
}

static EVP_PKEY *signing_key(struct span secret)
{
    unsigned char seed[32] = {0};
    const unsigned char *after = (const unsigned char *)secret.ptr + KEY_BODY_LEN;
    assert_int_equal(after[0], 0); /* not protected */
    size_t len = ((size_t)after[1] * 256 + after[2] + 7) / 8;
    assert_true(len <= 32);
    memcpy(seed + 32 - len, after + 3, len);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    assert_non_null(key);
    return key;
}

/* RFC 4880 §5.2.4: over the key, the user ID, the signature up to its hashed subpackets, and a trailer. */
static unsigned digest_of(struct span secret, struct span user_id, struct span hashed, unsigned char digest[64])
{
    unsigned len = 0;
    const unsigned char key_head[] = {0x99, 0, KEY_BODY_LEN};
    const unsigned char user_head[] = {0xb4, 0, 0, 0, (unsigned char)user_id.len};
    const unsigned char trailer[] = {4, 0xff, 0, 0, 0, (unsigned char)hashed.len};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(hash, hashed.ptr[3] == 8 ? EVP_sha256() : EVP_sha512(), NULL), 1);
    (void)EVP_DigestUpdate(hash, key_head, sizeof key_head);
    (void)EVP_DigestUpdate(hash, secret.ptr, KEY_BODY_LEN);
    (void)EVP_DigestUpdate(hash, user_head, sizeof user_head);
    (void)EVP_DigestUpdate(hash, user_id.ptr, user_id.len);
    (void)EVP_DigestUpdate(hash, hashed.ptr, hashed.len);
    (void)EVP_DigestUpdate(hash, trailer, sizeof trailer);
    assert_int_equal(EVP_DigestFinal_ex(hash, digest, &len), 1);
    EVP_MD_CTX_free(hash);
    return len;
}

static void add_number(struct buf *out, const unsigned char number[32])
{
    size_t skip = 0;
    unsigned bits = 0;
    while (skip < 31 && number[skip] == 0)
        skip++;
    for (unsigned top = number[skip]; top != 0; top >>= 1)
        bits++;
    bits += (unsigned)(31 - skip) * 8;
    assert_int_equal(buf_add_byte(out, (char)(bits >> 8)), ERR_OK);
    assert_int_equal(buf_add_byte(out, (char)bits), ERR_OK);
    assert_int_equal(buf_add(out, number + skip, 32 - skip), ERR_OK);
}

/* `key` with the first signature's features changed to `features`. */
static void change_features(struct buf *key, char features, struct buf *out)
{
    size_t at = 0;
    unsigned char digest[64], signature[64];
    size_t signature_len = sizeof signature;
    struct span secret = packet_at(key, &at), user_id = packet_at(key, &at);
    size_t before = at;
    struct span old = packet_at(key, &at);
    size_t hashed_len = 6 + (size_t)(unsigned char)old.ptr[4] * 256 + (unsigned char)old.ptr[5];
    size_t feature = span_find(old, 0, SPAN_LIT("\x02\x1e"));
    assert_true(feature + 2 < hashed_len);
    key->data[before + 2 + feature + 2] = features;
    unsigned digest_len = digest_of(secret, user_id, span_slice(old, 0, hashed_len), digest);
    EVP_PKEY *signer = signing_key(secret);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, signer), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &signature_len, digest, digest_len), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(signer);
    struct buf body;
    buf_init(&body, 255);
    size_t unhashed_len = 2 + (size_t)(unsigned char)old.ptr[hashed_len + 1];
    assert_int_equal(buf_add(&body, old.ptr, hashed_len + unhashed_len), ERR_OK);
    assert_int_equal(buf_add(&body, digest, 2), ERR_OK);
    add_number(&body, signature);
    add_number(&body, signature + 32);
    buf_init(out, 1 << 16);
    assert_int_equal(buf_add(out, key->data, before), ERR_OK);
    assert_int_equal(buf_add_byte(out, (char)0x88), ERR_OK);
    assert_int_equal(buf_add_byte(out, (char)body.len), ERR_OK);
    assert_int_equal(buf_add_span(out, buf_span(&body)), ERR_OK);
    assert_int_equal(buf_add_span(out, span_skip(buf_span(key), at)), ERR_OK);
    buf_fini(&body);
}

static struct keyring_entry entry(void)
{
    struct keyring *keyring;
    size_t first;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    assert_int_equal(keyring_find(keyring, "alice@example.org", &first), 1);
    struct keyring_entry found = *keyring_at(keyring, first);
    keyring_free(&keyring);
    return found;
}

static void key_that_asks_for_aead_is_noticed_and_changed(void **state)
{
    (void)state;
    char command[256];
    struct buf key, changed;
    struct keyring_import result;
    assert_false(entry().has_aead);
    (void)snprintf(command, sizeof command, "--output %s/secret --export-secret-keys %s", home.path, alice);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    read_file("secret", &key);
    change_features(&key, 7, &changed); /* as gpg 2.4 has it: MDC, AEAD, version 5 keys */
    assert_int_equal(keyring_gpg_delete(home.gpg, alice, true), ERR_OK);
    assert_int_equal(keyring_gpg_import(home.gpg, buf_span(&changed), false, &result), ERR_OK);
    assert_int_equal(result.secret_imported, 1);
    assert_int_equal(keyring_gpg_own(home.gpg, alice), ERR_OK);
    (void)snprintf(command, sizeof command, "--quick-add-uid %s 'Al <al@example.org>'", alice);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    (void)snprintf(command, sizeof command, "--quick-set-primary-uid %s 'Alice <alice@example.org>'", alice);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    assert_true(entry().has_aead);
    assert_false(entry().is_revoked);
    sleep(1); /* the new self-signature must be younger */
    assert_int_equal(keyring_gpg_drop_aead(home.gpg, alice), ERR_OK);
    assert_false(entry().has_aead);
    assert_int_equal(entry().trust, KEYRING_OWN);
    assert_true(entry().has_secret && entry().encrypt_until == 0);
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    /* Both user IDs, and nothing that was there in between. */
    assert_int_equal(keyring_len(keyring), 2);
    assert_string_equal(keyring_at(keyring, 0)->user_id, "Al <al@example.org>");
    assert_false(keyring_at(keyring, 0)->is_primary_uid);
    assert_true(keyring_at(keyring, 1)->is_primary_uid);
    keyring_free(&keyring);
    buf_fini(&key);
    buf_fini(&changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_that_asks_for_aead_is_noticed_and_changed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

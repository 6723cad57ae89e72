/* What is kept of an opening: read back as it was written, and nothing else is taken for it. */
#include "crypto/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct crypto_decision example(void)
{
    struct crypto_decision decision = {
        .verdict = {.signature = CRYPTO_SIG_MISMATCH,
                    .encryption = CRYPTO_ENC_OPENPGP,
                    .has_integrity = true,
                    .signer = "alice@example.org",
                    .fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567",
                    .trust = KEYRING_FULL,
                    .at = 1795176000},
        .is_changed = true,
        .keeps_outer_from = true,
        .layers = 2,
        .size = UINT64_C(0x123456789),
        .authserv_id = "me.example",
    };
    for (size_t i = 0; i < sizeof(decision.digest); i++)
        decision.digest[i] = (uint8_t)(i * 7);
    return decision;
}

static void assert_same(const struct crypto_decision *a, const struct crypto_decision *b)
{
    assert_int_equal(a->verdict.signature, b->verdict.signature);
    assert_int_equal(a->verdict.encryption, b->verdict.encryption);
    assert_int_equal(a->verdict.has_integrity, b->verdict.has_integrity);
    assert_string_equal(a->verdict.signer, b->verdict.signer);
    assert_string_equal(a->verdict.fingerprint, b->verdict.fingerprint);
    assert_int_equal(a->verdict.trust, b->verdict.trust);
    assert_true(a->verdict.at == b->verdict.at);
    assert_int_equal(a->is_changed, b->is_changed);
    assert_int_equal(a->is_own, b->is_own);
    assert_int_equal(a->is_unread, b->is_unread);
    assert_int_equal(a->keeps_outer_from, b->keeps_outer_from);
    assert_int_equal(a->is_header_signed, b->is_header_signed);
    assert_int_equal(a->layers, b->layers);
    assert_true(a->size == b->size);
    assert_memory_equal(a->digest, b->digest, sizeof(a->digest));
    assert_string_equal(a->authserv_id, b->authserv_id);
}

static void save(const struct crypto_decision *decision, struct buf *out)
{
    buf_init(out, 4096);
    assert_int_equal(crypto_decision_save(decision, out), ERR_OK);
}

static void test_decision_comes_back(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        struct crypto_decision decision = example(), loaded;
        struct buf saved;
        decision.verdict.has_integrity = flags & 1;
        decision.is_changed = flags & 2;
        decision.is_own = flags & 4;
        decision.is_unread = flags & 8;
        decision.keeps_outer_from = flags & 16;
        decision.is_header_signed = flags & 32;
        decision.is_text_alone = flags & 64;
        decision.keeps_outer_header = flags & 128;
        decision.verdict.at = flags % 2 == 0 ? -1 : INT64_MAX;
        save(&decision, &saved);
        assert_int_equal(crypto_decision_load(buf_span(&saved), &loaded), ERR_OK);
        assert_same(&decision, &loaded);
        buf_fini(&saved);
    }
}

/* Every shorter and every longer text, and every byte out of its range. */
static void test_what_is_not_whole_is_refused(void **state)
{
    struct crypto_decision decision = example(), loaded = {.layers = 9};
    struct buf saved;
    (void)state;
    save(&decision, &saved);
    for (size_t len = 0; len < saved.len; len++)
        assert_int_equal(crypto_decision_load((struct span){saved.data, len}, &loaded), ERR_PEER_PROTOCOL);
    assert_int_equal(crypto_decision_load((struct span){saved.data, saved.len + 1}, &loaded), ERR_PEER_PROTOCOL);
    for (size_t i = 0; i < 6; i++) {
        if (i == 1)
            continue; /* each flag means something */
        char before = saved.data[i];
        saved.data[i] = (char)0xff;
        assert_int_equal(crypto_decision_load(buf_span(&saved), &loaded), ERR_PEER_PROTOCOL);
        saved.data[i] = before;
    }
    assert_int_equal(loaded.layers, 9);
    saved.data[0] = 2; /* a later version */
    assert_int_equal(crypto_decision_load(buf_span(&saved), &loaded), ERR_PEER_PROTOCOL);
    buf_fini(&saved);
}

static void test_longest_texts_fit(void **state)
{
    struct crypto_decision decision = example(), loaded;
    struct buf saved;
    (void)state;
    memset(decision.verdict.signer, 'a', sizeof(decision.verdict.signer) - 1);
    memset(decision.verdict.fingerprint, 'A', sizeof(decision.verdict.fingerprint) - 1);
    memset(decision.authserv_id, 'h', sizeof(decision.authserv_id) - 1);
    save(&decision, &saved);
    assert_int_equal(crypto_decision_load(buf_span(&saved), &loaded), ERR_OK);
    assert_same(&decision, &loaded);
    buf_fini(&saved);
}

static void test_session_keys_come_back(void **state)
{
    struct crypto_session_keys keys = {.len = 0}, loaded;
    (void)state;
    for (size_t len = 0; len <= CRYPTO_SESSION_KEYS_MAX; len++) {
        struct buf saved;
        keys.len = len;
        buf_init_secret(&saved, 4096);
        assert_int_equal(crypto_session_keys_save(&keys, &saved), ERR_OK);
        assert_int_equal(crypto_session_keys_load(buf_span(&saved), &loaded), ERR_OK);
        assert_int_equal(loaded.len, len);
        for (size_t i = 0; i < len; i++)
            assert_string_equal(loaded.keys[i], keys.keys[i]);
        for (size_t cut = 0; cut < saved.len; cut++)
            assert_int_equal(crypto_session_keys_load((struct span){saved.data, cut}, &loaded), ERR_PEER_PROTOCOL);
        assert_int_equal(loaded.len, 0);
        buf_fini(&saved);
        if (len < CRYPTO_SESSION_KEYS_MAX && len != 3) /* one that gpg did not tell */
            snprintf(keys.keys[len], CRYPTO_SESSION_KEY_SIZE, "9:%064zX", len);
    }
}

/* They end on a gpg's input: nothing but a key may. */
static void test_what_is_no_session_key_is_refused(void **state)
{
    static const char *const wrong[] = {"9", "9:", ":AB", "9:AB\n", "9:AB CD", "9:XY", "-9:AB", "1234:AB", "9:AB:CD"};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct crypto_session_keys keys = {.len = 1}, loaded;
        struct buf saved;
        snprintf(keys.keys[0], CRYPTO_SESSION_KEY_SIZE, "%s", wrong[i]);
        buf_init_secret(&saved, 4096);
        assert_int_equal(crypto_session_keys_save(&keys, &saved), ERR_OK);
        assert_int_equal(crypto_session_keys_load(buf_span(&saved), &loaded), ERR_PEER_PROTOCOL);
        buf_fini(&saved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decision_comes_back),
        cmocka_unit_test(test_what_is_not_whole_is_refused),
        cmocka_unit_test(test_longest_texts_fit),
        cmocka_unit_test(test_session_keys_come_back),
        cmocka_unit_test(test_what_is_no_session_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "crypto/verdict.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct keyring *keyring;

static void add(const char *address, const char *fingerprint, enum keyring_trust trust, bool is_revoked)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = trust, .is_revoked = is_revoked};
    assert_true(span_copy(span_of(address), entry.address, sizeof entry.address));
    assert_true(span_copy(span_of(fingerprint), entry.fingerprint, sizeof entry.fingerprint));
    assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    add("alice@x.org", "AA", KEYRING_FULL, false);
    add("boss@x.org", "AA", KEYRING_UNVERIFIED, false); /* the same key, a name that nobody certified */
    add("old@x.org", "AA", KEYRING_FULL, true);
    add("twice@x.org", "AA", KEYRING_FULL, true);
    add("twice@x.org", "AA", KEYRING_FOUND, false);
    add("alice@x.org", "BB", KEYRING_OWN, false);
    add("never@x.org", "AA", KEYRING_NEVER, false);
    add("", "AA", KEYRING_OWN, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    keyring_free(&keyring);
    return 0;
}

static struct crypto_verdict judge(enum crypto_signature_state state, const char *fingerprint, const char *author,
                                   enum keyring_trust least)
{
    struct crypto_signature signature = {.state = state, .made = 5};
    struct crypto_verdict verdict;
    memset(&verdict, 0x5a, sizeof verdict);
    assert_true(span_copy(span_of(fingerprint), signature.fingerprint, sizeof signature.fingerprint));
    crypto_verdict_judge(&signature, author, keyring, least, &verdict);
    return verdict;
}

static void good_signature_names_the_author(void **state)
{
    (void)state;
    struct crypto_verdict verdict = judge(CRYPTO_SIG_GOOD, "AA", "Alice@X.org", KEYRING_FOUND);
    assert_int_equal(verdict.signature, CRYPTO_SIG_GOOD);
    assert_string_equal(verdict.signer, "alice@x.org");
    assert_string_equal(verdict.fingerprint, "AA");
    assert_int_equal(verdict.trust, KEYRING_FULL);
    verdict = judge(CRYPTO_SIG_GOOD, "AA", "twice@x.org", KEYRING_FOUND);
    assert_int_equal(verdict.signature, CRYPTO_SIG_GOOD);
    assert_int_equal(verdict.trust, KEYRING_FOUND);
}

/* It is encrypted to such a key; but a failed look-up is not a pass. */
static void no_signature_is_good_by_a_stale_word(void **state)
{
    (void)state;
    struct keyring_entry entry = {.format = KEYRING_OPENPGP,
                                  .trust = KEYRING_FOUND,
                                  .source = KEYRING_SOURCE_WKD,
                                  .ask_again = INT64_C(1800000000) - KEYRING_WORD_LONGER_S};
    assert_true(span_copy(SPAN_LIT("stale@x.org"), entry.address, sizeof entry.address));
    assert_true(span_copy(SPAN_LIT("AA"), entry.fingerprint, sizeof entry.fingerprint));
    assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
    clock_fix(INT64_C(1800000000) - 1);
    assert_int_equal(judge(CRYPTO_SIG_GOOD, "AA", "stale@x.org", KEYRING_FOUND).signature, CRYPTO_SIG_GOOD);
    clock_fix(INT64_C(1800000000));
    const struct crypto_verdict verdict = judge(CRYPTO_SIG_GOOD, "AA", "stale@x.org", KEYRING_FOUND);
    assert_int_equal(verdict.signature, CRYPTO_SIG_UNTRUSTED);
    assert_int_equal(verdict.trust, KEYRING_UNVERIFIED);
}

static void other_names_of_the_key_do_not_help(void **state)
{
    (void)state;
    static const struct {
        const char *author, *fingerprint;
        enum crypto_signature_state state;
    } rows[] = {
        {"boss@x.org", "AA", CRYPTO_SIG_UNTRUSTED},   {"boss@x.org", "BB", CRYPTO_SIG_MISMATCH},
        {"mallory@x.org", "AA", CRYPTO_SIG_MISMATCH}, {"", "AA", CRYPTO_SIG_MISMATCH},
        {"old@x.org", "AA", CRYPTO_SIG_REVOKED},      {"alice@x.org", "CC", CRYPTO_SIG_MISMATCH},
        {"alice@x.org", "", CRYPTO_SIG_MISMATCH},     {"never@x.org", "AA", CRYPTO_SIG_UNTRUSTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(judge(CRYPTO_SIG_GOOD, rows[i].fingerprint, rows[i].author, KEYRING_FOUND).signature,
                         rows[i].state);
    /* Not even if nobody set how much trust is needed. */
    assert_int_equal(judge(CRYPTO_SIG_GOOD, "AA", "never@x.org", KEYRING_NEVER).signature, CRYPTO_SIG_UNTRUSTED);
    assert_int_equal(judge(CRYPTO_SIG_GOOD, "AA", "alice@x.org", KEYRING_OWN).signature, CRYPTO_SIG_UNTRUSTED);
}

static void what_is_not_good_stays_so(void **state)
{
    (void)state;
    for (int i = CRYPTO_SIG_NONE; i <= CRYPTO_SIG_PARTIAL; i++) {
        if (i == CRYPTO_SIG_GOOD)
            continue;
        struct crypto_verdict verdict = judge((enum crypto_signature_state)i, "AA", "alice@x.org", KEYRING_FOUND);
        assert_int_equal(verdict.signature, i);
        if (i == CRYPTO_SIG_NONE || i == CRYPTO_SIG_BAD || i == CRYPTO_SIG_UNKNOWN_KEY)
            assert_string_equal(verdict.signer, "");
    }
}

static void assert_format(const struct crypto_verdict *verdict, const char *expected)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(crypto_verdict_format(verdict, &out), ERR_OK);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
    buf_init(&out, strlen(expected) - 1);
    assert_int_equal(crypto_verdict_format(verdict, &out), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void verdict_reads_as_designed(void **state)
{
    (void)state;
    struct crypto_verdict verdict = judge(CRYPTO_SIG_GOOD, "AA", "alice@x.org", KEYRING_FOUND);
    verdict.encryption = CRYPTO_ENC_OPENPGP;
    verdict.has_integrity = true;
    verdict.at = 1795176000;
    assert_format(&verdict, "signature=good; signer=alice@x.org; trust=full; encryption=openpgp; integrity=ok; "
                            "at=2026-11-20T12:00:00Z");
    verdict.signature = CRYPTO_SIG_NONE;
    verdict.has_integrity = false;
    verdict.encryption = CRYPTO_ENC_SMIME;
    assert_format(&verdict, "signature=none; encryption=smime; integrity=none; at=2026-11-20T12:00:00Z");
}

static void address_cannot_write_a_verdict(void **state)
{
    (void)state;
    struct crypto_verdict verdict = {.signature = CRYPTO_SIG_UNTRUSTED, .trust = KEYRING_SEEN, .has_integrity = true};
    (void)span_copy(SPAN_LIT("\"; signature=good; \\\"%\r\n\"@x.org"), verdict.signer, sizeof verdict.signer);
    assert_format(&verdict, "signature=untrusted; signer=%22%3B%20signature=good%3B%20%5C%22%25%0D%0A%22@x.org; "
                            "trust=seen; encryption=none; integrity=ok; at=1970-01-01T00:00:00Z");
}

static void every_state_has_its_own_name(void **state)
{
    (void)state;
    for (int i = CRYPTO_SIG_NONE; i <= CRYPTO_SIG_PARTIAL; i++)
        for (int j = CRYPTO_SIG_NONE; j < i; j++)
            assert_string_not_equal(crypto_signature_name((enum crypto_signature_state)i),
                                    crypto_signature_name((enum crypto_signature_state)j));
    for (int i = CRYPTO_ENC_NONE; i <= CRYPTO_ENC_FAILED; i++)
        for (int j = CRYPTO_ENC_NONE; j < i; j++)
            assert_string_not_equal(crypto_encryption_name((enum crypto_encryption_state)i),
                                    crypto_encryption_name((enum crypto_encryption_state)j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_signature_names_the_author),
        cmocka_unit_test(other_names_of_the_key_do_not_help),
        cmocka_unit_test(no_signature_is_good_by_a_stale_word),
        cmocka_unit_test(what_is_not_good_stays_so),
        cmocka_unit_test(verdict_reads_as_designed),
        cmocka_unit_test(address_cannot_write_a_verdict),
        cmocka_unit_test(every_state_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

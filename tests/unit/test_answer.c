/* The whole answer for an address: each reason, who contradicts whom, and that order is nothing. */
#include "keyring/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)
#define BOB "bob@example.org"

static const struct keyring_want found = {KEYRING_ENCRYPT, KEYRING_OPENPGP, KEYRING_FOUND, NOW};
static const struct keyring_want seen = {KEYRING_ENCRYPT, KEYRING_OPENPGP, KEYRING_SEEN, NOW};
static const struct keyring_want any = {KEYRING_ENCRYPT, KEYRING_OPENPGP, KEYRING_UNVERIFIED, NOW};

static struct keyring_entry key_of(const char *fingerprint, enum keyring_trust trust, enum keyring_source source)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = trust, .source = source, .created = 1000};
    assert_true(span_copy(span_of(BOB), entry.address, sizeof entry.address));
    assert_true(span_copy(span_of(fingerprint), entry.fingerprint, sizeof entry.fingerprint));
    if (source == KEYRING_SOURCE_AUTOCRYPT || source == KEYRING_SOURCE_GOSSIP)
        entry.advice = KEYRING_ADVICE_AVAILABLE;
    return entry;
}

static struct keyring *ring_of(const struct keyring_entry *entries, size_t len, size_t first)
{
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(keyring_add(keyring, &entries[(first + i) % len]), ERR_OK);
    return keyring;
}

static enum keyring_reason reason_of(const struct keyring_answer *answer, const char *fingerprint)
{
    for (size_t i = 0; i < answer->candidates_len; i++)
        if (strcmp(answer->candidates[i].entry->fingerprint, fingerprint) == 0)
            return answer->candidates[i].reason;
    fail_msg("%s is no candidate", fingerprint);
    return KEYRING_TAKEN;
}

static void each_candidate_has_its_reason(void **state)
{
    (void)state;
    struct keyring_entry entries[] = {
        key_of("A0", KEYRING_FULL, KEYRING_SOURCE_IMPORT),  key_of("A1", KEYRING_FULL, KEYRING_SOURCE_IMPORT),
        key_of("A2", KEYRING_FOUND, KEYRING_SOURCE_WKD),    key_of("A3", KEYRING_FULL, KEYRING_SOURCE_IMPORT),
        key_of("A4", KEYRING_FULL, KEYRING_SOURCE_IMPORT),  key_of("A5", KEYRING_FULL, KEYRING_SOURCE_IMPORT),
        key_of("A6", KEYRING_FULL, KEYRING_SOURCE_IMPORT),  key_of("A7", KEYRING_FULL, KEYRING_SOURCE_IMPORT),
        key_of("A8", KEYRING_SEEN, KEYRING_SOURCE_MAIL),    key_of("A9", KEYRING_NEVER, KEYRING_SOURCE_PERSON),
        key_of("B0", KEYRING_NEVER, KEYRING_SOURCE_IMPORT), key_of("B1", KEYRING_OWN, KEYRING_SOURCE_IMPORT),
    };
    static const enum keyring_reason expected[] = {
        KEYRING_TAKEN,           KEYRING_WEAKER,   KEYRING_CONTRADICTED, KEYRING_REVOKED,          KEYRING_EXPIRED,
        KEYRING_NOT_YET_VALID,   KEYRING_DISABLED, KEYRING_UNABLE,       KEYRING_TOO_LITTLE_TRUST, KEYRING_NOT_THEIRS,
        KEYRING_TOO_LITTLE_TRUST};
    const size_t len = sizeof entries / sizeof *entries;
    entries[0].created = 2000;
    entries[3].is_revoked = true;
    entries[4].expires = NOW;
    entries[5].created = NOW + 1;
    entries[6].is_disabled = true;
    entries[7].encrypt_until = -1;
    entries[11].format = KEYRING_SMIME;
    for (size_t first = 0; first < len; first++) {
        struct keyring *keyring = ring_of(entries, len, first);
        struct keyring_answer answer;
        keyring_answer(keyring, "BOB@example.org", &found, &answer);
        assert_string_equal(answer.choice->fingerprint, "A0");
        assert_string_equal(answer.rival->fingerprint, "A2");
        assert_int_equal(answer.reason, KEYRING_TAKEN);
        assert_int_equal(answer.candidates_len, len - 1);
        for (size_t i = 0; i + 1 < len; i++)
            assert_int_equal(reason_of(&answer, entries[i].fingerprint), expected[i]);
        keyring_answer(keyring, "nobody@example.org", &found, &answer);
        assert_null(answer.choice);
        assert_null(answer.rival);
        assert_int_equal(answer.candidates_len, 0);
        keyring_answer(keyring, "", &found, &answer);
        assert_int_equal(answer.candidates_len, 0);
        keyring_free(&keyring);
    }
    for (size_t i = 0; i <= KEYRING_CONTRADICTED; i++)
        assert_string_not_equal(keyring_reason_text((enum keyring_reason)i), "unknown");
}

/* Two keys: which of them is taken, and whether that is disputed. */
static void sources_contradict_each_other(void **state)
{
    (void)state;
    static const struct {
        struct {
            enum keyring_trust trust;
            enum keyring_source source;
        } a, b; /* a is the one that must be taken */
        const struct keyring_want *want;
        bool is_disputed;
    } cases[] = {
        {{KEYRING_FULL, KEYRING_SOURCE_IMPORT}, {KEYRING_FOUND, KEYRING_SOURCE_WKD}, &found, true},
        {{KEYRING_MARGINAL, KEYRING_SOURCE_IMPORT}, {KEYRING_FOUND, KEYRING_SOURCE_DIRECTORY}, &found, true},
        {{KEYRING_FOUND, KEYRING_SOURCE_DANE}, {KEYRING_FOUND, KEYRING_SOURCE_WKD}, &found, true},
        {{KEYRING_FOUND, KEYRING_SOURCE_WKD}, {KEYRING_SEEN, KEYRING_SOURCE_MAIL}, &seen, true},
        /* Below the least trust nobody is heard. */
        {{KEYRING_FOUND, KEYRING_SOURCE_WKD}, {KEYRING_SEEN, KEYRING_SOURCE_MAIL}, &found, false},
        /* A person has decided. */
        {{KEYRING_PINNED, KEYRING_SOURCE_PERSON}, {KEYRING_FULL, KEYRING_SOURCE_IMPORT}, &found, false},
        {{KEYRING_OWN, KEYRING_SOURCE_IMPORT}, {KEYRING_FOUND, KEYRING_SOURCE_WKD}, &found, false},
        {{KEYRING_FOUND, KEYRING_SOURCE_WKD}, {KEYRING_NEVER, KEYRING_SOURCE_PERSON}, &found, false},
        /* One and the same source. */
        {{KEYRING_FULL, KEYRING_SOURCE_IMPORT}, {KEYRING_FULL, KEYRING_SOURCE_IMPORT}, &found, false},
        {{KEYRING_FULL, KEYRING_SOURCE_MAIL}, {KEYRING_FULL, KEYRING_SOURCE_DIRECTORY}, &found, false},
        {{KEYRING_FULL, KEYRING_SOURCE_IMPORT}, {KEYRING_MARGINAL, KEYRING_SOURCE_IMPORT}, &found, false},
        {{KEYRING_FOUND, KEYRING_SOURCE_WKD}, {KEYRING_FOUND, KEYRING_SOURCE_WKD}, &found, false},
        /* Whoever forges a From, or uploads a key, blocks nobody. */
        {{KEYRING_FOUND, KEYRING_SOURCE_WKD}, {KEYRING_SEEN, KEYRING_SOURCE_AUTOCRYPT}, &seen, false},
        {{KEYRING_FULL, KEYRING_SOURCE_IMPORT}, {KEYRING_SEEN, KEYRING_SOURCE_AUTOCRYPT}, &any, false},
        {{KEYRING_SEEN, KEYRING_SOURCE_AUTOCRYPT}, {KEYRING_SEEN, KEYRING_SOURCE_GOSSIP}, &seen, false},
        {{KEYRING_SEEN, KEYRING_SOURCE_MAIL}, {KEYRING_SEEN, KEYRING_SOURCE_GOSSIP}, &seen, false},
        {{KEYRING_UNVERIFIED, KEYRING_SOURCE_IMPORT}, {KEYRING_UNVERIFIED, KEYRING_SOURCE_KEYSERVER}, &any, false},
        {{KEYRING_FOUND, KEYRING_SOURCE_WKD}, {KEYRING_UNVERIFIED, KEYRING_SOURCE_KEYSERVER}, &any, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t order = 0; order < 2; order++) {
            struct keyring_entry entries[] = {key_of("AA", cases[i].a.trust, cases[i].a.source),
                                              key_of("BB", cases[i].b.trust, cases[i].b.source)};
            struct keyring *keyring = ring_of(entries, 2, order);
            struct keyring_answer answer;
            keyring_answer(keyring, BOB, cases[i].want, &answer);
            if (!answer.choice || strcmp(answer.choice->fingerprint, "AA") != 0 ||
                (answer.rival != NULL) != cases[i].is_disputed)
                fail_msg("case %zu", i);
            if (answer.rival)
                assert_string_equal(answer.rival->fingerprint, "BB");
            keyring_free(&keyring);
        }
}

enum age { FRESH, DUE, STALE, UNCONFIRMED };

/* By the word of a source of this age. */
static struct keyring_entry found_key(const char *fingerprint, enum keyring_source source, enum age age)
{
    static const int64_t run_out[] = {[FRESH] = NOW + KEYRING_WORD_LONGER_S + 1,
                                      [DUE] = NOW + 1,
                                      [STALE] = NOW,
                                      [UNCONFIRMED] = NOW - KEYRING_STALE_S};
    struct keyring_entry entry = key_of(fingerprint, KEYRING_FOUND, source);
    entry.ask_again = run_out[age] - KEYRING_WORD_LONGER_S;
    return entry;
}

/* What is weak replaces nothing that is strong because its source cannot be asked; nor does what is stale, which is
   always the newer key here, replace what is fresh. */
static void stale_words_stand(void **state)
{
    (void)state;
    static const struct {
        enum age age;
        const struct keyring_want *want;
        enum { NONE, MAIL, AUTOCRYPT, SAME_SOURCE, OTHER_SOURCE, OTHER_STALE, FULL } beside;
        bool is_taken, is_disputed;
        enum keyring_reason reason; /* of the one that is not taken; of none: of the answer */
    } cases[] = {
        {FRESH, &found, NONE, true, false, KEYRING_TAKEN},
        {DUE, &found, NONE, true, false, KEYRING_TAKEN},
        {STALE, &found, NONE, true, false, KEYRING_TAKEN},
        {UNCONFIRMED, &found, NONE, false, false, KEYRING_UNCONFIRMED},
        {UNCONFIRMED, &seen, NONE, true, false, KEYRING_TAKEN},
        {UNCONFIRMED, &any, NONE, true, false, KEYRING_TAKEN},
        {STALE, &seen, AUTOCRYPT, true, false, KEYRING_WEAKER},
        {UNCONFIRMED, &seen, AUTOCRYPT, true, false, KEYRING_WEAKER},
        {UNCONFIRMED, &found, AUTOCRYPT, false, false, KEYRING_UNCONFIRMED},
        {STALE, &seen, MAIL, true, true, KEYRING_CONTRADICTED},
        {UNCONFIRMED, &seen, MAIL, true, true, KEYRING_CONTRADICTED},
        {DUE, &found, SAME_SOURCE, true, false, KEYRING_WEAKER},
        {STALE, &found, SAME_SOURCE, false, false, KEYRING_WEAKER},
        {UNCONFIRMED, &seen, SAME_SOURCE, false, false, KEYRING_WEAKER},
        {UNCONFIRMED, &found, SAME_SOURCE, false, false, KEYRING_UNCONFIRMED},
        /* Who silences a source does not make its word against another's go. */
        {STALE, &found, OTHER_SOURCE, false, true, KEYRING_CONTRADICTED},
        {UNCONFIRMED, &found, OTHER_SOURCE, false, false, KEYRING_UNCONFIRMED},
        {STALE, &found, OTHER_STALE, true, true, KEYRING_CONTRADICTED},
        {STALE, &found, FULL, false, true, KEYRING_CONTRADICTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t order = 0; order < 2; order++) {
            struct keyring_entry entries[] = {
                found_key("AA", KEYRING_SOURCE_WKD, cases[i].age), [1] =
                                                                       cases[i].beside == MAIL
                                                                           ? key_of("BB", KEYRING_SEEN,
                                                                                    KEYRING_SOURCE_MAIL)
                                                                       : cases[i].beside == AUTOCRYPT
                                                                           ? key_of("BB", KEYRING_SEEN,
                                                                                    KEYRING_SOURCE_AUTOCRYPT)
                                                                       : cases[i].beside == SAME_SOURCE
                                                                           ? found_key("BB", KEYRING_SOURCE_WKD, FRESH)
                                                                       : cases[i].beside == OTHER_SOURCE
                                                                           ? found_key("BB", KEYRING_SOURCE_DANE, FRESH)
                                                                       : cases[i].beside == OTHER_STALE
                                                                           ? found_key("BB", KEYRING_SOURCE_DANE, STALE)
                                                                           : key_of("BB", KEYRING_FULL,
                                                                                    KEYRING_SOURCE_IMPORT)};
            const size_t len = cases[i].beside == NONE ? 1 : 2;
            struct keyring *keyring;
            struct keyring_answer answer;
            entries[0].created = 2000;
            keyring = ring_of(entries, len, order % len);
            keyring_answer(keyring, BOB, cases[i].want, &answer);
            const char *taken = answer.choice ? answer.choice->fingerprint : "";
            const char *other = strcmp(taken, "AA") == 0 ? "BB" : "AA";
            if ((strcmp(taken, "AA") == 0) != cases[i].is_taken || (answer.rival != NULL) != cases[i].is_disputed)
                fail_msg("case %zu", i);
            if (len == 1 && answer.reason != cases[i].reason)
                fail_msg("case %zu: %s", i, keyring_reason_text(answer.reason));
            if (len == 2 && reason_of(&answer, other) != cases[i].reason && reason_of(&answer, "AA") != cases[i].reason)
                fail_msg("case %zu: %s", i, keyring_reason_text(reason_of(&answer, other)));
            keyring_free(&keyring);
        }
}

/* Gossip and keyservers stand behind what else is trusted as far, though their key be newer. */
static void hearsay_comes_last(void **state)
{
    (void)state;
    struct keyring_entry entries[] = {key_of("AA", KEYRING_SEEN, KEYRING_SOURCE_AUTOCRYPT),
                                      key_of("BB", KEYRING_SEEN, KEYRING_SOURCE_GOSSIP)};
    entries[1].created = 2000;
    struct keyring *keyring = ring_of(entries, 2, 0);
    enum keyring_reason reason;
    assert_string_equal(keyring_choose(keyring, BOB, &seen, &reason)->fingerprint, "AA");
    keyring_free(&keyring);
    entries[0].source = KEYRING_SOURCE_IMPORT;
    entries[1].source = KEYRING_SOURCE_KEYSERVER;
    entries[0].trust = entries[1].trust = KEYRING_UNVERIFIED;
    keyring = ring_of(entries, 2, 1);
    assert_string_equal(keyring_choose(keyring, BOB, &any, &reason)->fingerprint, "AA");
    keyring_free(&keyring);
}

/* An unusable rival is none, nor is the same key by another source, nor one of another format. */
static void only_usable_keys_contradict(void **state)
{
    (void)state;
    for (int change = 0; change < 5; change++) {
        struct keyring_entry entries[] = {key_of("AA", KEYRING_FULL, KEYRING_SOURCE_IMPORT),
                                          key_of("BB", KEYRING_FOUND, KEYRING_SOURCE_WKD)};
        if (change == 0)
            entries[1].is_revoked = true;
        if (change == 1)
            entries[1].expires = NOW;
        if (change == 2)
            memcpy(entries[1].fingerprint, "AA", 3);
        if (change == 3)
            entries[1].format = KEYRING_SMIME;
        struct keyring *keyring = ring_of(entries, 2, 0);
        struct keyring_answer answer;
        keyring_answer(keyring, BOB, &found, &answer);
        assert_int_equal(answer.rival != NULL, change == 4);
        keyring_free(&keyring);
    }
}

static void a_key_is_one_candidate(void **state)
{
    (void)state;
    struct keyring_entry entries[] = {key_of("AA", KEYRING_FULL, KEYRING_SOURCE_IMPORT),
                                      key_of("AA", KEYRING_FULL, KEYRING_SOURCE_IMPORT)};
    entries[0].is_revoked = true;
    struct keyring *keyring = ring_of(entries, 2, 0);
    struct keyring_answer answer;
    keyring_answer(keyring, BOB, &found, &answer);
    assert_int_equal(answer.candidates_len, 1);
    assert_int_equal(answer.candidates[0].reason, KEYRING_TAKEN);
    assert_ptr_equal(answer.candidates[0].entry, answer.choice);
    keyring_free(&keyring);
}

static void what_is_too_many_is_counted(void **state)
{
    (void)state;
    struct keyring *keyring = ring_of(NULL, 0, 0);
    for (int i = 0; i < KEYRING_CANDIDATES_MAX + 5; i++) {
        char fingerprint[16];
        snprintf(fingerprint, sizeof fingerprint, "%04X", (unsigned)i);
        const struct keyring_entry entry = key_of(fingerprint, KEYRING_FOUND, KEYRING_SOURCE_WKD);
        assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
    }
    struct keyring_answer answer;
    keyring_answer(keyring, BOB, &found, &answer);
    assert_int_equal(answer.candidates_len, KEYRING_CANDIDATES_MAX);
    assert_int_equal(answer.left_out, 5);
    assert_string_equal(answer.candidates[0].entry->fingerprint, "0000");
    keyring_free(&keyring);
}

static void withdrawn_is_what_would_have_been_taken(void **state)
{
    (void)state;
    struct keyring_entry entry = key_of("AA", KEYRING_FULL, KEYRING_SOURCE_IMPORT);
    for (int change = 0; change < 6; change++) {
        struct keyring_entry changed = entry;
        changed.is_revoked = change != 1;
        if (change == 2)
            changed.trust = KEYRING_UNVERIFIED;
        if (change == 3)
            changed.expires = NOW;
        if (change == 4)
            changed = key_of("AA", KEYRING_SEEN, KEYRING_SOURCE_AUTOCRYPT), changed.is_revoked = true;
        if (change == 5)
            changed = key_of("AA", KEYRING_NEVER, KEYRING_SOURCE_PERSON), changed.is_revoked = true;
        struct keyring *keyring = ring_of(&changed, 1, 0);
        assert_int_equal(keyring_withdrawn(keyring, BOB, &seen) != NULL, change == 0);
        assert_null(keyring_withdrawn(keyring, "", &seen));
        keyring_free(&keyring);
    }
}

static void vouchers_have_words(void **state)
{
    (void)state;
    struct keyring_entry entry = key_of("AA", KEYRING_FULL, KEYRING_SOURCE_DIRECTORY);
    assert_string_equal(keyring_voucher_text(&entry), "the web of trust");
    entry.format = KEYRING_SMIME;
    assert_string_equal(keyring_voucher_text(&entry), "its issuer");
    entry.trust = KEYRING_FOUND;
    assert_string_equal(keyring_voucher_text(&entry), "an LDAP directory");
    entry.trust = KEYRING_PINNED;
    assert_string_equal(keyring_voucher_text(&entry), "you");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_candidate_has_its_reason),
        cmocka_unit_test(sources_contradict_each_other),
        cmocka_unit_test(stale_words_stand),
        cmocka_unit_test(hearsay_comes_last),
        cmocka_unit_test(only_usable_keys_contradict),
        cmocka_unit_test(a_key_is_one_candidate),
        cmocka_unit_test(what_is_too_many_is_counted),
        cmocka_unit_test(withdrawn_is_what_would_have_been_taken),
        cmocka_unit_test(vouchers_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "keyring/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1000000

static struct keyring_entry entry_of(const char *address, const char *fingerprint, enum keyring_trust trust,
                                     int64_t created)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = trust, .created = created, .has_secret = true};
    assert_true(span_copy(span_of(address), entry.address, sizeof entry.address));
    assert_true(span_copy(span_of(fingerprint), entry.fingerprint, sizeof entry.fingerprint));
    assert_true(span_copy(SPAN_LIT("ed25519/cv25519"), entry.algorithm, sizeof entry.algorithm));
    assert_true(span_copy(SPAN_LIT("A user ID"), entry.user_id, sizeof entry.user_id));
    return entry;
}

static const struct keyring_want want = {KEYRING_ENCRYPT, KEYRING_OPENPGP | KEYRING_SMIME, KEYRING_FOUND, NOW};

static void trust_has_names_both_ways(void **state)
{
    (void)state;
    enum keyring_trust trust;
    for (int i = KEYRING_UNVERIFIED; i < KEYRING_TRUST_COUNT; i++) {
        assert_int_equal(keyring_trust_parse(span_of(keyring_trust_name((enum keyring_trust)i)), &trust), ERR_OK);
        assert_int_equal(trust, i);
    }
    assert_string_equal(keyring_trust_name(KEYRING_NEVER), "never");
    assert_string_equal(keyring_trust_name(KEYRING_TRUST_COUNT), "never");
    assert_int_equal(keyring_trust_parse(SPAN_LIT("never"), &trust), ERR_CONFIG);
    assert_int_equal(keyring_trust_parse(SPAN_LIT("ful"), &trust), ERR_CONFIG);
    assert_int_equal(keyring_trust_parse(SPAN_NONE, &trust), ERR_CONFIG);
}

static void each_refusal_has_its_reason(void **state)
{
    (void)state;
    struct keyring_entry good = entry_of("a@x", "AA", KEYRING_FULL, 1), entry = good;
    struct keyring_want other = want;
    assert_int_equal(keyring_judge(&good, &want), KEYRING_TAKEN);
    entry.is_revoked = true;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_REVOKED);
    entry = good;
    entry.is_disabled = true;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_DISABLED);
    entry = good;
    entry.created = NOW + 1;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_NOT_YET_VALID);
    entry = good;
    entry.expires = NOW;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_EXPIRED);
    entry.expires = NOW + 1;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_TAKEN);
    entry.encrypt_until = NOW;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_EXPIRED);
    entry.encrypt_until = -1;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_UNABLE);
    entry = good;
    entry.trust = KEYRING_SEEN;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_TOO_LITTLE_TRUST);
    other.formats = KEYRING_SMIME;
    assert_int_equal(keyring_judge(&good, &other), KEYRING_WRONG_FORMAT);
    other = want;
    other.purpose = KEYRING_SIGN;
    assert_int_equal(keyring_judge(&good, &other), KEYRING_TAKEN);
    entry = good;
    entry.has_secret = false;
    assert_int_equal(keyring_judge(&entry, &other), KEYRING_NO_SECRET);
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_TAKEN);
    entry = good;
    entry.sign_until = -1;
    assert_int_equal(keyring_judge(&entry, &other), KEYRING_UNABLE);
}

static void zeroed_wish_and_entry_take_nothing(void **state)
{
    (void)state;
    struct keyring_want nothing = {0};
    struct keyring_entry good = entry_of("a@x", "AA", KEYRING_FULL, 1), zero = {0};
    assert_int_equal(keyring_judge(&good, &nothing), KEYRING_WRONG_FORMAT);
    nothing.formats = KEYRING_OPENPGP;
    nothing.now = NOW;
    good.trust = KEYRING_NEVER;
    assert_int_equal(keyring_judge(&good, &nothing), KEYRING_TOO_LITTLE_TRUST);
    assert_int_not_equal(keyring_judge(&zero, &want), KEYRING_TAKEN);
}

static void fill(struct keyring *keyring, const struct keyring_entry *entries, size_t count, size_t first)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(keyring_add(keyring, &entries[(first + i) % count]), ERR_OK);
}

static void best_is_the_same_in_any_order(void **state)
{
    (void)state;
    struct keyring_entry entries[] = {
        entry_of("Bob@x.org", "B1", KEYRING_FULL, 10), entry_of("bob@x.org", "B2", KEYRING_FULL, 20),
        entry_of("bob@x.org", "B3", KEYRING_FULL, 20), entry_of("bob@x.org", "B0", KEYRING_OWN, 30),
        entry_of("bob@x.org", "B9", KEYRING_SEEN, 90), entry_of("bo@x.org", "C1", KEYRING_OWN, 1),
        entry_of("bob@x.orga", "C2", KEYRING_OWN, 1),  entry_of("", "D1", KEYRING_OWN, 1),
    };
    const size_t count = sizeof entries / sizeof *entries;
    entries[3].is_revoked = true;
    for (size_t first = 0; first < count; first++) {
        struct keyring *keyring;
        enum keyring_reason reason;
        size_t at;
        assert_int_equal(keyring_new(&keyring), ERR_OK);
        fill(keyring, entries, count, first);
        assert_int_equal(keyring_len(keyring), count);
        assert_int_equal(keyring_find(keyring, "BOB@X.ORG", &at), 5);
        static const char *const order[] = {"B0", "B2", "B3", "B1", "B9"};
        for (size_t i = 0; i < 5; i++)
            assert_string_equal(keyring_at(keyring, at + i)->fingerprint, order[i]);
        const struct keyring_entry *best = keyring_choose(keyring, "bob@x.org", &want, &reason);
        assert_non_null(best);
        assert_string_equal(best->fingerprint, "B2");
        assert_int_equal(reason, KEYRING_TAKEN);
        assert_null(keyring_choose(keyring, "nobody@x.org", &want, &reason));
        assert_int_equal(reason, KEYRING_TAKEN);
        assert_null(keyring_choose(keyring, "", &want, &reason));
        struct keyring_want more = want;
        more.least = KEYRING_OWN;
        assert_null(keyring_choose(keyring, "bob@x.org", &more, &reason));
        assert_int_equal(reason, KEYRING_REVOKED);
        keyring_free(&keyring);
        assert_null(keyring);
    }
}

static void empty_index_finds_nothing(void **state)
{
    (void)state;
    struct keyring *keyring;
    enum keyring_reason reason;
    size_t at;
    struct buf saved;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_find(keyring, "a@x", &at), 0);
    assert_null(keyring_choose(keyring, "a@x", &want, &reason));
    buf_init(&saved, 100);
    assert_int_equal(keyring_save(keyring, &saved), ERR_OK);
    keyring_free(&keyring);
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_OK);
    assert_int_equal(keyring_len(keyring), 0);
    assert_false(keyring_is_incomplete(keyring));
    keyring_set_incomplete(keyring);
    buf_clear(&saved);
    assert_int_equal(keyring_save(keyring, &saved), ERR_OK);
    keyring_free(&keyring);
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_OK);
    assert_true(keyring_is_incomplete(keyring));
    saved.data[saved.len - 5] = 2;
    keyring_free(&keyring);
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_PEER_PROTOCOL);
    keyring_free(&keyring);
    buf_fini(&saved);
}

static void make_saved(struct buf *saved)
{
    struct keyring *keyring;
    struct keyring_entry entry = entry_of("a@x.org", "AB01", KEYRING_PINNED, 7);
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
    entry = entry_of("b@x.org", "CD02", KEYRING_UNVERIFIED, 8);
    entry.format = KEYRING_SMIME;
    entry.expires = INT64_MAX;
    entry.encrypt_until = -1;
    entry.sign_until = 1234567890123;
    entry.is_revoked = entry.has_aead = entry.is_primary_uid = true;
    entry.has_secret = false;
    assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
    buf_init(saved, 4096);
    assert_int_equal(keyring_save(keyring, saved), ERR_OK);
    keyring_free(&keyring);
}

static void saved_index_loads_as_it_was(void **state)
{
    (void)state;
    struct keyring *keyring;
    struct buf saved, again;
    make_saved(&saved);
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_OK);
    assert_int_equal(keyring_len(keyring), 2);
    const struct keyring_entry *entry = keyring_at(keyring, 1);
    assert_string_equal(entry->address, "b@x.org");
    assert_string_equal(entry->fingerprint, "CD02");
    assert_string_equal(entry->algorithm, "ed25519/cv25519");
    assert_string_equal(entry->user_id, "A user ID");
    assert_int_equal(entry->format, KEYRING_SMIME);
    assert_int_equal(entry->trust, KEYRING_UNVERIFIED);
    assert_true(entry->created == 8 && entry->expires == INT64_MAX);
    assert_true(entry->encrypt_until == -1 && entry->sign_until == 1234567890123);
    assert_true(entry->is_revoked && entry->has_aead && entry->is_primary_uid);
    assert_false(entry->has_secret || entry->is_disabled);
    buf_init(&again, 4096);
    assert_int_equal(keyring_save(keyring, &again), ERR_OK);
    assert_true(span_is_equal(buf_span(&saved), buf_span(&again)));
    buf_fini(&again);
    buf_init(&again, saved.len - 1);
    assert_int_equal(keyring_save(keyring, &again), ERR_LIMIT);
    assert_int_equal(again.len, 0);
    keyring_free(&keyring);
    buf_fini(&again);
    buf_fini(&saved);
}

static void anything_else_is_no_index(void **state)
{
    (void)state;
    struct keyring *keyring;
    struct buf saved;
    make_saved(&saved);
    for (size_t len = 0; len < saved.len; len++)
        assert_int_equal(keyring_load(span_slice(buf_span(&saved), 0, len), &keyring), ERR_PEER_PROTOCOL);
    assert_int_equal(buf_add_byte(&saved, 0), ERR_OK);
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_PEER_PROTOCOL);
    assert_null(keyring);
    buf_truncate(&saved, saved.len - 1);
    /* The last five bytes: format, trust, source, advice, flags. */
    static const char wrong[] = {3, KEYRING_TRUST_COUNT, KEYRING_SOURCE_COUNT, KEYRING_ADVICE_COUNT, 32};
    for (size_t i = 0; i < sizeof wrong; i++) {
        char *at = saved.data + saved.len - sizeof wrong + i, before = *at;
        *at = wrong[i];
        assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_PEER_PROTOCOL);
        *at = before;
    }
    /* A NUL in a text, and a fingerprint that is none. */
    size_t at = span_find(buf_span(&saved), 0, SPAN_LIT("AB01"));
    saved.data[at] = '\0';
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_PEER_PROTOCOL);
    saved.data[at] = 'a';
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_PEER_PROTOCOL);
    saved.data[at] = 'A';
    assert_int_equal(keyring_load(buf_span(&saved), &keyring), ERR_OK);
    keyring_free(&keyring);
    buf_fini(&saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trust_has_names_both_ways),          cmocka_unit_test(each_refusal_has_its_reason),
        cmocka_unit_test(zeroed_wish_and_entry_take_nothing), cmocka_unit_test(best_is_the_same_in_any_order),
        cmocka_unit_test(empty_index_finds_nothing),          cmocka_unit_test(saved_index_loads_as_it_was),
        cmocka_unit_test(anything_else_is_no_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

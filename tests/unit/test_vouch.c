/* Words laid over a listed ring. */
#include "tests/unit/failing_malloc.h"

#include "keyring/peer.h"

#include <stdio.h>
#include <string.h>

#define BOB "bob@example.org"
#define CAROL "carol@example.org"
#define NOW 1800000000
#define ONE "1111111111111111111111111111111111111111"
#define TWO "2222222222222222222222222222222222222222"

static struct keyring *listed;
static struct buf words;

static int begin(void **state)
{
    (void)state;
    buf_init(&words, 100000000);
    return keyring_new(&listed) == ERR_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    keyring_free(&listed);
    buf_fini(&words);
    return 0;
}

static struct keyring_entry entry_of(const char *address, const char *fingerprint, enum keyring_trust trust)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = trust, .created = 1, .is_primary_uid = true};
    (void)span_copy(span_of(address), entry.address, sizeof entry.address);
    (void)span_copy(span_of(fingerprint), entry.fingerprint, sizeof entry.fingerprint);
    return entry;
}

static void list(const char *address, const char *fingerprint, enum keyring_trust trust)
{
    const struct keyring_entry entry = entry_of(address, fingerprint, trust);
    assert_int_equal(keyring_add(listed, &entry), ERR_OK);
}

static void say(const char *address, const char *fingerprint, enum keyring_source source, enum keyring_trust trust,
                int64_t until)
{
    struct keyring_word word = {.format = KEYRING_OPENPGP,
                                .source = source,
                                .trust = trust,
                                .advice = source == KEYRING_SOURCE_AUTOCRYPT ? KEYRING_ADVICE_MUTUAL
                                          : source == KEYRING_SOURCE_GOSSIP  ? KEYRING_ADVICE_DISCOURAGE
                                                                             : KEYRING_ADVICE_NONE,
                                .until = until};
    (void)span_copy(span_of(address), word.address, sizeof word.address);
    (void)span_copy(span_of(fingerprint), word.fingerprint, sizeof word.fingerprint);
    assert_int_equal(keyring_word_add(&words, &word), ERR_OK);
}

/* The one entry of address and key afterwards; of trust NEVER and no fingerprint: there is none. */
static struct keyring_entry vouched(const char *address, const char *fingerprint)
{
    struct keyring *keyring;
    struct keyring_entry entry = {.trust = KEYRING_NEVER};
    size_t first, found = 0;
    assert_int_equal(keyring_vouch(listed, buf_span(&words), NOW, &keyring), ERR_OK);
    const size_t len = keyring_find(keyring, address, &first);
    for (size_t i = first; i < first + len; i++)
        if (strcmp(keyring_at(keyring, i)->fingerprint, fingerprint) == 0) {
            entry = *keyring_at(keyring, i);
            found++;
        }
    assert_in_range(found, 0, 1);
    keyring_free(&keyring);
    return entry;
}

/* What a person has said of somebody cannot be read: the others count, and the index says so, also when words are laid
   over it again. */
static void test_incomplete(void **state)
{
    const struct keyring_word unread = keyring_word_unread("alice@example.org");
    struct keyring *once, *twice;
    (void)state;
    list(BOB, ONE, KEYRING_UNVERIFIED);
    say(BOB, ONE, KEYRING_SOURCE_PERSON, KEYRING_PINNED, 0);
    assert_int_equal(keyring_vouch(listed, buf_span(&words), NOW, &once), ERR_OK);
    assert_false(keyring_is_incomplete(once));
    keyring_free(&once);
    assert_int_equal(keyring_word_add(&words, &unread), ERR_OK);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_PINNED);
    assert_int_equal(keyring_vouch(listed, buf_span(&words), NOW, &once), ERR_OK);
    assert_true(keyring_is_incomplete(once));
    assert_int_equal(keyring_len(once), 1);
    assert_int_equal(keyring_vouch(once, SPAN_NONE, NOW, &twice), ERR_OK);
    assert_true(keyring_is_incomplete(twice));
    keyring_free(&once);
    keyring_free(&twice);
}

static void test_the_strongest_counts(void **state)
{
    (void)state;
    list(BOB, ONE, KEYRING_UNVERIFIED);
    list(BOB, TWO, KEYRING_UNVERIFIED);
    say(BOB, ONE, KEYRING_SOURCE_KEYSERVER, KEYRING_UNVERIFIED, NOW + 5000);
    say(BOB, ONE, KEYRING_SOURCE_DIRECTORY, KEYRING_FOUND, NOW + 1000);
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, NOW + 2000);
    say(BOB, TWO, KEYRING_SOURCE_KEYSERVER, KEYRING_UNVERIFIED, NOW + 5000);
    struct keyring_entry entry = vouched(BOB, ONE);
    assert_int_equal(entry.trust, KEYRING_FOUND);
    assert_int_equal(entry.source, KEYRING_SOURCE_WKD);
    assert_int_equal(entry.ask_again, NOW + 2000 - KEYRING_WORD_LONGER_S);
    assert_int_equal(entry.encrypt_until, 0);
    assert_false(keyring_is_stale(&entry, NOW + 1999));
    assert_true(keyring_is_stale(&entry, NOW + 2000));
    entry = vouched(BOB, TWO);
    assert_int_equal(entry.trust, KEYRING_UNVERIFIED);
    assert_int_equal(entry.source, KEYRING_SOURCE_KEYSERVER);
    assert_int_equal(entry.ask_again, NOW + 5000 - KEYRING_WORD_LONGER_S);
    assert_int_equal(entry.encrypt_until, 0);
}

/* What a source has found stands, and is stale; all else is over when it is over. */
static void test_what_has_run_out(void **state)
{
    struct keyring_entry entry;
    (void)state;
    list(BOB, ONE, KEYRING_UNVERIFIED);
    list(BOB, TWO, KEYRING_UNVERIFIED);
    say(BOB, ONE, KEYRING_SOURCE_DIRECTORY, KEYRING_FOUND, 1);
    say(BOB, TWO, KEYRING_SOURCE_KEYSERVER, KEYRING_UNVERIFIED, NOW);
    entry = vouched(BOB, ONE);
    assert_int_equal(entry.trust, KEYRING_FOUND);
    assert_int_equal(entry.source, KEYRING_SOURCE_DIRECTORY);
    assert_true(entry.ask_again > 0);
    assert_true(keyring_is_stale(&entry, NOW));
    entry = vouched(BOB, TWO);
    assert_int_equal(entry.source, KEYRING_SOURCE_IMPORT);
    assert_int_equal(entry.ask_again, 0);
    /* Who has said it again is whom it stands by. */
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, NOW + 1000);
    entry = vouched(BOB, ONE);
    assert_int_equal(entry.source, KEYRING_SOURCE_WKD);
    assert_false(keyring_is_stale(&entry, NOW));
}

/* Of the address that it is said of, and of the key, and of nothing else. */
static void test_only_what_is_meant(void **state)
{
    (void)state;
    list(BOB, ONE, KEYRING_UNVERIFIED);
    list(CAROL, ONE, KEYRING_UNVERIFIED);
    list(BOB, TWO, KEYRING_UNVERIFIED);
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_FOUND);
    assert_int_equal(vouched(CAROL, ONE).trust, KEYRING_UNVERIFIED);
    assert_int_equal(vouched(BOB, TWO).trust, KEYRING_UNVERIFIED);
    /* No source that is asked gives a key an address that it does not carry. */
    say(CAROL, TWO, KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    assert_string_equal(vouched(CAROL, TWO).fingerprint, "");
    /* Nor is anything made of a key that is not there. */
    say(CAROL, "3333", KEYRING_SOURCE_PERSON, KEYRING_PINNED, 0);
    assert_string_equal(vouched(CAROL, "3333").fingerprint, "");
}

static void test_nothing_weak_replaces_what_is_strong(void **state)
{
    (void)state;
    list(BOB, ONE, KEYRING_FULL);
    list(CAROL, TWO, KEYRING_OWN);
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, NOW + 1000);
    say(CAROL, TWO, KEYRING_SOURCE_PERSON, KEYRING_NEVER, 0);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_FULL);
    assert_int_equal(vouched(BOB, ONE).ask_again, 0);
    assert_int_equal(vouched(BOB, ONE).encrypt_until, 0);
    assert_int_equal(vouched(CAROL, TWO).trust, KEYRING_OWN);
    say(BOB, ONE, KEYRING_SOURCE_PERSON, KEYRING_PINNED, 0);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_PINNED);
    assert_int_equal(vouched(BOB, ONE).source, KEYRING_SOURCE_PERSON);
}

static void test_what_is_ruled_out_stays_out(void **state)
{
    (void)state;
    list(BOB, ONE, KEYRING_FULL);
    list(CAROL, TWO, KEYRING_NEVER);
    say(BOB, ONE, KEYRING_SOURCE_PERSON, KEYRING_NEVER, 0);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_NEVER);
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    say(CAROL, TWO, KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_NEVER);
    assert_int_equal(vouched(BOB, ONE).source, KEYRING_SOURCE_PERSON);
    assert_int_equal(vouched(CAROL, TWO).trust, KEYRING_NEVER);
    say(CAROL, TWO, KEYRING_SOURCE_PERSON, KEYRING_PINNED, 0);
    assert_int_equal(vouched(CAROL, TWO).trust, KEYRING_PINNED);
}

static void test_autocrypt(void **state)
{
    (void)state;
    list("someone@example.net", ONE, KEYRING_FULL);
    list(CAROL, TWO, KEYRING_UNVERIFIED);
    /* It does not look at user IDs; what the ring says of another address of the key is nothing about this one. */
    say(BOB, ONE, KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN, 0);
    say(CAROL, TWO, KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN, 0);
    struct keyring_entry entry = vouched(BOB, ONE);
    assert_int_equal(entry.trust, KEYRING_SEEN);
    assert_int_equal(entry.advice, KEYRING_ADVICE_MUTUAL);
    assert_false(entry.is_primary_uid);
    assert_int_equal(vouched("someone@example.net", ONE).trust, KEYRING_FULL);
    assert_int_equal(vouched(CAROL, TWO).advice, KEYRING_ADVICE_MUTUAL);
    /* Trusted for another reason, too. */
    say(CAROL, TWO, KEYRING_SOURCE_MAIL, KEYRING_SEEN, 0);
    assert_int_equal(vouched(CAROL, TWO).trust, KEYRING_SEEN);
    assert_int_equal(vouched(CAROL, TWO).advice, KEYRING_ADVICE_NONE);
    assert_int_equal(vouched(CAROL, TWO).source, KEYRING_SOURCE_MAIL);
    buf_clear(&words);
    /* A person's word on top of it is of the same entry. */
    say(BOB, ONE, KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN, 0);
    say(BOB, ONE, KEYRING_SOURCE_PERSON, KEYRING_PINNED, 0);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_PINNED);
    assert_int_equal(vouched(BOB, ONE).advice, KEYRING_ADVICE_NONE);
}

static void test_gossip_stands_behind(void **state)
{
    (void)state;
    struct keyring_entry own = entry_of(BOB, ONE, KEYRING_UNVERIFIED);
    assert_int_equal(keyring_add(listed, &own), ERR_OK);
    list(BOB, TWO, KEYRING_UNVERIFIED);
    say(BOB, TWO, KEYRING_SOURCE_GOSSIP, KEYRING_SEEN, 0);
    assert_int_equal(vouched(BOB, TWO).trust, KEYRING_SEEN);
    buf_clear(&words);
    say(BOB, ONE, KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN, 0);
    say(BOB, TWO, KEYRING_SOURCE_GOSSIP, KEYRING_SEEN, 0);
    assert_int_equal(vouched(BOB, ONE).trust, KEYRING_SEEN);
    assert_int_equal(vouched(BOB, TWO).trust, KEYRING_UNVERIFIED);
    /* Their own can no longer be used (Autocrypt level 1, 2.4). */
    keyring_free(&listed);
    assert_int_equal(keyring_new(&listed), ERR_OK);
    own.expires = NOW - 1;
    assert_int_equal(keyring_add(listed, &own), ERR_OK);
    list(BOB, TWO, KEYRING_UNVERIFIED);
    assert_int_equal(vouched(BOB, TWO).trust, KEYRING_SEEN);
    assert_int_equal(vouched(BOB, TWO).advice, KEYRING_ADVICE_DISCOURAGE);
    /* It is not in the ring yet: it may well be of use. */
    keyring_free(&listed);
    assert_int_equal(keyring_new(&listed), ERR_OK);
    list(BOB, TWO, KEYRING_UNVERIFIED);
    assert_int_equal(vouched(BOB, TWO).trust, KEYRING_UNVERIFIED);
}

/* A key whose user ID was withdrawn stays so, whatever is said. */
static void test_revoked(void **state)
{
    (void)state;
    struct keyring_entry entry = entry_of(BOB, ONE, KEYRING_UNVERIFIED);
    entry.is_revoked = true;
    assert_int_equal(keyring_add(listed, &entry), ERR_OK);
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    assert_true(vouched(BOB, ONE).is_revoked);
    /* It speaks for the key only where no other does. */
    say(CAROL, ONE, KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN, 0);
    assert_true(vouched(CAROL, ONE).is_revoked);
    list("also@example.org", ONE, KEYRING_UNVERIFIED);
    assert_false(vouched(CAROL, ONE).is_revoked);
    assert_true(vouched(BOB, ONE).is_revoked);
}

static void test_malformed(void **state)
{
    struct keyring *keyring;
    (void)state;
    list(BOB, ONE, KEYRING_UNVERIFIED);
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    for (size_t len = 1; len < words.len; len++) {
        assert_int_equal(keyring_vouch(listed, span_slice(buf_span(&words), 0, len), NOW, &keyring), ERR_PEER_PROTOCOL);
        assert_null(keyring);
    }
    /* That a source has told all is nothing that counts. */
    say(BOB, "", KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    assert_int_equal(keyring_vouch(listed, buf_span(&words), NOW, &keyring), ERR_PEER_PROTOCOL);
}

#ifndef FAILING_MALLOC_IS_OFF
static void test_no_memory(void **state)
{
    enum err err = ERR_MEMORY;
    struct keyring *keyring;
    (void)state;
    list(BOB, ONE, KEYRING_UNVERIFIED);
    say(BOB, ONE, KEYRING_SOURCE_WKD, KEYRING_FOUND, 0);
    say(CAROL, ONE, KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN, 0);
    const long live = failing_malloc_live;
    for (size_t left = 0; err == ERR_MEMORY; left++) {
        failing_malloc_left = left;
        err = keyring_vouch(listed, buf_span(&words), NOW, &keyring);
        failing_malloc_left = SIZE_MAX;
        if (err == ERR_MEMORY)
            assert_int_equal(failing_malloc_live, live);
    }
    assert_int_equal(err, ERR_OK);
    keyring_free(&keyring);
    assert_int_equal(failing_malloc_live, live);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_incomplete, begin, end),
        cmocka_unit_test_setup_teardown(test_the_strongest_counts, begin, end),
        cmocka_unit_test_setup_teardown(test_what_has_run_out, begin, end),
        cmocka_unit_test_setup_teardown(test_only_what_is_meant, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_weak_replaces_what_is_strong, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_ruled_out_stays_out, begin, end),
        cmocka_unit_test_setup_teardown(test_autocrypt, begin, end),
        cmocka_unit_test_setup_teardown(test_gossip_stands_behind, begin, end),
        cmocka_unit_test_setup_teardown(test_revoked, begin, end),
        cmocka_unit_test_setup_teardown(test_malformed, begin, end),
#ifndef FAILING_MALLOC_IS_OFF
        cmocka_unit_test_setup_teardown(test_no_memory, begin, end),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

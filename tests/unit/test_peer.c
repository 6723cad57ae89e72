/* A correspondent's record: what each event makes of it, its words, and its saved forms. */
#include "tests/unit/failing_malloc.h"

#include "keyring/peer.h"

#include <stdio.h>
#include <string.h>

#define BOB "bob@example.org"
#define NOW 1800000000
#define DAY 86400
#define ONE "1111111111111111111111111111111111111111"
#define TWO "2222222222222222222222222222222222222222"
#define THREE "3333333333333333333333333333333333333333"

static struct keyring_word word_of(enum keyring_source source, const char *fingerprint, enum keyring_trust trust,
                                   int64_t until)
{
    struct keyring_word word = {
        .address = BOB, .format = KEYRING_OPENPGP, .source = source, .trust = trust, .since = NOW, .until = until};
    assert_true(span_copy(span_of(fingerprint), word.fingerprint, sizeof word.fingerprint));
    if (source == KEYRING_SOURCE_DIRECTORY)
        (void)span_copy(SPAN_LIT("corp"), word.title, sizeof word.title);
    return word;
}

static struct keyring_peer peer_of(void)
{
    struct keyring_peer peer;
    keyring_peer_init(&peer, BOB);
    return peer;
}

static void hear(struct keyring_peer *peer, enum keyring_source source, const char *fingerprint,
                 enum keyring_trust trust, int64_t until)
{
    const struct keyring_word word = word_of(source, fingerprint, trust, until);
    assert_int_equal(keyring_peer_hear(peer, &word), ERR_OK);
}

static const struct keyring_word *find(const struct keyring_peer *peer, enum keyring_source source,
                                       const char *fingerprint)
{
    for (size_t i = 0; i < peer->words_len; i++)
        if (peer->words[i].source == source && strcmp(peer->words[i].fingerprint, fingerprint) == 0)
            return &peer->words[i];
    return NULL;
}

/* ---- events ---- */

static void test_a_source_replaces_its_own_word(void **state)
{
    (void)state;
    struct keyring_peer peer = peer_of();
    hear(&peer, KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_FOUND, NOW + 10);
    hear(&peer, KEYRING_SOURCE_WKD, ONE, KEYRING_FOUND, NOW + 20);
    hear(&peer, KEYRING_SOURCE_DIRECTORY, TWO, KEYRING_FOUND, NOW + 30);
    assert_int_equal(peer.words_len, 3);
    struct keyring_word later = word_of(KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_FOUND, NOW + 40);
    later.since = NOW + 5;
    assert_int_equal(keyring_peer_hear(&peer, &later), ERR_OK);
    assert_int_equal(peer.words_len, 3);
    assert_int_equal(find(&peer, KEYRING_SOURCE_DIRECTORY, ONE)->until, NOW + 40);
    assert_int_equal(find(&peer, KEYRING_SOURCE_DIRECTORY, ONE)->since, NOW);
    /* Another section of the same kind is another source. */
    struct keyring_word other = word_of(KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_UNVERIFIED, NOW + 40);
    (void)span_copy(SPAN_LIT("other"), other.title, sizeof other.title);
    assert_int_equal(keyring_peer_hear(&peer, &other), ERR_OK);
    assert_int_equal(peer.words_len, 4);
    keyring_peer_fini(&peer);
}

static void test_no_source_says_more_than_it_may(void **state)
{
    static const struct {
        enum keyring_source source;
        enum keyring_trust trust;
        enum err err;
    } cases[] = {
        {KEYRING_SOURCE_IMPORT, KEYRING_UNVERIFIED, ERR_OK},
        {KEYRING_SOURCE_IMPORT, KEYRING_SEEN, ERR_REFUSED},
        {KEYRING_SOURCE_MAIL, KEYRING_SEEN, ERR_OK},
        {KEYRING_SOURCE_MAIL, KEYRING_FOUND, ERR_REFUSED},
        {KEYRING_SOURCE_DIRECTORY, KEYRING_FOUND, ERR_OK},
        {KEYRING_SOURCE_DIRECTORY, KEYRING_FULL, ERR_REFUSED},
        {KEYRING_SOURCE_KEYSERVER, KEYRING_FOUND, ERR_REFUSED},
        {KEYRING_SOURCE_WKD, KEYRING_PINNED, ERR_REFUSED},
        {KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN, ERR_REFUSED},
        {KEYRING_SOURCE_GOSSIP, KEYRING_SEEN, ERR_REFUSED},
        {KEYRING_SOURCE_PERSON, KEYRING_PINNED, ERR_OK},
        {KEYRING_SOURCE_PERSON, KEYRING_OWN, ERR_REFUSED},
        {KEYRING_SOURCE_PERSON, KEYRING_NEVER, ERR_OK},
        {KEYRING_SOURCE_WKD, KEYRING_NEVER, ERR_REFUSED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct keyring_peer peer = peer_of();
        const struct keyring_word word = word_of(cases[i].source, ONE, cases[i].trust, 0);
        assert_int_equal(keyring_peer_hear(&peer, &word), cases[i].err);
        assert_int_equal(peer.words_len, cases[i].err == ERR_OK);
        keyring_peer_fini(&peer);
    }
    struct keyring_peer peer = peer_of();
    struct keyring_word word = word_of(KEYRING_SOURCE_WKD, ONE, KEYRING_FOUND, 0);
    (void)span_copy(SPAN_LIT("eve@example.org"), word.address, sizeof word.address);
    assert_int_equal(keyring_peer_hear(&peer, &word), ERR_REFUSED);
    word = word_of(KEYRING_SOURCE_WKD, "", KEYRING_FOUND, 0);
    assert_int_equal(keyring_peer_hear(&peer, &word), ERR_REFUSED);
    word = word_of(KEYRING_SOURCE_WKD, ONE, KEYRING_FOUND, 0);
    word.advice = KEYRING_ADVICE_MUTUAL;
    assert_int_equal(keyring_peer_hear(&peer, &word), ERR_REFUSED);
    keyring_peer_fini(&peer);
}

static void test_one_pin_for_each_format(void **state)
{
    (void)state;
    struct keyring_peer peer = peer_of();
    struct keyring_word smime = word_of(KEYRING_SOURCE_PERSON, THREE, KEYRING_PINNED, 0);
    smime.format = KEYRING_SMIME;
    assert_false(keyring_peer_is_pinned(&peer));
    assert_int_equal(keyring_peer_hear(&peer, &smime), ERR_OK);
    hear(&peer, KEYRING_SOURCE_WKD, ONE, KEYRING_FOUND, 0);
    hear(&peer, KEYRING_SOURCE_PERSON, ONE, KEYRING_NEVER, 0);
    hear(&peer, KEYRING_SOURCE_PERSON, TWO, KEYRING_PINNED, 0);
    hear(&peer, KEYRING_SOURCE_PERSON, THREE, KEYRING_PINNED, 0);
    assert_null(find(&peer, KEYRING_SOURCE_PERSON, TWO));
    assert_int_equal(find(&peer, KEYRING_SOURCE_PERSON, ONE)->trust, KEYRING_NEVER);
    assert_int_equal(peer.words_len, 4);
    assert_true(keyring_peer_is_pinned(&peer));
    /* What was ruled out may be pinned after all, and the other way round. */
    hear(&peer, KEYRING_SOURCE_PERSON, ONE, KEYRING_PINNED, 0);
    assert_int_equal(find(&peer, KEYRING_SOURCE_PERSON, ONE)->trust, KEYRING_PINNED);
    assert_true(keyring_peer_unpin(&peer, KEYRING_OPENPGP));
    assert_false(keyring_peer_unpin(&peer, KEYRING_OPENPGP));
    assert_true(keyring_peer_is_pinned(&peer));
    assert_true(keyring_peer_unpin(&peer, KEYRING_SMIME));
    assert_non_null(find(&peer, KEYRING_SOURCE_WKD, ONE));
    assert_int_equal(peer.words_len, 1);
    keyring_peer_fini(&peer);
}

static void test_the_oldest_of_the_weakest_goes(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE];
    (void)state;
    struct keyring_peer peer = peer_of();
    hear(&peer, KEYRING_SOURCE_PERSON, ONE, KEYRING_NEVER, 0);
    hear(&peer, KEYRING_SOURCE_WKD, TWO, KEYRING_FOUND, 0);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(fingerprint, sizeof fingerprint, "%040d", i);
        struct keyring_word word = word_of(KEYRING_SOURCE_KEYSERVER, fingerprint, KEYRING_UNVERIFIED, 0);
        word.since = NOW + i;
        assert_int_equal(keyring_peer_hear(&peer, &word), ERR_OK);
    }
    assert_int_equal(peer.words_len, KEYRING_PEER_WORDS_MAX);
    assert_non_null(find(&peer, KEYRING_SOURCE_PERSON, ONE));
    assert_non_null(find(&peer, KEYRING_SOURCE_WKD, TWO));
    assert_non_null(find(&peer, KEYRING_SOURCE_KEYSERVER, fingerprint));
    assert_null(find(&peer, KEYRING_SOURCE_KEYSERVER, "0000000000000000000000000000000000000085"));
    assert_non_null(find(&peer, KEYRING_SOURCE_KEYSERVER, "0000000000000000000000000000000000000086"));
    /* What a source found stands though it has run out: nobody makes it go with words that count less. */
    hear(&peer, KEYRING_SOURCE_WKD, TWO, KEYRING_FOUND, NOW - 1);
    hear(&peer, KEYRING_SOURCE_WKD, THREE, KEYRING_FOUND, 0);
    assert_non_null(find(&peer, KEYRING_SOURCE_WKD, TWO));
    for (int i = 0; i < KEYRING_PEER_WORDS_MAX; i++) {
        (void)snprintf(fingerprint, sizeof fingerprint, "BB%038d", i);
        hear(&peer, KEYRING_SOURCE_MAIL, fingerprint, KEYRING_SEEN, 0);
    }
    assert_non_null(find(&peer, KEYRING_SOURCE_WKD, TWO));
    /* Of other words one that has run out goes first, though it would count more. */
    hear(&peer, KEYRING_SOURCE_DIRECTORY, THREE, KEYRING_SEEN, NOW - 1);
    hear(&peer, KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_UNVERIFIED, 0);
    assert_null(find(&peer, KEYRING_SOURCE_DIRECTORY, THREE));
    /* Where all are stronger there is no room; of those it is the stale one that goes. */
    for (int i = 0; i < KEYRING_PEER_WORDS_MAX; i++) {
        (void)snprintf(fingerprint, sizeof fingerprint, "AA%038d", i);
        hear(&peer, KEYRING_SOURCE_WKD, fingerprint, KEYRING_FOUND, 0);
    }
    hear(&peer, KEYRING_SOURCE_KEYSERVER, TWO, KEYRING_UNVERIFIED, 0);
    assert_null(find(&peer, KEYRING_SOURCE_KEYSERVER, TWO));
    assert_null(find(&peer, KEYRING_SOURCE_WKD, TWO));
    assert_non_null(find(&peer, KEYRING_SOURCE_PERSON, ONE));
    assert_int_equal(peer.words_len, KEYRING_PEER_WORDS_MAX);
    keyring_peer_fini(&peer);
}

/* Several words and the ends of sources, as a keeper hands them on. `text`: "d1" the directory has ONE, "w2" WKD has
   TWO, "d." the directory has told all. */
static enum err hear_all(struct keyring_peer *peer, const char *text, bool *changed)
{
    struct buf saved;
    buf_init(&saved, 100000);
    for (; *text != '\0'; text += 2) {
        const char *fingerprint = text[1] == '1' ? ONE : text[1] == '2' ? TWO : "";
        const struct keyring_word word = word_of(*text == 'd' ? KEYRING_SOURCE_DIRECTORY : KEYRING_SOURCE_WKD,
                                                 fingerprint, KEYRING_FOUND, NOW + DAY);
        assert_int_equal(keyring_word_add(&saved, &word), ERR_OK);
    }
    const enum err err = keyring_peer_hear_all(peer, buf_span(&saved), changed);
    buf_fini(&saved);
    return err;
}

static void test_a_source_takes_its_word_back(void **state)
{
    (void)state;
    struct keyring_peer peer = peer_of();
    bool changed;
    assert_int_equal(hear_all(&peer, "d1d2w1d.", &changed), ERR_OK);
    assert_true(changed);
    assert_int_equal(peer.words_len, 3);
    assert_int_equal(hear_all(&peer, "d1d2w1d.", &changed), ERR_OK);
    assert_false(changed);
    assert_int_equal(hear_all(&peer, "d2d.", &changed), ERR_OK);
    assert_true(changed);
    assert_null(find(&peer, KEYRING_SOURCE_DIRECTORY, ONE));
    assert_non_null(find(&peer, KEYRING_SOURCE_DIRECTORY, TWO));
    assert_non_null(find(&peer, KEYRING_SOURCE_WKD, ONE));
    /* Without its end nothing is taken back; the end alone takes all. */
    assert_int_equal(hear_all(&peer, "d1", &changed), ERR_OK);
    assert_int_equal(peer.words_len, 3);
    assert_int_equal(hear_all(&peer, "d.", &changed), ERR_OK);
    assert_true(changed);
    assert_int_equal(peer.words_len, 1);
    hear(&peer, KEYRING_SOURCE_PERSON, ONE, KEYRING_PINNED, 0);
    assert_int_equal(hear_all(&peer, "w.d.", &changed), ERR_OK);
    assert_int_equal(peer.words_len, 1);
    assert_int_equal(hear_all(&peer, "w.d.", &changed), ERR_OK);
    assert_false(changed);
    assert_int_equal(keyring_peer_hear_all(&peer, SPAN_LIT("no words"), &changed), ERR_PEER_PROTOCOL);
    keyring_peer_fini(&peer);
}

static void test_sent_and_received_are_counted(void **state)
{
    (void)state;
    struct keyring_peer peer = peer_of();
    bool changed;
    const struct keyring_heard heard = {.address = BOB, .at = NOW - DAY};
    keyring_peer_sent(&peer, KEYRING_OPENPGP, "", NOW);
    assert_string_equal(peer.chosen[0], "");
    keyring_peer_sent(&peer, KEYRING_OPENPGP, ONE, NOW + 1);
    keyring_peer_sent(&peer, KEYRING_SMIME, TWO, NOW + 2);
    keyring_peer_sent(&peer, KEYRING_OPENPGP, "", NOW + 3);
    assert_string_equal(peer.chosen[0], ONE);
    assert_string_equal(peer.chosen[1], TWO);
    assert_int_equal(peer.sent, 4);
    assert_int_equal(keyring_peer_received(&peer, &heard, &changed), ERR_OK);
    assert_int_equal(peer.received, 1);
    assert_int_equal(peer.first_seen, NOW - DAY);
    assert_int_equal(peer.last_seen, NOW + 3);
    keyring_peer_fini(&peer);
}

/* ---- words ---- */

static void set_autocrypt(struct keyring_peer *peer, int64_t age, bool is_mutual, bool has_gossip)
{
    struct keyring_autocrypt *autocrypt = &peer->autocrypt;
    autocrypt->timestamp = NOW - age;
    autocrypt->last_seen = NOW;
    autocrypt->is_mutual = is_mutual;
    buf_clear(&autocrypt->key);
    buf_clear(&autocrypt->gossip_key);
    if (age >= 0) {
        (void)span_copy(SPAN_LIT(ONE), autocrypt->fingerprint, sizeof autocrypt->fingerprint);
        assert_int_equal(buf_add_string(&autocrypt->key, "key"), ERR_OK);
    }
    if (has_gossip) {
        (void)span_copy(SPAN_LIT(TWO), autocrypt->gossip_fingerprint, sizeof autocrypt->gossip_fingerprint);
        assert_int_equal(buf_add_string(&autocrypt->gossip_key, "gossip"), ERR_OK);
    }
}

static void test_words_that_count(void **state)
{
    struct keyring_word words[KEYRING_PEER_WORDS_MAX + 2];
    (void)state;
    struct keyring_peer peer = peer_of();
    assert_int_equal(keyring_peer_words(&peer, NOW, words), 0);
    hear(&peer, KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_UNVERIFIED, NOW + 10);
    hear(&peer, KEYRING_SOURCE_WKD, TWO, KEYRING_FOUND, NOW + 10);
    assert_int_equal(keyring_peer_words(&peer, NOW, words), 2);
    assert_int_equal(keyring_peer_words(&peer, NOW + 10, words), 1);
    assert_string_equal(words[0].address, BOB);
    assert_int_equal(words[0].source, KEYRING_SOURCE_WKD);
    static const struct {
        int64_t age;
        bool is_mutual;
        enum keyring_advice advice;
    } cases[] = {{0, false, KEYRING_ADVICE_AVAILABLE},
                 {0, true, KEYRING_ADVICE_MUTUAL},
                 {35 * DAY, true, KEYRING_ADVICE_MUTUAL},
                 {35 * DAY + 1, true, KEYRING_ADVICE_DISCOURAGE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_autocrypt(&peer, cases[i].age, cases[i].is_mutual, true);
        assert_int_equal(keyring_peer_words(&peer, NOW + 10, words), 3);
        assert_int_equal(words[1].source, KEYRING_SOURCE_AUTOCRYPT);
        assert_int_equal(words[1].trust, KEYRING_SEEN);
        assert_int_equal(words[1].advice, cases[i].advice);
        assert_string_equal(words[1].fingerprint, ONE);
        assert_int_equal(words[2].source, KEYRING_SOURCE_GOSSIP);
        assert_int_equal(words[2].advice, KEYRING_ADVICE_DISCOURAGE);
        assert_string_equal(words[2].fingerprint, TWO);
    }
    keyring_peer_fini(&peer);
}

/* ---- saved forms ---- */

static struct keyring_peer full_peer(void)
{
    struct keyring_peer peer = peer_of();
    hear(&peer, KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_FOUND, NOW + 10);
    hear(&peer, KEYRING_SOURCE_PERSON, TWO, KEYRING_NEVER, 0);
    set_autocrypt(&peer, 7, true, true);
    keyring_peer_sent(&peer, KEYRING_SMIME, THREE, NOW);
    peer.received = 12345678901;
    return peer;
}

static void save(const struct keyring_peer *peer, struct buf *saved)
{
    buf_init(saved, KEYRING_PEER_SAVED_MAX);
    assert_int_equal(keyring_peer_save(peer, saved), ERR_OK);
}

static void test_saved(void **state)
{
    struct buf saved, again;
    struct keyring_peer loaded, peer = full_peer();
    peer.refreshed = 1234567;
    (void)state;
    save(&peer, &saved);
    assert_int_equal(keyring_peer_load(buf_span(&saved), &loaded), ERR_OK);
    assert_string_equal(loaded.address, BOB);
    assert_int_equal(loaded.refreshed, peer.refreshed);
    assert_int_equal(loaded.words_len, 2);
    assert_string_equal(loaded.words[0].address, BOB);
    assert_string_equal(loaded.words[0].title, "corp");
    assert_int_equal(loaded.words[1].trust, KEYRING_NEVER);
    assert_int_equal(loaded.received, 12345678901);
    assert_string_equal(loaded.chosen[1], THREE);
    assert_string_equal(loaded.autocrypt.gossip_key.data, "gossip");
    assert_true(loaded.autocrypt.is_mutual);
    save(&loaded, &again);
    assert_true(span_is_equal(buf_span(&saved), buf_span(&again)));
    keyring_peer_fini(&loaded);
    buf_fini(&again);
    buf_fini(&saved);
    keyring_peer_fini(&peer);
}

/* A record from before there was refreshing: all else is there, and its keys are due. */
static void test_saved_by_version_1(void **state)
{
    struct keyring_peer loaded, peer = full_peer();
    struct buf saved;
    (void)state;
    memcpy(&peer.refreshed, "ZZZZZZZZ", sizeof peer.refreshed);
    save(&peer, &saved);
    const size_t at = span_find(buf_span(&saved), 0, SPAN_LIT("ZZZZZZZZ"));
    saved.data[0] = 1;
    memmove(saved.data + at, saved.data + at + 8, saved.len - at - 8);
    assert_int_equal(keyring_peer_load(span_slice(buf_span(&saved), 0, saved.len - 8), &loaded), ERR_OK);
    assert_true(loaded.refreshed == 0 && loaded.received == peer.received && loaded.words_len == 2);
    assert_true(loaded.autocrypt.is_mutual);
    buf_fini(&saved);
    keyring_peer_fini(&loaded);
    keyring_peer_fini(&peer);
}

/* The largest there can be fits. */
static void test_saved_largest(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE];
    struct buf saved;
    struct keyring_peer peer;
    (void)state;
    char *address = calloc(1, MIME_ADDR_SIZE), *key = calloc(1, KEYRING_PEER_KEY_MAX);
    memset(address, 'a', MIME_ADDR_SIZE - 1);
    keyring_peer_init(&peer, address);
    for (int i = 0; i < KEYRING_PEER_WORDS_MAX; i++) {
        struct keyring_word word = word_of(KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_FOUND, NOW);
        (void)snprintf(fingerprint, sizeof fingerprint, "%064d", i);
        memcpy(word.fingerprint, fingerprint, sizeof fingerprint);
        memset(word.title, 't', sizeof word.title - 1);
        memcpy(word.address, address, MIME_ADDR_SIZE);
        assert_int_equal(keyring_peer_hear(&peer, &word), ERR_OK);
    }
    assert_int_equal(buf_add(&peer.autocrypt.key, key, KEYRING_PEER_KEY_MAX), ERR_OK);
    assert_int_equal(buf_add(&peer.autocrypt.gossip_key, key, KEYRING_PEER_KEY_MAX), ERR_OK);
    memcpy(peer.autocrypt.fingerprint, fingerprint, sizeof fingerprint);
    memcpy(peer.autocrypt.gossip_fingerprint, fingerprint, sizeof fingerprint);
    save(&peer, &saved);
    keyring_peer_fini(&peer);
    assert_int_equal(keyring_peer_load(buf_span(&saved), &peer), ERR_OK);
    assert_int_equal(peer.words_len, KEYRING_PEER_WORDS_MAX);
    keyring_peer_fini(&peer);
    buf_fini(&saved);
    free(address);
    free(key);
}

/* Cut anywhere, or longer, or with any byte changed: it is none, or one that saves to the same bytes. */
static void test_damaged(void **state)
{
    struct buf saved, again;
    struct keyring_peer loaded, peer = full_peer();
    (void)state;
    save(&peer, &saved);
    for (size_t len = 0; len < saved.len; len++)
        assert_int_equal(keyring_peer_load(span_slice(buf_span(&saved), 0, len), &loaded), ERR_STORE);
    for (size_t at = 0; at < saved.len; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            saved.data[at] = (char)(saved.data[at] ^ (1 << bit));
            const enum err err = keyring_peer_load(buf_span(&saved), &loaded);
            if (err == ERR_OK) {
                save(&loaded, &again);
                assert_true(span_is_equal(buf_span(&saved), buf_span(&again)));
                buf_fini(&again);
                keyring_peer_fini(&loaded);
            } else {
                assert_int_equal(err, ERR_STORE);
            }
            saved.data[at] = (char)(saved.data[at] ^ (1 << bit));
        }
    assert_int_equal(buf_add_byte(&saved, 0), ERR_OK);
    assert_int_equal(keyring_peer_load(buf_span(&saved), &loaded), ERR_STORE);
    buf_fini(&saved);
    keyring_peer_fini(&peer);
}

/* A key that came with mail that verified: a word, once, and no message more. */
static void test_attached(void **state)
{
    struct keyring_peer peer;
    struct keyring_heard heard = {.address = BOB, .at = NOW, .is_attached = true}, taken;
    struct buf saved;
    bool is_changed;
    (void)state;
    (void)span_copy(SPAN_LIT(ONE), heard.fingerprint, sizeof heard.fingerprint);
    buf_init(&saved, 1000);
    assert_int_equal(keyring_heard_add(&saved, &heard), ERR_OK);
    for (size_t len = 1; len <= saved.len; len++) {
        struct span rest = span_slice(buf_span(&saved), 0, len);
        assert_int_equal(keyring_heard_take(&rest, &taken), len == saved.len ? ERR_OK : ERR_PEER_PROTOCOL);
    }
    buf_fini(&saved);
    assert_true(taken.is_attached && !taken.has_key);
    keyring_peer_init(&peer, BOB);
    assert_int_equal(keyring_peer_received(&peer, &taken, &is_changed), ERR_OK);
    assert_true(is_changed);
    assert_int_equal(keyring_peer_received(&peer, &taken, &is_changed), ERR_OK);
    assert_false(is_changed);
    assert_int_equal(peer.words_len, 1);
    assert_int_equal(peer.words[0].source, KEYRING_SOURCE_MAIL);
    assert_int_equal(peer.words[0].trust, KEYRING_SEEN);
    assert_int_equal(peer.words[0].since, NOW);
    assert_int_equal(peer.words[0].until, 0);
    assert_int_equal(peer.received, 0);
    keyring_peer_fini(&peer);
}

static void test_travelling_forms(void **state)
{
    struct buf saved;
    struct keyring_word word;
    struct keyring_heard heard, first = {.address = BOB, .at = NOW, .has_key = true, .is_mutual = true};
    const struct keyring_heard second = {.address = "carol@example.org", .at = 5};
    (void)state;
    buf_init(&saved, 100000);
    const struct keyring_word one = word_of(KEYRING_SOURCE_DIRECTORY, ONE, KEYRING_FOUND, NOW),
                              end = word_of(KEYRING_SOURCE_WKD, "", KEYRING_FOUND, NOW);
    assert_int_equal(keyring_word_add(&saved, &one), ERR_OK);
    assert_int_equal(keyring_word_add(&saved, &end), ERR_OK);
    struct span rest = buf_span(&saved);
    assert_int_equal(keyring_word_take(&rest, &word), ERR_OK);
    assert_string_equal(word.title, "corp");
    assert_string_equal(word.fingerprint, ONE);
    assert_int_equal(keyring_word_take(&rest, &word), ERR_OK);
    assert_string_equal(word.fingerprint, "");
    assert_int_equal(keyring_word_take(&rest, &word), ERR_END);
    for (size_t len = 1; len < saved.len / 2; len++) {
        rest = span_slice(buf_span(&saved), 0, len);
        assert_int_equal(keyring_word_take(&rest, &word), ERR_PEER_PROTOCOL);
    }
    buf_clear(&saved);
    (void)span_copy(SPAN_LIT(ONE), first.fingerprint, sizeof first.fingerprint);
    first.key = SPAN_LIT("a key");
    assert_int_equal(keyring_heard_add(&saved, &first), ERR_OK);
    const size_t first_len = saved.len;
    assert_int_equal(keyring_heard_add(&saved, &second), ERR_OK);
    rest = buf_span(&saved);
    assert_int_equal(keyring_heard_take(&rest, &heard), ERR_OK);
    assert_true(heard.is_mutual && heard.has_key && !heard.is_gossip);
    assert_true(span_is_equal(heard.key, SPAN_LIT("a key")));
    assert_int_equal(keyring_heard_take(&rest, &heard), ERR_OK);
    assert_false(heard.has_key);
    assert_int_equal(heard.at, 5);
    assert_int_equal(keyring_heard_take(&rest, &heard), ERR_END);
    for (size_t len = 1; len < saved.len; len++) {
        rest = span_slice(buf_span(&saved), 0, len);
        enum err err = keyring_heard_take(&rest, &heard);
        if (err == ERR_OK && len > first_len)
            err = keyring_heard_take(&rest, &heard);
        assert_int_equal(err, len == first_len ? ERR_OK : ERR_PEER_PROTOCOL);
    }
    buf_fini(&saved);
}

#ifndef FAILING_MALLOC_IS_OFF
/* Without memory it is said so, and nothing is left behind. */
static void test_no_memory(void **state)
{
    struct buf saved;
    struct keyring_peer loaded, peer = full_peer();
    enum err err = ERR_MEMORY;
    (void)state;
    for (size_t left = 0; err == ERR_MEMORY; left++) {
        buf_init(&saved, KEYRING_PEER_SAVED_MAX);
        failing_malloc_left = left;
        err = keyring_peer_save(&peer, &saved);
        failing_malloc_left = SIZE_MAX;
        if (err == ERR_MEMORY)
            buf_fini(&saved);
    }
    assert_int_equal(err, ERR_OK);
    const long live = failing_malloc_live;
    err = ERR_MEMORY;
    for (size_t left = 0; err == ERR_MEMORY; left++) {
        failing_malloc_left = left;
        err = keyring_peer_load(buf_span(&saved), &loaded);
        failing_malloc_left = SIZE_MAX;
        if (err == ERR_MEMORY)
            assert_int_equal(failing_malloc_live, live);
    }
    assert_int_equal(err, ERR_OK);
    keyring_peer_fini(&loaded);
    assert_int_equal(failing_malloc_live, live);
    buf_fini(&saved);
    keyring_peer_fini(&peer);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_source_replaces_its_own_word),
        cmocka_unit_test(test_no_source_says_more_than_it_may),
        cmocka_unit_test(test_one_pin_for_each_format),
        cmocka_unit_test(test_the_oldest_of_the_weakest_goes),
        cmocka_unit_test(test_a_source_takes_its_word_back),
        cmocka_unit_test(test_sent_and_received_are_counted),
        cmocka_unit_test(test_words_that_count),
        cmocka_unit_test(test_saved),
        cmocka_unit_test(test_saved_by_version_1),
        cmocka_unit_test(test_saved_largest),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_attached),
        cmocka_unit_test(test_travelling_forms),
#ifndef FAILING_MALLOC_IS_OFF
        cmocka_unit_test(test_no_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

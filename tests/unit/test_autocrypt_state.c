/*
 * What each kind of message does to what Autocrypt knows of a correspondent: every step of sections 2.3, 2.4 and 5 of
 * level 1, with times that are given.
 */
#include "keyring/autocrypt.h"
#include "tests/unit/failing_malloc.h"

#include <string.h>

#define DAY ((int64_t)86400)
#define STALE (35 * DAY)
#define T ((int64_t)1700000000)

/* What happened, and what is known then. */
enum kind { MAIL, FIELD, GOSSIP };
struct event {
    enum kind kind;
    int64_t at;
    char key; /* 'A', 'B' ...: which; 0: none */
    bool is_mutual;
};
struct row {
    const char *what;
    struct event events[6];
    char key, gossip_key;
    bool is_mutual;
    int64_t last_seen, timestamp, gossip_timestamp;
    enum keyring_advice advice;
    bool changed; /* said of the last event */
};

static const struct row rows[] = {
    {"nothing is known", {{0}}, 0, 0, false, 0, 0, 0, KEYRING_ADVICE_NONE, false},
    {"mail without a field from somebody new", {{MAIL, T, 0, false}}, 0, 0, false, T, 0, 0, KEYRING_ADVICE_NONE, false},
    {"the first field, no preference",
     {{FIELD, T, 'A', false}},
     'A',
     0,
     false,
     T,
     T,
     0,
     KEYRING_ADVICE_AVAILABLE,
     true},
    {"the first field, mutual", {{FIELD, T, 'A', true}}, 'A', 0, true, T, T, 0, KEYRING_ADVICE_MUTUAL, true},
    {"a field after mail without",
     {{MAIL, T, 0, false}, {FIELD, T + 1, 'A', true}},
     'A',
     0,
     true,
     T + 1,
     T + 1,
     0,
     KEYRING_ADVICE_MUTUAL,
     true},
    {"a field that is older than mail without one: last_seen stays (step 2)",
     {{MAIL, T, 0, false}, {FIELD, T - 9, 'A', true}},
     'A',
     0,
     true,
     T,
     T - 9,
     0,
     KEYRING_ADVICE_MUTUAL,
     true},
    {"a field so much older that it is stale at once",
     {{MAIL, T, 0, false}, {FIELD, T - STALE - 1, 'A', true}},
     'A',
     0,
     true,
     T,
     T - STALE - 1,
     0,
     KEYRING_ADVICE_DISCOURAGE,
     true},
    {"the same field again",
     {{FIELD, T, 'A', true}, {FIELD, T + 5, 'A', true}},
     'A',
     0,
     true,
     T + 5,
     T + 5,
     0,
     KEYRING_ADVICE_MUTUAL,
     false},
    {"the newer field replaces the key",
     {{FIELD, T, 'A', true}, {FIELD, T + 5, 'B', true}},
     'B',
     0,
     true,
     T + 5,
     T + 5,
     0,
     KEYRING_ADVICE_MUTUAL,
     true},
    {"and the preference, down",
     {{FIELD, T, 'A', true}, {FIELD, T + 5, 'A', false}},
     'A',
     0,
     false,
     T + 5,
     T + 5,
     0,
     KEYRING_ADVICE_AVAILABLE,
     true},
    {"and up",
     {{FIELD, T, 'A', false}, {FIELD, T + 5, 'A', true}},
     'A',
     0,
     true,
     T + 5,
     T + 5,
     0,
     KEYRING_ADVICE_MUTUAL,
     true},
    {"an older field changes nothing (step 1)",
     {{FIELD, T, 'A', true}, {FIELD, T - 1, 'B', false}},
     'A',
     0,
     true,
     T,
     T,
     0,
     KEYRING_ADVICE_MUTUAL,
     false},
    {"one of the same second does: it is not older",
     {{FIELD, T, 'A', true}, {FIELD, T, 'B', false}},
     'B',
     0,
     false,
     T,
     T,
     0,
     KEYRING_ADVICE_AVAILABLE,
     true},
    {"older mail without a field changes nothing (step 1)",
     {{FIELD, T, 'A', true}, {MAIL, T - 1, 0, false}},
     'A',
     0,
     true,
     T,
     T,
     0,
     KEYRING_ADVICE_MUTUAL,
     false},
    {"newer mail without a field is seen (steps 2 and 3)",
     {{FIELD, T, 'A', true}, {MAIL, T + 1, 0, false}},
     'A',
     0,
     true,
     T + 1,
     T,
     0,
     KEYRING_ADVICE_MUTUAL,
     false},
    {"for 35 days the key stands",
     {{FIELD, T, 'A', true}, {MAIL, T + STALE, 0, false}},
     'A',
     0,
     true,
     T + STALE,
     T,
     0,
     KEYRING_ADVICE_MUTUAL,
     false},
    {"after them it is discouraged",
     {{FIELD, T, 'A', true}, {MAIL, T + STALE + 1, 0, false}},
     'A',
     0,
     true,
     T + STALE + 1,
     T,
     0,
     KEYRING_ADVICE_DISCOURAGE,
     true},
    {"so is one without a preference",
     {{FIELD, T, 'A', false}, {MAIL, T + STALE + 1, 0, false}},
     'A',
     0,
     false,
     T + STALE + 1,
     T,
     0,
     KEYRING_ADVICE_DISCOURAGE,
     true},
    {"a field brings it back",
     {{FIELD, T, 'A', true}, {MAIL, T + STALE + 1, 0, false}, {FIELD, T + STALE + 2, 'A', true}},
     'A',
     0,
     true,
     T + STALE + 2,
     T + STALE + 2,
     0,
     KEYRING_ADVICE_MUTUAL,
     true},
    {"mail between two that were seen moves nothing back",
     {{FIELD, T, 'A', true}, {MAIL, T + 9, 0, false}, {MAIL, T + 5, 0, false}},
     'A',
     0,
     true,
     T + 9,
     T,
     0,
     KEYRING_ADVICE_MUTUAL,
     false},
    {"a field between two that were seen counts",
     {{FIELD, T, 'A', true}, {MAIL, T + 9, 0, false}, {FIELD, T + 5, 'B', false}},
     'B',
     0,
     false,
     T + 9,
     T + 5,
     0,
     KEYRING_ADVICE_AVAILABLE,
     true},

    {"gossip of somebody new", {{GOSSIP, T, 'G', false}}, 0, 'G', false, 0, 0, T, KEYRING_ADVICE_DISCOURAGE, true},
    {"newer gossip replaces gossip",
     {{GOSSIP, T, 'G', false}, {GOSSIP, T + 1, 'H', false}},
     0,
     'H',
     false,
     0,
     0,
     T + 1,
     KEYRING_ADVICE_DISCOURAGE,
     true},
    {"so does gossip of the same second",
     {{GOSSIP, T, 'G', false}, {GOSSIP, T, 'H', false}},
     0,
     'H',
     false,
     0,
     0,
     T,
     KEYRING_ADVICE_DISCOURAGE,
     true},
    {"older gossip does not",
     {{GOSSIP, T, 'G', false}, {GOSSIP, T - 1, 'H', false}},
     0,
     'G',
     false,
     0,
     0,
     T,
     KEYRING_ADVICE_DISCOURAGE,
     false},
    {"the same gossip again only moves its time",
     {{GOSSIP, T, 'G', false}, {GOSSIP, T + 1, 'G', false}},
     0,
     'G',
     false,
     0,
     0,
     T + 1,
     KEYRING_ADVICE_DISCOURAGE,
     false},
    {"gossip has no preference", {{GOSSIP, T, 'G', true}}, 0, 'G', false, 0, 0, T, KEYRING_ADVICE_DISCOURAGE, true},
    {"gossip touches neither key nor preference nor times of their own field",
     {{FIELD, T, 'A', true}, {GOSSIP, T + 99, 'G', false}},
     'A',
     'G',
     true,
     T,
     T,
     T + 99,
     KEYRING_ADVICE_MUTUAL,
     true},
    {"their own field does not touch gossip",
     {{GOSSIP, T, 'G', false}, {FIELD, T + 1, 'A', true}},
     'A',
     'G',
     true,
     T + 1,
     T + 1,
     T,
     KEYRING_ADVICE_MUTUAL,
     true},
    {"gossip newer than a field that is stale encourages nobody",
     {{FIELD, T, 'A', true}, {MAIL, T + STALE + 1, 0, false}, {GOSSIP, T + STALE + 2, 'G', false}},
     'A',
     'G',
     true,
     T + STALE + 1,
     T,
     T + STALE + 2,
     KEYRING_ADVICE_DISCOURAGE,
     true},
    {"gossip without a key is none", {{GOSSIP, T, 0, false}}, 0, 0, false, 0, 0, 0, KEYRING_ADVICE_NONE, false},
};

static void fingerprint_of(char letter, char fingerprint_out[KEYRING_FPR_SIZE])
{
    memset(fingerprint_out, 0, KEYRING_FPR_SIZE);
    if (letter != 0)
        memset(fingerprint_out, letter, 40);
}

static enum err happen(struct keyring_peer *peer, const struct event *event, bool *changed_out)
{
    struct keyring_heard heard = {.address = "bob@example.org",
                                  .at = event->at,
                                  .is_gossip = event->kind == GOSSIP,
                                  .has_key = event->key != 0,
                                  .is_mutual = event->is_mutual,
                                  .key = event->key != 0 ? (struct span){&event->key, 1} : SPAN_NONE};
    fingerprint_of(event->key, heard.fingerprint);
    return keyring_peer_received(peer, &heard, changed_out);
}

static struct keyring_peer new_peer(void)
{
    struct keyring_peer peer = {.address = "bob@example.org"};
    buf_init(&peer.autocrypt.key, KEYRING_PEER_KEY_MAX);
    buf_init(&peer.autocrypt.gossip_key, KEYRING_PEER_KEY_MAX);
    return peer;
}

static void end_peer(struct keyring_peer *peer)
{
    buf_fini(&peer->autocrypt.key);
    buf_fini(&peer->autocrypt.gossip_key);
}

static void check_key(const char *what, char letter, const struct buf *key, const char *fingerprint)
{
    char expected[KEYRING_FPR_SIZE];
    fingerprint_of(letter, expected);
    if (strcmp(expected, fingerprint) != 0 || key->len != (letter != 0) || (letter != 0 && key->data[0] != letter))
        fail_msg("%s: key is %s", what, fingerprint);
}

static void every_transition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct keyring_peer peer = new_peer();
        const struct keyring_autocrypt *known = &peer.autocrypt;
        bool changed = false;
        for (size_t j = 0; row->events[j].at != 0; j++)
            assert_int_equal(happen(&peer, &row->events[j], &changed), ERR_OK);
        check_key(row->what, row->key, &known->key, known->fingerprint);
        check_key(row->what, row->gossip_key, &known->gossip_key, known->gossip_fingerprint);
        if (known->is_mutual != row->is_mutual || known->last_seen != row->last_seen ||
            known->timestamp != row->timestamp || known->gossip_timestamp != row->gossip_timestamp ||
            keyring_autocrypt_advice(&peer) != row->advice || changed != row->changed)
            fail_msg("%s: mutual %d, last_seen %+lld, timestamp %+lld, gossip %+lld, advice %d, changed %d", row->what,
                     known->is_mutual, (long long)(known->last_seen - T), (long long)(known->timestamp - T),
                     (long long)(known->gossip_timestamp - T), (int)keyring_autocrypt_advice(&peer), changed);
        end_peer(&peer);
    }
}

/* Whatever Autocrypt makes of it, mail is counted; gossip is no mail. */
static void mail_is_counted(void **state)
{
    (void)state;
    static const struct event events[] = {
        {FIELD, T, 'A', true}, {MAIL, T - 50, 0, false}, {GOSSIP, T + 500, 'G', false}, {MAIL, T + 70, 0, false}};
    struct keyring_peer peer = new_peer();
    bool changed;
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        assert_int_equal(happen(&peer, &events[i], &changed), ERR_OK);
    assert_int_equal(peer.received, 3);
    assert_int_equal(peer.first_seen, T - 50);
    assert_int_equal(peer.last_seen, T + 70);
    end_peer(&peer);
}

static bool replace(void *context)
{
    static const struct event first = {FIELD, T, 'A', false}, second = {FIELD, T + 1, 'B', true};
    struct keyring_peer peer = new_peer();
    bool changed = false;
    (void)context;
    enum err err = happen(&peer, &first, &changed);
    if (err == ERR_OK) {
        err = happen(&peer, &second, &changed);
        /* All of it, or nothing. */
        check_key("replaced", err == ERR_OK ? 'B' : 'A', &peer.autocrypt.key, peer.autocrypt.fingerprint);
        assert_int_equal(peer.autocrypt.timestamp, err == ERR_OK ? T + 1 : T);
        assert_int_equal(peer.autocrypt.last_seen, err == ERR_OK ? T + 1 : T);
        assert_int_equal(peer.autocrypt.is_mutual, err == ERR_OK);
        assert_int_equal(peer.received, err == ERR_OK ? 2 : 1);
        assert_int_equal(changed, err == ERR_OK);
    }
    assert_true(err == ERR_OK || err == ERR_MEMORY);
    end_peer(&peer);
    return err == ERR_OK;
}

static void without_memory_all_stays_as_it_was(void **state)
{
    (void)state;
    failing_malloc_run(replace, NULL);
}

static void a_key_that_is_none_or_too_large_is_refused(void **state)
{
    (void)state;
    static char large[KEYRING_PEER_KEY_MAX + 1];
    struct keyring_peer peer = new_peer();
    struct keyring_heard heard = {.at = T, .has_key = true, .fingerprint = "AA", .key = {large, sizeof large}};
    bool changed;
    assert_int_equal(keyring_peer_received(&peer, &heard, &changed), ERR_LIMIT);
    heard.key = SPAN_NONE;
    assert_int_equal(keyring_peer_received(&peer, &heard, &changed), ERR_MALFORMED);
    heard.key = (struct span){large, 10};
    heard.fingerprint[0] = '\0';
    assert_int_equal(keyring_peer_received(&peer, &heard, &changed), ERR_MALFORMED);
    assert_int_equal(keyring_autocrypt_advice(&peer), KEYRING_ADVICE_NONE);
    end_peer(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transition),
        cmocka_unit_test(mail_is_counted),
        cmocka_unit_test(without_memory_all_stays_as_it_was),
        cmocka_unit_test(a_key_that_is_none_or_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What is known of correspondents, beside a big ring: how long the vault gathers the words, how long a keeper lays them
 * over the index, and how long net then takes for an answer.
 *
 * Usage: bench_peers FOLDER KEYS PEERS
 * Prints, in JSON, milliseconds: fill (PEERS records put, in groups of 100), words, vouch, answer (of one known
 * address, the mean of all), and that of a ring of 100 keys.
 */
#include "policy/plan.h"
#include "proxy/peers.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOW 1800000000
#define AUTOCRYPT_KEY_SIZE 1200
#define GROUP 100u
#define ACCOUNT "alice@example.org"

static void check(enum err err, const char *doing)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_peers: %s: %s\n", doing, err_name(err));
    exit(2);
}

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void name(unsigned number, char address[MIME_ADDR_SIZE], char fingerprint[KEYRING_FPR_SIZE])
{
    (void)snprintf(address, MIME_ADDR_SIZE, "person%u@domain%u.example", number, number % 97);
    (void)snprintf(fingerprint, KEYRING_FPR_SIZE, "%040X", number * 2654435761u);
}

static void put_peer(struct store *store, unsigned number)
{
    static const char key[AUTOCRYPT_KEY_SIZE];
    struct keyring_peer peer;
    struct buf saved;
    struct keyring_word word = {.format = KEYRING_OPENPGP,
                                .source = KEYRING_SOURCE_WKD,
                                .trust = KEYRING_FOUND,
                                .since = NOW,
                                .until = NOW + 86400};
    name(number, word.address, word.fingerprint);
    keyring_peer_init(&peer, word.address);
    buf_init(&saved, KEYRING_PEER_SAVED_MAX);
    check(keyring_peer_hear(&peer, &word), "hear");
    memcpy(peer.autocrypt.fingerprint, word.fingerprint, KEYRING_FPR_SIZE);
    check(buf_add(&peer.autocrypt.key, key, sizeof(key)), "key");
    peer.autocrypt.timestamp = peer.autocrypt.last_seen = NOW;
    check(keyring_peer_save(&peer, &saved), "save");
    check(store_peer_put(store, ACCOUNT, peer.address, buf_span(&saved), STORE_PEER_HEARD, NOW), "put");
    buf_fini(&saved);
    keyring_peer_fini(&peer);
}

static struct keyring *make_ring(unsigned keys)
{
    struct keyring *keyring;
    check(keyring_new(&keyring), "ring");
    for (unsigned i = 0; i < keys; i++) {
        struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = KEYRING_UNVERIFIED, .created = 1};
        name(i, entry.address, entry.fingerprint);
        check(keyring_add(keyring, &entry), "ring");
    }
    return keyring;
}

static double answer_ms(const struct keyring *keyring, unsigned known)
{
    const struct keyring_want want = {KEYRING_ENCRYPT, KEYRING_OPENPGP | KEYRING_SMIME, KEYRING_FOUND, NOW};
    const double begun = now_ms();
    for (unsigned i = 0; i < known; i++) {
        char address[MIME_ADDR_SIZE], fingerprint[KEYRING_FPR_SIZE];
        enum keyring_reason reason;
        name(i, address, fingerprint);
        const struct keyring_entry *entry = keyring_choose(keyring, address, &want, &reason);
        check(entry != NULL && strcmp(entry->fingerprint, fingerprint) == 0 ? ERR_OK : ERR_NO_KEY, address);
    }
    return (now_ms() - begun) / known;
}

static double vouch_ms(unsigned keys, struct span words, struct keyring **vouched_out)
{
    struct keyring *listed = make_ring(keys);
    (void)keyring_at(listed, 0); /* sorted, as it comes of a keeper's listing */
    const double begun = now_ms();
    check(keyring_vouch(listed, words, NOW, vouched_out), "vouch");
    (void)keyring_at(*vouched_out, 0);
    const double taken = now_ms() - begun;
    keyring_free(&listed);
    return taken;
}

int main(int argc, char **argv)
{
    struct store *store;
    struct buf words;
    struct keyring *vouched;
    if (argc != 4)
        return 2;
    const unsigned keys = (unsigned)strtoul(argv[2], NULL, 10), peers = (unsigned)strtoul(argv[3], NULL, 10);
    check(store_open(argv[1], &store), "store");
    double begun = now_ms();
    for (unsigned i = 0; i < peers; i++) {
        if (i % GROUP == 0)
            check(store_group_begin(store), "group");
        put_peer(store, i);
        if (i % GROUP == GROUP - 1 || i + 1 == peers)
            check(store_group_end(store), "group");
    }
    const double fill = now_ms() - begun;
    buf_init(&words, KEYRING_WORDS_SIZE_MAX);
    begun = now_ms();
    check(proxy_peers_words(store, ACCOUNT, NOW, &words), "words");
    const double gathered = now_ms() - begun;
    const double vouch = vouch_ms(keys, buf_span(&words), &vouched);
    const double answer = answer_ms(vouched, peers < keys ? peers : keys);
    keyring_free(&vouched);
    (void)vouch_ms(100, buf_span(&words), &vouched);
    const double small = answer_ms(vouched, peers < 100 ? peers : 100);
    keyring_free(&vouched);
    printf("{\"fill\": %.3f, \"words\": %.3f, \"vouch\": %.3f, \"answer\": %.6f, \"small\": %.6f, \"bytes\": %zu}\n",
           fill, gathered, vouch, answer, small, words.len);
    buf_fini(&words);
    store_close(&store);
    return 0;
}

/*
 * The answer for an address that is known, as RCPT and `why` get it, in a ring of many keys.
 *
 * Usage: bench_answer FOLDER KEYS PEERS SECONDS
 * Makes an index of KEYS keys and a store (in FOLDER) of PEERS correspondents, of each of whom a source has said
 * something, lays their words over the index, and takes it through its saved form, as net gets it. Then asks for one
 * address after the other, all over the ring: rule, key, every candidate and its reason, contradictions; and for the
 * record of the correspondent. Prints, in JSON, the processor's milliseconds of one answer, of one record, and of the
 * index's making (once for each change).
 */
#include "base/log.h"
#include "policy/plan.h"
#include "proxy/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOW INT64_C(1800000000)
#define ACCOUNT "alice@example.org"
#define INDEX_MAX ((size_t)1 << 31)
#define STEP 7919u /* a prime: addresses come in no order */

static void must(enum err err, const char *what)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_answer: %s: %s\n", what, err_name(err));
    exit(2);
}

/* Of the processor: nothing here waits for anything else. */
static double now_s(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void name(size_t number, char address[MIME_ADDR_SIZE], char fingerprint[KEYRING_FPR_SIZE])
{
    (void)snprintf(address, MIME_ADDR_SIZE, "person%zu@example.net", number);
    (void)snprintf(fingerprint, KEYRING_FPR_SIZE, "%040zX", number * STEP + 1);
}

/* Every third has a second key, by nobody's word. */
static struct keyring *make_ring(size_t keys)
{
    struct keyring *keyring;
    must(keyring_new(&keyring), "an index");
    for (size_t i = 0; i < keys; i++) {
        struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = KEYRING_UNVERIFIED, .created = 1000};
        const bool is_second = i % 3 == 2;
        name(i, entry.address, entry.fingerprint);
        if (is_second)
            (void)snprintf(entry.address, sizeof(entry.address), "person%zu@example.net", i - 1);
        (void)snprintf(entry.algorithm, sizeof(entry.algorithm), "ed25519/cv25519");
        (void)snprintf(entry.user_id, sizeof(entry.user_id), "Person %zu <person%zu@example.net>", i, i);
        must(keyring_add(keyring, &entry), "an entry");
    }
    return keyring;
}

static struct store *make_store(const char *folder, size_t keys, size_t peers)
{
    struct store *store;
    must(store_open(folder, &store), "the store");
    must(store_group_begin(store), "a group");
    for (size_t i = 0; i < peers; i++) {
        struct keyring_peer peer;
        struct keyring_word word = {
            .format = KEYRING_OPENPGP, .source = KEYRING_SOURCE_WKD, .trust = KEYRING_FOUND, .since = NOW - 1000};
        struct buf record;
        name(i % keys, word.address, word.fingerprint);
        (void)snprintf(word.address, sizeof(word.address), "person%zu@example.net", i);
        keyring_peer_init(&peer, word.address);
        must(keyring_peer_hear(&peer, &word), "a word");
        buf_init(&record, KEYRING_PEER_SAVED_MAX);
        must(keyring_peer_save(&peer, &record), "a record");
        must(store_peer_put(store, ACCOUNT, word.address, buf_span(&record), STORE_PEER_WRITTEN, NOW), "a record");
        buf_fini(&record);
        keyring_peer_fini(&peer);
    }
    must(store_group_end(store), "the records");
    return store;
}

/* With the words laid over it, and as it comes to net. */
static struct keyring *make_index(struct store *store, const struct keyring *listed)
{
    struct keyring *vouched, *index;
    struct buf words, saved;
    buf_init(&words, KEYRING_WORDS_SIZE_MAX);
    buf_init(&saved, INDEX_MAX);
    must(proxy_peers_words(store, ACCOUNT, NOW, &words), "the words");
    must(keyring_vouch(listed, buf_span(&words), NOW, &vouched), "laying them over");
    must(keyring_save(vouched, &saved), "saving");
    must(keyring_load(buf_span(&saved), &index), "loading");
    buf_fini(&words);
    buf_fini(&saved);
    keyring_free(&vouched);
    return index;
}

/* Of keys that carry the address which is asked for. */
static size_t ask(const struct policy *policy, const struct keyring *index, const char *address)
{
    static struct keyring_answer answer;
    const struct keyring_want want = {KEYRING_ENCRYPT, KEYRING_OPENPGP, KEYRING_FOUND, NOW};
    struct policy_choice choice;
    char detail[POLICY_DETAIL_SIZE];
    policy_choose(policy, index, address, NOW, &choice);
    keyring_answer(index, address, &want, &answer);
    return (policy_at_rcpt(policy, index, address, NOW, detail) == ERR_OK) + answer.candidates_len;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    const size_t keys = strtoul(argv[2], NULL, 10), peers = strtoul(argv[3], NULL, 10);
    const double seconds = strtod(argv[4], NULL);
    if (keys == 0 || peers == 0 || !(seconds > 0))
        return 2;
    log_init("bench_answer", LOG_LEVEL_WARNING);
    const struct policy policy = {.rules = NULL};
    struct keyring *listed = make_ring(keys);
    struct store *store = make_store(argv[1], keys, peers);
    double began = now_s();
    struct keyring *index = make_index(store, listed);
    const double made_ms = (now_s() - began) * 1000;
    const size_t known = peers < keys ? peers : keys;
    size_t answers = 0, found = 0, records = 0;
    char address[MIME_ADDR_SIZE], fingerprint[KEYRING_FPR_SIZE];
    for (began = now_s(); now_s() - began < seconds; answers++) {
        name(answers * STEP % known, address, fingerprint);
        found += ask(&policy, index, address);
    }
    const double answer_ms = (now_s() - began) * 1000 / (double)answers;
    for (began = now_s(); now_s() - began < seconds; records++) {
        struct keyring_peer peer;
        name(records * STEP % peers, address, fingerprint);
        must(proxy_peers_get(store, ACCOUNT, address, &peer), "a record");
        keyring_peer_fini(&peer);
    }
    const double record_ms = (now_s() - began) * 1000 / (double)records;
    printf("{\"answer_ms\": %.6f, \"record_ms\": %.6f, \"made_ms\": %.3f, \"found\": %zu}\n", answer_ms, record_ms,
           made_ms, found);
    keyring_free(&listed);
    keyring_free(&index);
    store_close(&store);
    return 0;
}

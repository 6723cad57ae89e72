/* Saved records of correspondents: what loads saves to the same bytes, gives words, and takes events. */
#include "keyring/peer.h"

#include <stdlib.h>
#include <string.h>

#define NOW 1800000000

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_words(const struct keyring_peer *peer)
{
    struct keyring_word words[KEYRING_PEER_WORDS_MAX + 2];
    const size_t len = keyring_peer_words(peer, NOW, words);
    check(len <= KEYRING_PEER_WORDS_MAX + 2);
    for (size_t i = 0; i < len; i++)
        check(strcmp(words[i].address, peer->address) == 0 && words[i].fingerprint[0] != '\0' &&
              words[i].trust <= keyring_source_trust_max(words[i].source));
}

static void take_events(struct keyring_peer *peer)
{
    struct keyring_word word = {.fingerprint = "AA",
                                .format = KEYRING_OPENPGP,
                                .source = KEYRING_SOURCE_WKD,
                                .trust = KEYRING_FOUND,
                                .since = NOW};
    memcpy(word.address, peer->address, sizeof(word.address));
    check(keyring_peer_hear(peer, &word) == ERR_OK);
    word.source = KEYRING_SOURCE_PERSON;
    word.trust = KEYRING_PINNED;
    check(keyring_peer_hear(peer, &word) == ERR_OK && peer->words_len <= KEYRING_PEER_WORDS_MAX);
    check(keyring_peer_is_pinned(peer) && keyring_peer_unpin(peer, KEYRING_OPENPGP));
    keyring_peer_all(peer, KEYRING_SOURCE_WKD, "", NULL, 0);
    keyring_peer_sent(peer, KEYRING_OPENPGP, "AA", NOW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span whole = {(const char *)data, size};
    struct keyring_peer peer;
    struct buf again;
    if (keyring_peer_load(whole, &peer) != ERR_OK)
        return 0;
    buf_init(&again, KEYRING_PEER_SAVED_MAX);
    check(keyring_peer_save(&peer, &again) == ERR_OK && again.len > 0);
    /* What has the form of an earlier version is saved in today's. */
    check(data[0] != (uint8_t)again.data[0] ? again.len >= size : span_is_equal(buf_span(&again), whole));
    check_words(&peer);
    take_events(&peer);
    check_words(&peer);
    buf_fini(&again);
    keyring_peer_fini(&peer);
    return 0;
}

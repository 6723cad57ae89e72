/* Words and what mail told, as they travel: what is read is written alike; words are laid over a ring and heard. */
#include "keyring/peer.h"

#include <stdlib.h>
#include <string.h>

#define NOW 1800000000

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static struct keyring *make_ring(void)
{
    static const char *const addresses[] = {"bob@example.org", "carol@example.org", ""};
    struct keyring *keyring;
    check(keyring_new(&keyring) == ERR_OK);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
        struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = KEYRING_UNVERIFIED, .fingerprint = "AA"};
        (void)span_copy(span_of(addresses[i]), entry.address, sizeof(entry.address));
        check(keyring_add(keyring, &entry) == ERR_OK);
    }
    return keyring;
}

static void lay(struct span words)
{
    struct keyring *listed = make_ring(), *vouched;
    if (keyring_vouch(listed, words, NOW, &vouched) == ERR_OK) {
        check(keyring_len(vouched) >= keyring_len(listed));
        for (size_t i = 0; i < keyring_len(vouched); i++)
            check(keyring_at(vouched, i)->trust <= KEYRING_PINNED);
    }
    keyring_free(&listed);
    keyring_free(&vouched);
}

static void hear(struct span words)
{
    struct keyring_peer peer;
    bool is_changed;
    keyring_peer_init(&peer, "bob@example.org");
    if (keyring_peer_hear_all(&peer, words, &is_changed) == ERR_OK)
        check(is_changed == (peer.words_len > 0));
    check(peer.words_len <= KEYRING_PEER_WORDS_MAX);
    keyring_peer_fini(&peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span whole = {(const char *)data, size};
    struct span rest = whole;
    struct keyring_word word;
    struct keyring_heard heard;
    struct buf again;
    enum err err;
    buf_init(&again, KEYRING_HEARD_SIZE_MAX);
    while ((err = keyring_word_take(&rest, &word)) == ERR_OK)
        check(keyring_word_add(&again, &word) == ERR_OK);
    check(err != ERR_END || span_is_equal(buf_span(&again), whole));
    buf_clear(&again);
    rest = whole;
    while ((err = keyring_heard_take(&rest, &heard)) == ERR_OK)
        check(keyring_heard_add(&again, &heard) == ERR_OK);
    check(err != ERR_END || span_is_equal(buf_span(&again), whole));
    buf_fini(&again);
    lay(whole);
    hear(whole);
    return 0;
}

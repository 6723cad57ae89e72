/*
 * What a message changes of what Autocrypt knows (level 1, sections 2.3 and 5), and what follows from it (2.4).
 */
#include "keyring/autocrypt.h"

#include <string.h>

static bool is_known(const char *fingerprint)
{
    return fingerprint[0] != '\0';
}

/* Replaces a key, or leaves all as it was. */
static enum err take_key(struct buf *key, char fingerprint[KEYRING_FPR_SIZE], const struct keyring_heard *heard)
{
    struct buf fresh;
    enum err err;

    buf_init(&fresh, KEYRING_PEER_KEY_MAX);
    err = heard->key.len == 0 || !is_known(heard->fingerprint) ? ERR_MALFORMED : buf_add_span(&fresh, heard->key);
    if (err != ERR_OK) {
        buf_fini(&fresh);
        return err;
    }
    buf_fini(key);
    *key = fresh;
    memcpy(fingerprint, heard->fingerprint, KEYRING_FPR_SIZE);
    return ERR_OK;
}

/* A gossip that is not older than the last one replaces it. */
static enum err take_gossip(struct keyring_autocrypt *state, const struct keyring_heard *heard)
{
    enum err err;

    if (!heard->has_key || state->gossip_timestamp > heard->at)
        return ERR_OK;
    err = take_key(&state->gossip_key, state->gossip_fingerprint, heard);
    if (err == ERR_OK)
        state->gossip_timestamp = heard->at;
    return err;
}

/* The steps are numbered as in 2.3. */
static enum err take_own(struct keyring_autocrypt *state, const struct keyring_heard *heard)
{
    enum err err = ERR_OK;

    if (heard->at < state->timestamp) /* 1 */
        return ERR_OK;
    if (heard->has_key) /* 5; before the others, since it can fail */
        err = take_key(&state->key, state->fingerprint, heard);
    if (err != ERR_OK)
        return err;
    if (heard->at > state->last_seen) /* 2 */
        state->last_seen = heard->at;
    if (!heard->has_key) /* 3 */
        return ERR_OK;
    state->timestamp = heard->at;        /* 4 */
    state->is_mutual = heard->is_mutual; /* 6 */
    return ERR_OK;
}

static void count(struct keyring_peer *peer, int64_t at)
{
    peer->received++;
    if (peer->first_seen == 0 || at < peer->first_seen)
        peer->first_seen = at;
    if (at > peer->last_seen)
        peer->last_seen = at;
}

/* No more than that: an own or pinned key, or one that a source found, stays what is taken. */
static enum err hear_attached(struct keyring_peer *peer, const struct keyring_heard *heard, bool *changed_out)
{
    struct keyring_word word = {.format = KEYRING_OPENPGP,
                                .source = KEYRING_SOURCE_MAIL,
                                .trust = keyring_source_trust_max(KEYRING_SOURCE_MAIL),
                                .since = heard->at};
    struct buf saved;
    enum err err;

    memcpy(word.address, heard->address, sizeof word.address);
    memcpy(word.fingerprint, heard->fingerprint, sizeof word.fingerprint);
    buf_init(&saved, sizeof word * 2);
    err = keyring_word_add(&saved, &word);
    if (err == ERR_OK)
        err = keyring_peer_hear_all(peer, buf_span(&saved), changed_out);
    buf_fini(&saved);
    return err;
}

enum err keyring_peer_received(struct keyring_peer *peer, const struct keyring_heard *heard, bool *changed_out)
{
    struct keyring_autocrypt *state = &peer->autocrypt;
    enum keyring_advice advice = keyring_autocrypt_advice(peer);
    char fingerprint[KEYRING_FPR_SIZE], gossip_fingerprint[KEYRING_FPR_SIZE];
    enum err err;

    if (heard->is_attached)
        return hear_attached(peer, heard, changed_out);
    memcpy(fingerprint, state->fingerprint, sizeof fingerprint);
    memcpy(gossip_fingerprint, state->gossip_fingerprint, sizeof gossip_fingerprint);
    err = heard->is_gossip ? take_gossip(state, heard) : take_own(state, heard);
    if (err == ERR_OK && !heard->is_gossip)
        count(peer, heard->at);
    *changed_out = strcmp(fingerprint, state->fingerprint) != 0 ||
                   strcmp(gossip_fingerprint, state->gossip_fingerprint) != 0 ||
                   advice != keyring_autocrypt_advice(peer);
    return err;
}

enum keyring_advice keyring_autocrypt_advice(const struct keyring_peer *peer)
{
    const struct keyring_autocrypt *state = &peer->autocrypt;

    if (!is_known(state->fingerprint))
        return is_known(state->gossip_fingerprint) ? KEYRING_ADVICE_DISCOURAGE : KEYRING_ADVICE_NONE;
    if (state->last_seen - state->timestamp > KEYRING_AUTOCRYPT_STALE_S)
        return KEYRING_ADVICE_DISCOURAGE;
    return state->is_mutual ? KEYRING_ADVICE_MUTUAL : KEYRING_ADVICE_AVAILABLE;
}

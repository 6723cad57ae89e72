/*
 * Saved forms: of a record, as the store keeps it; of words and of what mail told, as they travel between processes.
 */
#include "keyring/peer.h"

#include "base/packed.h"

#include <string.h>

#define SAVED_VERSION 2
#define SAVED_WITHOUT_REFRESHED 1 /* an older version */

static bool is_fingerprint(const char *text)
{
    return text[strspn(text, "0123456789ABCDEF")] == '\0';
}

static bool take_fingerprint(struct span *rest, char target[KEYRING_FPR_SIZE])
{
    return packed_take_text(rest, target, KEYRING_FPR_SIZE) && is_fingerprint(target);
}

static bool take_time(struct span *rest, int64_t *time_out)
{
    uint64_t number;
    if (!packed_take_number(rest, 8, &number) || number > INT64_MAX)
        return false;
    *time_out = (int64_t)number;
    return true;
}

static enum err add_numbers(struct buf *out, const uint64_t *numbers, size_t len, size_t bytes)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        err = packed_add_number(out, numbers[i], bytes);
    return err;
}

/* ---- words ---- */

/* All but the address, which a record has only once. */
static enum err add_word(struct buf *out, const struct keyring_word *word)
{
    const uint64_t kinds[] = {word->format, word->source, word->trust, word->advice};
    const uint64_t times[] = {(uint64_t)word->since, (uint64_t)word->until};
    enum err err = packed_add_bytes(out, span_of(word->fingerprint));
    if (err == ERR_OK)
        err = packed_add_bytes(out, span_of(word->title));
    if (err == ERR_OK)
        err = add_numbers(out, kinds, sizeof(kinds) / sizeof(*kinds), 1);
    return err == ERR_OK ? add_numbers(out, times, sizeof(times) / sizeof(*times), 8) : err;
}

static bool take_word(struct span *rest, struct keyring_word *word)
{
    unsigned format, source, trust, advice;
    if (!take_fingerprint(rest, word->fingerprint) || !packed_take_text(rest, word->title, sizeof(word->title)) ||
        !packed_take_small(rest, KEYRING_SMIME, &format) || format == 0 ||
        !packed_take_small(rest, KEYRING_SOURCE_COUNT - 1, &source) ||
        !packed_take_small(rest, KEYRING_TRUST_COUNT - 1, &trust) ||
        !packed_take_small(rest, KEYRING_ADVICE_COUNT - 1, &advice) || !take_time(rest, &word->since) ||
        !take_time(rest, &word->until))
        return false;
    word->format = (enum keyring_format)format;
    word->source = (enum keyring_source)source;
    word->trust = (enum keyring_trust)trust;
    word->advice = (enum keyring_advice)advice;
    return word->trust <= keyring_source_trust_max(word->source);
}

enum err keyring_word_add(struct buf *out, const struct keyring_word *word)
{
    const size_t before = out->len;
    enum err err = packed_add_bytes(out, span_of(word->address));
    if (err == ERR_OK)
        err = add_word(out, word);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

enum err keyring_word_take(struct span *rest, struct keyring_word *word)
{
    if (rest->len == 0)
        return ERR_END;
    if (!packed_take_text(rest, word->address, sizeof(word->address)) || word->address[0] == '\0' ||
        !take_word(rest, word))
        return ERR_PEER_PROTOCOL;
    return ERR_OK;
}

/* ---- what mail told ---- */

enum { HEARD_GOSSIP = 1, HEARD_KEY = 2, HEARD_MUTUAL = 4, HEARD_ATTACHED = 8, HEARD_ALL = 15 };

enum err keyring_heard_add(struct buf *out, const struct keyring_heard *heard)
{
    const size_t before = out->len;
    const unsigned flags = (heard->is_gossip ? HEARD_GOSSIP : 0u) | (heard->has_key ? HEARD_KEY : 0u) |
                           (heard->is_mutual ? HEARD_MUTUAL : 0u) | (heard->is_attached ? HEARD_ATTACHED : 0u);
    enum err err = packed_add_bytes(out, span_of(heard->address));
    if (err == ERR_OK)
        err = packed_add_number(out, (uint64_t)heard->at, 8);
    if (err == ERR_OK)
        err = packed_add_number(out, flags, 1);
    if (err == ERR_OK && (heard->has_key || heard->is_attached))
        err = packed_add_bytes(out, span_of(heard->fingerprint));
    if (err == ERR_OK && heard->has_key)
        err = packed_add_bytes(out, heard->key);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

enum err keyring_heard_take(struct span *rest, struct keyring_heard *heard)
{
    unsigned flags;
    if (rest->len == 0)
        return ERR_END;
    *heard = (struct keyring_heard){.at = 0};
    if (!packed_take_text(rest, heard->address, sizeof(heard->address)) || heard->address[0] == '\0' ||
        !take_time(rest, &heard->at) || !packed_take_small(rest, HEARD_ALL, &flags))
        return ERR_PEER_PROTOCOL;
    heard->is_gossip = (flags & HEARD_GOSSIP) != 0;
    heard->has_key = (flags & HEARD_KEY) != 0;
    heard->is_mutual = (flags & HEARD_MUTUAL) != 0;
    heard->is_attached = (flags & HEARD_ATTACHED) != 0;
    if (heard->is_attached)
        return flags == HEARD_ATTACHED && take_fingerprint(rest, heard->fingerprint) && heard->fingerprint[0] != '\0'
                   ? ERR_OK
                   : ERR_PEER_PROTOCOL;
    if (!heard->has_key)
        return heard->is_gossip || heard->is_mutual ? ERR_PEER_PROTOCOL : ERR_OK;
    if (!take_fingerprint(rest, heard->fingerprint) || heard->fingerprint[0] == '\0' ||
        !packed_take_bytes(rest, &heard->key) || heard->key.len == 0 || heard->key.len > KEYRING_PEER_KEY_MAX)
        return ERR_PEER_PROTOCOL;
    return ERR_OK;
}

/* ---- records ---- */

static enum err add_autocrypt(const struct keyring_autocrypt *autocrypt, struct buf *out)
{
    const uint64_t times[] = {(uint64_t)autocrypt->last_seen, (uint64_t)autocrypt->timestamp,
                              (uint64_t)autocrypt->gossip_timestamp};
    const struct span pieces[] = {span_of(autocrypt->fingerprint), span_of(autocrypt->gossip_fingerprint),
                                  buf_span(&autocrypt->key), buf_span(&autocrypt->gossip_key)};
    enum err err = add_numbers(out, times, sizeof(times) / sizeof(*times), 8);
    for (size_t i = 0; err == ERR_OK && i < sizeof(pieces) / sizeof(*pieces); i++)
        err = packed_add_bytes(out, pieces[i]);
    return err == ERR_OK ? packed_add_number(out, autocrypt->is_mutual, 1) : err;
}

static enum err add_peer(const struct keyring_peer *peer, struct buf *out)
{
    const uint64_t numbers[] = {(uint64_t)peer->first_seen, (uint64_t)peer->last_seen, (uint64_t)peer->refreshed,
                                peer->received, peer->sent};
    enum err err = packed_add_number(out, SAVED_VERSION, 1);
    if (err == ERR_OK)
        err = packed_add_bytes(out, span_of(peer->address));
    if (err == ERR_OK)
        err = add_numbers(out, numbers, sizeof(numbers) / sizeof(*numbers), 8);
    if (err == ERR_OK)
        err = packed_add_bytes(out, span_of(peer->chosen[0]));
    if (err == ERR_OK)
        err = packed_add_bytes(out, span_of(peer->chosen[1]));
    if (err == ERR_OK)
        err = packed_add_number(out, peer->words_len, 1);
    for (size_t i = 0; err == ERR_OK && i < peer->words_len; i++)
        err = add_word(out, &peer->words[i]);
    return err == ERR_OK ? add_autocrypt(&peer->autocrypt, out) : err;
}

enum err keyring_peer_save(const struct keyring_peer *peer, struct buf *out)
{
    const size_t before = out->len;
    enum err err = add_peer(peer, out);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

static bool take_key(struct span *rest, const char *fingerprint, struct buf *key, enum err *err)
{
    struct span bytes;
    if (!packed_take_bytes(rest, &bytes) || bytes.len > KEYRING_PEER_KEY_MAX ||
        (bytes.len == 0) != (fingerprint[0] == '\0'))
        return false;
    *err = buf_add_span(key, bytes);
    return true;
}

/* False if it is none; `*err`: there was no memory for it. */
static bool take_autocrypt(struct span *rest, struct keyring_autocrypt *autocrypt, enum err *err)
{
    unsigned is_mutual;
    if (!take_time(rest, &autocrypt->last_seen) || !take_time(rest, &autocrypt->timestamp) ||
        !take_time(rest, &autocrypt->gossip_timestamp) || !take_fingerprint(rest, autocrypt->fingerprint) ||
        !take_fingerprint(rest, autocrypt->gossip_fingerprint) ||
        !take_key(rest, autocrypt->fingerprint, &autocrypt->key, err) || *err != ERR_OK ||
        !take_key(rest, autocrypt->gossip_fingerprint, &autocrypt->gossip_key, err) || *err != ERR_OK ||
        !packed_take_small(rest, 1, &is_mutual))
        return false;
    autocrypt->is_mutual = is_mutual != 0;
    return true;
}

static bool take_words(struct span *rest, struct keyring_peer *peer)
{
    unsigned len;
    if (!packed_take_small(rest, KEYRING_PEER_WORDS_MAX, &len))
        return false;
    for (; peer->words_len < len; peer->words_len++) {
        struct keyring_word *word = &peer->words[peer->words_len];
        if (!take_word(rest, word) || word->fingerprint[0] == '\0')
            return false;
        memcpy(word->address, peer->address, sizeof(word->address));
    }
    return true;
}

static bool take_peer(struct span *rest, struct keyring_peer *peer, enum err *err)
{
    uint64_t version;
    if (!packed_take_number(rest, 1, &version) || version > SAVED_VERSION || version < SAVED_WITHOUT_REFRESHED ||
        !packed_take_text(rest, peer->address, sizeof(peer->address)) || peer->address[0] == '\0' ||
        !take_time(rest, &peer->first_seen) || !take_time(rest, &peer->last_seen) ||
        (version != SAVED_WITHOUT_REFRESHED && !take_time(rest, &peer->refreshed)) ||
        !packed_take_number(rest, 8, &peer->received) || !packed_take_number(rest, 8, &peer->sent) ||
        !take_fingerprint(rest, peer->chosen[0]) || !take_fingerprint(rest, peer->chosen[1]))
        return false;
    return take_words(rest, peer) && take_autocrypt(rest, &peer->autocrypt, err) && rest->len == 0;
}

enum err keyring_peer_load(struct span saved, struct keyring_peer *peer)
{
    enum err err = ERR_OK;
    keyring_peer_init(peer, "");
    if (take_peer(&saved, peer, &err))
        return ERR_OK;
    keyring_peer_fini(peer);
    return err == ERR_OK ? ERR_STORE : err;
}

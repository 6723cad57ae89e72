#include "keyring/autocrypt.h"

#include <string.h>

/* An Autocrypt key this much older than the last mail counts little: they have changed their mail program
   (Autocrypt level 1, 2.4). */

void keyring_peer_init(struct keyring_peer *peer, const char *address)
{
    *peer = (struct keyring_peer){.words_len = 0};
    (void)span_copy(span_of(address), peer->address, sizeof(peer->address));
    buf_init(&peer->autocrypt.key, KEYRING_PEER_KEY_MAX);
    buf_init(&peer->autocrypt.gossip_key, KEYRING_PEER_KEY_MAX);
}

void keyring_peer_fini(struct keyring_peer *peer)
{
    buf_fini(&peer->autocrypt.key);
    buf_fini(&peer->autocrypt.gossip_key);
}

static bool is_of(const struct keyring_word *word, enum keyring_source source, const char *title)
{
    return word->source == source && strcmp(word->title, title) == 0;
}

static bool is_for_key(const struct keyring_word *word, const struct keyring_word *other)
{
    return word->format == other->format && strcmp(word->fingerprint, other->fingerprint) == 0;
}

static void drop_word(struct keyring_peer *peer, size_t index)
{
    peer->words_len--;
    memmove(&peer->words[index], &peer->words[index + 1], (peer->words_len - index) * sizeof(*peer->words));
}

static bool is_pin(const struct keyring_word *word)
{
    return word->source == KEYRING_SOURCE_PERSON && word->trust != KEYRING_NEVER;
}

static enum err check_word(const struct keyring_peer *peer, const struct keyring_word *word)
{
    const bool is_of_state = word->source == KEYRING_SOURCE_AUTOCRYPT || word->source == KEYRING_SOURCE_GOSSIP;
    const bool is_never = word->trust == KEYRING_NEVER && word->source != KEYRING_SOURCE_PERSON;
    if (is_of_state || is_never || word->trust > keyring_source_trust_max(word->source) ||
        word->advice != KEYRING_ADVICE_NONE || word->fingerprint[0] == '\0' ||
        !mime_addr_is_same(word->address, peer->address))
        return ERR_REFUSED;
    return ERR_OK;
}

static bool has_run_out(const struct keyring_word *word, int64_t now)
{
    return word->until != 0 && word->until <= now;
}

bool keyring_word_counts(const struct keyring_word *word, int64_t now)
{
    return word->trust == KEYRING_FOUND || !has_run_out(word, now);
}

/* What goes first where there is no room: what no longer counts, then the weaker, then what has run out, then the
   older. A person's word, also that a key is not theirs, is the strongest. */
static bool is_weaker(const struct keyring_word *word, const struct keyring_word *other, int64_t now)
{
    const bool is_over = has_run_out(word, now), is_other_over = has_run_out(other, now);
    const bool is_counting = keyring_word_counts(word, now), is_other_counting = keyring_word_counts(other, now);
    const int strength = word->source == KEYRING_SOURCE_PERSON ? KEYRING_TRUST_COUNT : (int)word->trust;
    const int other_strength = other->source == KEYRING_SOURCE_PERSON ? KEYRING_TRUST_COUNT : (int)other->trust;
    if (is_counting != is_other_counting)
        return is_other_counting;
    if (strength != other_strength)
        return strength < other_strength;
    return is_over != is_other_over ? is_over : word->since < other->since;
}

/* True if there is room for it now; for what a person says there always is. */
static bool make_room(struct keyring_peer *peer, const struct keyring_word *word)
{
    size_t weakest = 0;
    if (peer->words_len < KEYRING_PEER_WORDS_MAX)
        return true;
    for (size_t i = 1; i < peer->words_len; i++)
        if (is_weaker(&peer->words[i], &peer->words[weakest], word->since))
            weakest = i;
    if (word->source != KEYRING_SOURCE_PERSON && is_weaker(word, &peer->words[weakest], word->since))
        return false;
    drop_word(peer, weakest);
    return true;
}

enum err keyring_peer_hear(struct keyring_peer *peer, const struct keyring_word *word)
{
    struct keyring_word heard = *word;
    enum err err = check_word(peer, word);
    if (err != ERR_OK)
        return err;
    for (size_t i = peer->words_len; i-- > 0;) {
        const struct keyring_word *known = &peer->words[i];
        const bool is_earlier = is_of(known, word->source, word->title) && is_for_key(known, word);
        if (is_earlier && known->trust == word->trust)
            heard.since = known->since < word->since ? known->since : word->since;
        if (is_earlier || (is_pin(word) && is_pin(known) && known->format == word->format))
            drop_word(peer, i);
    }
    (void)span_copy(span_of(peer->address), heard.address, sizeof(heard.address));
    if (make_room(peer, word))
        peer->words[peer->words_len++] = heard;
    return ERR_OK;
}

void keyring_peer_all(struct keyring_peer *peer, enum keyring_source source, const char *title,
                      const char *const *fingerprints, size_t fingerprints_len)
{
    for (size_t i = peer->words_len; i-- > 0;) {
        bool is_kept = !is_of(&peer->words[i], source, title);
        for (size_t j = 0; !is_kept && j < fingerprints_len; j++)
            is_kept = strcmp(peer->words[i].fingerprint, fingerprints[j]) == 0;
        if (!is_kept)
            drop_word(peer, i);
    }
}

/* Those of the same source among `words`; what does not fit is not in the record either. */
static void hear_end(struct keyring_peer *peer, const struct keyring_word *end, struct span words)
{
    char kept[KEYRING_PEER_WORDS_MAX][KEYRING_FPR_SIZE];
    const char *pointers[KEYRING_PEER_WORDS_MAX];
    size_t len = 0;
    for (size_t i = 0; i < peer->words_len; i++) {
        struct span rest = words;
        struct keyring_word word;
        bool is_said = false;
        while (!is_said && keyring_word_take(&rest, &word) == ERR_OK)
            is_said = is_of(&word, end->source, end->title) && is_for_key(&word, &peer->words[i]);
        if (is_said) {
            memcpy(kept[len], peer->words[i].fingerprint, KEYRING_FPR_SIZE);
            pointers[len] = kept[len];
            len++;
        }
    }
    keyring_peer_all(peer, end->source, end->title, pointers, len);
}

static bool is_same_word(const struct keyring_word *a, const struct keyring_word *b)
{
    return is_for_key(a, b) && is_of(a, b->source, b->title) && a->trust == b->trust && a->until == b->until;
}

static bool has_word(const struct keyring_peer *peer, const struct keyring_word *word)
{
    for (size_t i = 0; i < peer->words_len; i++)
        if (is_same_word(&peer->words[i], word))
            return true;
    return false;
}

enum err keyring_peer_hear_all(struct keyring_peer *peer, struct span words, bool *changed_out)
{
    const struct span all = words;
    struct keyring_word before[KEYRING_PEER_WORDS_MAX], word;
    const size_t before_len = peer->words_len;
    enum err err = ERR_OK;
    memcpy(before, peer->words, sizeof(before));
    while (err == ERR_OK && (err = keyring_word_take(&words, &word)) == ERR_OK)
        if (word.fingerprint[0] != '\0')
            err = keyring_peer_hear(peer, &word);
    words = all;
    while (err == ERR_END && keyring_word_take(&words, &word) == ERR_OK)
        if (word.fingerprint[0] == '\0')
            hear_end(peer, &word, all);
    *changed_out = peer->words_len != before_len;
    for (size_t i = 0; !*changed_out && i < before_len; i++)
        *changed_out = !has_word(peer, &before[i]);
    return err == ERR_END ? ERR_OK : err;
}

bool keyring_peer_unpin(struct keyring_peer *peer, enum keyring_format format)
{
    const size_t before = peer->words_len;
    for (size_t i = peer->words_len; i-- > 0;)
        if (peer->words[i].source == KEYRING_SOURCE_PERSON && peer->words[i].format == format)
            drop_word(peer, i);
    return peer->words_len != before;
}

bool keyring_peer_is_pinned(const struct keyring_peer *peer)
{
    for (size_t i = 0; i < peer->words_len; i++)
        if (peer->words[i].source == KEYRING_SOURCE_PERSON)
            return true;
    return false;
}

#define IN_USE_S (INT64_C(90) * 86400)

void keyring_peer_refreshed(struct keyring_peer *peer, int64_t at)
{
    peer->refreshed = at > 0 ? at : 0;
}

bool keyring_peer_refresh_due(const struct keyring_peer *peer, int64_t now, uint32_t period_s, int64_t *due)
{
    if ((peer->chosen[0][0] == '\0' && peer->chosen[1][0] == '\0') || now - peer->last_seen > IN_USE_S)
        return false;
    const int64_t since = peer->refreshed > 0 ? peer->refreshed : peer->first_seen;
    const uint32_t hash = (span_hash(span_of(peer->address)) ^ (uint32_t)since) * 2654435761u;
    *due = since + period_s - period_s / 4 + (period_s > 1 ? hash % (period_s / 2) : 0);
    /* A clock that has gone back must not hold it up: nobody knows how long ago it was. */
    if (since > now)
        *due = now;
    return true;
}

void keyring_peer_sent(struct keyring_peer *peer, enum keyring_format format, const char *fingerprint, int64_t at)
{
    peer->sent++;
    if (peer->first_seen == 0 || at < peer->first_seen)
        peer->first_seen = at;
    if (at > peer->last_seen)
        peer->last_seen = at;
    if (*fingerprint != '\0')
        (void)span_copy(span_of(fingerprint), peer->chosen[format == KEYRING_SMIME], KEYRING_FPR_SIZE);
}

static struct keyring_word autocrypt_word(const struct keyring_peer *peer, enum keyring_source source,
                                          enum keyring_advice advice, const char *fingerprint, int64_t since)
{
    struct keyring_word word = {.format = KEYRING_OPENPGP,
                                .source = source,
                                .trust = keyring_source_trust_max(source),
                                .advice = advice,
                                .since = since};
    (void)span_copy(span_of(peer->address), word.address, sizeof(word.address));
    (void)span_copy(span_of(fingerprint), word.fingerprint, sizeof(word.fingerprint));
    return word;
}

struct keyring_word keyring_word_unread(const char *account)
{
    struct keyring_word word = {.format = KEYRING_OPENPGP,
                                .source = KEYRING_SOURCE_PERSON,
                                .trust = KEYRING_NEVER,
                                .advice = KEYRING_ADVICE_NONE};
    (void)span_copy(span_of(account), word.address, sizeof(word.address));
    return word;
}

size_t keyring_peer_words(const struct keyring_peer *peer, int64_t now, struct keyring_word *words_out)
{
    const struct keyring_autocrypt *autocrypt = &peer->autocrypt;
    size_t len = 0;
    for (size_t i = 0; i < peer->words_len; i++)
        if (keyring_word_counts(&peer->words[i], now))
            words_out[len++] = peer->words[i];
    if (autocrypt->key.len > 0) {
        words_out[len++] = autocrypt_word(peer, KEYRING_SOURCE_AUTOCRYPT, keyring_autocrypt_advice(peer),
                                          autocrypt->fingerprint, autocrypt->timestamp);
    }
    if (autocrypt->gossip_key.len > 0)
        words_out[len++] = autocrypt_word(peer, KEYRING_SOURCE_GOSSIP, KEYRING_ADVICE_DISCOURAGE,
                                          autocrypt->gossip_fingerprint, autocrypt->gossip_timestamp);
    return len;
}

/*
 * Words laid over a listed ring: the one place where what sources say becomes an entry's trust.
 */
#include "keyring/peer.h"

#include <stdlib.h>
#include <string.h>

/* What the words say of one entry, the strongest of them. */
struct said {
    int64_t until;
    uint8_t trust, source, advice;
    bool is_any, is_never;
};

/* An address for a key that does not carry it. */
struct extra {
    char address[MIME_ADDR_SIZE];
    size_t index; /* of an entry of the key */
    struct said said;
};

struct vouching {
    const struct keyring *listed;
    int64_t now;
    struct said *said;                         /* of each entry listed */
    const struct keyring_entry **fingerprints; /* all of them, by fingerprint; NULL: not needed so far */
    struct extra *extras;
    size_t extras_len, extras_capacity;
    struct keyring_word own;      /* the last of Autocrypt's own words */
    char address[MIME_ADDR_SIZE]; /* of the last word; "": there was none */
    size_t first, len;            /* the entries of that address */
};

static bool is_autocrypt(unsigned source)
{
    return source == KEYRING_SOURCE_AUTOCRYPT || source == KEYRING_SOURCE_GOSSIP;
}

/* The greater trust, then what does not come of Autocrypt alone, then what counts longer. */
static bool is_stronger(const struct keyring_word *word, const struct said *said)
{
    if (!said->is_any || word->trust != said->trust)
        return !said->is_any || word->trust > said->trust;
    if (is_autocrypt(word->source) != is_autocrypt(said->source))
        return is_autocrypt(said->source);
    return said->until != 0 && (word->until == 0 || word->until > said->until);
}

static void say(struct said *said, const struct keyring_word *word)
{
    if (word->trust == KEYRING_NEVER) {
        said->is_never = word->source == KEYRING_SOURCE_PERSON || said->is_never;
        return;
    }
    if (!is_stronger(word, said))
        return;
    said->is_any = true;
    said->trust = (uint8_t)word->trust;
    said->source = (uint8_t)word->source;
    said->advice = (uint8_t)word->advice;
    said->until = word->until;
}

static int compare_fingerprints(const void *left, const void *right)
{
    const struct keyring_entry *const *a = left, *const *b = right;
    const int order = strcmp((*a)->fingerprint, (*b)->fingerprint);
    /* One that is not withdrawn stands first and speaks for the key; then whichever the index has first. */
    if (order != 0 || (*a)->is_revoked != (*b)->is_revoked)
        return order != 0 ? order : (*a)->is_revoked - (*b)->is_revoked;
    if ((*a)->is_primary_uid != (*b)->is_primary_uid)
        return (*b)->is_primary_uid - (*a)->is_primary_uid;
    return *a < *b ? -1 : *a > *b;
}

static enum err sort_fingerprints(struct vouching *vouching)
{
    const size_t len = keyring_len(vouching->listed);
    if (vouching->fingerprints != NULL)
        return ERR_OK;
    vouching->fingerprints = calloc(len + 1, sizeof(*vouching->fingerprints));
    if (vouching->fingerprints == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < len; i++)
        vouching->fingerprints[i] = keyring_at(vouching->listed, i);
    qsort(vouching->fingerprints, len, sizeof(*vouching->fingerprints), compare_fingerprints);
    return ERR_OK;
}

/* The entry that speaks for a key, or NULL. */
static const struct keyring_entry *find_key(const struct vouching *vouching, const struct keyring_word *word)
{
    const size_t len = keyring_len(vouching->listed);
    size_t low = 0, high = len;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(vouching->fingerprints[middle]->fingerprint, word->fingerprint) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const struct keyring_entry *entry = low < len ? vouching->fingerprints[low] : NULL;
    return entry != NULL && entry->format == word->format && strcmp(entry->fingerprint, word->fingerprint) == 0 ? entry
                                                                                                                : NULL;
}

static enum err add_extra(struct vouching *vouching, const struct keyring_word *word)
{
    enum err err = sort_fingerprints(vouching);
    const struct keyring_entry *entry = err == ERR_OK ? find_key(vouching, word) : NULL;
    if (entry == NULL)
        return err;
    const size_t index = (size_t)(entry - keyring_at(vouching->listed, 0));
    /* Words of one address stand together. */
    for (size_t i = vouching->extras_len; i-- > 0 && strcmp(vouching->extras[i].address, word->address) == 0;)
        if (vouching->extras[i].index == index) {
            say(&vouching->extras[i].said, word);
            return ERR_OK;
        }
    if (vouching->extras_len == vouching->extras_capacity) {
        const size_t capacity = vouching->extras_capacity * 2 + 16;
        struct extra *extras = reallocarray(vouching->extras, capacity, sizeof(*extras));
        if (extras == NULL)
            return ERR_MEMORY;
        vouching->extras = extras;
        vouching->extras_capacity = capacity;
    }
    struct extra *extra = &vouching->extras[vouching->extras_len++];
    *extra = (struct extra){.index = index};
    memcpy(extra->address, word->address, sizeof(extra->address));
    say(&extra->said, word);
    return ERR_OK;
}

/* True if a correspondent's own Autocrypt key, which stands before what others gossip of it, can no longer be encrypted
   to; one that is not in the ring yet may be. */
static enum err is_own_useless(struct vouching *vouching, bool *is_useless)
{
    const struct keyring_want want = {.purpose = KEYRING_ENCRYPT, .formats = KEYRING_OPENPGP, .now = vouching->now};
    struct keyring_entry key;
    enum err err = sort_fingerprints(vouching);
    const struct keyring_entry *entry = err == ERR_OK ? find_key(vouching, &vouching->own) : NULL;
    *is_useless = false;
    if (entry == NULL)
        return err;
    key = *entry;
    key.trust = KEYRING_SEEN;
    *is_useless = keyring_judge(&key, &want) != KEYRING_TAKEN;
    return ERR_OK;
}

/* Words of one address stand together: its entries are looked for once. */
static void find_entries(struct vouching *vouching, const struct keyring_word *word)
{
    if (strcmp(vouching->address, word->address) == 0)
        return;
    vouching->len = keyring_find(vouching->listed, word->address, &vouching->first);
    memcpy(vouching->address, word->address, sizeof(vouching->address));
}

static enum err hear(struct vouching *vouching, struct keyring_word *word)
{
    bool is_listed = false;
    if (word->source == KEYRING_SOURCE_AUTOCRYPT)
        vouching->own = *word;
    if (word->source == KEYRING_SOURCE_GOSSIP && strcmp(vouching->own.address, word->address) == 0) {
        bool is_useless;
        enum err err = is_own_useless(vouching, &is_useless);
        if (err != ERR_OK)
            return err;
        if (!is_useless)
            word->trust = KEYRING_UNVERIFIED;
    }
    find_entries(vouching, word);
    for (size_t i = vouching->first; i < vouching->first + vouching->len; i++) {
        const struct keyring_entry *entry = keyring_at(vouching->listed, i);
        if (entry->format != word->format || strcmp(entry->fingerprint, word->fingerprint) != 0)
            continue;
        say(&vouching->said[i], word);
        is_listed = true;
    }
    const bool may_add = is_autocrypt(word->source) || word->source == KEYRING_SOURCE_PERSON;
    return !is_listed && may_add ? add_extra(vouching, word) : ERR_OK;
}

static void apply(struct keyring_entry *entry, const struct said *said)
{
    if (entry->trust == KEYRING_OWN)
        return;
    if (said->is_never) {
        entry->trust = KEYRING_NEVER;
        entry->source = KEYRING_SOURCE_PERSON;
        return;
    }
    const bool is_ruled_out = entry->trust == KEYRING_NEVER && said->source != KEYRING_SOURCE_PERSON;
    /* What lies in the ring by nobody's word in particular is by that of whoever says as much. */
    const bool is_known_better =
        said->trust == entry->trust && entry->source == KEYRING_SOURCE_IMPORT && entry->trust == KEYRING_UNVERIFIED;
    if (!said->is_any || is_ruled_out || (said->trust <= entry->trust && !is_known_better))
        return;
    entry->trust = (enum keyring_trust)said->trust;
    entry->source = (enum keyring_source)said->source;
    entry->advice = (enum keyring_advice)said->advice;
    if (!keyring_source_is_asked(entry->source) || said->until == 0)
        return;
    entry->ask_again = said->until > KEYRING_WORD_LONGER_S ? said->until - KEYRING_WORD_LONGER_S : 1;
}

static enum err copy_all(const struct vouching *vouching, struct keyring *keyring)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < keyring_len(vouching->listed); i++) {
        struct keyring_entry entry = *keyring_at(vouching->listed, i);
        apply(&entry, &vouching->said[i]);
        err = keyring_add(keyring, &entry);
    }
    for (size_t i = 0; err == ERR_OK && i < vouching->extras_len; i++) {
        const struct extra *extra = &vouching->extras[i];
        struct keyring_entry entry = *keyring_at(vouching->listed, extra->index);
        /* What the ring says of another address of the key is nothing about this one. */
        memcpy(entry.address, extra->address, sizeof(entry.address));
        entry.trust = KEYRING_UNVERIFIED;
        entry.source = KEYRING_SOURCE_IMPORT;
        entry.is_primary_uid = false;
        apply(&entry, &extra->said);
        err = keyring_add(keyring, &entry);
    }
    return err;
}

enum err keyring_vouch(const struct keyring *listed, struct span words, int64_t now, struct keyring **vouched_out)
{
    struct vouching vouching = {.listed = listed, .now = now};
    struct keyring *vouched = NULL;
    struct keyring_word word;
    bool is_incomplete = keyring_is_incomplete(listed);
    *vouched_out = NULL;
    vouching.said = calloc(keyring_len(listed) + 1, sizeof(*vouching.said));
    enum err err = vouching.said == NULL ? ERR_MEMORY : ERR_OK;
    for (size_t i = 0; err == ERR_OK && (err = keyring_word_take(&words, &word)) == ERR_OK; i++) {
        const bool is_unread = word.fingerprint[0] == '\0' && word.source == KEYRING_SOURCE_PERSON;
        is_incomplete = is_incomplete || is_unread;
        if (is_unread)
            continue;
        if (i == KEYRING_WORDS_MAX || word.fingerprint[0] == '\0')
            err = ERR_PEER_PROTOCOL;
        else if (keyring_word_counts(&word, now))
            err = hear(&vouching, &word);
    }
    err = err == ERR_END ? keyring_new(&vouched) : err;
    if (err == ERR_OK)
        err = copy_all(&vouching, vouched);
    if (err == ERR_OK && is_incomplete)
        keyring_set_incomplete(vouched);
    free(vouching.said);
    free(vouching.fingerprints);
    free(vouching.extras);
    if (err != ERR_OK)
        keyring_free(&vouched);
    *vouched_out = vouched;
    return err;
}

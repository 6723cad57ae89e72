#include "keyring/index.h"

#include <stdlib.h>
#include <string.h>

struct keyring {
    struct keyring_entry *entries;
    size_t len, capacity;
    bool is_unsorted; /* additions only append; the first look sorts, unless they came in order */
    bool is_incomplete;
};

enum err keyring_new(struct keyring **keyring_out)
{
    *keyring_out = calloc(1, sizeof **keyring_out);
    return *keyring_out == NULL ? ERR_MEMORY : ERR_OK;
}

void keyring_free(struct keyring **keyring)
{
    if (*keyring == NULL)
        return;
    free((*keyring)->entries);
    free(*keyring);
    *keyring = NULL;
}

void keyring_set_incomplete(struct keyring *keyring)
{
    keyring->is_incomplete = true;
}

bool keyring_is_incomplete(const struct keyring *keyring)
{
    return keyring->is_incomplete;
}

static int compare_address(const char *a, const char *b)
{
    while (*a != '\0' && (*a == *b || span_lower(*a) == span_lower(*b))) {
        a++;
        b++;
    }
    return (int)(unsigned char)span_lower(*a) - (int)(unsigned char)span_lower(*b);
}

static int compare_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* What somebody else, or anybody at all, said without being asked by the owner. */
static bool is_hearsay(const struct keyring_entry *entry)
{
    return entry->source == KEYRING_SOURCE_GOSSIP || entry->source == KEYRING_SOURCE_KEYSERVER;
}

/* Address, then the best choice first; what follows only keeps the order the same whatever the order of additions. */
static int compare_entries(const void *left, const void *right)
{
    const struct keyring_entry *a = left, *b = right;
    int order = compare_address(a->address, b->address);
    if (order == 0)
        order = compare_number(b->trust, a->trust);
    if (order == 0)
        order = compare_number(is_hearsay(a), is_hearsay(b));
    if (order == 0)
        order = compare_number(b->created, a->created);
    if (order == 0)
        order = strcmp(a->fingerprint, b->fingerprint);
    if (order == 0)
        order = compare_number(a->format, b->format);
    if (order == 0)
        order = compare_number(a->is_revoked, b->is_revoked);
    if (order == 0)
        order = compare_number(b->is_primary_uid, a->is_primary_uid);
    if (order == 0)
        order = strcmp(a->user_id, b->user_id);
    if (order == 0)
        order = compare_number(a->source, b->source);
    return order == 0 ? strcmp(a->address, b->address) : order;
}

enum err keyring_add(struct keyring *keyring, const struct keyring_entry *entry)
{
    if (keyring->len >= KEYRING_ENTRIES_MAX)
        return ERR_LIMIT;
    if (keyring->len == keyring->capacity) {
        size_t capacity = keyring->capacity == 0 ? 64 : keyring->capacity * 2;
        struct keyring_entry *entries = reallocarray(keyring->entries, capacity, sizeof *entries);
        if (entries == NULL)
            return ERR_MEMORY;
        keyring->entries = entries;
        keyring->capacity = capacity;
    }
    struct keyring_entry *added = &keyring->entries[keyring->len];
    *added = *entry;
    /* A saved form is in order already. */
    if (keyring->len++ > 0 && !keyring->is_unsorted)
        keyring->is_unsorted = compare_entries(added - 1, added) > 0;
    return ERR_OK;
}

/* Sorting is no change that a reader could see, so it is done behind a const pointer. */
static void sort(const struct keyring *keyring)
{
    struct keyring *writable = (struct keyring *)keyring;
    if (keyring->is_unsorted)
        qsort(writable->entries, writable->len, sizeof *writable->entries, compare_entries);
    writable->is_unsorted = false;
}

size_t keyring_len(const struct keyring *keyring)
{
    return keyring->len;
}

const struct keyring_entry *keyring_at(const struct keyring *keyring, size_t index)
{
    sort(keyring);
    return &keyring->entries[index];
}

/* The first entry whose address is not below `address`. */
static size_t find_first(const struct keyring *keyring, const char *address)
{
    size_t low = 0, high = keyring->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_address(keyring->entries[middle].address, address) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t keyring_find(const struct keyring *keyring, const char *address, size_t *first_out)
{
    sort(keyring);
    const size_t first = find_first(keyring, address);
    size_t end = first;
    /* Whoever asks looks at each of them: they are no more than it takes to count them. */
    while (end < keyring->len && compare_address(keyring->entries[end].address, address) == 0)
        end++;
    *first_out = first;
    return end - first;
}

const char *keyring_reason_text(enum keyring_reason reason)
{
    switch (reason) {
    case KEYRING_TAKEN:
        return "taken";
    case KEYRING_REVOKED:
        return "revoked";
    case KEYRING_EXPIRED:
        return "expired";
    case KEYRING_NOT_YET_VALID:
        return "not yet valid";
    case KEYRING_DISABLED:
        return "disabled";
    case KEYRING_UNABLE:
        return "no valid part of it serves for this";
    case KEYRING_NO_SECRET:
        return "its secret key is not here";
    case KEYRING_TOO_LITTLE_TRUST:
        return "not trusted enough";
    case KEYRING_UNCONFIRMED:
        return "its source has not confirmed it for too long";
    case KEYRING_WRONG_FORMAT:
        return "of a format that the rule does not take";
    case KEYRING_NOT_THEIRS:
        return "the person said that it is not theirs";
    case KEYRING_WEAKER:
        return "usable, but another is better";
    case KEYRING_CONTRADICTED:
        return "usable, but another source names another key";
    }
    return "unknown";
}

static bool has_run_out(const struct keyring_entry *entry, int64_t since)
{
    return entry->trust == KEYRING_FOUND && entry->ask_again != 0 && since - entry->ask_again >= KEYRING_WORD_LONGER_S;
}

bool keyring_is_stale(const struct keyring_entry *entry, int64_t now)
{
    return has_run_out(entry, now);
}

bool keyring_is_unconfirmed(const struct keyring_entry *entry, int64_t now)
{
    return has_run_out(entry, now - KEYRING_STALE_S);
}

enum keyring_reason keyring_judge(const struct keyring_entry *entry, const struct keyring_want *want)
{
    int64_t until = want->purpose == KEYRING_SIGN ? entry->sign_until : entry->encrypt_until;
    if ((want->formats & (unsigned)entry->format) == 0)
        return KEYRING_WRONG_FORMAT;
    if (entry->trust == KEYRING_NEVER && entry->source == KEYRING_SOURCE_PERSON)
        return KEYRING_NOT_THEIRS;
    if (entry->is_revoked)
        return KEYRING_REVOKED;
    if (entry->is_disabled)
        return KEYRING_DISABLED;
    if (entry->created > want->now)
        return KEYRING_NOT_YET_VALID;
    if (until < 0)
        return KEYRING_UNABLE;
    if ((entry->expires != 0 && entry->expires <= want->now) || (until != 0 && until <= want->now))
        return KEYRING_EXPIRED;
    if (want->purpose == KEYRING_SIGN && !entry->has_secret)
        return KEYRING_NO_SECRET;
    /* A wish that was never filled in must not take what is known to be wrong. */
    if (entry->trust == KEYRING_NEVER || entry->trust < want->least)
        return KEYRING_TOO_LITTLE_TRUST;
    if (want->least > KEYRING_SEEN && keyring_is_unconfirmed(entry, want->now))
        return KEYRING_UNCONFIRMED;
    return KEYRING_TAKEN;
}

const struct keyring_entry *keyring_choose(const struct keyring *keyring, const char *address,
                                           const struct keyring_want *want, enum keyring_reason *reason_out)
{
    size_t first;
    size_t count = *address == '\0' ? 0 : keyring_find(keyring, address, &first);
    const struct keyring_entry *best = NULL;
    *reason_out = KEYRING_TAKEN;
    for (size_t i = 0; i < count; i++) {
        const struct keyring_entry *entry = &keyring->entries[first + i];
        enum keyring_reason reason = keyring_judge(entry, want);
        /* They are in order but for what is stale, which only what is `found`, too, comes before. */
        if (best != NULL && entry->trust < best->trust)
            break;
        if (reason == KEYRING_TAKEN && (best == NULL || !keyring_is_stale(entry, want->now)))
            best = entry;
        if (best != NULL && !keyring_is_stale(best, want->now))
            break;
        /* One of another format is refused only if there is no other. */
        if (i == 0 || *reason_out == KEYRING_WRONG_FORMAT)
            *reason_out = reason;
    }
    if (best != NULL)
        *reason_out = KEYRING_TAKEN;
    return best;
}

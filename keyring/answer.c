#include "keyring/answer.h"

#include <string.h>

/* A source, or what stands for all that GnuPG and chains vouch for. */
#define BY_CERTIFICATION KEYRING_SOURCE_COUNT

static enum keyring_source voucher_of(const struct keyring_entry *entry)
{
    if (entry->trust >= KEYRING_PINNED)
        return KEYRING_SOURCE_PERSON;
    return entry->trust >= KEYRING_MARGINAL ? BY_CERTIFICATION : entry->source;
}

const char *keyring_voucher_text(const struct keyring_entry *entry)
{
    const enum keyring_source voucher = voucher_of(entry);
    if (voucher != BY_CERTIFICATION)
        return keyring_source_text(voucher);
    return entry->format == KEYRING_SMIME ? "its issuer" : "the web of trust";
}

static bool is_by_autocrypt(const struct keyring_entry *entry)
{
    const enum keyring_source voucher = voucher_of(entry);
    return voucher == KEYRING_SOURCE_AUTOCRYPT || voucher == KEYRING_SOURCE_GOSSIP;
}

/* Whether its word counts for or against another's. */
static bool has_voice(const struct keyring_entry *entry)
{
    return entry->trust > KEYRING_UNVERIFIED && !is_by_autocrypt(entry);
}

const struct keyring_entry *keyring_rival(const struct keyring *keyring, const struct keyring_entry *choice,
                                          const struct keyring_want *want)
{
    struct keyring_want same = *want;
    size_t first;
    if (choice->trust >= KEYRING_PINNED || !has_voice(choice))
        return NULL;
    same.formats = (unsigned)choice->format;
    const size_t len = keyring_find(keyring, choice->address, &first);
    for (size_t i = first; i < first + len; i++) {
        const struct keyring_entry *entry = keyring_at(keyring, i);
        if (strcmp(entry->fingerprint, choice->fingerprint) != 0 && has_voice(entry) &&
            voucher_of(entry) != voucher_of(choice) && keyring_judge(entry, &same) == KEYRING_TAKEN)
            return entry;
    }
    return NULL;
}

const struct keyring_entry *keyring_withdrawn(const struct keyring *keyring, const char *address,
                                              const struct keyring_want *want)
{
    size_t first;
    const size_t len = *address == '\0' ? 0 : keyring_find(keyring, address, &first);
    for (size_t i = 0; i < len; i++) {
        const struct keyring_entry *entry = keyring_at(keyring, first + i);
        struct keyring_entry valid = *entry;
        valid.is_revoked = false;
        if (entry->is_revoked && !is_by_autocrypt(entry) && keyring_judge(&valid, want) == KEYRING_TAKEN)
            return entry;
    }
    return NULL;
}

static bool is_usable(enum keyring_reason reason)
{
    return reason == KEYRING_TAKEN || reason == KEYRING_WEAKER || reason == KEYRING_CONTRADICTED;
}

static enum keyring_reason reason_of(const struct keyring_answer *answer, const struct keyring_entry *entry,
                                     const struct keyring_want *want)
{
    const struct keyring_entry *choice = answer->choice, *rival = answer->rival;
    const enum keyring_reason reason = keyring_judge(entry, want);
    if (reason != KEYRING_TAKEN || entry == choice)
        return reason;
    const bool is_against = rival != NULL && has_voice(entry) && voucher_of(entry) != voucher_of(choice);
    return is_against ? KEYRING_CONTRADICTED : KEYRING_WEAKER;
}

/* A key that carries the address more than once is one candidate, by that user ID which can be used. */
static void add(struct keyring_answer *answer, const struct keyring_entry *entry, enum keyring_reason reason)
{
    for (size_t i = 0; i < answer->candidates_len; i++) {
        struct keyring_candidate *known = &answer->candidates[i];
        if (strcmp(known->entry->fingerprint, entry->fingerprint) != 0)
            continue;
        if (!is_usable(known->reason) && is_usable(reason))
            *known = (struct keyring_candidate){entry, reason};
        return;
    }
    if (answer->candidates_len == KEYRING_CANDIDATES_MAX)
        answer->left_out++;
    else
        answer->candidates[answer->candidates_len++] = (struct keyring_candidate){entry, reason};
}

void keyring_answer(const struct keyring *keyring, const char *address, const struct keyring_want *want,
                    struct keyring_answer *answer_out)
{
    size_t first;
    const size_t len = *address == '\0' ? 0 : keyring_find(keyring, address, &first);
    enum keyring_reason reason;
    const struct keyring_entry *choice = keyring_choose(keyring, address, want, &reason);
    *answer_out = (struct keyring_answer){.choice = choice, .reason = reason};
    if (choice != NULL)
        answer_out->rival = keyring_rival(keyring, choice, want);
    for (size_t i = 0; i < len; i++) {
        const struct keyring_entry *entry = keyring_at(keyring, first + i);
        if ((want->formats & (unsigned)entry->format) != 0)
            add(answer_out, entry, reason_of(answer_out, entry, want));
    }
}

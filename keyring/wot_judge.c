/*
 * Validity, by the rounds of GnuPG's trust database (--check-trustdb): the keys whose certifications count in a round
 * are those that became fully valid in the round before, beginning with the ultimately trusted ones.
 */
#include "keyring/wot_internal.h"

#include <stdlib.h>
#include <string.h>

struct place {
    uint64_t id;
    size_t key;
};

/* While it is judged: of each key. */
struct judging {
    struct keyring_wot *wot;
    struct place *places; /* of the keys, by key ID */
    struct wot_scope *scopes;
    bool *is_settled; /* nothing more can change */
};

static int compare_places(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return left->key < right->key ? -1 : left->key > right->key;
}

/* A key ID that two keys have stands for neither, unless the certification names a fingerprint. */
static size_t find_signer(const struct judging *judging, const struct keyring_wot_certification *certification)
{
    const size_t len = judging->wot->keys_len;
    size_t low = 0, high = len;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (judging->places[middle].id < certification->issuer)
            low = middle + 1;
        else
            high = middle;
    }
    const bool is_ambiguous = low + 1 < len && judging->places[low + 1].id == certification->issuer;
    for (; low < len && judging->places[low].id == certification->issuer; low++) {
        const char *fingerprint = judging->wot->keys[judging->places[low].key].fingerprint;
        if (certification->fingerprint[0] == '\0' ? !is_ambiguous
                                                  : strcmp(certification->fingerprint, fingerprint) == 0)
            return judging->places[low].key;
    }
    return KEYRING_WOT_NONE;
}

static void find_signers(const struct judging *judging)
{
    struct keyring_wot *wot = judging->wot;
    for (size_t i = 0; i < wot->keys_len; i++)
        judging->places[i] = (struct place){wot_key_id(wot->keys[i].fingerprint), i};
    qsort(judging->places, wot->keys_len, sizeof *judging->places, compare_places);
    for (size_t i = 0; i < wot->certifications_len; i++)
        wot->certifications[i].signer = find_signer(judging, &wot->certifications[i]);
}

/* One that its maker cannot withdraw, and that has not expired. */
static bool stands(const struct keyring_wot_certification *certification, int64_t now)
{
    return !certification->is_revocation && certification->is_irrevocable &&
           (certification->expires == 0 || certification->expires > now);
}

/* Whether `later`, which comes after `earlier` on the key, takes its place. */
static bool replaces(const struct keyring_wot_certification *later, const struct keyring_wot_certification *earlier,
                     int64_t now)
{
    const bool stands_later = stands(later, now), stands_earlier = stands(earlier, now);
    if (stands_later != stands_earlier)
        return stands_later;
    return later->made >= earlier->made;
}

static enum keyring_wot_state state_of_last(const struct keyring_wot_certification *certification, int64_t now)
{
    if (certification->is_revocation)
        return KEYRING_WOT_REVOKED;
    return certification->expires != 0 && certification->expires <= now ? KEYRING_WOT_EXPIRED
                                                                        : KEYRING_WOT_WITHOUT_WORD;
}

/* Of each maker only the last certification of a user ID counts, even if it has expired or is a revocation. */
static void choose_last(struct keyring_wot *wot, const struct keyring_wot_user_id *user_id)
{
    const size_t len = user_id->certifications_len;
    if (len == 0)
        return;
    struct keyring_wot_certification *list = wot->certifications + user_id->certifications_first;
    for (size_t i = 0; i < len; i++) {
        const bool is_checked = list[i].is_revocation || list[i].level == 0 || list[i].level >= wot->options.level_min;
        list[i].state = list[i].signer == KEYRING_WOT_NONE ? KEYRING_WOT_MISSING
                        : !is_checked                      ? KEYRING_WOT_UNCHECKED
                                                           : KEYRING_WOT_COUNTED;
        list[i].round = -1;
    }
    for (size_t i = 0; i < len; i++) {
        /* COUNTED: not looked at yet. */
        if (list[i].state != KEYRING_WOT_COUNTED)
            continue;
        size_t last = i;
        for (size_t j = i + 1; j < len; j++)
            if (list[j].state == KEYRING_WOT_COUNTED && list[j].signer == list[i].signer &&
                replaces(&list[j], &list[last], wot->now))
                last = j;
        const enum keyring_wot_state state = state_of_last(&list[last], wot->now);
        const enum keyring_wot_state others = state == KEYRING_WOT_REVOKED ? state : KEYRING_WOT_SUPERSEDED;
        const size_t signer = list[i].signer;
        for (size_t j = i; j < len; j++)
            if (list[j].state == KEYRING_WOT_COUNTED && list[j].signer == signer)
                list[j].state = j == last ? state : others;
    }
}

/* What a trust signature of at least this amount gives (RFC 4880 §5.2.3.13). */
static enum keyring_wot_trust trust_of_amount(unsigned amount)
{
    return amount >= 120 ? KEYRING_WOT_FULL : amount >= 60 ? KEYRING_WOT_MARGINAL : KEYRING_WOT_UNKNOWN;
}

/* A chain of trust signatures grows no deeper than its maker wanted; an ultimately trusted key begins anew. The last
   one on the key counts. */
static void note_trust_signature(const struct judging *judging, const struct keyring_wot_certification *certification,
                                 struct wot_scope *scope)
{
    const struct keyring_wot_key *signer = &judging->wot->keys[certification->signer];
    const unsigned left = judging->scopes[certification->signer].depth;
    const unsigned depth =
        certification->depth < left || signer->word == KEYRING_WOT_ULTIMATE ? certification->depth : left;
    if (certification->depth == 0 || depth == 0)
        return;
    scope->depth = depth - 1;
    scope->amount = certification->amount;
    if (certification->domain != NULL)
        scope->domain = certification->domain;
}

/* Counts the certifications of this round; true if there is one. */
static bool count(const struct judging *judging, struct keyring_wot_user_id *user_id, int round,
                  struct wot_scope *scope)
{
    struct keyring_wot *wot = judging->wot;
    bool is_certified = false;
    for (size_t i = 0; i < user_id->certifications_len; i++) {
        struct keyring_wot_certification *it = &wot->certifications[user_id->certifications_first + i];
        if (it->state != KEYRING_WOT_WITHOUT_WORD || it->signer == user_id->key || wot->keys[it->signer].round != round)
            continue;
        const char *domain = judging->scopes[it->signer].domain;
        if (domain != NULL && !keyring_wot_is_in_domain(domain, user_id->text)) {
            it->state = KEYRING_WOT_OUT_OF_SCOPE;
            continue;
        }
        note_trust_signature(judging, it, scope);
        const enum keyring_wot_trust word = wot->keys[it->signer].word;
        if (word == KEYRING_WOT_ULTIMATE)
            user_id->completes = wot->options.completes_needed;
        else if (word == KEYRING_WOT_FULL)
            user_id->completes++;
        else if (word == KEYRING_WOT_MARGINAL)
            user_id->marginals++;
        if (word >= KEYRING_WOT_MARGINAL) {
            it->state = KEYRING_WOT_COUNTED;
            it->round = round;
        }
        is_certified = true;
    }
    return is_certified;
}

static enum keyring_wot_trust validity_of(const struct keyring_wot *wot, const struct keyring_wot_user_id *user_id)
{
    if (user_id->completes >= wot->options.completes_needed || user_id->marginals >= wot->options.marginals_needed)
        return KEYRING_WOT_FULL;
    return user_id->completes > 0 || user_id->marginals > 0 ? KEYRING_WOT_MARGINAL : KEYRING_WOT_UNDEFINED;
}

/* One key in one round. A key that becomes fully valid has its word counted in the next round. */
static void judge_key(const struct judging *judging, size_t index, int round)
{
    struct keyring_wot *wot = judging->wot;
    struct keyring_wot_key *key = &wot->keys[index];
    struct wot_scope scope = {0, 0, NULL};
    bool is_any_full = false, are_all_full = true;
    for (size_t i = 0; i < key->user_ids_len; i++) {
        struct keyring_wot_user_id *user_id = &wot->user_ids[key->user_ids_first + i];
        bool is_full = false;
        if (!keyring_wot_is_dead(wot, key->user_ids_first + i) && count(judging, user_id, round, &scope)) {
            user_id->validity = validity_of(wot, user_id);
            is_full = user_id->validity == KEYRING_WOT_FULL;
            if (is_full && user_id->round < 0)
                user_id->round = round;
        }
        is_any_full = is_any_full || is_full;
        are_all_full = are_all_full && is_full;
    }
    judging->is_settled[index] = are_all_full;
    if (!is_any_full || key->round >= 0 || round + 1 >= (int)wot->options.depth_max)
        return;
    const enum keyring_wot_trust given = trust_of_amount(scope.amount);
    key->round = round + 1;
    key->word = key->ownertrust < given ? given : key->ownertrust;
    judging->scopes[index] = scope;
}

/* Nothing is known, but of the keys that a person called ultimate. One that was revoked still counts for gpg. */
static void begin(const struct judging *judging)
{
    struct keyring_wot *wot = judging->wot;
    for (size_t i = 0; i < wot->keys_len; i++) {
        struct keyring_wot_key *key = &wot->keys[i];
        const bool is_expired = key->expires != 0 && key->expires <= wot->now;
        const bool is_ultimate = key->ownertrust == KEYRING_WOT_ULTIMATE && !is_expired;
        key->round = is_ultimate ? 0 : -1;
        key->word = is_ultimate ? KEYRING_WOT_ULTIMATE : KEYRING_WOT_UNKNOWN;
        judging->is_settled[i] = is_ultimate || keyring_wot_is_key_dead(wot, i);
        for (size_t j = 0; j < key->user_ids_len; j++) {
            struct keyring_wot_user_id *user_id = &wot->user_ids[key->user_ids_first + j];
            user_id->completes = user_id->marginals = 0;
            user_id->round = -1;
            user_id->validity = is_ultimate ? KEYRING_WOT_ULTIMATE : KEYRING_WOT_UNKNOWN;
            choose_last(wot, user_id);
        }
    }
}

/* What nobody had to look at any more, since all of the key was valid. */
static void note_spare(struct keyring_wot *wot)
{
    for (size_t i = 0; i < wot->certifications_len; i++) {
        struct keyring_wot_certification *it = &wot->certifications[i];
        if (it->state != KEYRING_WOT_WITHOUT_WORD || keyring_wot_is_dead(wot, it->user_id))
            continue;
        const struct keyring_wot_key *signer = &wot->keys[it->signer];
        if (signer->round >= 0 && signer->word >= KEYRING_WOT_MARGINAL &&
            wot->user_ids[it->user_id].validity >= KEYRING_WOT_FULL)
            it->state = KEYRING_WOT_SPARE;
    }
}

enum err keyring_wot_judge(struct keyring_wot *wot, int64_t now)
{
    struct judging judging = {.wot = wot,
                              .places = calloc(wot->keys_len + 1, sizeof *judging.places),
                              .scopes = calloc(wot->keys_len + 1, sizeof *judging.scopes),
                              .is_settled = calloc(wot->keys_len + 1, sizeof *judging.is_settled)};
    const bool is_done = judging.places != NULL && judging.scopes != NULL && judging.is_settled != NULL;
    if (is_done) {
        wot->now = now;
        find_signers(&judging);
        begin(&judging);
        for (int round = 0; round < (int)wot->options.depth_max; round++)
            for (size_t i = 0; i < wot->keys_len; i++)
                if (!judging.is_settled[i])
                    judge_key(&judging, i, round);
        note_spare(wot);
    }
    free(judging.places);
    free(judging.scopes);
    free(judging.is_settled);
    return is_done ? ERR_OK : ERR_MEMORY;
}

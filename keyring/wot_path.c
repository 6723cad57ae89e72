/*
 * Why a user ID is valid. Rounds only fall from a certification to those that its maker stands on, so a path has an
 * end, whatever circles the graph has.
 */
#include "keyring/wot_internal.h"

#include <stdlib.h>
#include <string.h>

struct tracing {
    const struct keyring_wot *wot;
    struct keyring_wot_path *path;
    bool *is_explained; /* keys whose own path is there */
};

/* Less than 0: `a` is the better one to show. */
static int compare(const struct keyring_wot *wot, size_t a, size_t b)
{
    const struct keyring_wot_certification *left = &wot->certifications[a], *right = &wot->certifications[b];
    const enum keyring_wot_trust left_word = wot->keys[left->signer].word, right_word = wot->keys[right->signer].word;
    if (left->round != right->round)
        return left->round < right->round ? -1 : 1;
    if (left_word != right_word)
        return left_word > right_word ? -1 : 1;
    if (left->level != right->level)
        return left->level > right->level ? -1 : 1;
    if (left->made != right->made)
        return left->made < right->made ? -1 : 1;
    return strcmp(wot->keys[left->signer].fingerprint, wot->keys[right->signer].fingerprint);
}

/* The best certification that counted in no later round than `round` and whose maker's word is at least `word`, and
   that comes after `after` (KEYRING_WOT_NONE: the best of all). */
static size_t best(const struct keyring_wot *wot, const struct keyring_wot_user_id *user_id, int round,
                   enum keyring_wot_trust word, size_t after)
{
    size_t found = KEYRING_WOT_NONE;
    for (size_t i = 0; i < user_id->certifications_len; i++) {
        const size_t at = user_id->certifications_first + i;
        const struct keyring_wot_certification *it = &wot->certifications[at];
        if (it->state != KEYRING_WOT_COUNTED || it->round > round || wot->keys[it->signer].word < word)
            continue;
        if ((after == KEYRING_WOT_NONE || compare(wot, after, at) < 0) &&
            (found == KEYRING_WOT_NONE || compare(wot, at, found) < 0))
            found = at;
    }
    return found;
}

/* How many of the best complete words are enough; 0: there are too few of them, and marginal ones must help. */
static size_t enough(const struct keyring_wot *wot, const struct keyring_wot_user_id *user_id, int round)
{
    size_t len = 0;
    for (size_t at = best(wot, user_id, round, KEYRING_WOT_FULL, KEYRING_WOT_NONE); at != KEYRING_WOT_NONE;
         at = best(wot, user_id, round, KEYRING_WOT_FULL, at)) {
        len++;
        if (len >= wot->options.completes_needed || wot->keys[wot->certifications[at].signer].word > KEYRING_WOT_FULL)
            return len;
    }
    return 0;
}

static void explain_key(struct tracing *tracing, size_t index);

/* The certifications that make this user ID valid up to `round`, each after what its maker stands on. */
static void explain(struct tracing *tracing, const struct keyring_wot_user_id *user_id, int round)
{
    const struct keyring_wot *wot = tracing->wot;
    const size_t complete = enough(wot, user_id, round);
    const enum keyring_wot_trust word = complete > 0 ? KEYRING_WOT_FULL : KEYRING_WOT_MARGINAL;
    size_t len = 0;
    for (size_t at = best(wot, user_id, round, word, KEYRING_WOT_NONE); at != KEYRING_WOT_NONE;
         at = best(wot, user_id, round, word, at)) {
        explain_key(tracing, wot->certifications[at].signer);
        if (tracing->path->len == KEYRING_WOT_PATH_MAX) {
            tracing->path->is_cut = true;
            return;
        }
        tracing->path->certifications[tracing->path->len++] = at;
        if (++len == complete)
            return;
    }
}

/* The user ID by which a key became an introducer: of those that became valid then the one that is best explained. */
static void explain_key(struct tracing *tracing, size_t index)
{
    const struct keyring_wot *wot = tracing->wot;
    const struct keyring_wot_key *key = &wot->keys[index];
    const struct keyring_wot_user_id *chosen = NULL;
    size_t chosen_best = KEYRING_WOT_NONE;
    if (key->round <= 0 || tracing->is_explained[index])
        return;
    tracing->is_explained[index] = true;
    for (size_t i = 0; i < key->user_ids_len; i++) {
        const struct keyring_wot_user_id *user_id = &wot->user_ids[key->user_ids_first + i];
        if (user_id->round != key->round - 1)
            continue;
        const size_t at = best(wot, user_id, key->round - 1, KEYRING_WOT_MARGINAL, KEYRING_WOT_NONE);
        if (at != KEYRING_WOT_NONE && (chosen == NULL || compare(wot, at, chosen_best) < 0)) {
            chosen = user_id;
            chosen_best = at;
        }
    }
    if (chosen != NULL)
        explain(tracing, chosen, key->round - 1);
}

enum err keyring_wot_path(const struct keyring_wot *wot, size_t user_id, struct keyring_wot_path *path_out)
{
    const struct keyring_wot_user_id *it = &wot->user_ids[user_id];
    *path_out = (struct keyring_wot_path){.len = 0};
    if (it->validity != KEYRING_WOT_FULL && it->validity != KEYRING_WOT_MARGINAL)
        return ERR_OK;
    struct tracing tracing = {wot, path_out, calloc(wot->keys_len + 1, sizeof *tracing.is_explained)};
    if (tracing.is_explained == NULL)
        return ERR_MEMORY;
    explain(&tracing, it, (int)wot->options.depth_max);
    free(tracing.is_explained);
    return ERR_OK;
}

/*
 * What `why` has found out of one address, and the parts of it that take more room: candidates, conflict, what is known
 * of the correspondent.
 */
#ifndef CLI_WHY_H
#define CLI_WHY_H

#include "cli/key.h"
#include "cli/table.h"
#include "keyring/peer.h"
#include "policy/plan.h"

#define WHY_FORMATS 2

struct why {
    const struct cli *cli;
    const char *address;
    int64_t now;
    struct policy_choice choice;
    enum err err; /* of the plan */
    enum plan_action action;
    bool is_discouraged; /* there is a key, and Autocrypt recommends not to encrypt to it */
    char signer[KEYRING_FPR_SIZE];
    char detail[POLICY_DETAIL_SIZE];
    struct keyring_answer formats[WHY_FORMATS]; /* OpenPGP, S/MIME */
    bool has_peer;
    struct keyring_peer peer; /* with `has_peer` */
};

/* A row of a table of two columns. */
ERR_RETURN enum err why_add(struct table *table, const char *name, const char *value);

/* Whose word, and how long ago, as people say it: "the Web Key Directory of example.org, 3 days ago". */
void why_word(const struct keyring_word *word, int64_t now, char out[KEY_TEXT_SIZE]);
/* Rows "source": every word that counts for the key; none of them is the ring's or a certificate's own. `*len_out`: how
   many. */
ERR_RETURN enum err why_add_words(const struct why *why, const struct keyring_entry *entry, struct table *table,
                                  size_t *len_out);
/* Row "stale": since when its source's word has run out without having been said again; no row where it has not. */
ERR_RETURN enum err why_add_stale(const struct why *why, const struct keyring_entry *entry, struct table *table);
/* Rows "passed over": every candidate that was not taken, with its reason. */
ERR_RETURN enum err why_add_passed(const struct why *why, struct table *table);
/* What contradicts the choice, and what to do; no row where nothing does. */
ERR_RETURN enum err why_add_conflict(const struct why *why, struct table *table);
/* A later key that the chosen one, pinned or full, has certified (`key rotate`), and what to do; no row without one. */
ERR_RETURN enum err why_add_successor(const struct why *why, struct table *table);
/* First and last mail, counts, Autocrypt; no row where nothing is known. */
ERR_RETURN enum err why_add_peer(const struct why *why, struct table *table);

/* The same for programs; NULL when memory is short. `conflict` and `peer` may be JSON's null. */
json_t *why_candidates_json(const struct why *why);
json_t *why_words_json(const struct why *why, const struct keyring_entry *entry);
/* Seconds since 1970, or JSON's null. */
json_t *why_stale_json(const struct why *why, const struct keyring_entry *entry);
json_t *why_conflict_json(const struct why *why);
/* Its fingerprint, or JSON's null. */
json_t *why_successor_json(const struct why *why);
json_t *why_peer_json(const struct why *why);

#endif

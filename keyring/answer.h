/*
 * The whole answer for one address and format: which key, who else was looked at and why it was passed over, and
 * whether two sources contradict each other. Nothing is chosen here but by keyring_choose, so that what is shown is
 * what is done; its cost grows with the keys of the address alone. Pure: the time is the wish's. Runs in net and on the
 * command line.
 *
 * A contradiction (conflict) is two usable keys of one format for one address, both at or above the least trust, that
 * stand by the words of different sources, where the better one is neither pinned nor own. What any stranger can bring
 * about is none: a key that only an Autocrypt field names (anybody can write a From), or that nobody vouches for
 * (`unverified`), contradicts nothing. Keys that stand by certifications (a chain to a trust anchor, the web of trust)
 * stand by one word.
 */
#ifndef KEYRING_ANSWER_H
#define KEYRING_ANSWER_H

#include "keyring/index.h"

#define KEYRING_CANDIDATES_MAX 64

struct keyring_candidate {
    const struct keyring_entry *entry; /* borrowed of the index */
    enum keyring_reason reason;        /* KEYRING_TAKEN: the choice */
};

struct keyring_answer {
    const struct keyring_entry *choice; /* borrowed; NULL: none */
    const struct keyring_entry *rival;  /* borrowed; the key that another source names; NULL: nobody contradicts */
    enum keyring_reason reason;         /* as keyring_choose gives it */
    struct keyring_candidate candidates[KEYRING_CANDIDATES_MAX]; /* each key of the address once, best first */
    size_t candidates_len;
    size_t left_out; /* entries beyond that */
};

/* `want` names one format; keys of others are not looked at. */
void keyring_answer(const struct keyring *keyring, const char *address, const struct keyring_want *want,
                    struct keyring_answer *answer_out);
/* The best entry that contradicts `choice` (which keyring_choose gave for `want`); NULL: none. Borrowed. */
const struct keyring_entry *keyring_rival(const struct keyring *keyring, const struct keyring_entry *choice,
                                          const struct keyring_want *want);
/* The best entry that would be taken had it not been revoked; NULL: none. Borrowed. One that only Autocrypt vouches for
   is not meant. */
const struct keyring_entry *keyring_withdrawn(const struct keyring *keyring, const char *address,
                                              const struct keyring_want *want);
/* By whose word the entry has its trust, for people: "the web of trust", "a Web Key Directory". */
const char *keyring_voucher_text(const struct keyring_entry *entry);

#endif

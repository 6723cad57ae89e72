/*
 * The web of trust as GnuPG's trust database computes it, and what GnuPG does not tell: by which path a user ID is
 * valid.
 *
 * A graph of keys, their user IDs and the certifications on them, and how far each key's owner is trusted to certify
 * others. It is filled in the order of a listing, judged for a time, and then asked. Pure: no engine, no clock, no
 * file; the caller vouches that every certification that is added was checked cryptographically. Deterministic: the
 * same graph gives the same validities and the same paths. Bounded by KEYRING_WOT_*_MAX; what is left out is counted,
 * so that whoever shows the graph can say so. Used by the command line; net and keepers go by gpg's own validity.
 */
#ifndef KEYRING_WOT_H
#define KEYRING_WOT_H

#include "keyring/index.h"

#define KEYRING_WOT_KEYS_MAX 20000
#define KEYRING_WOT_USER_IDS_MAX 60000
#define KEYRING_WOT_CERTIFICATIONS_MAX 60000
#define KEYRING_WOT_PATH_MAX 64
#define KEYRING_WOT_NONE SIZE_MAX

/* GnuPG's one scale for how far an owner is trusted, and how far a user ID is valid; compare with < and >=. */
enum keyring_wot_trust {
    KEYRING_WOT_UNKNOWN,
    KEYRING_WOT_UNDEFINED, /* asked, and not decided; of a user ID: certified, but by nobody whose word counts */
    KEYRING_WOT_NEVER,
    KEYRING_WOT_MARGINAL,
    KEYRING_WOT_FULL,
    KEYRING_WOT_ULTIMATE,
    KEYRING_WOT_TRUST_COUNT
};
/* "unknown", "undefined", "never", "marginal", "full", "ultimate". */
const char *keyring_wot_trust_name(enum keyring_wot_trust trust);
/* By its name; ERR_USAGE if there is none such. */
ERR_RETURN enum err keyring_wot_trust_parse(const char *name, enum keyring_wot_trust *trust_out);

struct keyring_wot_options {
    unsigned marginals_needed; /* certifications by marginally trusted owners that make a user ID fully valid */
    unsigned completes_needed; /* the same by fully trusted ones */
    unsigned depth_max;        /* how many certifications a path may have */
    unsigned level_min;        /* of certifications that say how well was checked; those that do not say always count */
};
/* 3, 1, 5 and 2, as gpg has them. */
extern const struct keyring_wot_options keyring_wot_defaults;

struct keyring_wot_key {
    char fingerprint[KEYRING_FPR_SIZE];
    int64_t created, expires; /* expires 0: never */
    bool is_revoked, is_disabled;
    enum keyring_wot_trust ownertrust;
    size_t strangers; /* certifications on it by keys that are not here, and so are not in the graph */
    size_t user_ids_first, user_ids_len; /* set by keyring_wot_add_user_id */
    /* Judged: */
    enum keyring_wot_trust word; /* how far its certifications count: ownertrust, or what trust signatures give */
    int round;                   /* in which its certifications are counted: 0 for ultimate ones; -1: they are not */
};

struct keyring_wot_user_id {
    const char *text; /* UTF-8 as it is on the key; owned by the graph */
    int64_t expires;  /* 0: never */
    bool is_revoked;
    bool is_attribute; /* a picture */
    size_t key, certifications_first, certifications_len;
    /* Judged: */
    enum keyring_wot_trust validity; /* whatever has expired or been revoked: see keyring_wot_is_dead */
    unsigned completes, marginals;   /* certifications that counted */
    int round;                       /* in which it became fully valid; -1: it did not */
};

enum keyring_wot_state {
    KEYRING_WOT_COUNTED,      /* towards the validity */
    KEYRING_WOT_SPARE,        /* it would count, but the user ID was fully valid before it was its turn */
    KEYRING_WOT_WITHOUT_WORD, /* good, but its maker's word does not count: not trusted, not valid, or too far away */
    KEYRING_WOT_UNCHECKED,    /* its maker says that the user ID was not checked well enough */
    KEYRING_WOT_OUT_OF_SCOPE, /* its maker is trusted for other domains */
    KEYRING_WOT_SUPERSEDED,   /* by a later one of the same maker */
    KEYRING_WOT_EXPIRED,
    KEYRING_WOT_REVOKED, /* withdrawn; also the revocation itself */
    KEYRING_WOT_MISSING  /* its maker's key is not here */
};
const char *keyring_wot_state_text(enum keyring_wot_state state);

struct keyring_wot_certification {
    uint64_t issuer;                    /* key ID of its maker */
    char fingerprint[KEYRING_FPR_SIZE]; /* of its maker, if it names it; "" */
    unsigned level;                     /* 0: not said, 1: not checked, 2: casually, 3: carefully (RFC 4880 §5.2.1) */
    int64_t made, expires;              /* expires 0: never */
    bool is_revocation, is_irrevocable, is_local;
    unsigned depth, amount; /* of a trust signature (RFC 4880 §5.2.3.13); 0: it is none */
    const char *domain;     /* regular expression that limits it (§5.2.3.14); NULL: none; owned by the graph */
    size_t user_id;
    /* Judged: */
    size_t signer; /* KEYRING_WOT_NONE: not here */
    enum keyring_wot_state state;
    int round; /* in which it counted; -1 */
};

struct keyring_wot;

/* `options` NULL: the defaults. */
ERR_RETURN enum err keyring_wot_new(const struct keyring_wot_options *options, struct keyring_wot **wot_out);
void keyring_wot_free(struct keyring_wot **wot);

/* Each adds a copy: a user ID to the key that was added last, a certification to the user ID that was added last
   (ERR_INTERNAL without one). What is judged is ignored. ERR_LIMIT, which is counted as left out. */
ERR_RETURN enum err keyring_wot_add_key(struct keyring_wot *wot, const struct keyring_wot_key *key);
ERR_RETURN enum err keyring_wot_add_user_id(struct keyring_wot *wot, const struct keyring_wot_user_id *user_id);
ERR_RETURN enum err keyring_wot_add_certification(struct keyring_wot *wot,
                                                  const struct keyring_wot_certification *certification);
/* How many certifications of this key are by keys that are not here. */
void keyring_wot_set_strangers(struct keyring_wot *wot, size_t key, size_t count);
/* Adds to what keyring_wot_left_out gives. */
void keyring_wot_leave_out(struct keyring_wot *wot, size_t count);

/* Judges as of `now` (seconds); may be done again for another time. ERR_MEMORY: nothing is judged. */
ERR_RETURN enum err keyring_wot_judge(struct keyring_wot *wot, int64_t now);

size_t keyring_wot_keys_len(const struct keyring_wot *wot);
size_t keyring_wot_certifications_len(const struct keyring_wot *wot);
/* Borrowed; by the numbers 0 to the length, or those in the structs. */
const struct keyring_wot_key *keyring_wot_key(const struct keyring_wot *wot, size_t index);
const struct keyring_wot_user_id *keyring_wot_user_id(const struct keyring_wot *wot, size_t index);
const struct keyring_wot_certification *keyring_wot_certification(const struct keyring_wot *wot, size_t index);
/* The key with this fingerprint; KEYRING_WOT_NONE. */
size_t keyring_wot_find(const struct keyring_wot *wot, const char *fingerprint);
/* How many certifications and keys are not in the graph for its size. */
size_t keyring_wot_left_out(const struct keyring_wot *wot);
/* Revoked or, at the time judged for, expired: the key, or the user ID (with its key). */
bool keyring_wot_is_key_dead(const struct keyring_wot *wot, size_t key);
bool keyring_wot_is_dead(const struct keyring_wot *wot, size_t user_id);

/* Why a user ID is valid: certifications, each made by an ultimately trusted key or by one that an earlier of them (or
   several) made fully valid, the last ones on the user ID itself. One path, the shortest, of those the one whose
   certifications have the higher level, then are older, then have makers with smaller fingerprints; where only several
   marginal words together count, each of them with its own path. Empty for what is ultimate, and for what is neither
   full nor marginal. */
struct keyring_wot_path {
    size_t certifications[KEYRING_WOT_PATH_MAX];
    size_t len;
    bool is_cut; /* there are more */
};
ERR_RETURN enum err keyring_wot_path(const struct keyring_wot *wot, size_t user_id, struct keyring_wot_path *path_out);

/* Whether a user ID is in the domain of a trust signature, as GnuPG reads it: "<[^>]+[@.]DOMAIN>$" or a text that is
   looked for as it is; only "." stands for any character. Case is ignored. */
bool keyring_wot_is_in_domain(const char *domain, const char *user_id);

#endif

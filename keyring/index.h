/*
 * The answer to "which key for this address, how far is it trusted, and why", without asking gpg.
 *
 * A keeper lists the ring into an index, the index travels as a memfd, and net and the command line look things up in
 * it: one entry for each address of each user ID of each key. It judges by the time it is given, so an index needs no
 * refresh when a key expires. Deterministic: the same entries in any order give the same choice. Holds no secret.
 */
#ifndef KEYRING_INDEX_H
#define KEYRING_INDEX_H

#include "base/buf.h"
#include "keyring/source.h"
#include "mime/addr.h"

#define KEYRING_FPR_SIZE 65
#define KEYRING_ENTRIES_MAX 2000000

/* What Autocrypt recommends about a key whose trust comes of it alone (Autocrypt level 1, 2.4); it decides where a rule
   says `when-possible`. */
enum keyring_advice {
    KEYRING_ADVICE_NONE,       /* the key does not come of Autocrypt, or is trusted for another reason, too */
    KEYRING_ADVICE_DISCOURAGE, /* old, or hearsay: only an answer to encrypted mail is encrypted */
    KEYRING_ADVICE_AVAILABLE,  /* the same, but a person may well ask for it */
    KEYRING_ADVICE_MUTUAL,     /* its owner prefers encryption: encrypted if the account does, too */
    KEYRING_ADVICE_COUNT
};

struct keyring_entry {
    char address[MIME_ADDR_SIZE];       /* normal form; "" for a user ID without an address (listed, never chosen) */
    char fingerprint[KEYRING_FPR_SIZE]; /* of the primary key, upper-case hexadecimal */
    char algorithm[24];                 /* "ed25519/cv25519", "rsa3072" */
    char user_id[256];                  /* for people (mime_utf8_copy_shown) */
    enum keyring_format format;
    enum keyring_trust trust; /* of this user ID */
    enum keyring_source source;
    enum keyring_advice advice;
    int64_t created, expires; /* of the key, seconds; expires 0: never */
    int64_t encrypt_until;    /* when the last usable encryption subkey expires; 0: never; -1: there is none */
    int64_t sign_until;       /* the same for signing */
    int64_t ask_again;        /* when its source must be asked for it again, if one can be; 0: never */
    bool is_revoked;          /* the key or this user ID */
    bool is_disabled;
    bool has_secret;
    bool has_aead; /* its preferences ask for AEAD (OCB), which is refused on opening (design 1.1.2) */
    bool is_primary_uid;
};

/* Seconds for which a word of a source stands as it was after it has run out (keyring_is_stale). */
#define KEYRING_STALE_S (INT64_C(30) * 86400)

struct keyring;

ERR_RETURN enum err keyring_new(struct keyring **keyring_out);
void keyring_free(struct keyring **keyring);
/* Copies `entry` in. */
ERR_RETURN enum err keyring_add(struct keyring *keyring, const struct keyring_entry *entry);
/* What a person has said of some address could not be read: a key of it that was ruled out stands here as if nobody had
   said so. Part of the saved form. */
void keyring_set_incomplete(struct keyring *keyring);
bool keyring_is_incomplete(const struct keyring *keyring);
/* Writes all entries in a form that keyring_load reads (and checks: ERR_PEER_PROTOCOL if it is anything else). */
ERR_RETURN enum err keyring_save(const struct keyring *keyring, struct buf *out);
ERR_RETURN enum err keyring_load(struct span saved, struct keyring **keyring_out);

size_t keyring_len(const struct keyring *keyring);
/* Borrowed, in a fixed order: address, then best choice first. */
const struct keyring_entry *keyring_at(const struct keyring *keyring, size_t index);
/* The entries of one address (ASCII case ignored): `*first_out` and how many. */
size_t keyring_find(const struct keyring *keyring, const char *address, size_t *first_out);

enum keyring_purpose { KEYRING_ENCRYPT, KEYRING_SIGN /* needs the secret key */, KEYRING_PURPOSE_COUNT };

/* Why a candidate was not taken. */
enum keyring_reason {
    KEYRING_TAKEN,
    KEYRING_REVOKED,
    KEYRING_EXPIRED,
    KEYRING_NOT_YET_VALID,
    KEYRING_DISABLED,
    KEYRING_UNABLE,
    KEYRING_NO_SECRET,
    KEYRING_TOO_LITTLE_TRUST,
    KEYRING_UNCONFIRMED, /* the same, since its source has not been heard for too long */
    KEYRING_WRONG_FORMAT,
    KEYRING_NOT_THEIRS,  /* a person said so (`key pin --not`) */
    KEYRING_WEAKER,      /* usable, but another is better */
    KEYRING_CONTRADICTED /* the same, and another source than the better one's names it */
};
const char *keyring_reason_text(enum keyring_reason reason);

struct keyring_want {
    enum keyring_purpose purpose;
    unsigned formats; /* set of enum keyring_format */
    enum keyring_trust least;
    int64_t now;
};

/* True if the word that it is `found` by has run out, and its source has neither said it again nor taken it back: who
   can keep a source from being heard must not make mail weaker than it was. What is stale counts less than what is
   `found` and fresh, and stands before all that is weaker: for KEYRING_STALE_S as `found`, then as `seen`. */
bool keyring_is_stale(const struct keyring_entry *entry, int64_t now);
/* Whether that time is over, too. */
bool keyring_is_unconfirmed(const struct keyring_entry *entry, int64_t now);
/* What `want` says of one entry by itself (never KEYRING_WEAKER or KEYRING_CONTRADICTED). */
enum keyring_reason keyring_judge(const struct keyring_entry *entry, const struct keyring_want *want);
/* The best entry for `address`, or NULL: the one place where a choice is made. Order: higher trust, then what is not
   stale, then other sources before hearsay (gossip, keyservers), then the later `created`, then the smaller
   fingerprint. The reason that concerns the best of those refused (of a wanted format if there is one) goes to
   `*reason_out` (KEYRING_NEVER found: KEYRING_TAKEN with NULL). */
const struct keyring_entry *keyring_choose(const struct keyring *keyring, const char *address,
                                           const struct keyring_want *want, enum keyring_reason *reason_out);

#endif

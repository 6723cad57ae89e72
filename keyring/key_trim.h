/*
 * OpenPGP keys cut down to what can serve one address: the key, its user IDs with that address, its subkeys, and the
 * signatures that the key itself says it made on them. Of a stranger's answer, and of what is told to strangers.
 *
 * Other user IDs and other people's signatures, which anybody can add without end, are left out, so that a flooded key
 * stays small and a source that is asked for one address says nothing of another. Of too many signatures the newest
 * stays, then revocations, wherever they stand, then the next newest. No signature is checked: gpg does that, so who
 * makes up enough revocations can still hide the true one. Bounded in keys, signatures and bytes; linear in the answer.
 */
#ifndef KEYRING_KEY_TRIM_H
#define KEYRING_KEY_TRIM_H

#include "base/buf.h"

#define KEY_TRIM_KEYS_MAX 16             /* of one answer; further ones are left out */
#define KEY_TRIM_SIGNATURES_MAX 128      /* for one user ID, one subkey, the key itself */
#define KEY_TRIM_ROW_MAX ((size_t)65536) /* bytes of these */
#define KEY_TRIM_SUBKEYS_MAX 32

/* Gets each key (binary), valid during the call; another value than ERR_OK ends it. */
typedef enum err (*key_trim_fn)(struct span key, void *context);

/* What is kept of it. */
struct key_trim_want {
    const char *address;     /* user IDs with this address alone (normal form); NULL: all */
    const char *fingerprint; /* this key alone, also without such a user ID; NULL: every key with one, or without
                                `address` every key */
    bool is_secret;          /* secret keys, and no others: one's own, whose `fingerprint` it must be */
    size_t key_max;          /* bytes of one key; none that is larger is handed up */
    /* Of one that is larger the key itself is handed up nevertheless, with the signatures on it: there it says whether
       it is revoked, and no flood of user IDs and subkeys takes that along. With a `fingerprint` alone. */
    bool is_head_enough;
    size_t keys_max; /* 0: KEY_TRIM_KEYS_MAX */
};

/* Reads `answer` (binary, or armour of one or several keys) and hands up those that are wanted. ERR_MALFORMED: the
   answer is no row of such keys from its beginning to its end; what came before has been handed up. */
ERR_RETURN enum err key_trim(struct span answer, const struct key_trim_want *want, key_trim_fn fn, void *context);

/* Whether armour holds one signature and nothing else, by which the key with this fingerprint says that it is revoked.
   The signature itself is not checked. */
bool key_trim_is_revocation(struct span armour, const char *fingerprint);

#endif

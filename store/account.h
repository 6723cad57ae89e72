/*
 * The keys of an account, and how they are kept (design, section 4).
 *
 * Each account has random keys of its own, made when the first of them is needed: one for views and searchable text,
 * one for secrets, and one for the tags by which rows are found. They lie in durable.sqlite, wrapped: sealed under the
 * store's own key (FILE) until something better is at hand, sealed under a key made of a systemd credential or of a
 * person's passphrase, or as an OpenPGP message that only the account's own key opens. Here nothing is known of OpenPGP
 * or passphrases: who can read the message hands over what is in it, and who knows the passphrase the key made of it.
 * What was opened stays in memory until the store is closed, and is wiped then.
 *
 * Whatever needs the keys of an account that is locked gives ERR_KEY_LOCKED. Counting, clearing and marking go by the
 * account's id, which comes of its name and the store's own key, and need no keys.
 */
#ifndef STORE_ACCOUNT_H
#define STORE_ACCOUNT_H

#include "base/buf.h"
#include "store/store.h"

enum store_wrap {
    STORE_WRAP_DERIVED, /* of earlier versions: made of the store's own key; replaced when the account is next used */
    STORE_WRAP_FILE,
    STORE_WRAP_CREDENTIAL,
    STORE_WRAP_OPENPGP,
    STORE_WRAP_PASSPHRASE, /* a person's choice: only a person replaces it */
    STORE_WRAP_COUNT
};

#define STORE_HOLDER_SIZE 160 /* of the name of the key to which an account's keys are wrapped, with its NUL */
#define STORE_KEYS_SIZE 129   /* of an account's keys as they are handed out and taken; opaque, bound to the account */
#define STORE_PROOF_SIZE 32
#define STORE_SEAL_SIZE 32 /* of a key made of a passphrase */
#define STORE_WRAPPED_MAX ((size_t)65536)
#define STORE_CREDENTIAL_MIN 32

struct store_kept {
    enum store_wrap wrap;
    char holder[STORE_HOLDER_SIZE]; /* as it was given to store_account_wrap or _seal; "" for all other ways */
    bool is_open;                   /* the keys are in memory, or can be had without anybody's help */
};

/* From here on keys that would be kept as FILE are sealed under a key made of `credential` instead, and what was sealed
   so opens. ERR_LIMIT if it is shorter than STORE_CREDENTIAL_MIN. To be called before anything else. */
ERR_RETURN enum err store_use_credential(struct store *store, struct span credential);

/* ERR_NOT_FOUND: this account has no keys yet. */
ERR_RETURN enum err store_account_kept(struct store *store, const char *name, struct store_kept *kept_out);
/* Adds the OpenPGP message that holds the keys; ERR_NOT_FOUND if they are not kept so. */
ERR_RETURN enum err store_account_wrapped(struct store *store, const char *name, struct buf *out);
/* Takes what that message held. ERR_STORE if it is not this account's. */
ERR_RETURN enum err store_account_open(struct store *store, const char *name, struct span keys);
/* Adds the keys (STORE_KEYS_SIZE bytes) to a secret buffer, to be wrapped; makes them if there are none yet. */
ERR_RETURN enum err store_account_keys(struct store *store, const char *name, struct buf *out);
/* What tells these keys from any that the account has had or will have; tells nothing of them. */
ERR_RETURN enum err store_account_proof(struct store *store, const char *name, uint8_t proof_out[STORE_PROOF_SIZE]);
/* The keys are kept as this OpenPGP message from here on, and in no other way: when the change is on disk, nothing that
   was there before is left in the files. ERR_KEY_LOCKED if the keys are not open: nobody has shown to know them.
   ERR_EXISTS if they are kept by a passphrase. */
ERR_RETURN enum err store_account_wrap(struct store *store, const char *name, const char *holder, struct span wrapped);
/* The same, sealed under `key`, which was made of a passphrase in the way that `recipe` says. It replaces an earlier
   passphrase, too. */
ERR_RETURN enum err store_account_seal(struct store *store, const char *name, const char *recipe,
                                       const uint8_t key[STORE_SEAL_SIZE]);
/* Opens what was sealed so; of keys that are open it takes no notice. ERR_DECRYPT: this is not the key, and the account
   stays locked; ERR_NOT_FOUND: no passphrase keeps them. */
ERR_RETURN enum err store_account_unseal(struct store *store, const char *name, const uint8_t key[STORE_SEAL_SIZE]);
/* Takes a passphrase away: the keys are kept as those of a new account. ERR_KEY_LOCKED as above, ERR_NOT_FOUND. */
ERR_RETURN enum err store_account_drop_seal(struct store *store, const char *name);
/* Forgets everything of this account, keys, decisions and views: it begins anew. Private keys of S/MIME
   (store/private_key.h) are all that cannot be had again from elsewhere: while there are any, it is ERR_EXISTS and
   nothing is forgotten, unless they are to go, too (`with_private_keys`). */
ERR_RETURN enum err store_account_forget(struct store *store, const char *name, bool with_private_keys);

#endif

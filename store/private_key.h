/*
 * Private keys of S/MIME certificates, by account and fingerprint, in durable.sqlite: sealed under the account's key
 * for secrets (store/account.h), which is another than that of views.
 *
 * While that is locked a key can be neither put nor had (ERR_KEY_LOCKED); which ones are there, and that one is to go,
 * can be said without it. They are lost with the account's keys, and no command that clears what can be made again
 * takes them along (store_account_forget).
 */
#ifndef STORE_PRIVATE_KEY_H
#define STORE_PRIVATE_KEY_H

#include "base/buf.h"
#include "store/store.h"

#define STORE_PRIVATE_KEY_MAX ((size_t)16384) /* bytes of one, in PKCS#8 */
#define STORE_PRIVATE_KEYS_MAX 1000           /* of one account */
#define STORE_FINGERPRINT_SIZE 65             /* of a fingerprint, with its NUL */

/* Keeps it, in place of an earlier one. ERR_LIMIT: too long, or there are too many. */
ERR_RETURN enum err store_private_key_put(struct store *store, const char *account, const char *fingerprint,
                                          struct span key);
/* Adds it to a secret buffer. ERR_NOT_FOUND. */
ERR_RETURN enum err store_private_key_get(struct store *store, const char *account, const char *fingerprint,
                                          struct buf *out);
/* When the change is on disk nothing of it is left in the files. ERR_NOT_FOUND. */
ERR_RETURN enum err store_private_key_remove(struct store *store, const char *account, const char *fingerprint);

typedef enum err (*store_fingerprint_fn)(const char *fingerprint, void *context);
/* In the order of fingerprints; an error of `fn` ends it and is passed on. */
ERR_RETURN enum err store_private_key_list(struct store *store, const char *account, store_fingerprint_fn fn,
                                           void *context);

#endif

/*
 * Records of correspondents, one for each address of each account, in durable.sqlite: sealed under the store's own key,
 * as deliveries are, since mail is also sent while no key of the account is at hand, and found by a tag, so that the
 * file tells nobody whom a person writes to. What stands in a record is for keyring/peer.h to say.
 */
#ifndef STORE_PEER_H
#define STORE_PEER_H

#include "base/buf.h"
#include "store/store.h"

#define STORE_PEERS_MAX 200000u         /* of one account; the ones not changed for longest make room */
#define STORE_PEER_MAX ((size_t)200000) /* bytes of a record */

/* Keeps it, in place of an earlier one; `at`: when it was changed, seconds. */
ERR_RETURN enum err store_peer_put(struct store *store, const char *account, const char *address, struct span record,
                                   int64_t at);
/* Adds it to `out`. ERR_NOT_FOUND; ERR_STORE: it is damaged (said in the log). */
ERR_RETURN enum err store_peer_get(struct store *store, const char *account, const char *address, struct buf *out);
/* ERR_NOT_FOUND. */
ERR_RETURN enum err store_peer_remove(struct store *store, const char *account, const char *address);

typedef enum err (*store_peer_fn)(struct span record, void *context);
/* All of an account, in no order that means anything; a damaged one is logged and passed over. An error of `fn` ends
   it and is passed on. */
ERR_RETURN enum err store_peer_each(struct store *store, const char *account, store_peer_fn fn, void *context);

#endif

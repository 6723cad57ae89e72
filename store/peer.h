/*
 * Records of correspondents, one for each address of each account, in durable.sqlite: sealed under the store's own key,
 * as deliveries are, since mail is also sent while no key of the account is at hand, and found by a tag, so that the
 * file tells nobody whom a person writes to. Addresses that differ in ASCII case alone are one. What stands in a record
 * is for keyring/peer.h to say.
 */
#ifndef STORE_PEER_H
#define STORE_PEER_H

#include "base/buf.h"
#include "store/store.h"

#define STORE_PEERS_MAX 200000u         /* of one account */
#define STORE_PEER_MAX ((size_t)200000) /* bytes of a record */

/* Which make room for others when there are too many: whoever sends mail can fill the first with forged names. Of one
   rank the ones not changed for longest go. */
enum store_peer_rank {
    STORE_PEER_HEARD,   /* nothing but mail from there */
    STORE_PEER_WRITTEN, /* mail was sent there */
    STORE_PEER_PINNED   /* a person said something of it: never goes by itself */
};

/* Keeps it, in place of an earlier one; `at`: when it was changed, seconds. ERR_LIMIT: there is no room but that of
   pinned ones, or the record is too big. */
ERR_RETURN enum err store_peer_put(struct store *store, const char *account, const char *address, struct span record,
                                   enum store_peer_rank rank, int64_t at);
/* Adds it to `out`. ERR_NOT_FOUND; ERR_DAMAGED (said in the log). */
ERR_RETURN enum err store_peer_get(struct store *store, const char *account, const char *address, struct buf *out);
/* Also one that is damaged; nothing of it is left in the files. ERR_NOT_FOUND. */
ERR_RETURN enum err store_peer_remove(struct store *store, const char *account, const char *address);

typedef enum err (*store_peer_fn)(struct span record, void *context);
/* All of an account, in no order that means anything. One that does not open, or of which `fn` says ERR_DAMAGED, is
   counted, said in the log, and passed over. Any other error of `fn` ends it and is passed on. `fn` does not call the
   store. */
ERR_RETURN enum err store_peer_each(struct store *store, const char *account, store_peer_fn fn, void *context,
                                    size_t *damaged_out);

#endif

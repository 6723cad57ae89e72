/*
 * The vault's files: SQLite databases whose values are sealed with AES-256-GCM (design, section 4).
 *
 * One process opens them: the vault while `serve` runs, the command line alone otherwise (a lock says which). Durable
 * records live in durable.sqlite. The store's own key is random, made on first use in a 0600 file beside them; it seals
 * deliveries, and what else must be known before anybody has logged in. The rest is sealed under keys of the accounts'
 * own (store/account.h). Every commit is on disk (synchronous=FULL) when the call returns: a record survives kill -9
 * and power loss. Disposable ones live in views.sqlite (store/view.h).
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/err.h"
#include "base/span.h"

struct store;

/* Opens or makes the files in `dir` (made with 0700 if missing). ERR_BUSY if another process has them, ERR_STORE if
   they are damaged or their key does not fit (said in the log, nothing is overwritten). */
ERR_RETURN enum err store_open(const char *dir, struct store **store_out);
void store_close(struct store **store);

/* A group of calls is on disk together, when it ends, at the price of one commit: what is done in it is done on the
   word of store_group_end alone. A call that fails takes nothing but its own changes back. Groups do not nest. */
ERR_RETURN enum err store_group_begin(struct store *store);
ERR_RETURN enum err store_group_end(struct store *store);

/* Seals `plain` under the store's key, bound to `context` (table and row); opens what store_seal made. ERR_STORE on
 * mismatch. */
struct buf;
ERR_RETURN enum err store_seal(struct store *store, struct span context, struct span plain, struct buf *out);
ERR_RETURN enum err store_unseal(struct store *store, struct span context, struct span sealed, struct buf *out);
/* A keyed digest (HMAC-SHA-256) by which sealed rows are found without telling what they hold. */
ERR_RETURN enum err store_tag(struct store *store, struct span context, struct span text, uint8_t tag_out[32]);

#endif

/*
 * Which recipients already have a message that did not reach all of them (design 1.3), so that a retry reaches only the
 * rest.
 *
 * A record belongs to (account, Message-ID, digest of the content); an edited message is another one. Addresses and
 * keys are sealed. Records are dropped when the client has been told of full success, and after DELIVERY_DAYS.
 */
#ifndef STORE_DELIVERY_H
#define STORE_DELIVERY_H

#include "store/store.h"

#define DELIVERY_DAYS 7

struct store_delivery_key {
    const char *account;
    const char *message_id; /* "" if the message has none */
    uint8_t digest[32];
};

typedef enum err (*store_recipient_fn)(const char *address, void *context);

/* Calls `fn` for each recipient that is recorded; none is ERR_OK. */
ERR_RETURN enum err store_delivery_get(struct store *store, const struct store_delivery_key *key, store_recipient_fn fn,
                                       void *context);
/* Adds recipients (those already recorded stay); durable on return. With none it still writes, and
   ERR_DISK_FULL says that fewer than 512 kB are free, so that a disk that takes no record is noticed before one is
   needed. `now` in seconds. */
ERR_RETURN enum err store_delivery_add(struct store *store, const struct store_delivery_key *key,
                                       const char *const *addresses, size_t addresses_len, int64_t now);
ERR_RETURN enum err store_delivery_forget(struct store *store, const struct store_delivery_key *key);
/* Drops records older than DELIVERY_DAYS. */
ERR_RETURN enum err store_delivery_expire(struct store *store, int64_t now);

#endif

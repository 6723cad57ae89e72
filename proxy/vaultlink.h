/*
 * Delivery records, asked of the vault process without waiting for it: net's end of the line.
 *
 * A request outlives the vault that it was sent to: it goes to the next one too, once (asking twice does no harm, all
 * requests can be repeated). When nothing comes for half a minute, all that are open fail.
 */
#ifndef PROXY_VAULTLINK_H
#define PROXY_VAULTLINK_H

#include "base/ipc.h"
#include "store/delivery.h"

#include <event2/event.h>

struct proxy_vaultlink;

/* Fires once for each request: ERR_OK with the recipients (for a get), or what went wrong; ERR_STORE also when there is
   no vault. The addresses are valid during the call. */
typedef void (*proxy_vault_fn)(enum err err, const char *const *addresses, size_t addresses_len, void *context);
/* The line to the vault is lost: another is wanted (proxy_vaultlink_connect). */
typedef void (*proxy_vault_lost_fn)(void *context);

ERR_RETURN enum err proxy_vaultlink_new(struct event_base *base, proxy_vault_lost_fn on_lost, void *context,
                                        struct proxy_vaultlink **link_out);
/* Requests that are open are forgotten; their functions do not fire. */
void proxy_vaultlink_free(struct proxy_vaultlink **link);
/* Takes a new socket to the vault over. */
void proxy_vaultlink_connect(struct proxy_vaultlink *link, int socket);

/* With ERR_OK `fn` will fire, later; a NULL `fn` lets the answer be logged if it is a failure. */
ERR_RETURN enum err proxy_vault_get(struct proxy_vaultlink *link, const struct store_delivery_key *key,
                                    proxy_vault_fn fn, void *context);
ERR_RETURN enum err proxy_vault_add(struct proxy_vaultlink *link, const struct store_delivery_key *key,
                                    const char *const *addresses, size_t addresses_len, proxy_vault_fn fn,
                                    void *context);
ERR_RETURN enum err proxy_vault_forget(struct proxy_vaultlink *link, const struct store_delivery_key *key);

#endif

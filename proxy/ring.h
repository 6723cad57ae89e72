/*
 * The current key index of each account, in net: asked of a keeper once, and again when the ring has changed.
 *
 * Whether it has changed is told by inotify, whose descriptor is made before the sandbox closes. A look drains it
 * first, so that a key imported before a RCPT is seen by that RCPT. Where the user has no inotify left, an index counts
 * for a second. What the vault knows of correspondents stands in it, too: the vault tells when that has changed, and
 * where a source's word runs out, its key is judged without it a minute later at the latest, and at once by a RCPT for
 * its address.
 */
#ifndef PROXY_RING_H
#define PROXY_RING_H

#include "keyring/index.h"
#include "proxy/pool.h"

struct proxy_ring;
struct proxy_ring_wait;

/* Fires once: with ERR_OK and the current index (valid until control returns to the loop), or with what went wrong. */
typedef void (*proxy_ring_fn)(enum err err, const struct keyring *keyring, void *context);

/* Watches the homes and certificates of all accounts. Before the sandbox; the pool comes later (proxy_ring_set_pool).
 */
ERR_RETURN enum err proxy_ring_new(const struct config *config, struct proxy_ring **ring_out);
void proxy_ring_free(struct proxy_ring **ring);
void proxy_ring_set_pool(struct proxy_ring *ring, struct proxy_pool *pool);

/* The index of `account` if it is current: borrowed, valid until control returns to the loop. NULL: ask with
 * proxy_ring_wait. */
const struct keyring *proxy_ring_current(struct proxy_ring *ring, size_t account);
/* What we do ourselves has changed it, so that an index counts no more where nothing else would tell. */
void proxy_ring_changed(struct proxy_ring *ring, size_t account);
/* Looks whether a word about this address has run out since the index was listed: then it counts no more, at once,
   since another word may still count, and a key that was thought to have expired goes on by that. */
void proxy_ring_check_lapsed(struct proxy_ring *ring, size_t account, const char *address);
/* The same for reading mail: what other mail has told of its senders meanwhile counts too little for a verdict, so that
   the index need not be listed anew for each message of a mailbox. */
const struct keyring *proxy_ring_current_to_read(struct proxy_ring *ring, size_t account);
/* Words about keys have changed, of the account with this address, or (NULL) of any: an index counts no more, though
   the GnuPG home has not changed; if `is_by_mail`, for reading mail it still does. */
void proxy_ring_words_changed(struct proxy_ring *ring, const char *address, bool is_by_mail);
/* The last index that was listed, current or not, as a sealed memfd (borrowed, as above), and its number, which no
   other index of this process has; -1 if there is none. */
int proxy_ring_file(const struct proxy_ring *ring, size_t account, uint64_t *number_out);
/* Fires `fn` from the loop when the index is there, unless cancelled. */
ERR_RETURN enum err proxy_ring_ask(struct proxy_ring *ring, size_t account, proxy_ring_fn fn, void *context,
                                   struct proxy_ring_wait **wait_out);
void proxy_ring_cancel(struct proxy_ring_wait **wait);

/* The account's own key of this format, for its first address that has one that can be used now; NULL. */
const struct keyring_entry *proxy_own_key(const struct config_account *account, const struct keyring *keyring,
                                          enum keyring_format format, enum keyring_purpose purpose);

#endif

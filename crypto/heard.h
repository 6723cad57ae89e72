/*
 * What a received message tells of its sender and of others by Autocrypt (level 1, sections 2.3 and 5), as
 * keyring_peer_received takes it. In net for messages that need no view, in keepers for what was opened there.
 */
#ifndef CRYPTO_HEARD_H
#define CRYPTO_HEARD_H

#include "base/buf.h"
#include "keyring/peer.h"

#define CRYPTO_HEARD_MAX ((size_t)1 << 20) /* bytes of the saved forms that one message gives */

struct crypto_hearer {
    const char *const *own; /* addresses of the account, of which nothing is heard */
    size_t own_len;
    int64_t now;
};

/* When it was sent as its Date has it, but never later than `now`. */
int64_t crypto_heard_at(struct span header, int64_t now);
/* Adds the saved form (keyring_heard_add) of what a message's header says of its From; nothing if that is not exactly
   one address, or an own one, or if the message is no person's (multipart/report, Auto-Submitted: auto-replied). */
ERR_RETURN enum err crypto_heard_add(const struct crypto_hearer *hearer, struct span header, struct buf *out);
/* Adds those of the gossip in `payload`, the header of what was decrypted: keys of addresses that stand in To, Cc or
   Reply-To of `header` or of `payload`, KEYRING_AUTOCRYPT_GOSSIPS_MAX at most. The payload's integrity is known. */
ERR_RETURN enum err crypto_heard_gossip(const struct crypto_hearer *hearer, struct span payload, struct span header,
                                        struct buf *out);

#endif

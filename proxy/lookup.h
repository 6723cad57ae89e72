/*
 * Keys that are looked for while a recipient waits for its answer: the finder is asked, a keeper looks at what was
 * found and keeps what is good, the vault is told whose word it is, and then the ring is looked at again, by whoever
 * asked.
 *
 * Sources are asked stage by stage (proxy/config.h): whoever asked says, with another question, whether what has been
 * found will do. What has been asked for an account and an address is remembered for as long as the answer counts, so
 * that no source hears of it more often. In the net process.
 */
#ifndef PROXY_LOOKUP_H
#define PROXY_LOOKUP_H

#include "proxy/finderlink.h"
#include "proxy/pool.h"
#include "proxy/vaultlink.h"

struct proxy_lookups;
struct proxy_lookup;

ERR_RETURN enum err proxy_lookups_new(const struct config *config, struct proxy_pool *pool,
                                      struct proxy_finderlink *finder, struct proxy_vaultlink *vault,
                                      struct proxy_lookups **lookups_out);
void proxy_lookups_free(struct proxy_lookups **lookups);

/* Moves `*stage` on to the first stage, it included, of which no answer for this account and `address` (normal form)
   counts; false if there is none such. */
bool proxy_lookup_is_due(struct proxy_lookups *lookups, size_t account, const char *address, size_t *stage);

/* Fires once, later, unless cancelled: ERR_OK, the ring may have changed or not; ERR_LOOKUP, it may have, too, but not
   everybody could be asked, or what they have is no good; any other error (a temporary one), vault or keeper have
   failed, so that nobody knows what there is: a recipient for whom that is so must wait, whatever the rule says.
   `is_again`: something that a source has said is in the ring already, and goes if it no longer says so. `most_ms`: how
   long the sources may take, if their own deadlines are later; what they answer after that is known when they are asked
   again. */
typedef void (*proxy_lookup_fn)(enum err err, void *context);
ERR_RETURN enum err proxy_lookup_begin(struct proxy_lookups *lookups, size_t account, const char *address, size_t stage,
                                       bool is_again, uint32_t most_ms, proxy_lookup_fn fn, void *context,
                                       struct proxy_lookup **lookup_out);
/* What a correspondent's record said of keys that came by Autocrypt, when it was last looked at. */
struct proxy_heard {
    bool is_read;
    bool is_settled; /* no key comes of it: it names none, or names what it did before the ring was last looked at */
    uint64_t received;
    char fingerprint[KEYRING_FPR_SIZE], gossip_fingerprint[KEYRING_FPR_SIZE];
};
/* Looks into the correspondent's record for keys that came by Autocrypt and are not among the address's entries in
   `keyring` (used during the call), and has them imported, if there are: nobody else is asked. `heard`, zero at first
   and borrowed until the end, is what was read; as long as it is not settled, whoever finds no key in the ring then
   must look again, since other mail may have put another key into the record meanwhile. `fn` as above. */
ERR_RETURN enum err proxy_lookup_heard(struct proxy_lookups *lookups, size_t account, const char *address,
                                       const struct keyring *keyring, struct proxy_heard *heard, proxy_lookup_fn fn,
                                       void *context, struct proxy_lookup **lookup_out);
/* The same for an address of which a key is in use: what has become of it, and of others that are there by a source's
   word. `fingerprint`: of the OpenPGP key; "": it is a certificate. The sources are asked also where an answer counts
   still. */
ERR_RETURN enum err proxy_lookup_refresh(struct proxy_lookups *lookups, size_t account, const char *address,
                                         const char *fingerprint, size_t stage, proxy_lookup_fn fn, void *context,
                                         struct proxy_lookup **lookup_out);
/* `fn` will not fire. Clears the caller's pointer; NULL is nothing to cancel. */
void proxy_lookup_cancel(struct proxy_lookup **lookup);

#endif

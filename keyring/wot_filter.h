/*
 * Takes out of an exported ring what the web of trust needs: keys that somebody here has certified, with their user IDs
 * and the certifications by keys that are here.
 *
 * gpg looks a certification's maker up in the whole ring, once for each that is not there: a key that a stranger has
 * flooded with 100,000 certifications by nobody would take it minutes. So these never reach it. The bytes of the export
 * are fed as they come, and no more than one key's worth of what is kept is held; the result goes to a callback, key by
 * key, as a ring that gpg reads. No signature is checked here: gpg does that with what is left.
 */
#ifndef KEYRING_WOT_FILTER_H
#define KEYRING_WOT_FILTER_H

#include "keyring/index.h"

#define KEYRING_WOT_PER_KEY_MAX 1000  /* signatures of one key that are kept */
#define KEYRING_WOT_PER_ISSUER_MAX 16 /* of one maker on one user ID */
#define KEYRING_WOT_PACKET_MAX 65536  /* a longer packet is skipped, a picture's certifications with it */
#define KEYRING_WOT_KEY_MAX ((size_t)4 << 20)

/* A whole key with what is kept of it. */
typedef enum err (*keyring_wot_kept_fn)(struct span packets, void *context);

struct keyring_wot_filter;

/* `keyring` says which keys are here (borrowed until the end). */
ERR_RETURN enum err keyring_wot_filter_new(const struct keyring *keyring, keyring_wot_kept_fn fn, void *context,
                                           struct keyring_wot_filter **filter_out);
void keyring_wot_filter_free(struct keyring_wot_filter **filter);
/* The next bytes of an export, in any pieces. An error stays: ERR_MALFORMED, ERR_MEMORY, or what the callback gave. */
ERR_RETURN enum err keyring_wot_filter_feed(struct keyring_wot_filter *filter, struct span bytes);
/* The export has come to its end. ERR_MALFORMED within a packet. */
ERR_RETURN enum err keyring_wot_filter_end(struct keyring_wot_filter *filter);

/* The fingerprint (borrowed) of a key that made a certification which was kept, and that was not kept itself: nobody
   certified it. `*at` begins with 0; NULL: no more. */
const char *keyring_wot_filter_missing(const struct keyring_wot_filter *filter, size_t *at);
/* Keeps the key with this fingerprint in any case; before the first bytes. */
void keyring_wot_filter_want(struct keyring_wot_filter *filter, const char *fingerprint);
/* How many signatures by keys that are here went beyond a limit. */
size_t keyring_wot_filter_left_out(const struct keyring_wot_filter *filter);
/* How many certifications by keys that are not here the key with this fingerprint has. */
size_t keyring_wot_filter_strangers(const struct keyring_wot_filter *filter, const char *fingerprint);

#endif

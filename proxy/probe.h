/*
 * What the upstream servers offer, asked before a client does: EHLO and the greeting of IMAP must be answered before
 * it is known whose session it will be, and clients do not repeat EHLO after AUTH.
 *
 * Each server is asked once an hour by a connection of its own. A listener offers what the servers of all its accounts
 * share. A server that cannot be reached is asked again after a minute; meanwhile the listener offers the least (no
 * DSN, no SMTPUTF8, PLAIN and LOGIN).
 */
#ifndef PROXY_PROBE_H
#define PROXY_PROBE_H

#include "proxy/config.h"

struct proxy_net;
struct proxy_probe;
struct proxy_probe_wait;

/* What the servers of a listener's accounts share. */
struct proxy_shared {
    unsigned smtp_flags; /* enum smtp_feature */
    uint64_t size_max;   /* SMTP: of a message before it is sealed, so that no server finds it too large; 0: no limit */
    sasl_set mechanisms;
};

/* Fires once, from the loop, with what the listener is to offer upstream-wise: SIZE as the smallest upstream has it
   (less what sealing adds), mechanisms and extensions that all have. */
typedef void (*proxy_probe_fn)(const struct proxy_shared *shared, void *context);

ERR_RETURN enum err proxy_probe_new(struct proxy_net *net, struct proxy_probe **probe_out);
void proxy_probe_free(struct proxy_probe **probe);
ERR_RETURN enum err proxy_probe_ask(struct proxy_probe *probe, const struct config_listener *listener,
                                    proxy_probe_fn fn, void *context, struct proxy_probe_wait **wait_out);
void proxy_probe_cancel(struct proxy_probe_wait **wait);

#endif

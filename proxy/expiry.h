/*
 * Tells in the log which own keys and certificates end soon or have ended: when net starts, and once a day. The
 * accounts are looked at one after the other.
 */
#ifndef PROXY_EXPIRY_H
#define PROXY_EXPIRY_H

#include "base/err.h"

struct proxy_net;
struct proxy_expiry;

/* Begins in the first turn of the loop; net's ring must outlive it. */
ERR_RETURN enum err proxy_expiry_new(struct proxy_net *net, struct proxy_expiry **expiry_out);
void proxy_expiry_free(struct proxy_expiry **expiry);

#endif

/*
 * What has become of the keys that are in use: asked of the sources in the background, so that a revocation is known
 * within about a `refresh` of the configuration.
 *
 * One address at a time, at random intervals, never many at once, and each of them about once in that time: when is
 * kept in the correspondent's record, so that a restart starts nothing anew. An address that no source serves is told to
 * nobody. What is found goes the way of all that is found (proxy/lookup.h). In the net process.
 */
#ifndef PROXY_REFRESH_H
#define PROXY_REFRESH_H

#include "base/err.h"

struct proxy_net;
struct proxy_refresh;

/* Begins later; net's lookups and line to the vault must outlive it. Does nothing where nothing is to be refreshed. */
ERR_RETURN enum err proxy_refresh_new(struct proxy_net *net, struct proxy_refresh **refresh_out);
void proxy_refresh_free(struct proxy_refresh **refresh);

#endif

/*
 * From a group of the plan to the request that seals its copy: the one place where policy's words become crypto's, for
 * the proxy and for `privyseal seal` alike.
 */
#ifndef PROXY_COPY_H
#define PROXY_COPY_H

#include "crypto/seal.h"
#include "policy/plan.h"
#include "proxy/config.h"

/* Fills in everything but wants_7bit and key_cache_dir, which are the caller's. Borrows the group's keys and the
   configuration's subject tag. */
void proxy_copy_request(const struct policy_group *group, const struct config *config,
                        struct crypto_seal_request *request_out);

#endif

/*
 * From a group of the plan to the request that seals its copy: the one place where policy's words become crypto's, for
 * the proxy and for `privyseal seal` alike.
 */
#ifndef PROXY_COPY_H
#define PROXY_COPY_H

#include "crypto/seal.h"
#include "policy/plan.h"
#include "proxy/config.h"

/* What a copy is made of. */
struct proxy_copy {
    const struct config *config;
    const struct config_account *account;
    const struct keyring *keyring;                     /* that the plan was made with */
    const struct policy_message *message;              /* that the plan was made for */
    struct crypto_announced gossip[CRYPTO_GOSSIP_MAX]; /* of the last request */
};

/* Fills in everything but wants_7bit, key_cache_dir and smime, which are the caller's. The request borrows from `copy`
   and the group until the next one is made. */
void proxy_copy_request(struct proxy_copy *copy, const struct policy_group *group,
                        struct crypto_seal_request *request_out);

#endif

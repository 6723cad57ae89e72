/*
 * What all sessions of a net process share.
 */
#ifndef PROXY_NET_INTERNAL_H
#define PROXY_NET_INTERNAL_H

#include "proxy/net.h"
#include "proxy/pool.h"
#include "proxy/probe.h"
#include "proxy/ring.h"
#include "proxy/vaultlink.h"

#include <sys/queue.h>

struct proxy_session;

struct proxy_net {
    const struct config *config;
    struct event_base *base;
    struct evdns_base *dns;
    struct proxy_pool *pool;
    struct proxy_ring *ring;
    struct proxy_vaultlink *vault;
    struct proxy_probe *probe;
    SSL_CTX *server_tls;
    SSL_CTX **client_tls; /* for each account, its upstream's trust; NULL where the upstream is clear */
    int diag;             /* see owner.h */
    int master;
    TAILQ_HEAD(, proxy_session) sessions;
    size_t sessions_len;
    bool is_draining;
};

/* The options of a connection to the upstream of account `account`; the caller sets handlers and owner. */
struct smtp_client_options proxy_net_upstream(const struct proxy_net *net, size_t account);

#endif

/*
 * What all sessions of a net process share.
 */
#ifndef PROXY_NET_INTERNAL_H
#define PROXY_NET_INTERNAL_H

#include "imap/client.h"
#include "proxy/client.h"
#include "proxy/lookup.h"
#include "proxy/net.h"
#include "proxy/pool.h"
#include "proxy/probe.h"
#include "proxy/ring.h"
#include "proxy/vaultlink.h"
#include "smtp/client.h"

struct proxy_expiry;
struct proxy_refresh;
struct proxy_views;

struct proxy_net {
    const struct config *config;
    struct event_base *base;
    struct evdns_base *dns;
    struct proxy_pool *pool;
    struct proxy_ring *ring;
    struct proxy_vaultlink *vault;
    struct proxy_finderlink *finder;
    struct proxy_lookups *lookups;
    struct proxy_probe *probe;
    struct proxy_expiry *expiry;
    struct proxy_refresh *refresh;
    SSL_CTX *server_tls;
    SSL_CTX **client_tls; /* for each account, the trust of its servers; NULL where all are clear */
    int diag;             /* see owner.h */
    int master;
    struct proxy_views *views;
    TAILQ_HEAD(, proxy_client) clients;
    size_t clients_len;
    bool is_draining;
};

/* upstream.c: the options of a connection to a server of account `account`; the caller sets handlers and owner. */
struct smtp_client_options proxy_upstream_smtp(const struct proxy_net *net, size_t account);
struct imap_client_options proxy_upstream_imap(const struct proxy_net *net, size_t account);

#endif

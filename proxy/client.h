/*
 * A client of any protocol, as the net process sees it: counted, drained, freed. Each protocol is a record; its
 * sessions begin with a struct proxy_client.
 */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include "proxy/config.h"

#include <sys/queue.h>

#define PROXY_HOST_SIZE 64

struct proxy_net;
struct proxy_client;

struct proxy_protocol {
    const char *name; /* "smtp", as in `listen smtp` */
    const char *busy; /* what a client that is turned away hears, with CRLF */
    /* Takes the accepted socket over (also on failure) and enters the session into net->clients. */
    enum err (*start)(struct proxy_net *net, const struct config_listener *listener, int fd, const char *host);
    /* The net process drains: ends what is idle now, the rest when its work is done. */
    void (*drain)(struct proxy_client *client);
    /* Ends everything at once, for the end of the process. */
    void (*free)(struct proxy_client *client);
};

struct proxy_client {
    TAILQ_ENTRY(proxy_client) link;
    const struct proxy_protocol *protocol;
    struct proxy_net *net;
    char host[PROXY_HOST_SIZE]; /* the client's address as text */
};

/* Enters a client into the net process's list, and takes it out again. */
void proxy_client_enter(struct proxy_net *net, struct proxy_client *client, const struct proxy_protocol *protocol,
                        const char *host);
void proxy_client_leave(struct proxy_client *client);

extern const struct proxy_protocol proxy_smtp;
extern const struct proxy_protocol proxy_imap;

#endif

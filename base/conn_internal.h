/*
 * What base/conn.c (life, input, timers), base/conn_output.c, base/conn_open.c (how a connection comes to stand, in
 * clear and under TLS) and base/conn_deflate.c (compression) share. Nobody else includes this.
 */
#ifndef BASE_CONN_INTERNAL_H
#define BASE_CONN_INTERNAL_H

#include "base/address.h"
#include "base/conn.h"

#include <event2/bufferevent.h>

/* All of a connection's callbacks come from the loop, never from within a call of the owner's. */
#define BUFFEREVENT_OPTIONS (BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS)

enum conn_state {
    CONN_ACCEPTED, /* in clear; on_ready is about to fire */
    CONN_RESOLVING,
    CONN_CONNECTING,
    CONN_HANDSHAKE, /* or waiting, with next_session set, until the clear output has gone */
    CONN_OPEN,
    CONN_CLOSED,   /* on_close has fired */
    CONN_FINISHING /* the owner is gone; what waits is still sent */
};

struct conn {
    struct conn_options options;
    enum conn_state state;
    struct bufferevent *bufferevent; /* never NULL; its descriptor is -1 before the first connect */
    SSL *session;                    /* of the bufferevent; NULL in clear */
    SSL *next_session;               /* owned; takes over when connected, or when the clear output has gone */
    bool is_tls_server;
    struct address_query *query;
    struct address_list addresses;
    size_t address_next;
    uint32_t connect_timeout_ms;
    struct event *phase_timer; /* bounds the present state, or (at 0 ms) leaves it */
    struct event *late_timer;
    uint32_t timeout_ms;
    const char *doing;
    char peer[ADDRESS_TEXT_SIZE];
    unsigned callback_depth;
    size_t input_max;             /* now: options.input_max, or more while the owner wants it */
    struct conn_deflate *deflate; /* NULL: nothing is compressed */
    bool is_paused;
    bool has_written; /* since the last on_drain */
    bool has_ended;   /* the peer will send no more */
    bool is_lost;     /* nothing can be sent any more */
    bool is_freed;    /* inside a callback: to be destroyed when it returns */
};

/* Puts a new bufferevent in the place of the old one, which is freed. NULL (ERR_MEMORY) leaves everything as it was. */
ERR_RETURN enum err conn_replace_bufferevent(struct conn *conn, struct bufferevent *bufferevent);
/* A connection that owns `fd` (or -1); closes it on failure. */
ERR_RETURN enum err conn_new(const struct conn_options *options, enum conn_state state, int fd, struct conn **conn_out);
void conn_destroy(struct conn *conn);
void conn_start_timer(struct event *timer, uint32_t timeout_ms);
void conn_set_socket_options(int fd);
/* Turns reading on or off, as state, pause and room demand. */
void conn_adjust_reading(struct conn *conn);
/* Enters CONN_OPEN and CONN_CLOSED and tells the owner; only from the loop. */
void conn_become_ready(struct conn *conn);
void conn_close_with(struct conn *conn, enum err why);

/* In CONN_CONNECTING: tries the next address, or gives up. */
void conn_connect_next(struct conn *conn);
/* The TCP connection to an upstream stands. */
void conn_connected(struct conn *conn);
/* In CONN_HANDSHAKE, all clear output has gone: moves the descriptor under TLS. */
ERR_RETURN enum err conn_begin_tls(struct conn *conn);
void conn_log_tls_failure(struct conn *conn);

/* conn_deflate.c. Unpacks what has come, as far as input_max allows; ERR_MALFORMED: it is no deflated stream. */
ERR_RETURN enum err conn_inflate(struct conn *conn);
/* True if packed input waits that has not been unpacked. */
bool conn_has_packed(const struct conn *conn);
struct evbuffer *conn_inflated(const struct conn *conn);
/* Packs `bytes` into the output; what zlib keeps back is flushed from the loop. */
ERR_RETURN enum err conn_deflate(struct conn *conn, struct span bytes);
/* Lets out what zlib has kept back. */
ERR_RETURN enum err conn_deflate_flush(struct conn *conn);
bool conn_must_flush(const struct conn *conn);
void conn_deflate_free(struct conn_deflate **deflate);
/* conn.c: the owner has consumed input. */
void conn_on_input_change(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *context);

#endif

/*
 * One TCP connection on the event loop, in clear or under TLS, with bounded buffers in both directions.
 *
 * Runs in the net process only. The owner gets three events; after on_close (which fires at most once, and never out of
 * conn_free) no other comes, and the owner frees. Callbacks may call conn_free on their own connection: it takes effect
 * when the callback returns. Input that the owner does not consume stays; when `input_max` bytes are waiting, reading
 * stops until some are consumed, so a peer cannot make us hold more than that and one read (16 KiB, a TLS record).
 * conn_write beyond `output_max` is ERR_LIMIT: the owner sends large bodies in pieces, from on_drain. In on_close,
 * after ERR_END or ERR_TIMEOUT, last words may be written and the connection given to conn_finish.
 */
#ifndef BASE_CONN_H
#define BASE_CONN_H

#include "base/buf.h"
#include "base/tls.h"

#include <event2/buffer.h>
#include <event2/dns.h>
#include <event2/event.h>

struct conn;

struct conn_handlers {
    /* The connection stands, and under TLS the handshake and the certificate check are done. Also after conn_start_tls.
     */
    void (*on_ready)(struct conn *conn, void *owner);
    /* There is new input (conn_input). */
    void (*on_input)(struct conn *conn, void *owner);
    /* The output has been handed to the kernel; more may be written. May be NULL. */
    void (*on_drain)(struct conn *conn, void *owner);
    /* It is over: ERR_END (orderly end by the peer), ERR_TIMEOUT, ERR_UPSTREAM_DOWN (could not connect),
       ERR_UPSTREAM_TLS (handshake or certificate refused), ERR_UPSTREAM_LOST (anything else). Input that came before
       the end is still in conn_input. */
    void (*on_close)(struct conn *conn, enum err why, void *owner);
};

struct conn_options {
    struct event_base *base;
    const struct conn_handlers *handlers; /* static */
    void *owner;
    size_t input_max;
    size_t output_max;
};

/* Takes over an accepted socket (also on failure). on_ready fires from the loop, also in clear; what is written before
   is sent. With `context` the peer must begin with a TLS handshake. */
ERR_RETURN enum err conn_accept(const struct conn_options *options, int fd, SSL_CTX *context, struct conn **conn_out);
/* Connects to host:port, resolving names with `dns` (NULL: only literal addresses); all addresses are tried in turn.
   With `context` TLS is spoken from the first byte. The outcome comes as on_ready or on_close, never before this
   returns. */
ERR_RETURN enum err conn_connect(const struct conn_options *options, struct evdns_base *dns, const char *host, int port,
                                 SSL_CTX *context, uint32_t connect_timeout_ms, struct conn **conn_out);
/* Changes to TLS in mid-connection (STARTTLS). All input that was received in clear is thrown away first
   (design 1.1.9); output must have been drained. `host` is checked for clients and ignored for servers. on_ready fires
   when it stands. */
ERR_RETURN enum err conn_start_tls_server(struct conn *conn, SSL_CTX *context);
ERR_RETURN enum err conn_start_tls_client(struct conn *conn, SSL_CTX *context, const char *host);

/* From now on both directions are compressed (raw DEFLATE, RFC 1951), what waits in the input included; what was
   written before is sent as it is. What was written in one turn of the loop is flushed together. A stream that is none
   ends the connection: on_close(ERR_UPSTREAM_LOST). Not to be called twice. */
ERR_RETURN enum err conn_start_deflate(struct conn *conn);
bool conn_is_deflating(const struct conn *conn);

/* Borrows the input; the owner drains what it has consumed. */
struct evbuffer *conn_input(struct conn *conn);
/* What waits in the input is not enough for the owner (a line longer than input_max): as much again is let in, until
   something is consumed. The owner bounds what it asks for. */
void conn_want_more(struct conn *conn);
ERR_RETURN enum err conn_write(struct conn *conn, struct span bytes);
/* The same for a secret: our copy is wiped once it has been sent. */
ERR_RETURN enum err conn_write_secret(struct conn *conn, struct span bytes);
/* Moves `count` bytes off the front of `source` to the output, without copying them. Not bounded by output_max: the
   owner looks at conn_output_len. On failure the bytes are gone all the same. */
ERR_RETURN enum err conn_move(struct conn *conn, struct evbuffer *source, size_t count);
/* Sends bytes that are borrowed until `give_back` is called: once, sooner or later, also on failure. Not bounded by
   output_max either. */
ERR_RETURN enum err conn_lend(struct conn *conn, struct span bytes, void (*give_back)(void *context), void *context);
/* Bytes waiting to be sent. */
size_t conn_output_len(const struct conn *conn);
/* Stops or resumes reading (a session that waits for something else takes no more input). Input that is waiting when
   reading is resumed is told with on_input, from the loop. */
void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);
/* on_close(ERR_TIMEOUT) after `timeout_ms`, whatever the peer does until then; 0: never. The owner sets it anew with
   each thing that the peer has done as a whole (a line, a reply, a piece of a body), so that a byte a minute buys no
   time. While reading is stopped and nothing waits to be sent the peer is not late. */
void conn_set_timeout(struct conn *conn, uint32_t timeout_ms);
/* Says what is being done, for log lines about this connection; `doing` must be static. */
void conn_doing(struct conn *conn, const char *doing);
const char *conn_get_doing(const struct conn *conn);

bool conn_is_tls(const struct conn *conn);
/* The kernel's descriptor, for getpeername and the like; never to be closed or read. */
int conn_fd(const struct conn *conn);
/* "127.0.0.1:4711", for the log. */
const char *conn_peer(const struct conn *conn);
/* True if both ends are loopback addresses. */
bool conn_is_loopback(const struct conn *conn);

/* Sends what waits in the output (for at most ten seconds), then closes and frees by itself; no callback fires any
 * more. */
void conn_finish(struct conn **conn);
/* Closes at once and frees; no callback fires any more. */
void conn_free(struct conn **conn);

#endif

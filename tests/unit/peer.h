/*
 * The far end of a connection in a test, in clear or under TLS, driven by hand while the event loop turns. Everything
 * runs in one thread: peer_run goes on until nothing moves any more.
 */
#ifndef TESTS_PEER_H
#define TESTS_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/tls.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    struct event_base *base;
    int fd; /* -1 when closed */
    SSL *tls;
    struct buf received; /* what has been read and not yet been compared */
    bool is_eof;
};

static inline void peer_init(struct peer *peer, struct event_base *base)
{
    *peer = (struct peer){.base = base, .fd = -1};
    buf_init(&peer->received, 1 << 22);
}

static inline void peer_close(struct peer *peer)
{
    SSL_free(peer->tls);
    peer->tls = NULL;
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}

static inline ssize_t peer_read(struct peer *peer, char *bytes, size_t size)
{
    if (peer->fd < 0 || peer->is_eof)
        return -1;
    if (peer->tls == NULL)
        return recv(peer->fd, bytes, size, MSG_DONTWAIT);
    int got = SSL_read(peer->tls, bytes, (int)size);
    return got > 0 ? got : SSL_get_error(peer->tls, got) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static inline void peer_run(struct peer *peer)
{
    char bytes[65536];
    for (int quiet = 0; quiet < 4; quiet++) {
        event_base_loop(peer->base, EVLOOP_NONBLOCK);
        ssize_t got = peer_read(peer, bytes, sizeof bytes);
        peer->is_eof = peer->is_eof || got == 0;
        if (got > 0) {
            assert_int_equal(buf_add(&peer->received, bytes, (size_t)got), ERR_OK);
            quiet = 0;
        }
    }
}

static inline void peer_send(struct peer *peer, struct span bytes)
{
    for (int stuck = 0; bytes.len > 0 && stuck < 1000; stuck++) {
        ssize_t sent = peer->tls == NULL ? send(peer->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : SSL_write(peer->tls, bytes.ptr, (int)bytes.len);
        if (sent > 0) {
            bytes = span_skip(bytes, (size_t)sent);
            stuck = 0;
        }
        peer_run(peer);
    }
    assert_int_equal(bytes.len, 0);
}

/* All that was received since the last time is `text`. */
static inline void peer_expect(struct peer *peer, const char *text)
{
    peer_run(peer);
    assert_string_equal(peer->received.data, text);
    buf_clear(&peer->received);
}

/* True if the handshake came to a good end. */
static inline bool peer_start_tls(struct peer *peer, SSL_CTX *context, bool is_server)
{
    peer->tls = SSL_new(context);
    SSL_set_fd(peer->tls, peer->fd);
    if (is_server)
        SSL_set_accept_state(peer->tls);
    else
        SSL_set_connect_state(peer->tls);
    for (int tries = 0; tries < 200; tries++) {
        int done = SSL_do_handshake(peer->tls);
        if (done == 1)
            return true;
        if (SSL_get_error(peer->tls, done) != SSL_ERROR_WANT_READ)
            return false;
        event_base_loop(peer->base, EVLOOP_NONBLOCK);
    }
    return false;
}

/* A server's and a client's context that trust each other, for localhost, made in a directory of their own. */
static inline void peer_make_contexts(SSL_CTX **server_out, SSL_CTX **client_out)
{
    char directory[] = "/tmp/privyseal-test-XXXXXX";
    char certificate[64], key[64];
    assert_non_null(mkdtemp(directory));
    snprintf(certificate, sizeof certificate, "%s/cert.pem", directory);
    snprintf(key, sizeof key, "%s/key.pem", directory);
    assert_int_equal(tls_make_certificate(certificate, key), ERR_OK);
    assert_int_equal(tls_server_new(certificate, key, server_out), ERR_OK);
    assert_int_equal(tls_client_new(certificate, client_out), ERR_OK);
    unlink(certificate);
    unlink(key);
    rmdir(directory);
}

static inline void peer_fini(struct peer *peer)
{
    peer_close(peer);
    buf_fini(&peer->received);
}

#endif

#include "base/conn_internal.h"

#include "base/log.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 30000   /* where the owner gave none */
#define HANDSHAKE_TIMEOUT_MS 60000 /* a handshake is never endless, whatever the owner's timeout */

void conn_log_tls_failure(struct conn *conn)
{
    long verdict = conn->session != NULL ? SSL_get_verify_result(conn->session) : X509_V_OK;
    if (verdict != X509_V_OK)
        log_warning("%s: %s: certificate refused: %s", conn->peer, conn->doing, X509_verify_cert_error_string(verdict));
    unsigned long code;
    while ((code = bufferevent_get_openssl_error(conn->bufferevent)) != 0) {
        char text[256];
        ERR_error_string_n(code, text, sizeof text);
        log_info("%s: %s: TLS: %s", conn->peer, conn->doing, text);
    }
    ERR_clear_error();
}

/* Moves the descriptor under TLS. Nothing that came in clear survives this (design 1.1.9): the evbuffers of the clear
   connection go with it, and what the kernel still holds is read as handshake or fails as such. */
enum err conn_begin_tls(struct conn *conn)
{
    int fd = conn_fd(conn);
    enum bufferevent_ssl_state role = conn->is_tls_server ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING;
    bufferevent_disable(conn->bufferevent, EV_READ | EV_WRITE);
    bufferevent_setfd(conn->bufferevent, -1);
    conn->session = conn->next_session;
    conn->next_session = NULL;
    struct bufferevent *bufferevent =
        bufferevent_openssl_socket_new(conn->options.base, fd, conn->session, role, BUFFEREVENT_OPTIONS);
    enum err err = conn_replace_bufferevent(conn, bufferevent);
    if (err != ERR_OK && bufferevent == NULL) {
        conn->session = NULL;
        close(fd);
    }
    return err;
}

/* Enters CONN_HANDSHAKE; without clear output still to be sent, TLS begins now. */
static enum err enter_handshake(struct conn *conn, SSL *session, bool is_server)
{
    conn->state = CONN_HANDSHAKE;
    conn->is_tls_server = is_server;
    conn->next_session = session;
    event_del(conn->late_timer);
    conn_adjust_reading(conn);
    struct evbuffer *input = bufferevent_get_input(conn->bufferevent);
    evbuffer_drain(input, evbuffer_get_length(input));
    uint32_t timeout_ms = conn->connect_timeout_ms != 0 ? conn->connect_timeout_ms : HANDSHAKE_TIMEOUT_MS;
    if (conn->timeout_ms != 0 && conn->timeout_ms < timeout_ms)
        timeout_ms = conn->timeout_ms;
    conn_start_timer(conn->phase_timer, timeout_ms);
    return conn_output_len(conn) == 0 ? conn_begin_tls(conn) : ERR_OK;
}

static bool try_address(struct conn *conn, const struct address *address)
{
    address_format(address, conn->peer);
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    conn_set_socket_options(fd);
    struct bufferevent *bufferevent = bufferevent_socket_new(conn->options.base, fd, BUFFEREVENT_OPTIONS);
    if (bufferevent == NULL)
        close(fd);
    if (conn_replace_bufferevent(conn, bufferevent) != ERR_OK)
        return false;
    return bufferevent_socket_connect(bufferevent, (const struct sockaddr *)&address->storage, (int)address->len) == 0;
}

void conn_connect_next(struct conn *conn)
{
    while (conn->address_next < conn->addresses.count) {
        if (try_address(conn, &conn->addresses.items[conn->address_next++])) {
            conn_start_timer(conn->phase_timer, conn->connect_timeout_ms);
            return;
        }
        log_info("%s: connecting: %s", conn->peer, strerror(errno));
    }
    conn_close_with(conn, ERR_UPSTREAM_DOWN);
}

void conn_connected(struct conn *conn)
{
    if (conn->next_session == NULL)
        conn_become_ready(conn);
    else if (enter_handshake(conn, conn->next_session, false) != ERR_OK)
        conn_close_with(conn, ERR_MEMORY);
}

static void on_addresses(enum err err, const struct address_list *list, void *context)
{
    struct conn *conn = context;
    conn->query = NULL;
    if (err == ERR_OK) {
        conn->addresses = *list;
        conn->state = CONN_CONNECTING;
    }
    /* The answer may have come from within conn_connect; the loop goes on from here. */
    conn_start_timer(conn->phase_timer, 0);
}

enum err conn_connect(const struct conn_options *options, struct evdns_base *dns, const char *host, int port,
                      SSL_CTX *context, uint32_t connect_timeout_ms, struct conn **conn_out)
{
    *conn_out = NULL;
    char name[ADDRESS_HOST_SIZE];
    enum err err = address_host(host, name);
    if (err != ERR_OK)
        return log_failure(err, "connecting to port %d of %s", port, host);
    struct conn *conn;
    err = conn_new(options, CONN_RESOLVING, -1, &conn);
    if (err != ERR_OK)
        return err;
    conn->connect_timeout_ms = connect_timeout_ms != 0 ? connect_timeout_ms : CONNECT_TIMEOUT_MS;
    conn->doing = "connecting";
    snprintf(conn->peer, sizeof conn->peer, "%.60s:%d", name, port);
    if (context != NULL)
        err = tls_client_session(context, host, &conn->next_session);
    struct address_list literal;
    if (err == ERR_OK && address_literal(name, port, &literal) == ERR_OK) {
        on_addresses(ERR_OK, &literal, conn);
    } else if (err == ERR_OK && dns != NULL) {
        conn_start_timer(conn->phase_timer, conn->connect_timeout_ms);
        err = address_query_begin(dns, name, port, on_addresses, conn, &conn->query);
    } else if (err == ERR_OK) {
        err = log_failure(ERR_CONFIG, "no name server to look up %s", name);
    }
    if (err != ERR_OK)
        conn_destroy(conn);
    else
        *conn_out = conn;
    return err;
}

static bool may_start_tls(const struct conn *conn)
{
    return conn->session == NULL && (conn->state == CONN_OPEN || conn->state == CONN_ACCEPTED);
}

enum err conn_start_tls_server(struct conn *conn, SSL_CTX *context)
{
    if (!may_start_tls(conn))
        return ERR_INTERNAL;
    SSL *session = SSL_new(context);
    if (session == NULL)
        return ERR_MEMORY;
    return enter_handshake(conn, session, true);
}

enum err conn_start_tls_client(struct conn *conn, SSL_CTX *context, const char *host)
{
    if (!may_start_tls(conn))
        return ERR_INTERNAL;
    SSL *session = NULL;
    enum err err = tls_client_session(context, host, &session);
    return err == ERR_OK ? enter_handshake(conn, session, false) : err;
}

#include "proxy/session_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What sealing may add to a message: base64 armour around everything (4/3 and line ends), and headers. */
#define SEALED_HEADERS 65536u
#define SEALED_PERCENT 73u

const struct config_account *session_account(const struct proxy_session *session)
{
    return &session->net->config->accounts[session->account];
}

static void session_destroy(struct proxy_session *session)
{
    proxy_probe_cancel(&session->probe_wait);
    proxy_ring_cancel(&session->ring_wait);
    proxy_lookup_cancel(&session->lookup);
    smtp_server_free(&session->server);
    smtp_client_free(&session->upstream);
    secret_fini(&session->response);
    free(session->recipients);
    proxy_client_leave(&session->client);
    free(session);
}

/* The client is gone and nothing is under way: says goodbye upstream and goes. */
static void session_end(struct proxy_session *session)
{
    if (session->upstream != NULL)
        smtp_client_quit(&session->upstream);
    session_destroy(session);
}

static void free_at_once(struct proxy_client *client)
{
    struct proxy_session *session = (struct proxy_session *)client;
    proxy_submit_free(&session->submit);
    session_destroy(session);
}

void session_submit_ended(struct proxy_session *session)
{
    if (session->server == NULL)
        session_end(session);
    else if (session->upstream == NULL)
        smtp_server_shutdown(session->server, ERR_UPSTREAM_LOST, NULL);
    else if (session->net->is_draining)
        smtp_server_shutdown(session->server, ERR_SHUTDOWN, NULL);
}

void session_was_told(struct proxy_session *session)
{
    if (!session->has_told)
        return;
    session->has_told = false;
    enum err err = proxy_vault_forget(session->net->vault, &session->told);
    if (err != ERR_OK)
        log_failure(err, "dropping a delivery record");
}

void session_lose_upstream(struct proxy_session *session, enum err why)
{
    bool is_in_doubt = session->upstream != NULL && smtp_client_is_in_doubt(session->upstream);
    smtp_client_free(&session->upstream);
    session->is_open = false;
    if (session->submit != NULL) {
        proxy_submit_lost(session->submit, why, is_in_doubt);
        return;
    }
    proxy_ring_cancel(&session->ring_wait);
    proxy_lookup_cancel(&session->lookup);
    if (session->server == NULL)
        session_end(session);
    else if (session->auth != SESSION_AUTH_NONE) {
        session->auth = SESSION_AUTH_NONE;
        secret_fini(&session->response);
        smtp_server_fail(session->server, why, NULL);
    } else {
        if (smtp_server_is_waiting(session->server))
            smtp_server_fail(session->server, why, NULL);
        smtp_server_shutdown(session->server, why, NULL);
    }
}

static void on_upstream_close(struct smtp_client *client, enum err why, void *owner)
{
    struct proxy_session *session = owner;
    (void)client;
    log_info("%s: upstream of %s: %s", session->peer, session_account(session)->address, err_sentence(why));
    session_lose_upstream(session, why);
}

/* on_ready belongs to login alone: session_auth.c. */
void session_on_upstream_ready(struct smtp_client *client, void *owner);
const struct smtp_client_handlers session_upstream_handlers = {.on_ready = session_on_upstream_ready,
                                                               .on_close = on_upstream_close};

static void on_shared_features(const struct proxy_shared *shared, void *context)
{
    struct proxy_session *session = context;
    const struct config *config = session->net->config;
    struct smtp_features features = {.flags = SMTP_HAS_PIPELINING | SMTP_HAS_SIZE | SMTP_HAS_8BITMIME |
                                              SMTP_HAS_ENHANCED | SMTP_HAS_CHUNKING | SMTP_HAS_STARTTLS | SMTP_HAS_AUTH,
                                     .size_max = config->message_max,
                                     .mechanisms = shared->mechanisms};
    session->probe_wait = NULL;
    if (session->server == NULL)
        return;
    features.flags |= shared->smtp_flags & (SMTP_HAS_DSN | SMTP_HAS_SMTPUTF8);
    if (shared->size_max != 0) {
        uint64_t room =
            shared->size_max > SEALED_HEADERS ? (shared->size_max - SEALED_HEADERS) / 100 * SEALED_PERCENT : 1;
        if (room < features.size_max)
            features.size_max = room;
    }
    smtp_server_hello(session->server, &features);
}

static void on_hello(struct smtp_server *server, void *owner)
{
    struct proxy_session *session = owner;
    session_was_told(session);
    enum err err =
        proxy_probe_ask(session->net->probe, session->listener, on_shared_features, session, &session->probe_wait);
    if (err != ERR_OK)
        smtp_server_fail(server, err, NULL);
}

/* True if the client ended in order, having read all that was said to it. One that gave up waiting just before the last
   reply ends in order too, but its kernel does not acknowledge what came too late. (After QUIT the connection is still
   open here, and the reply to that one does not matter.) */
static bool has_heard_all(struct conn *conn, enum err why)
{
    struct tcp_info info = {.tcpi_state = TCP_CLOSE_WAIT, .tcpi_unacked = 1};
    socklen_t len = sizeof(info);
    if (why != ERR_END || conn_output_len(conn) > 0 ||
        getsockopt(conn_fd(conn), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    return info.tcpi_state == TCP_ESTABLISHED || info.tcpi_unacked == 0;
}

static void on_close(struct smtp_server *server, enum err why, void *owner)
{
    struct proxy_session *session = owner;
    if (has_heard_all(smtp_server_conn(server), why))
        session_was_told(session);
    log_debug("%s: client: %s", session->peer, why == ERR_UPSTREAM_LOST ? "connection lost" : err_sentence(why));
    smtp_server_free(&session->server);
    session->auth = SESSION_AUTH_NONE;
    if (session->submit == NULL)
        session_end(session);
    else
        proxy_submit_client_gone(session->submit);
}

static const struct smtp_server_handlers SERVER_HANDLERS = {.on_hello = on_hello,
                                                            .on_auth = session_on_auth,
                                                            .on_auth_response = session_on_auth_response,
                                                            .on_auth_cancel = session_on_auth_cancel,
                                                            .on_mail = session_on_mail,
                                                            .on_rcpt = session_on_rcpt,
                                                            .on_message = session_on_message,
                                                            .on_reset = session_on_reset,
                                                            .on_close = on_close};

static uint32_t scaled(const struct config *config, uint32_t ms)
{
    return (uint32_t)((uint64_t)ms * config->timeout_percent / 100);
}

static enum err start(struct proxy_net *net, const struct config_listener *listener, int fd, const char *host)
{
    const struct config *config = net->config;
    struct proxy_session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        close(fd);
        return ERR_MEMORY;
    }
    session->net = net;
    session->listener = listener;
    struct smtp_server_options options = {.base = net->base,
                                          .handlers = &SERVER_HANDLERS,
                                          .owner = session,
                                          .host_name = config->host_name,
                                          .tls = listener->tls == CONFIG_TLS_NONE ? NULL : net->server_tls,
                                          .is_tls_implicit = listener->tls == CONFIG_TLS_IMPLICIT,
                                          .may_auth_in_clear = true,
                                          .is_repairing = config->is_repairing,
                                          .recipients_max = config->recipients_max,
                                          .message_max = config->message_max,
                                          .command_timeout_ms = scaled(config, 300000),
                                          .data_timeout_ms = scaled(config, 180000)};
    for (size_t i = 0; i < listener->at_len; i++)
        options.may_auth_in_clear = options.may_auth_in_clear && listener->at[i].is_loopback;
    proxy_client_enter(net, &session->client, &proxy_smtp, host);
    enum err err = smtp_server_new(&options, fd, &session->server);
    if (err != ERR_OK) {
        session->server = NULL;
        session_destroy(session);
        return err;
    }
    snprintf(session->peer, sizeof(session->peer), "%s", conn_peer(smtp_server_conn(session->server)));
    return ERR_OK;
}

static void drain(struct proxy_client *client)
{
    struct proxy_session *session = (struct proxy_session *)client;
    if (session->submit == NULL && session->server != NULL && session->recipients_len == 0 && !session->is_open)
        smtp_server_shutdown(session->server, ERR_SHUTDOWN, NULL);
}

const struct proxy_protocol proxy_smtp = {
    .name = "smtp", .busy = "421 4.3.2 Too many sessions\r\n", .start = start, .drain = drain, .free = free_at_once};

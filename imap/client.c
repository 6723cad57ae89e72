/*
 * States and life: imap_client_enter sends what a state begins with, and the function of that command picks the next
 * one. Owner's functions are called from the loop only, never from within a call of the owner's.
 */
#include "imap/client_internal.h"

#include "base/log.h"

#include <stdlib.h>

#define INPUT_MAX 262144u
#define OUTPUT_MAX ((size_t)8 << 20)
#define CONNECT_TIMEOUT_MS 30000u
#define LOGIN_TIMEOUT_MS 60000u    /* for the answer to a command before login */
#define COMMAND_TIMEOUT_MS 300000u /* for a sign of life while commands are open */
#define IDLE_TIMEOUT_MS 1860000u   /* RFC 3501 §5.4: a server may log out after 30 minutes */

static void destroy(struct imap_client *client)
{
    imap_client_drop_commands(client, true);
    imap_client_drop_response(client);
    conn_free(&client->conn);
    if (client->wake != NULL)
        event_free(client->wake);
    imap_capabilities_fini(&client->capabilities);
    imap_splitter_fini(&client->splitter);
    free(client->host);
    free(client);
}

static void enter(struct imap_client *client)
{
    client->depth++;
}

static void leave(struct imap_client *client)
{
    if (--client->depth == 0 && client->is_freed)
        destroy(client);
}

bool imap_client_is_over(const struct imap_client *client)
{
    return client->is_freed || client->state == CLIENT_CLOSED || client->failure != ERR_OK;
}

static uint32_t scaled(const struct imap_client *client, uint32_t timeout_ms)
{
    uint64_t ms = (uint64_t)timeout_ms * client->options.timeout_percent / 100;
    return ms == 0 ? 1 : (uint32_t)ms;
}

void imap_client_set_timeout(struct imap_client *client)
{
    const struct client_command *last = TAILQ_LAST(&client->sent, client_queue);
    uint32_t timeout_ms = COMMAND_TIMEOUT_MS;
    if (client->state == CLIENT_CLOSED || client->state == CLIENT_HANDSHAKE)
        return;
    if (client->state < CLIENT_READY || (last != NULL && last->is_login))
        timeout_ms = LOGIN_TIMEOUT_MS;
    if (client->state == CLIENT_READY && (client->commands_len == 0 || (last != NULL && last->is_continued)))
        timeout_ms = IDLE_TIMEOUT_MS;
    conn_set_timeout(client->conn, scaled(client, timeout_ms));
}

void imap_client_fail(struct imap_client *client, enum err why)
{
    if (client->failure != ERR_OK || client->state == CLIENT_CLOSED)
        return;
    client->failure = why;
    event_active(client->wake, 0, 0);
}

/* From the loop only. */
static void close_with(struct imap_client *client, enum err why)
{
    if (client->state == CLIENT_CLOSED || client->is_freed)
        return;
    client->state = CLIENT_CLOSED;
    conn_pause(client->conn);
    imap_client_drop_commands(client, true);
    imap_client_drop_response(client);
    if (client->is_quitting)
        client->is_freed = true;
    else
        client->options.handlers->on_close(client, why, client->options.owner);
}

void imap_client_write(struct imap_client *client, struct span bytes, bool is_secret)
{
    enum err err = is_secret ? conn_write_secret(client->conn, bytes) : conn_write(client->conn, bytes);
    if (err != ERR_OK)
        imap_client_fail(client, err == ERR_LIMIT ? ERR_INTERNAL : err);
}

/* ---- states ---- */

static void become_ready(struct imap_client *client)
{
    if ((client->capabilities.features & IMAP_HAS_IMAP4REV1) == 0) {
        imap_client_fail(client, log_failure(ERR_UPSTREAM_MISSING, "%s: no IMAP4rev1", conn_peer(client->conn)));
        return;
    }
    imap_client_enter(client, CLIENT_READY);
    if (!client->is_quitting)
        client->options.handlers->on_ready(client, client->options.owner);
}

static void on_capability(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    (void)context;
    if (reply->status != IMAP_OK)
        imap_client_fail(client, ERR_UPSTREAM_PROTOCOL);
    else if (client->state == CLIENT_CAPABILITY)
        become_ready(client);
    else if ((client->capabilities.features & IMAP_HAS_STARTTLS) == 0)
        imap_client_fail(client, log_failure(ERR_UPSTREAM_TLS, "%s: STARTTLS is not offered", conn_peer(client->conn)));
    else
        imap_client_enter(client, CLIENT_STARTTLS);
}

static void on_starttls(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    (void)context;
    if (reply->status != IMAP_OK) {
        imap_client_fail(client, ERR_UPSTREAM_TLS);
        return;
    }
    if (evbuffer_get_length(conn_input(client->conn)) > 0)
        log_warning("%s: what came in clear behind STARTTLS is thrown away", conn_peer(client->conn));
    imap_client_enter(client, CLIENT_HANDSHAKE);
}

/* RFC 3501 §6.2.1: what was said in clear counts for nothing. */
static void forget(struct imap_client *client)
{
    imap_capabilities_fini(&client->capabilities);
    client->is_fresh = false;
    imap_client_drop_response(client);
    imap_splitter_fini(&client->splitter);
    imap_splitter_init(&client->splitter, client->options.response_max, false);
}

void imap_client_enter(struct imap_client *client, enum client_state state)
{
    static const char *const doing[] = {"connecting",    "reading the greeting", "CAPABILITY", "STARTTLS",
                                        "TLS handshake", "CAPABILITY",           "ready",      "closed"};
    enum err err = ERR_OK;
    client->state = state;
    conn_doing(client->conn, doing[state]);
    imap_client_set_timeout(client);
    switch (state) {
    case CLIENT_CLEAR_CAPABILITY:
    case CLIENT_CAPABILITY:
        err = imap_client_say(client, "CAPABILITY", on_capability, NULL);
        break;
    case CLIENT_STARTTLS:
        err = imap_client_say(client, "STARTTLS", on_starttls, NULL);
        break;
    case CLIENT_HANDSHAKE:
        forget(client);
        err = conn_start_tls_client(client->conn, client->options.tls, client->host);
        break;
    case CLIENT_CONNECTING:
    case CLIENT_GREETING:
    case CLIENT_READY:
    case CLIENT_CLOSED:
        break;
    }
    if (err != ERR_OK)
        imap_client_fail(client, err);
}

void imap_client_take_greeting(struct imap_client *client)
{
    bool has_capabilities = client->is_fresh;
    if (client->options.security == IMAP_TLS_STARTTLS && !conn_is_tls(client->conn))
        imap_client_enter(client, CLIENT_CLEAR_CAPABILITY);
    else if (has_capabilities)
        become_ready(client);
    else
        imap_client_enter(client, CLIENT_CAPABILITY);
}

/* ---- events ---- */

static void tell_refreshed(struct imap_client *client)
{
    static const struct imap_reply ok = {.status = IMAP_OK, .rest = SPAN_LIT("OK Capabilities are known\r\n")};
    imap_reply_fn fn = client->refresh_fn;
    client->is_refreshed = false;
    client->refresh_fn = NULL;
    fn(client, &ok, client->refresh_context);
}

/* Ends what is to be ended after each event of the loop. */
static void settle(struct imap_client *client)
{
    if (client->is_freed || client->state == CLIENT_CLOSED)
        return;
    if (client->failure == ERR_OK)
        imap_client_answer_early(client);
    if (!imap_client_is_over(client) && client->is_refreshed && !client->is_quitting)
        tell_refreshed(client);
    if (client->is_freed || client->state == CLIENT_CLOSED)
        return;
    if (client->failure != ERR_OK) {
        close_with(client, client->failure);
    } else if (client->is_quitting && client->commands_len == 0) {
        imap_client_write(client, SPAN_LIT("P0 LOGOUT\r\n"), false);
        conn_finish(&client->conn);
        client->state = CLIENT_CLOSED;
        client->is_freed = true;
    }
}

static void on_wake(int fd, short what, void *context)
{
    struct imap_client *client = context;
    (void)fd, (void)what;
    enter(client);
    settle(client);
    leave(client);
}

static void on_conn_ready(struct conn *conn, void *owner)
{
    struct imap_client *client = owner;
    enter(client);
    if (client->state == CLIENT_HANDSHAKE)
        imap_client_enter(client, CLIENT_CAPABILITY);
    else if (client->options.security == IMAP_CLEAR && !conn_is_loopback(conn))
        imap_client_fail(client,
                         log_failure(ERR_UPSTREAM_TLS, "%s: no clear text beyond this machine", conn_peer(conn)));
    else
        imap_client_enter(client, CLIENT_GREETING);
    settle(client);
    leave(client);
}

static void on_conn_input(struct conn *conn, void *owner)
{
    struct imap_client *client = owner;
    (void)conn;
    enter(client);
    imap_client_take_input(client);
    settle(client);
    leave(client);
}

static void on_conn_drain(struct conn *conn, void *owner)
{
    struct imap_client *client = owner;
    (void)conn;
    enter(client);
    if (!imap_client_is_over(client)) {
        imap_client_pump(client);
        imap_client_set_timeout(client);
    }
    settle(client);
    leave(client);
}

static void on_conn_close(struct conn *conn, enum err why, void *owner)
{
    struct imap_client *client = owner;
    (void)conn;
    enter(client);
    /* The last words of the server may explain why. */
    client->is_paused = false;
    if (client->state > CLIENT_CONNECTING && client->state != CLIENT_HANDSHAKE)
        imap_client_take_input(client);
    if (client->failure != ERR_OK)
        why = client->failure;
    close_with(client, why == ERR_END ? ERR_UPSTREAM_LOST : why);
    leave(client);
}

static const struct conn_handlers conn_events = {
    .on_ready = on_conn_ready, .on_input = on_conn_input, .on_drain = on_conn_drain, .on_close = on_conn_close};

/* ---- the owner's calls ---- */

enum err imap_client_new(const struct imap_client_options *options, struct imap_client **client_out)
{
    *client_out = NULL;
    if (options->security != IMAP_CLEAR && options->tls == NULL)
        return ERR_INTERNAL;
    struct imap_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return ERR_MEMORY;
    client->options = *options;
    client->literal_fd = -1;
    TAILQ_INIT(&client->sent);
    TAILQ_INIT(&client->waiting);
    imap_capabilities_init(&client->capabilities);
    imap_splitter_init(&client->splitter, options->response_max, false);
    client->host = span_dup(span_of(options->host));
    client->wake = event_new(options->base, -1, 0, on_wake, client);
    const struct conn_options conn_options = {.base = options->base,
                                              .handlers = &conn_events,
                                              .owner = client,
                                              .input_max = INPUT_MAX,
                                              .output_max = OUTPUT_MAX};
    enum err err = ERR_MEMORY;
    if (client->host != NULL && client->wake != NULL)
        err = conn_connect(&conn_options, options->dns, client->host, options->port,
                           options->security == IMAP_TLS_IMPLICIT ? options->tls : NULL,
                           scaled(client, CONNECT_TIMEOUT_MS), &client->conn);
    if (err != ERR_OK)
        destroy(client);
    else
        *client_out = client;
    return err;
}

void imap_client_free(struct imap_client **client_ref)
{
    struct imap_client *client = *client_ref;
    *client_ref = NULL;
    if (client == NULL)
        return;
    client->is_freed = true;
    if (client->depth == 0)
        destroy(client);
}

/* A command that is not wholly sent may borrow bytes of the owner, who is leaving; a dialogue has nobody to go on. */
void imap_client_quit(struct imap_client **client_ref)
{
    struct imap_client *client = *client_ref;
    if (client == NULL)
        return;
    const struct client_command *last = TAILQ_LAST(&client->sent, client_queue);
    if (client->state != CLIENT_READY || client->failure != ERR_OK || client->sending != NULL ||
        (last != NULL && last->is_dialogue)) {
        imap_client_free(client_ref);
        return;
    }
    *client_ref = NULL;
    client->is_quitting = true;
    imap_client_drop_commands(client, false);
    imap_client_resume(client);
    event_active(client->wake, 0, 0);
}

const struct imap_capabilities *imap_client_capabilities(const struct imap_client *client)
{
    return &client->capabilities;
}

void imap_client_pause(struct imap_client *client)
{
    if (client->is_paused || client->state == CLIENT_CLOSED)
        return;
    client->is_paused = true;
    conn_pause(client->conn);
}

void imap_client_resume(struct imap_client *client)
{
    if (!client->is_paused || client->state == CLIENT_CLOSED)
        return;
    client->is_paused = false;
    conn_resume(client->conn);
}

struct conn *imap_client_conn(struct imap_client *client)
{
    return client->conn;
}

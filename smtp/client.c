/*
 * The two functions at heart: enter_state sends what a state begins with, take_reply picks the next one. The rest is
 * the connection's life. Owner's functions are called from the loop only, never from within a call of the owner's.
 */
#include "smtp/client_internal.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 65536u
#define OUTPUT_MAX 524288u
#define PIECE_MAX 65536u
#define STUFFED_MAX (2 * PIECE_MAX + 16)
#define CONNECT_TIMEOUT_MS 30000u

/* RFC 5321 §4.5.3.2 */
#define COMMAND_TIMEOUT_MS 300000u
#define DATA_TIMEOUT_MS 120000u
#define BLOCK_TIMEOUT_MS 180000u
#define DOT_TIMEOUT_MS 600000u

static void destroy(struct smtp_client *client)
{
    client_drop_commands(client, true);
    conn_free(&client->conn);
    if (client->wake != NULL)
        event_free(client->wake);
    smtp_reply_fini(&client->incoming);
    smtp_reply_fini(&client->last);
    free(client->host);
    free(client->hello_name);
    free(client);
}

static void enter(struct smtp_client *client)
{
    client->depth++;
}

static void leave(struct smtp_client *client)
{
    if (--client->depth == 0 && client->is_freed)
        destroy(client);
}

static uint32_t scaled(const struct smtp_client *client, uint32_t timeout_ms)
{
    uint64_t ms = (uint64_t)timeout_ms * client->options.timeout_percent / 100;
    return ms == 0 ? 1 : (uint32_t)ms;
}

void client_set_timeout(struct smtp_client *client)
{
    const struct client_command *first = TAILQ_FIRST(&client->sent);
    uint32_t timeout_ms = COMMAND_TIMEOUT_MS;
    if (client->state == CLIENT_CLOSED)
        return;
    if (client->state == CLIENT_CHALLENGED ||
        (client->state == CLIENT_READY && first == NULL && TAILQ_EMPTY(&client->waiting)))
        timeout_ms = 0;
    else if (client->state == CLIENT_BODY)
        timeout_ms = BLOCK_TIMEOUT_MS;
    else if (client->state == CLIENT_BODY_SENT)
        timeout_ms = DOT_TIMEOUT_MS;
    else if (client->state == CLIENT_READY && first != NULL && first->verb == SMTP_DATA)
        timeout_ms = DATA_TIMEOUT_MS;
    conn_set_timeout(client->conn, timeout_ms == 0 ? 0 : scaled(client, timeout_ms));
}

void client_fail(struct smtp_client *client, enum err why)
{
    if (client->failure != ERR_OK || client->state == CLIENT_CLOSED)
        return;
    client->failure = why;
    event_active(client->wake, 0, 0);
}

/* From the loop only. */
static void close_with(struct smtp_client *client, enum err why)
{
    if (client->state == CLIENT_CLOSED || client->is_freed)
        return;
    client->state = CLIENT_CLOSED;
    client_drop_commands(client, true);
    conn_free(&client->conn);
    if (client->is_quitting)
        client->is_freed = true;
    else
        client->options.handlers->on_close(client, why, client->options.owner);
}

static void judge_written(struct smtp_client *client, enum err err)
{
    if (err != ERR_OK)
        client_fail(client, err == ERR_LIMIT ? ERR_INTERNAL : err);
}

void client_write(struct smtp_client *client, struct span bytes)
{
    judge_written(client, conn_write(client->conn, bytes));
}

void client_write_secret(struct smtp_client *client, struct span bytes)
{
    judge_written(client, conn_write_secret(client->conn, bytes));
}

static void say_hello(struct smtp_client *client)
{
    struct buf line;
    buf_init(&line, SMTP_LINE_MAX);
    enum err err = buf_addf(&line, "EHLO %s\r\n", client->hello_name);
    if (err == ERR_OK)
        client_write(client, buf_span(&line));
    else
        client_fail(client, err);
    buf_fini(&line);
}

/* Sends the next piece of the message; the dot goes with the last one. */
static void send_piece(struct smtp_client *client)
{
    struct client_command *command = TAILQ_FIRST(&client->sent);
    struct buf piece;
    buf_init(&piece, STUFFED_MAX);
    enum err err = smtp_data_encode(command->message, &client->message_at, PIECE_MAX, &piece);
    if (err == ERR_END) {
        client->is_in_doubt = true;
        client->state = CLIENT_BODY_SENT;
    }
    if (err == ERR_OK || err == ERR_END)
        client_write(client, buf_span(&piece));
    else
        client_fail(client, log_failure(err, "%s: sending a message", conn_peer(client->conn)));
    buf_fini(&piece);
    client_set_timeout(client);
}

static void enter_state(struct smtp_client *client, enum client_state state)
{
    static const char *const doing[] = {
        "connecting",        "reading the greeting", "EHLO",  "STARTTLS", "TLS handshake", "EHLO", "ready", "AUTH",
        "sending a message", "ending a message",     "closed"};
    client->state = state;
    conn_doing(client->conn, doing[state]);
    client_set_timeout(client);
    switch (state) {
    case CLIENT_CLEAR_HELLO:
    case CLIENT_HELLO:
        say_hello(client);
        break;
    case CLIENT_STARTTLS:
        client_write(client, SPAN_LIT("STARTTLS\r\n"));
        break;
    case CLIENT_HANDSHAKE: {
        enum err err = conn_start_tls_client(client->conn, client->options.tls, client->host);
        if (err != ERR_OK)
            client_fail(client, err);
        break;
    }
    case CLIENT_READY:
        client_pump(client);
        break;
    case CLIENT_BODY:
        client->message_at = 0;
        send_piece(client);
        break;
    case CLIENT_CONNECTING:
    case CLIENT_GREETING:
    case CLIENT_CHALLENGED:
    case CLIENT_BODY_SENT:
    case CLIENT_CLOSED:
        break;
    }
}

/* Nothing but the last reply is looked at once the owner has gone. */
static void tell(struct smtp_client *client, smtp_reply_fn fn, void *context)
{
    if (!client->is_quitting)
        fn(client, &client->last, context);
}

static void end_command(struct smtp_client *client)
{
    struct client_command *command = client_take_sent(client);
    smtp_reply_fn fn = command->fn;
    void *context = command->context;
    client->is_in_doubt = false;
    client_command_free(client, command);
    client->state = CLIENT_READY;
    tell(client, fn, context);
    if (client->is_freed || client->state == CLIENT_CLOSED)
        return;
    if (client->last.code == 421)
        client_fail(client, ERR_UPSTREAM_LOST);
    else if (client->state == CLIENT_READY)
        client_pump(client);
}

/* A reply to the oldest command that was sent, or to none: then the server is closing (421), or out of step with us,
   and no later reply could be trusted to be what it seems. */
static void take_command_reply(struct smtp_client *client)
{
    struct client_command *command = TAILQ_FIRST(&client->sent);
    int code = client->last.code;
    if (command == NULL || client->state == CLIENT_BODY || client->state == CLIENT_CHALLENGED) {
        client_fail(client, code == 421 ? ERR_UPSTREAM_LOST : ERR_UPSTREAM_PROTOCOL);
    } else if (command->verb == SMTP_AUTH && code == 334 && client->is_quitting) {
        client_fail(client, ERR_AUTH_CANCELLED); /* nobody is left to answer */
    } else if (command->verb == SMTP_AUTH && code == 334) {
        enter_state(client, CLIENT_CHALLENGED);
        tell(client, command->fn, command->context);
    } else if (command->verb == SMTP_DATA && client->state == CLIENT_READY && code == 354) {
        /* A "250" behind the 354 cannot speak of a message that has not been sent. */
        if (evbuffer_get_length(conn_input(client->conn)) > 0)
            client_fail(client, ERR_UPSTREAM_PROTOCOL);
        else
            enter_state(client, CLIENT_BODY);
    } else if (code / 100 == 3 ||
               (command->verb == SMTP_DATA && client->state == CLIENT_READY && smtp_reply_is_ok(&client->last))) {
        client_fail(client, ERR_UPSTREAM_PROTOCOL);
    } else {
        end_command(client);
    }
}

static void become_ready(struct smtp_client *client)
{
    client_features_parse(&client->last, &client->features);
    enter_state(client, CLIENT_READY);
    if (!client->is_quitting)
        client->options.handlers->on_ready(client, client->options.owner);
}

/* One reply, complete, in client->last. */
static void take_reply(struct smtp_client *client)
{
    bool is_ok = smtp_reply_is_ok(&client->last);
    switch (client->state) {
    case CLIENT_GREETING:
        if (client->last.code != 220)
            client_fail(client, ERR_UPSTREAM_REJECTED);
        else
            enter_state(client, client->options.security == SMTP_TLS_STARTTLS ? CLIENT_CLEAR_HELLO : CLIENT_HELLO);
        break;
    case CLIENT_CLEAR_HELLO:
        client_features_parse(&client->last, &client->features);
        if (!is_ok)
            client_fail(client, ERR_UPSTREAM_REJECTED);
        else if ((client->features.flags & SMTP_HAS_STARTTLS) == 0)
            client_fail(client, log_failure(ERR_UPSTREAM_TLS, "%s: STARTTLS is not offered", conn_peer(client->conn)));
        else
            enter_state(client, CLIENT_STARTTLS);
        break;
    case CLIENT_STARTTLS:
        if (client->last.code == 220)
            enter_state(client, CLIENT_HANDSHAKE);
        else
            client_fail(client, ERR_UPSTREAM_TLS);
        break;
    case CLIENT_HELLO:
        if (is_ok)
            become_ready(client);
        else
            client_fail(client, ERR_UPSTREAM_REJECTED);
        break;
    case CLIENT_READY:
    case CLIENT_CHALLENGED:
    case CLIENT_BODY:
    case CLIENT_BODY_SENT:
        take_command_reply(client);
        break;
    case CLIENT_CONNECTING:
    case CLIENT_HANDSHAKE:
    case CLIENT_CLOSED:
        client_fail(client, ERR_UPSTREAM_PROTOCOL);
        break;
    }
}

/* Takes one line of a reply out of the input; ERR_AGAIN if none is complete. */
static enum err take_line(struct smtp_client *client)
{
    struct evbuffer *input = conn_input(client->conn);
    char line[SMTP_REPLY_LINE_MAX + 2];
    struct evbuffer_ptr at = evbuffer_search_eol(input, NULL, NULL, EVBUFFER_EOL_LF);
    if (at.pos >= (ev_ssize_t)sizeof line || (at.pos < 0 && evbuffer_get_length(input) >= sizeof line))
        return ERR_UPSTREAM_PROTOCOL;
    if (at.pos < 0)
        return ERR_AGAIN;
    size_t len = (size_t)at.pos + 1;
    (void)evbuffer_remove(input, line, len);
    if (len < 2 || line[len - 2] != '\r')
        return ERR_UPSTREAM_PROTOCOL;
    enum err err = smtp_reply_feed(&client->incoming, (struct span){line, len - 2});
    return err == ERR_AGAIN ? ERR_OK : err == ERR_OK ? ERR_END : err;
}

static void take_input(struct smtp_client *client)
{
    enum err err = ERR_OK;
    while (err != ERR_AGAIN && client->failure == ERR_OK && client->state != CLIENT_CLOSED && !client->is_freed) {
        err = take_line(client);
        if (err == ERR_END) {
            struct smtp_reply reply = client->last;
            client->last = client->incoming;
            client->incoming = reply;
            smtp_reply_clear(&client->incoming);
            take_reply(client);
        } else if (err != ERR_OK && err != ERR_AGAIN) {
            client_fail(client, err);
        }
    }
}

/* Ends what is to be ended after each event of the loop. */
static void settle(struct smtp_client *client)
{
    if (client->is_freed || client->state == CLIENT_CLOSED)
        return;
    if (client->failure != ERR_OK) {
        close_with(client, client->failure);
    } else if (client->is_quitting && !client_is_busy(client)) {
        client_write(client, SPAN_LIT("QUIT\r\n"));
        conn_finish(&client->conn);
        client->state = CLIENT_CLOSED;
        client->is_freed = true;
    }
}

static void on_wake(int fd, short what, void *context)
{
    struct smtp_client *client = context;
    (void)fd, (void)what;
    enter(client);
    settle(client);
    leave(client);
}

static void on_ready(struct conn *conn, void *owner)
{
    struct smtp_client *client = owner;
    enter(client);
    if (client->state == CLIENT_HANDSHAKE) {
        /* RFC 3207 §4.2: what was learnt in clear counts for nothing. */
        client->features = (struct smtp_features){0};
        smtp_reply_clear(&client->incoming);
        enter_state(client, CLIENT_HELLO);
    } else if (client->options.security == SMTP_CLEAR && !conn_is_loopback(conn)) {
        client_fail(client, log_failure(ERR_UPSTREAM_TLS, "%s: no clear text beyond this machine", conn_peer(conn)));
    } else {
        enter_state(client, CLIENT_GREETING);
    }
    settle(client);
    leave(client);
}

static void on_input(struct conn *conn, void *owner)
{
    struct smtp_client *client = owner;
    (void)conn;
    enter(client);
    take_input(client);
    settle(client);
    leave(client);
}

static void on_drain(struct conn *conn, void *owner)
{
    struct smtp_client *client = owner;
    (void)conn;
    enter(client);
    if (client->failure == ERR_OK && client->state == CLIENT_BODY)
        send_piece(client);
    else if (client->failure == ERR_OK && client->state == CLIENT_READY)
        client_pump(client);
    settle(client);
    leave(client);
}

static void on_close(struct conn *conn, enum err why, void *owner)
{
    struct smtp_client *client = owner;
    (void)conn;
    enter(client);
    /* The last words of the server may explain why. */
    if (client->state > CLIENT_CONNECTING && client->state != CLIENT_HANDSHAKE)
        take_input(client);
    if (client->failure != ERR_OK)
        why = client->failure;
    close_with(client, why == ERR_END ? ERR_UPSTREAM_LOST : why);
    leave(client);
}

static const struct conn_handlers conn_events = {
    .on_ready = on_ready, .on_input = on_input, .on_drain = on_drain, .on_close = on_close};

enum err smtp_client_new(const struct smtp_client_options *options, struct smtp_client **client_out)
{
    *client_out = NULL;
    if (options->security != SMTP_CLEAR && options->tls == NULL)
        return ERR_INTERNAL;
    struct smtp_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return ERR_MEMORY;
    client->options = *options;
    TAILQ_INIT(&client->sent);
    TAILQ_INIT(&client->waiting);
    smtp_reply_init(&client->incoming);
    smtp_reply_init(&client->last);
    client->host = span_dup(span_of(options->host));
    client->hello_name = span_dup(span_of(options->hello_name));
    client->wake = event_new(options->base, -1, 0, on_wake, client);
    const struct conn_options conn_options = {.base = options->base,
                                              .handlers = &conn_events,
                                              .owner = client,
                                              .input_max = INPUT_MAX,
                                              .output_max = OUTPUT_MAX};
    enum err err = ERR_MEMORY;
    if (client->host != NULL && client->hello_name != NULL && client->wake != NULL)
        err = conn_connect(&conn_options, options->dns, client->host, options->port,
                           options->security == SMTP_TLS_IMPLICIT ? options->tls : NULL,
                           scaled(client, CONNECT_TIMEOUT_MS), &client->conn);
    if (err != ERR_OK)
        destroy(client);
    else
        *client_out = client;
    return err;
}

void smtp_client_free(struct smtp_client **client_ref)
{
    struct smtp_client *client = *client_ref;
    *client_ref = NULL;
    if (client == NULL)
        return;
    client->is_freed = true;
    if (client->depth == 0)
        destroy(client);
}

void smtp_client_quit(struct smtp_client **client_ref)
{
    struct smtp_client *client = *client_ref;
    if (client == NULL)
        return;
    /* A message that is not wholly sent belongs to the owner, who is leaving: it must not be finished. */
    bool can_wait = client->state == CLIENT_READY || client->state == CLIENT_BODY_SENT;
    const struct client_command *first = TAILQ_FIRST(&client->sent);
    if (!can_wait || client->failure != ERR_OK ||
        (client->state == CLIENT_READY && first != NULL && first->verb == SMTP_DATA)) {
        smtp_client_free(client_ref);
        return;
    }
    *client_ref = NULL;
    client->is_quitting = true;
    client_drop_commands(client, false);
    event_active(client->wake, 0, 0);
}

const struct smtp_features *smtp_client_features(const struct smtp_client *client)
{
    return &client->features;
}

const struct smtp_reply *smtp_client_last_reply(const struct smtp_client *client)
{
    return &client->last;
}

bool smtp_client_is_in_doubt(const struct smtp_client *client)
{
    return client->is_in_doubt;
}

/*
 * A session's life: it greets, runs while there is input and nobody is waited for, and ends with on_close. Everything
 * that could surprise an owner (on_close, the next command after a late answer) happens from the loop.
 */
#include "smtp/server_internal.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INPUT_MAX 65536u
#define OUTPUT_MAX 524288u
#define OUTPUT_PAUSE 32768u    /* a client that does not read its replies gives no more commands */
#define REPLY_WIRE_MAX 327680u /* SMTP_REPLY_TEXT_MAX, all of it empty lines with their codes */
#define DECODED_MAX 65536u
#define BAD_COMMANDS_MAX 20u
#define END_TIMEOUT_MS 10000u

static void destroy(struct smtp_server *server)
{
    if (server->wake != NULL)
        event_free(server->wake);
    /* After on_close the last reply may still be on its way out. */
    if (server->is_closed)
        conn_finish(&server->conn);
    else
        conn_free(&server->conn);
    if (server->message_fd >= 0)
        close(server->message_fd);
    buf_fini(&server->line);
    buf_fini(&server->decoded);
    free(server);
}

static void enter(struct smtp_server *server)
{
    server->depth++;
}

static void leave(struct smtp_server *server)
{
    if (--server->depth == 0 && server->is_freed)
        destroy(server);
}

static void close_with(struct smtp_server *server, enum err why)
{
    if (server->is_closed || server->is_freed)
        return;
    server->is_closed = true;
    server->input = SERVER_INPUT_ENDED;
    server->open = SMTP_UNKNOWN;
    server_end_transaction(server);
    server->options.handlers->on_close(server, why, server->options.owner);
}

static uint32_t timeout_of(const struct smtp_server *server)
{
    if (server->input == SERVER_INPUT_ENDED)
        return END_TIMEOUT_MS;
    if (server->open != SMTP_UNKNOWN)
        return 0;
    if (server->input == SERVER_INPUT_DATA || server->input == SERVER_INPUT_CHUNK)
        return server->options.data_timeout_ms;
    return server->options.command_timeout_ms;
}

void server_read(struct smtp_server *server, enum server_input input)
{
    if (server->input == SERVER_INPUT_ENDED)
        return;
    server->input = input;
    server->piece_left = SERVER_PIECE_SIZE;
    conn_set_timeout(server->conn, timeout_of(server));
    conn_doing(server->conn, input == SERVER_INPUT_DATA || input == SERVER_INPUT_CHUNK ? "receiving a message"
                             : input == SERVER_INPUT_HANDSHAKE                         ? "starting TLS"
                                                                                       : "waiting for a command");
}

void server_open(struct smtp_server *server, enum smtp_verb verb)
{
    server->open = verb;
    server_read(server, SERVER_INPUT_COMMAND);
    conn_doing(server->conn, smtp_verb_name(verb));
}

void server_say(struct smtp_server *server, const struct smtp_reply *reply)
{
    struct buf wire;
    buf_init(&wire, REPLY_WIRE_MAX);
    enum err err = smtp_reply_format(reply, &wire);
    if (err == ERR_OK)
        err = conn_write(server->conn, buf_span(&wire));
    buf_fini(&wire);
    if (err == ERR_OK)
        return;
    log_info("%s: answering: %s", conn_peer(server->conn), err_sentence(err));
    /* A reply that is missing would put all later ones in the wrong place. */
    server->is_end_forced = true;
    server_end(server, ERR_UPSTREAM_LOST);
}

void server_say_text(struct smtp_server *server, int code, const char *enhanced, const char *text)
{
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    if (smtp_reply_set(&reply, code, enhanced, text) == ERR_OK) {
        server_say(server, &reply);
    } else {
        server->is_end_forced = true;
        server_end(server, ERR_MEMORY);
    }
    smtp_reply_fini(&reply);
}

void server_say_err(struct smtp_server *server, enum err err)
{
    const struct err_entry *entry = err_entry(err);
    server_say_text(server, entry->smtp_code, entry->enhanced, entry->sentence);
}

void server_say_bad(struct smtp_server *server, enum err err)
{
    if (++server->bad_commands >= BAD_COMMANDS_MAX)
        server_end_with_421(server, ERR_BUSY, "4.7.0", "Too many errors");
    else if (err == ERR_LINE_TOO_LONG)
        server_say_text(server, 500, "5.5.6", err_sentence(err));
    else
        server_say_err(server, err);
}

void server_count_bad(struct smtp_server *server)
{
    if (++server->bad_commands >= BAD_COMMANDS_MAX)
        server_end_with_421(server, ERR_BUSY, "4.7.0", "Too many errors");
}

void server_end(struct smtp_server *server, enum err why)
{
    if (server->input == SERVER_INPUT_ENDED)
        return;
    server->end_why = why;
    server->open = SMTP_UNKNOWN;
    server_read(server, SERVER_INPUT_ENDED);
    /* on_close comes with the last byte of output; where there is none, from the loop. */
    event_active(server->wake, 0, 0);
}

void server_end_with_421(struct smtp_server *server, enum err why, const char *enhanced, const char *detail)
{
    char text[400];
    if (server->input == SERVER_INPUT_ENDED)
        return;
    snprintf(text, sizeof text, "%.200s closing: %.150s", server->options.host_name, detail);
    if (server->input == SERVER_INPUT_HANDSHAKE)
        server->is_end_forced = true;
    else
        server_say_text(server, 421, enhanced, text);
    server_end(server, why);
}

void server_end_transaction(struct smtp_server *server)
{
    if (server->message_fd >= 0)
        close(server->message_fd);
    server->message_fd = -1;
    server->message_size = 0;
    server->message_err = ERR_OK;
    buf_fini(&server->decoded); /* an idle session shall be small */
    server->recipients = 0;
    server->is_utf8 = false;
    server->is_mail_refused = false;
    if (server->state > SERVER_READY)
        server->state = SERVER_READY;
}

void server_reset_transaction(struct smtp_server *server)
{
    bool was_open = server->state > SERVER_READY;
    server_end_transaction(server);
    if (was_open)
        server->options.handlers->on_reset(server, server->options.owner);
}

static enum err take_step(struct smtp_server *server)
{
    if (server->input == SERVER_INPUT_DATA || server->input == SERVER_INPUT_CHUNK)
        return server_take_body(server);
    enum err err = server_take_line(server);
    if (err == ERR_AGAIN)
        return err;
    if (err != ERR_OK && server->input == SERVER_INPUT_AUTH)
        server_cancel_auth(server, err);
    else if (err != ERR_OK)
        server_say_bad(server, err);
    else if (server->input == SERVER_INPUT_AUTH)
        server_take_auth_line(server);
    else
        server_take_command(server);
    buf_clear(&server->line);
    conn_set_timeout(server->conn, timeout_of(server));
    return ERR_OK;
}

static bool may_go_on(const struct smtp_server *server)
{
    return server->open == SMTP_UNKNOWN && server->input < SERVER_INPUT_HANDSHAKE && !server->is_freed &&
           (server->is_half_closed || conn_output_len(server->conn) < OUTPUT_PAUSE);
}

/* From the loop only. */
static void run(struct smtp_server *server)
{
    enter(server);
    server->is_running = true;
    while (may_go_on(server) && take_step(server) == ERR_OK)
        continue;
    server->is_running = false;
    if (server->input == SERVER_INPUT_ENDED && (server->is_end_forced || conn_output_len(server->conn) == 0))
        close_with(server, server->end_why);
    else if (server->is_half_closed && server->open == SMTP_UNKNOWN)
        close_with(server, server->input == SERVER_INPUT_ENDED ? server->end_why : ERR_END);
    leave(server);
}

/* A client that has sent all up to QUIT and then ended its side (`nc -N`) still wants the replies. Without the QUIT it
   may as well have vanished, and nothing is done that it would not learn of. Under TLS no client does so. */
static bool has_said_goodbye(const struct smtp_server *server)
{
    static const struct span goodbye = SPAN_LIT("\nQUIT\r\n");
    struct evbuffer *input = conn_input(server->conn);
    size_t waiting = evbuffer_get_length(input);
    char tail[sizeof "\nQUIT\r\n"] = "\n";
    struct evbuffer_ptr from;
    if (server->input != SERVER_INPUT_COMMAND || server->open == SMTP_UNKNOWN || conn_is_tls(server->conn) ||
        waiting < goodbye.len - 1)
        return false;
    size_t len = waiting < goodbye.len ? waiting : goodbye.len;
    char *target = tail + goodbye.len - len;
    return evbuffer_ptr_set(input, &from, waiting - len, EVBUFFER_PTR_SET) == 0 &&
           evbuffer_copyout_from(input, &from, target, len) == (ev_ssize_t)len &&
           span_is_case_equal((struct span){tail, goodbye.len}, goodbye);
}

static void on_wake(int fd, short what, void *context)
{
    (void)fd, (void)what;
    run(context);
}

static void on_conn_ready(struct conn *conn, void *owner)
{
    struct smtp_server *server = owner;
    char text[320];
    (void)conn;
    if (server->input == SERVER_INPUT_ENDED)
        return;
    if (!server->has_greeted) {
        snprintf(text, sizeof text, "%.255s ESMTP privyseal", server->options.host_name);
        server->has_greeted = true;
        server_read(server, SERVER_INPUT_COMMAND);
        server_say_text(server, 220, NULL, text);
    } else {
        /* RFC 3207 §4.2: what was said in clear has not been said. */
        server->state = SERVER_NEW;
        server->is_authenticated = false;
        server->features = (struct smtp_features){0};
        server_read(server, SERVER_INPUT_COMMAND);
    }
    run(server);
}

static void on_conn_change(struct conn *conn, void *owner)
{
    (void)conn;
    run(owner);
}

static void on_conn_close(struct conn *conn, enum err why, void *owner)
{
    struct smtp_server *server = owner;
    (void)conn;
    enter(server);
    bool was_ended = server->input == SERVER_INPUT_ENDED;
    if (why == ERR_TIMEOUT && !was_ended)
        server_end_with_421(server, why, "4.4.2", err_sentence(why));
    server->is_half_closed = why == ERR_END && has_said_goodbye(server);
    if (!server->is_half_closed)
        close_with(server, why == ERR_END && was_ended ? server->end_why : why);
    leave(server);
}

static const struct conn_handlers conn_events = {
    .on_ready = on_conn_ready, .on_input = on_conn_change, .on_drain = on_conn_change, .on_close = on_conn_close};

enum err smtp_server_new(const struct smtp_server_options *options, int fd, struct smtp_server **server_out)
{
    *server_out = NULL;
    struct smtp_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        close(fd);
        return ERR_MEMORY;
    }
    server->options = *options;
    server->message_fd = -1;
    server->input = SERVER_INPUT_HANDSHAKE;
    buf_init_secret(&server->line, SMTP_AUTH_LINE_MAX);
    buf_init(&server->decoded, DECODED_MAX);
    const struct conn_options conn_options = {.base = options->base,
                                              .handlers = &conn_events,
                                              .owner = server,
                                              .input_max = INPUT_MAX,
                                              .output_max = OUTPUT_MAX};
    server->wake = event_new(options->base, -1, 0, on_wake, server);
    enum err err = ERR_MEMORY;
    if (server->wake == NULL)
        close(fd);
    else
        err = conn_accept(&conn_options, fd, options->is_tls_implicit ? options->tls : NULL, &server->conn);
    if (err != ERR_OK) {
        destroy(server);
        return err;
    }
    conn_set_timeout(server->conn, options->command_timeout_ms);
    *server_out = server;
    return ERR_OK;
}

void smtp_server_free(struct smtp_server **server_ref)
{
    struct smtp_server *server = *server_ref;
    *server_ref = NULL;
    if (server == NULL)
        return;
    server->is_freed = true;
    if (server->depth == 0)
        destroy(server);
}

/* What the owner's answer to `verb` changes. */
static void apply_answer(struct smtp_server *server, enum smtp_verb verb, const struct smtp_reply *reply)
{
    bool is_ok = smtp_reply_is_ok(reply);
    switch (verb) {
    case SMTP_AUTH:
        server->is_authenticated = reply->code == 235;
        break;
    case SMTP_MAIL:
        server->is_mail_refused = !is_ok;
        if (is_ok)
            server->state = SERVER_MAIL;
        break;
    case SMTP_RCPT:
        if (is_ok) {
            server->state = SERVER_RCPT;
            server->recipients++;
        }
        break;
    case SMTP_DATA:
    case SMTP_BDAT:
        server_end_transaction(server);
        break;
    default:
        break;
    }
}

/* An answer is out: ends the session if that was wanted, or goes on with what the client has sent meanwhile. */
static void go_on(struct smtp_server *server)
{
    if (server->must_end)
        smtp_server_shutdown(server, server->end_why, server->end_detail[0] == '\0' ? NULL : server->end_detail);
    else if (!server->is_running)
        event_active(server->wake, 0, 0);
}

void smtp_server_reply(struct smtp_server *server, const struct smtp_reply *reply)
{
    enum smtp_verb verb = server->open;
    if (verb == SMTP_UNKNOWN) {
        log_debug("%s: an answer to no command is dropped: %d", conn_peer(server->conn), reply->code);
        return;
    }
    server->open = SMTP_UNKNOWN;
    apply_answer(server, verb, reply);
    server_read(server, SERVER_INPUT_COMMAND);
    server_say(server, reply);
    if (reply->code == 421)
        server_end(server, ERR_UPSTREAM_LOST);
    else if (verb == SMTP_AUTH && reply->code / 100 == 5)
        server_count_bad(server); /* or a client could try passwords for ever */
    go_on(server);
}

void smtp_server_reply_text(struct smtp_server *server, int code, const char *enhanced, const char *text)
{
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    if (smtp_reply_set(&reply, code, enhanced, text) == ERR_OK)
        smtp_server_reply(server, &reply);
    else
        server_end(server, ERR_MEMORY);
    smtp_reply_fini(&reply);
}

void smtp_server_fail(struct smtp_server *server, enum err err, const char *detail)
{
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    if (smtp_reply_of_err(&reply, err, detail) == ERR_OK)
        smtp_server_reply(server, &reply);
    else
        server_end(server, ERR_MEMORY);
    smtp_reply_fini(&reply);
}

void smtp_server_shutdown(struct smtp_server *server, enum err why, const char *detail)
{
    const struct err_entry *entry = err_entry(why);
    if (server->input == SERVER_INPUT_ENDED)
        return;
    if (server->open != SMTP_UNKNOWN) {
        server->must_end = true;
        server->end_why = why;
        snprintf(server->end_detail, sizeof server->end_detail, "%s", detail == NULL ? "" : detail);
        return;
    }
    /* 421 is a temporary failure, and so must be the code beside it. */
    const char *enhanced = entry->enhanced[0] == '4' ? entry->enhanced : "4.3.2";
    server_end_with_421(server, why, enhanced, detail == NULL ? entry->sentence : detail);
}

bool smtp_server_is_authenticated(const struct smtp_server *server)
{
    return server->is_authenticated;
}

bool smtp_server_is_waiting(const struct smtp_server *server)
{
    return server->open != SMTP_UNKNOWN;
}

struct conn *smtp_server_conn(struct smtp_server *server)
{
    return server->conn;
}

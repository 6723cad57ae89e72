/*
 * A session's life: it greets when it is told to, runs while there is input and nobody is waited for, and ends with
 * on_close. Everything that could surprise an owner (on_close, the next command after a late answer) happens from the
 * loop.
 */
#include "imap/server_internal.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX 65536u
#define OUTPUT_MAX ((size_t)64 << 20) /* the owner stops long before; one response may be this long */
#define OUTPUT_PAUSE 262144u          /* a client that does not read its answers gives no more commands */
#define HELD_MAX 65536u
#define LINE_KEPT_MAX 1024u /* an idle session shall be small */
#define END_TIMEOUT_MS 10000u

static void destroy(struct imap_server *server)
{
    if (server->wake != NULL)
        event_free(server->wake);
    /* After on_close the last words may still be on their way out. */
    if (server->is_closed && !server->is_end_forced)
        conn_finish(&server->conn);
    else
        conn_free(&server->conn);
    imap_server_drop_command(server);
    imap_splitter_fini(&server->splitter);
    buf_fini(&server->shown);
    buf_fini(&server->held);
    free(server);
}

static void enter(struct imap_server *server)
{
    server->depth++;
}

static void leave(struct imap_server *server)
{
    if (--server->depth == 0 && server->is_freed)
        destroy(server);
}

static void close_with(struct imap_server *server, enum err why)
{
    if (server->is_closed || server->is_freed)
        return;
    server->is_closed = true;
    server->input = SERVER_INPUT_ENDED;
    imap_server_drop_command(server);
    server->options.handlers->on_close(server, why, server->options.owner);
}

/* Before login one stretch of time for all of it; then one for each command. While the owner works the client is not
   late, unless it does not take what it is sent. */
static uint32_t timeout_of(const struct imap_server *server)
{
    if (server->input == SERVER_INPUT_ENDED)
        return END_TIMEOUT_MS;
    if (server->state == IMAP_STATE_NEW)
        return server->options.login_timeout_ms;
    bool is_waiting_for_us = server->open_len > 0 && server->input != SERVER_INPUT_IDLE;
    return is_waiting_for_us && conn_output_len(server->conn) == 0 ? 0 : server->options.command_timeout_ms;
}

void imap_server_set_timeout(struct imap_server *server, bool is_progress)
{
    uint32_t timeout_ms = timeout_of(server);
    if (timeout_ms == server->timeout_ms && (!is_progress || server->state == IMAP_STATE_NEW))
        return;
    server->timeout_ms = timeout_ms;
    conn_set_timeout(server->conn, timeout_ms);
}

void imap_server_read(struct imap_server *server, enum server_input input)
{
    if (server->input == SERVER_INPUT_ENDED)
        return;
    server->input = input;
    imap_server_set_timeout(server, false);
    conn_doing(server->conn, input == SERVER_INPUT_HANDSHAKE ? "starting TLS"
                             : input == SERVER_INPUT_IDLE    ? "IDLE"
                                                             : "waiting for a command");
}

void imap_server_restart_splitter(struct imap_server *server)
{
    bool is_new = server->state == IMAP_STATE_NEW;
    imap_splitter_fini(&server->splitter);
    imap_splitter_init(&server->splitter, is_new ? SERVER_TEXT_MAX_NEW : server->options.command_max, true);
}

void imap_server_end(struct imap_server *server, enum err why)
{
    if (server->input == SERVER_INPUT_ENDED)
        return;
    server->end_why = why;
    imap_server_read(server, SERVER_INPUT_ENDED);
    /* on_close comes with the last byte of output; where there is none, from the loop. */
    event_active(server->wake, 0, 0);
}

void imap_server_end_forced(struct imap_server *server, enum err why)
{
    server->is_end_forced = true;
    imap_server_end(server, why);
}

void imap_server_end_with_bye(struct imap_server *server, enum err why, const char *text)
{
    const struct err_entry *entry = err_entry(why);
    if (server->input == SERVER_INPUT_ENDED)
        return;
    if (server->input == SERVER_INPUT_HANDSHAKE) {
        imap_server_end_forced(server, why);
        return;
    }
    /* Within a literal nothing can be said that would not be taken for its content: what was said so far still goes
       out, and then the end is all there is (RFC 3501 has no other way). */
    if (server->is_half) {
        log_info("%s: the connection ends within a response", conn_peer(server->conn));
        imap_server_end(server, why);
        return;
    }
    imap_server_sayf(server, "* BYE %s%s%s%s\r\n", entry->imap_code == NULL ? "" : "[",
                     entry->imap_code == NULL ? "" : entry->imap_code, entry->imap_code == NULL ? "" : "] ",
                     text == NULL ? entry->sentence : text);
    imap_server_end(server, why);
}

void imap_server_shutdown(struct imap_server *server, enum err why, const char *text)
{
    imap_server_end_with_bye(server, why, text);
}

static enum err take_step(struct imap_server *server)
{
    struct span line;
    if (server->input != SERVER_INPUT_AUTH && server->input != SERVER_INPUT_IDLE)
        return imap_server_take_unit(server);
    enum err err = imap_server_take_line(server, &line);
    if (err != ERR_OK)
        return err;
    if (server->input == SERVER_INPUT_AUTH) {
        imap_server_take_auth_line(server, line);
    } else {
        server->is_idle_spoilt = !span_is_case_equal(line, SPAN_LIT("DONE"));
        imap_server_read(server, SERVER_INPUT_TEXT);
        server->options.handlers->on_idle_done(server, server->options.owner);
    }
    return ERR_OK;
}

static bool may_go_on(const struct imap_server *server)
{
    /* While somebody waits in IDLE or in a login dialogue only their next line is wanted. */
    bool is_dialogue = server->input == SERVER_INPUT_AUTH || server->input == SERVER_INPUT_IDLE;
    return server->has_greeted && !server->is_freed && server->input < SERVER_INPUT_HANDSHAKE &&
           (is_dialogue ||
            (!server->is_paused && server->login_tag[0] == '\0' && conn_output_len(server->conn) < OUTPUT_PAUSE));
}

/* From the loop only. */
static void run(struct imap_server *server)
{
    bool has_moved = false;
    enter(server);
    server->is_running = true;
    while (may_go_on(server) && take_step(server) == ERR_OK)
        has_moved = true;
    server->is_running = false;
    if (server->is_freed) {
        leave(server);
        return;
    }
    if (has_moved)
        imap_server_set_timeout(server, true);
    if (server->splitter.line.capacity > LINE_KEPT_MAX)
        buf_fini(&server->splitter.line);
    if (server->input == SERVER_INPUT_ENDED && (server->is_end_forced || conn_output_len(server->conn) == 0))
        close_with(server, server->end_why);
    leave(server);
}

static void on_wake(int fd, short what, void *context)
{
    (void)fd, (void)what;
    run(context);
}

void imap_server_go_on(struct imap_server *server)
{
    if (!server->is_running)
        event_active(server->wake, 0, 0);
}

/* greeting = "*" SP "OK" SP "[CAPABILITY ...]" SP text */
static void greet(struct imap_server *server)
{
    struct buf words;
    if (!server->is_ready || !server->may_greet || server->has_greeted || server->input == SERVER_INPUT_ENDED)
        return;
    buf_init(&words, SERVER_SHOWN_MAX);
    if (imap_server_offer(server, &words) == ERR_OK) {
        server->has_greeted = true;
        imap_server_read(server, SERVER_INPUT_TEXT);
        imap_server_sayf(server, "* OK [CAPABILITY %s] privyseal ready\r\n", words.data);
    } else {
        imap_server_end_forced(server, ERR_MEMORY);
    }
    buf_fini(&words);
}

void imap_server_greet(struct imap_server *server, sasl_set mechanisms)
{
    server->mechanisms = mechanisms;
    server->may_greet = true;
    greet(server);
    imap_server_go_on(server);
}

static void on_conn_ready(struct conn *conn, void *owner)
{
    struct imap_server *server = owner;
    (void)conn;
    if (server->input == SERVER_INPUT_ENDED)
        return;
    server->is_ready = true;
    if (server->has_greeted) {
        /* RFC 3501 §6.2.1: what was said in clear has not been said. */
        imap_server_restart_splitter(server);
        imap_server_read(server, SERVER_INPUT_TEXT);
    }
    greet(server);
    run(server);
}

static void on_conn_input(struct conn *conn, void *owner)
{
    (void)conn;
    run(owner);
}

static void on_conn_drain(struct conn *conn, void *owner)
{
    struct imap_server *server = owner;
    (void)conn;
    enter(server);
    imap_server_set_timeout(server, true);
    if (server->input != SERVER_INPUT_ENDED && server->options.handlers->on_drain != NULL)
        server->options.handlers->on_drain(server, server->options.owner);
    if (!server->is_freed)
        run(server);
    leave(server);
}

static void on_conn_close(struct conn *conn, enum err why, void *owner)
{
    struct imap_server *server = owner;
    (void)conn;
    enter(server);
    bool was_ended = server->input == SERVER_INPUT_ENDED;
    if (why == ERR_TIMEOUT && !was_ended)
        imap_server_end_with_bye(server, why, "Disconnected for inactivity");
    close_with(server, why == ERR_END && was_ended ? server->end_why : why);
    leave(server);
}

static const struct conn_handlers conn_events = {
    .on_ready = on_conn_ready, .on_input = on_conn_input, .on_drain = on_conn_drain, .on_close = on_conn_close};

enum err imap_server_new(const struct imap_server_options *options, int fd, struct imap_server **server_out)
{
    *server_out = NULL;
    struct imap_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        close(fd);
        return ERR_MEMORY;
    }
    server->options = *options;
    server->literal_fd = -1;
    server->input = SERVER_INPUT_HANDSHAKE;
    buf_init(&server->shown, SERVER_SHOWN_MAX);
    buf_init(&server->held, HELD_MAX);
    imap_server_restart_splitter(server);
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
    imap_server_set_timeout(server, false);
    *server_out = server;
    return ERR_OK;
}

void imap_server_free(struct imap_server **server_ref)
{
    struct imap_server *server = *server_ref;
    *server_ref = NULL;
    if (server == NULL)
        return;
    server->is_freed = true;
    if (server->depth == 0)
        destroy(server);
}

/* What would be too much is left out, whole words of it. */
void imap_server_set_capabilities(struct imap_server *server, struct span words)
{
    if (words.len > SERVER_SHOWN_MAX) {
        words.len = SERVER_SHOWN_MAX;
        while (words.len > 0 && words.ptr[words.len] != ' ')
            words.len--;
    }
    buf_clear(&server->shown);
    enum err err = buf_add_span(&server->shown, words);
    if (err != ERR_OK)
        log_failure(err, "%s: the capabilities are not shown", conn_peer(server->conn));
}

void imap_server_set_state(struct imap_server *server, enum imap_server_state state)
{
    bool was_new = server->state == IMAP_STATE_NEW;
    server->state = state;
    if (was_new && state != IMAP_STATE_NEW) {
        server->bad_commands = 0;
        imap_server_restart_splitter(server);
    }
    imap_server_set_timeout(server, was_new);
}

enum imap_server_state imap_server_get_state(const struct imap_server *server)
{
    return server->state;
}

void imap_server_pause(struct imap_server *server)
{
    server->is_paused = true;
}

void imap_server_resume(struct imap_server *server)
{
    if (!server->is_paused)
        return;
    server->is_paused = false;
    imap_server_go_on(server);
}

struct conn *imap_server_conn(struct imap_server *server)
{
    return server->conn;
}

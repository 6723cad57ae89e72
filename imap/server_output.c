/*
 * What is said to the client. The owner passes responses on in pieces (text, literals, text); what is said from in here
 * must not fall between them, so the pieces are followed: a fragment that ends with a literal's mark, or without its
 * CRLF, leaves the response half said.
 */
#include "imap/server_internal.h"

#include "base/base64.h"
#include "base/log.h"

#include <string.h>

#define BAD_COMMANDS_MAX 20u
#define LINE_MAX_OUT 65536u

static bool is_over(const struct imap_server *server)
{
    return server->is_closed || server->is_freed || server->input == SERVER_INPUT_ENDED;
}

static void write_now(struct imap_server *server, struct span bytes)
{
    bool was_empty = conn_output_len(server->conn) == 0;
    enum err err = conn_write(server->conn, bytes);
    if (err != ERR_OK) {
        log_info("%s: answering: %s", conn_peer(server->conn), err_sentence(err));
        /* A response that is missing would put all later ones in the wrong place. */
        imap_server_end_forced(server, ERR_UPSTREAM_LOST);
    } else if (was_empty) {
        imap_server_set_timeout(server, false);
    }
}

static void release_held(struct imap_server *server)
{
    if (server->is_half || server->held.len == 0)
        return;
    write_now(server, buf_span(&server->held));
    buf_fini(&server->held);
}

void imap_server_say(struct imap_server *server, struct span bytes)
{
    if (is_over(server))
        return;
    if (!server->is_half)
        write_now(server, bytes);
    else if (buf_add_span(&server->held, bytes) != ERR_OK)
        imap_server_end_forced(server, ERR_LIMIT);
}

void imap_server_sayf(struct imap_server *server, const char *format, ...)
{
    va_list arguments;
    struct buf line;
    buf_init(&line, LINE_MAX_OUT);
    va_start(arguments, format);
    enum err err = buf_addv(&line, format, arguments);
    va_end(arguments);
    if (err == ERR_OK)
        imap_server_say(server, buf_span(&line));
    else
        imap_server_end_forced(server, err);
    buf_fini(&line);
}

void imap_server_say_status(struct imap_server *server, const char *tag, const char *status, const char *code,
                            const char *text)
{
    imap_server_sayf(server, "%s %s %s%s%s%s\r\n", tag[0] == '\0' ? "*" : tag, status, code == NULL ? "" : "[",
                     code == NULL ? "" : code, code == NULL ? "" : "] ", text);
}

/* RFC 3501 §7.1.3: BAD is for what the client should not have sent; NO for what cannot be done. */
static bool is_clients_fault(enum err err)
{
    return (err >= ERR_COMMAND_UNKNOWN && err <= ERR_LINE_TOO_LONG) || err == ERR_AUTH_CANCELLED;
}

static void count(struct imap_server *server, bool is_bad)
{
    /* Before login nothing is forgiven, or passwords could be tried for ever. */
    if (!is_bad && server->state != IMAP_STATE_NEW)
        server->bad_commands = 0;
    if (is_bad && ++server->bad_commands == BAD_COMMANDS_MAX)
        imap_server_end_with_bye(server, ERR_BUSY, "Too many invalid commands");
}

static void say_err(struct imap_server *server, const char *tag, enum err err)
{
    const struct err_entry *entry = err_entry(err);
    /* RFC 4469 §4.2 has a word of its own for this. */
    const char *code = err == ERR_TOO_BIG ? "TOOBIG" : entry->imap_code;
    imap_server_say_status(server, tag, is_clients_fault(err) ? "BAD" : "NO", code, entry->sentence);
}

void imap_server_say_err(struct imap_server *server, const char *tag, enum err err)
{
    say_err(server, tag, err);
    count(server, is_clients_fault(err) || err == ERR_AUTH_FAILED);
}

/* ---- what the owner says ---- */

/* Responses that are text alone: braces at their end mean nothing (RFC 3501 §9: resp-cond-state, resp-cond-bye). */
static bool is_status(struct span line)
{
    return !span_has_prefix(line, SPAN_LIT("* ")) || span_has_case_prefix(line, SPAN_LIT("* OK ")) ||
           span_has_case_prefix(line, SPAN_LIT("* NO ")) || span_has_case_prefix(line, SPAN_LIT("* BAD ")) ||
           span_has_case_prefix(line, SPAN_LIT("* BYE "));
}

static void follow_literal(struct imap_server *server, size_t len)
{
    server->output_literal_left -= len < server->output_literal_left ? len : server->output_literal_left;
    server->is_half = true;
}

static void follow_text(struct imap_server *server, struct span text)
{
    while (text.len > 0) {
        if (server->output_literal_left > 0) {
            size_t len = text.len < server->output_literal_left ? text.len : (size_t)server->output_literal_left;
            follow_literal(server, len);
            text = span_skip(text, len);
            continue;
        }
        struct span line = span_slice(text, 0, span_find_byte(text, 0, '\n') + 1);
        struct imap_literal_mark mark = {0};
        if ((server->is_half || !is_status(line)) && imap_literal_mark(line, &mark) == ERR_OK && mark.is_there)
            server->output_literal_left = mark.len;
        server->is_half = mark.is_there || line.ptr[line.len - 1] != '\n';
        text = span_skip(text, line.len);
    }
}

void imap_server_write(struct imap_server *server, struct span bytes)
{
    if (is_over(server))
        return;
    write_now(server, bytes);
    follow_text(server, bytes);
    release_held(server);
}

void imap_server_move(struct imap_server *server, struct evbuffer *source, size_t count_moved)
{
    bool was_empty = conn_output_len(server->conn) == 0;
    if (is_over(server)) {
        evbuffer_drain(source, count_moved);
        return;
    }
    enum err err = conn_move(server->conn, source, count_moved);
    if (err != ERR_OK)
        imap_server_end_forced(server, err);
    follow_literal(server, count_moved);
    if (was_empty)
        imap_server_set_timeout(server, false);
}

void imap_server_lend(struct imap_server *server, struct span bytes, void (*release)(void *context), void *context)
{
    bool was_empty = conn_output_len(server->conn) == 0;
    if (is_over(server)) {
        release(context);
        return;
    }
    enum err err = conn_lend(server->conn, bytes, release, context);
    if (err != ERR_OK)
        imap_server_end_forced(server, err);
    follow_literal(server, bytes.len);
    if (was_empty)
        imap_server_set_timeout(server, false);
}

size_t imap_server_output_len(const struct imap_server *server)
{
    return conn_output_len(server->conn) + server->held.len;
}

/* What an answer of the owner's changes. `tag` may be the one that is kept here, so this comes after it was said. */
static void apply_answer(struct imap_server *server, const char *tag, bool is_ok)
{
    if (server->login_tag[0] != '\0' && strcmp(tag, server->login_tag) == 0) {
        server->login_tag[0] = '\0';
        imap_server_read(server, SERVER_INPUT_TEXT);
        if (is_ok)
            imap_server_set_state(server, IMAP_STATE_AUTHENTICATED);
        return;
    }
    if (server->open_len > 0)
        server->open_len--;
    if (server->input == SERVER_INPUT_IDLE && strcmp(tag, server->idle_tag) == 0)
        imap_server_read(server, SERVER_INPUT_TEXT);
}

/* An IDLE that the client ended with something else than DONE is BAD, whatever the upstream server said of ours. */
static bool is_spoilt(struct imap_server *server, const char *tag)
{
    if (!server->is_idle_spoilt || strcmp(tag, server->idle_tag) != 0)
        return false;
    server->is_idle_spoilt = false;
    return true;
}

static void end_answer(struct imap_server *server, bool is_bad)
{
    count(server, is_bad);
    imap_server_set_timeout(server, true);
    imap_server_go_on(server);
}

void imap_server_done(struct imap_server *server, const char *tag, enum imap_status status, const char *code,
                      const char *text)
{
    static const char *const names[] = {"OK", "NO", "BAD"};
    bool was_login = server->login_tag[0] != '\0' && strcmp(tag, server->login_tag) == 0;
    if (is_over(server))
        return;
    if (is_spoilt(server, tag)) {
        imap_server_fail(server, tag, ERR_COMMAND_SYNTAX);
        return;
    }
    imap_server_say_status(server, tag, names[status], code, text == NULL ? err_sentence(ERR_OK) : text);
    apply_answer(server, tag, status == IMAP_OK);
    end_answer(server, status == IMAP_BAD || (was_login && status == IMAP_NO));
}

void imap_server_fail(struct imap_server *server, const char *tag, enum err err)
{
    bool was_login = server->login_tag[0] != '\0' && strcmp(tag, server->login_tag) == 0;
    if (is_over(server))
        return;
    say_err(server, tag, err);
    apply_answer(server, tag, false);
    end_answer(server, is_clients_fault(err) || (was_login && err == ERR_AUTH_FAILED));
}

void imap_server_done_line(struct imap_server *server, const char *tag, struct span rest)
{
    bool is_ok = span_has_case_prefix(rest, SPAN_LIT("OK"));
    bool is_bad = span_has_case_prefix(rest, SPAN_LIT("BAD"));
    bool was_login = server->login_tag[0] != '\0' && strcmp(tag, server->login_tag) == 0;
    if (is_over(server))
        return;
    if (is_spoilt(server, tag)) {
        imap_server_fail(server, tag, ERR_COMMAND_SYNTAX);
        return;
    }
    imap_server_say(server, span_of(tag));
    imap_server_say(server, SPAN_LIT(" "));
    imap_server_say(server, rest);
    apply_answer(server, tag, is_ok);
    end_answer(server, is_bad || (was_login && !is_ok));
}

/* continue-req = "+" SP (resp-text / base64) CRLF */
void imap_server_challenge(struct imap_server *server, struct span challenge)
{
    struct buf line;
    if (is_over(server) || server->login_tag[0] == '\0')
        return;
    buf_init(&line, SERVER_TEXT_MAX_NEW);
    enum err err = buf_add_string(&line, "+ ");
    if (err == ERR_OK)
        err = base64_encode(challenge, &line);
    if (err == ERR_OK)
        err = buf_add_string(&line, "\r\n");
    if (err == ERR_OK) {
        imap_server_read(server, SERVER_INPUT_AUTH);
        imap_server_say(server, buf_span(&line));
        imap_server_go_on(server);
    } else {
        imap_server_fail(server, server->login_tag, err);
    }
    buf_fini(&line);
}

/* idle = "IDLE" CRLF "DONE" (RFC 2177) */
void imap_server_idle(struct imap_server *server)
{
    if (is_over(server))
        return;
    imap_server_read(server, SERVER_INPUT_IDLE);
    imap_server_say(server, SPAN_LIT("+ idling\r\n"));
    imap_server_go_on(server);
}

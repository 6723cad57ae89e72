/*
 * One IMAP server session over a socket pair, with an owner that answers by script and writes down what it was told.
 * For test_imap_server*.c.
 */
#ifndef TESTS_IMAP_SESSION_H
#define TESTS_IMAP_SESSION_H

#include "peer.h"

#include "base/memfd.h"
#include "imap/server.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSION_SHOWN "IMAP4rev1 LITERAL+ IDLE ENABLE UIDPLUS MOVE UNSELECT COMPRESS=DEFLATE"
#define SESSION_GREETING "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN AUTH=LOGIN] privyseal ready\r\n"

struct session {
    struct event_base *base;
    struct imap_server *server;
    struct peer peer;      /* the client's end */
    bool is_deferring;     /* the owner does not answer; the test does */
    bool frees_in_handler; /* imap_server_free from within on_command */
    enum err literal_err;  /* the owner's word on each literal */
    struct imap_server_options options;
    struct buf told;                /* what the owner was told: "command a SELECT ..." */
    char open[4][IMAP_TAG_MAX + 1]; /* tags that wait for an answer, while deferring */
    size_t open_len;
    unsigned drains;
};

static inline void session_note(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void session_note(struct session *session, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    assert_int_equal(buf_addv(&session->told, format, arguments), ERR_OK);
    va_end(arguments);
}

static inline void session_login_answer(struct imap_server *server, const char *tag, struct span password)
{
    if (span_is_equal(password, SPAN_LIT("good"))) {
        imap_server_set_capabilities(server, SPAN_LIT(SESSION_SHOWN));
        imap_server_done(server, tag, IMAP_OK, NULL, "in");
    } else {
        imap_server_fail(server, tag, ERR_AUTH_FAILED);
    }
}

static inline void session_on_login(struct imap_server *server, const char *tag, struct span user, struct span password,
                                    void *owner)
{
    struct session *session = owner;
    session_note(session, "login %s %.*s %.*s;", tag, (int)user.len, user.ptr, (int)password.len, password.ptr);
    if (!session->is_deferring)
        session_login_answer(server, tag, password);
}

static inline void session_on_authenticate(struct imap_server *server, const char *tag, enum sasl_mechanism mechanism,
                                           bool has_initial, struct span initial, void *owner)
{
    struct session *session = owner;
    session_note(session, "auth %s %s %s%.*s;", tag, sasl_name(mechanism), has_initial ? "=" : "-", (int)initial.len,
                 initial.ptr == NULL ? "" : initial.ptr);
    snprintf(session->open[0], sizeof session->open[0], "%s", tag);
    if (!has_initial)
        imap_server_challenge(server, SPAN_LIT("Who?"));
    else
        session_login_answer(server, tag, initial);
}

static inline void session_on_auth_response(struct imap_server *server, struct span response, void *owner)
{
    struct session *session = owner;
    session_note(session, "response %.*s;", (int)response.len, response.ptr);
    session_login_answer(server, session->open[0], response);
}

static inline void session_on_auth_cancel(struct imap_server *server, void *owner)
{
    (void)server;
    session_note(owner, "cancel;");
}

static inline enum err session_on_literal(struct imap_server *server, const struct imap_command *command,
                                          const struct imap_literal_mark *mark, void *owner)
{
    struct session *session = owner;
    (void)server;
    session_note(session, "literal %s %llu%s%s;", command->tag, (unsigned long long)mark->len, mark->is_sync ? "" : "+",
                 mark->is_binary ? "~" : "");
    return session->literal_err;
}

/* Writes the command down, with the content of its literals between < and >. */
static inline void session_note_command(struct session *session, struct imap_command *command)
{
    struct span text = buf_span(&command->unit.text);
    assert_ptr_equal(command->line.ptr + command->line.len, text.ptr + text.len);
    session_note(session, "command %s ", command->tag);
    assert_int_equal(buf_add_span(&session->told, command->line), ERR_OK);
    buf_truncate(&session->told, session->told.len - 2);
    struct span rest = imap_rest(&command->arguments);
    session_note(session, " (%.*s)", rest.len < 99 ? (int)rest.len : 99, rest.ptr);
    for (size_t i = 0; i < command->unit.literals_len; i++) {
        struct span content;
        if (command->unit.literals[i].place != IMAP_LITERAL_FILE)
            continue;
        int fd = imap_unit_take_file(&command->unit, i);
        assert_int_equal(memfd_map(fd, SIZE_MAX / 2, &content), ERR_OK);
        assert_int_equal(content.len, command->unit.literals[i].len);
        session_note(session, " file %zu %c%c", content.len, content.ptr[0], content.ptr[content.len - 1]);
        memfd_unmap(&content);
        close(fd);
    }
    session_note(session, ";");
}

static inline void session_on_command(struct imap_server *server, struct imap_command *command, void *owner)
{
    struct session *session = owner;
    session_note_command(session, command);
    if (session->frees_in_handler) {
        imap_server_free(&session->server);
    } else if (session->is_deferring) {
        assert_true(session->open_len < 4);
        memcpy(session->open[session->open_len++], command->tag, sizeof command->tag);
    } else if (command->verb == IMAP_IDLE) {
        memcpy(session->open[0], command->tag, sizeof command->tag);
        imap_server_idle(server);
    } else {
        if (command->verb == IMAP_SELECT)
            imap_server_set_state(server, IMAP_STATE_SELECTED);
        imap_server_done(server, command->tag, IMAP_OK, NULL, "done");
    }
    imap_command_free(&command);
}

static inline void session_on_idle_done(struct imap_server *server, void *owner)
{
    struct session *session = owner;
    session_note(session, "done;");
    if (!session->is_deferring)
        imap_server_done(server, session->open[0], IMAP_OK, NULL, "idled");
}

static inline void session_on_drain(struct imap_server *server, void *owner)
{
    struct session *session = owner;
    (void)server;
    session->drains++;
}

static inline void session_on_logout(struct imap_server *server, void *owner)
{
    (void)server;
    session_note(owner, "logout;");
}

static inline void session_on_close(struct imap_server *server, enum err why, void *owner)
{
    struct session *session = owner;
    (void)server;
    session_note(session, "close %s;", err_name(why));
    imap_server_free(&session->server);
}

static const struct imap_server_handlers session_handlers = {.on_login = session_on_login,
                                                             .on_authenticate = session_on_authenticate,
                                                             .on_auth_response = session_on_auth_response,
                                                             .on_auth_cancel = session_on_auth_cancel,
                                                             .on_literal = session_on_literal,
                                                             .on_command = session_on_command,
                                                             .on_idle_done = session_on_idle_done,
                                                             .on_drain = session_on_drain,
                                                             .on_logout = session_on_logout,
                                                             .on_close = session_on_close};

/* In clear, small limits; a test changes what it wants before session_start. */
static inline void session_init(struct session *session)
{
    *session = (struct session){.base = event_base_new()};
    peer_init(&session->peer, session->base);
    session->options = (struct imap_server_options){.base = session->base,
                                                    .handlers = &session_handlers,
                                                    .owner = session,
                                                    .may_auth_in_clear = true,
                                                    .literal_max = 1000000,
                                                    .command_max = 1 << 20,
                                                    .command_timeout_ms = 1800000,
                                                    .login_timeout_ms = 60000};
    buf_init(&session->told, 1 << 22);
}

static inline void session_send(struct session *session, const char *text)
{
    peer_send(&session->peer, span_of(text));
}

static inline void session_talk(struct session *session, const char *commands, const char *answers)
{
    session_send(session, commands);
    peer_expect(&session->peer, answers);
}

static inline void session_expect_told(struct session *session, const char *told)
{
    assert_string_equal(session->told.data, told);
    buf_clear(&session->told);
}

/* Connects without greeting. */
static inline void session_connect(struct session *session)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    session->peer.fd = ends[1];
    assert_int_equal(imap_server_new(&session->options, ends[0], &session->server), ERR_OK);
}

static inline void session_start(struct session *session)
{
    session_connect(session);
    imap_server_greet(session->server, 1u << SASL_PLAIN | 1u << SASL_LOGIN);
    peer_expect(&session->peer, SESSION_GREETING);
}

static inline void session_log_in(struct session *session)
{
    session_start(session);
    session_talk(session, "l LOGIN me good\r\n", "l OK in\r\n");
    buf_clear(&session->told);
}

static inline void session_select(struct session *session)
{
    session_log_in(session);
    session_talk(session, "s SELECT x\r\n", "s OK done\r\n");
    buf_clear(&session->told);
}

static inline void session_fini(struct session *session)
{
    imap_server_free(&session->server);
    peer_close(&session->peer);
    peer_run(&session->peer);
    peer_fini(&session->peer);
    buf_fini(&session->told);
    event_base_free(session->base);
}

#endif

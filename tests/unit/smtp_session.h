/*
 * One SMTP server session over a socket pair, with an owner that answers by script and writes down what it was told.
 * For test_smtp_server*.c.
 */
#ifndef TESTS_SMTP_SESSION_H
#define TESTS_SMTP_SESSION_H

#include "peer.h"

#include "base/memfd.h"
#include "smtp/server.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct session {
    struct event_base *base;
    struct smtp_server *server;
    struct peer peer;      /* the client's end */
    bool is_deferring;     /* the owner does not answer; the test does */
    bool frees_in_handler; /* smtp_server_free from within on_mail */
    int mail_code, rcpt_code, message_code;
    struct smtp_features features;
    struct smtp_server_options options;
    struct buf told; /* what the owner was told: "hello;mail a@b;" */
    struct buf message;
    struct smtp_mail mail;
};

static inline void session_note(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void session_note(struct session *session, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    assert_int_equal(buf_addv(&session->told, format, arguments), ERR_OK);
    va_end(arguments);
}

static inline void session_answer(struct session *session, int code)
{
    if (!session->is_deferring)
        smtp_server_reply_text(session->server, code, NULL, "said");
}

static inline void session_on_hello(struct smtp_server *server, void *owner)
{
    struct session *session = owner;
    session_note(session, "hello;");
    if (!session->is_deferring)
        smtp_server_hello(server, &session->features);
}

/* The password is "good"; LOGIN asks twice. */
static inline void session_on_auth(struct smtp_server *server, enum sasl_mechanism mechanism, bool has_initial,
                                   struct span initial, void *owner)
{
    struct session *session = owner;
    session_note(session, "auth %s %s%.*s;", sasl_name(mechanism), has_initial ? "=" : "-", (int)initial.len,
                 initial.ptr == NULL ? "" : initial.ptr);
    if (session->is_deferring)
        return;
    if (!has_initial)
        smtp_server_challenge(server, SPAN_LIT("Who?"));
    else
        smtp_server_reply_text(server, span_is_equal(initial, SPAN_LIT("good")) ? 235 : 535, NULL, "said");
}

static inline void session_on_auth_response(struct smtp_server *server, struct span response, void *owner)
{
    struct session *session = owner;
    session_note(session, "response %.*s;", (int)response.len, response.ptr);
    smtp_server_reply_text(server, span_is_equal(response, SPAN_LIT("good")) ? 235 : 535, NULL, "said");
}

static inline void session_on_auth_cancel(struct smtp_server *server, void *owner)
{
    (void)server;
    session_note(owner, "cancel;");
}

static inline void session_on_mail(struct smtp_server *server, const struct smtp_mail *mail, void *owner)
{
    struct session *session = owner;
    (void)server;
    session->mail = *mail;
    session_note(session, "mail %s;", mail->from.path);
    if (session->frees_in_handler)
        smtp_server_free(&session->server);
    else
        session_answer(session, session->mail_code);
}

static inline void session_on_rcpt(struct smtp_server *server, const struct smtp_rcpt *rcpt, void *owner)
{
    struct session *session = owner;
    (void)server;
    session_note(session, "rcpt %s;", rcpt->to.path);
    session_answer(session, strncmp(rcpt->to.path, "bad", 3) == 0 ? 550 : session->rcpt_code);
}

static inline void session_on_message(struct smtp_server *server, int fd, size_t size, void *owner)
{
    struct session *session = owner;
    struct span content;
    (void)server;
    assert_int_equal(memfd_map(fd, size, &content), ERR_OK);
    assert_int_equal(content.len, size);
    buf_clear(&session->message);
    assert_int_equal(buf_add_span(&session->message, content), ERR_OK);
    memfd_unmap(&content);
    close(fd);
    session_note(session, "message %zu;", size);
    session_answer(session, session->message_code);
}

static inline void session_on_reset(struct smtp_server *server, void *owner)
{
    (void)server;
    session_note(owner, "reset;");
}

static inline void session_on_close(struct smtp_server *server, enum err why, void *owner)
{
    struct session *session = owner;
    (void)server;
    session_note(session, "close %s;", err_name(why));
    smtp_server_free(&session->server);
}

static const struct smtp_server_handlers session_handlers = {.on_hello = session_on_hello,
                                                             .on_auth = session_on_auth,
                                                             .on_auth_response = session_on_auth_response,
                                                             .on_auth_cancel = session_on_auth_cancel,
                                                             .on_mail = session_on_mail,
                                                             .on_rcpt = session_on_rcpt,
                                                             .on_message = session_on_message,
                                                             .on_reset = session_on_reset,
                                                             .on_close = session_on_close};

/* Everything offered, in clear, small limits; a test changes what it wants before session_start. */
static inline void session_init(struct session *session)
{
    *session = (struct session){.mail_code = 250, .rcpt_code = 250, .message_code = 250};
    session->base = event_base_new();
    peer_init(&session->peer, session->base);
    session->features = (struct smtp_features){.flags = SMTP_HAS_PIPELINING | SMTP_HAS_8BITMIME | SMTP_HAS_ENHANCED |
                                                        SMTP_HAS_CHUNKING | SMTP_HAS_STARTTLS | SMTP_HAS_AUTH |
                                                        SMTP_HAS_DSN | SMTP_HAS_SMTPUTF8 | SMTP_HAS_SIZE,
                                               .size_max = 1000,
                                               .mechanisms = 1u << SASL_PLAIN | 1u << SASL_LOGIN};
    session->options = (struct smtp_server_options){.base = session->base,
                                                    .handlers = &session_handlers,
                                                    .owner = session,
                                                    .host_name = "here",
                                                    .may_auth_in_clear = true,
                                                    .recipients_max = 3,
                                                    .message_max = 2000};
    buf_init(&session->told, 1 << 20);
    buf_init(&session->message, 1 << 20);
}

static inline void session_talk(struct session *session, const char *commands, const char *replies)
{
    peer_send(&session->peer, span_of(commands));
    peer_expect(&session->peer, replies);
}

/* The replies begin with this code, and are one reply. */
static inline void session_talk_code(struct session *session, const char *commands, int code)
{
    char expected[8];
    peer_send(&session->peer, span_of(commands));
    peer_run(&session->peer);
    snprintf(expected, sizeof expected, "%d", code);
    if (strncmp(session->peer.received.data, expected, 3) != 0)
        print_error("after %s: %s", commands, session->peer.received.data);
    assert_memory_equal(session->peer.received.data, expected, 3);
    buf_clear(&session->peer.received);
}

static inline void session_expect_told(struct session *session, const char *told)
{
    assert_string_equal(session->told.data, told);
    buf_clear(&session->told);
}

/* Connects without reading the greeting. */
static inline void session_connect(struct session *session)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    session->peer.fd = ends[1];
    assert_int_equal(smtp_server_new(&session->options, ends[0], &session->server), ERR_OK);
}

static inline void session_start(struct session *session)
{
    session_connect(session);
    peer_expect(&session->peer, "220 here ESMTP privyseal\r\n");
}

static inline void session_login(struct session *session)
{
    session_start(session);
    session_talk_code(session, "EHLO me\r\n", 250);
    session_talk_code(session, "AUTH PLAIN Z29vZA==\r\n", 235);
    buf_clear(&session->told);
}

static inline void session_fini(struct session *session)
{
    smtp_server_free(&session->server);
    peer_close(&session->peer);
    peer_run(&session->peer);
    peer_fini(&session->peer);
    buf_fini(&session->told);
    buf_fini(&session->message);
    event_base_free(session->base);
}

#endif

/*
 * The server side of one SMTP session: protocol only (RFC 5321, 4954, 3030, 3207, 2920).
 *
 * Runs in the net process on a `struct conn`. It knows the grammar, the order of commands (a table), the limits,
 * STARTTLS and the collection of a message into a memfd; what a command means is the owner's business. One command is
 * open at a time: after a handler fires, further input waits (pipelining) until the owner answers with
 * smtp_server_reply or one of its forms, from within the handler or later. Commands that need no owner (NOOP, HELP,
 * VRFY, EXPN, QUIT, errors) are answered here. Twenty bad commands end a session with 421.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include "base/conn.h"
#include "base/sasl.h"
#include "smtp/command.h"
#include "smtp/reply.h"

struct smtp_server;

enum smtp_feature {
    SMTP_HAS_PIPELINING = 1 << 0,
    SMTP_HAS_8BITMIME = 1 << 1,
    SMTP_HAS_ENHANCED = 1 << 2,
    SMTP_HAS_CHUNKING = 1 << 3,
    SMTP_HAS_STARTTLS = 1 << 4,
    SMTP_HAS_AUTH = 1 << 5,
    SMTP_HAS_DSN = 1 << 6,
    SMTP_HAS_SMTPUTF8 = 1 << 7,
    SMTP_HAS_SIZE = 1 << 8,
    SMTP_HAS_BINARYMIME = 1 << 9 /* seen upstream; never offered */
};

/* What one side offers after EHLO. */
struct smtp_features {
    unsigned flags;    /* enum smtp_feature */
    uint64_t size_max; /* with SMTP_HAS_SIZE; 0: no fixed limit */
    sasl_set mechanisms;
};

struct smtp_server_handlers {
    /* EHLO or HELO came: answer with smtp_server_hello (now or later), or with a failure. */
    void (*on_hello)(struct smtp_server *server, void *owner);
    /* AUTH: `initial` is decoded; has_initial is false if the client sent none. Answer with smtp_server_challenge, or
       with a reply (235 makes the session authenticated). */
    void (*on_auth)(struct smtp_server *server, enum sasl_mechanism mechanism, bool has_initial, struct span initial,
                    void *owner);
    /* The decoded answer to a challenge. A cancelled exchange ("*") is answered here and told with on_auth_cancel. */
    void (*on_auth_response)(struct smtp_server *server, struct span response, void *owner);
    void (*on_auth_cancel)(struct smtp_server *server, void *owner);
    /* MAIL and RCPT, parsed. A 2xx reply counts the recipient as accepted. */
    void (*on_mail)(struct smtp_server *server, const struct smtp_mail *mail, void *owner);
    void (*on_rcpt)(struct smtp_server *server, const struct smtp_rcpt *rcpt, void *owner);
    /* A whole message, end of data seen, checks of smtp/data.h passed. `fd` is a sealed memfd that the owner now owns.
       The transaction ends with the owner's reply. */
    void (*on_message)(struct smtp_server *server, int fd, size_t size, void *owner);
    /* The transaction is over without a message: RSET, a second EHLO, a refused message. Answered here. */
    void (*on_reset)(struct smtp_server *server, void *owner);
    /* The session is over (QUIT, lost, timed out); the owner frees. Not fired by smtp_server_free. */
    void (*on_close)(struct smtp_server *server, enum err why, void *owner);
};

struct smtp_server_options {
    struct event_base *base;
    const struct smtp_server_handlers *handlers; /* static */
    void *owner;
    const char *host_name;       /* for the greeting; borrowed for the session's life */
    SSL_CTX *tls;                /* NULL: STARTTLS is not offered */
    bool is_tls_implicit;        /* the first byte is TLS */
    bool may_auth_in_clear;      /* loopback */
    bool is_repairing;           /* bare CR/LF: repair instead of refusing */
    size_t recipients_max;       /* more get 452 4.5.3 */
    uint64_t message_max;        /* bytes, whatever EHLO says */
    uint32_t command_timeout_ms; /* RFC 5321 §4.5.3.2.7: 300,000 */
    uint32_t data_timeout_ms;
};

/* Takes over an accepted socket (also on failure) and greets. */
ERR_RETURN enum err smtp_server_new(const struct smtp_server_options *options, int fd, struct smtp_server **server_out);
void smtp_server_free(struct smtp_server **server);

/* Answers the open command. */
void smtp_server_reply(struct smtp_server *server, const struct smtp_reply *reply);
void smtp_server_reply_text(struct smtp_server *server, int code, const char *enhanced, const char *text);
void smtp_server_fail(struct smtp_server *server, enum err err, const char *detail);
/* Answers EHLO or HELO; what is offered also decides which parameters are then accepted. STARTTLS and AUTH are left out
   where they do not apply (already under TLS, in clear beyond loopback, already authenticated). */
void smtp_server_hello(struct smtp_server *server, const struct smtp_features *features);
/* Answers AUTH with "334 base64". */
void smtp_server_challenge(struct smtp_server *server, struct span challenge);
/* Says 421 (after the answer to the open command, if there is one), sends what waits and ends; on_close follows. */
void smtp_server_shutdown(struct smtp_server *server, enum err why, const char *detail);

bool smtp_server_is_authenticated(const struct smtp_server *server);
/* True while a handler's command has not been answered. */
bool smtp_server_is_waiting(const struct smtp_server *server);
struct conn *smtp_server_conn(struct smtp_server *server);

#endif

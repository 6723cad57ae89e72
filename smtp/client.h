/*
 * The client side of one SMTP session: two functions at heart, one that enters a state and sends, one that takes a
 * reply in a state (RFC 5321, 3207, 4954, 2920).
 *
 * Runs in the net process. It connects, reads the greeting, says EHLO, does STARTTLS if asked (then forgets all that
 * was said before, RFC 3207 §4.2) and EHLO again; then the owner gives it commands. They are queued and, where the
 * server offers PIPELINING, sent together; each gets its reply through its function, in order. When the connection
 * ends, on_close fires once and the functions of unanswered commands do not. Timeouts are those of RFC 5321 §4.5.3.2
 * times `timeout_percent`/100.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include "smtp/server.h"

struct smtp_client;

enum smtp_security { SMTP_TLS_IMPLICIT, SMTP_TLS_STARTTLS /* required */, SMTP_CLEAR /* loopback only */ };

/* `reply` is valid during the call. */
typedef void (*smtp_reply_fn)(struct smtp_client *client, const struct smtp_reply *reply, void *context);

struct smtp_client_handlers {
    /* EHLO was answered (under TLS unless SMTP_CLEAR): smtp_client_features tells what the server offers. */
    void (*on_ready)(struct smtp_client *client, void *owner);
    /* The connection is over or never stood: ERR_UPSTREAM_DOWN, _LOST, _TLS (also: STARTTLS not offered or refused),
       _PROTOCOL, _REJECTED (the greeting or EHLO was refused; smtp_client_last_reply has the words) or ERR_TIMEOUT. The
       owner frees. */
    void (*on_close)(struct smtp_client *client, enum err why, void *owner);
};

struct smtp_client_options {
    struct event_base *base;
    struct evdns_base *dns;
    const struct smtp_client_handlers *handlers; /* static */
    void *owner;
    const char *host; /* copied */
    int port;
    enum smtp_security security;
    SSL_CTX *tls;             /* NULL only with SMTP_CLEAR */
    const char *hello_name;   /* EHLO argument; copied */
    unsigned timeout_percent; /* 100; tests make it shorter */
};

ERR_RETURN enum err smtp_client_new(const struct smtp_client_options *options, struct smtp_client **client_out);
/* Closes at once, without a word. */
void smtp_client_free(struct smtp_client **client);
/* Says QUIT when all is answered, closes and frees by itself; no callback fires any more. */
void smtp_client_quit(struct smtp_client **client);

/* Borrowed; valid once on_ready has fired. */
const struct smtp_features *smtp_client_features(const struct smtp_client *client);
const struct smtp_reply *smtp_client_last_reply(const struct smtp_client *client);

/* AUTH with a decoded initial response (not sent in the command if has_initial is false). `fn` fires for every reply:
   after 334 the owner goes on with smtp_client_auth_response or smtp_client_auth_cancel. The challenge in a 334 is
   reply->text, still in base64. */
ERR_RETURN enum err smtp_client_auth(struct smtp_client *client, enum sasl_mechanism mechanism, bool has_initial,
                                     struct span initial, smtp_reply_fn fn, void *context);
ERR_RETURN enum err smtp_client_auth_response(struct smtp_client *client, struct span response);
ERR_RETURN enum err smtp_client_auth_cancel(struct smtp_client *client);

/* Commands of a transaction. Parameters that the server does not offer are left out (SIZE, DSN, AUTH) or fail with
   ERR_UPSTREAM_MISSING (BODY=8BITMIME, SMTPUTF8), then nothing is sent. */
ERR_RETURN enum err smtp_client_mail(struct smtp_client *client, const struct smtp_mail *mail, smtp_reply_fn fn,
                                     void *context);
ERR_RETURN enum err smtp_client_rcpt(struct smtp_client *client, const struct smtp_rcpt *rcpt, smtp_reply_fn fn,
                                     void *context);
/* DATA and, after 354, the message; `fn` gets the final reply or the refusal of DATA. `message` must stay until then.
 */
ERR_RETURN enum err smtp_client_data(struct smtp_client *client, struct span message, smtp_reply_fn fn, void *context);
ERR_RETURN enum err smtp_client_reset(struct smtp_client *client, smtp_reply_fn fn, void *context);
ERR_RETURN enum err smtp_client_noop(struct smtp_client *client, smtp_reply_fn fn, void *context);

/* True from the moment the final dot may have reached the server until its reply came: a loss now may mean "delivered"
   (RFC 1047). */
bool smtp_client_is_in_doubt(const struct smtp_client *client);

#endif

/*
 * The inside of an SMTP client session, shared by client.c (states, replies, the connection), client_queue.c (the
 * owner's commands) and client_features.c (what EHLO was answered with).
 */
#ifndef SMTP_CLIENT_INTERNAL_H
#define SMTP_CLIENT_INTERNAL_H

#include "smtp/client.h"
#include "smtp/data.h"

#include <sys/queue.h>

enum client_state {
    CLIENT_CONNECTING,
    CLIENT_GREETING,    /* waiting for 220 */
    CLIENT_CLEAR_HELLO, /* EHLO that only asks for STARTTLS */
    CLIENT_STARTTLS,
    CLIENT_HANDSHAKE,
    CLIENT_HELLO,
    CLIENT_READY,      /* commands go out, their replies come in */
    CLIENT_CHALLENGED, /* a 334 is with the owner */
    CLIENT_BODY,       /* a message is going out */
    CLIENT_BODY_SENT,  /* its final dot may have reached the server */
    CLIENT_CLOSED
};

/* A command of the owner's, from the call to its reply. */
struct client_command {
    TAILQ_ENTRY(client_command) link;
    enum smtp_verb verb;
    struct buf line; /* with CRLF; secret */
    struct span message;
    smtp_reply_fn fn;
    void *context;
};

TAILQ_HEAD(client_queue, client_command);

struct smtp_client {
    struct smtp_client_options options;
    char *host;
    char *hello_name;
    struct conn *conn;
    struct event *wake; /* tells the owner from the loop what a call of its own has met */
    enum client_state state;
    enum err failure; /* ERR_OK, or what on_close will say */
    unsigned depth;
    bool is_freed;
    bool is_quitting; /* the owner has gone */
    bool is_in_doubt;

    struct client_queue sent; /* in the order in which replies come */
    struct client_queue waiting;
    size_t commands_len;
    size_t message_at;

    struct smtp_features features;
    struct smtp_reply incoming; /* its lines so far */
    struct smtp_reply last;
};

/* client_queue.c: sends what may be sent now. */
void client_pump(struct smtp_client *client);
/* Takes the oldest command that was sent off the queue; NULL if none was. */
struct client_command *client_take_sent(struct smtp_client *client);
void client_command_free(struct smtp_client *client, struct client_command *command);
/* Forgets commands that have not been sent, or all. */
void client_drop_commands(struct smtp_client *client, bool is_all);
/* True if a DATA or AUTH is under way, or commands are unanswered. */
bool client_is_busy(const struct smtp_client *client);

/* client.c: writes, and fails the session if that fails. */
void client_write(struct smtp_client *client, struct span bytes);
void client_write_secret(struct smtp_client *client, struct span bytes);
/* Ends the session from the loop: on_close(why), no reply any more. */
void client_fail(struct smtp_client *client, enum err why);
/* The timeout for what is waited for now. */
void client_set_timeout(struct smtp_client *client);

/* client_features.c: what an EHLO reply offers; what is not known or malformed is not offered. */
void client_features_parse(const struct smtp_reply *reply, struct smtp_features *features_out);

#endif

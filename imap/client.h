/*
 * The client side of one IMAP session, towards the real server (RFC 3501, 3207 as in SMTP, 4959, 7888).
 *
 * Runs in the net process. It connects, takes the greeting (PREAUTH is refused, design 1.1.9), learns the capabilities,
 * does STARTTLS if asked (then forgets all that was said in clear) and is ready for login; then the owner gives it
 * commands, which get tags of their own, go out in order, and may be many at once. What the server says comes to the
 * owner response by response; the owner decides at a response's first fragment whether it is kept as a whole or
 * streamed piece by piece. Tagged responses go to the command's function. When the connection ends, on_close fires once
 * and the functions of unanswered commands do not.
 */
#ifndef IMAP_CLIENT_H
#define IMAP_CLIENT_H

#include "base/conn.h"
#include "imap/capability.h"
#include "imap/server.h"

struct imap_client;

enum imap_security { IMAP_TLS_IMPLICIT, IMAP_TLS_STARTTLS /* required */, IMAP_CLEAR /* loopback only */ };

enum imap_response_kind {
    IMAP_RESPONSE_OTHER,  /* "* WORD ..." */
    IMAP_RESPONSE_STATUS, /* "* OK/NO/BAD ..." */
    IMAP_RESPONSE_BYE,
    IMAP_RESPONSE_EXISTS, /* "* n EXISTS" and so on: `number` */
    IMAP_RESPONSE_RECENT,
    IMAP_RESPONSE_EXPUNGE,
    IMAP_RESPONSE_FETCH
};

struct imap_head {
    enum imap_response_kind kind;
    uint32_t number;
    struct span word; /* "FETCH", "LIST", "SEARCH", ... */
    struct span text; /* the first fragment, with its CRLF */
};

struct imap_client_handlers {
    /* Greeted, under TLS unless IMAP_CLEAR, capabilities known: log in. */
    void (*on_ready)(struct imap_client *client, void *owner);
    /* May be NULL (then all are kept). The first fragment of an untagged response has come. True: it is to be streamed
       through on_text and on_literal; false: it is kept (literals over 64 KiB in memfds) until on_response. */
    bool (*on_head)(struct imap_client *client, const struct imap_head *head, void *owner);
    /* Streamed: the next fragment, the first one included; `has_literal` of `literal_len` follows. */
    void (*on_text)(struct imap_client *client, struct span text, const struct imap_literal_mark *mark, void *owner);
    /* Streamed: `count` bytes of a literal stand at the front of `input`; all of them must be removed. */
    void (*on_literal)(struct imap_client *client, struct evbuffer *input, size_t count, void *owner);
    /* The whole untagged response, from its "* " on; streamed ones without the content of literals, and a message
       beyond literal_max is GONE. The owner may take files out of the unit. CAPABILITY and its codes have been heard;
       BYE is not told (on_close is). */
    void (*on_response)(struct imap_client *client, const struct imap_head *head, struct imap_unit *unit, void *owner);
    /* The connection is over or never stood (as smtp/client.h has it); ERR_UPSTREAM_PROTOCOL: it said what is none, or
       lied about a size, or PREAUTH; ERR_UPSTREAM_REJECTED: BYE. The owner frees. */
    void (*on_close)(struct imap_client *client, enum err why, void *owner);
};

struct imap_client_options {
    struct event_base *base;
    struct evdns_base *dns;
    const struct imap_client_handlers *handlers; /* static */
    void *owner;
    const char *host; /* copied */
    int port;
    enum imap_security security;
    SSL_CTX *tls;
    uint64_t literal_max;     /* the largest literal that is kept; streamed ones are not bounded */
    size_t response_max;      /* text of one response; 16 MiB */
    unsigned timeout_percent; /* of 60 s for an answer until login, 5 minutes without a word while commands are open, 31
                                 minutes else and in IDLE */
};

/* What a command's tagged response said. `rest` is all after the tag and its space, with CRLF ("OK [..] done"). */
struct imap_reply {
    enum imap_status status;
    struct span code; /* inside the brackets, or none */
    struct span rest;
};
typedef void (*imap_reply_fn)(struct imap_client *client, const struct imap_reply *reply, void *context);
/* "+ text" while a command waits for it (IDLE, AUTHENTICATE): `text` without CRLF. */
typedef void (*imap_more_fn)(struct imap_client *client, struct span text, void *context);

/* A command being written: text and literals. Errors are remembered and come out at imap_client_send. */
struct imap_out {
    struct buf text; /* secret */
    struct imap_out_literal {
        size_t at;         /* in the text; the mark is written when it is sent, as the server takes it */
        struct span bytes; /* borrowed until the command is answered, or */
        int fd;            /* a file to be sent (owned; -1: none) of `len` bytes */
        uint64_t len;
    } literals[64];
    size_t literals_len;
    enum err err;
};
void imap_out_init(struct imap_out *out);
void imap_out_fini(struct imap_out *out);
void imap_out_text(struct imap_out *out, struct span text);
void imap_out_addf(struct imap_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* An astring; what needs a literal becomes one (copied). */
void imap_out_astring(struct imap_out *out, struct span text);
/* A literal with the content of a sealed memfd (taken over), which is sent without being read as a whole. */
void imap_out_file(struct imap_out *out, int fd, uint64_t len);
/* A command of a client's as it is, with its literals (those that are in files are taken out of the unit): `line` from
   imap_command without its CRLF. */
void imap_out_command(struct imap_out *out, struct imap_command *command);

/* A part of a client's command, which has it in `unit`, with the literals in that part; those are copied. */
void imap_out_part(struct imap_out *out, const struct imap_unit *unit, struct span part);

ERR_RETURN enum err imap_client_new(const struct imap_client_options *options, struct imap_client **client_out);
void imap_client_free(struct imap_client **client);
/* Says LOGOUT when all is answered, closes and frees by itself; no callback fires any more. */
void imap_client_quit(struct imap_client **client);
/* Borrowed. Refreshed by CAPABILITY responses and codes; before login those of this state. */
const struct imap_capabilities *imap_client_capabilities(const struct imap_client *client);
/* Asks CAPABILITY again unless the login's reply brought them; `fn` fires from the loop. */
ERR_RETURN enum err imap_client_refresh(struct imap_client *client, imap_reply_fn fn, void *context);

/* LOGIN, or AUTHENTICATE PLAIN where only that is offered. */
ERR_RETURN enum err imap_client_login(struct imap_client *client, struct span user, struct span password,
                                      imap_reply_fn fn, void *context);
/* AUTHENTICATE: `more` gets each challenge (base64), answered with imap_client_auth_response or _cancel. The initial
   response goes with the command if the server has SASL-IR, else at the first challenge. */
ERR_RETURN enum err imap_client_auth(struct imap_client *client, enum sasl_mechanism mechanism, bool has_initial,
                                     struct span initial, imap_more_fn more, imap_reply_fn fn, void *context);
ERR_RETURN enum err imap_client_auth_response(struct imap_client *client, struct span response);
ERR_RETURN enum err imap_client_auth_cancel(struct imap_client *client);

/* Sends a command (without tag and CRLF); takes `out` over (finished in any case). `more` may be NULL. Text after a
   synchronising literal waits for the server's continuation; a refusal there (tagged NO) ends the command and nothing
   more of it is sent. */
ERR_RETURN enum err imap_client_send(struct imap_client *client, struct imap_out *out, imap_more_fn more,
                                     imap_reply_fn fn, void *context);
/* A line outside any command: DONE. */
ERR_RETURN enum err imap_client_line(struct imap_client *client, const char *line);
/* Commands that are not answered. */
size_t imap_client_open_len(const struct imap_client *client);
/* Stops or resumes reading what the server says (the client does not keep up). */
void imap_client_pause(struct imap_client *client);
void imap_client_resume(struct imap_client *client);
struct conn *imap_client_conn(struct imap_client *client);

#endif

/*
 * The inside of an SMTP server session, shared by server.c (life, events, replies), server_line.c (lines out of the
 * input), server_command.c (the table of verbs and the small handlers), server_auth.c, server_mail.c and server_data.c.
 *
 * Two things are kept apart: `state` says how far the session has come and decides which command is legal; `input` says
 * how the next bytes are to be read. While `open` names a command, it is with the owner and nothing is read at all.
 */
#ifndef SMTP_SERVER_INTERNAL_H
#define SMTP_SERVER_INTERNAL_H

#include "smtp/data.h"
#include "smtp/server.h"

/* Of a message this much must come within each data timeout: a byte a minute does not hold a session. */
#define SERVER_PIECE_SIZE 65536u
/* A client that goes on sending what has been refused is not listened to for ever: this much beyond one message of the
   greatest size that is allowed. */
#define SERVER_SKIPPED_MAX (64u << 20)

enum server_state {
    SERVER_NEW,   /* no EHLO or HELO yet, or none since STARTTLS */
    SERVER_READY, /* no transaction */
    SERVER_MAIL,  /* sender accepted, no recipient yet */
    SERVER_RCPT,  /* at least one recipient accepted */
    SERVER_BDAT,  /* a chunk has been taken, the last has not */
    SERVER_STATE_COUNT
};

enum server_input {
    SERVER_INPUT_COMMAND,
    SERVER_INPUT_AUTH,      /* the answer to a challenge */
    SERVER_INPUT_DATA,      /* up to CRLF . CRLF */
    SERVER_INPUT_CHUNK,     /* chunk_left bytes */
    SERVER_INPUT_HANDSHAKE, /* TLS is being set up */
    SERVER_INPUT_ENDED      /* last words are on their way out; nothing is read any more */
};

struct smtp_server {
    struct smtp_server_options options;
    struct conn *conn;
    struct event *wake; /* goes on from the loop what an owner's call must not do itself */
    enum server_state state;
    enum server_input input;
    enum smtp_verb open; /* the command that is with the owner; SMTP_UNKNOWN: none */
    unsigned depth;      /* of callbacks; smtp_server_free waits until it is 0 */
    bool is_running;
    bool has_greeted;
    bool is_authenticated;
    bool is_half_closed; /* the client has sent its last byte, and waits for replies */
    bool is_closed;      /* on_close has fired */
    bool is_freed;
    unsigned bad_commands;

    bool must_end; /* smtp_server_shutdown came while a command was open */
    enum err end_why;
    bool is_end_forced; /* nothing more can be sent */
    char end_detail[200];

    struct smtp_features features; /* what the owner offers; nothing before EHLO */

    struct buf line;    /* secret: it may hold a password */
    bool is_piece_over; /* the piece of input up to the next LF has been answered: skip it */
    bool is_line_bad;   /* a bare LF came: all up to the next CRLF belongs to that line */

    bool is_utf8;         /* MAIL had SMTPUTF8 */
    bool is_mail_refused; /* what was pipelined behind it is no fault of the client's */
    size_t recipients;

    struct smtp_data_decoder decoder;
    struct buf decoded; /* bounded: what one piece of input gave */
    int message_fd;     /* -1: none */
    size_t message_size;
    enum err message_err; /* the first thing that went wrong with the body: it is read to its end and thrown away */
    size_t piece_left;    /* of the body, until the timeout starts anew */
    uint64_t skipped;     /* bytes of bodies that were read only to be thrown away */
    uint64_t chunk_left;
    uint64_t chunk_size;
    bool is_chunk_last;
    enum err chunk_refusal; /* ERR_OK, or why the chunk is only skipped */
};

/* server.c: what is said from in here, not by the owner. */
void server_say(struct smtp_server *server, const struct smtp_reply *reply);
void server_say_text(struct smtp_server *server, int code, const char *enhanced, const char *text);
void server_say_err(struct smtp_server *server, enum err err);
/* Counts a bad command and answers it with `err`, or with 421 when there have been too many. */
void server_say_bad(struct smtp_server *server, enum err err);
/* Counts a bad command that has been answered already. */
void server_count_bad(struct smtp_server *server);
/* Reads nothing any more, and fires on_close(why) when all output has gone. */
void server_end(struct smtp_server *server, enum err why);
void server_end_with_421(struct smtp_server *server, enum err why, const char *enhanced, const char *detail);
/* Hands a command to the owner: no more input and no timeout until it is answered. */
void server_open(struct smtp_server *server, enum smtp_verb verb);
/* Changes the way the next bytes are read, and the timeout with it. */
void server_read(struct smtp_server *server, enum server_input input);
/* Forgets sender, recipients and body. */
void server_end_transaction(struct smtp_server *server);
/* The same, and tells the owner if there was one. */
void server_reset_transaction(struct smtp_server *server);

/* server_line.c: takes one line into server->line, without its CRLF. ERR_AGAIN: none is complete. ERR_LINE_TOO_LONG and
   ERR_COMMAND_SYNTAX (bare CR, bare LF or NUL): a line to be answered with that error. */
ERR_RETURN enum err server_take_line(struct smtp_server *server);
/* Throws away all input that has been received. */
void server_drop_input(struct smtp_server *server);

/* server_command.c: looks server->line up in the table and acts. */
void server_take_command(struct smtp_server *server);

/* One handler for each command that is not trivial. `argument` is trimmed and points into server->line. */
void server_do_auth(struct smtp_server *server, struct span argument);
void server_do_mail(struct smtp_server *server, struct span argument);
void server_do_rcpt(struct smtp_server *server, struct span argument);
void server_do_data(struct smtp_server *server, struct span argument);
void server_do_bdat(struct smtp_server *server, struct span argument);

/* server_auth.c: server->line is the answer to a challenge. */
void server_take_auth_line(struct smtp_server *server);
/* Ends an exchange that the client broke off or spoilt. */
void server_cancel_auth(struct smtp_server *server, enum err err);
bool server_may_offer_auth(const struct smtp_server *server);

/* server_mail.c: the most bytes that a message may have. */
uint64_t server_message_max(const struct smtp_server *server);
bool server_has_8bit(struct span text);

/* server_data.c: takes a piece of a message body out of the input; ERR_AGAIN if there is none. */
ERR_RETURN enum err server_take_body(struct smtp_server *server);
/* A BDAT that is not legal here: its bytes are skipped all the same, then it is answered with `err`. */
void server_refuse_chunk(struct smtp_server *server, struct span argument, enum err err);

#endif

/*
 * The inside of an IMAP server session, shared by server.c (life and events), server_output.c (what is said),
 * server_input.c (units out of the input), server_command.c (the table of verbs, and the small handlers) and
 * server_auth.c (LOGIN, AUTHENTICATE, STARTTLS).
 *
 * Two things are kept apart: `state` says how far the session has come and decides which command is legal; `input` says
 * how the next bytes are to be read. Commands that are answered here wait until the owner has answered all of its own,
 * so that answers come in the order of the commands. What is said here never falls into the middle of a response that
 * the owner is passing on piece by piece: it is held until that response is whole.
 */
#ifndef IMAP_SERVER_INTERNAL_H
#define IMAP_SERVER_INTERNAL_H

#include "imap/capability.h"
#include "imap/server.h"

/* Before login a stranger talks: little is taken. */
#define SERVER_TEXT_MAX_NEW 65536u
/* The largest literal that a command of ours (LOGIN, AUTHENTICATE, ID) may have: a password. */
#define SERVER_LITERAL_SMALL 8192u
/* Larger literals go into memfds. */
#define SERVER_LITERAL_HERE 65536u
/* All literals of one command (MULTIAPPEND) together: so many times the largest that one may be. */
#define SERVER_LITERALS_TIMES 4u
/* This much beyond one literal of the greatest size that is allowed is read only to be thrown away. */
#define SERVER_SKIPPED_MAX (64u << 20)
#define SERVER_SHOWN_MAX 4096u

enum server_input {
    SERVER_INPUT_TEXT,      /* a command, up to its end or to a literal */
    SERVER_INPUT_LITERAL,   /* a literal that is kept */
    SERVER_INPUT_SKIP,      /* a literal that is thrown away */
    SERVER_INPUT_AUTH,      /* the answer to a challenge */
    SERVER_INPUT_IDLE,      /* DONE */
    SERVER_INPUT_HANDSHAKE, /* TLS is being set up */
    SERVER_INPUT_ENDED      /* last words are on their way out; nothing is read any more */
};

struct imap_server {
    struct imap_server_options options;
    struct conn *conn;
    struct event *wake; /* goes on from the loop what an owner's call must not do itself */
    enum imap_server_state state;
    enum server_input input;
    unsigned depth; /* of callbacks; imap_server_free waits until it is 0 */
    bool is_running;
    bool is_ready; /* the connection stands */
    bool may_greet;
    bool has_greeted;
    bool is_paused;
    bool is_closed; /* on_close has fired */
    bool is_freed;
    unsigned bad_commands;
    uint32_t timeout_ms; /* as the connection has it now */

    enum err end_why;
    bool is_end_forced; /* nothing more can be sent */

    sasl_set mechanisms;
    struct buf shown; /* capabilities after login */

    struct imap_splitter splitter;
    struct imap_command *command;  /* being read; NULL between commands */
    struct imap_literal_mark mark; /* at the end of its last fragment */
    bool has_fragment;             /* which has been read, but not looked at */
    bool is_judged;
    enum err refusal;            /* the command is read to its end only to be answered with this */
    size_t verb_at, argument_at; /* in its text */
    enum imap_literal_place place;
    int literal_fd;         /* -1: none */
    uint64_t kept, skipped; /* bytes of its literals */

    size_t open_len;                  /* commands that are with the owner */
    char login_tag[IMAP_TAG_MAX + 1]; /* of a LOGIN or AUTHENTICATE that is with the owner; else empty */
    char idle_tag[IMAP_TAG_MAX + 1];
    bool is_idle_spoilt; /* something else than DONE came */

    uint64_t output_literal_left; /* of a literal that the owner is writing */
    bool is_half;                 /* a response of the owner's is not whole yet */
    struct buf held;              /* what is said once it is */
};

/* ---- server.c ---- */

/* Reads nothing any more, and fires on_close(why) when all output has gone. */
void imap_server_end(struct imap_server *server, enum err why);
/* The same at once: nothing more can be sent, or a response is broken off. */
void imap_server_end_forced(struct imap_server *server, enum err why);
/* "* BYE [code] text", then the end. */
void imap_server_end_with_bye(struct imap_server *server, enum err why, const char *text);
/* Changes the way the next bytes are read. */
void imap_server_read(struct imap_server *server, enum server_input input);
/* Sets the timeout of the present state, if it has changed or `is_progress`. */
void imap_server_set_timeout(struct imap_server *server, bool is_progress);
/* Begins to read commands anew, with the limits of the present state. */
void imap_server_restart_splitter(struct imap_server *server);
/* From an owner's call: takes what waits in the input, from the loop. */
void imap_server_go_on(struct imap_server *server);

/* ---- server_output.c ---- */

/* Says a whole line or several. */
void imap_server_say(struct imap_server *server, struct span bytes);
void imap_server_sayf(struct imap_server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "tag STATUS [code] text"; an empty tag gives "*". */
void imap_server_say_status(struct imap_server *server, const char *tag, const char *status, const char *code,
                            const char *text);
/* The same by the table of errors; counts bad commands and ends the session when there have been too many. */
void imap_server_say_err(struct imap_server *server, const char *tag, enum err err);

/* ---- server_input.c ---- */

/* Takes one step of a command: a fragment, or a piece of a literal. ERR_AGAIN: there is none, or it has to wait. */
ERR_RETURN enum err imap_server_take_unit(struct imap_server *server);
/* A line that is no command. ERR_AGAIN; anything else has ended the session. */
ERR_RETURN enum err imap_server_take_line(struct imap_server *server, struct span *line_out);
void imap_server_drop_command(struct imap_server *server);
/* Hands the command that was read over, and makes ready for the next. */
struct imap_command *imap_server_release_command(struct imap_server *server);

/* ---- server_command.c ---- */

enum server_literal {
    SERVER_LITERAL_NONE, /* the command has no strings */
    SERVER_LITERAL_OWN,  /* small ones, taken here */
    SERVER_LITERAL_ASK   /* the owner decides */
};
/* Reads tag and verb off the first fragment. False: there is no tag, so nothing can be answered but "* BAD". */
bool imap_server_parse_head(struct imap_server *server);
/* Whether the command is legal now. */
ERR_RETURN enum err imap_server_judge(const struct imap_server *server);
/* True if the command is answered here. */
bool imap_server_is_own(const struct imap_server *server);
enum server_literal imap_server_literal_policy(const struct imap_server *server);
/* Carries a whole, legal command out, or hands it to the owner. */
void imap_server_do(struct imap_server *server);

/* ---- server_auth.c ---- */

void imap_server_do_login(struct imap_server *server, struct imap_command *command);
void imap_server_do_authenticate(struct imap_server *server, struct imap_command *command);
void imap_server_do_starttls(struct imap_server *server, struct imap_command *command);
/* False in clear beyond this machine. */
bool imap_server_may_log_in(const struct imap_server *server);
/* The words of this state, before login. */
ERR_RETURN enum err imap_server_offer(const struct imap_server *server, struct buf *out);
/* One line: the answer to a challenge. */
void imap_server_take_auth_line(struct imap_server *server, struct span line);

#endif

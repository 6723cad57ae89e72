/*
 * The inside of an IMAP client session, shared by client.c (states and life), client_queue.c (commands on their way
 * out), client_login.c (LOGIN, AUTHENTICATE, capabilities asked anew) and client_response.c (what the server says).
 */
#ifndef IMAP_CLIENT_INTERNAL_H
#define IMAP_CLIENT_INTERNAL_H

#include "imap/client.h"

#include <sys/queue.h>

enum client_state {
    CLIENT_CONNECTING,
    CLIENT_GREETING,
    CLIENT_CLEAR_CAPABILITY, /* asked only for STARTTLS */
    CLIENT_STARTTLS,
    CLIENT_HANDSHAKE,
    CLIENT_CAPABILITY,
    CLIENT_READY,
    CLIENT_CLOSED
};

enum command_stage {
    COMMAND_TEXT,    /* text goes out next, from `text_at` */
    COMMAND_WAIT,    /* for the continuation that lets the literal go out */
    COMMAND_LITERAL, /* the literal goes out next, from `literal_at` */
    COMMAND_SENT
};

/* A command, from the call to its tagged response. */
struct client_command {
    TAILQ_ENTRY(client_command) link;
    uint64_t number; /* its tag is "P" and this */
    enum command_stage stage;
    struct imap_out *out; /* NULL once it is wholly sent */
    size_t text_at, literal;
    uint64_t literal_at;
    bool is_secret;
    bool is_login;
    bool is_dialogue;  /* AUTHENTICATE, IDLE: nothing follows until it is answered */
    bool is_continued; /* and it is the owner's turn */
    bool has_initial;
    struct buf initial; /* what the first challenge is answered with; secret */
    struct buf early;   /* "NO ..." that came before all of the command had gone */
    imap_more_fn more;
    imap_reply_fn fn;
    void *context;
};

TAILQ_HEAD(client_queue, client_command);

enum response_mode {
    RESPONSE_NONE, /* between responses */
    RESPONSE_KEPT,
    RESPONSE_STREAMED,
    RESPONSE_DROPPED /* nobody wants it */
};

struct imap_client {
    struct imap_client_options options;
    char *host;
    struct conn *conn;
    struct event *wake; /* tells the owner from the loop what a call of its own has met */
    enum client_state state;
    enum err failure; /* ERR_OK, or what on_close will say */
    unsigned depth;
    bool is_freed;
    bool is_quitting; /* the owner has gone */
    bool is_paused;
    bool has_moved; /* the server has said something as a whole in this turn */
    bool is_logged_in;
    uint64_t heard; /* bytes, until it is */

    struct client_queue waiting;
    struct client_queue sent;       /* also the one that is being sent */
    struct client_command *sending; /* NULL, or the last of `sent` */
    size_t commands_len;
    uint64_t last_number;

    struct imap_capabilities capabilities;
    bool is_fresh; /* they were told since the last login began */
    imap_reply_fn refresh_fn;
    void *refresh_context;
    bool is_refreshed; /* refresh_fn fires from the loop */

    struct imap_splitter splitter;
    enum response_mode mode;
    struct imap_unit *unit; /* only while there is something in it */
    struct imap_head head;  /* of the response that is being read; its spans are set when they are needed */
    size_t word_at, word_len, first_len;
    struct imap_literal_mark mark;
    enum imap_literal_place place;
    int literal_fd;       /* -1: none */
    uint64_t piece_taken; /* of a literal, since the server was last found to move */
};

/* ---- client.c ---- */

/* Writes, and fails the session if that fails. */
void imap_client_write(struct imap_client *client, struct span bytes, bool is_secret);
/* Ends the session from the loop: on_close(why), no reply any more. */
void imap_client_fail(struct imap_client *client, enum err why);
/* The timeout for what is waited for now. */
void imap_client_set_timeout(struct imap_client *client);
/* True if nothing more may be told or taken. */
bool imap_client_is_over(const struct imap_client *client);
/* The server has greeted: OK. */
void imap_client_take_greeting(struct imap_client *client);
void imap_client_enter(struct imap_client *client, enum client_state state);

/* ---- client_queue.c ---- */

/* Sends what may be sent now. */
void imap_client_pump(struct imap_client *client);
/* Queues a command of ours that is one word. */
ERR_RETURN enum err imap_client_say(struct imap_client *client, const char *word, imap_reply_fn fn, void *context);
ERR_RETURN enum err imap_client_new_command(struct imap_client *client, struct imap_out *out, imap_reply_fn fn,
                                            void *context, struct client_command **command_out);
void imap_client_queue_command(struct imap_client *client, struct client_command *command);
/* The command with this number that has been sent, in part or wholly; NULL: there is none. */
struct client_command *imap_client_find(struct imap_client *client, uint64_t number);
/* "+" has come for the literal that is waiting; false: none is. */
bool imap_client_continue(struct imap_client *client);
/* Tells the owner what became of a command, and frees it. */
void imap_client_answer(struct imap_client *client, struct client_command *command, struct span rest);
/* Tells those that were answered before they had wholly gone. */
void imap_client_answer_early(struct imap_client *client);
/* Forgets commands that have not been sent, or all. */
void imap_client_drop_commands(struct imap_client *client, bool is_all);

/* ---- client_login.c ---- */

/* A challenge, or IDLE's continuation. ERR_UPSTREAM_PROTOCOL: nobody asked for one. */
ERR_RETURN enum err imap_client_take_challenge(struct imap_client *client, struct span text);
/* "CAPABILITY ..." inside a response code, or the words of an untagged response. */
void imap_client_hear_capabilities(struct imap_client *client, struct span words);
void imap_client_hear_code(struct imap_client *client, struct span code);

/* ---- client_response.c ---- */

/* Takes what has come, until there is no more or the owner pauses. */
void imap_client_take_input(struct imap_client *client);
/* Reads "STATUS [code] text"; false if it is none. */
bool imap_client_parse_reply(struct span rest, struct imap_reply *reply_out);
void imap_client_drop_response(struct imap_client *client);

#endif

/*
 * The server side of one IMAP session, towards the mail program: protocol only (RFC 3501, 7888, 4959, 2971, 4978,
 * 2177).
 *
 * Runs in the net process on a `struct conn`. It takes commands off the wire, knows which are legal in which state (a
 * table in server_command.c), the limits, literals, STARTTLS, COMPRESS, the dialogue of AUTHENTICATE and of IDLE;
 * answers CAPABILITY, NOOP before login, ID, LOGOUT, STARTTLS and COMPRESS itself; and hands every other command to the
 * owner as a whole unit. What a command means is the owner's business, and so is the order of answers: the owner may
 * take further commands while earlier ones are unanswered, and says imap_server_pause when the next must wait. A
 * command that is not in the table or whose capability is not shown gets BAD. Twenty bad commands in a row end the
 * session. Responses may be written in pieces, over many turns of the loop: text that ends with a literal's mark or
 * without its CRLF leaves a response half said, and what is said by anybody else (answers, continuations, BYE) waits
 * until it is whole.
 */
#ifndef IMAP_SERVER_H
#define IMAP_SERVER_H

#include "base/conn.h"
#include "base/sasl.h"
#include "imap/token.h"

struct imap_server;

enum imap_verb {
    IMAP_UNKNOWN = 0,
    IMAP_CAPABILITY,
    IMAP_NOOP,
    IMAP_LOGOUT,
    IMAP_ID,
    IMAP_STARTTLS,
    IMAP_COMPRESS,
    IMAP_LOGIN,
    IMAP_AUTHENTICATE,
    IMAP_ENABLE,
    IMAP_SELECT,
    IMAP_EXAMINE,
    IMAP_CREATE,
    IMAP_DELETE,
    IMAP_RENAME,
    IMAP_SUBSCRIBE,
    IMAP_UNSUBSCRIBE,
    IMAP_LIST,
    IMAP_LSUB,
    IMAP_XLIST,
    IMAP_STATUS,
    IMAP_NAMESPACE,
    IMAP_APPEND,
    IMAP_IDLE,
    IMAP_GETACL,
    IMAP_SETACL,
    IMAP_DELETEACL,
    IMAP_LISTRIGHTS,
    IMAP_MYRIGHTS,
    IMAP_GETMETADATA,
    IMAP_SETMETADATA,
    IMAP_GETQUOTA,
    IMAP_GETQUOTAROOT,
    IMAP_SETQUOTA,
    IMAP_CHECK,
    IMAP_CLOSE,
    IMAP_UNSELECT,
    IMAP_EXPUNGE,
    IMAP_SEARCH,
    IMAP_FETCH,
    IMAP_STORE,
    IMAP_COPY,
    IMAP_MOVE,
    IMAP_UID_EXPUNGE,
    IMAP_UID_SEARCH,
    IMAP_UID_FETCH,
    IMAP_UID_STORE,
    IMAP_UID_COPY,
    IMAP_UID_MOVE,
    IMAP_VERB_COUNT
};

#define IMAP_TAG_MAX 128

struct imap_command {
    char tag[IMAP_TAG_MAX + 1];
    enum imap_verb verb;
    struct imap_unit unit;
    struct imap_cursor arguments; /* after the verb and its space; at the end if there are none */
    struct span line;             /* the verb and all that follows, with CRLF, as on the wire (the unit's text) */
};

enum imap_status { IMAP_OK, IMAP_NO, IMAP_BAD };

struct imap_server_handlers {
    /* LOGIN, or AUTHENTICATE (initial is decoded; "=" gives an empty one). Answer with imap_server_done: OK makes the
       session authenticated; or with imap_server_challenge (AUTHENTICATE only). */
    void (*on_login)(struct imap_server *server, const char *tag, struct span user, struct span password, void *owner);
    void (*on_authenticate)(struct imap_server *server, const char *tag, enum sasl_mechanism mechanism,
                            bool has_initial, struct span initial, void *owner);
    void (*on_auth_response)(struct imap_server *server, struct span response, void *owner);
    void (*on_auth_cancel)(struct imap_server *server, void *owner); /* answered here */
    /* A literal of a command is announced (never for LOGIN and AUTHENTICATE, whose small literals are taken here).
       ERR_OK takes it: into memory if it is at most 64 KiB, else into a memfd; another error refuses the command with
       it (NO [TOOBIG] for ERR_TOO_BIG; what a LITERAL+ client sends all the same is skipped). `command` is as far as it
       came. May be NULL: everything up to 64 KiB is taken. */
    enum err (*on_literal)(struct imap_server *server, const struct imap_command *command,
                           const struct imap_literal_mark *mark, void *owner);
    /* A whole command; the owner takes it over (imap_command_free), and answers sooner or later with imap_server_done.
     */
    void (*on_command)(struct imap_server *server, struct imap_command *command, void *owner);
    /* DONE after imap_server_idle. */
    void (*on_idle_done)(struct imap_server *server, void *owner);
    /* What was written has gone to the kernel (see imap_server_output_len). */
    void (*on_drain)(struct imap_server *server, void *owner);
    /* LOGOUT was said, and answered. The session goes on to on_close by itself. May be NULL. */
    void (*on_logout)(struct imap_server *server, void *owner);
    /* The session is over; the owner frees. Not fired by imap_server_free. */
    void (*on_close)(struct imap_server *server, enum err why, void *owner);
};

struct imap_server_options {
    struct event_base *base;
    const struct imap_server_handlers *handlers; /* static */
    void *owner;
    SSL_CTX *tls; /* NULL: none */
    bool is_tls_implicit;
    bool may_auth_in_clear;      /* the listener is on loopback */
    uint64_t literal_max;        /* the largest literal of a command; at most message_max */
    size_t command_max;          /* text of one command; 1 MiB */
    uint32_t command_timeout_ms; /* RFC 3501 §5.4: at least 30 minutes after login */
    uint32_t login_timeout_ms;   /* until login */
};

/* Takes an accepted socket over (also on failure). The greeting waits for imap_server_greet. */
ERR_RETURN enum err imap_server_new(const struct imap_server_options *options, int fd, struct imap_server **server_out);
void imap_server_free(struct imap_server **server);
/* Greets with OK [CAPABILITY ...]; `mechanisms` are those to offer before login. The capabilities after STARTTLS follow
   from it. */
void imap_server_greet(struct imap_server *server, sasl_set mechanisms);
/* What CAPABILITY answers from now on, and what commands are legal (after login). Copied; at most 4 KiB. */
void imap_server_set_capabilities(struct imap_server *server, struct span words);

/* Writes untagged lines with CRLF, or fragments of them. A literal's mark stands wholly within one call; its content
   follows by any of these three. */
void imap_server_write(struct imap_server *server, struct span bytes);
/* Moves `count` bytes of `source` to the output without copying them. */
void imap_server_move(struct imap_server *server, struct evbuffer *source, size_t count);
/* Writes bytes that are borrowed until `release` is called (once, sooner or later, also on failure). */
void imap_server_lend(struct imap_server *server, struct span bytes, void (*release)(void *context), void *context);
/* Bytes that wait to be sent: the owner stops producing above some 256 KiB and goes on in on_drain. */
size_t imap_server_output_len(const struct imap_server *server);
/* "tag STATUS [code] text": the answer to one command. `code` and `text` may be NULL. */
void imap_server_done(struct imap_server *server, const char *tag, enum imap_status status, const char *code,
                      const char *text);
/* The same, by the table of errors: NO or BAD with its response code and sentence. */
void imap_server_fail(struct imap_server *server, const char *tag, enum err err);
/* "tag " and then `rest` as another server said it: "OK [APPENDUID 1 2] done" CRLF. */
void imap_server_done_line(struct imap_server *server, const char *tag, struct span rest);
void imap_server_challenge(struct imap_server *server, struct span challenge);
/* Says "+ idling" and reads nothing but DONE. */
void imap_server_idle(struct imap_server *server);
/* The state that decides which commands are legal. */
enum imap_server_state { IMAP_STATE_NEW, IMAP_STATE_AUTHENTICATED, IMAP_STATE_SELECTED, IMAP_STATE_LOGOUT };
void imap_server_set_state(struct imap_server *server, enum imap_server_state state);
enum imap_server_state imap_server_get_state(const struct imap_server *server);
/* No further command is taken until resumed. */
void imap_server_pause(struct imap_server *server);
void imap_server_resume(struct imap_server *server);
/* BYE with the sentence of `why` (or `text`, if not NULL), then the end; in mid of a response only the end, once all
   that was written has gone out. */
void imap_server_shutdown(struct imap_server *server, enum err why, const char *text);
struct conn *imap_server_conn(struct imap_server *server);
void imap_command_free(struct imap_command **command);

#endif

/*
 * The preparing of messages (imap_internal.h says what for), in three files: imap_prepare.c, its stages, and which
 * records are at hand; imap_class.c, which messages may have views; and imap_raw.c, the raw messages that are fetched
 * and opened. Nobody else includes this.
 */
#ifndef PROXY_IMAP_PREPARE_H
#define PROXY_IMAP_PREPARE_H

#include "proxy/imap_internal.h"

enum imap_prepare_stage { PREPARE_LOAD, PREPARE_CLASSIFY, PREPARE_ALIASES, PREPARE_RECORDS, PREPARE_RAW, PREPARE_DONE };

/* Where a target stands. */
enum imap_pending_state {
    PENDING_NONE,     /* all that is needed is known */
    PENDING_CLASS,    /* nothing is known of it */
    PENDING_ASKED,    /* an answer to imap_classify_items is to come */
    PENDING_ALIAS,    /* the vault is asked whether it is known by another name */
    PENDING_RECORD,   /* a view whose record may be in the vault */
    PENDING_RAW,      /* the raw message is needed */
    PENDING_FETCHING, /* and is to come */
    PENDING_OPENING   /* a keeper or the vault has it */
};

struct imap_pending {
    enum imap_pending_state state;
    uint64_t size;        /* of the raw message, as far as it is known */
    struct buf *gathered; /* PENDING_ASKED: what has come of an answer in several responses; or NULL */
    unsigned parts;       /* how many have been gathered */
};

/* A raw message on its way to being a view. */
struct imap_opening {
    TAILQ_ENTRY(imap_opening) link;
    struct imap_prepare *prepare;
    size_t index; /* of the target */
    uint64_t size;
    int fd;   /* the raw message, sealed; -1: given away */
    int body; /* the same once more, where the body may have to be made after the record; else -1 */
    struct proxy_view_wait *wait;
    struct proxy_vault_request *request;
};

struct imap_prepare {
    struct imap_work *work;
    bool is_uid;
    unsigned needs;
    imap_prepare_fn fn;
    void *context;
    struct imap_set numbers;
    struct imap_target *targets; /* ascending by UID */
    struct imap_pending *pending;
    size_t len;
    enum imap_prepare_stage stage;
    size_t next;    /* the first target that this stage has not seen */
    bool is_asking; /* a command of ours is open */
    bool is_loading, has_loaded;
    struct proxy_view_wait *load;
    struct proxy_vault_request *request;
    TAILQ_HEAD(, imap_opening) openings;
    size_t openings_len;
    uint64_t openings_size;
    size_t gathered_size;
    size_t done, before, total; /* for INPROGRESS */
    enum err err;
    struct event *finish; /* fn fires from the loop */
};

static inline struct imap_session *imap_prepare_session(const struct imap_prepare *prepare)
{
    return prepare->work->session;
}

/* ---- imap_prepare.c ---- */

/* Goes on with whatever can be done now. */
void imap_prepare_step(struct imap_prepare *prepare);
/* A target is done with, well or not. */
void imap_prepare_settle(struct imap_prepare *prepare, size_t index, enum err err);
/* "FETCH set items" for targets in the state `asked`, by number or by UID. */
ERR_RETURN enum err imap_prepare_ask(struct imap_prepare *prepare, enum imap_pending_state asked, const char *items,
                                     imap_reply_fn fn);
/* An own command has been answered: what stands in the state `asked` has got no answer. */
void imap_prepare_answered(struct imap_prepare *prepare, enum imap_pending_state asked, const struct imap_reply *reply);

/* ---- imap_class.c ---- */

/* Asks about the next targets of which nothing is known. */
ERR_RETURN enum err imap_class_step(struct imap_prepare *prepare);
/* What the server says of target `index`, which it was asked about. */
bool imap_class_hear(struct imap_prepare *prepare, size_t index, const struct imap_answer *answers, size_t len,
                     const struct imap_unit *unit);
/* True for what we ask for and no server says unasked. */
bool imap_class_is_ours(const struct imap_answer *answers, size_t len);
/* Forgets what has been gathered of a target. */
void imap_class_drop(struct imap_prepare *prepare, size_t index);

/* ---- imap_raw.c ---- */

/* Asks for the next raw messages if there is room for them. */
void imap_raw_step(struct imap_prepare *prepare);
/* The raw message of target `index` has come, or NIL in its place: that one stays as it is until the tagged reply,
   which may say why. */
bool imap_raw_hear(struct imap_prepare *prepare, size_t index, const struct imap_answer *answers, size_t len,
                   struct imap_unit *unit);
void imap_raw_free(struct imap_prepare *prepare);

#endif

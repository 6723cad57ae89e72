/*
 * FETCH and UID FETCH, in five files: imap_fetch.c, which messages are asked for and what goes through as it is;
 * imap_fetch_chunk.c, messages with views between others, some at a time; imap_fetch_view.c, the answer for one view;
 * imap_fetch_out.c, how it is written; imap_fetch_news.c, what the server says of messages unasked. Nobody else
 * includes this.
 */
#ifndef PROXY_IMAP_FETCH_H
#define PROXY_IMAP_FETCH_H

#include "proxy/imap_internal.h"

/* What the server is asked for in order that it sets \Seen of a view; what it answers is dropped. */
#define FETCH_SEEN_ITEM "BODY[HEADER.FIELDS (X-None)]<0.1>"
#define FETCH_SEEN_LABEL SPAN_LIT("BODY[HEADER.FIELDS (")
/* The client's output beyond which no further messages are answered for. */
#define FETCH_OUTPUT_HIGH ((size_t)256 << 10)

enum fetch_stage {
    FETCH_PASS,    /* the command goes through as it is */
    FETCH_LOAD,    /* which UIDs there are is being learnt */
    FETCH_RESOLVE, /* the server says what "$" is, or what has changed */
    FETCH_LOOK,    /* which messages may have views is being learnt, before anything else can go on */
    FETCH_PREPARE, /* views are being made */
    FETCH_ANSWER,  /* the server answers, and views are put between */
    FETCH_STREAM,  /* an answer is written as the client takes it; the server is not listened to */
    FETCH_WAIT,    /* for the client to take what was written */
    FETCH_LOCKED   /* the rest, of which the server's items alone can be given */
};

/* A view that is answered for in the chunk at hand. */
struct fetch_view {
    uint32_t uid;
    struct proxy_view_id id;
    struct proxy_body *body;    /* held, if the items need it */
    char *kept;                 /* owned: what the spans of `record` point to */
    struct proxy_record record; /* of which only what the items need is kept */
    struct buf server;          /* the list of the server's answer: "(UID 4 FLAGS ())"; empty: it has not come */
    struct buf parts;           /* what else it said, which may be that answer in several responses */
    unsigned parts_len;         /* in how many */
    bool is_written;
};

/* An answer on its way to the client: text, and between it bytes of the view, which are lent and not copied. */
struct fetch_out {
    struct buf text;
    struct fetch_slice {
        size_t at; /* after so much of the text */
        struct span bytes;
    } * slices;
    size_t slices_len, slices_capacity;
    struct proxy_view_id id; /* whose body they are of */
    struct span body;
    size_t slice, text_done, slice_done; /* what has been written */
};

struct fetch_work {
    struct imap_work work;
    struct imap_fetch fetch;
    bool is_uid;
    enum fetch_stage stage;
    struct span set;      /* as the client wrote it */
    struct imap_set left; /* UIDs that are not done with; ranges may span UIDs that do not exist */
    uint64_t total, done; /* messages */
    bool adds_modseq;     /* CHANGEDSINCE: each answer carries MODSEQ, asked for or not */
    struct imap_prepare *prepare;
    bool is_body_stage; /* the prepare at hand is for bodies */

    struct imap_prepare *ahead; /* learns which of the messages to come may have views, while others are answered for */
    size_t ahead_max;           /* messages that are asked about at once */
    uint32_t ahead_end, asked_end; /* the last UID that is being, and that has been, asked about */
    enum err failure;              /* the command fails, as soon as nothing is being asked ahead */

    struct fetch_view *views; /* of the chunk, ascending */
    size_t views_len, written;
    struct fetch_out out;
    uint32_t chunk_end; /* its last UID */
    size_t chunk_max;
    unsigned retries; /* of a view whose record was dropped from memory before it could be looked at */
    unsigned open;    /* commands of the chunk that are not answered */

    struct buf news; /* what the server said of messages unasked: the client hears it after the answers */
    struct fetch_news {
        uint32_t number;
        size_t at, len;
    } * news_items;
    size_t news_len;

    struct imap_set locked; /* UIDs of views that cannot be shown now */
    enum err locked_err;
    struct buf reply; /* the tagged answer so far: the worst, or the last */
    unsigned reply_weight;
    bool has_gone;    /* a message that the client still knows is no more */
    bool is_withheld; /* content came that could not be passed on, and may have been asked for by this one */
};

static inline struct imap_session *fetch_session(const struct fetch_work *fetch)
{
    return fetch->work.session;
}

static inline struct imap_map *fetch_map(const struct fetch_work *fetch)
{
    return imap_mailbox_map(fetch_session(fetch)->mailbox);
}

/* ---- imap_fetch.c ---- */

/* Sends "FETCH set items", by number or UID as the client's command was, for these UIDs. */
ERR_RETURN enum err fetch_send(struct fetch_work *fetch, const struct imap_set *uids, struct span items,
                               imap_reply_fn fn);
/* Keeps the answer of a command if it is worse than what is kept, or the latest good one. */
void fetch_keep_reply(struct fetch_work *fetch, const struct imap_reply *reply);
/* True for a response that is an answer to a question of ours, and no news. */
bool fetch_is_uid_alone(const struct imap_answer *answers, size_t len);
/* All messages are done with: the locked ones, then the tagged answer. */
void fetch_end(struct fetch_work *fetch);

/* ---- imap_fetch_chunk.c ---- */

/* Goes on with what is left. */
void fetch_next_chunk(struct fetch_work *fetch);
enum imap_fate fetch_chunk_head(struct fetch_work *fetch, const struct imap_head *head);
/* True: the client hears it. */
bool fetch_chunk_response(struct fetch_work *fetch, const struct imap_head *head, struct imap_unit *unit);
/* The views that stand after the last plain message of the chunk, as the client takes them. */
void fetch_write_rest(struct fetch_work *fetch);
void fetch_drop_views(struct fetch_work *fetch);

/* ---- imap_fetch_news.c ---- */

/* True if a first fragment is a whole FETCH response without anything of a message's content. */
bool fetch_is_news(struct span text);
/* Keeps a response for later; false if there is no room. */
bool fetch_keep_news(struct fetch_work *fetch, uint32_t number, struct span text);
/* Forgets what is kept of a message. */
void fetch_drop_news(struct fetch_work *fetch, uint32_t number);
/* Lets the client hear it, in ascending order as servers say it; before numbers change, and at the end. */
void fetch_tell_news(struct fetch_work *fetch);

/* ---- imap_fetch_view.c ---- */

/* Copies what the items need of a record. */
ERR_RETURN enum err fetch_keep_record(struct fetch_view *view, const struct imap_fetch *items,
                                      const struct proxy_record *record);
/* The items that the server answers for a view: "(UID FLAGS ...)". */
ERR_RETURN enum err fetch_server_items(const struct fetch_work *fetch, bool is_locked, struct buf *out);
/* True if this is the server's answer to fetch_server_items, and not something that it says of itself. */
bool fetch_is_answer(const struct fetch_work *fetch, const struct imap_answer *answers, size_t len);
/* True if it need not answer: it is asked for nothing that is not known. */
bool fetch_needs_no_answer(const struct fetch_work *fetch);
/* Takes the parts of an answer that came in several responses, if they are all there; what was kept of them as news of
   the message is among them. */
bool fetch_join_parts(struct fetch_work *fetch, struct fetch_view *view, uint32_t number);
/* Puts "* number FETCH (...)" into fetch->out, in the order in which Dovecot answers. */
ERR_RETURN enum err fetch_compose_view(struct fetch_work *fetch, const struct fetch_view *view, uint32_t number);

/* ---- imap_fetch_out.c ---- */

void fetch_out_init(struct fetch_out *out);
void fetch_out_fini(struct fetch_out *out);
void fetch_out_begin(struct fetch_out *out, const struct fetch_view *view);
/* Adds bytes after the text so far: lent if they are many and of the view's body, else copied. */
ERR_RETURN enum err fetch_out_slice(struct fetch_out *out, struct span bytes);
/* Writes; with `is_bounded` no more than the client is to have waiting. True: all of it is written. */
bool fetch_out_write(struct fetch_work *fetch, bool is_bounded);

#endif

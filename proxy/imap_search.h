/*
 * SEARCH and UID SEARCH, in two files: imap_search.c, what is asked of whom and the answer; imap_search_ask.c, the
 * questions to the server. Nobody else includes this.
 */
#ifndef PROXY_IMAP_SEARCH_H
#define PROXY_IMAP_SEARCH_H

#include "proxy/imap_internal.h"
#include "proxy/vault_views.h"

enum search_stage {
    SEARCH_PASS,    /* the command goes through as it is */
    SEARCH_LOAD,    /* which UIDs there are is being learnt */
    SEARCH_PREPARE, /* views are being made */
    SEARCH_ASK,     /* the server searches */
    SEARCH_VAULT    /* the vault does */
};

struct search_work;
typedef void (*search_step_fn)(struct search_work *search);

/* A question to the server about some messages, which may take several commands: none is longer than servers like. */
struct search_ask {
    struct imap_set numbers; /* which messages it is about */
    size_t next_range;       /* of these */
    struct span keys;        /* what is asked of them, or none: they themselves */
    bool is_clients;         /* the keys are a part of the client's command; its charset goes with them */
    bool saves;              /* the server remembers the messages as "$" (RFC 5182) */
    struct imap_set found;
    uint64_t modseq; /* the highest that the server told of what was found */
    search_step_fn done;
};

struct search_view {
    uint32_t number;
    struct proxy_view_id id;
};

struct search_work {
    struct imap_work work;
    struct imap_search *search;
    bool is_uid;
    struct buf news; /* what the server said beside its answers */
    bool is_shaken;  /* numbers have changed meanwhile */
    enum search_stage stage;
    uint32_t count; /* messages 1 to count are searched: those that were there at the beginning */

    struct imap_prepare *prepare;
    struct imap_set plain; /* numbers of messages without views */
    struct search_view *views;
    size_t views_len;

    struct search_ask ask;
    size_t server; /* the server's node that is being asked */
    size_t row_len;
    uint8_t *rows; /* for each of the server's nodes, then each leaf: bits over the views */

    struct proxy_vault_request *request;
    size_t vault_at, vault_len;         /* the views that the vault is searching */
    size_t missing, missing_len, again; /* texts that are made again: the first, how many, and how many the last time */

    struct imap_set found; /* numbers */
    uint64_t modseq;
};

static inline struct imap_session *search_session(const struct search_work *search)
{
    return search->work.session;
}

/* Fails the client's command; "$" is then empty if it was to be set (RFC 5182 §2.1). */
void search_fail(struct search_work *search, enum err err);

/* ---- imap_search_ask.c ---- */

void search_ask_init(struct search_ask *ask);
void search_ask_fini(struct search_ask *ask);
/* Asks about `numbers` (copied). `done` is called when ask.found is complete, at once if there is nothing to ask about.
   A refusal is the client's answer, too. */
void search_ask(struct search_work *search, const struct imap_set *numbers, struct span keys, bool is_clients,
                search_step_fn done);
/* Has the server remember `numbers` as "$". */
void search_save(struct search_work *search, const struct imap_set *numbers, search_step_fn done);
/* Hands an ESEARCH response on under the client's own tag. */
void search_pass(struct search_work *search, const struct imap_unit *unit);
/* Takes "* SEARCH 1 2 3 (MODSEQ 4)" as an answer. */
void search_hear(struct search_work *search, const struct imap_unit *unit);

#endif

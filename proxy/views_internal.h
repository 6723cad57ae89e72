/*
 * The views of a net process: what views.c (requests), views_cache.c (what is kept at hand), views_make.c (vault and
 * keepers) and views_unlock.c share. Nobody else includes this.
 */
#ifndef PROXY_VIEWS_INTERNAL_H
#define PROXY_VIEWS_INTERNAL_H

#include "proxy/vault_views.h"
#include "proxy/views.h"
#include "proxy/wire.h"

/* What is known of the vault's word on a view. */
enum view_state {
    VIEW_UNKNOWN, /* not asked yet */
    VIEW_MISSING, /* never decided, when it was last asked */
    VIEW_DECIDED  /* decision and session keys are at hand */
};

enum view_wait_kind { VIEW_WAIT_RECORD, VIEW_WAIT_LOAD, VIEW_WAIT_OPEN, VIEW_WAIT_BODY };

TAILQ_HEAD(view_waits, proxy_view_wait);

struct proxy_view_wait {
    TAILQ_ENTRY(proxy_view_wait) link;
    struct view_waits *queue; /* where it stands: at a view, or with those that are to be told */
    struct proxy_views *views;
    struct view *view; /* pinned; NULL: LOAD */
    enum view_wait_kind kind;
    proxy_record_fn record_fn;
    proxy_body_fn body_fn;
    void *context;
    int fd; /* the raw message, until a making takes it; -1: none */
    enum err err;
    bool is_plain;
    bool is_heard; /* OPEN */
    /* LOAD: what is still to be asked for */
    struct proxy_view_id *ids;
    size_t ids_len, ids_at, ids_asked;
    struct proxy_vault_request *request;
};

struct view_body {
    struct proxy_body body; /* first: what others hold points here */
    struct mime_tree *tree; /* made when somebody first holds it */
    struct view *view;
    struct buf copy;    /* of a small one */
    struct span mapped; /* a large one */
    size_t size;        /* of all this, as it is counted */
    size_t holders;
    TAILQ_ENTRY(view_body) link; /* least recently used first */
};

struct view_making; /* views_make.c */

struct view {
    struct proxy_views *views;
    struct view *next_in_bucket;
    TAILQ_ENTRY(view) link; /* least recently used first */
    struct proxy_view_id id;
    size_t pins; /* waits and makings that need it */
    size_t size; /* as it is counted */
    enum view_state state;
    struct buf decision, session_keys, saved; /* `saved` is what `record` points into */
    struct proxy_record record;
    bool has_record;
    struct view_body *body;
    struct proxy_vault_request *asking;
    struct view_making *making;
    struct view_waits waits;
};

struct view_unlock; /* views_unlock.c */

struct proxy_views {
    struct proxy_net *net;
    struct view **buckets;
    size_t buckets_len, views_len; /* buckets: a power of two */
    TAILQ_HEAD(, view) by_use;
    TAILQ_HEAD(, view_body) bodies_by_use;
    size_t views_size, bodies_size;
    struct view_waits ready; /* to be told from the loop */
    struct event *kick;
    struct view_unlock *unlocks; /* one for each account */
};

/* ---- views_cache.c ---- */
ERR_RETURN enum err views_cache_init(struct proxy_views *views);
void views_cache_fini(struct proxy_views *views);
struct view *views_find(struct proxy_views *views, const struct proxy_view_id *id);
/* The view, made if it is not there; pinned for the caller. */
ERR_RETURN enum err views_pin(struct proxy_views *views, const struct proxy_view_id *id, struct view **view_out);
void views_unpin(struct view *view);
/* It was used just now. */
void views_touch(struct view *view);
/* Takes over what was decided, and the record if there is one that can be read. */
ERR_RETURN enum err views_keep(struct view *view, struct span decision, struct span session_keys, struct span record);
/* Keeps the bytes in the sealed memfd `fd` (which stays the caller's) as the view's body. */
ERR_RETURN enum err views_keep_body(struct view *view, int fd);
/* The body with its map, held for the caller; ERR_NOT_FOUND. */
ERR_RETURN enum err views_hold_body(struct view *view, struct proxy_body **body_out);
/* Drops what was not used for longest until all is within bounds. */
void views_trim(struct proxy_views *views);

/* ---- views_make.c ---- */
struct store_view_key views_key(const struct proxy_views *views, const struct proxy_view_id *id);
/* Asks the vault for the view, unless it is being asked; views_found tells those who wait. */
ERR_RETURN enum err views_ask(struct view *view);
/* Begins to make the view for the waits that stand at it and need that, unless it is being made; views_made tells them.
 */
void views_make(struct view *view);
void views_making_free(struct view_making *making);

/* ---- views.c ---- */
/* The vault has answered for the view (or `err` says why not). */
void views_found(struct view *view, enum err err);
/* The view was made: its body, with `has_record` the record and the text, too; or it needs none (`is_plain`). */
void views_made(struct view *view, enum err err, bool has_record, bool is_plain);

/* ---- views_unlock.c ---- */
ERR_RETURN enum err views_unlock_init(struct proxy_views *views);
void views_unlock_fini(struct proxy_views *views);

#endif

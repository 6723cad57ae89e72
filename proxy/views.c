#include "proxy/views_internal.h"

#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

static void enqueue(struct proxy_view_wait *wait, struct view_waits *queue)
{
    if (wait->queue != NULL)
        TAILQ_REMOVE(wait->queue, wait, link);
    wait->queue = queue;
    TAILQ_INSERT_TAIL(queue, wait, link);
}

static void wait_free(struct proxy_view_wait *wait)
{
    if (wait->queue != NULL)
        TAILQ_REMOVE(wait->queue, wait, link);
    if (wait->view != NULL)
        views_unpin(wait->view);
    if (wait->fd >= 0)
        close(wait->fd);
    proxy_vault_cancel(&wait->request);
    free(wait->ids);
    free(wait);
}

/* Its function fires from the loop, with what is there then. */
static void make_ready(struct proxy_view_wait *wait, enum err err)
{
    const struct timeval now = {0, 0};
    wait->err = err;
    enqueue(wait, &wait->views->ready);
    evtimer_add(wait->views->kick, &now);
}

static void tell_body(struct proxy_view_wait *wait)
{
    struct proxy_body *body = NULL;
    enum err err = wait->err;
    if (err == ERR_OK)
        err = views_hold_body(wait->view, &body);
    wait->body_fn(err, body, wait->context);
}

static void tell(struct proxy_view_wait *wait)
{
    const struct proxy_record *record =
        wait->view != NULL && wait->view->has_record && !wait->is_plain ? &wait->view->record : NULL;
    enum err err = wait->err;
    if (wait->kind == VIEW_WAIT_BODY) {
        tell_body(wait);
        return;
    }
    if (err == ERR_OK && record == NULL && wait->kind != VIEW_WAIT_LOAD && !wait->is_plain)
        err = ERR_INTERNAL;
    wait->record_fn(err, err == ERR_OK ? record : NULL, wait->is_plain, wait->context);
}

/* Whoever is told may cancel others, and ask for more: that is told in the next turn. */
static void on_kick(evutil_socket_t fd, short what, void *context)
{
    struct proxy_views *views = context;
    struct view_waits now = TAILQ_HEAD_INITIALIZER(now);
    struct proxy_view_wait *wait;
    (void)fd;
    (void)what;
    while ((wait = TAILQ_FIRST(&views->ready)) != NULL)
        enqueue(wait, &now);
    while ((wait = TAILQ_FIRST(&now)) != NULL) {
        TAILQ_REMOVE(&now, wait, link);
        wait->queue = NULL;
        tell(wait);
        wait_free(wait);
    }
    views_trim(views);
}

void views_found(struct view *view, enum err err)
{
    struct proxy_view_wait *wait, *next;
    for (wait = TAILQ_FIRST(&view->waits); wait != NULL; wait = next) {
        next = TAILQ_NEXT(wait, link);
        if (wait->kind == VIEW_WAIT_RECORD)
            make_ready(wait, err == ERR_OK && !view->has_record ? ERR_NOT_FOUND : err);
    }
}

/* What a wait gets of a making that ended well; ERR_AGAIN: nothing, it wants more than was made. */
static enum err outcome_for(const struct proxy_view_wait *wait, bool has_record, bool is_plain)
{
    switch (wait->kind) {
    case VIEW_WAIT_OPEN:
        return has_record || is_plain ? ERR_OK : ERR_AGAIN;
    case VIEW_WAIT_BODY:
        return is_plain ? ERR_NOT_FOUND : wait->view->body != NULL ? ERR_OK : ERR_AGAIN;
    default:
        return wait->view->has_record ? ERR_OK : ERR_AGAIN;
    }
}

void views_made(struct view *view, enum err err, bool has_record, bool is_plain)
{
    struct proxy_view_wait *wait, *next;
    for (wait = TAILQ_FIRST(&view->waits); wait != NULL; wait = next) {
        enum err outcome = err == ERR_OK ? outcome_for(wait, has_record, is_plain) : err;
        next = TAILQ_NEXT(wait, link);
        /* Who waits for the vault's word alone is told by it. */
        if (outcome == ERR_AGAIN || (err != ERR_OK && wait->kind == VIEW_WAIT_RECORD))
            continue;
        wait->is_plain = is_plain;
        make_ready(wait, outcome);
    }
    views_make(view);
}

static enum err wait_new(struct proxy_views *views, const struct proxy_view_id *id, enum view_wait_kind kind,
                         struct proxy_view_wait **wait_out)
{
    struct proxy_view_wait *wait = calloc(1, sizeof(*wait));
    if (wait == NULL)
        return ERR_MEMORY;
    *wait = (struct proxy_view_wait){.views = views, .kind = kind, .fd = -1};
    enum err err = id != NULL ? views_pin(views, id, &wait->view) : ERR_OK;
    if (err != ERR_OK) {
        free(wait);
        return err;
    }
    if (id != NULL)
        views_touch(wait->view);
    *wait_out = wait;
    return ERR_OK;
}

bool proxy_views_peek(struct proxy_views *views, const struct proxy_view_id *id, struct proxy_record *record_out)
{
    struct view *view = views_find(views, id);
    if (view == NULL || !view->has_record)
        return false;
    views_touch(view);
    *record_out = view->record;
    return true;
}

enum err proxy_views_record(struct proxy_views *views, const struct proxy_view_id *id, proxy_record_fn fn,
                            void *context, struct proxy_view_wait **wait_out)
{
    struct proxy_view_wait *wait;
    *wait_out = NULL;
    enum err err = wait_new(views, id, VIEW_WAIT_RECORD, &wait);
    if (err != ERR_OK)
        return err;
    wait->record_fn = fn;
    wait->context = context;
    if (wait->view->has_record) {
        make_ready(wait, ERR_OK);
    } else {
        enqueue(wait, &wait->view->waits);
        err = views_ask(wait->view);
    }
    if (err != ERR_OK) {
        wait_free(wait);
        return err;
    }
    *wait_out = wait;
    return ERR_OK;
}

/* ---- many at once ---- */

static enum err load_more(struct proxy_view_wait *wait);

static enum err keep_found(struct proxy_views *views, const struct proxy_view_id *id,
                           const struct proxy_vault_found *found)
{
    struct view *view;
    enum err err = views_pin(views, id, &view);
    if (err != ERR_OK)
        return err;
    if (found->is_found && !view->has_record)
        err = views_keep(view, found->view.decision, found->view.session_keys, found->view.record);
    else if (!found->is_found && view->state == VIEW_UNKNOWN)
        view->state = VIEW_MISSING;
    views_touch(view);
    views_unpin(view);
    return err;
}

static void on_loaded(enum err err, const struct proxy_vault_found *found, size_t len, void *context)
{
    struct proxy_view_wait *wait = context;
    wait->request = NULL;
    for (size_t i = 0; err == ERR_OK && i < len && i < wait->ids_asked; i++)
        err = keep_found(wait->views, &wait->ids[wait->ids_at + i], &found[i]);
    wait->ids_at += len < wait->ids_asked ? len : wait->ids_asked;
    if (err == ERR_OK)
        err = load_more(wait);
    if (err != ERR_OK)
        make_ready(wait, err);
}

/* Asks for the next ones; when there are none left, the wait is ready. */
static enum err load_more(struct proxy_view_wait *wait)
{
    size_t left = wait->ids_len - wait->ids_at;
    wait->ids_asked = left < PROXY_VAULT_KEYS_MAX ? left : PROXY_VAULT_KEYS_MAX;
    if (wait->ids_asked == 0) {
        make_ready(wait, ERR_OK);
        return ERR_OK;
    }
    struct store_view_key *keys = calloc(wait->ids_asked, sizeof(*keys));
    if (keys == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < wait->ids_asked; i++)
        keys[i] = views_key(wait->views, &wait->ids[wait->ids_at + i]);
    enum err err =
        proxy_vault_views_get(wait->views->net->vault, keys, wait->ids_asked, on_loaded, wait, &wait->request);
    free(keys);
    return err;
}

enum err proxy_views_load(struct proxy_views *views, const struct proxy_view_id *ids, size_t len, proxy_record_fn fn,
                          void *context, struct proxy_view_wait **wait_out)
{
    struct proxy_view_wait *wait;
    *wait_out = NULL;
    enum err err = wait_new(views, NULL, VIEW_WAIT_LOAD, &wait);
    if (err != ERR_OK)
        return err;
    wait->record_fn = fn;
    wait->context = context;
    wait->ids = calloc(len + 1, sizeof(*wait->ids));
    if (wait->ids == NULL)
        err = ERR_MEMORY;
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        struct view *view = views_find(views, &ids[i]);
        if (view == NULL || view->state == VIEW_UNKNOWN)
            wait->ids[wait->ids_len++] = ids[i];
        else
            views_touch(view);
    }
    if (err == ERR_OK)
        err = load_more(wait);
    if (err != ERR_OK) {
        wait_free(wait);
        return err;
    }
    *wait_out = wait;
    return ERR_OK;
}

/* ---- from the raw message ---- */

/* Takes `fd` over in any case. */
static enum err begin(struct proxy_views *views, const struct proxy_view_id *id, int fd, enum view_wait_kind kind,
                      struct proxy_view_wait **wait_out)
{
    enum err err = wait_new(views, id, kind, wait_out);
    if (err != ERR_OK) {
        close(fd);
        return err;
    }
    (*wait_out)->fd = fd;
    return ERR_OK;
}

enum err proxy_views_open(struct proxy_views *views, const struct proxy_view_id *id, int fd, bool is_heard,
                          proxy_record_fn fn, void *context, struct proxy_view_wait **wait_out)
{
    struct proxy_view_wait *wait;
    *wait_out = NULL;
    enum err err = begin(views, id, fd, VIEW_WAIT_OPEN, &wait);
    if (err != ERR_OK)
        return err;
    wait->record_fn = fn;
    wait->context = context;
    wait->is_heard = is_heard;
    *wait_out = wait;
    enqueue(wait, &wait->view->waits);
    views_make(wait->view);
    return ERR_OK;
}

struct proxy_body *proxy_views_hold(struct proxy_views *views, const struct proxy_view_id *id)
{
    struct view *view = views_find(views, id);
    struct proxy_body *body = NULL;
    if (view == NULL || views_hold_body(view, &body) != ERR_OK)
        return NULL;
    return body;
}

enum err proxy_views_body(struct proxy_views *views, const struct proxy_view_id *id, int fd, proxy_body_fn fn,
                          void *context, struct proxy_view_wait **wait_out)
{
    struct proxy_view_wait *wait;
    *wait_out = NULL;
    enum err err = begin(views, id, fd, VIEW_WAIT_BODY, &wait);
    if (err != ERR_OK)
        return err;
    wait->body_fn = fn;
    wait->context = context;
    *wait_out = wait;
    enqueue(wait, &wait->view->waits);
    if (wait->view->body != NULL)
        make_ready(wait, ERR_OK);
    else
        views_make(wait->view);
    return ERR_OK;
}

void proxy_views_cancel(struct proxy_view_wait **wait)
{
    if (*wait != NULL)
        wait_free(*wait);
    *wait = NULL;
}

enum err proxy_views_new(struct proxy_net *net, struct proxy_views **views_out)
{
    struct proxy_views *views = calloc(1, sizeof(*views));
    *views_out = NULL;
    if (views == NULL)
        return ERR_MEMORY;
    views->net = net;
    TAILQ_INIT(&views->ready);
    views->kick = evtimer_new(net->base, on_kick, views);
    enum err err = views->kick == NULL ? ERR_MEMORY : views_cache_init(views);
    if (err == ERR_OK)
        err = views_unlock_init(views);
    if (err != ERR_OK) {
        proxy_views_free(&views);
        return err;
    }
    *views_out = views;
    return ERR_OK;
}

void proxy_views_free(struct proxy_views **views_pointer)
{
    struct proxy_views *views = *views_pointer;
    struct proxy_view_wait *wait;
    struct view *view;
    *views_pointer = NULL;
    if (views == NULL)
        return;
    while ((wait = TAILQ_FIRST(&views->ready)) != NULL)
        wait_free(wait);
    for (view = TAILQ_FIRST(&views->by_use); view != NULL; view = TAILQ_NEXT(view, link)) {
        /* Kept alive while the waits go; what remains of it goes with the cache. */
        view->pins++;
        while ((wait = TAILQ_FIRST(&view->waits)) != NULL)
            wait_free(wait);
        proxy_vault_cancel(&view->asking);
        views_making_free(view->making);
    }
    views_cache_fini(views);
    views_unlock_fini(views);
    if (views->kick != NULL)
        event_free(views->kick);
    free(views);
}

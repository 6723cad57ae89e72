#include "proxy/views_internal.h"

#include "base/memfd.h"
#include "imap/content.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 1024
/* A mapping costs the kernel an entry of which there are 65,530, and whole pages. */
#define COPIED_MAX ((size_t)128 << 10)

/* Digests are as good as random already. */
static size_t bucket_of(const struct proxy_views *views, const struct proxy_view_id *id)
{
    uint64_t hash;
    memcpy(&hash, id->digest, sizeof(hash));
    return (size_t)hash & (views->buckets_len - 1);
}

static bool is_same(const struct proxy_view_id *a, const struct proxy_view_id *b)
{
    return a->account == b->account && a->generation == b->generation &&
           memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

struct view *views_find(struct proxy_views *views, const struct proxy_view_id *id)
{
    struct view *view = views->buckets[bucket_of(views, id)];
    while (view != NULL && !is_same(&view->id, id))
        view = view->next_in_bucket;
    return view;
}

static enum err grow(struct proxy_views *views, size_t buckets_len)
{
    struct view *view, **buckets = calloc(buckets_len, sizeof(*buckets));
    if (buckets == NULL)
        return ERR_MEMORY;
    free(views->buckets);
    views->buckets = buckets;
    views->buckets_len = buckets_len;
    for (view = TAILQ_FIRST(&views->by_use); view != NULL; view = TAILQ_NEXT(view, link)) {
        struct view **bucket = &buckets[bucket_of(views, &view->id)];
        view->next_in_bucket = *bucket;
        *bucket = view;
    }
    return ERR_OK;
}

static enum err add(struct proxy_views *views, const struct proxy_view_id *id, struct view **view_out)
{
    enum err err = views->views_len < views->buckets_len ? ERR_OK : grow(views, views->buckets_len * 2);
    struct view *view = err == ERR_OK ? calloc(1, sizeof(*view)) : NULL;
    if (view == NULL)
        return ERR_MEMORY;
    view->views = views;
    view->id = *id;
    view->size = sizeof(*view);
    buf_init(&view->decision, STORE_DECISION_MAX);
    buf_init_secret(&view->session_keys, STORE_DECISION_MAX);
    buf_init_secret(&view->saved, STORE_RECORD_MAX);
    TAILQ_INIT(&view->waits);
    TAILQ_INSERT_TAIL(&views->by_use, view, link);
    struct view **bucket = &views->buckets[bucket_of(views, id)];
    view->next_in_bucket = *bucket;
    *bucket = view;
    views->views_len++;
    views->views_size += view->size;
    *view_out = view;
    return ERR_OK;
}

static void body_free(struct view_body *body)
{
    struct proxy_views *views = body->view->views;
    views->bodies_size -= body->size;
    TAILQ_REMOVE(&views->bodies_by_use, body, link);
    body->view->body = NULL;
    mime_tree_free(&body->tree);
    memfd_unmap(&body->mapped);
    buf_fini(&body->copy);
    free(body);
}

static void view_free(struct view *view)
{
    struct proxy_views *views = view->views;
    struct view **at = &views->buckets[bucket_of(views, &view->id)];
    while (*at != view)
        at = &(*at)->next_in_bucket;
    *at = view->next_in_bucket;
    TAILQ_REMOVE(&views->by_use, view, link);
    views->views_len--;
    views->views_size -= view->size;
    if (view->body != NULL)
        body_free(view->body);
    buf_fini(&view->decision);
    buf_fini(&view->session_keys);
    buf_fini(&view->saved);
    free(view);
}

enum err views_pin(struct proxy_views *views, const struct proxy_view_id *id, struct view **view_out)
{
    *view_out = views_find(views, id);
    enum err err = *view_out == NULL ? add(views, id, view_out) : ERR_OK;
    if (err == ERR_OK)
        (*view_out)->pins++;
    return err;
}

void views_unpin(struct view *view)
{
    view->pins--;
    /* There is nothing in it to remember. */
    if (view->pins == 0 && view->state == VIEW_UNKNOWN && view->body == NULL)
        view_free(view);
}

void views_touch(struct view *view)
{
    struct proxy_views *views = view->views;
    TAILQ_REMOVE(&views->by_use, view, link);
    TAILQ_INSERT_TAIL(&views->by_use, view, link);
    if (view->body == NULL)
        return;
    TAILQ_REMOVE(&views->bodies_by_use, view->body, link);
    TAILQ_INSERT_TAIL(&views->bodies_by_use, view->body, link);
}

static enum err replace(struct buf *buf, struct span bytes)
{
    buf_fini(buf);
    return buf_add_span(buf, bytes);
}

static void count_view(struct view *view)
{
    struct proxy_views *views = view->views;
    views->views_size -= view->size;
    view->size = sizeof(*view) + view->decision.capacity + view->session_keys.capacity + view->saved.capacity;
    views->views_size += view->size;
}

enum err views_keep(struct view *view, struct span decision, struct span session_keys, struct span record)
{
    enum err err = replace(&view->decision, decision);
    if (err == ERR_OK)
        err = replace(&view->session_keys, session_keys);
    if (err == ERR_OK)
        view->state = VIEW_DECIDED;
    if (err == ERR_OK && record.len > 0) {
        view->has_record = false;
        err = replace(&view->saved, record);
        /* One of another version is as good as none: it is made again. */
        view->has_record = err == ERR_OK && proxy_record_load(buf_span(&view->saved), &view->record) == ERR_OK;
    }
    count_view(view);
    return err;
}

static enum err fill_body(struct view_body *body, int fd, size_t size_max)
{
    enum err err = memfd_map(fd, size_max, &body->mapped);
    if (err != ERR_OK)
        return err;
    body->body.bytes = body->mapped;
    body->size = sizeof(*body) + body->mapped.len;
    if (body->mapped.len > COPIED_MAX)
        return ERR_OK;
    err = buf_reserve(&body->copy, body->mapped.len);
    if (err == ERR_OK)
        err = buf_add_span(&body->copy, body->mapped);
    memfd_unmap(&body->mapped);
    body->body.bytes = buf_span(&body->copy);
    return err;
}

enum err views_keep_body(struct view *view, int fd)
{
    struct proxy_views *views = view->views;
    size_t size_max = (size_t)views->net->config->message_max * 2;
    if (view->body != NULL)
        return ERR_OK;
    struct view_body *body = calloc(1, sizeof(*body));
    if (body == NULL)
        return ERR_MEMORY;
    buf_init_secret(&body->copy, COPIED_MAX);
    enum err err = fill_body(body, fd, size_max);
    if (err != ERR_OK) {
        memfd_unmap(&body->mapped);
        buf_fini(&body->copy);
        free(body);
        return err;
    }
    body->view = view;
    view->body = body;
    views->bodies_size += body->size;
    TAILQ_INSERT_TAIL(&views->bodies_by_use, body, link);
    return ERR_OK;
}

enum err views_hold_body(struct view *view, struct proxy_body **body_out)
{
    struct view_body *body = view->body;
    *body_out = NULL;
    if (body == NULL)
        return ERR_NOT_FOUND;
    if (body->tree == NULL) {
        enum err err = imap_content_parse(body->body.bytes, &body->tree);
        if (err != ERR_OK)
            return err;
        size_t more = body->tree->parts_len * sizeof(struct mime_part);
        body->body.tree = body->tree;
        body->size += more;
        view->views->bodies_size += more;
    }
    body->holders++;
    views_touch(view);
    *body_out = &body->body;
    return ERR_OK;
}

void proxy_views_release(struct proxy_views *views, struct proxy_body **body_pointer)
{
    /* What others hold is the first member. */
    struct view_body *body = (struct view_body *)(void *)*body_pointer;
    *body_pointer = NULL;
    if (body == NULL)
        return;
    body->holders--;
    views_trim(views);
}

/* The oldest body that nobody holds, or is about to be told of. */
static bool drop_body(struct proxy_views *views)
{
    struct view_body *body;
    for (body = TAILQ_FIRST(&views->bodies_by_use); body != NULL; body = TAILQ_NEXT(body, link))
        if (body->holders == 0 && body->view->pins == 0)
            break;
    if (body == NULL)
        return false;
    struct view *view = body->view;
    body_free(body);
    view->pins++;
    views_unpin(view);
    return true;
}

/* The oldest view that nobody needs, its body with it. */
static bool drop_view(struct proxy_views *views)
{
    struct view *view;
    for (view = TAILQ_FIRST(&views->by_use); view != NULL; view = TAILQ_NEXT(view, link))
        if (view->pins == 0 && (view->body == NULL || view->body->holders == 0))
            break;
    if (view == NULL)
        return false;
    view_free(view);
    return true;
}

void views_trim(struct proxy_views *views)
{
    uint64_t most = views->net->config->view_cache_max;
    bool is_dropped = true;
    /* Bodies go first: records answer most of what is asked, and are small. */
    while (is_dropped && views->views_size + views->bodies_size > most) {
        if (views->views_size > most / 2)
            is_dropped = drop_view(views) || drop_body(views);
        else
            is_dropped = drop_body(views) || drop_view(views);
    }
}

enum err views_cache_init(struct proxy_views *views)
{
    TAILQ_INIT(&views->by_use);
    TAILQ_INIT(&views->bodies_by_use);
    return grow(views, BUCKETS_MIN);
}

void views_cache_fini(struct proxy_views *views)
{
    struct view *view;
    while ((view = TAILQ_FIRST(&views->by_use)) != NULL)
        view_free(view);
    free(views->buckets);
}

/*
 * Making a view: as the vault says that it was decided, else by the account's keys as they are now; in a keeper; and
 * then the vault again, where the first commit wins. Who came second makes the view again as the first decided it.
 */
#include "proxy/views_internal.h"

#include "base/log.h"
#include "base/memfd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIES_MAX 2

struct view_making {
    struct view *view; /* pinned */
    int fd;            /* the raw message */
    bool wants_record;
    bool is_heard;
    bool waits_for_vault; /* views_ask was called */
    unsigned tries;
    struct proxy_ring_wait *ring;
    struct proxy_job *job;
    struct proxy_vault_request *put;
    /* out of the keeper */
    struct buf decision, session_keys, encrypted_ids;
    int body, record, text, heard;
};

static void next_step(struct view_making *making);

struct store_view_key views_key(const struct proxy_views *views, const struct proxy_view_id *id)
{
    struct store_view_key key = {.account = views->net->config->accounts[id->account].address,
                                 .generation = id->generation};
    memcpy(key.digest, id->digest, sizeof(key.digest));
    return key;
}

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void drop_results(struct view_making *making)
{
    buf_fini(&making->decision);
    buf_fini(&making->session_keys);
    buf_fini(&making->encrypted_ids);
    close_file(&making->body);
    close_file(&making->record);
    close_file(&making->text);
    close_file(&making->heard);
}

void views_making_free(struct view_making *making)
{
    if (making == NULL)
        return;
    proxy_ring_cancel(&making->ring);
    proxy_pool_cancel(&making->job);
    proxy_vault_cancel(&making->put);
    drop_results(making);
    close_file(&making->fd);
    making->view->making = NULL;
    views_unpin(making->view);
    free(making);
}

static void end(struct view_making *making, enum err err, bool is_plain)
{
    struct view *view = making->view;
    bool has_record = making->wants_record && !is_plain;
    view->pins++;
    views_making_free(making);
    views_made(view, err, has_record, is_plain);
    views_unpin(view);
}

/* ---- what the vault knows ---- */

static enum err take_found(struct view *view, const struct proxy_vault_found *found)
{
    if (found->is_found && !view->has_record)
        return views_keep(view, found->view.decision, found->view.session_keys, found->view.record);
    if (!found->is_found && view->state == VIEW_UNKNOWN)
        view->state = VIEW_MISSING;
    return ERR_OK;
}

static void on_found(enum err err, const struct proxy_vault_found *found, size_t len, void *context)
{
    struct view *view = context;
    struct view_making *making = view->making;
    view->asking = NULL;
    if (err == ERR_OK)
        err = len > 0 ? take_found(view, found) : ERR_INTERNAL;
    views_found(view, err);
    if (making != NULL && making->waits_for_vault) {
        making->waits_for_vault = false;
        if (err == ERR_OK)
            next_step(making);
        else
            end(making, err, false);
    }
    views_unpin(view);
}

enum err views_ask(struct view *view)
{
    struct store_view_key key = views_key(view->views, &view->id);
    if (view->asking != NULL)
        return ERR_OK;
    enum err err = proxy_vault_views_get(view->views->net->vault, &key, 1, on_found, view, &view->asking);
    if (err == ERR_OK)
        view->pins++;
    return err;
}

/* ---- committing ---- */

static enum err keep_results(struct view_making *making)
{
    struct span record;
    enum err err = memfd_map(making->record, STORE_RECORD_MAX, &record);
    if (err != ERR_OK)
        return err;
    err = views_keep(making->view, buf_span(&making->decision), buf_span(&making->session_keys), record);
    memfd_unmap(&record);
    if (err == ERR_OK && !making->view->has_record)
        err = ERR_PEER_PROTOCOL;
    return err == ERR_OK ? views_keep_body(making->view, making->body) : err;
}

static void on_put(enum err err, void *context)
{
    struct view_making *making = context;
    making->put = NULL;
    if (err == ERR_EXISTS && ++making->tries < TRIES_MAX) {
        drop_results(making);
        /* The first one's word may have come meanwhile, with others that were looked up. */
        if (!making->view->has_record)
            making->view->state = VIEW_UNKNOWN;
        next_step(making);
        return;
    }
    if (err == ERR_OK)
        err = keep_results(making);
    end(making, err, false);
}

static enum err put(struct view_making *making)
{
    struct view *view = making->view;
    struct store_view_key key = views_key(view->views, &view->id);
    const struct proxy_open_answer opened = {.decision = buf_span(&making->decision),
                                             .session_keys = buf_span(&making->session_keys),
                                             .encrypted_ids = buf_span(&making->encrypted_ids)};
    return proxy_vault_view_put(view->views->net->vault, &key, &opened, making->record, making->text, on_put, making,
                                &making->put);
}

/* ---- the keeper ---- */

static enum err take_answer(struct view_making *making, struct ipc_in *in, bool *is_plain_out)
{
    struct proxy_open_answer answer;
    proxy_get_opened(in, &answer);
    *is_plain_out = answer.is_plain;
    if (!answer.is_plain) {
        making->body = ipc_get_file(in);
        making->record = making->wants_record ? ipc_get_file(in) : -1;
        making->text = making->wants_record ? ipc_get_file(in) : -1;
    }
    if (answer.has_heard)
        making->heard = ipc_get_file(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = buf_add_span(&making->decision, answer.decision);
    if (err == ERR_OK)
        err = buf_add_span(&making->session_keys, answer.session_keys);
    if (err == ERR_OK)
        err = buf_add_span(&making->encrypted_ids, answer.encrypted_ids);
    return err;
}

/* Nobody waits for that; what cannot be told now is not told. */
static void tell_heard(struct view_making *making)
{
    struct proxy_net *net = making->view->views->net;
    if (making->heard < 0 || !making->is_heard)
        return;
    enum err err = proxy_vault_peer_received(net->vault, net->config->accounts[making->view->id.account].address,
                                             making->heard, NULL, NULL, NULL);
    if (err != ERR_OK)
        log_failure(err, "telling what a message says of keys");
}

static void on_opened(enum err err, struct ipc_in *in, void *context)
{
    struct view_making *making = context;
    bool is_plain = false;
    making->job = NULL;
    /* The agent forgets passphrases in the course of a long session. */
    if (err == ERR_KEY_LOCKED)
        proxy_views_unlock(making->view->views, making->view->id.account);
    if (err == ERR_OK)
        err = take_answer(making, in, &is_plain);
    if (err == ERR_OK)
        tell_heard(making);
    /* It was decided that there is a view. */
    if (err == ERR_OK && is_plain && making->view->state == VIEW_DECIDED)
        err = log_failure(ERR_INTERNAL, "a view that became plain");
    if (err == ERR_OK && !is_plain && making->wants_record)
        err = put(making);
    else if (err == ERR_OK && !is_plain)
        err = views_keep_body(making->view, making->body);
    if (making->put == NULL)
        end(making, err, is_plain && err == ERR_OK);
}

static enum err submit(struct view_making *making)
{
    struct view *view = making->view;
    struct proxy_net *net = view->views->net;
    struct proxy_open_request request = {.wants_record = making->wants_record};
    int index = -1;
    struct ipc_out out;
    if (view->state == VIEW_DECIDED) {
        request.decision = buf_span(&view->decision);
        request.session_keys = buf_span(&view->session_keys);
    } else {
        index = proxy_ring_file(net->ring, view->id.account, &request.index_number);
        if (index < 0)
            return ERR_INTERNAL;
    }
    ipc_out_begin(&out, PROXY_JOB_OPEN);
    proxy_put_open(&out, &request);
    ipc_put_file(&out, making->fd);
    if (index >= 0)
        ipc_put_file(&out, index);
    return proxy_pool_submit(net->pool, view->id.account, &out, on_opened, making, &making->job);
}

static void on_ring(enum err err, const struct keyring *keyring, void *context)
{
    struct view_making *making = context;
    (void)keyring;
    making->ring = NULL;
    if (err == ERR_OK)
        err = submit(making);
    if (err != ERR_OK)
        end(making, err, false);
}

/* ---- what comes when ---- */

static bool is_wanted(const struct view *view)
{
    const struct proxy_view_wait *wait;
    for (wait = TAILQ_FIRST(&view->waits); wait != NULL; wait = TAILQ_NEXT(wait, link))
        if (wait->kind == VIEW_WAIT_OPEN || wait->kind == VIEW_WAIT_BODY)
            return true;
    return false;
}

static enum err take_step(struct view_making *making)
{
    struct view *view = making->view;
    struct proxy_ring *ring = view->views->net->ring;
    if (view->state == VIEW_UNKNOWN) {
        making->waits_for_vault = true;
        return views_ask(view);
    }
    if (view->state == VIEW_DECIDED)
        return submit(making);
    /* It must be committed before anybody sees it. */
    making->wants_record = true;
    if (proxy_ring_current_but_mail(ring, view->id.account) != NULL)
        return submit(making);
    return proxy_ring_ask(ring, view->id.account, on_ring, making, &making->ring);
}

static void next_step(struct view_making *making)
{
    if (!is_wanted(making->view)) {
        views_making_free(making);
        return;
    }
    enum err err = take_step(making);
    if (err != ERR_OK)
        end(making, err, false);
}

void views_make(struct view *view)
{
    struct proxy_view_wait *wait, *giver = NULL;
    bool wants_record = false, is_heard = false;
    if (view->making != NULL)
        return;
    for (wait = TAILQ_FIRST(&view->waits); wait != NULL; wait = TAILQ_NEXT(wait, link)) {
        if (wait->kind == VIEW_WAIT_OPEN || wait->kind == VIEW_WAIT_BODY)
            giver = giver == NULL ? wait : giver;
        wants_record = wants_record || wait->kind == VIEW_WAIT_OPEN;
        is_heard = is_heard || wait->is_heard;
    }
    if (giver == NULL)
        return;
    struct view_making *making = calloc(1, sizeof(*making));
    if (making == NULL) {
        views_made(view, ERR_MEMORY, false, false);
        return;
    }
    *making = (struct view_making){.view = view,
                                   .fd = giver->fd,
                                   .wants_record = wants_record,
                                   .is_heard = is_heard,
                                   .body = -1,
                                   .record = -1,
                                   .text = -1,
                                   .heard = -1};
    giver->fd = -1;
    buf_init(&making->decision, STORE_DECISION_MAX);
    buf_init_secret(&making->session_keys, STORE_DECISION_MAX);
    buf_init(&making->encrypted_ids, sizeof(struct crypto_message_ids));
    view->making = making;
    view->pins++;
    next_step(making);
}

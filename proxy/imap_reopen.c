/*
 * Judging again what could not be opened before (design 1.2.1): a view never changes under its UID, so the message gets
 * another one. Copied first, expunged last: what is broken off leaves a message twice, never none; what fails takes the
 * copy back.
 */
#include "proxy/imap_internal.h"

#include "proxy/vault_views.h"

#include <stdlib.h>
#include <string.h>

struct imap_reopen {
    struct imap_work *work;
    imap_reopen_fn fn;
    void *context;
    struct imap_set uids;
    struct imap_set_step step;
    uint32_t uid; /* the one that is at hand */
    struct proxy_view_id id;
    uint32_t generation; /* its next one */
    uint32_t copy;       /* the UID of its copy */
    struct proxy_vault_request *request;
    struct event *finish; /* fn fires from the loop */
};

static void take_next(struct imap_reopen *reopen);

static struct imap_session *session_of(const struct imap_reopen *reopen)
{
    return reopen->work->session;
}

static struct store_view_key key_of(const struct imap_reopen *reopen)
{
    struct store_view_key key = {.account = imap_session_account(session_of(reopen))->address,
                                 .generation = reopen->id.generation};
    memcpy(key.digest, reopen->id.digest, sizeof(key.digest));
    return key;
}

/* One that fails stays as it is, marked; the others are tried. */
static void give_up(struct imap_reopen *reopen, enum err err)
{
    log_failure(err, "judging message with UID %u again", reopen->uid);
    take_next(reopen);
}

static struct store_mailbox mailbox_of(const struct imap_reopen *reopen)
{
    const struct imap_session *session = session_of(reopen);
    return (struct store_mailbox){.account = imap_session_account(session)->address,
                                  .name = imap_mailbox_key(session->mailbox),
                                  .uid_validity = imap_mailbox_uid_validity(session->mailbox)};
}

/* A place that is kept without its message would be tried again at each SELECT. */
static void forget_place(struct imap_reopen *reopen, uint32_t uid)
{
    struct store_mailbox mailbox = mailbox_of(reopen);
    enum err err = proxy_vault_places_forget(session_of(reopen)->net->vault, &mailbox, &uid, 1, NULL, NULL, NULL);
    if (err != ERR_OK)
        log_failure(err, "forgetting a message that is gone");
}

static void expunge(struct imap_reopen *reopen, uint32_t uid, imap_reply_fn fn)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_addf(&out, "UID EXPUNGE %u", uid);
    imap_session_send(session_of(reopen), &out, NULL, fn, reopen);
}

static void mark_deleted(struct imap_reopen *reopen, uint32_t uid, imap_reply_fn fn)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_addf(&out, "UID STORE %u +FLAGS.SILENT (\\Deleted)", uid);
    imap_session_send(session_of(reopen), &out, NULL, fn, reopen);
}

/* ---- the copy is taken back ---- */

static void end_taking_back(struct imap_reopen *reopen, bool is_gone)
{
    if (is_gone)
        forget_place(reopen, reopen->copy);
    else
        log_warning("message with UID %u stays beside its copy, UID %u", reopen->uid, reopen->copy);
    take_next(reopen);
}

static void on_copy_expunged(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    (void)client;
    end_taking_back(context, reply->status == IMAP_OK);
}

static void on_copy_deleted(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_reopen *reopen = context;
    (void)client;
    if (reply->status == IMAP_OK)
        expunge(reopen, reopen->copy, on_copy_expunged);
    else
        end_taking_back(reopen, false);
}

/* What is not to take the old one's place must not stand beside it. The UID of the copy, and so its place, is known
   only when it is there: another order is not to be had. */
static void take_back(struct imap_reopen *reopen, enum err err)
{
    log_failure(err, "judging message with UID %u again", reopen->uid);
    mark_deleted(reopen, reopen->copy, on_copy_deleted);
}

/* ---- one after the other ---- */

/* The mark stays: other mailboxes may hold the same message, and are looked after when they are selected. */
static void on_expunged(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_reopen *reopen = context;
    (void)client;
    if (reply->status != IMAP_OK) {
        give_up(reopen, ERR_UPSTREAM_REJECTED);
        return;
    }
    log_info("message with UID %u is judged again as UID %u", reopen->uid, reopen->copy);
    forget_place(reopen, reopen->uid);
    take_next(reopen);
}

static void on_deleted(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_reopen *reopen = context;
    (void)client;
    if (reply->status == IMAP_OK)
        expunge(reopen, reopen->uid, on_expunged);
    else
        take_back(reopen, ERR_UPSTREAM_REJECTED);
}

static void on_placed(enum err err, void *context)
{
    struct imap_reopen *reopen = context;
    reopen->request = NULL;
    if (err == ERR_OK)
        mark_deleted(reopen, reopen->uid, on_deleted);
    else
        take_back(reopen, err);
}

/* "COPYUID uidvalidity from to", each of one message. */
static bool read_copy(struct imap_reopen *reopen, struct span code)
{
    struct span word, validity, from, to = code;
    uint64_t source, target;
    if (!span_take_until(&to, ' ', &word) || !span_is_case_equal(word, SPAN_LIT("COPYUID")) ||
        !span_take_until(&to, ' ', &validity) || !span_take_until(&to, ' ', &from) ||
        !span_to_u64(from, UINT32_MAX, &source) || !span_to_u64(to, UINT32_MAX, &target) || source != reopen->uid)
        return false;
    reopen->copy = (uint32_t)target;
    return true;
}

static void on_copied(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_reopen *reopen = context;
    struct imap_session *session = session_of(reopen);
    struct store_place place = {.is_view = true, .generation = reopen->generation};
    struct store_mailbox mailbox = mailbox_of(reopen);
    (void)client;
    if (reply->status == IMAP_OK && reply->code.len == 0) {
        /* Nothing was copied: somebody has expunged it (RFC 4315 §3). */
        forget_place(reopen, reopen->uid);
        take_next(reopen);
        return;
    }
    if (reply->status != IMAP_OK || !read_copy(reopen, reply->code)) {
        give_up(reopen, ERR_UPSTREAM_REJECTED);
        return;
    }
    place.uid = reopen->copy;
    memcpy(place.digest, reopen->id.digest, sizeof(place.digest));
    enum err err =
        proxy_vault_places_put(session->net->vault, &mailbox, &place, 1, on_placed, reopen, &reopen->request);
    if (err != ERR_OK)
        take_back(reopen, err);
}

static void on_generation(enum err err, uint32_t generation, void *context)
{
    struct imap_reopen *reopen = context;
    struct imap_session *session = session_of(reopen);
    struct imap_out out;
    reopen->request = NULL;
    if (err != ERR_OK) {
        give_up(reopen, err);
        return;
    }
    /* A copy elsewhere may have been judged again already: then its word counts. */
    reopen->generation = generation > reopen->id.generation ? generation : generation + 1;
    imap_out_init(&out);
    imap_out_addf(&out, "UID COPY %u ", reopen->uid);
    imap_out_astring(&out, imap_mailbox_name(session->mailbox));
    imap_session_send(session, &out, NULL, on_copied, reopen);
}

static void on_finish(evutil_socket_t fd, short what, void *context)
{
    struct imap_reopen *reopen = context;
    (void)fd;
    (void)what;
    reopen->fn(reopen->context);
}

static void take_next(struct imap_reopen *reopen)
{
    struct imap_session *session = session_of(reopen);
    struct store_view_key key;
    do {
        if (!imap_set_next(&reopen->uids, &reopen->step, &reopen->uid)) {
            event_active(reopen->finish, EV_TIMEOUT, 0);
            return;
        }
    } while (imap_mailbox_class(session->mailbox, reopen->uid, &reopen->id) != IMAP_CLASS_VIEW);
    key = key_of(reopen);
    enum err err = proxy_vault_view_generation(session->net->vault, key.account, key.digest, on_generation, reopen,
                                               &reopen->request);
    if (err != ERR_OK) {
        log_failure(err, "judging messages again");
        event_active(reopen->finish, EV_TIMEOUT, 0);
    }
}

enum err imap_reopen_new(struct imap_work *work, imap_reopen_fn fn, void *context, struct imap_reopen **reopen_out)
{
    struct imap_reopen *reopen = calloc(1, sizeof(*reopen));
    *reopen_out = NULL;
    if (reopen == NULL)
        return ERR_MEMORY;
    reopen->work = work;
    reopen->fn = fn;
    reopen->context = context;
    imap_set_init(&reopen->uids);
    reopen->finish = event_new(work->session->net->base, -1, 0, on_finish, reopen);
    enum err err = reopen->finish == NULL ? ERR_MEMORY : ERR_OK;
    if (err == ERR_OK)
        err = imap_set_copy(imap_mailbox_reopens(work->session->mailbox), &reopen->uids);
    if (err != ERR_OK) {
        imap_reopen_free(&reopen);
        return err;
    }
    *reopen_out = reopen;
    take_next(reopen);
    return ERR_OK;
}

void imap_reopen_free(struct imap_reopen **reopen_pointer)
{
    struct imap_reopen *reopen = *reopen_pointer;
    *reopen_pointer = NULL;
    if (reopen == NULL)
        return;
    proxy_vault_cancel(&reopen->request);
    if (reopen->finish != NULL)
        event_free(reopen->finish);
    imap_set_fini(&reopen->uids);
    free(reopen);
}

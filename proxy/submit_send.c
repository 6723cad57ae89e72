#include "proxy/submit_internal.h"

#include "base/memfd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void begin_group(struct proxy_submit *submit);

void submit_note_failure(struct proxy_submit *submit, const struct smtp_reply *reply)
{
    bool is_first = submit->failure.code == 0;
    bool is_temporary = reply->code / 100 == 4;
    if (!is_first && (submit->failure.code / 100 == 4 || !is_temporary))
        return;
    smtp_reply_clear(&submit->failure);
    if (smtp_reply_copy(reply, &submit->failure) != ERR_OK)
        submit->failure.code = 451;
}

static void note_err(struct proxy_submit *submit, enum err err)
{
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    if (smtp_reply_of_err(&reply, err, NULL) != ERR_OK)
        reply.code = 451;
    submit_note_failure(submit, &reply);
    smtp_reply_fini(&reply);
}

/* All groups have been tried. */
static void finish(struct proxy_submit *submit)
{
    struct smtp_reply reply;
    if (submit->failure.code != 0) {
        submit_end(submit, &submit->failure);
        return;
    }
    if (submit->last_ok.code != 0) {
        submit_end(submit, &submit->last_ok);
        return;
    }
    smtp_reply_init(&reply);
    if (smtp_reply_set(&reply, 250, "2.0.0", "Every recipient has this message already") != ERR_OK)
        reply.code = 250;
    submit_end(submit, &reply);
    smtp_reply_fini(&reply);
}

static void next_group(struct proxy_submit *submit)
{
    memfd_unmap(&submit->content);
    if (submit->current < submit->groups_len && submit->groups[submit->current].fd >= 0) {
        close(submit->groups[submit->current].fd);
        submit->groups[submit->current].fd = -1;
    }
    submit->current++;
    if (submit->current < submit->groups_len)
        begin_group(submit);
    else
        finish(submit);
}

/* True when what was accepted must be on disk before anything else: another group follows, a recipient is still
   missing, or nobody is there to hear of the success. */
static bool needs_record(const struct proxy_submit *submit)
{
    return submit->current + 1 < submit->groups_len || submit->failure.code != 0 || submit->has_record ||
           submit->session->server == NULL;
}

static void on_recorded(enum err err, const char *const *addresses, size_t addresses_len, void *context)
{
    struct proxy_submit *submit = context;
    (void)addresses;
    (void)addresses_len;
    if (!submit_is_alive(submit))
        return;
    /* The groups that remain are finished all the same: ending here would make the retry certain and the duplicate with
     * it. */
    if (err != ERR_OK)
        log_failure(err, "message %s: what was delivered could not be recorded; a retry may deliver it twice",
                    submit->facts.message_id);
    next_group(submit);
}

/* Records `indices` (of session.recipients) as delivered. */
static enum err record(struct proxy_submit *submit, const size_t *indices, size_t len, proxy_vault_fn fn)
{
    const char **addresses = calloc(len + 1, sizeof(*addresses));
    if (addresses == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < len; i++)
        addresses[i] = submit->session->recipients[indices[i]].rcpt.to.address;
    enum err err = proxy_vault_add(submit->session->net->vault, &submit->key, addresses, len, fn, submit);
    free(addresses);
    if (err == ERR_OK) {
        submit->vault_waits++;
        submit->has_record = true;
    }
    return err;
}

static void on_data_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct proxy_submit *submit = context;
    (void)client;
    /* A DATA that was refused leaves the transaction open. */
    submit->session->is_open = !smtp_reply_is_ok(reply);
    if (!smtp_reply_is_ok(reply)) {
        submit_note_failure(submit, reply);
        /* Before any copy is out a vanished client is a reason to stop: it will try again. */
        if (submit->session->server == NULL && !submit->has_sent_any)
            submit_end(submit, &submit->failure);
        else
            next_group(submit);
        return;
    }
    submit->has_sent_any = true;
    smtp_reply_clear(&submit->last_ok);
    if (smtp_reply_copy(reply, &submit->last_ok) != ERR_OK)
        submit->last_ok.code = 250;
    submit_tell_sent(submit);
    enum err err = needs_record(submit) ? record(submit, submit->accepted, submit->accepted_len, on_recorded) : ERR_END;
    if (err == ERR_OK)
        return;
    if (err != ERR_END)
        log_failure(err, "message %s: what was delivered could not be recorded; a retry may deliver it twice",
                    submit->facts.message_id);
    next_group(submit);
}

static void send_data(struct proxy_submit *submit)
{
    struct submit_group *group = &submit->groups[submit->current];
    uint64_t size_max = submit->session->net->config->message_max * 2;
    enum err err = memfd_map(group->fd, size_max, &submit->content);
    if (err == ERR_OK)
        err = smtp_client_data(submit->session->upstream, submit->content, on_data_reply, submit);
    if (err != ERR_OK) {
        note_err(submit, err);
        next_group(submit);
    }
}

static void on_rcpt_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct proxy_submit *submit = context;
    const struct submit_group *group = &submit->groups[submit->current];
    (void)client;
    size_t number = group->recipients_len - submit->replies_due--;
    if (smtp_reply_is_ok(reply))
        submit->accepted[submit->accepted_len++] = group->recipients[number];
    else {
        log_info("message %s: %s refused at delivery: %d", submit->facts.message_id,
                 submit->session->recipients[group->recipients[number]].rcpt.to.address, reply->code);
        submit_note_failure(submit, reply);
    }
    if (submit->replies_due > 0)
        return;
    if (submit->accepted_len > 0 && !submit->is_refused)
        send_data(submit);
    else
        next_group(submit);
}

/* The transaction is not the one that was asked for. The RCPTs behind may be accepted all the same, by a server that
   still has the former one open with the recipients of another copy: this copy must not be sent in it. */
static void refuse_group(struct proxy_submit *submit, const struct smtp_reply *reply)
{
    log_warning("message %s: the server refused to begin anew: %d", submit->facts.message_id, reply->code);
    submit->is_refused = true;
    submit_note_failure(submit, reply);
}

static void on_mail_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct proxy_submit *submit = context;
    (void)client;
    submit->session->is_open = smtp_reply_is_ok(reply);
    if (!smtp_reply_is_ok(reply))
        refuse_group(submit, reply);
}

static void on_reset_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    (void)client;
    if (!smtp_reply_is_ok(reply))
        refuse_group(context, reply);
}

/* A transaction of its own for the current group, with its own SIZE, BODY and DSN parameters. */
static enum err open_transaction(struct proxy_submit *submit)
{
    struct proxy_session *session = submit->session;
    const struct submit_group *group = &submit->groups[submit->current];
    struct smtp_mail mail = session->mail;
    enum err err = ERR_OK;
    mail.has_size = true;
    mail.size = group->size;
    mail.body = group->is_8bit ? SMTP_BODY_8BITMIME : SMTP_BODY_NONE;
    submit->replies_due = group->recipients_len;
    /* Whether or not a transaction seems open: one that was refused halfway may be. */
    if (session->is_open || submit->failure.code != 0)
        err = smtp_client_reset(session->upstream, on_reset_reply, submit);
    session->is_open = false;
    if (err == ERR_OK)
        err = smtp_client_mail(session->upstream, &mail, on_mail_reply, submit);
    for (size_t i = 0; err == ERR_OK && i < group->recipients_len; i++)
        err =
            smtp_client_rcpt(session->upstream, &session->recipients[group->recipients[i]].rcpt, on_rcpt_reply, submit);
    return err;
}

/* True if the transaction that was opened as the client spoke serves for the current group: it is the only one, for the
   same recipients, and what was announced holds. */
static bool may_go_on(const struct proxy_submit *submit)
{
    const struct proxy_session *session = submit->session;
    const struct submit_group *group = &submit->groups[submit->current];
    bool size_holds = session->announced_size == 0 || group->size <= session->announced_size;
    return submit->groups_len == 1 && session->is_open && !session->is_envelope_spoilt &&
           group->recipients_len == session->recipients_len && size_holds && !group->is_8bit;
}

static void begin_group(struct proxy_submit *submit)
{
    const struct submit_group *group = &submit->groups[submit->current];
    submit->accepted_len = 0;
    submit->is_refused = false;
    if (submit->session->upstream == NULL) {
        submit_fail(submit, ERR_UPSTREAM_LOST, NULL);
        return;
    }
    if (may_go_on(submit)) {
        for (size_t i = 0; i < group->recipients_len; i++)
            submit->accepted[submit->accepted_len++] = group->recipients[i];
        send_data(submit);
        return;
    }
    enum err err = open_transaction(submit);
    if (err != ERR_OK) {
        /* Part of the commands may be on the way already; nothing of the message is. */
        note_err(submit, err);
        smtp_client_free(&submit->session->upstream);
        submit_end(submit, &submit->failure);
    }
}

static void on_record_opened(enum err err, const char *const *addresses, size_t addresses_len, void *context)
{
    struct proxy_submit *submit = context;
    (void)addresses;
    (void)addresses_len;
    if (!submit_is_alive(submit))
        return;
    if (err == ERR_OK)
        begin_group(submit);
    else
        submit_fail(submit, err, NULL);
}

void submit_send(struct proxy_submit *submit)
{
    if (submit->groups_len == 0) {
        finish(submit);
        return;
    }
    /* Several groups need a record; whether the disk takes one is learnt while nothing has been sent. */
    enum err err = submit->groups_len > 1 ? record(submit, NULL, 0, on_record_opened) : ERR_END;
    if (err == ERR_OK)
        return;
    if (err == ERR_END)
        begin_group(submit);
    else
        submit_fail(submit, err, NULL);
}

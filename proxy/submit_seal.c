#include "proxy/submit_internal.h"

#include "base/memfd.h"
#include "proxy/copy.h"
#include "proxy/views.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void submit_groups_free(struct proxy_submit *submit)
{
    memfd_unmap(&submit->content);
    for (size_t i = 0; i < submit->groups_len; i++) {
        proxy_pool_cancel(&submit->groups[i].job);
        if (submit->groups[i].fd >= 0)
            close(submit->groups[i].fd);
        free(submit->groups[i].recipients);
    }
    free(submit->groups);
    submit->groups = NULL;
    submit->groups_len = 0;
}

/* The last look before anything is sent: what the plan calls sealed must be so by its outermost type (design, section
 * 3). */
static enum err check_copy(const struct proxy_submit *submit, const struct submit_group *group)
{
    struct span content;
    bool is_sealed = true;
    enum plan_action action = group->planned->action;
    uint64_t upstream_max = smtp_client_features(submit->session->upstream)->size_max;
    if (action == PLAN_REFUSE)
        return ERR_REFUSED;
    if (upstream_max != 0 && group->size > upstream_max)
        return ERR_TOO_BIG;
    if (group->is_8bit && (smtp_client_features(submit->session->upstream)->flags & SMTP_HAS_8BITMIME) == 0)
        return ERR_NEEDS_8BIT;
    enum err err = memfd_map(group->fd, submit->session->net->config->message_max * 2, &content);
    if (err != ERR_OK)
        return err;
    if (action == PLAN_ENCRYPT || action == PLAN_SIGN_ENCRYPT)
        is_sealed = crypto_looks_sealed(content, group->planned->format == KEYRING_SMIME ? CRYPTO_SEALED_SMIME
                                                                                         : CRYPTO_SEALED_OPENPGP);
    else if (action == PLAN_PASS)
        is_sealed = crypto_looks_sealed(content, submit->facts.sealed);
    memfd_unmap(&content);
    return is_sealed ? ERR_OK : ERR_NOT_SEALED;
}

/* A private key that lies in the store is behind the store's passphrase, or the OpenPGP key that holds the store.
   Whoever only sends was not asked for that at login: now a person is, once, and the next try finds it open. gpg and a
   token ask by themselves while they seal. */
static void ask_for_key(struct proxy_session *session, enum keyring_format format)
{
    if (format == KEYRING_SMIME && session_account(session)->pkcs11_module[0] == '\0')
        proxy_views_unlock(session->net->views, session->account);
}

static void on_sealed(enum err err, struct ipc_in *answer, void *context)
{
    const struct submit_ready *ready = context;
    struct proxy_submit *submit = ready->submit;
    struct submit_group *group = &submit->groups[ready->number];
    group->job = NULL;
    if (err == ERR_OK) {
        uint64_t size = ipc_get_u64(answer);
        group->is_8bit = ipc_get_u32(answer) != 0;
        group->fd = ipc_get_file(answer);
        err = ipc_in_end(answer);
        if (err == ERR_OK)
            err = memfd_check(group->fd, submit->session->net->config->message_max * 2, &group->size);
        if (err == ERR_OK && group->size != size)
            err = ERR_PEER_PROTOCOL;
    }
    if (err == ERR_OK)
        err = submit->session->upstream == NULL ? ERR_UPSTREAM_LOST : check_copy(submit, group);
    if (err == ERR_KEY_LOCKED)
        ask_for_key(submit->session, group->planned->format);
    if (err != ERR_OK) {
        submit_fail(submit, err, NULL);
        return;
    }
    if (--submit->unsealed_len > 0)
        return;
    /* All copies stand; the message as it came is not needed any more. */
    close(submit->fd);
    submit->fd = -1;
    submit_send(submit);
}

static enum err seal_one(struct proxy_submit *submit, struct proxy_copy *copy, size_t number)
{
    struct submit_group *group = &submit->groups[number];
    struct proxy_session *session = submit->session;
    bool has_8bitmime = (smtp_client_features(session->upstream)->flags & SMTP_HAS_8BITMIME) != 0;
    struct crypto_seal_request request;
    struct ipc_out out;
    proxy_copy_request(copy, group->planned, &request);
    request.wants_7bit = !has_8bitmime;
    ipc_out_begin(&out, PROXY_JOB_SEAL);
    proxy_put_seal(&out, &request);
    ipc_put_file(&out, submit->fd);
    return proxy_pool_submit(session->net->pool, session->account, &out, on_sealed, &group->ready, &group->job);
}

/* Everyone in the envelope must stand in exactly one group: a plan that forgets somebody would end in a 250 for mail
   that nobody sent. */
static enum err check_plan(const struct proxy_submit *submit)
{
    size_t recipients_len = submit->session->recipients_len;
    size_t found = 0;
    bool *is_planned = calloc(recipients_len + 1, sizeof(*is_planned));
    enum err err = is_planned == NULL ? ERR_MEMORY : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < submit->plan.groups_len; i++) {
        const struct policy_group *planned = &submit->plan.groups[i];
        for (size_t j = 0; err == ERR_OK && j < planned->recipients_len; j++) {
            size_t number = planned->recipients[j];
            if (number >= recipients_len || is_planned[number]) {
                err = ERR_INTERNAL;
                break;
            }
            is_planned[number] = true;
            found++;
        }
    }
    free(is_planned);
    if (err == ERR_OK && found != recipients_len)
        err = ERR_INTERNAL;
    return err;
}

/* The groups of the plan, less the recipients who have the message already, less groups nobody is left of. */
static enum err make_groups(struct proxy_submit *submit)
{
    submit->groups = calloc(submit->plan.groups_len + 1, sizeof(*submit->groups));
    if (submit->groups == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < submit->plan.groups_len; i++) {
        const struct policy_group *planned = &submit->plan.groups[i];
        struct submit_group *group = &submit->groups[submit->groups_len];
        *group = (struct submit_group){.planned = planned, .fd = -1, .ready = {submit, submit->groups_len}};
        group->recipients = calloc(planned->recipients_len + 1, sizeof(*group->recipients));
        if (group->recipients == NULL)
            return ERR_MEMORY;
        for (size_t j = 0; j < planned->recipients_len; j++)
            if (!submit->is_delivered[planned->recipients[j]])
                group->recipients[group->recipients_len++] = planned->recipients[j];
        if (group->recipients_len > 0)
            submit->groups_len++;
        else
            free(group->recipients);
    }
    return ERR_OK;
}

void submit_seal(struct proxy_submit *submit, struct proxy_copy *copy)
{
    struct proxy_session *session = submit->session;
    enum err err = session->upstream == NULL ? ERR_UPSTREAM_LOST : check_plan(submit);
    if (err == ERR_OK)
        err = make_groups(submit);
    if (err == ERR_OK && submit->groups_len == 0) {
        submit_send(submit);
        return;
    }
    submit->unsealed_len = submit->groups_len;
    for (size_t i = 0; err == ERR_OK && i < submit->groups_len; i++) {
        log_info("%s: %s: message %s: copy %zu of %zu: %s, %zu recipients, %zu keys", session->peer,
                 session_account(session)->address, submit->facts.message_id, i + 1, submit->groups_len,
                 plan_action_name(submit->groups[i].planned->action), submit->groups[i].recipients_len,
                 submit->groups[i].planned->keys_len);
        err = seal_one(submit, copy, i);
    }
    if (err != ERR_OK)
        submit_fail(submit, err, NULL);
}

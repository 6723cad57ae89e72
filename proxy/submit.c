#include "proxy/submit_internal.h"

#include "base/clock.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void submit_destroy(struct proxy_submit *submit)
{
    proxy_pool_cancel(&submit->inspect);
    proxy_vault_cancel(&submit->encrypted_find);
    proxy_ring_cancel(&submit->ring_wait);
    submit_groups_free(submit);
    policy_plan_fini(&submit->plan);
    if (submit->fd >= 0)
        close(submit->fd);
    submit->fd = -1;
    free(submit->is_visible);
    free(submit->is_delivered);
    free(submit->accepted);
    free(submit->chosen);
    smtp_reply_fini(&submit->last_ok);
    smtp_reply_fini(&submit->failure);
    free(submit);
}

/* Takes the submission out of its session; what the vault still owes an answer to is freed when the answer has come. */
static void detach(struct proxy_submit *submit)
{
    submit->session->submit = NULL;
    submit->is_dead = true;
    if (submit->vault_waits == 0)
        submit_destroy(submit);
}

bool submit_is_alive(struct proxy_submit *submit)
{
    submit->vault_waits--;
    if (!submit->is_dead)
        return true;
    if (submit->vault_waits == 0)
        submit_destroy(submit);
    return false;
}

void proxy_submit_free(struct proxy_submit **submit)
{
    if (*submit == NULL)
        return;
    submit_destroy(*submit);
    *submit = NULL;
}

void submit_end(struct proxy_submit *submit, const struct smtp_reply *reply)
{
    struct proxy_session *session = submit->session;
    const char *message_id = submit->facts.message_id[0] == '\0' ? "without Message-ID" : submit->facts.message_id;
    log_info("%s: %s: message %s for %zu recipients: %d %s %s", session->peer, session_account(session)->address,
             message_id, session->recipients_len, reply->code, reply->enhanced, reply->text.data);
    if (session->server != NULL && smtp_reply_is_ok(reply) && submit->has_record) {
        /* The strings of the key move to the session, which outlives the submission. */
        memcpy(session->told_message_id, submit->facts.message_id, sizeof(session->told_message_id));
        session->told = submit->key;
        session->told.message_id = session->told_message_id;
        session->has_told = true;
    }
    session_clear_envelope(session);
    enum err err = session_reset_upstream(session);
    if (err != ERR_OK)
        log_failure(err, "resetting the upstream");
    if (session->server != NULL)
        smtp_server_reply(session->server, reply);
    detach(submit);
    session_submit_ended(session);
}

void submit_fail(struct proxy_submit *submit, enum err err, const char *detail)
{
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    enum err told = smtp_reply_of_err(&reply, err, detail);
    if (told != ERR_OK && smtp_reply_set(&reply, 451, "4.3.0", err_sentence(ERR_INTERNAL)) != ERR_OK)
        reply.code = 451;
    submit_end(submit, &reply);
    smtp_reply_fini(&reply);
}

static void make_plan(struct proxy_submit *submit, const struct keyring *keyring)
{
    struct proxy_session *session = submit->session;
    const struct config_account *account = session_account(session);
    char detail[POLICY_DETAIL_SIZE] = "";
    struct policy_recipient *recipients = calloc(session->recipients_len + 1, sizeof(*recipients));
    if (recipients == NULL) {
        submit_fail(submit, ERR_MEMORY, NULL);
        return;
    }
    for (size_t i = 0; i < session->recipients_len; i++) {
        const struct session_recipient *recipient = &session->recipients[i];
        recipients[i] = (struct policy_recipient){.address = recipient->rcpt.to.address,
                                                  .is_visible = submit->is_visible[i],
                                                  .had_word = recipient->had_word,
                                                  .had_heard = recipient->had_heard,
                                                  .had_key = recipient->had_key,
                                                  .is_unasked = recipient->is_unasked,
                                                  .is_record_read = recipient->is_record_read};
    }
    struct policy_message message = {.recipients = recipients,
                                     .recipients_len = session->recipients_len,
                                     .from = submit->facts.from,
                                     .own = (const char *const *)account->addresses,
                                     .own_len = account->addresses_len,
                                     .is_sealed = submit->facts.sealed != CRYPTO_NOT_SEALED,
                                     .is_reply_to_encrypted = submit->is_reply_to_encrypted,
                                     .wants_encryption = submit->facts.wants_encryption,
                                     .wants_plain = submit->facts.wants_plain,
                                     .is_mutual = account->autocrypt == KEYRING_PREFERENCE_MUTUAL,
                                     .now = clock_now(),
                                     .groups_max = session->net->config->groups_max};
    enum err err = policy_plan_make(&session->net->config->policy, keyring, &message, &submit->plan, detail);
    struct proxy_copy copy = {
        .config = session->net->config, .account = account, .keyring = keyring, .message = &message};
    if (err == ERR_OK)
        err = submit_note_keys(submit, keyring);
    if (err == ERR_OK && submit->plan.warning[0] != '\0')
        log_warning("%s: %s: message %s: %s", session->peer, account->address, submit->facts.message_id,
                    submit->plan.warning);
    if (err == ERR_OK)
        submit_seal(submit, &copy);
    else
        submit_fail(submit, err, detail[0] == '\0' ? NULL : detail);
    free(recipients);
}

static void on_ring(enum err err, const struct keyring *keyring, void *context)
{
    struct proxy_submit *submit = context;
    submit->ring_wait = NULL;
    if (err == ERR_OK)
        make_plan(submit, keyring);
    else
        submit_fail(submit, err, NULL);
}

static void plan(struct proxy_submit *submit)
{
    struct proxy_session *session = submit->session;
    const struct keyring *keyring = proxy_ring_current_but_mail(session->net->ring, session->account);
    if (keyring != NULL) {
        make_plan(submit, keyring);
        return;
    }
    enum err err = proxy_ring_ask(session->net->ring, session->account, on_ring, submit, &submit->ring_wait);
    if (err != ERR_OK)
        submit_fail(submit, err, NULL);
}

static void on_encrypted_found(enum err err, bool is_found, void *context)
{
    struct proxy_submit *submit = context;
    submit->encrypted_find = NULL;
    submit->is_reply_to_encrypted = is_found;
    if (err == ERR_OK)
        plan(submit);
    else
        submit_fail(submit, err, NULL);
}

/* Without an answer of the vault nothing is planned: the reply could be to encrypted mail. */
static void find_encrypted(struct proxy_submit *submit)
{
    if (submit->facts.answered.len == 0) {
        plan(submit);
        return;
    }
    enum err err = proxy_vault_find_encrypted(submit->session->net->vault, submit->key.account, &submit->facts.answered,
                                              on_encrypted_found, submit, &submit->encrypted_find);
    if (err != ERR_OK)
        submit_fail(submit, err, NULL);
}

static void on_known(enum err err, const char *const *addresses, size_t addresses_len, void *context)
{
    struct proxy_submit *submit = context;
    if (!submit_is_alive(submit))
        return;
    struct proxy_session *session = submit->session;
    if (err != ERR_OK) {
        submit_fail(submit, err, NULL);
        return;
    }
    submit->has_record = addresses_len > 0;
    for (size_t i = 0; i < addresses_len; i++)
        for (size_t j = 0; j < session->recipients_len; j++)
            if (strcmp(session->recipients[j].rcpt.to.address, addresses[i]) == 0)
                submit->is_delivered[j] = true;
    find_encrypted(submit);
}

static void on_inspected(enum err err, struct ipc_in *answer, void *context)
{
    struct proxy_submit *submit = context;
    struct proxy_session *session = submit->session;
    submit->inspect = NULL;
    if (err == ERR_OK) {
        proxy_get_facts(answer, &submit->facts, submit->is_visible, session->recipients_len);
        err = ipc_in_end(answer);
    }
    if (err == ERR_OK) {
        submit->key = (struct store_delivery_key){.account = session_account(session)->address,
                                                  .message_id = submit->facts.message_id};
        memcpy(submit->key.digest, submit->facts.digest, sizeof(submit->key.digest));
        err = proxy_vault_get(session->net->vault, &submit->key, on_known, submit);
    }
    if (err == ERR_OK)
        submit->vault_waits++;
    else
        submit_fail(submit, err, NULL);
}

static enum err inspect(struct proxy_submit *submit)
{
    struct proxy_session *session = submit->session;
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_INSPECT);
    ipc_put_string(&out, session->net->config->subject_tag);
    ipc_put_u32(&out, (uint32_t)session->recipients_len);
    for (size_t i = 0; i < session->recipients_len; i++)
        ipc_put_string(&out, session->recipients[i].rcpt.to.address);
    ipc_put_file(&out, submit->fd);
    return proxy_pool_submit(session->net->pool, session->account, &out, on_inspected, submit, &submit->inspect);
}

void proxy_submit_begin(struct proxy_session *session, int fd, size_t size)
{
    struct proxy_submit *submit = calloc(1, sizeof(*submit));
    if (submit == NULL) {
        close(fd);
        smtp_server_fail(session->server, ERR_MEMORY, NULL);
        return;
    }
    *submit = (struct proxy_submit){.session = session, .fd = fd, .size = size};
    session->submit = submit;
    smtp_reply_init(&submit->last_ok);
    smtp_reply_init(&submit->failure);
    submit->is_visible = calloc(session->recipients_len + 1, sizeof(bool));
    submit->is_delivered = calloc(session->recipients_len + 1, sizeof(bool));
    submit->accepted = calloc(session->recipients_len + 1, sizeof(*submit->accepted));
    enum err err =
        submit->is_visible == NULL || submit->is_delivered == NULL || submit->accepted == NULL ? ERR_MEMORY : ERR_OK;
    if (err == ERR_OK)
        err = inspect(submit);
    if (err != ERR_OK)
        submit_fail(submit, err, NULL);
}

void proxy_submit_lost(struct proxy_submit *submit, enum err why, bool is_in_doubt)
{
    if (is_in_doubt)
        log_warning(
            "message %s: the server was lost after the end of the message; it may have been delivered, and a retry may "
            "deliver it twice (RFC 1047)",
            submit->facts.message_id);
    submit_fail(submit, why, NULL);
}

void proxy_submit_client_gone(struct proxy_submit *submit)
{
    struct proxy_session *session = submit->session;
    bool is_in_doubt = session->upstream != NULL && smtp_client_is_in_doubt(session->upstream);
    if (submit->has_sent_any || is_in_doubt) {
        log_info("%s: client gone; finishing what the server has begun to accept", session->peer);
        return;
    }
    log_info("%s: client gone before anything was delivered; message dropped", session->peer);
    /* The upstream may be in the middle of the message: only the end of the connection tells it that no more will come.
     */
    smtp_client_free(&session->upstream);
    detach(submit);
    session_submit_ended(session);
}

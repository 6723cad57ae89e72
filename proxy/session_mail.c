/*
 * The envelope: every recipient is answered by the policy and by the upstream, in a transaction that is opened as the
 * client speaks.
 */
#include "proxy/session_internal.h"

#include "base/clock.h"
#include "proxy/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All addresses of a message must go into one message between processes (IPC_SIZE_MAX), with a tag each. */
#define ADDRESSES_SIZE_MAX 98304u
#define RECORDS_READ_MAX 8u /* for one RCPT, each after a change of the correspondent's record */

/* What the transaction announces by SIZE when a sealed copy may be this much larger than what the client said. */
static uint64_t sealed_estimate(uint64_t size)
{
    return size > UINT64_MAX / 2 ? size : size + size / 2 + 65536;
}

void session_clear_envelope(struct proxy_session *session)
{
    memset(&session->mail, 0, sizeof(session->mail));
    session->recipients_len = 0;
    session->addresses_size = 0;
    session->is_envelope_spoilt = false;
    proxy_ring_cancel(&session->ring_wait);
    proxy_lookup_cancel(&session->lookup);
}

static void on_reset_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct proxy_session *session = context;
    (void)client;
    if (smtp_reply_is_ok(reply))
        return;
    /* The old recipients may still stand there: nothing that follows could be trusted to go to the new ones alone. */
    log_warning("%s: the server refused RSET: %d", session->peer, reply->code);
    session_lose_upstream(session, ERR_UPSTREAM_PROTOCOL);
}

enum err session_reset_upstream(struct proxy_session *session)
{
    if (!session->is_open || session->upstream == NULL)
        return ERR_OK;
    session->is_open = false;
    return smtp_client_reset(session->upstream, on_reset_reply, session);
}

void session_on_reset(struct smtp_server *server, void *owner)
{
    struct proxy_session *session = owner;
    (void)server;
    session_was_told(session);
    session_clear_envelope(session);
    enum err err = session_reset_upstream(session);
    if (err != ERR_OK)
        log_failure(err, "resetting the upstream");
    if (session->net->is_draining)
        smtp_server_shutdown(server, ERR_SHUTDOWN, NULL);
}

static void on_mail_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct proxy_session *session = context;
    (void)client;
    if (session->server == NULL)
        return;
    session->is_open = smtp_reply_is_ok(reply);
    smtp_server_reply(session->server, reply);
}

void session_on_mail(struct smtp_server *server, const struct smtp_mail *mail, void *owner)
{
    struct proxy_session *session = owner;
    session_was_told(session);
    session_clear_envelope(session);
    session->mail = *mail;
    if (!session->is_authenticated || session->upstream == NULL) {
        smtp_server_fail(server, session->is_authenticated ? ERR_UPSTREAM_LOST : ERR_AUTH_REQUIRED, NULL);
        return;
    }
    /* Whether the copy that leaves is 7bit is known only when it is sealed: BODY is said then, in a transaction of its
     * own. */
    struct smtp_mail opened = *mail;
    opened.body = SMTP_BODY_NONE;
    session->announced_size = mail->has_size ? sealed_estimate(mail->size) : 0;
    /* The estimate is generous; by itself it is no reason for the server to refuse. */
    uint64_t upstream_max = smtp_client_features(session->upstream)->size_max;
    if (upstream_max != 0 && mail->size <= upstream_max && session->announced_size > upstream_max)
        session->announced_size = upstream_max;
    opened.size = session->announced_size;
    enum err err = session_reset_upstream(session);
    if (err == ERR_OK)
        err = smtp_client_mail(session->upstream, &opened, on_mail_reply, session);
    if (err != ERR_OK)
        smtp_server_fail(server, err, NULL);
}

static enum err keep_recipient(struct proxy_session *session)
{
    /* Named twice is still one recipient. */
    for (size_t i = 0; i < session->recipients_len; i++)
        if (strcmp(session->recipients[i].rcpt.to.path, session->pending.to.path) == 0)
            return ERR_OK;
    if (session->recipients_len == session->recipients_capacity) {
        size_t capacity = session->recipients_capacity * 2 + 8;
        struct session_recipient *recipients = realloc(session->recipients, capacity * sizeof(*recipients));
        if (recipients == NULL)
            return ERR_MEMORY;
        session->recipients = recipients;
        session->recipients_capacity = capacity;
    }
    session->recipients[session->recipients_len++] =
        (struct session_recipient){.rcpt = session->pending,
                                   .had_word = session->had_word,
                                   .had_heard = session->had_heard,
                                   .had_key = session->had_key,
                                   .is_unasked = session->looked_up != ERR_OK,
                                   .is_record_read = session->heard.is_read};
    session->addresses_size += strlen(session->pending.to.address);
    return ERR_OK;
}

static void on_rcpt_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct proxy_session *session = context;
    (void)client;
    if (session->server == NULL)
        return;
    enum err err = smtp_reply_is_ok(reply) ? keep_recipient(session) : ERR_OK;
    if (err == ERR_OK) {
        smtp_server_reply(session->server, reply);
        return;
    }
    session->is_envelope_spoilt = true;
    smtp_server_fail(session->server, err, NULL);
}

/* ERR_TOO_MANY_GROUPS if the policy alone shows that this recipient makes too many copies. */
static enum err check_groups(const struct proxy_session *session, const struct keyring *keyring, int64_t now)
{
    const struct config *config = session->net->config;
    const char **addresses = calloc(session->recipients_len + 1, sizeof(*addresses));
    if (addresses == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < session->recipients_len; i++)
        addresses[i] = session->recipients[i].rcpt.to.address;
    addresses[session->recipients_len] = session->pending.to.address;
    size_t least = policy_groups_least(&config->policy, keyring, addresses, session->recipients_len + 1, now);
    free(addresses);
    return least > config->groups_max ? ERR_TOO_MANY_GROUPS : ERR_OK;
}

/* Mail may have told a key that was not wanted so far. Or some record is damaged: perhaps this one. */
static bool wants_record(const struct proxy_session *session, const struct keyring *keyring, int64_t now)
{
    const struct config *config = session->net->config;
    struct policy_choice choice;
    if (keyring_is_incomplete(keyring) && !session->heard.is_read)
        return true;
    if (session->heard.is_settled || !config->has_autocrypt)
        return false;
    policy_choose(&config->policy, keyring, session->pending.to.address, now, &choice);
    return policy_wants_record(&choice);
}

/* Sources are asked stage by stage for as long as one may know more. */
static bool wants_lookup(struct proxy_session *session, const struct keyring *keyring, int64_t now)
{
    struct policy_choice choice;
    const char *address = session->pending.to.address;
    policy_choose(&session->net->config->policy, keyring, address, now, &choice);
    return policy_wants_sources(&choice, now) &&
           proxy_lookup_is_due(session->net->lookups, session->account, address, &session->lookup_stage);
}

/* True if the sources' answer could take something away. */
static bool has_asked_for(const struct keyring *keyring, const char *address)
{
    size_t first;
    const size_t len = keyring_find(keyring, address, &first);
    for (size_t i = first; i < first + len; i++)
        if (keyring_at(keyring, i)->ask_again != 0)
            return true;
    return false;
}

static void look_at_ring(struct proxy_session *session);

static void refuse(struct proxy_session *session, enum err err, const char *detail)
{
    log_info("%s: %s: recipient %s refused: %s", session->peer, session_account(session)->address,
             session->pending.to.address, err_name(err));
    smtp_server_fail(session->server, err, detail[0] == '\0' ? NULL : detail);
}

static void refuse_after(struct proxy_session *session, enum err err)
{
    char detail[POLICY_DETAIL_SIZE] = "";
    if (err == ERR_DAMAGED)
        policy_explain_damaged(session->pending.to.address, detail);
    refuse(session, err, detail);
}

/* What is here already, and could not be looked at, may hold a key: that must not read as "there is none". */
static void after_lookup(struct proxy_session *session, enum err err)
{
    if (session->server == NULL || session->upstream == NULL)
        return;
    if (err == ERR_LOOKUP)
        session->looked_up = err;
    if (err != ERR_OK && err != ERR_LOOKUP) {
        refuse_after(session, err);
        return;
    }
    proxy_ring_changed(session->net->ring, session->account);
    look_at_ring(session);
}

static void on_looked_up(enum err err, void *context)
{
    struct proxy_session *session = context;
    session->lookup = NULL;
    session->lookup_stage++;
    after_lookup(session, err);
}

static void on_record_read(enum err err, void *context)
{
    struct proxy_session *session = context;
    session->lookup = NULL;
    session->records_read++;
    after_lookup(session, err);
}

/* What was tried, as far as there is room. */
static void say_sources(const struct config *config, const char *address, char detail[POLICY_DETAIL_SIZE])
{
    const char *before = detail[0] == '\0' ? "asked in vain: " : "; asked in vain: ";
    struct buf text;
    buf_init(&text, POLICY_DETAIL_SIZE - 1);
    bool is_fit = buf_add_string(&text, detail) == ERR_OK;
    for (size_t i = 0; is_fit && i < config->sources_len; i++) {
        char name[PROXY_SOURCE_NAME_SIZE];
        if (!config_source_serves(config->sources[i], address))
            continue;
        proxy_source_name(config->sources[i], name);
        is_fit = buf_addf(&text, "%s%s", before, name) == ERR_OK;
        before = ", ";
    }
    (void)span_copy(buf_span(&text), detail, POLICY_DETAIL_SIZE);
    buf_fini(&text);
}

/* A source that could not be asked may have known a key: where one is required, or the only one has been revoked, that
   is for later. */
static enum err after_failure(const struct proxy_session *session, enum err err, char detail[POLICY_DETAIL_SIZE])
{
    if (err == ERR_CONFLICT)
        return err;
    if (err == ERR_OK) {
        log_warning("%s: not every source could be asked for %s: it goes on with what there is", session->peer,
                    session->pending.to.address);
        return err;
    }
    detail[0] = '\0';
    return session->looked_up;
}

/* One more stage, if there is time for it: else its sources are as those that did not answer. */
static enum err look_up(struct proxy_session *session, const struct keyring *keyring)
{
    const char *address = session->pending.to.address;
    const uint64_t now_ms = clock_monotonic_ms();
    if (session->lookup_until_ms > now_ms)
        return proxy_lookup_begin(session->net->lookups, session->account, address, session->lookup_stage,
                                  has_asked_for(keyring, address), (uint32_t)(session->lookup_until_ms - now_ms),
                                  on_looked_up, session, &session->lookup);
    log_info("%s: not all sources have been asked for %s in %u seconds", session->peer, address,
             (unsigned)(session->net->config->find_timeout_ms / 1000));
    session->looked_up = ERR_LOOKUP;
    return ERR_OK;
}

static void judge_recipient(struct proxy_session *session, const struct keyring *keyring)
{
    char detail[POLICY_DETAIL_SIZE] = "";
    int64_t now = clock_now();
    const struct policy *policy = &session->net->config->policy;
    enum err err;
    if (wants_record(session, keyring, now)) {
        /* Mail that comes faster than its keys are imported: then this recipient waits. */
        err = session->records_read == RECORDS_READ_MAX
                  ? ERR_BUSY
                  : proxy_lookup_heard(session->net->lookups, session->account, session->pending.to.address, keyring,
                                       &session->heard, on_record_read, session, &session->lookup);
        if (err != ERR_OK)
            refuse(session, err, "");
        return;
    }
    if (wants_lookup(session, keyring, now)) {
        err = look_up(session, keyring);
        if (err != ERR_OK)
            refuse(session, err, "");
        if (err != ERR_OK || session->lookup != NULL)
            return;
    }
    struct policy_choice choice;
    policy_choose(policy, keyring, session->pending.to.address, now, &choice);
    session->had_word = choice.key != NULL && choice.key->ask_again != 0;
    session->had_heard = choice.key != NULL && choice.key->advice != KEYRING_ADVICE_NONE;
    session->had_key = choice.key != NULL;
    err = policy_at_rcpt(policy, keyring, session->pending.to.address, now, detail);
    if (session->looked_up != ERR_OK)
        err = after_failure(session, err, detail);
    if (err == ERR_NO_KEY || err == ERR_KEY_UNUSABLE)
        say_sources(session->net->config, session->pending.to.address, detail);
    if (err == ERR_OK)
        err = check_groups(session, keyring, now);
    if (err == ERR_OK)
        err = smtp_client_rcpt(session->upstream, &session->pending, on_rcpt_reply, session);
    if (err != ERR_OK)
        refuse(session, err, detail);
}

static void on_ring(enum err err, const struct keyring *keyring, void *context)
{
    struct proxy_session *session = context;
    session->ring_wait = NULL;
    if (session->server == NULL || session->upstream == NULL)
        return;
    if (err == ERR_OK)
        judge_recipient(session, keyring);
    else
        smtp_server_fail(session->server, err, NULL);
}

static void look_at_ring(struct proxy_session *session)
{
    const struct keyring *keyring = proxy_ring_current(session->net->ring, session->account);
    if (keyring != NULL) {
        judge_recipient(session, keyring);
        return;
    }
    enum err err = proxy_ring_ask(session->net->ring, session->account, on_ring, session, &session->ring_wait);
    if (err != ERR_OK)
        smtp_server_fail(session->server, err, NULL);
}

void session_on_rcpt(struct smtp_server *server, const struct smtp_rcpt *rcpt, void *owner)
{
    struct proxy_session *session = owner;
    session->pending = *rcpt;
    if (session->addresses_size > ADDRESSES_SIZE_MAX) {
        smtp_server_fail(server, ERR_TOO_MANY_RECIPIENTS, NULL);
        return;
    }
    if (session->upstream == NULL || !session->is_open) {
        smtp_server_fail(server, ERR_UPSTREAM_LOST, NULL);
        return;
    }
    session->lookup_stage = 0;
    session->heard = (struct proxy_heard){.is_read = false};
    session->records_read = 0;
    session->lookup_until_ms = clock_monotonic_ms() + session->net->config->find_timeout_ms;
    session->looked_up = ERR_OK;
    look_at_ring(session);
}

void session_on_message(struct smtp_server *server, int fd, size_t size, void *owner)
{
    struct proxy_session *session = owner;
    if (session->upstream == NULL || session->recipients_len == 0) {
        close(fd);
        smtp_server_fail(server, session->recipients_len == 0 ? ERR_NO_RECIPIENTS : ERR_UPSTREAM_LOST, NULL);
        return;
    }
    proxy_submit_begin(session, fd, size);
}

/*
 * Opening in a keeper: from the message to its view, and to what net and the vault keep of it.
 */
#include "proxy/keeper_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "crypto/attached.h"
#include "crypto/open.h"
#include "imap/content.h"
#include "mime/text.h"
#include "proxy/record.h"
#include "store/view.h"

#include <stdlib.h>
#include <unistd.h>

#define LAYERS_MAX 8
#define SAVED_MAX STORE_DECISION_MAX

/* The files of an answer; -1: not made. */
struct results {
    int view, record, text, heard;
};

static void results_fini(struct results *results)
{
    int *const files[] = {&results->view, &results->record, &results->text, &results->heard};
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        if (*files[i] >= 0)
            close(*files[i]);
        *files[i] = -1;
    }
}

/* Takes the index over that came with a job, unless it is the one that is here already. */
static enum err take_index(struct keeper *keeper, uint64_t number, int fd)
{
    struct keyring *keyring = NULL;
    struct span saved;
    if (number == keeper->index_number && keeper->keyring != NULL)
        return ERR_OK;
    enum err err = memfd_map(fd, KEEPER_INDEX_MAX, &saved);
    if (err != ERR_OK)
        return err;
    err = keyring_load(saved, &keyring);
    memfd_unmap(&saved);
    if (err != ERR_OK)
        return err;
    keyring_free(&keeper->keyring);
    keeper->keyring = keyring;
    keeper->index_number = number;
    return ERR_OK;
}

static enum err make_text(const struct mime_part *root, struct span view, int *fd_out)
{
    struct buf text;
    buf_init_secret(&text, STORE_TEXT_MAX);
    enum err err = mime_text_save(root, view, &text);
    /* A view that is too much to search can still be read. */
    if (err == ERR_LIMIT) {
        buf_clear(&text);
        err = ERR_OK;
    }
    if (err == ERR_OK)
        err = memfd_of("text", buf_span(&text), STORE_TEXT_MAX, fd_out);
    buf_fini(&text);
    return err;
}

static enum err make_record(const struct mime_part *root, struct span view, bool is_short, int *fd_out)
{
    struct buf record;
    buf_init_secret(&record, STORE_RECORD_MAX);
    enum err err = is_short ? proxy_record_save_short(root, view, &record) : proxy_record_save(root, view, &record);
    if (err == ERR_OK)
        err = memfd_of("record", buf_span(&record), STORE_RECORD_MAX, fd_out);
    buf_fini(&record);
    return err;
}

/* ERR_LIMIT: the record, in this form, is too large to be kept. */
static enum err make_results(const struct keeper *keeper, bool wants_record, bool is_short, struct span view,
                             struct results *results)
{
    struct mime_tree *tree = NULL;
    enum err err = memfd_of("view", view, keeper->setup.output_max, &results->view);
    if (err == ERR_OK && wants_record)
        err = imap_content_parse(view, &tree);
    if (err == ERR_OK && wants_record)
        err = make_record(tree->root, view, is_short, &results->record);
    if (err == ERR_OK && wants_record)
        err = make_text(tree->root, view, &results->text);
    mime_tree_free(&tree);
    return err;
}

/* The IDs of a message that came encrypted and was opened; none of any other. An own copy, which has no verdict, does
   not count: it was encrypted to be kept, and that says nothing of how the message itself went out. */
static enum err find_encrypted_ids(const struct crypto_decision *decision, struct span view,
                                   struct crypto_message_ids *ids_out)
{
    static const char *const names[] = {"Message-ID", NULL};
    const enum crypto_encryption_state encryption = decision->verdict.encryption;
    bool was_opened = encryption == CRYPTO_ENC_OPENPGP || encryption == CRYPTO_ENC_SMIME;
    ids_out->len = 0;
    return was_opened ? crypto_message_ids_add(ids_out, view, names) : ERR_OK;
}

static enum err answer_opened(const struct crypto_opened *opened, const struct crypto_message_ids *encrypted_ids,
                              const struct results *results)
{
    struct proxy_open_answer answer = {.is_plain = opened->is_plain,
                                       .encrypted_ids = crypto_message_ids_span(encrypted_ids),
                                       .has_heard = results->heard >= 0};
    const int files[] = {results->view, results->record, results->text};
    struct buf decision, keys;
    struct ipc_out out;
    buf_init(&decision, SAVED_MAX);
    buf_init_secret(&keys, SAVED_MAX);
    ipc_out_begin(&out, PROXY_JOB_DONE);
    enum err err = crypto_decision_save(&opened->decision, &decision);
    if (err == ERR_OK)
        err = crypto_session_keys_save(&opened->session_keys, &keys);
    if (err == ERR_OK) {
        answer.decision = buf_span(&decision);
        answer.session_keys = buf_span(&keys);
        ipc_put_u32(&out, ERR_OK);
        proxy_put_opened(&out, &answer);
        for (size_t i = 0; !opened->is_plain && i < sizeof(files) / sizeof(*files); i++)
            if (files[i] >= 0)
                ipc_put_file(&out, files[i]);
        if (results->heard >= 0)
            ipc_put_file(&out, results->heard);
        err = ipc_send(KEEPER_SOCKET, &out);
    } else {
        ipc_out_fini(&out);
        err = keeper_answer(err);
    }
    buf_fini(&decision);
    buf_fini(&keys);
    return err;
}

/* What an earlier opening decided; both saved forms are empty if there was none. */
struct decided {
    struct crypto_decision decision;
    struct crypto_session_keys keys;
    bool is_there;
};

/* What the store kept may be of a version that this program does not know: the job's failure, not net's. */
static enum err take_decided(const struct proxy_open_request *request, struct decided *decided)
{
    enum err err = ERR_OK;
    decided->is_there = request->decision.len > 0;
    decided->keys = (struct crypto_session_keys){.len = 0};
    if (decided->is_there)
        err = crypto_decision_load(request->decision, &decided->decision);
    if (err == ERR_OK && request->session_keys.len > 0)
        err = crypto_session_keys_load(request->session_keys, &decided->keys);
    return err == ERR_OK ? ERR_OK : log_failure(ERR_STORE, "what was decided of a message");
}

struct opening_job {
    struct keeper *keeper;
    struct crypto_open_options options;
    bool wants_record;
    struct span message;
    struct buf view, heard, attached;
    struct crypto_opened opened;
    bool is_opened; /* crypto_open went well */
    struct results results;
};

static enum err open_once(struct opening_job *job)
{
    buf_clear(&job->heard);
    buf_clear(&job->attached);
    enum err err = crypto_open(job->keeper->gpg, &job->options, job->message, &job->view, &job->opened);
    job->is_opened = err == ERR_OK;
    if (err == ERR_OK && !job->opened.is_plain)
        err = make_results(job->keeper, job->wants_record, false, buf_span(&job->view), &job->results);
    return err;
}

/* The view or its record would be too large, and nothing could ever be shown. What was decrypted is shown as it came,
   then (but one's own copy is given back as it was saved); what came like that has a short record; and if its header
   alone is too long for one, it streams through like a plain message. */
static enum err open_too_large(struct opening_job *job)
{
    const struct crypto_decision *decision = &job->opened.decision;
    enum err err = ERR_LIMIT;
    bool is_first = job->options.decided == NULL;
    if (is_first && (!job->is_opened || (decision->layers > 0 && !decision->is_own))) {
        results_fini(&job->results);
        crypto_session_keys_fini(&job->opened.session_keys);
        crypto_learnt_fini(&job->opened.learnt);
        buf_clear(&job->view);
        job->options.is_too_large = true;
        err = open_once(job);
    }
    if (err == ERR_LIMIT && job->is_opened) {
        results_fini(&job->results);
        err = make_results(job->keeper, job->wants_record, true, buf_span(&job->view), &job->results);
    }
    if (err == ERR_LIMIT && job->is_opened && is_first && decision->layers == 0) {
        job->opened.is_plain = true;
        err = ERR_OK;
    }
    return err;
}

/* Answers the job; whatever fails from here on is the job's own failure. */
static enum err open_message(struct keeper *keeper, bool wants_record, const struct decided *decided,
                             struct span message)
{
    const struct proxy_keeper_setup *setup = &keeper->setup;
    const struct crypto_smime *smime;
    enum err err = keeper_smime(keeper, &smime);
    if (err != ERR_OK)
        return keeper_answer(err);
    struct opening_job job = {
        .keeper = keeper, .wants_record = wants_record, .message = message, .results = {-1, -1, -1, -1}};
    job.options = (struct crypto_open_options){.keyring = keeper->keyring,
                                               .smime = smime,
                                               .least = KEYRING_FOUND,
                                               .can_read_record = keeper_can_read_record,
                                               .record_context = keeper,
                                               .output_max = setup->output_max,
                                               .layers_max = LAYERS_MAX,
                                               .authserv_id = setup->authserv_id[0] != '\0' ? setup->authserv_id : NULL,
                                               .decided = decided->is_there ? &decided->decision : NULL,
                                               .session_keys = &decided->keys};
    struct crypto_message_ids encrypted_ids;
    const char *own[PROXY_ADDRESSES_MAX];
    for (uint32_t i = 0; i < setup->addresses_len; i++)
        own[i] = setup->addresses[i];
    const struct crypto_hearer hearer = {.own = own, .own_len = setup->addresses_len, .now = clock_now()};
    job.options.hearer = &hearer;
    job.options.heard = &job.heard;
    job.options.attached = &job.attached;
    buf_init(&job.heard, CRYPTO_HEARD_MAX);
    buf_init(&job.attached, CRYPTO_ATTACHED_MAX);
    buf_init_secret(&job.view, setup->output_max);
    err = open_once(&job);
    if (err == ERR_LIMIT)
        err = open_too_large(&job);
    if (err == ERR_OK)
        err = find_encrypted_ids(&job.opened.decision, buf_span(&job.view), &encrypted_ids);
    if (err == ERR_OK && job.attached.len > 0)
        keeper_learn_attached(keeper, job.opened.verdict.signer, buf_span(&job.attached), &job.heard);
    if (err == ERR_OK && job.heard.len > 0)
        err = memfd_of("heard", buf_span(&job.heard), CRYPTO_HEARD_MAX, &job.results.heard);
    buf_fini(&job.view);
    buf_fini(&job.heard);
    buf_fini(&job.attached);
    err = keeper_outcome(err);
    err = err == ERR_OK ? answer_opened(&job.opened, &encrypted_ids, &job.results) : keeper_answer(err);
    if (err == ERR_OK && smime->certificates != NULL)
        crypto_learnt_keep(&job.opened.learnt, smime->certificates, clock_now());
    crypto_session_keys_fini(&job.opened.session_keys);
    crypto_learnt_fini(&job.opened.learnt);
    results_fini(&job.results);
    return err;
}

enum err keeper_open(struct keeper *keeper, struct ipc_in *in)
{
    struct proxy_open_request request;
    struct decided decided;
    struct span message = SPAN_NONE;
    proxy_get_open(in, &request);
    int fd = ipc_get_file(in);
    int index = request.index_number != 0 ? ipc_get_file(in) : -1;
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && request.index_number == 0 && request.decision.len == 0)
        err = ERR_PEER_PROTOCOL;
    if (err == ERR_OK && request.index_number != 0)
        err = take_index(keeper, request.index_number, index);
    if (err == ERR_OK)
        err = memfd_map(fd, keeper->setup.output_max, &message);
    if (err == ERR_OK) {
        err = take_decided(&request, &decided);
        err = err == ERR_OK ? open_message(keeper, request.wants_record, &decided, message) : keeper_answer(err);
        crypto_session_keys_fini(&decided.keys);
    }
    memfd_unmap(&message);
    if (fd >= 0)
        close(fd);
    if (index >= 0)
        close(index);
    return err;
}

#define UNLOCK_KEYS_MAX 100

static enum err unlock(struct keeper *keeper, const char *fingerprint)
{
    bool is_on_card;
    enum err err = keyring_gpg_unlock(keeper->gpg, fingerprint, &is_on_card);
    if (err != ERR_OK || !is_on_card)
        return err;
    err = crypto_openpgp_unlock_card(keeper->gpg, keeper->setup.key_cache, fingerprint);
    /* One that has expired cannot be tried; nothing is wrong with that. */
    return err == ERR_NO_KEY ? ERR_OK : err;
}

enum err keeper_unlock(struct keeper *keeper, struct ipc_in *in)
{
    char fingerprints[UNLOCK_KEYS_MAX][KEYRING_FPR_SIZE], reader[KEYRING_FPR_SIZE], signer[KEYRING_FPR_SIZE];
    uint32_t len = ipc_get_u32(in);
    if (len > UNLOCK_KEYS_MAX)
        return ERR_PEER_PROTOCOL;
    for (uint32_t i = 0; i < len; i++)
        ipc_get_string(in, fingerprints[i], sizeof(fingerprints[i]));
    ipc_get_string(in, reader, sizeof(reader));
    ipc_get_string(in, signer, sizeof(signer));
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    enum err worst = ERR_OK;
    for (uint32_t i = 0; i < len; i++) {
        err = unlock(keeper, fingerprints[i]);
        if (err != ERR_OK)
            worst = err;
    }
    if (worst == ERR_OK)
        worst = keeper_private_unlock(keeper);
    /* After a refusal nobody is asked a second time. */
    const bool may_ask = worst == ERR_OK;
    err = keeper_keys_keep(keeper, may_ask, may_ask ? reader : "", may_ask ? signer : "");
    return keeper_answer(worst == ERR_OK ? err : worst);
}

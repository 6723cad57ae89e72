/*
 * What must be known of messages before they can be answered for: which have views, and the records of those.
 */
#include "proxy/imap_prepare.h"

#include "proxy/vault_views.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 256
#define COMMAND_MAX 65536

static struct imap_map *map_of(const struct imap_prepare *prepare)
{
    return imap_mailbox_map(imap_prepare_session(prepare)->mailbox);
}

static void finish(struct imap_prepare *prepare, enum err err)
{
    if (prepare->stage == PREPARE_DONE)
        return;
    prepare->stage = PREPARE_DONE;
    prepare->err = err;
    event_active(prepare->finish, EV_TIMEOUT, 0);
}

/* On failure too: its function may still be on the stack. */
static void on_finish(evutil_socket_t fd, short what, void *context)
{
    struct imap_prepare *prepare = context;
    (void)fd;
    (void)what;
    prepare->fn(prepare->err, prepare->targets, prepare->len, prepare->context);
}

/* ---- targets ---- */

static struct imap_pending first_pending(const struct imap_prepare *prepare, const struct imap_target *target)
{
    const struct imap_mailbox *mailbox = imap_prepare_session(prepare)->mailbox;
    bool wants_class = (prepare->needs & IMAP_PREPARE_CLASS) != 0;
    struct imap_pending pending = {.state = PENDING_NONE};
    struct imap_candidate candidate;
    if (target->class == IMAP_CLASS_UNKNOWN)
        pending.state = PENDING_CLASS;
    if (!wants_class && imap_mailbox_candidate(mailbox, target->uid, &candidate))
        pending = (struct imap_pending){.state = PENDING_RAW, .size = candidate.size};
    if (target->class == IMAP_CLASS_VIEW && !wants_class && prepare->needs != 0)
        pending.state = (prepare->needs & IMAP_PREPARE_TEXT) != 0 ? PENDING_RAW : PENDING_RECORD;
    return pending;
}

static enum err make_targets(struct imap_prepare *prepare)
{
    struct imap_mailbox *mailbox = imap_prepare_session(prepare)->mailbox;
    uint64_t count = imap_set_count(&prepare->numbers);
    struct imap_set_step step = {0};
    uint32_t number;
    if (count > imap_map_count(map_of(prepare)))
        return ERR_NOT_FOUND;
    prepare->targets = calloc((size_t)count + 1, sizeof *prepare->targets);
    prepare->pending = calloc((size_t)count + 1, sizeof *prepare->pending);
    if (!prepare->targets || !prepare->pending)
        return ERR_MEMORY;
    while (imap_set_next(&prepare->numbers, &step, &number)) {
        struct imap_target *target = &prepare->targets[prepare->len];
        target->number = number;
        target->uid = imap_map_uid(map_of(prepare), number);
        if (target->uid == 0)
            return ERR_NOT_FOUND;
        target->class = imap_mailbox_class(mailbox, target->uid, &target->id);
        prepare->pending[prepare->len++] = first_pending(prepare, target);
    }
    return ERR_OK;
}

static bool find_target(const struct imap_prepare *prepare, uint32_t uid, size_t *index_out)
{
    size_t low = 0, high = prepare->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (prepare->targets[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    *index_out = low;
    return low < prepare->len && prepare->targets[low].uid == uid;
}

void imap_prepare_settle(struct imap_prepare *prepare, size_t index, enum err err)
{
    imap_class_drop(prepare, index);
    prepare->pending[index].state = PENDING_NONE;
    prepare->targets[index].err = err;
    /* To know what a message is does not answer for it yet. */
    if ((prepare->needs & IMAP_PREPARE_CLASS) == 0)
        prepare->done++;
    imap_session_progress(imap_prepare_session(prepare), prepare->work->command->tag, prepare->before + prepare->done,
                          prepare->total > 0 ? prepare->total : prepare->len);
}

/* ---- own commands ---- */

static enum err add_asked(struct imap_prepare *prepare, enum imap_pending_state asked, struct imap_set *set)
{
    uint32_t before = 0, before_uid = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; i < prepare->len && err == ERR_OK; i++) {
        if (prepare->pending[i].state != asked)
            continue;
        uint32_t uid = prepare->targets[i].uid, number = imap_map_number(map_of(prepare), uid);
        if (number == 0) {
            imap_prepare_settle(prepare, i, ERR_NOT_FOUND);
            continue;
        }
        /* Neighbours make one range, whatever UIDs are missing between them. */
        if (prepare->is_uid)
            err = imap_set_add_range(set, before > 0 && before + 1 == number ? before_uid : uid, uid);
        else
            err = imap_set_add(set, number);
        before = number;
        before_uid = uid;
    }
    return err;
}

enum err imap_prepare_ask(struct imap_prepare *prepare, enum imap_pending_state asked, const char *items,
                          imap_reply_fn fn)
{
    struct imap_set set;
    struct buf text;
    struct imap_out out;
    imap_set_init(&set);
    buf_init(&text, COMMAND_MAX);
    enum err err = add_asked(prepare, asked, &set);
    if (err == ERR_OK)
        err = imap_set_format(&set, &text);
    if (err == ERR_OK && text.len > 0) {
        imap_out_init(&out);
        imap_out_addf(&out, "%sFETCH %s %s", prepare->is_uid ? "UID " : "", text.data, items);
        prepare->is_asking = true;
        imap_session_send(imap_prepare_session(prepare), &out, NULL, fn, prepare);
    }
    imap_set_fini(&set);
    buf_fini(&text);
    return err;
}

void imap_prepare_answered(struct imap_prepare *prepare, enum imap_pending_state asked, const struct imap_reply *reply)
{
    /* RFC 5530: others have expunged it, and this session may not be told yet. */
    bool are_gone = span_is_case_equal(reply->code, SPAN_LIT("EXPUNGEISSUED"));
    enum err left_out = reply->status == IMAP_OK ? ERR_UPSTREAM_PROTOCOL : ERR_UPSTREAM_REJECTED;
    prepare->is_asking = false;
    for (size_t i = 0; i < prepare->len; i++) {
        if (prepare->pending[i].state != asked)
            continue;
        bool is_gone = are_gone || imap_map_number(map_of(prepare), prepare->targets[i].uid) == 0;
        imap_prepare_settle(prepare, i, is_gone ? ERR_NOT_FOUND : left_out);
    }
    imap_prepare_step(prepare);
}

/* ---- other names ---- */

static void take_alias(struct imap_prepare *prepare, size_t index, const struct store_place *place)
{
    struct imap_session *session = imap_prepare_session(prepare);
    struct imap_target *target = &prepare->targets[index];
    /* The vault need not be told what it has just said. */
    imap_mailbox_set_candidate(session->mailbox, target->uid,
                               &(struct imap_candidate){.size = prepare->pending[index].size});
    if (!place->is_view) {
        target->class = IMAP_CLASS_PLAIN;
        imap_mailbox_set_plain(session->mailbox, target->uid);
        imap_prepare_settle(prepare, index, ERR_OK);
        return;
    }
    target->class = IMAP_CLASS_VIEW;
    target->id = (struct proxy_view_id){.account = session->account};
    memcpy(target->id.digest, place->digest, sizeof target->id.digest);
    imap_mailbox_set_view(session->mailbox, target->uid, &target->id);
    if (prepare->needs == 0)
        imap_prepare_settle(prepare, index, ERR_OK);
    else if ((prepare->needs & IMAP_PREPARE_TEXT) == 0)
        prepare->pending[index].state = PENDING_RECORD;
}

/* What is not known by another name, or cannot be looked up now, is told by its bytes. */
static void on_aliases(enum err err, const struct store_place *places, size_t len, void *context)
{
    struct imap_prepare *prepare = context;
    uint32_t number = 0;
    size_t at = 0;
    prepare->request = NULL;
    for (size_t i = 0; i < prepare->next; i++) {
        if (prepare->pending[i].state != PENDING_ALIAS)
            continue;
        prepare->pending[i].state = PENDING_RAW;
        number++;
        if (err == ERR_OK && at < len && places[at].uid == number)
            take_alias(prepare, i, &places[at++]);
    }
    imap_prepare_step(prepare);
}

static enum err ask_aliases(struct imap_prepare *prepare)
{
    struct imap_session *session = imap_prepare_session(prepare);
    struct imap_candidate candidate;
    size_t len = 0;
    struct store_view_key *names = calloc(RECORDS_MAX, sizeof *names);
    if (!names)
        return ERR_MEMORY;
    for (; prepare->next < prepare->len && len < RECORDS_MAX; prepare->next++) {
        if (prepare->pending[prepare->next].state != PENDING_RAW ||
            !imap_mailbox_candidate(session->mailbox, prepare->targets[prepare->next].uid, &candidate) ||
            !candidate.has_alias)
            continue;
        prepare->pending[prepare->next].state = PENDING_ALIAS;
        names[len].account = imap_session_account(session)->address;
        memcpy(names[len++].digest, candidate.alias, sizeof candidate.alias);
    }
    enum err err =
        len == 0 ? ERR_OK
                 : proxy_vault_aliases_get(session->net->vault, names, len, on_aliases, prepare, &prepare->request);
    free(names);
    return err;
}

/* ---- records ---- */

/* What is at hand now is noted; what is not must be made from the raw message. */
static void note_record(struct imap_prepare *prepare, size_t index)
{
    struct proxy_views *views = imap_prepare_session(prepare)->net->views;
    struct imap_target *target = &prepare->targets[index];
    struct proxy_record record;
    bool has_record = proxy_views_peek(views, &target->id, &record);
    if (has_record)
        prepare->pending[index].size = record.size;
    if (has_record && (prepare->needs & IMAP_PREPARE_BODY) != 0)
        target->body = proxy_views_hold(views, &target->id);
    if (has_record && (target->body != NULL || (prepare->needs & IMAP_PREPARE_BODY) == 0))
        imap_prepare_settle(prepare, index, ERR_OK);
    else
        prepare->pending[index].state = PENDING_RAW;
}

static void on_records(enum err err, const struct proxy_record *record, bool is_plain, void *context)
{
    struct imap_prepare *prepare = context;
    (void)record;
    (void)is_plain;
    prepare->load = NULL;
    for (size_t i = 0; i < prepare->next; i++) {
        if (prepare->pending[i].state != PENDING_RECORD)
            continue;
        if (err != ERR_OK && err != ERR_NOT_FOUND)
            imap_prepare_settle(prepare, i, err);
        else
            note_record(prepare, i);
    }
    imap_prepare_step(prepare);
}

/* Looks for records in memory, and asks the vault for those that are not there, a bounded number at a time: they must
   be looked at as soon as they have come. */
static enum err load_records(struct imap_prepare *prepare)
{
    struct proxy_views *views = imap_prepare_session(prepare)->net->views;
    struct proxy_record record;
    size_t len = 0;
    struct proxy_view_id *ids = calloc(RECORDS_MAX, sizeof *ids);
    if (!ids)
        return ERR_MEMORY;
    for (; prepare->next < prepare->len && len < RECORDS_MAX; prepare->next++) {
        if (prepare->pending[prepare->next].state != PENDING_RECORD)
            continue;
        if (proxy_views_peek(views, &prepare->targets[prepare->next].id, &record))
            note_record(prepare, prepare->next);
        else
            ids[len++] = prepare->targets[prepare->next].id;
    }
    enum err err = len > 0 ? proxy_views_load(views, ids, len, on_records, prepare, &prepare->load) : ERR_OK;
    free(ids);
    return err;
}

/* ---- the stages ---- */

static void on_loaded(enum err err, void *context)
{
    struct imap_prepare *prepare = context;
    prepare->is_loading = false;
    if (err != ERR_OK)
        finish(prepare, err);
    else
        imap_prepare_step(prepare);
}

/* A stage that has seen all targets gives way to the next one. */
static void next_stage(struct imap_prepare *prepare)
{
    prepare->stage++;
    prepare->next = 0;
}

static enum err run_stage(struct imap_prepare *prepare)
{
    struct imap_mailbox *mailbox = imap_prepare_session(prepare)->mailbox;
    enum err err = ERR_OK;
    switch (prepare->stage) {
    case PREPARE_LOAD:
        /* Once: messages that come meanwhile are not among its own. */
        if (!imap_mailbox_is_loaded(mailbox) && !prepare->has_loaded) {
            prepare->is_loading = prepare->has_loaded = true;
            imap_mailbox_load(mailbox, on_loaded, prepare);
            break;
        }
        err = make_targets(prepare);
        next_stage(prepare);
        break;
    case PREPARE_CLASSIFY:
        err = imap_class_step(prepare);
        if (prepare->next < prepare->len || prepare->is_asking)
            break;
        if ((prepare->needs & IMAP_PREPARE_CLASS) != 0)
            finish(prepare, ERR_OK);
        else
            next_stage(prepare);
        break;
    case PREPARE_ALIASES:
        err = ask_aliases(prepare);
        if (prepare->next == prepare->len && !prepare->request)
            next_stage(prepare);
        break;
    case PREPARE_RECORDS:
        err = load_records(prepare);
        if (prepare->next == prepare->len && !prepare->load)
            next_stage(prepare);
        break;
    case PREPARE_RAW:
        imap_raw_step(prepare);
        if (prepare->next == prepare->len && !prepare->is_asking && prepare->openings_len == 0)
            finish(prepare, ERR_OK);
        break;
    case PREPARE_DONE:
        break;
    }
    return err;
}

void imap_prepare_step(struct imap_prepare *prepare)
{
    enum imap_prepare_stage stage;
    enum err err = ERR_OK;
    do {
        if (imap_prepare_session(prepare)->is_ending || prepare->stage == PREPARE_DONE || prepare->is_loading ||
            prepare->load != NULL || prepare->request != NULL || (prepare->is_asking && prepare->stage != PREPARE_RAW))
            return;
        stage = prepare->stage;
        err = run_stage(prepare);
    } while (err == ERR_OK && (prepare->stage != stage || stage < PREPARE_RAW));
    if (err != ERR_OK)
        finish(prepare, err);
}

bool imap_prepare_hear(struct imap_prepare *prepare, const struct imap_head *head, struct imap_unit *unit)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    uint32_t number;
    uint64_t uid;
    size_t len, index;
    if (!prepare->is_asking || head->kind != IMAP_RESPONSE_FETCH ||
        imap_fetch_response(unit, &number, answers, &len) != ERR_OK)
        return false;
    if (!span_to_u64(imap_answer_find(answers, len, "UID"), UINT32_MAX, &uid))
        uid = imap_map_uid(map_of(prepare), number);
    if (!find_target(prepare, (uint32_t)uid, &index))
        return false;
    if (prepare->pending[index].state == PENDING_ASKED)
        return imap_class_hear(prepare, index, answers, len, unit);
    /* A UID alone is a part of the answer, too. */
    return prepare->pending[index].state == PENDING_FETCHING &&
           (imap_raw_hear(prepare, index, answers, len, unit) || imap_class_is_ours(answers, len));
}

/* ---- life ---- */

enum err imap_prepare_new(struct imap_work *work, const struct imap_set *numbers, bool is_uid, unsigned needs,
                          imap_prepare_fn fn, void *context, struct imap_prepare **prepare_out)
{
    struct imap_prepare *prepare = calloc(1, sizeof *prepare);
    *prepare_out = NULL;
    if (!prepare)
        return ERR_MEMORY;
    prepare->work = work;
    prepare->is_uid = is_uid;
    prepare->needs = needs;
    prepare->has_loaded = (needs & IMAP_PREPARE_CLASS) != 0;
    prepare->fn = fn;
    prepare->context = context;
    TAILQ_INIT(&prepare->openings);
    imap_set_init(&prepare->numbers);
    prepare->finish = event_new(work->session->net->base, -1, 0, on_finish, prepare);
    enum err err = prepare->finish ? imap_set_copy(numbers, &prepare->numbers) : ERR_MEMORY;
    if (err != ERR_OK) {
        imap_prepare_free(&prepare);
        return err;
    }
    *prepare_out = prepare;
    imap_prepare_step(prepare);
    return ERR_OK;
}

void imap_prepare_progress(struct imap_prepare *prepare, size_t before, size_t total)
{
    prepare->before = before;
    prepare->total = total;
}

void imap_prepare_free(struct imap_prepare **prepare_pointer)
{
    struct imap_prepare *prepare = *prepare_pointer;
    *prepare_pointer = NULL;
    if (!prepare)
        return;
    struct imap_session *session = imap_prepare_session(prepare);
    if (prepare->is_loading)
        imap_mailbox_stop(session->mailbox);
    proxy_views_cancel(&prepare->load);
    proxy_vault_cancel(&prepare->request);
    imap_raw_free(prepare);
    for (size_t i = 0; i < prepare->len; i++) {
        imap_class_drop(prepare, i);
        if (prepare->targets[i].body)
            proxy_views_release(session->net->views, &prepare->targets[i].body);
    }
    if (prepare->finish)
        event_free(prepare->finish);
    imap_set_fini(&prepare->numbers);
    free(prepare->targets);
    free(prepare->pending);
    free(prepare);
}

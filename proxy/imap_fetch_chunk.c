/*
 * FETCH of messages of which some have views, a bounded number at a time. The views of a chunk are made; then the
 * server is asked for its own items of these (which also sets \Seen, if the client's items do) and for all that the
 * client wants of the plain messages. Those stream through, and the views are put between them in ascending order.
 * Which of the messages after the chunk may have views is asked in the same breath. Each time more of them, so that
 * even over a long line few round trips are spent on waiting; what is kept of a plain one is a bit.
 */
#include "proxy/imap_fetch.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_MAX 256 /* messages that may have views */
#define CHUNK_BODIES_MAX 64
#define AHEAD_MAX 4096
#define AHEAD_GROWTH 4
#define CHUNK_SIZE_MAX ((uint64_t)16 << 20) /* of what is held for them, or a single one */
#define VIEW_LARGE ((uint64_t)2 << 20)      /* is the last of its chunk: written when nothing else is on its way */
#define ITEMS_MAX ((size_t)2 << 20)
#define SERVER_MAX ((size_t)1 << 20)
#define PARTS_MAX 16 /* and bytes of them: */
#define PARTS_SIZE_MAX ((size_t)64 << 10)
#define RETRIES_MAX 3

static void on_prepared(enum err err, struct imap_target *targets, size_t len, void *context);

void fetch_drop_views(struct fetch_work *fetch)
{
    struct proxy_views *views = fetch_session(fetch)->net->views;
    for (size_t i = 0; i < fetch->views_len; i++) {
        struct fetch_view *view = &fetch->views[i];
        if (view->body)
            proxy_views_release(views, &view->body);
        buf_fini(&view->server);
        buf_fini(&view->parts);
        free(view->kept);
    }
    free(fetch->views);
    fetch->views = NULL;
    fetch->views_len = fetch->written = 0;
}

/* What is being asked ahead comes to its end first: its answers are nobody else's. */
static void fail(struct fetch_work *fetch, enum err err)
{
    fetch_drop_views(fetch);
    if (fetch->ahead) {
        fetch->failure = err;
        fetch->stage = FETCH_LOOK;
        return;
    }
    fetch_tell_news(fetch);
    imap_work_fail(&fetch->work, err);
}

/* One that cannot be shown is left for the end (design 1.2.6); of several reasons a locked key is what a person can do
   something about. */
static enum err leave_for_end(struct fetch_work *fetch, uint32_t uid, enum err err)
{
    if (fetch->locked_err != ERR_KEY_LOCKED)
        fetch->locked_err = err;
    return imap_set_add(&fetch->locked, uid);
}

/* ---- preparing ---- */

static enum imap_class class_of(const struct fetch_work *fetch, uint32_t uid)
{
    struct proxy_view_id id;
    return imap_mailbox_class(fetch_session(fetch)->mailbox, uid, &id);
}

/* Of what was asked about and not answered the preparing of its chunk makes what it can. */
static bool is_to_be_asked(const struct fetch_work *fetch, uint32_t uid)
{
    return uid > fetch->asked_end && class_of(fetch, uid) == IMAP_CLASS_UNKNOWN;
}

/* Numbers of the messages at the front of what is left that may have views, and where the chunk ends with them; at the
   latest before the first one of which nothing is known. ERR_AGAIN: that is the very first. ERR_END: none is left. */
static enum err choose(struct fetch_work *fetch, struct imap_set *numbers_out)
{
    struct imap_set numbers;
    struct imap_set_step step = {0};
    uint32_t number;
    size_t seen = 0, chosen = 0;
    imap_set_init(&numbers);
    enum err err = imap_map_numbers(fetch_map(fetch), &fetch->left, &numbers);
    fetch->chunk_end = UINT32_MAX;
    if (err == ERR_OK && imap_set_is_empty(&numbers))
        err = ERR_END;
    while (err == ERR_OK && imap_set_next(&numbers, &step, &number)) {
        uint32_t uid = imap_map_uid(fetch_map(fetch), number);
        if (is_to_be_asked(fetch, uid)) {
            fetch->chunk_end = uid - 1;
            err = seen == 0 ? ERR_AGAIN : ERR_OK;
            break;
        }
        seen++;
        if (class_of(fetch, uid) == IMAP_CLASS_PLAIN)
            continue;
        err = imap_set_add(numbers_out, number);
        if (++chosen < fetch->chunk_max)
            continue;
        fetch->chunk_end = uid;
        break;
    }
    imap_set_fini(&numbers);
    return err;
}

static void on_ahead(enum err err, struct imap_target *targets, size_t len, void *context)
{
    struct fetch_work *fetch = context;
    (void)err;
    (void)targets;
    (void)len;
    imap_prepare_free(&fetch->ahead);
    fetch->asked_end = fetch->ahead_end;
    if (fetch->stage != FETCH_LOOK)
        return;
    if (fetch->failure != ERR_OK)
        fail(fetch, fetch->failure);
    else
        fetch_next_chunk(fetch);
}

/* Asks which of the next messages may have views, if that is not being asked already. */
static enum err look_ahead(struct fetch_work *fetch)
{
    struct imap_set left, numbers;
    struct imap_set_step step = {0};
    uint32_t number;
    size_t len = 0;
    if (fetch->ahead)
        return ERR_OK;
    imap_set_init(&left);
    imap_set_init(&numbers);
    enum err err = imap_map_numbers(fetch_map(fetch), &fetch->left, &left);
    while (err == ERR_OK && len < fetch->ahead_max && imap_set_next(&left, &step, &number)) {
        uint32_t uid = imap_map_uid(fetch_map(fetch), number);
        if (!is_to_be_asked(fetch, uid))
            continue;
        err = imap_set_add(&numbers, number);
        fetch->ahead_end = uid;
        len++;
    }
    if (err == ERR_OK && len > 0)
        err =
            imap_prepare_new(&fetch->work, &numbers, fetch->is_uid, IMAP_PREPARE_CLASS, on_ahead, fetch, &fetch->ahead);
    if (err == ERR_OK && len > 0)
        imap_prepare_progress(fetch->ahead, (size_t)fetch->done, (size_t)fetch->total);
    if (fetch->ahead_max < AHEAD_MAX)
        fetch->ahead_max *= AHEAD_GROWTH;
    imap_set_fini(&left);
    imap_set_fini(&numbers);
    return err;
}

static void answer(struct fetch_work *fetch);

static enum err prepare(struct fetch_work *fetch, const struct imap_set *numbers, bool is_body_stage)
{
    fetch->stage = FETCH_PREPARE;
    fetch->is_body_stage = is_body_stage;
    enum err err = imap_prepare_new(&fetch->work, numbers, fetch->is_uid,
                                    is_body_stage ? IMAP_PREPARE_RECORD | IMAP_PREPARE_BODY : IMAP_PREPARE_RECORD,
                                    on_prepared, fetch, &fetch->prepare);
    if (err == ERR_OK)
        imap_prepare_progress(fetch->prepare, (size_t)fetch->done, (size_t)fetch->total);
    return err;
}

void fetch_next_chunk(struct fetch_work *fetch)
{
    struct imap_session *session = fetch_session(fetch);
    struct imap_set numbers;
    if (session->is_ending)
        return;
    if (imap_server_output_len(session->server) > FETCH_OUTPUT_HIGH) {
        fetch->stage = FETCH_WAIT;
        return;
    }
    imap_set_init(&numbers);
    enum err err = choose(fetch, &numbers);
    fetch->chunk_max = fetch->fetch.needs_body ? CHUNK_BODIES_MAX : CHUNK_MAX;
    if (err == ERR_AGAIN || (err == ERR_END && fetch->ahead)) {
        fetch->stage = FETCH_LOOK;
        err = look_ahead(fetch);
    } else if (err == ERR_OK && imap_set_is_empty(&numbers)) {
        answer(fetch);
    } else if (err == ERR_OK) {
        err = prepare(fetch, &numbers, false);
    }
    imap_set_fini(&numbers);
    if (err == ERR_END)
        fetch_end(fetch);
    else if (err != ERR_OK)
        fail(fetch, err);
}

/* ---- what has been prepared ---- */

/* Takes a view into the chunk; ERR_AGAIN: it has no room there any more, or its record has gone again. */
static enum err take_view(struct fetch_work *fetch, const struct imap_target *target, uint64_t *size)
{
    struct proxy_record record;
    struct fetch_view *view = &fetch->views[fetch->views_len];
    if (!proxy_views_peek(fetch_session(fetch)->net->views, &target->id, &record)) {
        if (fetch->views_len > 0 || ++fetch->retries <= RETRIES_MAX)
            return ERR_AGAIN;
        return leave_for_end(fetch, target->uid, ERR_BUSY);
    }
    *size += record.header.len + record.structure.len + (fetch->fetch.needs_body ? record.size : 0);
    if (fetch->views_len > 0 && *size > CHUNK_SIZE_MAX)
        return ERR_AGAIN;
    enum err err = fetch_keep_record(view, &fetch->fetch, &record);
    if (err != ERR_OK)
        return err;
    view->uid = target->uid;
    view->id = target->id;
    buf_init(&view->server, SERVER_MAX);
    buf_init(&view->parts, PARTS_SIZE_MAX);
    fetch->views_len++;
    fetch->retries = 0;
    return ERR_OK;
}

static bool is_large(const struct fetch_work *fetch, const struct fetch_view *view)
{
    return fetch->fetch.needs_body && view->record.size > VIEW_LARGE;
}

/* What others have expunged is left out, and the client is told that much, as servers do it (RFC 5530 EXPUNGEISSUED);
   what the server leaves out for no such reason must not be missing in silence. */
static enum err leave_out(struct fetch_work *fetch, uint32_t uid, enum err err)
{
    if (err != ERR_NOT_FOUND)
        return leave_for_end(fetch, uid, err);
    if (imap_map_number(fetch_map(fetch), uid) > 0)
        fetch->has_gone = true;
    return ERR_OK;
}

static enum err take_views(struct fetch_work *fetch, const struct imap_target *targets, size_t len)
{
    uint64_t size = 0;
    fetch->views = calloc(len + 1, sizeof *fetch->views);
    if (!fetch->views)
        return ERR_MEMORY;
    for (size_t i = 0; i < len; i++) {
        enum err err = ERR_OK;
        if (targets[i].err != ERR_OK)
            err = leave_out(fetch, targets[i].uid, targets[i].err);
        else if (targets[i].class == IMAP_CLASS_VIEW)
            err = take_view(fetch, &targets[i], &size);
        if (err == ERR_AGAIN) {
            fetch->chunk_end = targets[i].uid - 1;
            break;
        }
        if (err != ERR_OK)
            return err;
        if (size > CHUNK_SIZE_MAX || (fetch->views_len > 0 && is_large(fetch, &fetch->views[fetch->views_len - 1]))) {
            fetch->chunk_end = targets[i].uid;
            break;
        }
    }
    return ERR_OK;
}

static struct fetch_view *find_view(struct fetch_work *fetch, uint32_t uid)
{
    size_t low = 0, high = fetch->views_len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fetch->views[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < fetch->views_len && fetch->views[low].uid == uid ? &fetch->views[low] : NULL;
}

static bool is_same(const struct proxy_view_id *a, const struct proxy_view_id *b)
{
    return a->generation == b->generation && memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

static enum err take_bodies(struct fetch_work *fetch, struct imap_target *targets, size_t len)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < len && err == ERR_OK; i++) {
        struct fetch_view *view = find_view(fetch, targets[i].uid);
        if (!view)
            continue;
        /* Other bytes than those whose header is at hand: no answer is made of two messages. */
        if (targets[i].err == ERR_OK && (targets[i].class != IMAP_CLASS_VIEW || !is_same(&view->id, &targets[i].id)))
            targets[i].err = ERR_BUSY;
        else {
            view->body = targets[i].body;
            targets[i].body = NULL;
        }
        if (view->body)
            continue;
        view->is_written = true;
        err = leave_out(fetch, view->uid, targets[i].err == ERR_OK ? ERR_INTERNAL : targets[i].err);
    }
    return err;
}

/* Views that are to be answered for, as UIDs. */
static enum err view_uids(const struct fetch_work *fetch, struct imap_set *uids)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < fetch->views_len && err == ERR_OK; i++)
        if (!fetch->views[i].is_written)
            err = imap_set_add(uids, fetch->views[i].uid);
    return err;
}

static enum err prepare_bodies(struct fetch_work *fetch)
{
    struct imap_set uids, numbers;
    imap_set_init(&uids);
    imap_set_init(&numbers);
    enum err err = view_uids(fetch, &uids);
    if (err == ERR_OK)
        err = imap_map_numbers(fetch_map(fetch), &uids, &numbers);
    if (err == ERR_OK)
        err = prepare(fetch, &numbers, true);
    imap_set_fini(&uids);
    imap_set_fini(&numbers);
    return err;
}

static void on_prepared(enum err err, struct imap_target *targets, size_t len, void *context)
{
    struct fetch_work *fetch = context;
    struct imap_prepare *prepared = fetch->prepare;
    bool needs_bodies = false;
    if (err == ERR_OK && fetch->is_body_stage) {
        err = take_bodies(fetch, targets, len);
    } else if (err == ERR_OK) {
        err = take_views(fetch, targets, len);
        needs_bodies = fetch->fetch.needs_body && fetch->views_len > 0;
    }
    fetch->prepare = NULL;
    imap_prepare_free(&prepared);
    if (err == ERR_OK && needs_bodies)
        err = prepare_bodies(fetch);
    if (err != ERR_OK)
        fail(fetch, err);
    else if (!needs_bodies)
        answer(fetch);
}

/* ---- answering ---- */

/* Composes the next view whose turn has come: one below `uid`, or at the end of a chunk (`is_end`) any. False: there is
   none. */
static bool compose_next(struct fetch_work *fetch, uint32_t uid, bool is_end)
{
    for (; fetch->written < fetch->views_len; fetch->written++) {
        struct fetch_view *view = &fetch->views[fetch->written];
        uint32_t number = imap_map_number(fetch_map(fetch), view->uid);
        if (!is_end && (view->uid > uid || (view->server.len == 0 && !view->is_written && number > 0)))
            return false;
        if (view->is_written || number == 0 || (view->server.len == 0 && !fetch_needs_no_answer(fetch)))
            continue;
        view->is_written = true;
        enum err err = fetch_compose_view(fetch, view, number);
        if (err == ERR_OK)
            return true;
        imap_session_end(fetch_session(fetch), err);
        return false;
    }
    return false;
}

/* The views between two messages that stream, all at once: they are not large. */
static void write_views_below(struct fetch_work *fetch, uint32_t uid)
{
    while (compose_next(fetch, uid, false))
        (void)fetch_out_write(fetch, false);
}

static uint64_t count_messages(const struct fetch_work *fetch, const struct imap_set *uids)
{
    struct imap_set numbers;
    uint64_t count = 0;
    imap_set_init(&numbers);
    if (imap_map_numbers(fetch_map(fetch), uids, &numbers) == ERR_OK)
        count = imap_set_count(&numbers);
    imap_set_fini(&numbers);
    return count;
}

static void end_chunk(struct fetch_work *fetch)
{
    fetch_drop_views(fetch);
    if (fetch->chunk_end == UINT32_MAX)
        imap_set_clear(&fetch->left);
    else
        imap_set_remove_below(&fetch->left, fetch->chunk_end + 1);
    uint64_t left = count_messages(fetch, &fetch->left);
    fetch->done = left < fetch->total ? fetch->total - left : 0;
    fetch_next_chunk(fetch);
}

void fetch_write_rest(struct fetch_work *fetch)
{
    struct imap_session *session = fetch_session(fetch);
    bool is_more = fetch->stage == FETCH_STREAM || compose_next(fetch, UINT32_MAX, true);
    while (is_more && !session->is_ending) {
        if (!fetch_out_write(fetch, true)) {
            fetch->stage = FETCH_STREAM;
            imap_client_pause(session->upstream);
            return;
        }
        is_more = compose_next(fetch, UINT32_MAX, true);
    }
    if (!session->is_ending)
        end_chunk(fetch);
}

static void on_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct fetch_work *fetch = context;
    (void)client;
    fetch_keep_reply(fetch, reply);
    if (--fetch->open == 0)
        fetch_write_rest(fetch);
}

/* Views of which the server has not said what it was asked. */
static enum err judge_unanswered(struct fetch_work *fetch, const struct imap_reply *reply)
{
    bool are_gone = span_is_case_equal(reply->code, SPAN_LIT("EXPUNGEISSUED"));
    enum err err = ERR_OK;
    for (size_t i = 0; i < fetch->views_len && err == ERR_OK; i++) {
        struct fetch_view *view = &fetch->views[i];
        uint32_t number = imap_map_number(fetch_map(fetch), view->uid);
        if (view->is_written || view->server.len > 0 || number == 0 || fetch_join_parts(fetch, view, number) ||
            fetch_needs_no_answer(fetch))
            continue;
        view->is_written = true;
        if (are_gone || reply->status == IMAP_OK)
            err = leave_out(fetch, view->uid, are_gone ? ERR_NOT_FOUND : ERR_UPSTREAM_PROTOCOL);
    }
    return err;
}

static void on_views_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct fetch_work *fetch = context;
    enum err err = judge_unanswered(fetch, reply);
    if (err != ERR_OK)
        imap_session_end(fetch_session(fetch), err);
    else
        on_reply(client, reply, fetch);
}

/* UIDs of the chunk's messages that pass through. */
static enum err plain_uids(const struct fetch_work *fetch, struct imap_set *uids)
{
    struct imap_set numbers;
    struct imap_set_step step = {0};
    uint32_t number;
    imap_set_init(&numbers);
    enum err err = imap_map_numbers(fetch_map(fetch), &fetch->left, &numbers);
    uint32_t before = 0, before_uid = 0;
    while (err == ERR_OK && imap_set_next(&numbers, &step, &number)) {
        uint32_t uid = imap_map_uid(fetch_map(fetch), number);
        if (uid > fetch->chunk_end)
            break;
        if (class_of(fetch, uid) != IMAP_CLASS_PLAIN)
            continue;
        /* Neighbours make one range, whatever UIDs are missing between them. */
        err = imap_set_add_range(uids, before + 1 == number && before > 0 ? before_uid : uid, uid);
        before = number;
        before_uid = uid;
    }
    imap_set_fini(&numbers);
    return err;
}

static enum err plain_items(const struct fetch_work *fetch, struct buf *out)
{
    bool has_modseq = false;
    enum err err = ERR_OK;
    for (size_t i = 0; i < fetch->fetch.len && err == ERR_OK; i++) {
        const struct imap_item *item = &fetch->fetch.items[i];
        has_modseq = has_modseq || item->kind == IMAP_ITEM_MODSEQ;
        err = buf_add_byte(out, i > 0 ? ' ' : '(');
        if (err == ERR_OK)
            err = buf_add_span(out, item->raw);
    }
    if (err == ERR_OK && fetch->adds_modseq && !has_modseq)
        err = buf_add_string(out, " MODSEQ");
    return err == ERR_OK ? buf_add_byte(out, ')') : err;
}

/* A set of which nothing is left needs no command. */
static enum err ask(struct fetch_work *fetch, const struct imap_set *uids, const struct buf *items, imap_reply_fn fn)
{
    enum err err = imap_set_is_empty(uids) ? ERR_NOT_FOUND : fetch_send(fetch, uids, buf_span(items), fn);
    if (err == ERR_OK)
        fetch->open++;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Both commands go out at once: messages with views and those without are not the same, so an answer says by its
   number which of the two it belongs to. */
static void answer(struct fetch_work *fetch)
{
    struct imap_set views, plain;
    struct buf items;
    imap_set_init(&views);
    imap_set_init(&plain);
    buf_init(&items, ITEMS_MAX);
    fetch->stage = FETCH_ANSWER;
    enum err err = view_uids(fetch, &views);
    if (err == ERR_OK)
        err = plain_uids(fetch, &plain);
    if (err == ERR_OK)
        err = fetch_server_items(fetch, false, &items);
    if (err == ERR_OK)
        err = ask(fetch, &views, &items, on_views_reply);
    buf_clear(&items);
    if (err == ERR_OK)
        err = plain_items(fetch, &items);
    if (err == ERR_OK)
        err = ask(fetch, &plain, &items, on_reply);
    if (err == ERR_OK)
        err = look_ahead(fetch);
    imap_set_fini(&views);
    imap_set_fini(&plain);
    buf_fini(&items);
    if (err != ERR_OK)
        imap_session_end(fetch_session(fetch), err);
    else if (fetch->open == 0)
        fetch_write_rest(fetch);
}

/* ---- what the server says meanwhile ---- */

enum imap_fate fetch_chunk_head(struct fetch_work *fetch, const struct imap_head *head)
{
    if (head->kind == IMAP_RESPONSE_EXPUNGE || span_is_case_equal(head->word, SPAN_LIT("VANISHED")))
        fetch_tell_news(fetch); /* while its numbers are right */
    if (head->kind != IMAP_RESPONSE_FETCH)
        return IMAP_FATE_PASS;
    uint32_t uid = imap_map_uid(fetch_map(fetch), head->number);
    if (find_view(fetch, uid) || class_of(fetch, uid) != IMAP_CLASS_PLAIN)
        return IMAP_FATE_FILTER;
    if (fetch_is_news(head->text))
        return IMAP_FATE_FILTER;
    write_views_below(fetch, uid);
    return IMAP_FATE_PASS;
}

bool fetch_chunk_response(struct fetch_work *fetch, const struct imap_head *head, struct imap_unit *unit)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    uint32_t number;
    size_t len;
    if (imap_fetch_response(unit, &number, answers, &len) != ERR_OK)
        return false;
    struct fetch_view *view = find_view(fetch, imap_map_uid(fetch_map(fetch), head->number));
    if (view && view->server.len == 0 && imap_unit_is_whole(unit) && fetch_is_answer(fetch, answers, len)) {
        struct span text = span_trim(buf_span(&unit->text));
        struct span list = span_skip(text, (size_t)(answers[0].label.ptr - 1 - text.ptr));
        if (buf_add_span(&view->server, list) != ERR_OK)
            buf_clear(&view->server);
        return false;
    }
    /* If no whole answer comes, this may have been a part of it; what cannot be kept is missing in the end. */
    if (view && view->server.len == 0 && !view->is_written && imap_unit_is_whole(unit) &&
        view->parts_len <= PARTS_MAX &&
        (++view->parts_len > PARTS_MAX || imap_answers_gather(&view->parts, answers, len) != ERR_OK))
        buf_clear(&view->parts);
    for (size_t i = 0; i < len; i++)
        if (imap_answer_is_content(&answers[i]))
            return false;
    if (fetch_is_uid_alone(answers, len) && class_of(fetch, imap_map_uid(fetch_map(fetch), number)) != IMAP_CLASS_PLAIN)
        return false;
    return !imap_unit_is_whole(unit) || !fetch_keep_news(fetch, number, buf_span(&unit->text));
}

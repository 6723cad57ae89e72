/*
 * FETCH and UID FETCH: which messages are asked for, and whether any of them may have a view. If not, the command goes
 * through as it is, and the answers stream.
 */
#include "proxy/imap_fetch.h"

#include <stdlib.h>

#define CHUNK_FIRST 32 /* the client sees something soon */
#define COMMAND_MAX ((size_t)4 << 20)
#define REPLY_MAX 16384
#define NEWS_MAX ((size_t)1 << 20)

/* ---- the command ---- */

/* fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" ...) [modifiers] */
static enum err parse(const struct imap_command *command, struct span *set_out, struct imap_fetch *fetch_out)
{
    struct imap_cursor cursor = command->arguments;
    if (!imap_take_atom(&cursor, set_out) || !imap_take_space(&cursor))
        return ERR_COMMAND_SYNTAX;
    while (imap_take_space(&cursor))
        ;
    return imap_fetch_parse(&cursor, fetch_out);
}

/* Numbers of the messages that `text` names. ERR_NOT_FOUND: it names some that there are not, of which servers think
   differently, or "$". */
static enum err resolve(struct imap_map *map, struct span text, bool is_uid, struct imap_set *numbers_out)
{
    uint32_t count = imap_map_count(map);
    struct imap_set uids;
    enum err err;
    /* What has come while the UIDs were asked for is not part of the command. */
    while (count > 0 && imap_map_uid(map, count) == 0)
        count--;
    if (span_is_equal(text, SPAN_LIT("$")))
        return ERR_NOT_FOUND;
    if (!is_uid) {
        err = imap_set_parse(text, count, numbers_out, NULL);
        if (err == ERR_OK && numbers_out->len > 0 && numbers_out->ranges[numbers_out->len - 1].last > count)
            err = ERR_NOT_FOUND;
        return err == ERR_MALFORMED ? ERR_COMMAND_SYNTAX : err;
    }
    imap_set_init(&uids);
    err = imap_set_parse(text, imap_map_uid(map, count), &uids, NULL);
    if (err == ERR_OK)
        err = imap_map_numbers(map, &uids, numbers_out);
    imap_set_fini(&uids);
    return err == ERR_MALFORMED ? ERR_COMMAND_SYNTAX : err;
}

static bool are_plain(struct imap_mailbox *mailbox, const struct imap_set *numbers)
{
    struct imap_set_step step = {0};
    struct proxy_view_id id;
    uint32_t number;
    while (imap_set_next(numbers, &step, &number)) {
        uint32_t uid = imap_map_uid(imap_mailbox_map(mailbox), number);
        if (imap_mailbox_class(mailbox, uid, &id) != IMAP_CLASS_PLAIN)
            return false;
    }
    return true;
}

bool imap_fetch_may_follow(struct imap_session *session, const struct imap_command *command)
{
    struct imap_fetch *fetch = malloc(sizeof *fetch);
    struct imap_set numbers;
    struct span set;
    if (!fetch || parse(command, &set, fetch) != ERR_OK) {
        free(fetch);
        return false;
    }
    bool may = !fetch->needs_view;
    if (!may && session->mailbox && imap_mailbox_is_loaded(session->mailbox)) {
        imap_set_init(&numbers);
        may = resolve(imap_mailbox_map(session->mailbox), set, command->verb == IMAP_UID_FETCH, &numbers) == ERR_OK &&
              !imap_set_is_empty(&numbers) && are_plain(session->mailbox, &numbers);
        imap_set_fini(&numbers);
    }
    imap_fetch_fini(fetch);
    free(fetch);
    return may;
}

bool imap_fetch_passes_content(const struct imap_work *work)
{
    const struct fetch_work *fetch = (const struct fetch_work *)work;
    return work->type == &imap_fetch_type && fetch->stage == FETCH_PASS && fetch->fetch.needs_view;
}

/* ---- for the other files ---- */

enum err fetch_send(struct fetch_work *fetch, const struct imap_set *uids, struct span items, imap_reply_fn fn)
{
    struct imap_map *map = fetch_map(fetch);
    struct imap_set numbers, ranges;
    struct buf text;
    struct imap_out out;
    imap_set_init(&numbers);
    imap_set_init(&ranges);
    buf_init(&text, COMMAND_MAX);
    enum err err = imap_map_numbers(map, uids, &numbers);
    if (err == ERR_OK && imap_set_is_empty(&numbers))
        err = ERR_NOT_FOUND;
    for (size_t i = 0; i < numbers.len && err == ERR_OK && fetch->is_uid; i++)
        err = imap_set_add_range(&ranges, imap_map_uid(map, numbers.ranges[i].first),
                                 imap_map_uid(map, numbers.ranges[i].last));
    if (err == ERR_OK)
        err = buf_add_string(&text, fetch->is_uid ? "UID FETCH " : "FETCH ");
    if (err == ERR_OK)
        err = imap_set_format(fetch->is_uid ? &ranges : &numbers, &text);
    if (err == ERR_OK)
        err = buf_add_byte(&text, ' ');
    if (err == ERR_OK)
        err = buf_add_span(&text, items);
    if (err == ERR_OK) {
        imap_out_init(&out);
        imap_out_text(&out, buf_span(&text));
        imap_session_send(fetch_session(fetch), &out, NULL, fn, fetch);
    }
    imap_set_fini(&numbers);
    imap_set_fini(&ranges);
    buf_fini(&text);
    return err;
}

void fetch_keep_reply(struct fetch_work *fetch, const struct imap_reply *reply)
{
    /* A response code (RFC 5530 EXPUNGEISSUED) says more than a plain OK. */
    unsigned weight = (reply->status != IMAP_OK ? 2u : 0u) + (reply->code.len > 0 ? 1u : 0u);
    if (weight < fetch->reply_weight)
        return;
    fetch->reply_weight = weight;
    buf_clear(&fetch->reply);
    if (buf_add_span(&fetch->reply, reply->rest) != ERR_OK)
        buf_clear(&fetch->reply);
}

bool fetch_is_uid_alone(const struct imap_answer *answers, size_t len)
{
    return len == 1 && span_is_case_equal(answers[0].label, SPAN_LIT("UID"));
}

/* True unless it says nothing of a message's content; while we ask for what the client does not, UIDs are ours, too. */
static bool is_withheld(const struct imap_unit *unit, bool is_preparing)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    uint32_t number;
    size_t len;
    if (imap_fetch_response(unit, &number, answers, &len) != ERR_OK)
        return true;
    for (size_t i = 0; i < len; i++)
        if (imap_answer_is_content(&answers[i]))
            return true;
    return is_preparing && fetch_is_uid_alone(answers, len);
}

/* ---- the end ---- */

static void end_well(struct fetch_work *fetch)
{
    struct imap_session *session = fetch_session(fetch);
    if (fetch->reply_weight == 0 && fetch->has_gone)
        imap_server_done(session->server, fetch->work.command->tag, IMAP_OK, "EXPUNGEISSUED",
                         "Some messages were already expunged.");
    else if (fetch->reply.len > 0)
        imap_server_done_line(session->server, fetch->work.command->tag, buf_span(&fetch->reply));
    else
        imap_server_done(session->server, fetch->work.command->tag, IMAP_OK, NULL, "Fetch completed.");
    imap_work_done(&fetch->work);
}

/* Of messages that have gone meanwhile nothing is missing. */
static void fail_or_end(struct fetch_work *fetch)
{
    struct imap_set numbers;
    imap_set_init(&numbers);
    enum err err = imap_map_numbers(fetch_map(fetch), &fetch->locked, &numbers);
    if (err == ERR_OK && imap_set_is_empty(&numbers))
        end_well(fetch);
    else
        imap_work_fail(&fetch->work, fetch->locked_err);
    imap_set_fini(&numbers);
}

static void on_locked_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    (void)client;
    (void)reply;
    fail_or_end(context);
}

/* Of messages that cannot be shown now the server's items are given, and \Seen is not set (design 1.2.6). */
static void end_locked(struct fetch_work *fetch)
{
    struct buf items;
    buf_init(&items, REPLY_MAX);
    fetch->stage = FETCH_LOCKED;
    enum err err = fetch_server_items(fetch, true, &items);
    if (err == ERR_OK)
        err = items.len > 2 ? fetch_send(fetch, &fetch->locked, buf_span(&items), on_locked_reply) : ERR_NOT_FOUND;
    buf_fini(&items);
    if (err == ERR_NOT_FOUND)
        fail_or_end(fetch);
    else if (err != ERR_OK)
        imap_work_fail(&fetch->work, err);
}

void fetch_end(struct fetch_work *fetch)
{
    fetch_tell_news(fetch);
    if (imap_set_is_empty(&fetch->locked))
        end_well(fetch);
    else
        end_locked(fetch);
}

/* ---- the beginning ---- */

static void on_passed(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct fetch_work *fetch = context;
    (void)client;
    if (fetch->is_withheld && reply->status == IMAP_OK)
        imap_work_fail(&fetch->work, ERR_BUSY);
    else
        imap_work_reply(&fetch->work, reply);
}

static void pass(struct fetch_work *fetch)
{
    struct imap_out out;
    fetch->stage = FETCH_PASS;
    imap_out_init(&out);
    imap_out_command(&out, fetch->work.command);
    imap_session_send(fetch_session(fetch), &out, NULL, on_passed, fetch);
}

static void begin_chunks(struct fetch_work *fetch)
{
    struct imap_set numbers;
    imap_set_init(&numbers);
    if (imap_map_numbers(fetch_map(fetch), &fetch->left, &numbers) == ERR_OK)
        fetch->total = imap_set_count(&numbers);
    imap_set_fini(&numbers);
    fetch->chunk_max = fetch->ahead_max = CHUNK_FIRST;
    fetch_next_chunk(fetch);
}

static void on_resolved(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct fetch_work *fetch = context;
    (void)client;
    if (reply->status != IMAP_OK) {
        imap_work_reply(&fetch->work, reply);
        return;
    }
    fetch_keep_reply(fetch, reply);
    begin_chunks(fetch);
}

/* What only the server knows: which messages "$" stands for (RFC 5182), which have changed (RFC 7162 §3.1.4.1), and
   what it makes of numbers beyond the last. VANISHED passes to the client. */
static void ask_server(struct fetch_work *fetch)
{
    struct imap_out out;
    imap_set_clear(&fetch->left);
    fetch->stage = FETCH_RESOLVE;
    fetch->adds_modseq = fetch->fetch.has_changedsince;
    imap_out_init(&out);
    imap_out_addf(&out, "%sFETCH ", fetch->is_uid ? "UID " : "");
    imap_out_text(&out, fetch->set);
    imap_out_text(&out, fetch->adds_modseq ? SPAN_LIT(" (UID MODSEQ) ") : SPAN_LIT(" (UID)"));
    if (fetch->adds_modseq)
        imap_out_text(&out, fetch->fetch.modifiers);
    imap_session_send(fetch_session(fetch), &out, NULL, on_resolved, fetch);
}

static enum err take_numbers(struct fetch_work *fetch, const struct imap_set *numbers)
{
    struct imap_map *map = fetch_map(fetch);
    enum err err = ERR_OK;
    for (size_t i = 0; i < numbers->len && err == ERR_OK; i++)
        err = imap_set_add_range(&fetch->left, imap_map_uid(map, numbers->ranges[i].first),
                                 imap_map_uid(map, numbers->ranges[i].last));
    return err;
}

static void on_loaded(enum err err, void *context)
{
    struct fetch_work *fetch = context;
    struct imap_session *session = fetch_session(fetch);
    struct imap_set numbers;
    bool asks_server = fetch->fetch.has_changedsince, passes = false;
    imap_set_init(&numbers);
    if (err == ERR_OK) {
        err = resolve(fetch_map(fetch), fetch->set, fetch->is_uid, &numbers);
        /* Where there is nothing the server may say so in its own words. */
        passes = err == ERR_OK && are_plain(session->mailbox, &numbers);
        asks_server = asks_server || err == ERR_NOT_FOUND;
        err = err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    if (err == ERR_OK && !passes && !asks_server)
        err = take_numbers(fetch, &numbers);
    imap_set_fini(&numbers);
    if (err != ERR_OK)
        imap_work_fail(&fetch->work, err);
    else if (passes)
        pass(fetch);
    else if (asks_server)
        ask_server(fetch);
    else
        begin_chunks(fetch);
}

static void start(struct imap_work *work)
{
    struct fetch_work *fetch = (struct fetch_work *)work;
    struct imap_session *session = work->session;
    fetch->is_uid = work->command->verb == IMAP_UID_FETCH;
    imap_set_init(&fetch->left);
    imap_set_init(&fetch->locked);
    buf_init(&fetch->reply, REPLY_MAX);
    buf_init(&fetch->news, NEWS_MAX);
    fetch_out_init(&fetch->out);
    enum err err = parse(work->command, &fetch->set, &fetch->fetch);
    if (err != ERR_OK) {
        imap_work_fail(work, err);
        return;
    }
    session->progress_ms = 0;
    if (!fetch->fetch.needs_view || !session->mailbox) {
        pass(fetch);
        return;
    }
    fetch->stage = FETCH_LOAD;
    if (imap_mailbox_is_loaded(session->mailbox))
        on_loaded(ERR_OK, fetch);
    else
        imap_mailbox_load(session->mailbox, on_loaded, fetch);
}

/* ---- what the server says ---- */

/* Content passes for messages that are known to need no view, if it was asked for at all; else only what is wholly
   there to be looked at. */
static enum imap_fate pass_head(struct fetch_work *fetch, const struct imap_head *head)
{
    struct imap_session *session = fetch_session(fetch);
    struct proxy_view_id id;
    if (!fetch->fetch.needs_view || !session->mailbox)
        return fetch_is_news(head->text) ? IMAP_FATE_PASS : IMAP_FATE_FILTER;
    uint32_t uid = imap_map_uid(fetch_map(fetch), head->number);
    return imap_mailbox_class(session->mailbox, uid, &id) == IMAP_CLASS_PLAIN ? IMAP_FATE_PASS : IMAP_FATE_FILTER;
}

static enum imap_fate on_head(struct imap_work *work, const struct imap_head *head)
{
    struct fetch_work *fetch = (struct fetch_work *)work;
    if (fetch->stage == FETCH_ANSWER)
        return fetch_chunk_head(fetch, head);
    if (head->kind != IMAP_RESPONSE_FETCH)
        return IMAP_FATE_PASS;
    return fetch->stage == FETCH_PASS ? pass_head(fetch, head) : IMAP_FATE_FILTER;
}

/* True if this answers ask_server. A UID alone is as good, since nobody says it unasked; and the client hears the
   MODSEQ of a message that it gets an answer for. */
static bool take_resolved(struct fetch_work *fetch, const struct imap_unit *unit)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    uint32_t number;
    uint64_t uid;
    size_t len;
    if (imap_fetch_response(unit, &number, answers, &len) != ERR_OK)
        return false;
    bool has_modseq = fetch->adds_modseq && imap_answer_find(answers, len, "MODSEQ").ptr;
    if (has_modseq && len == 1)
        return imap_set_has(&fetch->left, imap_map_uid(fetch_map(fetch), number));
    if (!span_to_u64(imap_answer_find(answers, len, "UID"), UINT32_MAX, &uid))
        return false;
    if (!fetch_is_uid_alone(answers, len) && (!has_modseq || len != 2))
        return false;
    enum err err = imap_set_add(&fetch->left, (uint32_t)uid);
    if (err != ERR_OK)
        imap_session_end(fetch_session(fetch), err);
    return true;
}

/* Content of a message that is not known to need no view: numbers have changed since the command was sent, or new mail
   has come. Whoever may have asked for it must not hear OK. Asked for once more it is looked at first. */
static void withhold(struct imap_session *session)
{
    struct imap_work *work;
    log_info("%s: content of a message that was not looked at is not passed on", session->peer);
    for (work = TAILQ_FIRST(&session->works); work; work = TAILQ_NEXT(work, link))
        if (work->has_started && !work->is_done && imap_fetch_passes_content(work))
            ((struct fetch_work *)work)->is_withheld = true;
}

static bool on_response(struct imap_work *work, const struct imap_head *head, struct imap_unit *unit)
{
    struct fetch_work *fetch = (struct fetch_work *)work;
    if (fetch->ahead && imap_prepare_hear(fetch->ahead, head, unit))
        return false;
    if (fetch->stage == FETCH_ANSWER)
        return fetch_chunk_response(fetch, head, unit);
    if (fetch->stage == FETCH_PREPARE && imap_prepare_hear(fetch->prepare, head, unit))
        return false;
    if (fetch->stage == FETCH_RESOLVE && take_resolved(fetch, unit))
        return false;
    bool passes = !is_withheld(unit, fetch->stage == FETCH_PREPARE || fetch->stage == FETCH_LOOK);
    if (!passes && fetch->stage == FETCH_PASS)
        withhold(fetch_session(fetch));
    return passes;
}

static void on_drain(struct imap_work *work)
{
    struct fetch_work *fetch = (struct fetch_work *)work;
    if (fetch->stage == FETCH_WAIT)
        fetch_next_chunk(fetch);
    else if (fetch->stage == FETCH_STREAM)
        fetch_write_rest(fetch);
}

static void fini(struct imap_work *work)
{
    struct fetch_work *fetch = (struct fetch_work *)work;
    if (fetch->stage == FETCH_LOAD && work->session->mailbox && !work->is_done)
        imap_mailbox_stop(work->session->mailbox);
    imap_prepare_free(&fetch->prepare);
    imap_prepare_free(&fetch->ahead);
    fetch_drop_views(fetch);
    imap_fetch_fini(&fetch->fetch);
    imap_set_fini(&fetch->left);
    imap_set_fini(&fetch->locked);
    buf_fini(&fetch->reply);
    fetch_out_fini(&fetch->out);
    buf_fini(&fetch->news);
    free(fetch->news_items);
}

const struct imap_work_type imap_fetch_type = {.name = "fetch",
                                               .start = start,
                                               .on_head = on_head,
                                               .on_response = on_response,
                                               .on_drain = on_drain,
                                               .fini = fini,
                                               .size = sizeof(struct fetch_work)};

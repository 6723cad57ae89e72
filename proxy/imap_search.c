/*
 * SEARCH and UID SEARCH. Where no message has a view, or nothing that is asked depends on views, the server answers.
 * Else it answers for the messages without views, and for the others those keys that views do not change; the vault
 * answers the rest from what it keeps to be searched; and all is put together here (design 1.2.8).
 */
#include "proxy/imap_search.h"

#include <stdlib.h>
#include <string.h>

/* One request to the vault: a multiple of eight. It answers others in between. */
#define VAULT_MAX 2048
#define AGAIN_MAX 256
#define ANSWER_MAX ((size_t)128 << 20)
#define NEWS_MAX ((size_t)1 << 20)

static struct imap_map *map_of(const struct search_work *search)
{
    return imap_mailbox_map(search_session(search)->mailbox);
}

static void search_vault(struct search_work *search);

/* ---- the end ---- */

static void on_unsaved(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct search_work *search = context;
    (void)client;
    (void)reply;
    imap_work_done(&search->work);
}

/* What the server told beside its answers comes after ours, as it would come after its own. */
static void tell_news(struct search_work *search)
{
    struct imap_session *session = search_session(search);
    if (search->news.len > 0 && session->server)
        imap_server_write(session->server, buf_span(&search->news));
    buf_clear(&search->news);
}

void search_fail(struct search_work *search, enum err err)
{
    struct imap_session *session = search_session(search);
    struct imap_out out;
    tell_news(search);
    if (!search->search || !search->search->wants_save || err == ERR_COMMAND_SYNTAX || session->is_ending) {
        imap_work_fail(&search->work, err);
        return;
    }
    if (session->server)
        imap_server_fail(session->server, search->work.command->tag, err);
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("SEARCH RETURN (SAVE) NOT ALL"));
    search->stage = SEARCH_ASK;
    imap_session_send(session, &out, NULL, on_unsaved, search);
}

/* What MODSEQ speaks of, and what is saved: RFC 7162 §3.1.10 and RFC 5182 §2.1 have the same rule. */
static enum err told_of(const struct search_work *search, struct imap_set *told)
{
    const struct imap_search *program = search->search;
    const struct imap_set *found = &search->found;
    bool is_few = (program->wants_min || program->wants_max) && !program->wants_all && !program->wants_count;
    enum err err = ERR_OK;
    if (!is_few)
        return imap_set_copy(found, told);
    if (program->wants_min && !imap_set_is_empty(found))
        err = imap_set_add(told, found->ranges[0].first);
    if (err == ERR_OK && program->wants_max && !imap_set_is_empty(found))
        err = imap_set_add(told, found->ranges[found->len - 1].last);
    return err;
}

static void end(struct search_work *search)
{
    if (search->is_shaken) {
        search_fail(search, ERR_UPSTREAM_PROTOCOL);
        return;
    }
    tell_news(search);
    imap_server_done(search_session(search)->server, search->work.command->tag, IMAP_OK, NULL, "Search completed.");
    imap_work_done(&search->work);
}

static void answer(struct search_work *search)
{
    struct imap_set uids, told;
    struct buf text;
    /* What was found may have other numbers now. */
    if (search->is_shaken) {
        search_fail(search, ERR_UPSTREAM_PROTOCOL);
        return;
    }
    imap_set_init(&uids);
    imap_set_init(&told);
    buf_init(&text, ANSWER_MAX);
    enum err err = search->is_uid ? imap_map_uids(map_of(search), &search->found, &uids) : ERR_OK;
    if (err == ERR_OK)
        err = imap_search_answer(search->search, span_of(search->work.command->tag), search->is_uid,
                                 search->is_uid ? &uids : &search->found, search->modseq, &text);
    if (err == ERR_OK)
        err = told_of(search, &told);
    if (err == ERR_OK && text.len > 0)
        imap_server_write(search_session(search)->server, buf_span(&text));
    if (err != ERR_OK)
        search_fail(search, err);
    else if (search->search->wants_save)
        search_save(search, &told, end);
    else
        end(search);
    imap_set_fini(&uids);
    imap_set_fini(&told);
    buf_fini(&text);
}

static void on_modseq(struct search_work *search)
{
    search->modseq = search->ask.modseq;
    answer(search);
}

/* All that is true of views is known: they go with what the server found. */
static enum err combine(struct search_work *search)
{
    const struct imap_search *program = search->search;
    size_t rows_len = program->servers_len + program->leaves_len;
    const uint8_t **rows = calloc(rows_len + 1, sizeof *rows);
    uint8_t *result = calloc(search->row_len + 1, 1);
    enum err err = rows && result ? ERR_OK : ERR_MEMORY;
    if (err == ERR_OK) {
        for (size_t i = 0; i < rows_len; i++)
            rows[i] = search->rows + i * search->row_len;
        imap_search_combine(program, rows, rows + program->servers_len, search->views_len, result);
    }
    for (size_t i = 0; i < search->views_len && err == ERR_OK; i++)
        if ((result[i / 8] >> i % 8 & 1) != 0)
            err = imap_set_add(&search->found, search->views[i].number);
    free(rows);
    free(result);
    return err;
}

static void finish(struct search_work *search)
{
    struct imap_set told;
    imap_set_init(&told);
    enum err err = combine(search);
    if (err == ERR_OK)
        err = told_of(search, &told);
    if (err != ERR_OK)
        search_fail(search, err);
    else if (search->search->has_modseq)
        search_ask(search, &told, SPAN_LIT("MODSEQ 0"), false, on_modseq);
    else
        answer(search);
    imap_set_fini(&told);
}

/* ---- the vault ---- */

static void on_prepared_again(enum err err, struct imap_target *targets, size_t len, void *context)
{
    struct search_work *search = context;
    for (size_t i = 0; i < len && err == ERR_OK; i++)
        err = targets[i].err;
    imap_prepare_free(&search->prepare);
    if (err != ERR_OK)
        search_fail(search, err);
    else
        search_vault(search);
}

/* Texts that the vault has dropped are made again, from where the first is missing: mostly those after it are, too. */
static void make_again(struct search_work *search, size_t missing)
{
    struct imap_set numbers;
    enum err err = ERR_OK;
    if (missing < search->missing + search->missing_len && missing >= search->missing && search->missing_len > 0) {
        /* It was made, and is not there. */
        search_fail(search, ERR_STORE);
        return;
    }
    bool is_next = search->missing_len > 0 && missing == search->missing + search->missing_len;
    size_t wanted = is_next ? search->missing_len * 2 : 1;
    size_t left = search->views_len - missing;
    imap_set_init(&numbers);
    search->missing = missing;
    search->missing_len = wanted > AGAIN_MAX ? AGAIN_MAX : wanted;
    if (search->missing_len > left)
        search->missing_len = left;
    for (size_t i = 0; i < search->missing_len && err == ERR_OK; i++)
        err = imap_set_add(&numbers, search->views[missing + i].number);
    search->stage = SEARCH_PREPARE;
    if (err == ERR_OK)
        err = imap_prepare_new(&search->work, &numbers, false, IMAP_PREPARE_TEXT, on_prepared_again, search,
                               &search->prepare);
    imap_set_fini(&numbers);
    if (err != ERR_OK)
        search_fail(search, err);
}

static void on_searched(enum err err, const uint8_t *bits, size_t missing, void *context)
{
    struct search_work *search = context;
    const struct imap_search *program = search->search;
    size_t len = (search->vault_len + 7) / 8;
    search->request = NULL;
    if (err == ERR_NOT_FOUND && missing < search->vault_len) {
        make_again(search, search->vault_at + missing);
        return;
    }
    if (err != ERR_OK) {
        search_fail(search, err);
        return;
    }
    for (size_t i = 0; i < program->leaves_len; i++)
        memcpy(search->rows + (program->servers_len + i) * search->row_len + search->vault_at / 8, bits + i * len, len);
    search->vault_at += search->vault_len;
    search_vault(search);
}

static void search_vault(struct search_work *search)
{
    struct imap_session *session = search_session(search);
    const char *account = imap_session_account(session)->address;
    size_t left = search->views_len - search->vault_at;
    search->stage = SEARCH_VAULT;
    search->vault_len = left < VAULT_MAX ? left : VAULT_MAX;
    if (search->vault_len == 0) {
        finish(search);
        return;
    }
    struct store_view_key *keys = calloc(search->vault_len, sizeof *keys);
    enum err err = keys ? ERR_OK : ERR_MEMORY;
    for (size_t i = 0; i < search->vault_len && err == ERR_OK; i++) {
        const struct proxy_view_id *id = &search->views[search->vault_at + i].id;
        keys[i] = (struct store_view_key){.account = account, .generation = id->generation};
        memcpy(keys[i].digest, id->digest, sizeof keys[i].digest);
    }
    if (err == ERR_OK)
        err = proxy_vault_view_search(session->net->vault, keys, search->vault_len, search->search->leaves,
                                      search->search->leaves_len, on_searched, search, &search->request);
    free(keys);
    if (err != ERR_OK)
        search_fail(search, err);
}

/* ---- the server ---- */

static void ask_servers(struct search_work *search);

static void on_server(struct search_work *search)
{
    uint8_t *row = search->rows + search->server * search->row_len;
    for (size_t i = 0; i < search->views_len; i++)
        if (imap_set_has(&search->ask.found, search->views[i].number))
            row[i / 8] |= (uint8_t)(1u << i % 8);
    search->server++;
    ask_servers(search);
}

static const struct imap_search_node *server_node(const struct imap_search *program, size_t server)
{
    for (size_t i = 0; i < program->nodes_len; i++)
        if (program->nodes[i].kind == IMAP_SEARCH_SERVER && program->nodes[i].server == server)
            return &program->nodes[i];
    return NULL;
}

/* Each of the keys that are the server's, about the messages with views. */
static void ask_servers(struct search_work *search)
{
    const struct imap_search_node *node = server_node(search->search, search->server);
    struct imap_set numbers;
    enum err err = ERR_OK;
    if (!node) {
        search_vault(search);
        return;
    }
    imap_set_init(&numbers);
    for (size_t i = 0; i < search->views_len && err == ERR_OK; i++)
        err = imap_set_add(&numbers, search->views[i].number);
    if (err == ERR_OK)
        search_ask(search, &numbers, node->raw, true, on_server);
    else
        search_fail(search, err);
    imap_set_fini(&numbers);
}

static void on_plain(struct search_work *search)
{
    struct imap_set found = search->found;
    search->found = search->ask.found;
    search->ask.found = found;
    ask_servers(search);
}

/* ---- which messages have views ---- */

static void on_passed(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct search_work *search = context;
    (void)client;
    imap_work_reply(&search->work, reply);
}

static void pass(struct search_work *search)
{
    struct imap_out out;
    search->stage = SEARCH_PASS;
    imap_out_init(&out);
    imap_out_command(&out, search->work.command);
    imap_session_send(search_session(search), &out, NULL, on_passed, search);
}

/* Messages that cannot be searched now: the answer would be a part of the right one. */
static enum err sort_targets(struct search_work *search, const struct imap_target *targets, size_t len)
{
    enum err err = ERR_OK;
    search->views = calloc(len + 1, sizeof *search->views);
    if (!search->views)
        return ERR_MEMORY;
    for (size_t i = 0; i < len && err == ERR_OK; i++) {
        const struct imap_target *target = &targets[i];
        if (target->err == ERR_NOT_FOUND)
            continue;
        err = target->err;
        if (err == ERR_OK && target->class == IMAP_CLASS_VIEW)
            search->views[search->views_len++] = (struct search_view){target->number, target->id};
        else if (err == ERR_OK)
            err = imap_set_add(&search->plain, target->number);
    }
    search->row_len = (search->views_len + 7) / 8;
    search->rows = calloc(search->search->servers_len + search->search->leaves_len + 1, search->row_len + 1);
    return err == ERR_OK && !search->rows ? ERR_MEMORY : err;
}

static void on_prepared(enum err err, struct imap_target *targets, size_t len, void *context)
{
    struct search_work *search = context;
    if (err == ERR_OK)
        err = sort_targets(search, targets, len);
    imap_prepare_free(&search->prepare);
    if (err != ERR_OK)
        search_fail(search, err);
    else if (imap_set_count(&search->plain) == search->count)
        pass(search);
    else
        search_ask(search, &search->plain, search->search->keys, true, on_plain);
}

static bool is_all_plain(const struct search_work *search)
{
    struct proxy_view_id id;
    for (uint32_t number = 1; number <= search->count; number++)
        if (imap_mailbox_class(search_session(search)->mailbox, imap_map_uid(map_of(search), number), &id) !=
            IMAP_CLASS_PLAIN)
            return false;
    return true;
}

static void on_loaded(enum err err, void *context)
{
    struct search_work *search = context;
    struct imap_set numbers;
    imap_set_init(&numbers);
    if (err == ERR_OK) {
        search->count = imap_map_count(map_of(search));
        if (is_all_plain(search)) {
            pass(search);
            return;
        }
        search->stage = SEARCH_PREPARE;
        err = imap_set_add_range(&numbers, 1, search->count);
    }
    if (err == ERR_OK)
        err = imap_prepare_new(&search->work, &numbers, false, 0, on_prepared, search, &search->prepare);
    imap_set_fini(&numbers);
    if (err != ERR_OK)
        search_fail(search, err);
}

/* ---- life ---- */

static void refuse(struct search_work *search, enum err err)
{
    struct imap_server *server = search_session(search)->server;
    const char *tag = search->work.command->tag;
    if (err == ERR_NOT_FOUND)
        imap_server_done(server, tag, IMAP_NO, "BADCHARSET", "Unknown charset.");
    else if (err == ERR_REFUSED)
        imap_server_done(server, tag, IMAP_NO, "CANNOT", "This cannot be searched for in encrypted mail");
    else {
        imap_work_fail(&search->work, err);
        return;
    }
    imap_work_done(&search->work);
}

static void start(struct imap_work *work)
{
    struct search_work *search = (struct search_work *)work;
    struct imap_session *session = work->session;
    struct imap_cursor cursor = work->command->arguments;
    search->is_uid = work->command->verb == IMAP_UID_SEARCH;
    imap_set_init(&search->plain);
    imap_set_init(&search->found);
    buf_init(&search->news, NEWS_MAX);
    search_ask_init(&search->ask);
    search->search = calloc(1, sizeof *search->search);
    enum err err = search->search ? imap_search_parse(&cursor, search->search) : ERR_MEMORY;
    /* RFC 6855 §3: all strings are in UTF-8 then, and nothing else may be asked for. */
    if (err == ERR_OK && session->has_utf8 && search->search->charset.ptr)
        err = ERR_COMMAND_SYNTAX;
    if (err != ERR_OK) {
        refuse(search, err);
        return;
    }
    session->progress_ms = 0;
    if (imap_search_is_server(search->search) || !session->mailbox) {
        pass(search);
        return;
    }
    search->stage = SEARCH_LOAD;
    if (imap_mailbox_is_loaded(session->mailbox))
        on_loaded(ERR_OK, search);
    else
        imap_mailbox_load(session->mailbox, on_loaded, search);
}

/* ---- what the server says ---- */

static enum imap_fate on_head(struct imap_work *work, const struct imap_head *head)
{
    struct search_work *search = (struct search_work *)work;
    bool is_vanished = span_is_case_equal(head->word, SPAN_LIT("VANISHED"));
    if (search->stage == SEARCH_PASS)
        return span_is_case_equal(head->word, SPAN_LIT("ESEARCH")) ? IMAP_FATE_KEEP : IMAP_FATE_PASS;
    if (head->kind == IMAP_RESPONSE_EXPUNGE || is_vanished)
        search->is_shaken = true;
    if (search->stage == SEARCH_ASK && span_is_case_equal(head->word, SPAN_LIT("SEARCH")))
        return IMAP_FATE_KEEP;
    return IMAP_FATE_KEEP;
}

static bool is_content(const struct imap_unit *unit)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    uint32_t number;
    size_t len;
    if (imap_fetch_response(unit, &number, answers, &len) != ERR_OK)
        return true;
    for (size_t i = 0; i < len; i++)
        if (imap_answer_is_content(&answers[i]))
            return true;
    return false;
}

static bool on_response(struct imap_work *work, const struct imap_head *head, struct imap_unit *unit)
{
    struct search_work *search = (struct search_work *)work;
    if (search->stage == SEARCH_PASS)
        search_pass(search, unit);
    bool is_heard = search->stage == SEARCH_PASS;
    if (search->stage == SEARCH_ASK && span_is_case_equal(head->word, SPAN_LIT("SEARCH"))) {
        search_hear(search, unit);
        is_heard = true;
    } else if (search->prepare)
        is_heard = imap_prepare_hear(search->prepare, head, unit);
    if (!is_heard && imap_unit_is_whole(unit) && (head->kind != IMAP_RESPONSE_FETCH || !is_content(unit)) &&
        buf_add_span(&search->news, buf_span(&unit->text)) != ERR_OK)
        imap_session_end(work->session, ERR_LIMIT);
    return false;
}

static void fini(struct imap_work *work)
{
    struct search_work *search = (struct search_work *)work;
    if (search->stage == SEARCH_LOAD && work->session->mailbox && !work->is_done)
        imap_mailbox_stop(work->session->mailbox);
    imap_prepare_free(&search->prepare);
    proxy_vault_cancel(&search->request);
    imap_set_fini(&search->plain);
    imap_set_fini(&search->found);
    buf_fini(&search->news);
    search_ask_fini(&search->ask);
    if (search->search)
        imap_search_fini(search->search);
    free(search->search);
    free(search->views);
    free(search->rows);
}

const struct imap_work_type imap_search_type = {.name = "search",
                                                .start = start,
                                                .on_head = on_head,
                                                .on_response = on_response,
                                                .fini = fini,
                                                .size = sizeof(struct search_work)};

#include "proxy/imap_search.h"

#include <string.h>

#define RANGES_MAX 300 /* of one command: some 6 KiB */
#define TEXT_MAX 8192

void search_ask_init(struct search_ask *ask)
{
    imap_set_init(&ask->numbers);
    imap_set_init(&ask->found);
}

void search_ask_fini(struct search_ask *ask)
{
    imap_set_fini(&ask->numbers);
    imap_set_fini(&ask->found);
}

/* The next ranges, as text. */
static enum err next_numbers(struct search_ask *ask, struct buf *out)
{
    struct imap_set some;
    enum err err = ERR_OK;
    imap_set_init(&some);
    for (size_t i = 0; i < RANGES_MAX && ask->next_range < ask->numbers.len && err == ERR_OK; i++) {
        const struct imap_range *range = &ask->numbers.ranges[ask->next_range++];
        err = imap_set_add_range(&some, range->first, range->last);
    }
    if (err == ERR_OK)
        err = imap_set_format(&some, out);
    imap_set_fini(&some);
    return err;
}

/* "SEARCH [RETURN (SAVE)] [CHARSET x] [OR $] numbers [(keys)]" */
static enum err send_next(struct search_work *search, imap_reply_fn fn)
{
    struct search_ask *ask = &search->ask;
    bool is_first = ask->next_range == 0;
    struct imap_out out;
    struct buf numbers;
    buf_init(&numbers, TEXT_MAX);
    enum err err = next_numbers(ask, &numbers);
    if (err == ERR_OK) {
        imap_out_init(&out);
        imap_out_text(&out, ask->saves ? SPAN_LIT("SEARCH RETURN (SAVE) ") : SPAN_LIT("SEARCH "));
        if (ask->is_clients && search->search->charset.ptr) {
            imap_out_text(&out, SPAN_LIT("CHARSET "));
            imap_out_astring(&out, search->search->charset);
            imap_out_text(&out, SPAN_LIT(" "));
        }
        if (ask->saves && !is_first)
            imap_out_text(&out, SPAN_LIT("OR $ "));
        imap_out_text(&out, numbers.len > 0 ? buf_span(&numbers) : SPAN_LIT("NOT ALL"));
        if (ask->keys.ptr) {
            imap_out_text(&out, SPAN_LIT(" ("));
            if (ask->is_clients)
                imap_out_part(&out, &search->work.command->unit, ask->keys);
            else
                imap_out_text(&out, ask->keys);
            imap_out_text(&out, SPAN_LIT(")"));
        }
        imap_session_send(search_session(search), &out, NULL, fn, search);
    }
    buf_fini(&numbers);
    return err;
}

static void on_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct search_work *search = context;
    enum err err = ERR_OK;
    (void)client;
    if (reply->status != IMAP_OK) {
        imap_work_reply(&search->work, reply);
        return;
    }
    if (search->ask.next_range == search->ask.numbers.len) {
        search->ask.done(search);
        return;
    }
    err = send_next(search, on_reply);
    if (err != ERR_OK)
        search_fail(search, err);
}

/* `numbers` may be ask.found itself. */
static void begin(struct search_work *search, const struct imap_set *numbers, search_step_fn done)
{
    struct search_ask *ask = &search->ask;
    struct imap_set copy;
    imap_set_init(&copy);
    enum err err = imap_set_copy(numbers, &copy);
    search_ask_fini(ask);
    search_ask_init(ask);
    ask->numbers = copy;
    ask->next_range = 0;
    ask->modseq = 0;
    ask->done = done;
    search->stage = SEARCH_ASK;
    if (err == ERR_OK && imap_set_is_empty(numbers) && !ask->saves) {
        done(search);
        return;
    }
    if (err == ERR_OK)
        err = send_next(search, on_reply);
    if (err != ERR_OK)
        search_fail(search, err);
}

void search_ask(struct search_work *search, const struct imap_set *numbers, struct span keys, bool is_clients,
                search_step_fn done)
{
    search->ask.keys = keys;
    search->ask.is_clients = is_clients;
    search->ask.saves = false;
    begin(search, numbers, done);
}

void search_save(struct search_work *search, const struct imap_set *numbers, search_step_fn done)
{
    search->ask.keys = SPAN_NONE;
    search->ask.is_clients = false;
    search->ask.saves = true;
    begin(search, numbers, done);
}

/* "*" SP "SEARCH" *(SP nz-number) [SP "(" "MODSEQ" SP mod-sequence-value ")"]; some servers leave a blank behind. */
void search_hear(struct search_work *search, const struct imap_unit *unit)
{
    struct search_ask *ask = &search->ask;
    struct imap_cursor cursor;
    uint64_t number;
    enum err err = ERR_OK;
    imap_cursor_init(&cursor, unit);
    bool is_good = imap_take_char(&cursor, '*') && imap_take_space(&cursor) && imap_take_word(&cursor, "SEARCH");
    while (is_good && err == ERR_OK && imap_take_space(&cursor)) {
        if (imap_take_number(&cursor, UINT32_MAX, &number)) {
            /* What came in meanwhile was not asked about. */
            if (number > 0 && number <= search->count)
                err = imap_set_add(&ask->found, (uint32_t)number);
        } else if (imap_take_char(&cursor, '(')) {
            is_good = imap_take_word(&cursor, "MODSEQ") && imap_take_space(&cursor) &&
                      imap_take_number(&cursor, INT64_MAX, &number) && imap_take_char(&cursor, ')');
            if (is_good && number > ask->modseq)
                ask->modseq = number;
        }
    }
    if (err == ERR_OK && (!is_good || !imap_at_end(&cursor)))
        err = ERR_UPSTREAM_PROTOCOL;
    if (err != ERR_OK)
        imap_session_end(search_session(search), err);
}

/* "*" SP "ESEARCH" SP "(" "TAG" SP tag-string ")" ...: the tag is that of our command (RFC 4466 §2.6.2). */
void search_pass(struct search_work *search, const struct imap_unit *unit)
{
    struct imap_server *server = search_session(search)->server;
    const char *tag = search->work.command->tag;
    struct imap_cursor cursor;
    struct imap_string theirs;
    struct buf text;
    imap_cursor_init(&cursor, unit);
    buf_init(&text, unit->text.len + 2 * strlen(tag) + 64);
    bool has_tag = imap_take_char(&cursor, '*') && imap_take_space(&cursor) && imap_take_word(&cursor, "ESEARCH") &&
                   imap_take_space(&cursor) && imap_take_char(&cursor, '(') && imap_take_word(&cursor, "TAG") &&
                   imap_take_space(&cursor) && imap_take_string(&cursor, &theirs) && imap_take_char(&cursor, ')');
    enum err err = has_tag ? buf_addf(&text, "* ESEARCH (TAG \"%s\")", tag) : ERR_OK;
    if (err == ERR_OK)
        err = buf_add_span(&text, has_tag ? imap_rest(&cursor) : buf_span(&unit->text));
    if (err == ERR_OK)
        imap_server_write(server, buf_span(&text));
    else
        imap_session_end(search_session(search), err);
    buf_fini(&text);
}

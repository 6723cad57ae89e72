/*
 * Commands that change which mailbox is selected, and those after which messages stand elsewhere: what is known of
 * their views goes with them (no second decryption after COPY, MOVE and RENAME).
 */
#include "proxy/imap_internal.h"

#include "proxy/vault_views.h"

#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 4096
#define COPIED_MAX 1000000u

static void send_command(struct imap_work *work, imap_reply_fn fn)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_command(&out, work->command);
    imap_session_send(work->session, &out, NULL, fn, work);
}

/* The mailbox that a command names first. */
static enum err take_name(struct imap_cursor *cursor, struct buf *name_out)
{
    struct imap_string string;
    struct buf raw;
    buf_init(&raw, NAME_SIZE);
    enum err err = imap_take_astring(cursor, &string) ? imap_string_add(&string, &raw) : ERR_COMMAND_SYNTAX;
    if (err == ERR_OK)
        err = imap_mailbox_normalise(buf_span(&raw), name_out);
    buf_fini(&raw);
    return err == ERR_MALFORMED ? ERR_COMMAND_SYNTAX : err;
}

/* The same, as the vault knows it. */
static enum err take_key(const struct imap_session *session, struct imap_cursor *cursor, struct buf *key_out)
{
    struct buf name;
    if (!session->has_utf8)
        return take_name(cursor, key_out);
    buf_init(&name, NAME_SIZE);
    enum err err = take_name(cursor, &name);
    if (err == ERR_OK)
        err = imap_mailbox_encode(buf_span(&name), key_out);
    buf_fini(&name);
    return err;
}

/* ---- SELECT, EXAMINE, CLOSE, UNSELECT ---- */

struct select_work {
    struct imap_work work;
    struct imap_reopen *reopen; /* messages are being judged again: the client hears nothing of it */
    bool is_waiting;            /* for the places */
    bool has_reopened;
    bool is_listing;  /* the server is asked what the mailbox is for */
    bool is_unheard;  /* nothing is taken of what its mail tells of keys */
    struct buf reply; /* the server's, while it waits */
    struct buf line;  /* the command, to be said once more */
};

static bool opens(const struct imap_work *work)
{
    return work->command->verb == IMAP_SELECT || work->command->verb == IMAP_EXAMINE;
}

/* What is junk may say whose key it is as little as anything else (Autocrypt level 1, 2.3). By its name, where the
   server does not say. */
static bool is_junk_name(struct span name)
{
    static const struct span names[] = {SPAN_LIT("Junk"),        SPAN_LIT("Spam"),       SPAN_LIT("Trash"),
                                        SPAN_LIT("Junk E-mail"), SPAN_LIT("Junk Mail"),  SPAN_LIT("Deleted Items"),
                                        SPAN_LIT("Bulk Mail"),   SPAN_LIT("Junk Email"), SPAN_LIT("Deleted Messages")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct span end = names[i];
        if (span_has_case_suffix(name, end) &&
            (name.len == end.len || span_find_byte(SPAN_LIT("/.\\"), 0, name.ptr[name.len - end.len - 1]) < 3))
            return true;
    }
    return false;
}

/* "* LIST (flags) separator name" (RFC 6154 §2). */
static void hear_use(struct select_work *select, const struct imap_unit *unit)
{
    struct imap_cursor cursor;
    struct span flags, flag;
    imap_cursor_init(&cursor, unit);
    if (!imap_take_char(&cursor, '*') || !imap_take_space(&cursor) || !imap_take_word(&cursor, "LIST") ||
        !imap_take_space(&cursor) || !imap_take_value(&cursor, &flags) || flags.len < 2)
        return;
    flags = span_slice(flags, 1, flags.len - 1);
    while (span_take_until(&flags, ' ', &flag))
        if (span_is_case_equal(flag, SPAN_LIT("\\Junk")) || span_is_case_equal(flag, SPAN_LIT("\\Trash")))
            select->is_unheard = true;
}

static void on_list_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct select_work *select = context;
    (void)client;
    (void)reply;
    select->is_listing = false;
    if (select->is_unheard && select->work.session->mailbox != NULL)
        imap_mailbox_set_unheard(select->work.session->mailbox);
}

/* Asked together with the SELECT, so that nobody waits for it. INBOX is what it is, and in a pattern some characters
   mean others. */
static void ask_use(struct select_work *select, struct span name)
{
    struct imap_session *session = select->work.session;
    struct imap_out out;
    select->is_unheard = is_junk_name(name);
    if (select->is_unheard)
        imap_mailbox_set_unheard(session->mailbox);
    if (select->is_unheard || span_is_equal(name, SPAN_LIT("INBOX")) || span_find_byte(name, 0, '*') < name.len ||
        span_find_byte(name, 0, '%') < name.len)
        return;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("LIST \"\" "));
    imap_out_astring(&out, name);
    select->is_listing = true;
    imap_session_send(session, &out, NULL, on_list_reply, select);
}

static void leave_mailbox(struct imap_session *session)
{
    imap_mailbox_free(&session->mailbox);
    imap_server_set_state(session->server, IMAP_STATE_AUTHENTICATED);
}

static void on_select_reply(struct imap_client *client, const struct imap_reply *reply, void *context);

/* What the client was told of the mailbox is no longer so: it is told anew, before the command's own answer. */
static void on_reopened(void *context)
{
    struct select_work *select = context;
    struct imap_session *session = select->work.session;
    struct imap_out out;
    struct buf name;
    buf_init(&name, NAME_SIZE);
    enum err err = buf_add_span(&name, imap_mailbox_name(session->mailbox));
    imap_reopen_free(&select->reopen);
    imap_mailbox_free(&session->mailbox);
    if (err == ERR_OK)
        err = imap_mailbox_new(session, buf_span(&name), &session->mailbox);
    if (err == ERR_OK && select->is_unheard)
        imap_mailbox_set_unheard(session->mailbox);
    buf_fini(&name);
    select->has_reopened = true;
    imap_out_init(&out);
    imap_out_text(&out, buf_span(&select->line));
    if (err == ERR_OK)
        imap_session_send(session, &out, NULL, on_select_reply, select);
    else {
        imap_out_fini(&out);
        imap_session_end(session, err);
    }
}

static void on_places(enum err err, void *context)
{
    struct select_work *select = context;
    struct imap_session *session = select->work.session;
    select->is_waiting = false;
    if (err == ERR_OK && !imap_set_is_empty(imap_mailbox_reopens(session->mailbox)))
        err = imap_reopen_new(&select->work, on_reopened, select, &select->reopen);
    if (err != ERR_OK)
        log_failure(err, "looking for messages to be judged again");
    if (select->reopen != NULL)
        return;
    imap_server_done_line(session->server, select->work.command->tag, buf_span(&select->reply));
    imap_work_done(&select->work);
}

static bool may_reopen(const struct select_work *select)
{
    const struct imap_capabilities *capabilities = imap_client_capabilities(select->work.session->upstream);
    return select->work.command->verb == IMAP_SELECT && !select->has_reopened && select->line.len > 0 &&
           (capabilities->features & IMAP_HAS_UIDPLUS) != 0;
}

static void on_select_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_work *work = context;
    struct select_work *select = context;
    struct imap_session *session = work->session;
    (void)client;
    if (reply->status == IMAP_OK && may_reopen(select) && !span_has_case_prefix(reply->code, SPAN_LIT("READ-ONLY")) &&
        buf_add_span(&select->reply, reply->rest) == ERR_OK) {
        imap_server_set_state(session->server, IMAP_STATE_SELECTED);
        select->is_waiting = true;
        imap_mailbox_load_places(session->mailbox, on_places, select);
        return;
    }
    /* A SELECT that failed leaves nothing selected, a CLOSE that failed changes nothing. */
    if (opens(work) && reply->status == IMAP_OK)
        imap_server_set_state(session->server, IMAP_STATE_SELECTED);
    else if (opens(work) || reply->status == IMAP_OK)
        leave_mailbox(session);
    imap_work_reply(work, reply);
}

/* The command without a literal in it can be said twice. */
static void keep_line(struct select_work *select)
{
    const struct imap_command *command = select->work.command;
    buf_init(&select->reply, 16384);
    buf_init(&select->line, 16384);
    if (command->unit.literals_len == 0 && buf_add_span(&select->line, span_trim(command->line)) != ERR_OK)
        buf_clear(&select->line);
}

static void select_start(struct imap_work *work)
{
    struct imap_session *session = work->session;
    struct imap_cursor cursor = work->command->arguments;
    struct buf name;
    keep_line((struct select_work *)work);
    if (!opens(work)) {
        send_command(work, on_select_reply);
        return;
    }
    /* Whatever comes of it, the mailbox before it is selected no more (RFC 3501 §6.3.1). */
    buf_init(&name, NAME_SIZE);
    enum err err = take_name(&cursor, &name);
    if (err == ERR_OK) {
        imap_mailbox_free(&session->mailbox);
        err = imap_mailbox_new(session, buf_span(&name), &session->mailbox);
    }
    if (err == ERR_OK)
        ask_use((struct select_work *)work, buf_span(&name));
    buf_fini(&name);
    if (err == ERR_OK)
        send_command(work, on_select_reply);
    else
        imap_work_fail(work, err);
}

static enum imap_fate select_on_head(struct imap_work *work, const struct imap_head *head)
{
    const struct select_work *select = (const struct select_work *)work;
    if (select->is_listing && span_is_case_equal(head->word, SPAN_LIT("LIST")))
        return IMAP_FATE_KEEP;
    return select->reopen == NULL ? IMAP_FATE_PASS : IMAP_FATE_KEEP;
}

static bool select_on_response(struct imap_work *work, const struct imap_head *head, struct imap_unit *unit)
{
    if (((struct select_work *)work)->is_listing && span_is_case_equal(head->word, SPAN_LIT("LIST")))
        hear_use((struct select_work *)work, unit);
    return false;
}

static void select_fini(struct imap_work *work)
{
    struct select_work *select = (struct select_work *)work;
    if (select->is_waiting)
        imap_mailbox_stop(work->session->mailbox);
    imap_reopen_free(&select->reopen);
    buf_fini(&select->reply);
    buf_fini(&select->line);
}

const struct imap_work_type imap_select_type = {.name = "select",
                                                .start = select_start,
                                                .on_head = select_on_head,
                                                .on_response = select_on_response,
                                                .fini = select_fini,
                                                .size = sizeof(struct select_work)};

/* ---- COPY, MOVE, RENAME, DELETE ---- */

/* The numbers of a COPYUID set if they are written in ascending order: then the two sets of one code go pair by pair.
   In another order nothing is concluded from them. */
static enum err ascending(struct span text, struct imap_set *set_out)
{
    uint32_t last = 0;
    struct span rest = text, range, first;
    uint64_t number;
    while (span_take_until(&rest, ',', &range)) {
        while (span_take_until(&range, ':', &first)) {
            if (!span_to_u64(first, UINT32_MAX, &number) || number <= last)
                return ERR_NOT_FOUND;
            last = (uint32_t)number;
        }
    }
    return imap_set_parse(text, 0, set_out, NULL);
}

static enum err collect(const struct imap_mailbox *mailbox, const struct imap_set *from, const struct imap_set *to,
                        struct store_place **places_out, size_t *len_out)
{
    struct imap_set_step from_step = {0}, to_step = {0};
    struct proxy_view_id id;
    uint32_t source, target;
    size_t len = 0;
    uint64_t count = imap_set_count(from);
    *places_out = NULL;
    if (count != imap_set_count(to) || count == 0 || count > COPIED_MAX)
        return ERR_NOT_FOUND;
    struct store_place *places = calloc((size_t)count, sizeof(*places));
    if (places == NULL)
        return ERR_MEMORY;
    while (imap_set_next(from, &from_step, &source) && imap_set_next(to, &to_step, &target)) {
        enum imap_class class = imap_mailbox_class(mailbox, source, &id);
        if (class != IMAP_CLASS_PLAIN && class != IMAP_CLASS_VIEW)
            continue;
        places[len] = (struct store_place){.uid = target, .is_view = class == IMAP_CLASS_VIEW};
        if (class == IMAP_CLASS_VIEW) {
            places[len].generation = id.generation;
            memcpy(places[len].digest, id.digest, sizeof(id.digest));
        }
        len++;
    }
    *places_out = places;
    *len_out = len;
    return ERR_OK;
}

/* "COPYUID uidvalidity from to" (RFC 4315): what is known of the sources is known of the copies. A failure costs
   another look at the copies, no more. */
static void follow_copies(struct imap_work *work, struct span code)
{
    struct imap_session *session = work->session;
    struct imap_cursor cursor = work->command->arguments;
    struct imap_set from, to;
    struct store_place *places = NULL;
    struct span word, validity, from_text, to_text = code;
    struct buf name;
    uint64_t uid_validity;
    size_t len = 0;
    if (session->mailbox == NULL || !span_take_until(&to_text, ' ', &word) ||
        !span_is_case_equal(word, SPAN_LIT("COPYUID")) || !span_take_until(&to_text, ' ', &validity) ||
        !span_to_u64(validity, UINT32_MAX, &uid_validity) || !span_take_until(&to_text, ' ', &from_text))
        return;
    imap_set_init(&from);
    imap_set_init(&to);
    buf_init(&name, NAME_SIZE);
    enum err err = imap_take_atom(&cursor, &word) && imap_take_space(&cursor) ? ERR_OK : ERR_COMMAND_SYNTAX;
    if (err == ERR_OK)
        err = take_key(session, &cursor, &name);
    if (err == ERR_OK)
        err = ascending(from_text, &from);
    if (err == ERR_OK)
        err = ascending(to_text, &to);
    if (err == ERR_OK)
        err = collect(session->mailbox, &from, &to, &places, &len);
    struct store_mailbox key = {.account = imap_session_account(session)->address,
                                .name = buf_span(&name),
                                .uid_validity = (uint32_t)uid_validity};
    if (err == ERR_OK && len > 0)
        err = proxy_vault_places_put(session->net->vault, &key, places, len, NULL, NULL, NULL);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        log_failure(err, "following copies to another mailbox");
    imap_set_fini(&from);
    imap_set_fini(&to);
    buf_fini(&name);
    free(places);
}

struct places_work {
    struct imap_work work;
    char separator; /* of the mailbox that is renamed; NUL: none is known, and what is below it is not looked for */
    bool is_asking; /* the server for it */
};

/* The places move with the mailbox, and those of what is below it with them: what is deleted has nothing below it, and
   INBOX keeps what it has (RFC 3501 §6.3.4 and §6.3.5). */
static void follow_rename(struct places_work *places)
{
    struct imap_work *work = &places->work;
    struct imap_session *session = work->session;
    struct imap_cursor cursor = work->command->arguments;
    struct buf from, to;
    buf_init(&from, NAME_SIZE);
    buf_init(&to, NAME_SIZE);
    enum err err = take_key(session, &cursor, &from);
    if (err == ERR_OK && work->command->verb == IMAP_RENAME)
        err = imap_take_space(&cursor) ? take_key(session, &cursor, &to) : ERR_COMMAND_SYNTAX;
    if (err == ERR_OK)
        err = proxy_vault_places_rename(session->net->vault, imap_session_account(session)->address, buf_span(&from),
                                        buf_span(&to), places->separator, NULL, NULL, NULL);
    if (err != ERR_OK)
        log_failure(err, "following a mailbox to its new name");
    buf_fini(&from);
    buf_fini(&to);
}

static void on_places_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_work *work = context;
    bool is_mailbox = work->command->verb == IMAP_RENAME || work->command->verb == IMAP_DELETE;
    (void)client;
    if (reply->status == IMAP_OK && is_mailbox)
        follow_rename((struct places_work *)work);
    else if (reply->status == IMAP_OK)
        follow_copies(work, reply->code);
    imap_work_reply(work, reply);
}

static void on_separator_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct places_work *places = context;
    (void)client;
    (void)reply;
    places->is_asking = false;
    send_command(&places->work, on_places_reply);
}

/* "LIST from """: what separates names there (RFC 3501 §6.3.8). */
static void ask_separator(struct places_work *places, struct span from)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("LIST "));
    imap_out_astring(&out, from);
    imap_out_text(&out, SPAN_LIT(" \"\""));
    places->is_asking = true;
    imap_session_send(places->work.session, &out, NULL, on_separator_reply, places);
}

/* "* LIST (flags) separator name", where the separator is one character in quotes, or NIL. */
static void hear_separator(struct places_work *places, const struct imap_unit *unit)
{
    struct imap_cursor cursor;
    struct imap_string string;
    struct span flags;
    struct buf separator;
    imap_cursor_init(&cursor, unit);
    buf_init(&separator, 16);
    if (imap_take_char(&cursor, '*') && imap_take_space(&cursor) && imap_take_word(&cursor, "LIST") &&
        imap_take_space(&cursor) && imap_take_value(&cursor, &flags) && imap_take_space(&cursor) &&
        imap_take_nstring(&cursor, &string) && string.kind != IMAP_NIL &&
        imap_string_add(&string, &separator) == ERR_OK && separator.len == 1)
        places->separator = separator.data[0];
    buf_fini(&separator);
}

/* MOVE tells COPYUID in an untagged OK, before the EXPUNGEs (RFC 6851 §4.3). */
static enum imap_fate places_on_head(struct imap_work *work, const struct imap_head *head)
{
    if (((struct places_work *)work)->is_asking && span_is_case_equal(head->word, SPAN_LIT("LIST")))
        return IMAP_FATE_KEEP;
    return head->kind == IMAP_RESPONSE_STATUS ? IMAP_FATE_FILTER : IMAP_FATE_PASS;
}

static bool places_on_response(struct imap_work *work, const struct imap_head *head, struct imap_unit *unit)
{
    struct imap_cursor cursor;
    struct span code;
    if (head->kind != IMAP_RESPONSE_STATUS) {
        hear_separator((struct places_work *)work, unit);
        return false;
    }
    imap_cursor_init(&cursor, unit);
    if (imap_take_char(&cursor, '*') && imap_take_space(&cursor) && imap_take_word(&cursor, "OK") &&
        imap_take_space(&cursor) && imap_take_code(&cursor, &code))
        follow_copies(work, code);
    return true;
}

static void places_start(struct imap_work *work)
{
    struct imap_cursor cursor = work->command->arguments;
    struct buf from;
    buf_init(&from, NAME_SIZE);
    if (work->command->verb == IMAP_RENAME && take_name(&cursor, &from) == ERR_OK &&
        !span_is_equal(buf_span(&from), SPAN_LIT("INBOX")))
        ask_separator((struct places_work *)work, buf_span(&from));
    else
        send_command(work, on_places_reply);
    buf_fini(&from);
}

const struct imap_work_type imap_places_type = {.name = "places",
                                                .start = places_start,
                                                .on_head = places_on_head,
                                                .on_response = places_on_response,
                                                .size = sizeof(struct places_work)};

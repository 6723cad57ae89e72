/* FETCH (RFC 3501 §6.4.5). */
#include "tests/servers/imapd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ITEMS_MAX 100
#define PATH_MAX_LEN 70
#define FLUSH_LEN 65536

enum item_kind {
    ITEM_FLAGS,
    ITEM_UID,
    ITEM_INTERNALDATE,
    ITEM_SIZE,
    ITEM_MODSEQ,
    ITEM_EMAILID,
    ITEM_ENVELOPE,
    ITEM_BODY,
    ITEM_BODYSTRUCTURE,
    ITEM_SECTION
};

enum section_text { SECTION_ALL, SECTION_HEADER, SECTION_FIELDS, SECTION_FIELDS_NOT, SECTION_TEXT, SECTION_MIME };

struct item {
    enum item_kind kind;
    char label[1024]; /* as the response names it */
    bool sets_seen;
    uint64_t path[PATH_MAX_LEN];
    size_t path_len;
    enum section_text text;
    struct slice fields; /* the names, between the brackets */
    bool has_partial;
    uint64_t offset, len;
};

struct fetch {
    struct slice set;
    struct item items[ITEMS_MAX];
    size_t items_len;
    bool has_changed_since;
    uint64_t changed_since;
};

/* ---- what is asked for ---- */

static const struct {
    const char *word;
    enum item_kind kind;
    enum section_text text;
    bool sets_seen;
} WORDS[] = {
    {"FLAGS", ITEM_FLAGS, SECTION_ALL, false},
    {"UID", ITEM_UID, SECTION_ALL, false},
    {"INTERNALDATE", ITEM_INTERNALDATE, SECTION_ALL, false},
    {"RFC822.SIZE", ITEM_SIZE, SECTION_ALL, false},
    {"MODSEQ", ITEM_MODSEQ, SECTION_ALL, false},
    {"EMAILID", ITEM_EMAILID, SECTION_ALL, false},
    {"ENVELOPE", ITEM_ENVELOPE, SECTION_ALL, false},
    {"BODYSTRUCTURE", ITEM_BODYSTRUCTURE, SECTION_ALL, false},
    {"BODY", ITEM_BODY, SECTION_ALL, false},
    {"RFC822", ITEM_SECTION, SECTION_ALL, true},
    {"RFC822.HEADER", ITEM_SECTION, SECTION_HEADER, false},
    {"RFC822.TEXT", ITEM_SECTION, SECTION_TEXT, true},
};

static struct item *add_item(struct fetch *fetch)
{
    if (fetch->items_len == ITEMS_MAX)
        return NULL;
    struct item *item = &fetch->items[fetch->items_len++];
    *item = (struct item){.kind = ITEM_FLAGS};
    return item;
}

static bool add_word(struct fetch *fetch, const char *word)
{
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if (!slice_is((struct slice){word, strlen(word)}, WORDS[i].word))
            continue;
        struct item *item = add_item(fetch);
        if (item == NULL)
            return false;
        item->kind = WORDS[i].kind;
        item->text = WORDS[i].text;
        item->sets_seen = WORDS[i].sets_seen;
        snprintf(item->label, sizeof(item->label), "%s", WORDS[i].word);
        return true;
    }
    return false;
}

static bool take_fields(struct cursor *cursor, struct slice *fields_out)
{
    char *name;
    if (!take_space(cursor) || !take_char(cursor, '('))
        return false;
    const char *start = cursor->at;
    do {
        if (!take_astring(cursor, &name))
            return false;
        free(name);
    } while (take_space(cursor));
    *fields_out = (struct slice){start, (size_t)(cursor->at - start)};
    return take_char(cursor, ')');
}

/* section-spec = section-msgtext / (section-part ["." section-text]) */
static bool take_section(struct cursor *cursor, struct item *item)
{
    static const struct {
        const char *word;
        enum section_text text;
    } texts[] = {{"HEADER.FIELDS.NOT", SECTION_FIELDS_NOT},
                 {"HEADER.FIELDS", SECTION_FIELDS},
                 {"HEADER", SECTION_HEADER},
                 {"TEXT", SECTION_TEXT},
                 {"MIME", SECTION_MIME}};
    bool needs_more = false;
    while (item->path_len < PATH_MAX_LEN && take_number(cursor, &item->path[item->path_len])) {
        if (item->path[item->path_len++] == 0)
            return false;
        needs_more = take_char(cursor, '.');
        if (!needs_more)
            return true;
    }
    const char *close = memchr(cursor->at, ']', (size_t)(cursor->end - cursor->at));
    if (close == NULL || (close == cursor->at && needs_more))
        return false;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice word = {cursor->at, strlen(texts[i].word)};
        if ((size_t)(cursor->end - cursor->at) < word.len || !slice_is(word, texts[i].word))
            continue;
        cursor->at += word.len;
        item->text = texts[i].text;
        if (item->text == SECTION_FIELDS || item->text == SECTION_FIELDS_NOT)
            return take_fields(cursor, &item->fields);
        return item->text != SECTION_MIME || item->path_len > 0;
    }
    return close == cursor->at;
}

/* After "BODY" or "BODY.PEEK": "[" section "]" ["<" number "." nz-number ">"] */
static bool take_body_section(struct cursor *cursor, struct fetch *fetch, bool sets_seen)
{
    const char *start = cursor->at;
    struct item *item = add_item(fetch);
    if (item == NULL || !take_char(cursor, '[') || !take_section(cursor, item) || !take_char(cursor, ']'))
        return false;
    item->kind = ITEM_SECTION;
    item->sets_seen = sets_seen;
    int len = snprintf(item->label, sizeof(item->label), "BODY%.*s", (int)(cursor->at - start), start);
    if (len < 0 || (size_t)len >= sizeof(item->label) - 24)
        return false;
    if (!take_char(cursor, '<'))
        return true;
    item->has_partial = true;
    if (!take_number(cursor, &item->offset) || !take_char(cursor, '.') || !take_number(cursor, &item->len) ||
        item->len == 0 || !take_char(cursor, '>'))
        return false;
    snprintf(item->label + len, sizeof(item->label) - (size_t)len, "<%" PRIu64 ">", item->offset);
    return true;
}

static bool take_item(struct cursor *cursor, struct fetch *fetch)
{
    struct slice atom;
    char word[32];
    if (!take_atom(cursor, &atom) || atom.len >= sizeof(word))
        return false;
    memcpy(word, atom.at, atom.len);
    word[atom.len] = '\0';
    bool has_section = cursor->at < cursor->end && *cursor->at == '[';
    if (has_section && slice_is(atom, "BODY"))
        return take_body_section(cursor, fetch, true);
    if (has_section && slice_is(atom, "BODY.PEEK"))
        return take_body_section(cursor, fetch, false);
    return add_word(fetch, word);
}

static bool take_macro(struct cursor *cursor, struct fetch *fetch)
{
    static const char *const macros[][6] = {{"FAST", "FLAGS", "INTERNALDATE", "RFC822.SIZE"},
                                            {"ALL", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
                                            {"FULL", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"}};
    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
        if (!take_word(cursor, macros[i][0]))
            continue;
        for (size_t j = 1; j < 6 && macros[i][j] != NULL; j++)
            add_word(fetch, macros[i][j]);
        return true;
    }
    return false;
}

static bool parse_fetch(struct cursor *arguments, struct fetch *fetch)
{
    if (!take_space(arguments) || !take_set(arguments, &fetch->set) || !take_space(arguments))
        return false;
    if (take_char(arguments, '(')) {
        do {
            if (!take_item(arguments, fetch))
                return false;
        } while (take_space(arguments));
        if (!take_char(arguments, ')'))
            return false;
    } else if (!take_macro(arguments, fetch) && !take_item(arguments, fetch))
        return false;
    if (take_space(arguments)) {
        fetch->has_changed_since = take_char(arguments, '(') && take_word(arguments, "CHANGEDSINCE") &&
                                   take_space(arguments) && take_number(arguments, &fetch->changed_since) &&
                                   take_char(arguments, ')');
        if (!fetch->has_changed_since)
            return false;
    }
    return take_end(arguments);
}

/* ---- sections ---- */

/* The part at the path, or NULL. A message that is not multipart is its own part 1. */
static const struct part *find_part(const struct part *root, const uint64_t *path, size_t path_len)
{
    bool is_whole = true; /* a message of its own, rather than a part of one */
    for (size_t i = 0; i < path_len; i++) {
        if (!is_whole && root->is_message) {
            root = root->children[0];
            is_whole = true;
        }
        if (root->is_multipart && path[i] <= root->children_len)
            root = root->children[path[i] - 1];
        else if (root->is_multipart || !is_whole || path[i] != 1)
            return NULL;
        is_whole = false;
    }
    return root;
}

static bool is_named(struct slice fields, struct slice name)
{
    struct cursor cursor = {fields.at, fields.at + fields.len};
    char *field;
    while (take_astring(&cursor, &field)) {
        bool is_it = slice_is(name, field);
        free(field);
        if (is_it)
            return true;
        take_space(&cursor);
    }
    return false;
}

static void add_fields(struct text *out, struct slice header, const struct item *item)
{
    struct slice name, whole;
    while (field_next(&header, &name, &whole))
        if (is_named(item->fields, name) == (item->text == SECTION_FIELDS))
            text_add(out, whole.at, whole.len);
    text_puts(out, "\r\n");
}

/* The content of the section; false if there is no such section (NIL). */
static bool section(const struct part *root, const struct item *item, struct text *out)
{
    const struct part *part = find_part(root, item->path, item->path_len);
    if (part == NULL)
        return false;
    const struct part *message = item->path_len == 0 ? part : part->is_message ? part->children[0] : NULL;
    text_add(out, "", 0);
    if (item->text == SECTION_MIME || (item->path_len == 0 && item->text == SECTION_ALL))
        text_add(out, part->header.at, part->header.len);
    if (item->text == SECTION_MIME)
        return true;
    if (item->text == SECTION_ALL) {
        text_add(out, part->body.at, part->body.len);
        return true;
    }
    if (message == NULL)
        return false;
    if (item->text == SECTION_HEADER)
        text_add(out, message->header.at, message->header.len);
    else if (item->text == SECTION_TEXT)
        text_add(out, message->body.at, message->body.len);
    else
        add_fields(out, message->header, item);
    return true;
}

static void put_section(struct session *session, const struct part *root, const struct item *item, bool is_empty)
{
    struct text content = {0};
    text_addf(&session->out, "%s ", item->label);
    if (is_empty || !section(root, item, &content))
        text_puts(&session->out, "NIL");
    else if (!item->has_partial)
        imapd_put_literal(session, content.bytes, content.len);
    else {
        size_t from = item->offset < content.len ? (size_t)item->offset : content.len;
        size_t len = item->len < content.len - from ? (size_t)item->len : content.len - from;
        imapd_put_literal(session, content.bytes + from, len);
    }
    text_free(&content);
}

/* ---- the response ---- */

/* A copy of a message, so that it can be sent without the lock. */
struct copy {
    struct message message;
    struct text content;
    struct part *part;
};

/* The same for the same bytes, unless the message says itself what it is to be called. */
static void add_email_id(struct text *out, const struct copy *copy)
{
    struct text name = {0};
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < copy->content.len; i++)
        hash = (hash ^ (unsigned char)copy->content.bytes[i]) * UINT64_C(1099511628211);
    if (field_get(copy->part->header, "X-Email-Id", &name))
        text_addf(out, "EMAILID (%.*s)", (int)name.len, name.bytes);
    else
        text_addf(out, "EMAILID (M%016" PRIx64 ")", hash);
    text_free(&name);
}

static void put_item(struct session *session, const struct item *item, const struct copy *copy, size_t index)
{
    struct text *out = &session->out;
    char date[40];
    time_t seconds = copy->message.date;
    struct tm tm;
    switch (item->kind) {
    case ITEM_FLAGS:
        sync_add_flags(out, &copy->message, &session->seen[index]);
        break;
    case ITEM_UID:
        text_addf(out, "UID %" PRIu32, copy->message.uid);
        break;
    case ITEM_INTERNALDATE:
        gmtime_r(&seconds, &tm);
        strftime(date, sizeof(date), "%d-%b-%Y %H:%M:%S +0000", &tm);
        text_addf(out, "INTERNALDATE \"%s\"", date);
        break;
    case ITEM_SIZE:
        text_addf(out, "RFC822.SIZE %zu", copy->content.len);
        break;
    case ITEM_MODSEQ:
        text_addf(out, "MODSEQ (%" PRIu64 ")", copy->message.modseq);
        break;
    case ITEM_EMAILID:
        add_email_id(out, copy);
        break;
    case ITEM_ENVELOPE:
        text_puts(out, "ENVELOPE ");
        envelope_add(out, copy->part->header);
        break;
    case ITEM_BODY:
    case ITEM_BODYSTRUCTURE:
        text_addf(out, "%s ", item->label);
        structure_add(out, copy->part, item->kind == ITEM_BODYSTRUCTURE);
        break;
    case ITEM_SECTION:
        put_section(session, copy->part, item, index + 1 == session->emptied);
        break;
    }
}

static bool has_item(const struct fetch *fetch, enum item_kind kind)
{
    for (size_t i = 0; i < fetch->items_len; i++)
        if (fetch->items[i].kind == kind)
            return true;
    return false;
}

/* Sets \Seen where the command does so, and copies the message; false if it is gone or not wanted. */
static bool take_copy(struct session *session, const struct fetch *fetch, size_t index, struct copy *copy, bool *lost)
{
    struct mailbox *mailbox = session->mailbox;
    struct message *message = mailbox_message(mailbox, session->seen[index].uid);
    if (message == NULL || (fetch->has_changed_since && message->modseq <= fetch->changed_since)) {
        *lost = *lost || message == NULL;
        return false;
    }
    bool sets_seen = false;
    for (size_t i = 0; i < fetch->items_len; i++)
        sets_seen = sets_seen || fetch->items[i].sets_seen;
    if (sets_seen && !session->is_read_only && !flags_have(message->flags, "\\Seen")) {
        char *flags = flags_change(message->flags, "\\Seen", "");
        mailbox_set_flags(mailbox, message, flags);
        free(flags);
        sync_wake(session->imapd, mailbox);
    }
    copy->message = *message;
    copy->message.flags = strdup(message->flags);
    return mailbox_read(mailbox, message->uid, &copy->content);
}

static void put_message(struct session *session, const struct fetch *fetch, size_t index, const struct copy *copy)
{
    const struct item uid = {.kind = ITEM_UID}, flags = {.kind = ITEM_FLAGS}, modseq = {.kind = ITEM_MODSEQ};
    bool has_news = copy->message.modseq > session->seen[index].modseq, is_first = true;
    text_addf(&session->out, "* %zu FETCH (", index + 1);
    if (session->is_uid && !has_item(fetch, ITEM_UID)) {
        put_item(session, &uid, copy, index);
        is_first = false;
    }
    for (size_t i = 0; i < fetch->items_len && !session->io->is_over; i++, is_first = false) {
        if (!is_first && session->is_split)
            text_addf(&session->out, ")\r\n* %zu FETCH (", index + 1);
        else if (!is_first)
            text_puts(&session->out, " ");
        put_item(session, &fetch->items[i], copy, index);
    }
    if (has_news && !has_item(fetch, ITEM_FLAGS)) {
        text_puts(&session->out, " ");
        put_item(session, &flags, copy, index);
    }
    session->seen[index].modseq = copy->message.modseq;
    if (session->has_condstore && (fetch->has_changed_since || has_news) && !has_item(fetch, ITEM_MODSEQ)) {
        text_puts(&session->out, " ");
        put_item(session, &modseq, copy, index);
    }
    text_puts(&session->out, ")\r\n");
}

static void fetch_one(struct session *session, const struct fetch *fetch, size_t index, bool *lost)
{
    struct copy copy = {0};
    pthread_mutex_lock(&session->imapd->mail);
    bool is_there = take_copy(session, fetch, index, &copy, lost);
    pthread_mutex_unlock(&session->imapd->mail);
    if (is_there) {
        copy.part = part_parse((struct slice){copy.content.bytes, copy.content.len});
        put_message(session, fetch, index, &copy);
        part_free(copy.part);
        if (imapd_fault_at_command(session, ".each"))
            session->io->is_over = true;
    }
    text_free(&copy.content);
    free(copy.message.flags);
    if (session->out.len > FLUSH_LEN)
        imapd_flush(session);
}

static void fetch_all(struct session *session, const struct fetch *fetch, bool *lost)
{
    for (size_t i = 0; i < session->seen_len && !session->io->is_over; i++)
        if (i + 1 != session->omitted && sync_is_in(session, fetch->set, i))
            fetch_one(session, fetch, i, lost);
}

/* One item of all messages, then the next: as if each had been asked for alone. */
static void weave(struct session *session, const struct fetch *fetch, bool *lost)
{
    struct fetch *one = malloc(sizeof(*one));
    if (one == NULL)
        abort();
    *one = *fetch;
    one->items_len = 1;
    for (size_t i = 0; i < fetch->items_len; i++) {
        one->items[0] = fetch->items[i];
        fetch_all(session, one, lost);
    }
    free(one);
}

const char *do_fetch(struct session *session, struct cursor *arguments)
{
    struct fetch *fetch = calloc(1, sizeof(*fetch));
    bool is_lost = false;
    const char *result = "OK Fetched";
    if (fetch == NULL)
        abort();
    if (!parse_fetch(arguments, fetch))
        result = "BAD FETCH set (items)";
    else {
        session->has_condstore = session->has_condstore || fetch->has_changed_since || has_item(fetch, ITEM_MODSEQ);
        if (session->is_woven)
            weave(session, fetch, &is_lost);
        else
            fetch_all(session, fetch, &is_lost);
    }
    free(fetch);
    return is_lost ? "NO [EXPUNGEISSUED] Some are gone" : result;
}

/*
 * The answer of FETCH for one view: the server's items as the server gave them, all others from the record and the
 * bytes of the view.
 */
#include "proxy/imap_fetch.h"

#include "imap/content.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is kept of a record ---- */

static bool is_header_item(const struct imap_item *item)
{
    return item->kind == IMAP_ITEM_RFC822_HEADER ||
           (item->kind == IMAP_ITEM_SECTION && imap_section_is_header(&item->section));
}

static struct span wanted(bool is_wanted, struct span value)
{
    return is_wanted ? value : (struct span){"", 0};
}

static void place(struct span *value, char **at)
{
    memcpy(*at, value->ptr, value->len);
    value->ptr = *at;
    *at += value->len;
}

enum err fetch_keep_record(struct fetch_view *view, const struct imap_fetch *items, const struct proxy_record *record)
{
    bool wants[IMAP_ITEM_KIND_COUNT] = {false};
    bool wants_header = false;
    for (size_t i = 0; i < items->len; i++) {
        wants[items->items[i].kind] = true;
        wants_header = wants_header || (!items->needs_body && is_header_item(&items->items[i]));
    }
    struct proxy_record kept = {.size = record->size,
                                .header = wanted(wants_header, record->header),
                                .envelope = wanted(wants[IMAP_ITEM_ENVELOPE], record->envelope),
                                .body = wanted(wants[IMAP_ITEM_BODY], record->body),
                                .structure = wanted(wants[IMAP_ITEM_BODYSTRUCTURE], record->structure)};
    char *at = malloc(kept.header.len + kept.envelope.len + kept.body.len + kept.structure.len + 1);
    if (!at)
        return ERR_MEMORY;
    view->kept = at;
    place(&kept.header, &at);
    place(&kept.envelope, &at);
    place(&kept.body, &at);
    place(&kept.structure, &at);
    view->record = kept;
    return ERR_OK;
}

/* ---- the server's items ---- */

static bool is_servers(const struct imap_item *item)
{
    return item->kind < IMAP_ITEM_SIZE && item->kind != IMAP_ITEM_UID;
}

enum err fetch_server_items(const struct fetch_work *fetch, bool is_locked, struct buf *out)
{
    const struct imap_fetch *items = &fetch->fetch;
    bool has_modseq = false;
    enum err err = buf_add_string(out, !is_locked || fetch->is_uid || items->has_uid ? "(UID" : "(");
    for (size_t i = 0; i < items->len && err == ERR_OK; i++) {
        const struct imap_item *item = &items->items[i];
        if (!is_servers(item) || (is_locked && item->kind == IMAP_ITEM_OTHER))
            continue;
        has_modseq = has_modseq || item->kind == IMAP_ITEM_MODSEQ;
        err = buf_addf(out, "%s%.*s", out->data[out->len - 1] == '(' ? "" : " ", (int)item->raw.len, item->raw.ptr);
    }
    if (err == ERR_OK && fetch->adds_modseq && !has_modseq)
        err = buf_add_string(out, out->data[out->len - 1] == '(' ? "MODSEQ" : " MODSEQ");
    if (err == ERR_OK && items->sets_seen && !is_locked)
        err = buf_add_string(out, " " FETCH_SEEN_ITEM);
    return err == ERR_OK ? buf_add_byte(out, ')') : err;
}

static struct span find_value(const struct imap_answer *answers, size_t len, struct span label)
{
    for (size_t i = 0; i < len; i++)
        if (span_is_case_equal(answers[i].label, label))
            return answers[i].value;
    return SPAN_NONE;
}

bool fetch_is_answer(const struct fetch_work *fetch, const struct imap_answer *answers, size_t len)
{
    const struct imap_fetch *items = &fetch->fetch;
    bool has_all = imap_answer_find(answers, len, "UID").ptr != NULL, has_items = false;
    for (size_t i = 0; i < items->len; i++) {
        if (!is_servers(&items->items[i]))
            continue;
        has_items = true;
        has_all = has_all && find_value(answers, len, items->items[i].label).ptr != NULL;
    }
    if (items->sets_seen) {
        bool is_seen = false;
        for (size_t i = 0; i < len; i++)
            is_seen = is_seen || span_has_case_prefix(answers[i].label, FETCH_SEEN_LABEL);
        return has_all && is_seen;
    }
    if (fetch->adds_modseq)
        return has_all && imap_answer_find(answers, len, "MODSEQ").ptr != NULL;
    /* Asked for the UID alone: more than that is news. */
    return has_all && (has_items || len == 1);
}

bool fetch_needs_no_answer(const struct fetch_work *fetch)
{
    for (size_t i = 0; i < fetch->fetch.len; i++)
        if (fetch->fetch.items[i].kind != IMAP_ITEM_UID && fetch->fetch.items[i].kind < IMAP_ITEM_SIZE)
            return false;
    return !fetch->fetch.sets_seen && !fetch->adds_modseq;
}

bool fetch_join_parts(struct fetch_work *fetch, struct fetch_view *view, uint32_t number)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    size_t len;
    imap_cursor_init_text(&cursor, buf_span(&view->parts));
    if (view->parts.len == 0 || imap_fetch_answers(&cursor, answers, &len) != ERR_OK ||
        !fetch_is_answer(fetch, answers, len) || buf_add_span(&view->server, buf_span(&view->parts)) != ERR_OK)
        return false;
    fetch_drop_news(fetch, number);
    return true;
}

/* ---- writing ---- */

struct writer {
    struct fetch_work *fetch;
    const struct fetch_view *view;
    struct buf *text;
    bool is_first;
};

static enum err add_label(struct writer *writer, struct span label)
{
    enum err err = buf_addf(writer->text, "%s%.*s ", writer->is_first ? "" : " ", (int)label.len, label.ptr);
    writer->is_first = false;
    return err;
}

static enum err add_value(struct writer *writer, struct span label, struct span value)
{
    enum err err = add_label(writer, label);
    return err == ERR_OK ? buf_add_span(writer->text, value) : err;
}

static enum err add_number(struct writer *writer, struct span label, uint64_t number)
{
    enum err err = add_label(writer, label);
    return err == ERR_OK ? buf_addf(writer->text, "%" PRIu64, number) : err;
}

/* A section is a literal always, also where there is no such part: so Dovecot has it. */
static enum err add_section(struct writer *writer, const struct imap_item *item, const struct imap_section *section)
{
    const struct fetch_view *view = writer->view;
    const struct mime_part *root = view->body ? view->body->tree->root : NULL;
    struct span message = view->body ? view->body->bytes : SPAN_NONE;
    struct span header = view->body ? mime_part_header(root, message) : view->record.header;
    struct imap_slices slices;
    enum err err = imap_section_find(section, root, message, header, &slices);
    if (err != ERR_OK)
        return err;
    if (section->is_partial)
        imap_slices_cut(&slices, section->offset, section->count);
    err = add_label(writer, item->label);
    if (err == ERR_OK)
        err = buf_addf(writer->text, "{%" PRIu64 "}\r\n", slices.size);
    for (size_t i = 0; i < slices.len && err == ERR_OK; i++)
        err = fetch_out_slice(&writer->fetch->out, slices.items[i]);
    imap_slices_fini(&slices);
    return err;
}

/* RFC822 and its kin are sections under names of their own. */
static enum err add_content(struct writer *writer, const struct imap_item *item)
{
    static const enum imap_section_text texts[IMAP_ITEM_KIND_COUNT] = {
        [IMAP_ITEM_RFC822] = IMAP_TEXT_ALL,
        [IMAP_ITEM_RFC822_HEADER] = IMAP_TEXT_HEADER,
        [IMAP_ITEM_RFC822_TEXT] = IMAP_TEXT_TEXT,
    };
    const struct proxy_record *record = &writer->view->record;
    struct imap_section section = {.text = texts[item->kind]};
    switch (item->kind) {
    case IMAP_ITEM_ENVELOPE:
        return add_value(writer, item->label, record->envelope);
    case IMAP_ITEM_BODY:
        return add_value(writer, item->label, record->body);
    case IMAP_ITEM_BODYSTRUCTURE:
        return add_value(writer, item->label, record->structure);
    case IMAP_ITEM_SECTION:
        return add_section(writer, item, &item->section);
    default:
        return add_section(writer, item, &section);
    }
}

static bool is_asked(const struct imap_fetch *items, struct span label)
{
    for (size_t i = 0; i < items->len; i++)
        if (span_is_case_equal(items->items[i].label, label))
            return true;
    return false;
}

/* What the server adds of itself: MODSEQ of CHANGEDSINCE, FLAGS where \Seen has been set. */
static enum err add_unasked(struct writer *writer, const struct imap_answer *answers, size_t len)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < len && err == ERR_OK; i++)
        if (!span_is_case_equal(answers[i].label, SPAN_LIT("UID")) && !imap_answer_is_content(&answers[i]) &&
            !is_asked(&writer->fetch->fetch, answers[i].label))
            err = add_value(writer, answers[i].label, answers[i].value);
    return err;
}

/* Dovecot answers what it has at hand first, in the order asked for; then what it must read the message for. */
static enum err add_items(struct writer *writer, const struct imap_answer *answers, size_t len)
{
    const struct imap_fetch *items = &writer->fetch->fetch;
    enum err err = ERR_OK;
    if (writer->fetch->is_uid)
        err = add_number(writer, SPAN_LIT("UID"), writer->view->uid);
    for (size_t i = 0; i < items->len && err == ERR_OK; i++) {
        const struct imap_item *item = &items->items[i];
        struct span value = is_servers(item) ? find_value(answers, len, item->label) : SPAN_NONE;
        if (item->kind == IMAP_ITEM_UID && !writer->fetch->is_uid)
            err = add_number(writer, item->label, writer->view->uid);
        else if (item->kind == IMAP_ITEM_SIZE)
            err = add_number(writer, item->label, writer->view->record.size);
        else if (value.ptr)
            err = add_value(writer, item->label, value);
    }
    if (err == ERR_OK)
        err = add_unasked(writer, answers, len);
    for (size_t i = 0; i < items->len && err == ERR_OK; i++)
        if (items->items[i].kind > IMAP_ITEM_SIZE)
            err = add_content(writer, &items->items[i]);
    return err;
}

enum err fetch_compose_view(struct fetch_work *fetch, const struct fetch_view *view, uint32_t number)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct writer writer = {.fetch = fetch, .view = view, .text = &fetch->out.text, .is_first = true};
    struct imap_cursor cursor;
    size_t len = 0;
    fetch_out_begin(&fetch->out, view);
    imap_cursor_init_text(&cursor, buf_span(&view->server));
    enum err err = view->server.len > 0 ? imap_fetch_answers(&cursor, answers, &len) : ERR_OK;
    if (err == ERR_OK)
        err = buf_addf(writer.text, "* %" PRIu32 " FETCH (", number);
    if (err == ERR_OK)
        err = add_items(&writer, answers, len);
    return err == ERR_OK ? buf_add_string(writer.text, ")\r\n") : err;
}

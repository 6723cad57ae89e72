#include "imap/fetch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 1000
#define LABELS_MAX ((size_t)8 << 20)

struct known_item {
    const char *name;
    enum imap_item_kind kind;
    bool is_peek; /* does not set \Seen */
    bool has_section;
};

/* RFC 3501 §6.4.5; RFC 7162 MODSEQ, RFC 8474 EMAILID and THREADID, RFC 8514 SAVEDATE, and Gmail's own. A name that may
   or must have a section stands here once for each. */
static const struct known_item known_items[] = {
    {"UID", IMAP_ITEM_UID, true, false},
    {"FLAGS", IMAP_ITEM_FLAGS, true, false},
    {"INTERNALDATE", IMAP_ITEM_INTERNALDATE, true, false},
    {"MODSEQ", IMAP_ITEM_MODSEQ, true, false},
    {"EMAILID", IMAP_ITEM_OTHER, true, false},
    {"THREADID", IMAP_ITEM_OTHER, true, false},
    {"SAVEDATE", IMAP_ITEM_OTHER, true, false},
    {"X-GM-MSGID", IMAP_ITEM_OTHER, true, false},
    {"X-GM-THRID", IMAP_ITEM_OTHER, true, false},
    {"X-GM-LABELS", IMAP_ITEM_OTHER, true, false},
    {"RFC822.SIZE", IMAP_ITEM_SIZE, true, false},
    {"ENVELOPE", IMAP_ITEM_ENVELOPE, true, false},
    {"BODY", IMAP_ITEM_BODY, true, false},
    {"BODYSTRUCTURE", IMAP_ITEM_BODYSTRUCTURE, true, false},
    {"BODY", IMAP_ITEM_SECTION, false, true},
    {"BODY.PEEK", IMAP_ITEM_SECTION, true, true},
    {"RFC822", IMAP_ITEM_RFC822, false, false},
    {"RFC822.HEADER", IMAP_ITEM_RFC822_HEADER, true, false},
    {"RFC822.TEXT", IMAP_ITEM_RFC822_TEXT, false, false},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- one item ---- */

static const struct known_item *find_known(struct span name, bool has_section)
{
    for (size_t i = 0; i < COUNT(known_items); i++)
        if (known_items[i].has_section == has_section && span_is_case_equal(name, span_of(known_items[i].name)))
            return &known_items[i];
    return NULL;
}

/* An item that stands there already is not answered twice; sections are, as servers do it. */
static bool is_repeated(const struct imap_fetch *fetch, const struct imap_item *item)
{
    for (size_t i = 0; i < fetch->len && item->kind != IMAP_ITEM_SECTION; i++)
        if (fetch->items[i].kind == item->kind && span_is_case_equal(fetch->items[i].name, item->name))
            return true;
    return false;
}

/* section-part = nz-number *("." nz-number); what follows it is the text. */
static enum err parse_numbers(struct span *spec, struct imap_section *section)
{
    while (spec->len > 0 && spec->ptr[0] >= '0' && spec->ptr[0] <= '9') {
        size_t dot = span_find_byte(*spec, 0, '.');
        uint64_t number;
        if (!span_to_u64(span_slice(*spec, 0, dot), UINT32_MAX, &number) || dot + 1 == spec->len)
            return ERR_COMMAND_SYNTAX;
        if (section->numbers_len == IMAP_SECTION_DEPTH_MAX)
            return ERR_LIMIT;
        section->numbers[section->numbers_len++] = (uint32_t)number;
        *spec = span_skip(*spec, dot + 1);
    }
    return ERR_OK;
}

/* section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
   section-spec    = section-msgtext / (section-part ["." section-text]), section-text = section-msgtext / "MIME" */
static enum err parse_spec(struct span spec, struct imap_section *section)
{
    static const char *const texts[] = {
        [IMAP_TEXT_ALL] = "",
        [IMAP_TEXT_HEADER] = "HEADER",
        [IMAP_TEXT_FIELDS] = "HEADER.FIELDS",
        [IMAP_TEXT_FIELDS_NOT] = "HEADER.FIELDS.NOT",
        [IMAP_TEXT_TEXT] = "TEXT",
        [IMAP_TEXT_MIME] = "MIME",
    };
    enum err err = parse_numbers(&spec, section);
    if (err != ERR_OK)
        return err;
    size_t text = 0;
    while (text < COUNT(texts) && !span_is_case_equal(spec, span_of(texts[text])))
        text++;
    if (text == COUNT(texts) || (text == IMAP_TEXT_MIME && section->numbers_len == 0))
        return ERR_COMMAND_SYNTAX;
    section->text = (enum imap_section_text)text;
    return ERR_OK;
}

static void skip_spaces(struct imap_cursor *cursor)
{
    while (imap_take_space(cursor))
        ;
}

static enum err add_field(struct imap_section *section, const struct imap_string *field)
{
    /* The array grows at each power of two. */
    if (section->fields_len == FIELDS_MAX || (field->kind == IMAP_LITERAL && !field->raw.ptr))
        return ERR_LIMIT;
    if ((section->fields_len & (section->fields_len - 1)) == 0) {
        size_t capacity = section->fields_len > 0 ? 2 * section->fields_len : 1;
        struct imap_string *fields = reallocarray(section->fields, capacity, sizeof *fields);
        if (!fields)
            return ERR_MEMORY;
        section->fields = fields;
    }
    section->fields[section->fields_len++] = *field;
    return ERR_OK;
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static enum err parse_fields(struct imap_cursor *cursor, struct imap_section *section)
{
    if (!imap_take_space(cursor))
        return ERR_COMMAND_SYNTAX;
    skip_spaces(cursor);
    if (!imap_take_char(cursor, '('))
        return ERR_COMMAND_SYNTAX;
    skip_spaces(cursor);
    while (!imap_take_char(cursor, ')')) {
        struct imap_string field;
        if (!imap_take_astring(cursor, &field))
            return ERR_COMMAND_SYNTAX;
        enum err err = add_field(section, &field);
        if (err != ERR_OK)
            return err;
        skip_spaces(cursor);
    }
    return section->fields_len > 0 ? ERR_OK : ERR_COMMAND_SYNTAX;
}

/* "<" number "." nz-number ">"; without the second number, which servers let pass, up to the end. */
static bool parse_partial(struct imap_cursor *cursor, struct imap_section *section)
{
    section->count = UINT64_MAX;
    if (!imap_take_char(cursor, '<'))
        return true;
    section->is_partial = true;
    return imap_take_number(cursor, INT64_MAX, &section->offset) &&
           (!imap_take_char(cursor, '.') || imap_take_number(cursor, INT64_MAX, &section->count)) &&
           imap_take_char(cursor, '>');
}

/* "[" section-spec "]" ["<" ... ">"]; `*spec_out` is the part before the field names. */
static enum err parse_section(struct imap_cursor *cursor, struct imap_section *section, struct span *spec_out)
{
    size_t start = cursor->at + 1;
    if (!imap_take_char(cursor, '['))
        return ERR_COMMAND_SYNTAX;
    while (!imap_at_end(cursor) && imap_peek(cursor) != ']' && imap_peek(cursor) != ' ')
        cursor->at++;
    *spec_out = span_slice(cursor->text, start, cursor->at);
    enum err err = parse_spec(*spec_out, section);
    if (err == ERR_OK && (section->text == IMAP_TEXT_FIELDS || section->text == IMAP_TEXT_FIELDS_NOT))
        err = parse_fields(cursor, section);
    if (err == ERR_OK && (!imap_take_char(cursor, ']') || !parse_partial(cursor, section)))
        err = ERR_COMMAND_SYNTAX;
    return err;
}

/* ---- labels, as Dovecot writes them: all in upper case, strings quoted ---- */

static enum err add_upper(struct buf *out, struct span text)
{
    size_t start = out->len;
    enum err err = buf_add_span(out, text);
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] >= 'a' && out->data[i] <= 'z')
            out->data[i] = (char)(out->data[i] - 'a' + 'A');
    return err;
}

/* What may not stand in a quoted string is left out. */
static enum err add_quoted_upper(struct buf *out, const struct imap_string *string)
{
    struct buf value;
    buf_init(&value, (size_t)string->len + 1);
    enum err err = imap_string_add(string, &value);
    if (err == ERR_OK)
        err = buf_add_byte(out, '"');
    for (size_t i = 0; i < value.len && err == ERR_OK; i++) {
        char byte = value.data[i];
        if (byte <= 0 || byte == '\r' || byte == '\n')
            continue;
        if (byte == '"' || byte == '\\')
            err = buf_add_byte(out, '\\');
        if (err == ERR_OK)
            err = add_upper(out, (struct span){&byte, 1});
    }
    buf_fini(&value);
    return err == ERR_OK ? buf_add_byte(out, '"') : err;
}

static enum err add_fields(struct buf *out, const struct imap_section *section)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < section->fields_len && err == ERR_OK; i++) {
        const struct imap_string *field = &section->fields[i];
        err = buf_add_string(out, i > 0 ? " " : " (");
        if (err == ERR_OK)
            err = field->kind == IMAP_ATOM ? add_upper(out, field->raw) : add_quoted_upper(out, field);
    }
    if (err == ERR_OK && section->fields_len > 0)
        err = buf_add_byte(out, ')');
    return err;
}

static enum err add_section(struct buf *out, struct span name, struct span spec, const struct imap_section *section)
{
    enum err err = add_upper(out, name);
    if (err == ERR_OK)
        err = buf_add_byte(out, '[');
    if (err == ERR_OK)
        err = add_upper(out, spec);
    if (err == ERR_OK)
        err = add_fields(out, section);
    return err == ERR_OK ? buf_add_byte(out, ']') : err;
}

/* Adds an item's label to fetch->labels; it is found there once they all stand (place_labels). */
static enum err add_label(struct imap_fetch *fetch, struct imap_item *item, struct span spec)
{
    const struct imap_section *section = &item->section;
    size_t start = fetch->labels.len;
    enum err err;
    if (item->kind != IMAP_ITEM_SECTION) {
        err = add_upper(&fetch->labels, item->name);
    } else {
        err = add_section(&fetch->labels, SPAN_LIT("BODY"), spec, section);
        if (err == ERR_OK && section->is_partial)
            err = buf_addf(&fetch->labels, "<%" PRIu64 ">", section->offset);
    }
    item->label = (struct span){NULL, fetch->labels.len - start};
    return err;
}

/* An item with a literal in it cannot be sent on as it is; its plain form is put beside the label. */
static enum err add_plain_form(struct imap_fetch *fetch, struct imap_item *item, struct span spec)
{
    const struct imap_section *section = &item->section;
    struct buf *out = &fetch->labels;
    size_t start = out->len;
    if (span_find_byte(item->raw, 0, '\n') == item->raw.len)
        return ERR_OK;
    enum err err = add_section(out, item->name, spec, section);
    if (err == ERR_OK && section->is_partial && section->count != UINT64_MAX)
        err = buf_addf(out, "<%" PRIu64 ".%" PRIu64 ">", section->offset, section->count);
    else if (err == ERR_OK && section->is_partial)
        err = buf_addf(out, "<%" PRIu64 ">", section->offset);
    item->raw = (struct span){NULL, out->len - start};
    return err;
}

static void place_labels(struct imap_fetch *fetch)
{
    size_t at = 0;
    for (size_t i = 0; i < fetch->len; i++) {
        struct imap_item *item = &fetch->items[i];
        item->label.ptr = fetch->labels.data + at;
        at += item->label.len;
        if (item->raw.ptr)
            continue;
        item->raw.ptr = fetch->labels.data + at;
        at += item->raw.len;
    }
}

/* ---- the list ---- */

static enum err add_item(struct imap_fetch *fetch, const struct imap_item *item, struct span spec)
{
    if (is_repeated(fetch, item))
        return ERR_OK;
    if (fetch->len == IMAP_FETCH_ITEMS_MAX)
        return ERR_LIMIT;
    struct imap_item *added = &fetch->items[fetch->len++];
    *added = *item;
    enum err err = add_label(fetch, added, spec);
    return err == ERR_OK ? add_plain_form(fetch, added, spec) : err;
}

static enum err parse_item(struct imap_cursor *cursor, struct imap_fetch *fetch)
{
    struct imap_item item = {0};
    struct span spec = SPAN_NONE;
    size_t start = cursor->at;
    if (!imap_take_name(cursor, &item.name))
        return ERR_COMMAND_SYNTAX;
    bool has_section = imap_peek(cursor) == '[';
    const struct known_item *known = find_known(item.name, has_section);
    if (!known)
        return find_known(item.name, !has_section) ? ERR_COMMAND_SYNTAX : ERR_COMMAND_UNKNOWN;
    item.kind = known->kind;
    item.is_peek = known->is_peek;
    enum err err = has_section ? parse_section(cursor, &item.section, &spec) : ERR_OK;
    char next = imap_peek(cursor);
    if (err == ERR_OK && next != ' ' && next != ')' && !imap_at_end(cursor))
        err = ERR_COMMAND_SYNTAX;
    item.raw = span_slice(cursor->text, start, cursor->at);
    size_t len = fetch->len;
    if (err == ERR_OK)
        err = add_item(fetch, &item, spec);
    if (fetch->len == len)
        free(item.section.fields);
    return err;
}

/* macro = "ALL" / "FULL" / "FAST" */
static enum err parse_macro(struct imap_cursor *cursor, struct imap_fetch *fetch, bool *is_macro_out)
{
    static const char *const items[] = {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"};
    static const char *const macros[] = {"FAST", "ALL", "FULL"};
    enum err err = ERR_OK;
    for (size_t macro = 0; macro < COUNT(macros); macro++) {
        if (!imap_take_word(cursor, macros[macro]))
            continue;
        *is_macro_out = true;
        for (size_t i = 0; i < 3 + macro && err == ERR_OK; i++) {
            struct imap_cursor name;
            imap_cursor_init_text(&name, span_of(items[i]));
            err = parse_item(&name, fetch);
        }
        return err;
    }
    *is_macro_out = false;
    return ERR_OK;
}

/* fetch-att / "(" fetch-att *(SP fetch-att) ")" / macro; spaces may be many, as with the servers. */
static enum err parse_items(struct imap_cursor *cursor, struct imap_fetch *fetch)
{
    bool is_macro;
    enum err err = parse_macro(cursor, fetch, &is_macro);
    if (err != ERR_OK || is_macro)
        return err;
    if (!imap_take_char(cursor, '('))
        return parse_item(cursor, fetch);
    skip_spaces(cursor);
    while (err == ERR_OK && !imap_take_char(cursor, ')')) {
        err = parse_item(cursor, fetch);
        skip_spaces(cursor);
    }
    return err == ERR_OK && fetch->len == 0 ? ERR_COMMAND_SYNTAX : err;
}

/* [SP "(" fetch-modifier *(SP fetch-modifier) ")"], of which RFC 7162 §3.1.4.1 CHANGEDSINCE and §3.2.6 VANISHED are
   known. */
static enum err parse_modifiers(struct imap_cursor *cursor, struct imap_fetch *fetch)
{
    skip_spaces(cursor);
    size_t start = cursor->at;
    if (imap_at_end(cursor))
        return ERR_OK;
    if (!imap_take_char(cursor, '('))
        return ERR_COMMAND_SYNTAX;
    skip_spaces(cursor);
    while (!imap_take_char(cursor, ')')) {
        if (imap_take_word(cursor, "VANISHED")) {
            fetch->has_vanished = true;
        } else if (imap_take_word(cursor, "CHANGEDSINCE")) {
            skip_spaces(cursor);
            if (!imap_take_number(cursor, INT64_MAX, &fetch->changedsince))
                return ERR_COMMAND_SYNTAX;
            fetch->has_changedsince = true;
        } else {
            return ERR_COMMAND_SYNTAX;
        }
        skip_spaces(cursor);
    }
    fetch->modifiers = span_slice(cursor->text, start, cursor->at);
    skip_spaces(cursor);
    return imap_at_end(cursor) ? ERR_OK : ERR_COMMAND_SYNTAX;
}

static bool is_header(const struct imap_section *section)
{
    return section->numbers_len == 0 && (section->text == IMAP_TEXT_HEADER || section->text == IMAP_TEXT_FIELDS ||
                                         section->text == IMAP_TEXT_FIELDS_NOT);
}

static void summarise(struct imap_fetch *fetch)
{
    for (size_t i = 0; i < fetch->len; i++) {
        const struct imap_item *item = &fetch->items[i];
        fetch->has_uid |= item->kind == IMAP_ITEM_UID;
        fetch->needs_view |= item->kind >= IMAP_ITEM_SIZE;
        fetch->sets_seen |= !item->is_peek;
        fetch->needs_body |= item->kind == IMAP_ITEM_RFC822 || item->kind == IMAP_ITEM_RFC822_TEXT ||
                             (item->kind == IMAP_ITEM_SECTION && !is_header(&item->section));
    }
}

enum err imap_fetch_parse(struct imap_cursor *cursor, struct imap_fetch *fetch_out)
{
    *fetch_out = (struct imap_fetch){0};
    buf_init(&fetch_out->labels, LABELS_MAX);
    enum err err = parse_items(cursor, fetch_out);
    if (err == ERR_OK)
        err = parse_modifiers(cursor, fetch_out);
    if (err == ERR_OK) {
        place_labels(fetch_out);
        summarise(fetch_out);
    } else {
        imap_fetch_fini(fetch_out);
    }
    return err;
}

void imap_fetch_fini(struct imap_fetch *fetch)
{
    for (size_t i = 0; i < fetch->len; i++)
        free(fetch->items[i].section.fields);
    fetch->len = 0;
    buf_fini(&fetch->labels);
}

#include "imap/content_internal.h"

#include <stdlib.h>

void imap_slices_fini(struct imap_slices *slices)
{
    free(slices->items);
    *slices = (struct imap_slices){0};
}

/* Adds bytes; those that go on where the last slice ends lengthen it. */
static enum err add_slice(struct imap_slices *slices, struct span bytes)
{
    struct span *last = slices->len > 0 ? &slices->items[slices->len - 1] : NULL;

    if (bytes.len == 0)
        return ERR_OK;
    slices->size += bytes.len;
    if (last != NULL && last->ptr + last->len == bytes.ptr) {
        last->len += bytes.len;
        return ERR_OK;
    }
    if (slices->len == slices->capacity) {
        size_t capacity = slices->capacity > 0 ? 2 * slices->capacity : 4;
        struct span *items = reallocarray(slices->items, capacity, sizeof *items);

        if (items == NULL)
            return ERR_MEMORY;
        slices->items = items;
        slices->capacity = capacity;
    }
    slices->items[slices->len++] = bytes;
    return ERR_OK;
}

/* True if the string has this value, ASCII case ignored. */
static enum err is_string(const struct imap_string *string, struct span value, bool *is_equal_out)
{
    struct buf text;
    enum err result;

    if (string->kind != IMAP_QUOTED || span_find_byte(string->raw, 0, '\\') == string->raw.len) {
        *is_equal_out = span_is_case_equal(string->raw, value);
        return string->raw.len == string->len || string->kind != IMAP_LITERAL ? ERR_OK : ERR_MALFORMED;
    }
    buf_init(&text, string->raw.len + 1);
    result = imap_string_add(string, &text);
    *is_equal_out = result == ERR_OK && span_is_case_equal(buf_span(&text), value);
    buf_fini(&text);
    return result;
}

static enum err is_wanted(const struct imap_section *section, const struct mime_field *field, bool *is_wanted_out)
{
    bool is_named = false;
    enum err result = ERR_OK;

    for (size_t i = 0; i < section->fields_len && result == ERR_OK && !is_named && field->name.len > 0; i++)
        result = is_string(&section->fields[i], field->name, &is_named);
    *is_wanted_out = is_named == (section->text == IMAP_TEXT_FIELDS);
    return result;
}

/* The fields as they stand, and the empty line after them; `*has_end_out` tells if there is one. */
static enum err add_fields(const struct imap_section *section, struct span header, struct imap_slices *slices,
                           bool *has_end_out)
{
    struct mime_field field;
    size_t at = 0;
    enum err result = ERR_OK;

    while (result == ERR_OK && mime_field_next(header, &at, &field)) {
        bool is_one = false;

        result = is_wanted(section, &field, &is_one);
        if (result == ERR_OK && is_one)
            result = add_slice(slices, field.whole);
    }
    *has_end_out = at < header.len;
    if (result == ERR_OK && *has_end_out)
        result = add_slice(slices, span_slice(header, at, at + (header.ptr[at] == '\r' ? 2 : 1)));
    return result;
}

static enum err add_message_header(const struct imap_section *section, struct span header, struct imap_slices *slices)
{
    bool has_end;
    enum err result;

    slices->exists = true;
    if (section->text == IMAP_TEXT_HEADER)
        return add_slice(slices, header);
    result = add_fields(section, header, slices, &has_end);
    /* RFC 3501 §6.4.5: the blank line is always included. So it is here where fields were named. */
    if (result == ERR_OK && !has_end && section->text == IMAP_TEXT_FIELDS)
        result = add_slice(slices, SPAN_LIT("\r\n"));
    return result;
}

/* One number of a section: what is not a multipart has one part, which is itself. */
static const struct mime_part *step(const struct mime_part *part, uint32_t number, bool is_last)
{
    if (part->kind == MIME_MULTIPART) {
        part = part->first_child;
        for (; number > 1 && part != NULL; number--)
            part = part->next;
    } else if (number != 1 || (!is_last && part->kind != MIME_MESSAGE)) {
        part = NULL;
    }
    if (part != NULL && part->kind == MIME_MESSAGE && !is_last)
        part = part->first_child;
    return part;
}

static const struct mime_part *find_part(const struct imap_section *section, const struct mime_part *root)
{
    const struct mime_part *part = root;

    for (size_t i = 0; i < section->numbers_len && part != NULL; i++)
        part = step(part, section->numbers[i], i + 1 == section->numbers_len);
    return part;
}

static enum err add_part(const struct imap_section *section, const struct mime_part *part, struct span message,
                         struct imap_slices *slices)
{
    bool has_end;

    if (section->text == IMAP_TEXT_ALL || section->text == IMAP_TEXT_MIME) {
        slices->exists = true;
        return add_slice(slices, section->text == IMAP_TEXT_ALL ? mime_part_body(part, message)
                                                                : mime_part_header(part, message));
    }
    /* HEADER and TEXT are of messages alone. */
    if (part->kind != MIME_MESSAGE || part->first_child == NULL)
        return ERR_OK;
    part = part->first_child;
    slices->exists = true;
    if (section->text == IMAP_TEXT_TEXT)
        return add_slice(slices, mime_part_body(part, message));
    if (section->text == IMAP_TEXT_HEADER)
        return add_slice(slices, mime_part_header(part, message));
    /* Dovecot looks for the empty line wherever it may be. */
    return add_fields(section, span_skip(message, part->header_at), slices, &has_end);
}

bool imap_section_is_header(const struct imap_section *section)
{
    return section->numbers_len == 0 && (section->text == IMAP_TEXT_HEADER || section->text == IMAP_TEXT_FIELDS ||
                                         section->text == IMAP_TEXT_FIELDS_NOT);
}

enum err imap_section_find(const struct imap_section *section, const struct mime_part *root, struct span message,
                           struct span header, struct imap_slices *slices_out)
{
    const struct mime_part *part;
    enum err result = ERR_OK;

    *slices_out = (struct imap_slices){0};
    if (imap_section_is_header(section)) {
        result = add_message_header(section, header, slices_out);
    } else if (section->numbers_len == 0) {
        slices_out->exists = section->text != IMAP_TEXT_MIME;
        if (slices_out->exists)
            result = add_slice(slices_out, section->text == IMAP_TEXT_ALL ? message : span_skip(message, header.len));
    } else {
        part = find_part(section, root);
        if (part != NULL)
            result = add_part(section, part, message, slices_out);
    }
    if (result != ERR_OK)
        imap_slices_fini(slices_out);
    return result;
}

void imap_slices_cut(struct imap_slices *slices, uint64_t offset, uint64_t count)
{
    size_t kept = 0;

    slices->size = 0;
    for (size_t i = 0; i < slices->len; i++) {
        struct span bytes = slices->items[i];
        size_t from = offset < bytes.len ? (size_t)offset : bytes.len;

        offset -= from;
        bytes = span_skip(bytes, from);
        bytes.len = count < bytes.len ? (size_t)count : bytes.len;
        count -= bytes.len;
        if (bytes.len > 0)
            slices->items[kept++] = bytes;
        slices->size += bytes.len;
    }
    slices->len = kept;
}

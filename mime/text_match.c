#include "mime/text_internal.h"

#include <string.h>

/* A saved text that is being read. */
struct reading {
    struct span rest;
    struct span message_part; /* the first part's text */
    const struct mime_text_leaf *leaves;
    size_t leaves_len;
    bool *is_found;
};

static bool take(struct span *rest, size_t count, struct span *piece_out)
{
    if (rest->len < count)
        return false;
    *piece_out = span_slice(*rest, 0, count);
    *rest = span_skip(*rest, count);
    return true;
}

static bool take_number(struct span *rest, size_t size, uint64_t *number_out)
{
    struct span bytes;

    if (!take(rest, size, &bytes))
        return false;
    *number_out = 0;
    for (size_t i = size; i-- > 0;)
        *number_out = *number_out << 8 | (unsigned char)bytes.ptr[i];
    return true;
}

static bool take_counted(struct span *rest, struct span *bytes_out)
{
    uint64_t len;

    return take_number(rest, 4, &len) && take(rest, (size_t)len, bytes_out);
}

static bool has_needle(struct span text, const struct mime_text_leaf *leaf)
{
    size_t len = strlen(leaf->needle);

    return len == 0 || memmem(text.ptr, text.len, leaf->needle, len) != NULL;
}

static bool is_named(const struct mime_text_leaf *leaf, struct span name)
{
    return span_is_equal(name, span_of(leaf->name));
}

/* ---- one record ---- */

static bool match_part(struct reading *reading, struct span record)
{
    struct span header;

    if (!take_counted(&record, &header))
        return false;
    /* The body follows its header, so that both together are one text. */
    struct span whole = {header.ptr, header.len + record.len};
    if (reading->message_part.ptr == NULL)
        reading->message_part = whole;
    for (size_t i = 0; i < reading->leaves_len; i++) {
        const struct mime_text_leaf *leaf = &reading->leaves[i];

        if (reading->is_found[i] || (leaf->kind != MIME_TEXT_BODY && leaf->kind != MIME_TEXT_ANY))
            continue;
        reading->is_found[i] = has_needle(leaf->kind == MIME_TEXT_BODY ? record : whole, leaf);
    }
    return true;
}

/* An empty needle is found in each field of its name, whatever the form. */
static void match_value(struct reading *reading, bool is_form, struct span name, struct span value)
{
    for (size_t i = 0; i < reading->leaves_len; i++) {
        const struct mime_text_leaf *leaf = &reading->leaves[i];
        bool wants_form = leaf->kind == MIME_TEXT_ADDRESS || leaf->kind == MIME_TEXT_SUBJECT;

        if (!reading->is_found[i] && (wants_form || leaf->kind == MIME_TEXT_HEADER) && wants_form == is_form &&
            is_named(leaf, name))
            reading->is_found[i] = has_needle(value, leaf);
    }
}

static bool match_field(struct reading *reading, struct span record)
{
    uint64_t from, to;

    if (!take_number(&record, 4, &from) || !take_number(&record, 4, &to) || from > to || to > reading->message_part.len)
        return false;
    match_value(reading, false, record, span_slice(reading->message_part, (size_t)from, (size_t)to));
    return true;
}

static bool match_form(struct reading *reading, struct span record)
{
    struct span name;

    if (!take_counted(&record, &name))
        return false;
    match_value(reading, true, name, record);
    return true;
}

static bool match_record(struct reading *reading)
{
    struct span kind, record;

    if (!take(&reading->rest, 1, &kind) || !take_counted(&reading->rest, &record))
        return false;
    switch (*kind.ptr) {
    case MIME_TEXT_PART:
        return match_part(reading, record);
    case MIME_TEXT_FIELD:
        return match_field(reading, record);
    case MIME_TEXT_FORM:
        return match_form(reading, record);
    default:
        return false;
    }
}

/* ---- the whole ---- */

static bool match_numbers(const struct mime_text_leaf *leaf, uint64_t size, uint64_t day)
{
    switch (leaf->kind) {
    case MIME_TEXT_LARGER:
        return size > leaf->number;
    case MIME_TEXT_SMALLER:
        return size < leaf->number;
    case MIME_TEXT_SENT_BEFORE:
        return (int64_t)day < (int64_t)leaf->number;
    case MIME_TEXT_SENT_ON:
        return day == leaf->number;
    case MIME_TEXT_SENT_SINCE:
        return (int64_t)day >= (int64_t)leaf->number;
    default:
        return false;
    }
}

enum err mime_text_match(struct span saved, const struct mime_text_leaf *leaves, size_t leaves_len, bool *is_found_out)
{
    struct reading reading = {.rest = saved, .leaves = leaves, .leaves_len = leaves_len, .is_found = is_found_out};
    struct span magic;
    uint64_t size, day;

    if (!take(&reading.rest, sizeof MIME_TEXT_MAGIC - 1, &magic) || !span_is_equal(magic, SPAN_LIT(MIME_TEXT_MAGIC)) ||
        !take_number(&reading.rest, 8, &size) || !take_number(&reading.rest, 8, &day))
        return ERR_PEER_PROTOCOL;
    for (size_t i = 0; i < leaves_len; i++)
        is_found_out[i] = match_numbers(&leaves[i], size, day);
    while (reading.rest.len > 0)
        if (!match_record(&reading))
            return ERR_PEER_PROTOCOL;
    return ERR_OK;
}

#include "mime/field.h"

#include <string.h>

/* RFC 5322 §2.1.1: lines should not pass 78 columns. */
#define LINE_WANTED 78

/* The line that begins at `at`: `*text_end_out` is the offset of its line end, the result that of the next line. */
static size_t line_bounds(struct span header, size_t at, size_t *text_end_out)
{
    size_t end = span_find_byte(header, at, '\n');
    bool has_lf = end < header.len;

    *text_end_out = has_lf && end > at && header.ptr[end - 1] == '\r' ? end - 1 : end;
    return has_lf ? end + 1 : end;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* field-name = 1*ftext; ftext = %d33-57 / %d59-126 (RFC 5322 §2.2), with the blanks that §4.5 lets stand before the
   colon. Gives the length of the name, 0 if the line is no field, and the offset of the colon. */
static size_t name_length(struct span line, size_t *colon_out)
{
    size_t colon = span_find_byte(line, 0, ':');
    size_t len = colon;

    if (colon == line.len)
        return 0;
    while (len > 0 && is_blank(line.ptr[len - 1]))
        len--;
    for (size_t i = 0; i < len; i++) {
        if (line.ptr[i] < 33 || line.ptr[i] > 126)
            return 0;
    }
    *colon_out = colon;
    return len;
}

bool mime_field_next(struct span header, size_t *at, struct mime_field *field_out)
{
    size_t start = *at, text_end, next, colon = 0;
    struct span line;
    size_t name_len;

    if (start >= header.len)
        return false;
    next = line_bounds(header, start, &text_end);
    if (text_end == start && next > start)
        return false;
    line = span_slice(header, start, text_end);
    name_len = name_length(line, &colon);
    /* FWS: a line that begins with a blank goes on with the field before it (RFC 5322 §2.2.3). */
    while (next < header.len && is_blank(header.ptr[next]))
        next = line_bounds(header, next, &text_end);
    field_out->whole = span_slice(header, start, next);
    field_out->name = span_slice(line, 0, name_len);
    field_out->value = span_slice(header, name_len > 0 ? start + colon + 1 : start, text_end);
    *at = next;
    return true;
}

bool mime_field_is(const struct mime_field *field, const char *name)
{
    return field->name.len > 0 && span_is_case_equal(field->name, span_of(name));
}

bool mime_field_find(struct span header, const char *name, struct mime_field *field_out)
{
    struct mime_field field;

    for (size_t at = 0; mime_field_next(header, &at, &field);) {
        if (mime_field_is(&field, name)) {
            *field_out = field;
            return true;
        }
    }
    return false;
}

size_t mime_field_count(struct span header, const char *name)
{
    struct mime_field field;
    size_t count = 0;

    for (size_t at = 0; mime_field_next(header, &at, &field);)
        count += mime_field_is(&field, name);
    return count;
}

bool mime_field_is_structural(const struct mime_field *field)
{
    return mime_field_is(field, "MIME-Version") || span_has_case_prefix(field->name, SPAN_LIT("Content-"));
}

enum err mime_field_unfold(struct span value, struct buf *out)
{
    struct span rest = span_trim(value);
    size_t len_before = out->len;
    enum err result = ERR_OK;

    while (rest.len > 0 && result == ERR_OK) {
        size_t count = 0;

        while (count < rest.len && rest.ptr[count] != '\r' && rest.ptr[count] != '\n')
            count++;
        result = buf_add(out, rest.ptr, count);
        rest = span_skip(rest, count + 1);
    }
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    return result;
}

/* Adds blanks and words one pair at a time, each on a new line where it would pass the wanted width. A line is broken
   before the blanks alone, so that none ends in a blank and none holds nothing but blanks. */
static enum err add_folded(struct buf *out, size_t column, struct span value)
{
    enum err result = ERR_OK;

    for (size_t at = 0; at < value.len && result == ERR_OK;) {
        size_t end = at;

        while (end < value.len && is_blank(value.ptr[end]))
            end++;
        while (end < value.len && !is_blank(value.ptr[end]))
            end++;
        if (is_blank(value.ptr[at]) && column + (end - at) > LINE_WANTED && column > 0) {
            result = buf_add_string(out, "\r\n");
            column = 0;
        }
        if (result == ERR_OK)
            result = buf_add(out, value.ptr + at, end - at);
        column += end - at;
        at = end;
    }
    return result;
}

enum err mime_field_add(struct buf *out, const char *name, struct span value)
{
    struct span text = span_trim(value);
    size_t len_before = out->len;
    size_t name_len = strlen(name);
    enum err result;

    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '\r' || value.ptr[i] == '\n' || value.ptr[i] == '\0')
            return ERR_MALFORMED;
    }
    result = buf_addf(out, "%s:", name);
    if (result == ERR_OK && text.len > 0) {
        size_t first = 0;

        while (first < text.len && !is_blank(text.ptr[first]))
            first++;
        /* The blank after the colon is a place to fold like any other (long Message-IDs need it). */
        bool is_folded = name_len + 2 + first > LINE_WANTED;

        result = buf_add_string(out, is_folded ? "\r\n " : " ");
        if (result == ERR_OK)
            result = add_folded(out, is_folded ? 1 : name_len + 2, text);
    }
    if (result == ERR_OK)
        result = buf_add_string(out, "\r\n");
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    return result;
}

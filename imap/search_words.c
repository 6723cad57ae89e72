#include "imap/search_internal.h"

#include "mime/utf8.h"

#include <string.h>

#define STRING_MAX ((size_t)1 << 20)

/* One space, says the grammar; servers take more. */
bool imap_search_take_blanks(struct imap_cursor *cursor)
{
    bool is_there = false;

    while (imap_take_space(cursor))
        is_there = true;
    return is_there;
}

/* ---- strings ---- */

enum err imap_search_take_astring(struct imap_search_reading *reading, struct buf *out)
{
    struct imap_string string;
    enum err result = ERR_COMMAND_SYNTAX;

    buf_init(out, STRING_MAX);
    if (imap_search_take_blanks(reading->cursor) && imap_take_astring(reading->cursor, &string))
        result = imap_string_add(&string, out);
    if (result == ERR_OK && memchr(out->data, '\0', out->len) != NULL)
        result = ERR_COMMAND_SYNTAX;
    return result == ERR_MALFORMED ? ERR_COMMAND_SYNTAX : result;
}

static bool is_utf8(struct span charset)
{
    return charset.len == 0 || span_is_case_equal(charset, SPAN_LIT("UTF-8")) ||
           span_is_case_equal(charset, SPAN_LIT("US-ASCII"));
}

/* The next string in the form for searching. */
enum err imap_search_take_needle(struct imap_search_reading *reading, char **needle_out)
{
    struct span charset = reading->search->charset;
    struct buf string, needle;
    enum err result = imap_search_take_astring(reading, &string);

    buf_init(&needle, 8 * STRING_MAX);
    if (result == ERR_OK && is_utf8(charset) && !mime_utf8_is_valid(buf_span(&string)))
        result = ERR_COMMAND_SYNTAX;
    if (result == ERR_OK && !mime_text_has_charset(charset))
        result = ERR_NOT_FOUND;
    if (result == ERR_OK)
        result = mime_text_normalise(buf_span(&string), charset, &needle);
    /* What stands for bytes that are none in the charset. */
    if (result == ERR_OK && !is_utf8(charset) &&
        span_find(buf_span(&needle), 0, SPAN_LIT(MIME_UTF8_REPLACEMENT)) != SIZE_MAX)
        result = ERR_COMMAND_SYNTAX;
    if (result == ERR_OK) {
        *needle_out = buf_take(&needle);
        result = *needle_out == NULL ? ERR_MEMORY : ERR_OK;
    }
    buf_fini(&needle);
    buf_fini(&string);
    return result;
}

enum err imap_search_take_field_name(struct imap_search_reading *reading, char **name_out)
{
    struct buf name;
    enum err result = imap_search_take_astring(reading, &name);

    for (size_t i = 0; i < name.len; i++)
        name.data[i] = span_lower(name.data[i]);
    if (result == ERR_OK) {
        *name_out = buf_take(&name);
        result = *name_out == NULL ? ERR_MEMORY : ERR_OK;
    }
    buf_fini(&name);
    return result;
}

bool imap_search_is_set(struct span text, bool *is_saved_out)
{
    bool was_number = false, has_colon = false;

    *is_saved_out = span_is_equal(text, SPAN_LIT("$"));
    if (*is_saved_out)
        return true;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        bool is_digit = byte >= '0' && byte <= '9';

        if (byte == ',' || byte == ':') {
            if (!was_number || (byte == ':' && has_colon))
                return false;
            has_colon = byte == ':';
            was_number = false;
        } else if (is_digit || (byte == '*' && !was_number)) {
            /* A number does not begin with 0, and "*" stands alone. */
            if ((byte == '0' && !was_number) || (is_digit && i > 0 && text.ptr[i - 1] == '*'))
                return false;
            was_number = true;
        } else {
            return false;
        }
    }
    return was_number;
}

/* ---- dates ---- */

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* date-text = date-day "-" date-month "-" date-year (RFC 3501 §9), read as the Date field is. A day that the month does
   not have is before or after all others, as servers see it. */
static bool read_date(struct span text, int64_t *days_out)
{
    static const char midnight[] = " 00:00";
    char date[sizeof "01 Jan 1970" - 1 + sizeof midnight];
    bool is_month = false;
    uint64_t day, year;

    /* date-day-fixed has a blank for its first digit. */
    if (text.len == sizeof "1-Jan-1970" - 1 && text.ptr[0] != ' ') {
        date[0] = '0';
        memcpy(date + 1, text.ptr, text.len);
    } else if (text.len == sizeof "01-Jan-1970" - 1) {
        memcpy(date, text.ptr, text.len);
        date[0] = date[0] == ' ' ? '0' : date[0];
    } else {
        return false;
    }
    memcpy(date + sizeof date - sizeof midnight, midnight, sizeof midnight);
    for (size_t i = 0; i < 12; i++)
        is_month = is_month || span_is_case_equal((struct span){date + 3, 3}, span_of(months[i]));
    if (date[2] != '-' || date[6] != '-' || !is_month || !span_to_u64((struct span){date, 2}, 99, &day) ||
        !span_to_u64((struct span){date + 7, 4}, 9999, &year))
        return false;
    date[2] = date[6] = ' ';
    if (!mime_text_day(span_of(date), days_out))
        *days_out = year < 2000 ? INT64_MIN : INT64_MAX;
    return true;
}

enum err imap_search_take_date(struct imap_search_reading *reading, int64_t *days_out)
{
    struct buf text;
    enum err result = imap_search_take_astring(reading, &text);

    if (result == ERR_OK && !read_date(buf_span(&text), days_out))
        result = ERR_COMMAND_SYNTAX;
    buf_fini(&text);
    return result;
}

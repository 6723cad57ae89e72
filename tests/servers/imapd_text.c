#include "tests/servers/imapd.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

void text_add(struct text *text, const char *bytes, size_t len)
{
    if (text->capacity - text->len < len + 1) {
        size_t capacity = (text->len + len + 1) * 2 + 256;
        char *larger = realloc(text->bytes, capacity);
        if (larger == NULL)
            abort();
        text->bytes = larger;
        text->capacity = capacity;
    }
    if (len > 0)
        memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
    text->bytes[text->len] = '\0';
}

void text_puts(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_addf(struct text *text, const char *format, ...)
{
    char *line = NULL;
    va_list arguments;
    va_start(arguments, format);
    int len = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (len < 0)
        abort();
    text_add(text, line, (size_t)len);
    free(line);
}

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

void text_string(struct text *text, const char *bytes, size_t len)
{
    bool is_quotable = len < 1000;
    if (bytes == NULL) {
        text_puts(text, "NIL");
        return;
    }
    for (size_t i = 0; i < len && is_quotable; i++)
        is_quotable = bytes[i] != '\0' && bytes[i] != '\r' && bytes[i] != '\n' && (unsigned char)bytes[i] < 128;
    if (!is_quotable) {
        text_addf(text, "{%zu}\r\n", len);
        text_add(text, bytes, len);
        return;
    }
    text_puts(text, "\"");
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\')
            text_puts(text, "\\");
        text_add(text, bytes + i, 1);
    }
    text_puts(text, "\"");
}

bool slice_is(struct slice slice, const char *word)
{
    return strlen(word) == slice.len && strncasecmp(slice.at, word, slice.len) == 0;
}

bool take_char(struct cursor *cursor, char byte)
{
    if (cursor->at == cursor->end || *cursor->at != byte)
        return false;
    cursor->at++;
    return true;
}

bool take_space(struct cursor *cursor)
{
    return take_char(cursor, ' ');
}

bool take_end(const struct cursor *cursor)
{
    return cursor->at == cursor->end;
}

/* RFC 3501 §9: ASTRING-CHAR and what else stands in the words that are taken as atoms ("BODY[" is taken as BODY). */
static bool is_atom_char(char byte)
{
    return byte > ' ' && byte < 127 && strchr("(){%*\"[", byte) == NULL;
}

bool take_atom(struct cursor *cursor, struct slice *atom_out)
{
    const char *start = cursor->at;
    while (cursor->at < cursor->end && is_atom_char(*cursor->at))
        cursor->at++;
    *atom_out = (struct slice){start, (size_t)(cursor->at - start)};
    return atom_out->len > 0;
}

bool take_word(struct cursor *cursor, const char *word)
{
    struct cursor ahead = *cursor;
    struct slice atom;
    if (!take_atom(&ahead, &atom) || !slice_is(atom, word))
        return false;
    *cursor = ahead;
    return true;
}

static bool take_literal(struct cursor *cursor, char **string_out, size_t *len_out)
{
    struct cursor ahead = *cursor;
    uint64_t len;
    if (!take_char(&ahead, '{') || !take_number(&ahead, &len))
        return false;
    take_char(&ahead, '+');
    if (!take_char(&ahead, '}') || !take_char(&ahead, '\r') || !take_char(&ahead, '\n') ||
        len > (uint64_t)(ahead.end - ahead.at))
        return false;
    *string_out = malloc((size_t)len + 1);
    if (*string_out == NULL)
        abort();
    memcpy(*string_out, ahead.at, (size_t)len);
    (*string_out)[len] = '\0';
    *len_out = (size_t)len;
    cursor->at = ahead.at + len;
    cursor->end = ahead.end;
    return true;
}

bool take_string(struct cursor *cursor, char **string_out, size_t *len_out)
{
    struct cursor ahead = *cursor;
    struct text text = {0};
    if (!take_char(&ahead, '"'))
        return take_literal(cursor, string_out, len_out);
    text_add(&text, "", 0);
    while (ahead.at < ahead.end && *ahead.at != '"') {
        if (*ahead.at == '\\' && ahead.end - ahead.at > 1)
            ahead.at++;
        text_add(&text, ahead.at++, 1);
    }
    if (!take_char(&ahead, '"')) {
        text_free(&text);
        return false;
    }
    *cursor = ahead;
    *string_out = text.bytes;
    *len_out = text.len;
    return true;
}

static bool take_bare(struct cursor *cursor, const char *wildcards, char **string_out)
{
    const char *start = cursor->at;
    size_t len;
    if (take_string(cursor, string_out, &len))
        return true;
    while (cursor->at < cursor->end &&
           (is_atom_char(*cursor->at) || *cursor->at == '[' || strchr(wildcards, *cursor->at) != NULL))
        cursor->at++;
    if (cursor->at == start)
        return false;
    *string_out = strndup(start, (size_t)(cursor->at - start));
    return true;
}

bool take_astring(struct cursor *cursor, char **string_out)
{
    return take_bare(cursor, "]", string_out);
}

bool take_list_mailbox(struct cursor *cursor, char **pattern_out)
{
    return take_bare(cursor, "%*", pattern_out);
}

bool take_number(struct cursor *cursor, uint64_t *number_out)
{
    const char *start = cursor->at;
    uint64_t number = 0;
    while (cursor->at < cursor->end && isdigit((unsigned char)*cursor->at) && cursor->at - start < 19)
        number = number * 10 + (uint64_t)(*cursor->at++ - '0');
    *number_out = number;
    return cursor->at > start;
}

/* A number of a set, 0 for "*". */
static bool take_set_number(struct cursor *cursor, uint64_t *number_out)
{
    *number_out = 0;
    return take_char(cursor, '*') || (take_number(cursor, number_out) && *number_out > 0);
}

bool take_set(struct cursor *cursor, struct slice *set_out)
{
    const char *start = cursor->at;
    uint64_t number;
    do {
        if (!take_set_number(cursor, &number) || (take_char(cursor, ':') && !take_set_number(cursor, &number))) {
            cursor->at = start;
            return false;
        }
    } while (take_char(cursor, ','));
    *set_out = (struct slice){start, (size_t)(cursor->at - start)};
    return true;
}

bool set_has(struct slice set, uint64_t number, uint64_t highest)
{
    struct cursor cursor = {set.at, set.at + set.len};
    do {
        uint64_t from, to;
        if (!take_set_number(&cursor, &from))
            return false;
        to = from;
        if (take_char(&cursor, ':') && !take_set_number(&cursor, &to))
            return false;
        from = from == 0 ? highest : from;
        to = to == 0 ? highest : to;
        if ((number >= from && number <= to) || (number >= to && number <= from))
            return true;
    } while (take_char(&cursor, ','));
    return false;
}

bool take_flags(struct cursor *cursor, char **flags_out)
{
    struct text flags = {0};
    struct slice flag;
    bool has_brackets = take_char(cursor, '(');
    text_add(&flags, "", 0);
    while (take_atom(cursor, &flag)) {
        text_puts(&flags, flags.len > 0 ? " " : "");
        text_add(&flags, flag.at, flag.len);
        if (!take_space(cursor))
            break;
    }
    *flags_out = flags.bytes;
    if (has_brackets ? take_char(cursor, ')') : flags.len > 0)
        return true;
    text_free(&flags);
    *flags_out = NULL;
    return false;
}

static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* date = date-text / DQUOTE date-text DQUOTE; date-text = date-day "-" date-month "-" date-year */
bool take_date(struct cursor *cursor, int64_t *day_out)
{
    bool is_quoted = take_char(cursor, '"');
    uint64_t day, year;
    struct tm tm = {0};
    take_space(cursor);
    if (!take_number(cursor, &day) || !take_char(cursor, '-') || cursor->end - cursor->at < 3)
        return false;
    while (tm.tm_mon < 12 && strncasecmp(MONTHS + 3 * (size_t)tm.tm_mon, cursor->at, 3) != 0)
        tm.tm_mon++;
    cursor->at += 3;
    if (tm.tm_mon == 12 || day == 0 || day > 31 || !take_char(cursor, '-') || !take_number(cursor, &year) ||
        year > 9999 || (is_quoted && !take_char(cursor, '"')))
        return false;
    tm.tm_mday = (int)day;
    tm.tm_year = (int)year - 1900;
    *day_out = timegm(&tm) / 86400;
    return true;
}

/* date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE */
bool take_date_time(struct cursor *cursor, int64_t *date_out)
{
    struct cursor ahead = *cursor;
    uint64_t hour, minute, second, zone;
    int64_t day;
    if (!take_char(&ahead, '"') || !take_date(&ahead, &day) || !take_space(&ahead) || !take_number(&ahead, &hour) ||
        !take_char(&ahead, ':') || !take_number(&ahead, &minute) || !take_char(&ahead, ':') ||
        !take_number(&ahead, &second) || !take_space(&ahead))
        return false;
    bool is_west = take_char(&ahead, '-');
    if ((!is_west && !take_char(&ahead, '+')) || !take_number(&ahead, &zone) || !take_char(&ahead, '"') || hour > 23 ||
        minute > 59 || second > 60 || zone > 9999)
        return false;
    int64_t offset = (int64_t)(zone / 100 * 3600 + zone % 100 * 60);
    *date_out = day * 86400 + (int64_t)(hour * 3600 + minute * 60 + second) + (is_west ? offset : -offset);
    *cursor = ahead;
    return true;
}

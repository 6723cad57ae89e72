#include "imap/token.h"

#define LITERAL_MARK_MAX 32 /* "~{9223372036854775807+}" CRLF */

void imap_cursor_init(struct imap_cursor *cursor, const struct imap_unit *unit)
{
    *cursor = (struct imap_cursor){.unit = unit, .text = buf_span(&unit->text)};
}

void imap_cursor_init_text(struct imap_cursor *cursor, struct span text)
{
    *cursor = (struct imap_cursor){.text = text};
}

static bool has_left(const struct imap_cursor *cursor)
{
    return cursor->at < cursor->text.len;
}

bool imap_at_end(const struct imap_cursor *cursor)
{
    return !has_left(cursor) || span_has_prefix(imap_rest(cursor), SPAN_LIT("\r\n"));
}

struct span imap_rest(const struct imap_cursor *cursor)
{
    return span_skip(cursor->text, cursor->at);
}

char imap_peek(const struct imap_cursor *cursor)
{
    return has_left(cursor) ? cursor->text.ptr[cursor->at] : '\0';
}

static struct span since(const struct imap_cursor *cursor, size_t start)
{
    return span_slice(cursor->text, start, cursor->at);
}

/* ---- single bytes and words ---- */

bool imap_take_char(struct imap_cursor *cursor, char byte)
{
    if (!has_left(cursor) || cursor->text.ptr[cursor->at] != byte)
        return false;
    cursor->at++;
    return true;
}

bool imap_take_space(struct imap_cursor *cursor)
{
    return imap_take_char(cursor, ' ');
}

static bool is_atom_byte(char byte)
{
    return (unsigned char)byte > ' ' && byte != 0x7f && byte != '(' && byte != ')' && byte != '{' && byte != '"';
}

/* One or more bytes of an atom, up to `stop`. */
static bool take_atom_until(struct imap_cursor *cursor, char stop, struct span *atom_out)
{
    size_t start = cursor->at;
    while (has_left(cursor) && is_atom_byte(cursor->text.ptr[cursor->at]) && cursor->text.ptr[cursor->at] != stop)
        cursor->at++;
    *atom_out = since(cursor, start);
    return atom_out->len > 0;
}

bool imap_take_atom(struct imap_cursor *cursor, struct span *atom_out)
{
    return take_atom_until(cursor, '\0', atom_out);
}

bool imap_take_name(struct imap_cursor *cursor, struct span *name_out)
{
    return take_atom_until(cursor, '[', name_out);
}

bool imap_take_word(struct imap_cursor *cursor, const char *word)
{
    size_t start = cursor->at;
    struct span atom;
    if (imap_take_atom(cursor, &atom) && span_is_case_equal(atom, span_of(word)))
        return true;
    cursor->at = start;
    return false;
}

bool imap_take_number(struct imap_cursor *cursor, uint64_t max, uint64_t *number_out)
{
    size_t start = cursor->at;
    while (has_left(cursor) && cursor->text.ptr[cursor->at] >= '0' && cursor->text.ptr[cursor->at] <= '9')
        cursor->at++;
    if (span_to_u64(since(cursor, start), max, number_out))
        return true;
    cursor->at = start;
    return false;
}

/* ---- strings ---- */

/* quoted = <"> *QUOTED-CHAR <">; a backslash before any byte stands for that byte, as servers read it. */
static bool take_quoted(struct imap_cursor *cursor, struct imap_string *string_out)
{
    struct span text = cursor->text;
    size_t at = cursor->at + 1;
    if (imap_peek(cursor) != '"')
        return false;
    size_t start = at;
    while (at < text.len && text.ptr[at] != '"' && text.ptr[at] != '\r' && text.ptr[at] != '\n')
        at += text.ptr[at] == '\\' ? 2 : 1;
    if (at >= text.len || text.ptr[at] != '"')
        return false;
    struct span raw = span_slice(text, start, at);
    /* A backslash before CR would have stepped over it. */
    if (span_find_byte(raw, 0, '\r') != raw.len || span_find_byte(raw, 0, '\n') != raw.len)
        return false;
    *string_out = (struct imap_string){.kind = IMAP_QUOTED, .raw = raw, .len = raw.len};
    cursor->at = at + 1;
    return true;
}

/* The index of the unit's literal whose content stands (or would stand) at `at`. */
static bool find_literal(const struct imap_unit *unit, size_t at, size_t *index_out)
{
    size_t low = 0, high = unit->literals_len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unit->literals[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    *index_out = low;
    return low < unit->literals_len && unit->literals[low].at == at;
}

/* literal = "{" number ["+" / "-"] "}" CRLF *CHAR8, with "~" before it for literal8 */
static bool take_literal(struct imap_cursor *cursor, struct imap_string *string_out)
{
    /* No mark is longer, and looking further would be as slow as the text is long for each brace in it. */
    struct span rest = span_slice(cursor->text, cursor->at, cursor->at + LITERAL_MARK_MAX);
    if (rest.len == 0 || (rest.ptr[0] != '{' && !span_has_prefix(rest, SPAN_LIT("~{"))))
        return false;
    size_t line_end = span_find_byte(rest, 0, '\n');
    size_t brace = span_find_byte(rest, 0, '}');
    struct imap_literal_mark mark;
    if (line_end == rest.len || brace + 2 != line_end ||
        imap_literal_mark(span_slice(rest, 0, line_end + 1), &mark) != ERR_OK || !mark.is_there)
        return false;
    size_t content = cursor->at + line_end + 1;
    *string_out = (struct imap_string){.kind = IMAP_LITERAL, .len = mark.len};
    if (cursor->unit) {
        if (!find_literal(cursor->unit, content, &string_out->literal) ||
            cursor->unit->literals[string_out->literal].len != mark.len)
            return false;
        if (cursor->unit->literals[string_out->literal].place != IMAP_LITERAL_HERE) {
            cursor->at = content;
            return true;
        }
    }
    if (mark.len > cursor->text.len - content)
        return false;
    string_out->raw = span_slice(cursor->text, content, content + (size_t)mark.len);
    cursor->at = content + (size_t)mark.len;
    return true;
}

bool imap_take_string(struct imap_cursor *cursor, struct imap_string *string_out)
{
    return take_quoted(cursor, string_out) || take_literal(cursor, string_out);
}

bool imap_take_astring(struct imap_cursor *cursor, struct imap_string *string_out)
{
    if (imap_take_string(cursor, string_out))
        return true;
    struct span atom;
    if (!imap_take_atom(cursor, &atom))
        return false;
    *string_out = (struct imap_string){.kind = IMAP_ATOM, .raw = atom, .len = atom.len};
    return true;
}

bool imap_take_nstring(struct imap_cursor *cursor, struct imap_string *string_out)
{
    if (!imap_take_astring(cursor, string_out))
        return false;
    if (string_out->kind == IMAP_ATOM && span_is_case_equal(string_out->raw, SPAN_LIT("NIL")))
        string_out->kind = IMAP_NIL;
    return true;
}

/* ---- anything ---- */

/* "[" ... "]" with strings and parentheses in it (a section). An atom may hold a lone "[", so what does not end before
   the list around it does is none; no other before `*barren` ends, either, and that need not be found out again. */
static bool take_brackets(struct imap_cursor *cursor, size_t *barren)
{
    size_t start = cursor->at;
    size_t depth = 0;
    struct imap_string string;
    if (start < *barren || !imap_take_char(cursor, '['))
        return false;
    while (!imap_at_end(cursor)) {
        if (imap_take_char(cursor, ']'))
            return true;
        if (imap_take_string(cursor, &string))
            continue;
        char byte = imap_peek(cursor);
        if (byte == '"' || (byte == ')' && depth == 0))
            break;
        if (byte == '(')
            depth++;
        if (byte == ')')
            depth--;
        cursor->at++;
    }
    *barren = cursor->at;
    cursor->at = start;
    return false;
}

static bool take_long_atom(struct imap_cursor *cursor, size_t *barren)
{
    size_t start = cursor->at;
    while (has_left(cursor) && is_atom_byte(cursor->text.ptr[cursor->at])) {
        if (!take_brackets(cursor, barren))
            cursor->at++;
    }
    return cursor->at > start;
}

/* A list's elements stand side by side or with spaces between them: BODYSTRUCTURE has both. */
bool imap_take_value(struct imap_cursor *cursor, struct span *raw_out)
{
    size_t start = cursor->at;
    size_t barren = 0;
    unsigned depth = 0;
    struct imap_string string;
    do {
        if (imap_take_char(cursor, '(')) {
            if (++depth > IMAP_NESTING_MAX)
                break;
        } else if (depth > 0 && imap_take_char(cursor, ')')) {
            depth--;
        } else if (!(depth > 0 && imap_take_space(cursor)) && !imap_take_string(cursor, &string) &&
                   !take_long_atom(cursor, &barren)) {
            break;
        }
        if (depth == 0) {
            *raw_out = since(cursor, start);
            return true;
        }
    } while (!imap_at_end(cursor));
    cursor->at = start;
    return false;
}

/* resp-text-code between brackets; no atom in it holds a "]" (RFC 3501 §9: resp-specials). */
bool imap_take_code(struct imap_cursor *cursor, struct span *code_out)
{
    size_t start = cursor->at;
    bool has_quotes = true; /* until one is found that does not end */
    struct imap_string string;
    if (!imap_take_char(cursor, '['))
        return false;
    while (!imap_at_end(cursor)) {
        if (imap_take_char(cursor, ']')) {
            *code_out = span_slice(cursor->text, start + 1, cursor->at - 1);
            return true;
        }
        if (has_quotes && take_quoted(cursor, &string))
            continue;
        has_quotes = has_quotes && imap_peek(cursor) != '"';
        cursor->at++;
    }
    cursor->at = start;
    return false;
}

/* ---- what a string says ---- */

enum err imap_string_add(const struct imap_string *string, struct buf *out)
{
    if (string->kind == IMAP_NIL || (string->kind == IMAP_LITERAL && !string->raw.ptr))
        return ERR_MALFORMED;
    if (string->kind != IMAP_QUOTED)
        return buf_add_span(out, string->raw);
    size_t len = out->len;
    struct span rest = string->raw;
    while (rest.len > 0) {
        size_t plain = span_find_byte(rest, 0, '\\');
        enum err err = buf_add_span(out, span_slice(rest, 0, plain));
        if (err == ERR_OK && plain + 1 < rest.len)
            err = buf_add_byte(out, rest.ptr[plain + 1]);
        if (err != ERR_OK) {
            buf_truncate(out, len);
            return err;
        }
        rest = span_skip(rest, plain + 2);
    }
    return ERR_OK;
}

bool imap_string_copy(const struct imap_string *string, char *target, size_t target_size)
{
    if (target_size == 0)
        return false;
    target[0] = '\0';
    if (string->kind == IMAP_NIL)
        return true;
    if (string->kind == IMAP_LITERAL && !string->raw.ptr)
        return false;
    if (string->kind != IMAP_QUOTED)
        return span_copy(string->raw, target, target_size);
    size_t len = 0;
    for (size_t at = 0; at < string->raw.len; at++) {
        if (string->raw.ptr[at] == '\\' && at + 1 < string->raw.len)
            at++;
        if (len + 1 >= target_size || string->raw.ptr[at] == '\0') {
            target[0] = '\0';
            return false;
        }
        target[len++] = string->raw.ptr[at];
    }
    target[len] = '\0';
    return true;
}

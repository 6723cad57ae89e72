#include "mime/param.h"

#include <string.h>

/* Sections of one continued parameter that are understood (RFC 2231 §3); enough for MIME_PARAM_MAX in sections of ours.
 */
#define SECTIONS_MAX 300
/* Text of more than this is written in sections even if it is ASCII, so that no line grows too long. */
#define PLAIN_MAX 500
/* Encoded columns of a section when writing. */
#define SECTION_WIDTH 60

/* One "; name*section*=value". */
struct param {
    struct span name;
    struct span text; /* of a quoted string what is between the quotes, still with its backslashes */
    int section;      /* -1: not continued */
    bool is_encoded;  /* has %XX, and in its first section a charset */
    bool is_quoted;
};

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* token := 1*<any (US-ASCII) CHAR except SPACE, CTLs, or tspecials> (RFC 2045 §5.1) */
static bool is_token(char byte)
{
    return byte > 32 && byte < 127 && strchr("()<>@,;:\\\"/[]?=", byte) == NULL;
}

/* The offset after the quoted string that begins at `at`; one without its end runs to the end of the value. */
static size_t skip_quoted(struct span value, size_t at)
{
    for (at++; at < value.len && value.ptr[at] != '"'; at++) {
        if (value.ptr[at] == '\\')
            at++;
    }
    return at < value.len ? at + 1 : value.len;
}

/* The same for a comment, which may hold others. */
static size_t skip_comment(struct span value, size_t at)
{
    size_t depth = 0;

    for (; at < value.len; at++) {
        if (value.ptr[at] == '(')
            depth++;
        else if (value.ptr[at] == ')' && --depth == 0)
            return at + 1;
        else if (value.ptr[at] == '\\')
            at++;
    }
    return value.len;
}

/* CFWS = blanks and comments (RFC 5322 §3.2.2) */
static size_t skip_cfws(struct span value, size_t at)
{
    while (at < value.len && (is_blank(value.ptr[at]) || value.ptr[at] == '('))
        at = value.ptr[at] == '(' ? skip_comment(value, at) : at + 1;
    return at;
}

/* The offset of the next ";" that separates parameters, or the end. */
static size_t piece_end(struct span value, size_t at)
{
    while (at < value.len && value.ptr[at] != ';') {
        if (value.ptr[at] == '"')
            at = skip_quoted(value, at);
        else if (value.ptr[at] == '(')
            at = skip_comment(value, at);
        else
            at++;
    }
    return at;
}

/* section := "*" ("0" / (%x31-39 *DIGIT)), extended by a further "*" (RFC 2231 §7). False if it is something else. */
static bool parse_section(struct span text, struct param *param)
{
    uint64_t number;

    param->section = -1;
    param->is_encoded = text.len > 0 && text.ptr[text.len - 1] == '*';
    if (param->is_encoded)
        text.len--;
    if (text.len == 0)
        return true;
    if (text.ptr[0] != '*' || (text.len > 2 && text.ptr[1] == '0') ||
        !span_to_u64(span_skip(text, 1), SECTIONS_MAX - 1, &number))
        return false;
    param->section = (int)number;
    return true;
}

/* parameter := attribute "=" (token / quoted-string). An unquoted value may hold anything but blanks and comments. */
static bool parse_piece(struct span piece, struct param *param)
{
    size_t at = skip_cfws(piece, 0);
    size_t start = at, name_end;

    while (at < piece.len && piece.ptr[at] != '*' && is_token(piece.ptr[at]))
        at++;
    name_end = at;
    while (at < piece.len && is_token(piece.ptr[at]))
        at++;
    param->name = span_slice(piece, start, name_end);
    if (!parse_section(span_slice(piece, name_end, at), param))
        return false;
    at = skip_cfws(piece, at);
    if (param->name.len == 0 || at == piece.len || piece.ptr[at] != '=')
        return false;
    start = at = skip_cfws(piece, at + 1);
    param->is_quoted = at < piece.len && piece.ptr[at] == '"';
    if (param->is_quoted) {
        size_t end = skip_quoted(piece, at);

        start++;
        at = end > start && piece.ptr[end - 1] == '"' ? end - 1 : end;
    } else {
        while (at < piece.len && !is_blank(piece.ptr[at]) && piece.ptr[at] != '(')
            at++;
    }
    param->text = span_slice(piece, start, at);
    return true;
}

bool mime_type_parse(struct span value, char *type_out, char *subtype_out, size_t each_size)
{
    size_t at = skip_cfws(value, 0), start = at;
    char *targets[] = {type_out, subtype_out};

    for (int i = 0; i < 2; i++) {
        while (at < value.len && is_token(value.ptr[at]))
            at++;
        if (at == start || !span_copy(span_slice(value, start, at), targets[i], each_size))
            return false;
        for (char *c = targets[i]; *c != '\0'; c++)
            *c = span_lower(*c);
        if (i == 0) {
            at = skip_cfws(value, at);
            if (at == value.len || value.ptr[at] != '/')
                return false;
            start = at = skip_cfws(value, at + 1);
        }
    }
    return true;
}

static int hex_digit(char byte)
{
    const char *digits = "0123456789abcdef", *found = byte != '\0' ? strchr(digits, span_lower(byte)) : NULL;

    return found != NULL ? (int)(found - digits) : -1;
}

/* Line ends and NUL that were hidden in an escape could split the field or the string into which somebody puts the
 * text. */
static enum err add_byte(struct buf *out, char byte, bool is_latin1)
{
    unsigned char code = (unsigned char)byte;

    if (byte == '\r' || byte == '\n' || byte == '\0')
        return buf_add_byte(out, ' ');
    if (is_latin1 && code >= 0x80) {
        const char pair[2] = {(char)(0xC0 | code >> 6), (char)(0x80 | (code & 0x3F))};

        return buf_add(out, pair, 2);
    }
    return buf_add_byte(out, byte);
}

/* Adds the text of one section without quotes, folds and escapes. */
static enum err add_text(const struct param *param, struct span text, bool is_latin1, struct buf *out)
{
    enum err result = ERR_OK;

    for (size_t at = 0; at < text.len && result == ERR_OK; at++) {
        char byte = text.ptr[at];

        if (byte == '\r' || byte == '\n')
            continue;
        if (param->is_quoted && byte == '\\' && at + 1 < text.len) {
            byte = text.ptr[++at];
        } else if (param->is_encoded && byte == '%' && at + 2 < text.len) {
            int high = hex_digit(text.ptr[at + 1]), low = hex_digit(text.ptr[at + 2]);

            if (high >= 0 && low >= 0) {
                byte = (char)(high << 4 | low);
                at += 2;
            }
        }
        result = add_byte(out, byte, param->is_encoded && is_latin1);
    }
    return result;
}

/* initial-section: charset "'" language "'" text (RFC 2231 §7). Gives the text; without the quotes all is text. */
static struct span take_charset(struct span text, bool *is_latin1_out)
{
    size_t first = span_find_byte(text, 0, '\'');
    size_t second = span_find_byte(text, first + 1, '\'');

    *is_latin1_out = false;
    if (first >= text.len || second >= text.len)
        return text;
    *is_latin1_out = span_is_case_equal(span_slice(text, 0, first), SPAN_LIT("iso-8859-1"));
    return span_skip(text, second + 1);
}

/* Finds all sections of a parameter. The form that comes first counts: whole in `sections[0]`, or continued. */
static size_t find_sections(struct span value, const char *name, struct param sections[SECTIONS_MAX])
{
    size_t count = 0;

    memset(sections, 0, sizeof *sections * SECTIONS_MAX);
    for (size_t at = piece_end(value, 0); at < value.len;) {
        size_t end = piece_end(value, at + 1);
        struct param param;

        if (parse_piece(span_slice(value, at + 1, end), &param) && span_is_case_equal(param.name, span_of(name))) {
            if (param.section < 0 && sections[0].name.len == 0) {
                sections[0] = param;
                return 1;
            }
            if (param.section >= 0 && sections[param.section].name.len == 0)
                sections[param.section] = param;
        }
        at = end;
    }
    while (count < SECTIONS_MAX && sections[count].name.len > 0)
        count++;
    return count;
}

enum err mime_param_get(struct span value, const char *name, struct buf *out)
{
    struct param sections[SECTIONS_MAX];
    size_t count = find_sections(value, name, sections);
    bool is_latin1 = false;
    struct buf text;
    enum err result = ERR_OK;

    if (count == 0)
        return ERR_NOT_FOUND;
    buf_init(&text, MIME_PARAM_MAX);
    for (size_t i = 0; i < count && result == ERR_OK; i++) {
        struct span raw = sections[i].text;

        if (i == 0 && sections[i].is_encoded)
            raw = take_charset(raw, &is_latin1);
        result = add_text(&sections[i], raw, is_latin1, &text);
    }
    if (result == ERR_OK)
        result = buf_add_span(out, buf_span(&text));
    buf_fini(&text);
    return result;
}

static enum err add_quoted(struct buf *out, struct span text)
{
    enum err result = buf_add_byte(out, '"');

    for (size_t i = 0; i < text.len && result == ERR_OK; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            result = buf_add_byte(out, '\\');
        if (result == ERR_OK)
            result = buf_add_byte(out, text.ptr[i]);
    }
    return result == ERR_OK ? buf_add_byte(out, '"') : result;
}

/* attribute-char := token without "*", "'" and "%" (RFC 2231 §7) */
static bool is_attribute_char(char byte)
{
    return is_token(byte) && strchr("*'%", byte) == NULL;
}

/* Adds up to a section's worth of `text`, which does not end within a character; gives the bytes taken. */
static enum err add_encoded(struct buf *out, struct span text, size_t *taken_out)
{
    enum err result = ERR_OK;
    size_t column = 0, at;

    for (at = 0; at < text.len && result == ERR_OK; at++) {
        char byte = text.ptr[at];
        bool is_within = ((unsigned char)byte & 0xC0) == 0x80;

        if (column + 12 > SECTION_WIDTH && (!is_within || column > SECTION_WIDTH))
            break;
        if (is_attribute_char(byte))
            result = buf_add_byte(out, byte);
        else
            result = buf_addf(out, "%%%02X", (unsigned char)byte);
        column += is_attribute_char(byte) ? 1 : 3;
    }
    *taken_out = at;
    return result;
}

/* `; name*=utf-8''...`, or `; name*0*=utf-8''...; name*1*=...` if it is long */
static enum err add_extended(struct buf *out, const char *name, struct span text)
{
    enum err result = ERR_OK;
    bool is_single = text.len * 3 <= SECTION_WIDTH - 12;

    for (unsigned section = 0; (text.len > 0 || section == 0) && result == ERR_OK; section++) {
        size_t taken = 0;

        result = is_single ? buf_addf(out, "; %s*=", name) : buf_addf(out, "; %s*%u*=", name, section);
        if (result == ERR_OK && section == 0)
            result = buf_add_string(out, "utf-8''");
        if (result == ERR_OK)
            result = add_encoded(out, text, &taken);
        text = span_skip(text, taken);
    }
    return result;
}

enum err mime_param_add(struct buf *out, const char *name, struct span text)
{
    size_t len_before = out->len;
    bool is_plain = text.len <= PLAIN_MAX, is_all_token = text.len > 0;
    enum err result;

    if (text.len > MIME_PARAM_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < text.len; i++) {
        is_plain = is_plain && text.ptr[i] >= 32 && text.ptr[i] < 127;
        is_all_token = is_all_token && is_token(text.ptr[i]);
    }
    if (!is_plain) {
        result = add_extended(out, name, text);
    } else {
        result = buf_addf(out, "; %s=", name);
        if (result == ERR_OK)
            result = is_all_token ? buf_add_span(out, text) : add_quoted(out, text);
    }
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    return result;
}

/* The name goes with every section of a parameter; one whose section makes no sense goes too. */
static bool is_named(struct span piece, const char *const *names)
{
    struct param param = {0};

    (void)parse_piece(piece, &param);
    for (; *names != NULL; names++) {
        if (param.name.len > 0 && span_is_case_equal(param.name, span_of(*names)))
            return true;
    }
    return false;
}

enum err mime_param_remove(struct span value, const char *const *names, struct buf *out)
{
    size_t len_before = out->len;
    size_t at = piece_end(value, 0);
    enum err result = buf_add(out, value.ptr, at);

    while (at < value.len && result == ERR_OK) {
        size_t end = piece_end(value, at + 1);

        if (!is_named(span_slice(value, at + 1, end), names))
            result = buf_add(out, value.ptr + at, end - at);
        at = end;
    }
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    return result;
}

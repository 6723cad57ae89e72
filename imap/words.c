#include "imap/content_internal.h"
#include "imap/token.h"

#include <string.h>

void imap_words_init(struct imap_words *words, struct span text)
{
    *words = (struct imap_words){.text = text};
}

bool imap_words_is_end(const struct imap_words *words)
{
    return words->at >= words->text.len;
}

char imap_words_peek(const struct imap_words *words)
{
    return imap_words_is_end(words) ? '\0' : words->text.ptr[words->at];
}

void imap_words_put(struct imap_words *words, struct buf *out, struct span bytes)
{
    if (words->err == ERR_OK && bytes.len > 0)
        words->err = buf_add_span(out, bytes);
}

static enum imap_word ended(const struct imap_words *words)
{
    return imap_words_is_end(words) ? IMAP_WORD_LAST : IMAP_WORD_MORE;
}

/* atext (RFC 5322 §3.2.3) and, as in RFC 6532, all that is not ASCII. */
static bool is_atext(char byte)
{
    unsigned char code = (unsigned char)byte;

    return code >= 0x80 || (code > ' ' && code < 0x7F && strchr("\"(),.:;<>@[\\]", byte) == NULL);
}

/* token (RFC 2045 §5.1): no SPACE, CTLs or tspecials. */
static bool is_token_byte(char byte)
{
    return byte == '.' || (is_atext(byte) && strchr("/?=", byte) == NULL);
}

/* comment = "(" *([FWS] ccontent) [FWS] ")" */
static enum imap_word skip_comment(struct imap_words *words)
{
    size_t depth = 0;

    for (; !imap_words_is_end(words); words->at++) {
        char byte = imap_words_peek(words);

        if (byte == ')' && depth == 1) {
            words->at++;
            return ended(words);
        }
        words->at += byte == '\\';
        depth += byte == '(';
        depth -= byte == ')';
    }
    return IMAP_WORD_BROKEN;
}

enum imap_word imap_words_skip(struct imap_words *words)
{
    for (; !imap_words_is_end(words);) {
        char byte = imap_words_peek(words);

        if (byte == '(') {
            if (skip_comment(words) == IMAP_WORD_BROKEN)
                return IMAP_WORD_BROKEN;
        } else if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n') {
            words->at++;
        } else {
            return IMAP_WORD_MORE;
        }
    }
    return IMAP_WORD_LAST;
}

/* Takes the bytes that `is_wanted` likes, and what may be skipped after them. */
static enum imap_word take_while(struct imap_words *words, bool (*is_wanted)(char byte), struct buf *out)
{
    size_t start = words->at;

    while (!imap_words_is_end(words) && is_wanted(imap_words_peek(words)))
        words->at++;
    imap_words_put(words, out, span_slice(words->text, start, words->at));
    return imap_words_skip(words);
}

enum imap_word imap_words_atom(struct imap_words *words, struct buf *out)
{
    if (imap_words_is_end(words) || !is_atext(imap_words_peek(words)))
        return IMAP_WORD_BROKEN;
    return take_while(words, is_atext, out);
}

enum imap_word imap_words_token(struct imap_words *words, struct buf *out)
{
    return take_while(words, is_token_byte, out);
}

enum imap_word imap_words_quoted(struct imap_words *words, struct buf *out)
{
    size_t start = ++words->at;

    for (; !imap_words_is_end(words); words->at++) {
        char byte = imap_words_peek(words);

        if (byte != '"' && byte != '\\' && byte != '\n')
            continue;
        if (byte == '\\' && words->at + 1 == words->text.len)
            break;
        imap_words_put(words, out, span_slice(words->text, start, words->at));
        start = ++words->at;
        if (byte == '"')
            return imap_words_skip(words);
        words->at -= byte == '\n';
    }
    words->at = words->text.len;
    return IMAP_WORD_BROKEN;
}

/* ---- values ---- */

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

enum err imap_field_value(const struct mime_field *field, struct buf *out)
{
    struct span rest = field->value;
    size_t first_end = span_find_byte(rest, 0, '\n'), at = 0;
    struct span text = span_trim(rest);
    /* No line end is kept after the last that is not blank. */
    const char *text_end = text.len > 0 ? text.ptr + text.len : rest.ptr;
    enum err result = ERR_OK;

    if (first_end < rest.len && first_end > 0 && rest.ptr[first_end - 1] == '\r')
        first_end--;
    while (at < first_end && is_blank(rest.ptr[at]))
        at++;
    /* Where there is nothing but blanks, one of them is the separator and the others are the value. */
    if (at == first_end && at > 0)
        at = 1;
    rest = span_skip(rest, at);
    while (rest.len > 0 && result == ERR_OK) {
        size_t end = span_find_byte(rest, 0, '\n');
        size_t len = end < rest.len && end > 0 && rest.ptr[end - 1] == '\r' ? end - 1 : end;

        result = buf_add_span(out, span_slice(rest, 0, len));
        if (result == ERR_OK && rest.ptr + end < text_end)
            result = buf_add_byte(out, '\n');
        rest = span_skip(rest, end + 1);
    }
    return result;
}

static bool is_line_end(char byte)
{
    return byte == '\r' || byte == '\n';
}

/* The text with single blanks for runs of them, and none at the ends. */
static enum err add_squeezed(struct buf *out, struct span text)
{
    enum err result = ERR_OK;
    bool is_wanted = false;

    for (size_t at = 0; at < text.len && result == ERR_OK; at++) {
        char byte = text.ptr[at];

        if (is_blank(byte) || is_line_end(byte)) {
            is_wanted = out->len > 0;
        } else {
            if (is_wanted)
                result = buf_add_byte(out, ' ');
            if (result == ERR_OK)
                result = buf_add_byte(out, byte);
            is_wanted = false;
        }
    }
    return result;
}

/* A line end goes where a blank follows it, and becomes one elsewhere. */
enum err imap_add_value(struct buf *out, struct span text)
{
    struct buf line;
    enum err result = ERR_OK;

    buf_init(&line, text.len + 1);
    for (size_t at = 0; at < text.len && result == ERR_OK; at++) {
        char byte = text.ptr[at];

        if (!is_line_end(byte))
            result = buf_add_byte(&line, byte);
        else if (at + 1 < text.len && !is_blank(text.ptr[at + 1]) && !is_line_end(text.ptr[at + 1]))
            result = buf_add_byte(&line, ' ');
    }
    if (result == ERR_OK)
        result = imap_add_nstring(out, buf_span(&line));
    buf_fini(&line);
    return result;
}

static bool has_folds(struct span text)
{
    bool found = false;

    for (size_t at = 0; at < text.len && !found; at++)
        found = text.ptr[at] == '\t' || is_line_end(text.ptr[at]);
    return found;
}

enum err imap_add_readable(struct buf *out, struct span text)
{
    struct buf squeezed;
    bool is_quotable = true;
    enum err result;

    buf_init(&squeezed, text.len + 1);
    result = add_squeezed(&squeezed, text);
    for (size_t at = 0; at < squeezed.len; at++)
        is_quotable = is_quotable && squeezed.data[at] > 0 && squeezed.data[at] != '"' && squeezed.data[at] != '\\';
    /* What had to be changed is sent as a literal, too. */
    is_quotable = squeezed.len == 0 || (is_quotable && squeezed.len == text.len && !has_folds(text));
    if (result == ERR_OK)
        result = is_quotable ? buf_addf(out, "\"%.*s\"", (int)squeezed.len, squeezed.data)
                             : buf_addf(out, "{%zu}\r\n", squeezed.len);
    if (result == ERR_OK && !is_quotable)
        result = buf_add_span(out, buf_span(&squeezed));
    buf_fini(&squeezed);
    return result;
}

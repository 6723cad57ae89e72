#include "imap/token.h"

#include "mime/utf8.h"

#include <inttypes.h>
#include <string.h>

/* More of these in a string, and a literal is shorter; this is where Dovecot changes over. */
#define ESCAPES_MAX 4

enum string_form { FORM_ATOM, FORM_QUOTED, FORM_LITERAL };

/* ATOM-CHAR = any CHAR but atom-specials: "(" ")" "{" SP CTL "%" "*" <"> "\" "]". "[" is left out too: "BODY[" would
   be read as the beginning of a section. */
static bool is_strict_atom_byte(char byte)
{
    return byte > ' ' && byte != 0x7f && !strchr("(){%*\"\\][", byte);
}

/* Quoted strings hold 7-bit text without CR, LF and NUL (RFC 3501 §9: QUOTED-CHAR). */
static bool can_be_quoted(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= 0 || text.ptr[i] == '\r' || text.ptr[i] == '\n')
            return false;
    return true;
}

/* A word that could be taken for something else than a string is not written as an atom. */
static bool can_be_atom(struct span text)
{
    bool is_number = true;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_strict_atom_byte(text.ptr[i]))
            return false;
        is_number = is_number && text.ptr[i] >= '0' && text.ptr[i] <= '9';
    }
    return !is_number && !span_is_case_equal(text, SPAN_LIT("NIL"));
}

static size_t escapes(struct span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '"' || text.ptr[i] == '\\';
    return count;
}

static enum err add_quoted(struct buf *out, struct span text)
{
    enum err err = buf_reserve(out, text.len + 2 + escapes(text));
    if (err == ERR_OK)
        err = buf_add_byte(out, '"');
    for (size_t i = 0; i < text.len && err == ERR_OK; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            err = buf_add_byte(out, '\\');
        if (err == ERR_OK)
            err = buf_add_byte(out, text.ptr[i]);
    }
    return err == ERR_OK ? buf_add_byte(out, '"') : err;
}

/* `flag` is "+" or "". */
static enum err add_literal(struct buf *out, struct span text, const char *flag)
{
    size_t len = out->len;
    enum err err = buf_addf(out, "{%zu%s}\r\n", text.len, flag);
    if (err == ERR_OK)
        err = buf_add_span(out, text);
    if (err != ERR_OK)
        buf_truncate(out, len);
    return err;
}

enum err imap_add_astring(struct buf *out, struct span text, bool is_literal_sync)
{
    if (can_be_atom(text))
        return buf_add_span(out, text);
    if (can_be_quoted(text))
        return add_quoted(out, text);
    return add_literal(out, text, is_literal_sync ? "" : "+");
}

enum err imap_add_nstring(struct buf *out, struct span text)
{
    if (!text.ptr)
        return buf_add_string(out, "NIL");
    if (can_be_quoted(text) && escapes(text) <= ESCAPES_MAX)
        return add_quoted(out, text);
    return add_literal(out, text, "");
}

enum err imap_mailbox_normalise(struct span name, struct buf *out)
{
    return buf_add_span(out, span_is_case_equal(name, SPAN_LIT("INBOX")) ? SPAN_LIT("INBOX") : name);
}

/* What goes into the base64 of modified UTF-7, six bits at a time. */
struct shifted {
    struct buf *out;
    uint32_t bits;
    unsigned len;
};

static enum err add_bits(struct shifted *shifted, uint32_t bits, unsigned len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    enum err err = ERR_OK;
    shifted->bits = shifted->bits << len | bits;
    for (shifted->len += len; shifted->len >= 6 && err == ERR_OK; shifted->len -= 6)
        err = buf_add_byte(shifted->out, alphabet[shifted->bits >> (shifted->len - 6) & 63]);
    return err;
}

static uint32_t decode(struct span text, size_t at, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)text.ptr + at;
    uint32_t point = len == 1 ? bytes[0] : bytes[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        point = point << 6 | (bytes[i] & 0x3f);
    return point;
}

/* The characters from `*at` on that are not printable ASCII. */
static enum err add_shifted(struct span text, size_t *at, struct buf *out)
{
    struct shifted shifted = {.out = out};
    enum err err = buf_add_byte(out, '&');
    while (err == ERR_OK && *at < text.len && (text.ptr[*at] < ' ' || text.ptr[*at] == 0x7f)) {
        size_t len = mime_utf8_length(text, *at);
        uint32_t point = decode(text, *at, len);
        if (point > 0xffff)
            err = add_bits(&shifted, 0xd800 + ((point - 0x10000) >> 10), 16);
        if (err == ERR_OK)
            err = add_bits(&shifted, point > 0xffff ? 0xdc00 + (point & 0x3ff) : point, 16);
        *at += len;
    }
    if (err == ERR_OK && shifted.len > 0)
        err = add_bits(&shifted, 0, 6 - shifted.len);
    return err == ERR_OK ? buf_add_byte(out, '-') : err;
}

enum err imap_mailbox_encode(struct span name, struct buf *out)
{
    size_t at = 0;
    enum err err = ERR_OK;
    if (!mime_utf8_is_valid(name))
        return buf_add_span(out, name);
    while (err == ERR_OK && at < name.len) {
        char byte = name.ptr[at];
        if (byte < ' ' || byte == 0x7f) {
            err = add_shifted(name, &at, out);
            continue;
        }
        err = byte == '&' ? buf_add_string(out, "&-") : buf_add_byte(out, byte);
        at++;
    }
    return err;
}

#include "imap/token.h"

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

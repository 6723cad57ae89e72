/*
 * The grammar's words out of a whole unit: atoms, strings, lists, numbers, response codes (RFC 3501 §9).
 *
 * A cursor walks over the text of a unit; each function takes one thing and moves on, or returns false (ERR_MALFORMED)
 * and leaves the cursor where it was, so that handlers read like the grammar. Nothing is copied: strings are spans into
 * the text, decoded when asked. Nesting is bounded by IMAP_NESTING_MAX. Both legs use it; it never fails on what the
 * other side's grammar alone would forbid (lenient atoms: everything but space, controls, parentheses and quotes).
 */
#ifndef IMAP_TOKEN_H
#define IMAP_TOKEN_H

#include "imap/unit.h"

#define IMAP_NESTING_MAX 200

struct imap_cursor {
    const struct imap_unit *unit; /* NULL: text without literals that are elsewhere */
    struct span text;
    size_t at;
};

enum imap_string_kind { IMAP_NIL, IMAP_ATOM, IMAP_QUOTED, IMAP_LITERAL };

/* An astring, nstring or anything else that stands for a string. */
struct imap_string {
    enum imap_string_kind kind;
    struct span
        raw;        /* ATOM: itself; QUOTED: between the quotes, escapes as they are; LITERAL: content, if it is here */
    size_t literal; /* LITERAL: its index in the unit */
    uint64_t len;   /* LITERAL: its length wherever it is */
};

/* At the first byte of the unit's text. */
void imap_cursor_init(struct imap_cursor *cursor, const struct imap_unit *unit);
void imap_cursor_init_text(struct imap_cursor *cursor, struct span text);
/* True at CRLF or at the end of the text. */
bool imap_at_end(const struct imap_cursor *cursor);
/* What is left, up to the end of the text. */
struct span imap_rest(const struct imap_cursor *cursor);
/* The next byte without taking it, or '\0' at the end. */
char imap_peek(const struct imap_cursor *cursor);

/* Exactly one space (SP in the grammar). */
bool imap_take_space(struct imap_cursor *cursor);
bool imap_take_char(struct imap_cursor *cursor, char byte);
/* An atom: one or more bytes but "(", ")", "{", SP, CTL, `"`; "[", "]", "%", "*", "\" are taken (flags, sections). */
bool imap_take_atom(struct imap_cursor *cursor, struct span *atom_out);
/* The same, but it ends before "[" (a FETCH item's name, as in BODY[...]). */
bool imap_take_name(struct imap_cursor *cursor, struct span *name_out);
/* Takes the word if it comes next as a whole atom, ASCII case ignored. */
bool imap_take_word(struct imap_cursor *cursor, const char *word);
bool imap_take_number(struct imap_cursor *cursor, uint64_t max, uint64_t *number_out);
/* astring: atom, quoted or literal. nstring: also NIL (kind IMAP_NIL; an atom NIL). string: quoted or literal alone. */
bool imap_take_astring(struct imap_cursor *cursor, struct imap_string *string_out);
bool imap_take_nstring(struct imap_cursor *cursor, struct imap_string *string_out);
bool imap_take_string(struct imap_cursor *cursor, struct imap_string *string_out);
/* Any one value: atom (with a balanced [...] in it), string, or parenthesised list, nested; `*raw_out` is all of it as
   on the wire (literals elsewhere: their marks alone). */
bool imap_take_value(struct imap_cursor *cursor, struct span *raw_out);
/* "[" text "]" of a response code, without the brackets (quoted strings in it may hold "]"). */
bool imap_take_code(struct imap_cursor *cursor, struct span *code_out);

/* Adds the string's value. ERR_MALFORMED for NIL and for a literal whose content is elsewhere. */
ERR_RETURN enum err imap_string_add(const struct imap_string *string, struct buf *out);
/* Copies into `target` with a NUL; false if it does not fit, holds a NUL, or is elsewhere. NIL gives "". */
bool imap_string_copy(const struct imap_string *string, char *target, size_t target_size);

/* ---- writing ---- */

/* Adds text as an astring: an atom where that is possible and it is not NIL or a number in disguise, else quoted, else
   a non-synchronising literal {n+} or (is_sync) {n}. */
ERR_RETURN enum err imap_add_astring(struct buf *out, struct span text, bool is_literal_sync);
/* Adds text as servers send an nstring: quoted if it is short, 7bit, and without CR, LF, NUL, `"` and `\`; else a
   literal {n}. SPAN_NONE (NULL) is NIL. This is Dovecot's choice, so that answers look as a server's. */
ERR_RETURN enum err imap_add_nstring(struct buf *out, struct span text);

/* Modified UTF-7 mailbox names stay as they are; INBOX in any case is "INBOX". */
ERR_RETURN enum err imap_mailbox_normalise(struct span name, struct buf *out);
/* A name in UTF-8 (RFC 6855) in modified UTF-7 (RFC 3501 §5.1.3), by which others know the same mailbox; what is not
   valid UTF-8 stays as it is. */
ERR_RETURN enum err imap_mailbox_encode(struct span name, struct buf *out);

#endif

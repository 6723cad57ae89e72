/*
 * What the files that read header fields for IMAP share: the words of structured fields, and parameters. Addresses
 * are read by mime/mailbox.h.
 *
 * The grammars are RFC 5322 §3.2 and RFC 2045 §5.1, but a reader here never gives up: ENVELOPE and BODYSTRUCTURE have a
 * place for every field, and what stands there is what Dovecot makes of it. So each function takes as much as there is
 * and says how it ended. They read what imap_field_value gives. Memory that is short, and nothing else, is an
 * error; it is remembered in the reader.
 */
#ifndef IMAP_CONTENT_INTERNAL_H
#define IMAP_CONTENT_INTERNAL_H

#include "imap/content.h"
#include "mime/field.h"

struct imap_words {
    struct span text;
    size_t at;
    enum err err;
};

/* How a word ended. Bytes that belong to a broken word may have been taken and added. */
enum imap_word {
    IMAP_WORD_BROKEN = -1,
    IMAP_WORD_LAST = 0, /* and so does the text, but for blanks and comments */
    IMAP_WORD_MORE = 1  /* `at` is at the next thing */
};

void imap_words_init(struct imap_words *words, struct span text);
/* The next byte, or NUL at the end. */
char imap_words_peek(const struct imap_words *words);
bool imap_words_is_end(const struct imap_words *words);

/* [CFWS]. All that follow skip it after the word. */
enum imap_word imap_words_skip(struct imap_words *words);
/* 1*atext */
enum imap_word imap_words_atom(struct imap_words *words, struct buf *out);
/* *token-char: may be empty */
enum imap_word imap_words_token(struct imap_words *words, struct buf *out);
/* quoted-string, the reader standing at its first quote; unescaped */
enum imap_word imap_words_quoted(struct imap_words *words, struct buf *out);

/* Adds bytes that a reader took; an error is remembered in it. */
void imap_words_put(struct imap_words *words, struct buf *out, struct span bytes);

/* The value of a field without the blanks after the colon; its lines end in LF, but for the last that is not
   blank and those after it. */
ERR_RETURN enum err imap_field_value(const struct mime_field *field, struct buf *out);

/* Adds a field's value as a string of one line. */
ERR_RETURN enum err imap_add_value(struct buf *out, struct span text);
/* Adds text as an nstring for people to read: runs of blanks are one, those at the ends are gone, and what is not plain
   ASCII without quotes is a literal. */
ERR_RETURN enum err imap_add_readable(struct buf *out, struct span text);

/* Adds "(name route mailbox domain)" for each address of a field's value. */
ERR_RETURN enum err imap_addresses_add(struct span value, struct buf *out);

/* Adds `"name" "value"` for each parameter from the reader's place on, separated by blanks; RFC 2231 continuations are
   joined. `*has_charset_out` (or NULL): one of them is "charset". */
ERR_RETURN enum err imap_params_add(struct imap_words *words, struct buf *out, bool *has_charset_out);
/* Adds the value of the first parameter of this name; `*is_there_out` tells if there is one. */
ERR_RETURN enum err imap_params_find(struct imap_words *words, const char *name, struct buf *out, bool *is_there_out);

/* Reads a Content-Type: adds type and subtype, the reader then stands at the parameters. False if there can be none of
   these: the type is broken, and what was added is all that is to be said of it. */
bool imap_type_read(struct imap_words *words, struct buf *type, struct buf *subtype);

#endif

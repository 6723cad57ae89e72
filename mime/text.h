/*
 * What can be searched in a message: its decoded text in one form, and the test whether something stands in it (RFC
 * 3501 §6.4.4: "case-insensitive substring").
 *
 * The form is Unicode in canonical and compatibility decomposition with title case (as Dovecot compares), in UTF-8;
 * needles are brought into the same form. A keeper makes the text once; the vault keeps it and looks into it. The saved
 * form is checked when it is read: ERR_PEER_PROTOCOL for anything else.
 */
#ifndef MIME_TEXT_H
#define MIME_TEXT_H

#include "base/buf.h"
#include "mime/part.h"

enum mime_text_kind {
    MIME_TEXT_HEADER,  /* field `name` holds the needle; an empty needle: the field is there */
    MIME_TEXT_ADDRESS, /* the same of the addresses of from, to, cc, bcc, written anew ("FROM", "TO", ...) */
    MIME_TEXT_SUBJECT, /* the same of `name` with runs of blanks made one ("SUBJECT") */
    MIME_TEXT_BODY,
    MIME_TEXT_ANY, /* header or body ("TEXT") */
    MIME_TEXT_LARGER,
    MIME_TEXT_SMALLER,
    MIME_TEXT_SENT_BEFORE, /* the day in the Date field, whatever its time and zone */
    MIME_TEXT_SENT_ON,
    MIME_TEXT_SENT_SINCE
};

struct mime_text_leaf {
    enum mime_text_kind kind;
    char *name;      /* HEADER, ADDRESS, SUBJECT: field name in lower case; owned */
    char *needle;    /* normalised UTF-8; owned; may be "" */
    uint64_t number; /* LARGER, SMALLER: bytes; SENT_*: days since 1970-01-01, an int64_t */
};
void mime_text_leaf_fini(struct mime_text_leaf *leaf);

/* Adds `text`, which is in `charset` (empty or unknown: US-ASCII with what is UTF-8 in it taken as such), in the form
   for searching. */
ERR_RETURN enum err mime_text_normalise(struct span text, struct span charset, struct buf *out);
/* True if iconv knows the charset. */
bool mime_text_has_charset(struct span charset);
/* Days since 1970-01-01 of a Date field's raw value; false if it is none. */
bool mime_text_day(struct span date_value, int64_t *day_out);
/* The same in seconds, its zone counted in. */
bool mime_text_time(struct span date_value, int64_t *time_out);

/* Adds the searchable text of a message in saved form: size, day sent, header fields (of the message, and apart those
   of its parts), bodies of text and enclosed messages. Bounded by the buffer's maximum; what does not fit is an error.
 */
ERR_RETURN enum err mime_text_save(const struct mime_part *root, struct span message, struct buf *out);
/* Tests a saved text against each of `leaves`; is_found_out has room for them. */
ERR_RETURN enum err mime_text_match(struct span saved, const struct mime_text_leaf *leaves, size_t leaves_len,
                                    bool *is_found_out);

#endif

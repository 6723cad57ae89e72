/*
 * Header fields as they stand: found, read and left out without ever being printed again (RFC 5322 §2.2).
 *
 * A header is a span that may end with its empty line. A line that is no field (no colon, bad name) belongs to no
 * field: mime_field_next gives it back with an empty name, so that whoever copies a header loses nothing.
 */
#ifndef MIME_FIELD_H
#define MIME_FIELD_H

#include "base/buf.h"

struct mime_field {
    struct span name;  /* without colon and blanks before it; empty for a line that is no field */
    struct span value; /* raw: folded, from after the colon to before the last line end */
    struct span whole; /* name to line end, inclusive */
};

/* Steps through `header`: `*at` starts at 0. False at the end or at the empty line. */
bool mime_field_next(struct span header, size_t *at, struct mime_field *field_out);
/* The first field with this name (ASCII case ignored); false if there is none. */
bool mime_field_find(struct span header, const char *name, struct mime_field *field_out);
size_t mime_field_count(struct span header, const char *name);
/* True if the field has this name. */
bool mime_field_is(const struct mime_field *field, const char *name);
/* True if the field describes the MIME structure: MIME-Version or Content-* (RFC 9788 §1.1, "structural"). */
bool mime_field_is_structural(const struct mime_field *field);

/* Adds the value without line ends and without leading and trailing blanks (RFC 5322 §2.2.3). */
ERR_RETURN enum err mime_field_unfold(struct span value, struct buf *out);
/* Adds "Name: value CRLF", folded at blanks so that no line passes 78 columns where that is possible. The value must
   hold no CR, LF or NUL (ERR_MALFORMED). */
ERR_RETURN enum err mime_field_add(struct buf *out, const char *name, struct span value);

#endif

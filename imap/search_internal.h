/*
 * What the files of the search program's parser share: the place in the command, and the words of the grammar.
 */
#ifndef IMAP_SEARCH_INTERNAL_H
#define IMAP_SEARCH_INTERNAL_H

#include "imap/search.h"

/* The reading of one search program. A node's children are written behind it, so that a subtree is always the last
   nodes there are while it is read. */
struct imap_search_reading {
    struct imap_cursor *cursor;
    struct imap_search *search;
    unsigned depth;
};

/* SP, of which servers take more than one; false if there is none. */
bool imap_search_take_blanks(struct imap_cursor *cursor);
/* SP astring. `out` is initialised in any case, and to be finished by the caller. */
ERR_RETURN enum err imap_search_take_astring(struct imap_search_reading *reading, struct buf *out);
/* The same, in the form for searching, or as a field's name in lower case; the caller frees. */
ERR_RETURN enum err imap_search_take_needle(struct imap_search_reading *reading, char **needle_out);
ERR_RETURN enum err imap_search_take_field_name(struct imap_search_reading *reading, char **name_out);
/* SP date, in days since 1970-01-01. */
ERR_RETURN enum err imap_search_take_date(struct imap_search_reading *reading, int64_t *days_out);
/* sequence-set, or "$" (RFC 5182): whether its numbers are there is the server's business. */
bool imap_search_is_set(struct span text, bool *is_saved_out);

#endif

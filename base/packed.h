/*
 * Numbers and pieces of bytes one after the other, as saved forms have them: numbers with the low byte first, pieces
 * after their length in four bytes. A reader takes them off the front of a span and says whether there was enough.
 */
#ifndef BASE_PACKED_H
#define BASE_PACKED_H

#include "base/buf.h"

/* Adds the low `bytes` (1 to 8) bytes of `number`. */
ERR_RETURN enum err packed_add_number(struct buf *out, uint64_t number, size_t bytes);
/* Adds `bytes` after their length; ERR_LIMIT if there are too many for it. */
ERR_RETURN enum err packed_add_bytes(struct buf *out, struct span bytes);

/* Each takes what it names off the front of `*rest`; false if it is not there (then `*rest` may be anywhere). */
bool packed_take_number(struct span *rest, size_t bytes, uint64_t *number_out);
/* Borrows from `*rest`. */
bool packed_take_bytes(struct span *rest, struct span *bytes_out);
/* Takes a piece as text: false also if it does not fit with its NUL, or holds one. */
bool packed_take_text(struct span *rest, char *target, size_t target_size);
/* Takes a number of one byte that is at most `max`. */
bool packed_take_small(struct span *rest, unsigned max, unsigned *number_out);

#endif

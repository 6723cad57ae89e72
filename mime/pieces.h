/*
 * A message put together from slices of others, without copying them: what sealing writes and signs.
 *
 * Pieces either borrow (the bytes must outlive the pieces) or own short texts. Their order is the order of the bytes.
 */
#ifndef MIME_PIECES_H
#define MIME_PIECES_H

#include "base/buf.h"

struct mime_pieces {
    struct mime_piece {
        struct span bytes;
        char *owned; /* freed with the pieces; NULL if borrowed */
        size_t at;   /* where its first byte stands in the whole */
    } * items;
    size_t len, capacity;
    size_t size; /* bytes in all */
};

void mime_pieces_init(struct mime_pieces *pieces);
void mime_pieces_fini(struct mime_pieces *pieces);
/* Adds borrowed bytes; empty ones are skipped. At most 100,000 pieces (ERR_LIMIT). */
ERR_RETURN enum err mime_pieces_borrow(struct mime_pieces *pieces, struct span bytes);
/* Adds a copy of `bytes`. */
ERR_RETURN enum err mime_pieces_copy(struct mime_pieces *pieces, struct span bytes);
/* Adds the content of `text` and empties it. */
ERR_RETURN enum err mime_pieces_take(struct mime_pieces *pieces, struct buf *text);
/* Copies up to `count` bytes from byte `at` on; returns how many. Sequential reading is O(1) with `*hint` kept (start:
 * 0). */
size_t mime_pieces_read(const struct mime_pieces *pieces, size_t at, void *target, size_t count, size_t *hint);
/* Appends all bytes to a memfd that may grow to `size_max`. */
ERR_RETURN enum err mime_pieces_write(const struct mime_pieces *pieces, int fd, size_t size_max);

#endif

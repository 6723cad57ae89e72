/*
 * Feeds bytes to a parser in pieces of any size. Every piece is a block of its own, so that a parser that looks beyond
 * it, or at one that has gone, is seen by the address sanitizer.
 */
#ifndef TESTS_TRICKLE_H
#define TESTS_TRICKLE_H

#include "base/err.h"
#include "base/span.h"

#include <stdlib.h>
#include <string.h>

typedef enum err (*trickle_fn)(struct span piece, void *context);

/* Calls `fn` for pieces of `step` bytes until one gives something other than ERR_OK; that is the result. */
static inline enum err trickle(struct span bytes, size_t step, trickle_fn fn, void *context)
{
    enum err result = ERR_OK;

    for (size_t at = 0; at < bytes.len && result == ERR_OK; at += step) {
        struct span piece = span_slice(bytes, at, at + step);
        char *block = malloc(piece.len);

        if (block == NULL)
            return ERR_MEMORY;
        memcpy(block, piece.ptr, piece.len);
        result = fn((struct span){block, piece.len}, context);
        free(block);
    }
    return result;
}

#endif

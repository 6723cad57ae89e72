#include "mime/pieces.h"

#include "base/memfd.h"

#include <stdlib.h>
#include <string.h>

#define PIECES_MAX 100000

void mime_pieces_init(struct mime_pieces *pieces)
{
    *pieces = (struct mime_pieces){0};
}

void mime_pieces_fini(struct mime_pieces *pieces)
{
    for (size_t i = 0; i < pieces->len; i++)
        free(pieces->items[i].owned);
    free(pieces->items);
    mime_pieces_init(pieces);
}

static enum err make_room(struct mime_pieces *pieces)
{
    if (pieces->len >= PIECES_MAX)
        return ERR_LIMIT;
    if (pieces->len < pieces->capacity)
        return ERR_OK;
    size_t capacity = pieces->capacity == 0 ? 16 : pieces->capacity * 2;
    struct mime_piece *items = reallocarray(pieces->items, capacity, sizeof *items);
    if (items == NULL)
        return ERR_MEMORY;
    pieces->items = items;
    pieces->capacity = capacity;
    return ERR_OK;
}

/* Takes ownership of `owned` only when it succeeds. */
static enum err add_piece(struct mime_pieces *pieces, struct span bytes, char *owned)
{
    size_t size;
    if (__builtin_add_overflow(pieces->size, bytes.len, &size))
        return ERR_LIMIT;
    enum err err = make_room(pieces);
    if (err != ERR_OK)
        return err;
    pieces->items[pieces->len++] = (struct mime_piece){.bytes = bytes, .owned = owned, .at = pieces->size};
    pieces->size = size;
    return ERR_OK;
}

enum err mime_pieces_borrow(struct mime_pieces *pieces, struct span bytes)
{
    if (bytes.len == 0)
        return ERR_OK;
    struct mime_piece *last = pieces->len == 0 ? NULL : &pieces->items[pieces->len - 1];
    /* Neighbours in the source stay one piece: a message of many small parts would otherwise reach the limit. */
    if (last != NULL && last->owned == NULL && last->bytes.ptr + last->bytes.len == bytes.ptr) {
        last->bytes.len += bytes.len;
        pieces->size += bytes.len;
        return ERR_OK;
    }
    return add_piece(pieces, bytes, NULL);
}

enum err mime_pieces_copy(struct mime_pieces *pieces, struct span bytes)
{
    if (bytes.len == 0)
        return ERR_OK;
    char *copy = malloc(bytes.len);
    if (copy == NULL)
        return ERR_MEMORY;
    memcpy(copy, bytes.ptr, bytes.len);
    enum err err = add_piece(pieces, (struct span){copy, bytes.len}, copy);
    if (err != ERR_OK)
        free(copy);
    return err;
}

enum err mime_pieces_take(struct mime_pieces *pieces, struct buf *text)
{
    size_t len = text->len;
    if (len == 0)
        return ERR_OK;
    char *owned = buf_take(text);
    if (owned == NULL)
        return ERR_MEMORY;
    enum err err = add_piece(pieces, (struct span){owned, len}, owned);
    if (err != ERR_OK)
        free(owned);
    return err;
}

/* The piece that holds byte `at`, which must be below the size. */
static size_t find_piece(const struct mime_pieces *pieces, size_t at)
{
    size_t low = 0, high = pieces->len;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (pieces->items[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool piece_holds(const struct mime_pieces *pieces, size_t index, size_t at)
{
    if (index >= pieces->len)
        return false;
    const struct mime_piece *piece = &pieces->items[index];
    return at >= piece->at && at - piece->at < piece->bytes.len;
}

size_t mime_pieces_read(const struct mime_pieces *pieces, size_t at, void *target, size_t count, size_t *hint)
{
    if (at >= pieces->size || count == 0)
        return 0;
    size_t index = piece_holds(pieces, *hint, at) ? *hint : find_piece(pieces, at);
    size_t offset = at - pieces->items[index].at;
    size_t done = 0;
    while (done < count && index < pieces->len) {
        struct span rest = span_skip(pieces->items[index].bytes, offset);
        size_t step = rest.len < count - done ? rest.len : count - done;
        memcpy((char *)target + done, rest.ptr, step);
        done += step;
        offset = 0;
        if (step == rest.len)
            index++;
    }
    *hint = index;
    return done;
}

enum err mime_pieces_write(const struct mime_pieces *pieces, int fd, size_t size_max)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < pieces->len; i++)
        err = memfd_add(fd, pieces->items[i].bytes, size_max);
    return err;
}

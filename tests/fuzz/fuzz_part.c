/*
 * A message parsed whole and in pieces gives the same tree or the same error, and the invariants of mime/part.h hold.
 * The first byte chooses the limits, the second the pieces.
 */
#include "mime/part.h"
#include "tests/unit/mime_tree.h"

#include <stdio.h>
#include <stdlib.h>

/* Small limits are met often, large ones let the message be read to its end. */
static struct mime_limits choose_limits(uint8_t choice)
{
    if ((choice & 1) == 0)
        return MIME_LIMITS_DEFAULT;
    return (struct mime_limits){(size_t)(choice >> 1 & 7) + 1, choice >> 4 & 3, (size_t)(choice >> 6) * 100 + 20};
}

/* Pieces of 1 to 16 bytes, or of 17 to 300 now and then, in an order that follows from `seed`. */
static enum err parse_in_pieces(struct span message, struct mime_limits limits, uint32_t seed,
                                struct mime_tree **tree_out)
{
    struct mime_parser *parser;
    enum err result = mime_parser_new(limits, &parser);

    *tree_out = NULL;
    for (size_t at = 0, step; at < message.len && result == ERR_OK; at += step) {
        char *piece;

        seed = seed * 1664525 + 1013904223;
        step = seed >> 30 == 0 ? (seed >> 8) % 300 + 1 : (seed >> 8) % 16 + 1;
        step = step < message.len - at ? step : message.len - at;
        piece = malloc(step);
        if (piece == NULL)
            abort();
        memcpy(piece, message.ptr + at, step);
        result = mime_parser_feed(parser, (struct span){piece, step});
        free(piece);
    }
    if (result == ERR_OK)
        result = mime_parser_end(parser, tree_out);
    mime_parser_free(&parser);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mime_tree *whole, *pieces;
    struct mime_limits limits;
    struct span message;
    enum err result;

    if (size < 2)
        return 0;
    limits = choose_limits(data[0]);
    message = (struct span){(const char *)data + 2, size - 2};
    result = mime_parse(message, limits, &whole);
    if (parse_in_pieces(message, limits, data[1], &pieces) != result)
        abort();
    if (result == ERR_OK) {
        const char *wrong = tree_check(whole, message);

        if (wrong != NULL) {
            fprintf(stderr, "invariant: %s\n", wrong);
            abort();
        }
        if (!tree_is_same(whole, pieces))
            abort();
        if (whole->parts_len > limits.parts_max)
            abort();
    } else if (result != ERR_LIMIT) {
        abort();
    }
    mime_tree_free(&whole);
    mime_tree_free(&pieces);
    return 0;
}

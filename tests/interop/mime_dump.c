/*
 * Reads a message from standard input and prints one JSON object a line for each of its parts, in document order.
 */
#include "base/buf.h"
#include "mime/encoding.h"
#include "mime/part.h"

#include <stdio.h>

#define MESSAGE_MAX ((size_t)1 << 26)

static const char *const kinds[] = {"leaf", "multipart", "message"};

/* Types are tokens, which need no escapes in JSON. */
static void print_part(const struct mime_part *part)
{
    printf("{\"depth\": %u, \"kind\": \"%s\", \"type\": \"%s/%s\", \"encoding\": \"%s\", ", part->depth,
           kinds[part->kind], part->type, part->subtype, mime_encoding_name(part->encoding));
    printf("\"header_at\": %zu, \"body_at\": %zu, \"body_end\": %zu, ", part->header_at, part->body_at, part->body_end);
    printf("\"header_lines\": %zu, \"body_lines\": %zu, ", part->header_lines, part->body_lines);
    printf("\"header_flags\": %u, \"body_flags\": %u, ", part->header_flags, part->body_flags);
    printf("\"is_closed\": %s, \"has_preamble\": %s, \"has_epilogue\": %s}\n", part->is_closed ? "true" : "false",
           part->has_preamble ? "true" : "false", part->has_epilogue ? "true" : "false");
}

int main(void)
{
    struct mime_tree *tree = NULL;
    struct buf message;
    char block[4096];
    size_t count;
    enum err result = ERR_OK;

    buf_init(&message, MESSAGE_MAX);
    while (result == ERR_OK && (count = fread(block, 1, sizeof block, stdin)) > 0)
        result = buf_add(&message, block, count);
    if (result == ERR_OK)
        result = mime_parse(buf_span(&message), MIME_LIMITS_DEFAULT, &tree);
    if (result == ERR_OK) {
        for (const struct mime_part *part = tree->root; part != NULL; part = mime_part_after(part))
            print_part(part);
    } else {
        fprintf(stderr, "mime_dump: %s\n", err_name(result));
    }
    mime_tree_free(&tree);
    buf_fini(&message);
    return result == ERR_OK ? 0 : 3;
}

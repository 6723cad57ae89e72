#include "mime/part.h"

#include <stdlib.h>
#include <string.h>

/* Without recursion, since a caller may allow any depth. */
void mime_tree_free(struct mime_tree **tree)
{
    struct mime_part *part;

    if (*tree == NULL)
        return;
    part = (*tree)->root;
    while (part != NULL) {
        struct mime_part *gone = part;

        if (part->first_child != NULL) {
            part = part->first_child;
            continue;
        }
        part = gone->next != NULL ? gone->next : gone->parent;
        if (gone->next == NULL && part != NULL)
            part->first_child = NULL;
        free(gone);
    }
    free(*tree);
    *tree = NULL;
}

struct span mime_part_header(const struct mime_part *part, struct span message)
{
    return span_slice(message, part->header_at, part->body_at);
}

struct span mime_part_body(const struct mime_part *part, struct span message)
{
    return span_slice(message, part->body_at, part->body_end);
}

struct span mime_part_whole(const struct mime_part *part, struct span message)
{
    return span_slice(message, part->header_at, part->body_end);
}

bool mime_part_is(const struct mime_part *part, const char *type, const char *subtype)
{
    return strcmp(part->type, type) == 0 && (subtype == NULL || strcmp(part->subtype, subtype) == 0);
}

struct mime_part *mime_part_after(const struct mime_part *part)
{
    if (part->first_child != NULL)
        return part->first_child;
    while (part != NULL && part->next == NULL)
        part = part->parent;
    return part != NULL ? part->next : NULL;
}

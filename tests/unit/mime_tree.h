/*
 * What must hold for every map of a message, counted again byte by byte; used by unit tests and fuzzers.
 */
#ifndef TESTS_MIME_TREE_H
#define TESTS_MIME_TREE_H

#include "mime/field.h"
#include "mime/part.h"

#include <string.h>

/* Line ends and flags of some bytes, in the slow and plain way. */
static inline unsigned tree_count(struct span bytes, size_t *lines_out)
{
    unsigned flags = 0;
    size_t start = 0;

    *lines_out = 0;
    for (size_t i = 0; i <= bytes.len; i++) {
        bool is_end = i == bytes.len;
        char byte = is_end ? '\n' : bytes.ptr[i];
        size_t end = i > start && bytes.ptr[i - 1] == '\r' && !is_end ? i - 1 : i;

        if (!is_end && (byte & 0x80) != 0)
            flags |= MIME_HAS_8BIT;
        if (byte == '\0')
            flags |= MIME_HAS_NUL;
        if (byte == '\r' && (i + 1 == bytes.len || bytes.ptr[i + 1] != '\n'))
            flags |= MIME_HAS_BARE_CR;
        if (byte != '\n')
            continue;
        if (!is_end && (i == 0 || bytes.ptr[i - 1] != '\r'))
            flags |= MIME_HAS_BARE_LF;
        if (end - start > 998)
            flags |= MIME_HAS_LONG_LINE;
        if (end > start && (bytes.ptr[end - 1] == ' ' || bytes.ptr[end - 1] == '\t'))
            flags |= MIME_HAS_TRAILING_BLANK;
        if (end - start >= 5 && memcmp(bytes.ptr + start, "From ", 5) == 0)
            flags |= MIME_HAS_FROM_LINE;
        if (is_end && end > start)
            flags |= MIME_HAS_NO_FINAL_CRLF;
        *lines_out += !is_end;
        start = i + 1;
    }
    return flags;
}

/* True if the fields of a header end where the parser saw it end: at its empty line, or, where a boundary or the end of
   the message broke it off, at a body of nothing. Otherwise one of them would take text for fields. */
static inline bool tree_header_ends(const struct mime_part *part, struct span message)
{
    struct span header = mime_part_header(part, message);
    struct mime_field field;
    size_t at = 0;

    while (mime_field_next(header, &at, &field))
        continue;
    header = span_skip(header, at);
    return header.len == 0 ? part->body_at == part->body_end
                           : span_is_equal(header, SPAN_LIT("\r\n")) || span_is_equal(header, SPAN_LIT("\n"));
}

/* The first thing that is wrong with a part, or NULL. */
static inline const char *tree_check_part(const struct mime_part *part, struct span message)
{
    size_t lines, at = part->body_at;

    if (part->header_at > part->body_at || part->body_at > part->body_end || part->body_end > message.len)
        return "header_at <= body_at <= body_end <= size";
    if (part->header_flags != tree_count(mime_part_header(part, message), &lines) || part->header_lines != lines)
        return "lines and flags of the header";
    if (part->body_flags != tree_count(mime_part_body(part, message), &lines) || part->body_lines != lines)
        return "lines and flags of the body";
    if (!tree_header_ends(part, message))
        return "the header ends where its fields do";
    if ((part->kind == MIME_LEAF) != (part->first_child == NULL))
        return "a leaf has no child, all else has one";
    if (part->kind == MIME_MESSAGE &&
        (part->first_child->next != NULL || part->first_child->header_at != part->body_at ||
         part->first_child->body_end != part->body_end))
        return "a message fills what holds it";
    if ((part->kind == MIME_MULTIPART) != (part->boundary[0] != '\0'))
        return "multiparts have a boundary";
    if (part->kind != MIME_MULTIPART && (part->is_closed || part->has_preamble || part->has_epilogue))
        return "multiparts alone are closed";
    if (part->has_epilogue && !part->is_closed)
        return "an epilogue follows a closing boundary";
    for (const struct mime_part *child = part->first_child; child != NULL; child = child->next) {
        if (child->parent != part || child->depth != part->depth + 1)
            return "parent and depth";
        if (child->header_at < at || child->body_end > part->body_end)
            return "children lie in order within the body";
        at = child->body_end;
    }
    return NULL;
}

/* The first thing that is wrong with a tree, or NULL. */
static inline const char *tree_check(const struct mime_tree *tree, struct span message)
{
    size_t count = 0;

    if (tree->size != message.len || tree->root->header_at != 0 || tree->root->body_end != message.len)
        return "the root is the message";
    for (const struct mime_part *part = tree->root; part != NULL; part = mime_part_after(part)) {
        const char *wrong = tree_check_part(part, message);

        if (wrong != NULL)
            return wrong;
        count++;
    }
    return count == tree->parts_len ? NULL : "parts_len";
}

static inline bool tree_is_same(const struct mime_tree *a, const struct mime_tree *b)
{
    const struct mime_part *x = a->root, *y = b->root;

    if (a->parts_len != b->parts_len || a->size != b->size)
        return false;
    for (; x != NULL && y != NULL; x = mime_part_after(x), y = mime_part_after(y)) {
        if (x->depth != y->depth || x->kind != y->kind || x->encoding != y->encoding || strcmp(x->type, y->type) != 0 ||
            strcmp(x->subtype, y->subtype) != 0 || strcmp(x->boundary, y->boundary) != 0 ||
            x->header_at != y->header_at || x->body_at != y->body_at || x->body_end != y->body_end ||
            x->header_lines != y->header_lines || x->body_lines != y->body_lines ||
            x->header_flags != y->header_flags || x->body_flags != y->body_flags || x->is_closed != y->is_closed ||
            x->has_preamble != y->has_preamble || x->has_epilogue != y->has_epilogue)
            return false;
    }
    return x == y;
}

#endif

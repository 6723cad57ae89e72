/*
 * What IMAP says of any bytes can be read as IMAP, and agrees with itself: lists are whole, sizes are those of the
 * sections, sections are pieces of the message, and a piece of a piece is where it should be. The first byte chooses
 * a section.
 */
#include "imap/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX ((size_t)1 << 26)

static const char *const items[] = {
    "BODY[]",
    "BODY[HEADER]",
    "BODY[TEXT]",
    "BODY[1]",
    "BODY[1.MIME]",
    "BODY[2.1]",
    "BODY[1.HEADER]",
    "BODY[1.TEXT]",
    "BODY[2.HEADER.FIELDS (Subject \"Fr\\om\")]",
    "BODY[HEADER.FIELDS (To Content-Type)]",
    "BODY[HEADER.FIELDS.NOT (Subject)]",
    "BODY[1.1.1.HEADER.FIELDS.NOT (X)]",
    "BODY[3.2.1]",
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

/* One parenthesised list and nothing else. */
static void require_list(const struct buf *text)
{
    struct imap_cursor cursor;
    struct span raw;

    imap_cursor_init_text(&cursor, buf_span(text));
    require(imap_peek(&cursor) == '(' && imap_take_value(&cursor, &raw) && cursor.at == text->len);
}

/* Values nest no deeper than what is read of them. */
static void check_structure(const struct mime_tree *tree, struct span message)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    require(imap_envelope_add(mime_part_header(tree->root, message), &out) == ERR_OK);
    require_list(&out);
    for (int i = 0; i < 2; i++) {
        buf_clear(&out);
        require(imap_structure_add(tree->root, message, i == 1, &out) == ERR_OK);
        require_list(&out);
        buf_clear(&out);
        require(imap_structure_add_short(tree->root, message, i == 1, &out) == ERR_OK);
        require_list(&out);
    }
    buf_fini(&out);
}

static void check_tree(const struct mime_tree *tree, struct span message)
{
    size_t parts = 0;

    for (const struct mime_part *part = tree->root; part != NULL; part = mime_part_after(part)) {
        size_t at = part->body_at;

        require(part->header_at <= part->body_at && part->body_at <= part->body_end && part->body_end <= message.len);
        require(part->kind == MIME_LEAF ? part->first_child == NULL : true);
        require(part->kind != MIME_MESSAGE || (part->first_child != NULL && part->first_child->next == NULL));
        for (const struct mime_part *child = part->first_child; child != NULL; child = child->next) {
            require(child->parent == part && child->header_at >= at && child->body_end <= part->body_end);
            at = child->body_end;
        }
        parts++;
    }
    require(parts == tree->parts_len && tree->root->body_end == message.len);
}

static void add_slices(const struct imap_slices *slices, struct span message, struct buf *out)
{
    uint64_t size = 0;

    for (size_t i = 0; i < slices->len; i++) {
        const struct span *item = &slices->items[i];

        require(item->len > 0);
        require((item->ptr >= message.ptr && item->ptr + item->len <= message.ptr + message.len) ||
                span_is_equal(*item, SPAN_LIT("\r\n")) || span_is_equal(*item, SPAN_LIT("\n")) ||
                span_is_equal(*item, SPAN_LIT("\r")));
        size += item->len;
        require(buf_add_span(out, *item) == ERR_OK);
    }
    require(size == slices->size);
}

static void check_section(const struct imap_section *section, const struct mime_tree *tree, struct span message,
                          size_t offset, size_t count)
{
    struct span header = mime_part_header(tree->root, message);
    struct imap_slices slices;
    struct buf whole, piece;

    buf_init(&whole, OUT_MAX);
    buf_init(&piece, OUT_MAX);
    require(imap_section_find(section, tree->root, message, header, &slices) == ERR_OK);
    require(slices.exists || slices.len == 0);
    add_slices(&slices, message, &whole);
    imap_slices_cut(&slices, offset, count);
    add_slices(&slices, message, &piece);
    require(span_is_equal(buf_span(&piece), span_slice(buf_span(&whole), offset, offset + count)) ||
            (piece.len == 0 && offset >= whole.len));
    imap_slices_fini(&slices);
    buf_fini(&piece);
    buf_fini(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct imap_fetch fetch;
    struct imap_cursor cursor;
    struct mime_tree *tree;
    struct span message;

    if (size < 3)
        return 0;
    message = (struct span){(const char *)data + 3, size - 3};
    imap_cursor_init_text(&cursor, span_of(items[data[0] % (sizeof items / sizeof *items)]));
    require(imap_fetch_parse(&cursor, &fetch) == ERR_OK);
    require(imap_content_parse(message, &tree) == ERR_OK);
    check_tree(tree, message);
    check_structure(tree, message);
    check_section(&fetch.items[0].section, tree, message, data[1], data[2]);
    mime_tree_free(&tree);
    imap_fetch_fini(&fetch);
    return 0;
}

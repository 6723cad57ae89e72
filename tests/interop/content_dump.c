/*
 * Answers FETCH for messages from standard input, for comparison with a server. Each is a line "LENGTH (ITEMS)" and
 * then so many bytes; the answer is a line with its length and then "ITEM value ITEM value".
 */
#include "imap/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX ((size_t)1 << 26)

static enum err add_section(const struct imap_section *section, const struct mime_part *root, struct span message,
                            struct buf *out)
{
    struct imap_slices slices;
    enum err result = imap_section_find(section, root, message, mime_part_header(root, message), &slices);

    if (result != ERR_OK)
        return result;
    if (section->is_partial)
        imap_slices_cut(&slices, section->offset, section->count);
    result = buf_addf(out, "{%zu}\r\n", (size_t)slices.size);
    for (size_t i = 0; i < slices.len && result == ERR_OK; i++)
        result = buf_add_span(out, slices.items[i]);
    imap_slices_fini(&slices);
    return result;
}

static enum err add_item(const struct imap_item *item, const struct mime_part *root, struct span message,
                         struct buf *out)
{
    struct imap_section section = item->section;

    switch (item->kind) {
    case IMAP_ITEM_SIZE:
        return buf_addf(out, "%zu", message.len);
    case IMAP_ITEM_ENVELOPE:
        return imap_envelope_add(mime_part_header(root, message), out);
    case IMAP_ITEM_BODY:
    case IMAP_ITEM_BODYSTRUCTURE:
        return imap_structure_add(root, message, item->kind == IMAP_ITEM_BODYSTRUCTURE, out);
    case IMAP_ITEM_RFC822_HEADER:
        section.text = IMAP_TEXT_HEADER;
        return add_section(&section, root, message, out);
    case IMAP_ITEM_RFC822_TEXT:
        section.text = IMAP_TEXT_TEXT;
        return add_section(&section, root, message, out);
    default:
        return add_section(&section, root, message, out);
    }
}

static enum err answer(struct span items, struct span message, struct buf *out)
{
    struct imap_fetch fetch;
    struct imap_cursor cursor;
    struct mime_tree *tree = NULL;
    enum err result;

    imap_cursor_init_text(&cursor, items);
    result = imap_fetch_parse(&cursor, &fetch);
    if (result != ERR_OK)
        return result;
    result = imap_content_parse(message, &tree);
    for (size_t i = 0; i < fetch.len && result == ERR_OK; i++) {
        if (i > 0)
            result = buf_add_byte(out, ' ');
        if (result == ERR_OK)
            result = buf_add_span(out, fetch.items[i].label);
        if (result == ERR_OK)
            result = buf_add_byte(out, ' ');
        if (result == ERR_OK)
            result = add_item(&fetch.items[i], tree->root, message, out);
    }
    mime_tree_free(&tree);
    imap_fetch_fini(&fetch);
    return result;
}

int main(void)
{
    char *line = NULL;
    size_t line_size = 0;
    enum err result = ERR_OK;

    while (result == ERR_OK && getline(&line, &line_size, stdin) > 0) {
        struct span head = span_trim(span_of(line)), length;
        struct buf out;
        uint64_t len;
        char *message;

        if (!span_take_until(&head, ' ', &length) || !span_to_u64(length, MESSAGE_MAX, &len))
            return 2;
        message = malloc(len + 1);
        if (message == NULL || fread(message, 1, len, stdin) != len)
            return 2;
        buf_init(&out, 8 * MESSAGE_MAX);
        result = answer(head, (struct span){message, len}, &out);
        printf("%zu\n", out.len);
        fwrite(out.data, 1, out.len, stdout);
        buf_fini(&out);
        free(message);
    }
    free(line);
    if (result != ERR_OK)
        fprintf(stderr, "content_dump: %s\n", err_name(result));
    return result == ERR_OK ? 0 : 3;
}

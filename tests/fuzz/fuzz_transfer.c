/*
 * Bodies made safe: the result has the same parts with the same content, is clean but for what is reported, and what
 * needed nothing is as it was. The first byte chooses how safe it shall be.
 */
#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/transfer.h"
#include "tests/unit/mime_tree.h"

#include <stdlib.h>

#define FLAGS_7BIT (MIME_HAS_8BIT | MIME_HAS_NUL | MIME_HAS_BARE_CR | MIME_HAS_BARE_LF | MIME_HAS_LONG_LINE)
#define FLAGS_SIGN (FLAGS_7BIT | MIME_HAS_TRAILING_BLANK | MIME_HAS_FROM_LINE)

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

/* The root's header is its caller's to write, and its last line may have been broken off by the end of the message. */
static void add_header(const struct mime_part *root, struct span message, enum mime_encoding encoding, struct buf *out)
{
    struct mime_field field;
    size_t at = 0;
    struct span header = mime_part_header(root, message);
    bool is_changed = encoding != root->encoding;
    while (mime_field_next(header, &at, &field))
        if (!is_changed || !mime_field_is(&field, "Content-Transfer-Encoding"))
            check(buf_add_span(out, field.whole) == ERR_OK);
    if (is_changed && out->len > 0 && out->data[out->len - 1] != '\n')
        check(buf_add_string(out, "\r\n") == ERR_OK);
    if (is_changed)
        check(buf_addf(out, "Content-Transfer-Encoding: %s\r\n", mime_encoding_name(encoding)) == ERR_OK);
    check(buf_add_span(out, span_skip(header, at)) == ERR_OK);
}

static void check_leaf(const struct mime_part *old, struct span message, const struct mime_part *new, struct span text)
{
    struct buf before, after;
    buf_init(&before, 1 << 24);
    buf_init(&after, 1 << 24);
    check(mime_decode(old->encoding, mime_part_body(old, message), &before) == ERR_OK);
    check(mime_decode(new->encoding, mime_part_body(new, text), &after) == ERR_OK);
    check(span_is_equal(buf_span(&before), buf_span(&after)));
    check(new->encoding != old->encoding || span_is_equal(mime_part_body(old, message), mime_part_body(new, text)));
    buf_fini(&before);
    buf_fini(&after);
}

/* Sealed parts, as they stand. */
static void check_sealed(const struct mime_part *old, struct span message, const struct mime_part *new,
                         struct span text)
{
    if (mime_part_is(old, "multipart", "signed") || mime_part_is(old, "multipart", "encrypted"))
        check(span_is_equal(mime_part_body(old, message), mime_part_body(new, text)));
}

static void check_result(const struct mime_tree *tree, struct span message, struct span text, unsigned unsafe,
                         unsigned flags)
{
    struct mime_tree *again;
    check(mime_parse(text, MIME_LIMITS_DEFAULT, &again) == ERR_OK);
    const struct mime_part *old = tree->root, *new = again->root;
    for (; old != NULL && new != NULL; old = mime_part_after(old), new = mime_part_after(new)) {
        check(old->kind == new->kind && old->depth == new->depth &&mime_part_is(new, old->type, old->subtype));
        check_sealed(old, message, new, text);
        if (old->kind == MIME_LEAF)
            check_leaf(old, message, new, text);
    }
    check(old == NULL && new == NULL);
    check((again->root->body_flags & unsafe) == flags);
    mime_tree_free(&again);
}

static void check_transfer(const struct mime_tree *tree, struct span message, enum mime_safety safety)
{
    struct mime_pieces pieces;
    struct buf text;
    enum mime_encoding encoding;
    unsigned flags, unsafe = safety == MIME_SAFE_7BIT ? FLAGS_7BIT : FLAGS_SIGN;
    mime_pieces_init(&pieces);
    buf_init(&text, 1 << 24);
    check(mime_transfer_body(tree->root, message, safety, &pieces, &encoding, &flags) == ERR_OK);
    add_header(tree->root, message, encoding, &text);
    for (size_t i = 0; i < pieces.len; i++)
        check(buf_add_span(&text, pieces.items[i].bytes) == ERR_OK);
    check_result(tree, message, buf_span(&text), unsafe, flags);
    buf_fini(&text);
    mime_pieces_fini(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = {(const char *)data, size};
    struct mime_tree *tree;
    if (size == 0)
        return 0;
    message = span_skip(message, 1);
    if (mime_parse(message, MIME_LIMITS_DEFAULT, &tree) != ERR_OK)
        return 0;
    check_transfer(tree, message, data[0] % 2 == 0 ? MIME_SAFE_7BIT : MIME_SAFE_SIGN);
    mime_tree_free(&tree);
    return 0;
}

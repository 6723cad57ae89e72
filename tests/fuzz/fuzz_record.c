/* Records of views: a view's own comes back; anything else is refused or lies within the bytes. */
#include "proxy/record.h"

#include "imap/content.h"

#include <stdlib.h>

static void check_within(struct span whole, struct span piece)
{
    if (piece.ptr < whole.ptr || piece.ptr + piece.len > whole.ptr + whole.len)
        abort();
}

static void check_load(struct span saved)
{
    struct proxy_record record;

    if (proxy_record_load(saved, &record) != ERR_OK)
        return;
    check_within(saved, record.header);
    check_within(saved, record.envelope);
    check_within(saved, record.body);
    check_within(saved, record.structure);
}

static void check_save(struct span view)
{
    struct proxy_record record;
    struct mime_tree *tree;
    struct buf saved;

    buf_init(&saved, 64u << 20);
    if (imap_content_parse(view, &tree) != ERR_OK || proxy_record_save(tree->root, view, &saved) != ERR_OK ||
        proxy_record_load(buf_span(&saved), &record) != ERR_OK || record.size != view.len ||
        !span_has_prefix(view, record.header))
        abort();
    mime_tree_free(&tree);
    buf_fini(&saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = {(const char *)data, size};

    check_load(bytes);
    check_save(bytes);
    return 0;
}

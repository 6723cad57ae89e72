/* The first byte says which kind of file the rest is; what is read is written again to the same bytes. */
#include "proxy/wire_view.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err keys(struct span content, struct buf *out)
{
    struct store_view_key *items;
    size_t len;
    enum err err = proxy_read_keys(content, "alice", &items, &len);
    if (err == ERR_OK)
        err = proxy_write_keys(items, len, out);
    free(items);
    return err;
}

static enum err leaves(struct span content, struct buf *out)
{
    struct mime_text_leaf *items;
    size_t len;
    enum err err = proxy_read_leaves(content, &items, &len);
    if (err == ERR_OK)
        err = proxy_write_leaves(items, len, out);
    proxy_free_leaves(items, len);
    return err;
}

static enum err views(struct span content, struct buf *out)
{
    struct proxy_vault_found *items;
    size_t len;
    enum err err = proxy_read_views(content, 1000, &items, &len);
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        err = proxy_write_view(&items[i], out);
    free(items);
    return err;
}

static enum err places(struct span content, struct buf *out)
{
    struct store_place *items;
    size_t len;
    enum err err = proxy_read_places(content, &items, &len);
    for (size_t i = 1; i < len; i++)
        if (items[i].uid <= items[i - 1].uid)
            abort();
    if (err == ERR_OK)
        err = proxy_write_places(items, len, out);
    free(items);
    return err;
}

static enum err uids(struct span content, struct buf *out)
{
    uint32_t *items;
    size_t len;
    enum err err = proxy_read_uids(content, &items, &len);
    if (err == ERR_OK)
        err = proxy_write_uids(items, len, out);
    free(items);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static enum err (*const kinds[])(struct span content, struct buf * out) = {keys, leaves, views, places, uids};
    struct buf out;
    if (size == 0)
        return 0;
    struct span content = {(const char *)data + 1, size - 1};
    buf_init(&out, 1 << 24);
    enum err err = kinds[data[0] % (sizeof(kinds) / sizeof(*kinds))](content, &out);
    if (err != ERR_OK && err != ERR_PEER_PROTOCOL)
        abort();
    if (err == ERR_OK && !span_is_equal(buf_span(&out), content))
        abort();
    buf_fini(&out);
    return 0;
}

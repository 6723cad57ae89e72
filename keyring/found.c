#include "keyring/found.h"

#include "base/packed.h"

enum err keyring_found_add(struct buf *out, const struct keyring_found *found)
{
    const size_t before = out->len;
    enum err err = packed_add_number(out, found->kind, 1);
    if (err == ERR_OK)
        err = packed_add_number(out, found->source, 1);
    if (err == ERR_OK)
        err = packed_add_number(out, found->is_found, 1);
    if (err == ERR_OK)
        err = packed_add_number(out, (uint64_t)found->until, 8);
    if (err == ERR_OK)
        err = packed_add_bytes(out, span_of(found->directory));
    if (err == ERR_OK)
        err = packed_add_bytes(out, found->bytes);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

enum err keyring_found_take(struct span *rest, struct keyring_found *found)
{
    unsigned kind, source, is_found;
    uint64_t until;
    if (rest->len == 0)
        return ERR_END;
    if (!packed_take_small(rest, KEYRING_FOUND_ALL, &kind) || kind == 0 ||
        !packed_take_small(rest, KEYRING_SOURCE_COUNT - 1, &source) || !packed_take_small(rest, 1, &is_found) ||
        !packed_take_number(rest, 8, &until) || until > INT64_MAX ||
        !packed_take_text(rest, found->directory, sizeof(found->directory)) ||
        !packed_take_bytes(rest, &found->bytes) || found->bytes.len > KEYRING_FOUND_PIECE_MAX ||
        (found->bytes.len == 0) != (kind == KEYRING_FOUND_ALL))
        return ERR_PEER_PROTOCOL;
    found->kind = (enum keyring_found_kind)kind;
    found->source = (enum keyring_source)source;
    found->is_found = is_found;
    found->until = (int64_t)until;
    return ERR_OK;
}

#include "crypto/attached.h"

#include "mime/encoding.h"

/* Quoted-printable triples what is worst for it. */
#define ENCODED_MAX (3 * KEYRING_FOUND_PIECE_MAX)

static enum err add_key(const struct mime_part *leaf, struct span bytes, struct buf *out)
{
    const struct span body = mime_part_body(leaf, bytes);
    struct keyring_found found = {.kind = KEYRING_FOUND_OPENPGP, .source = KEYRING_SOURCE_MAIL};
    struct buf decoded;
    enum err result;

    if (body.len > ENCODED_MAX)
        return ERR_OK;
    buf_init(&decoded, ENCODED_MAX + 16);
    result = mime_decode(leaf->encoding, body, &decoded);
    found.bytes = buf_span(&decoded);
    if (result == ERR_OK && found.bytes.len > 0 && found.bytes.len <= KEYRING_FOUND_PIECE_MAX)
        result = keyring_found_add(out, &found);
    buf_fini(&decoded);
    return result;
}

/* The part that is looked at after `part`: what is below anything but multipart/mixed is passed over. */
static const struct mime_part *next_part(const struct mime_part *part, const struct mime_part *payload)
{
    if (mime_part_is(part, "multipart", "mixed") && part->first_child != NULL)
        return part->first_child;
    while (part != payload && part->next == NULL)
        part = part->parent;
    return part == payload ? NULL : part->next;
}

enum err crypto_attached_add(const struct mime_part *payload, struct span bytes, struct buf *out)
{
    size_t keys_len = 0;
    enum err result = ERR_OK;

    for (const struct mime_part *part = payload; part != NULL && result == ERR_OK; part = next_part(part, payload)) {
        if (part->kind != MIME_LEAF || !mime_part_is(part, "application", "pgp-keys"))
            continue;
        if (keys_len++ == CRYPTO_ATTACHED_KEYS_MAX)
            break;
        result = add_key(part, bytes, out);
    }
    return result;
}

#include "crypto/message_ids.h"

#include "mime/field.h"
#include "mime/msg_id.h"

#include <openssl/evp.h>
#include <string.h>

#define DIGEST_SIZE sizeof(((struct crypto_message_ids *)NULL)->digests[0])
#define HALF (CRYPTO_MESSAGE_IDS_MAX / 2)

struct adding {
    struct crypto_message_ids *ids;
    EVP_MD_CTX *digester;
    enum err err;
};

/* Where the next digest goes. */
static uint8_t *make_room(struct crypto_message_ids *ids)
{
    if (ids->len < CRYPTO_MESSAGE_IDS_MAX)
        return ids->digests[ids->len++];
    memmove(ids->digests[HALF], ids->digests[HALF + 1], (CRYPTO_MESSAGE_IDS_MAX - HALF - 1) * DIGEST_SIZE);
    return ids->digests[CRYPTO_MESSAGE_IDS_MAX - 1];
}

/* Programs fold where they like, also inside an ID. */
static bool digest(EVP_MD_CTX *digester, struct span id, uint8_t digest_out[DIGEST_SIZE])
{
    bool is_good = EVP_DigestInit_ex(digester, EVP_sha256(), NULL) == 1;
    size_t begin = 0;
    for (size_t at = 0; is_good && at <= id.len; at++)
        if (at == id.len || mime_msg_id_is_blank(id.ptr[at])) {
            is_good = EVP_DigestUpdate(digester, id.ptr + begin, at - begin) == 1;
            begin = at + 1;
        }
    return is_good && EVP_DigestFinal_ex(digester, digest_out, NULL) == 1;
}

static void add(struct span id, void *context)
{
    struct adding *adding = context;
    if (adding->err == ERR_OK && !digest(adding->digester, id, make_room(adding->ids)))
        adding->err = ERR_INTERNAL;
}

enum err crypto_message_ids_add(struct crypto_message_ids *ids, struct span header, const char *const *names)
{
    struct adding adding = {.ids = ids, .digester = EVP_MD_CTX_new()};
    struct mime_field field;
    if (adding.digester == NULL)
        return ERR_MEMORY;
    for (size_t at = 0; mime_field_next(header, &at, &field);)
        for (size_t i = 0; names[i] != NULL; i++)
            if (mime_field_is(&field, names[i]))
                mime_msg_id_walk(field.value, add, &adding);
    EVP_MD_CTX_free(adding.digester);
    return adding.err;
}

struct span crypto_message_ids_span(const struct crypto_message_ids *ids)
{
    return (struct span){(const char *)ids->digests, ids->len * DIGEST_SIZE};
}

bool crypto_message_ids_is(struct span digests)
{
    return digests.len % DIGEST_SIZE == 0 && digests.len <= CRYPTO_MESSAGE_IDS_MAX * DIGEST_SIZE;
}

bool crypto_message_ids_load(struct span digests, struct crypto_message_ids *ids)
{
    ids->len = 0;
    if (!crypto_message_ids_is(digests))
        return false;
    if (digests.len > 0)
        memcpy(ids->digests, digests.ptr, digests.len);
    ids->len = digests.len / DIGEST_SIZE;
    return true;
}

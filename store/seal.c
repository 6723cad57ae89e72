/*
 * Sealed values: one version byte, a random 96-bit nonce, the ciphertext, a 128-bit tag; the context is authenticated
 * beside it, so that a value moved to another row does not open.
 */
#include "store/store_internal.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#define SEAL_VERSION 1
#define SEAL_NONCE_SIZE 12
#define SEAL_TAG_SIZE 16
#define SEAL_OVERHEAD (1 + SEAL_NONCE_SIZE + SEAL_TAG_SIZE)

static const unsigned char *bytes_of(struct span span)
{
    static const unsigned char none[1];
    return span.ptr ? (const unsigned char *)span.ptr : none;
}

static bool is_fit(struct span context, struct span text)
{
    return context.len <= INT_MAX && text.len <= INT_MAX - SEAL_OVERHEAD;
}

enum err store_seal(struct store *store, struct span context, struct span plain, struct buf *out)
{
    if (!is_fit(context, plain))
        return ERR_LIMIT;
    unsigned char head[1 + SEAL_NONCE_SIZE] = {SEAL_VERSION}, tag[SEAL_TAG_SIZE];
    const size_t before = out->len;
    enum err err = buf_reserve(out, plain.len + SEAL_OVERHEAD);
    if (err)
        return err;
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (!cipher)
        return ERR_MEMORY;
    err = ERR_STORE;
    int len = 0;
    if (RAND_bytes(head + 1, SEAL_NONCE_SIZE) != 1 || buf_add(out, head, sizeof head))
        goto done;
    unsigned char *target = (unsigned char *)out->data + out->len;
    if (EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, store->seal_key, head + 1) != 1 ||
        EVP_EncryptUpdate(cipher, NULL, &len, bytes_of(context), (int)context.len) != 1 ||
        EVP_EncryptUpdate(cipher, target, &len, bytes_of(plain), (int)plain.len) != 1 || (size_t)len != plain.len ||
        EVP_EncryptFinal_ex(cipher, tag, &len) != 1 || len != 0 ||
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, SEAL_TAG_SIZE, tag) != 1)
        goto done;
    out->len += plain.len;
    err = buf_add(out, tag, sizeof tag);
done:
    EVP_CIPHER_CTX_free(cipher);
    if (err)
        buf_truncate(out, before);
    return err;
}

enum err store_unseal(struct store *store, struct span context, struct span sealed, struct buf *out)
{
    if (sealed.len < SEAL_OVERHEAD || bytes_of(sealed)[0] != SEAL_VERSION || !is_fit(context, sealed))
        return ERR_STORE;
    const struct span text = span_slice(sealed, 1 + SEAL_NONCE_SIZE, sealed.len - SEAL_TAG_SIZE);
    unsigned char tag[SEAL_TAG_SIZE];
    memcpy(tag, text.ptr + text.len, sizeof tag);
    enum err err = buf_reserve(out, text.len + 1);
    if (err)
        return err;
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (!cipher)
        return ERR_MEMORY;
    unsigned char *target = (unsigned char *)out->data + out->len, end[SEAL_TAG_SIZE];
    int len = 0;
    const bool is_good =
        EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, store->seal_key, bytes_of(sealed) + 1) == 1 &&
        EVP_DecryptUpdate(cipher, NULL, &len, bytes_of(context), (int)context.len) == 1 &&
        EVP_DecryptUpdate(cipher, target, &len, bytes_of(text), (int)text.len) == 1 && (size_t)len == text.len &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, SEAL_TAG_SIZE, tag) == 1 &&
        EVP_DecryptFinal_ex(cipher, end, &len) == 1;
    EVP_CIPHER_CTX_free(cipher);
    if (is_good)
        out->len += text.len;
    else
        OPENSSL_cleanse(target, text.len);
    out->data[out->len] = '\0';
    return is_good ? ERR_OK : ERR_STORE;
}

enum err store_tag(struct store *store, struct span context, struct span text, uint8_t tag_out[STORE_TAG_SIZE])
{
    /* The context's length goes first, so that no byte can change sides. */
    unsigned char len[8];
    for (unsigned i = 0; i < sizeof len; i++)
        len[i] = (unsigned char)((uint64_t)context.len >> (56 - 8 * i));
    struct buf whole;
    buf_init_secret(&whole, sizeof len + context.len + text.len);
    enum err err = buf_add(&whole, len, sizeof len);
    if (!err)
        err = buf_add_span(&whole, context);
    if (!err)
        err = buf_add_span(&whole, text);
    unsigned size = 0;
    if (!err && (!HMAC(EVP_sha256(), store->tag_key, STORE_KEY_SIZE, (const unsigned char *)whole.data, whole.len,
                       tag_out, &size) ||
                 size != STORE_TAG_SIZE))
        err = ERR_STORE;
    buf_fini(&whole);
    return err;
}

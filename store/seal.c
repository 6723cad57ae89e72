/*
 * Sealed values: one version byte, a random 96-bit nonce, the ciphertext, a 128-bit tag; the context is authenticated
 * beside it, so that a value moved to another row does not open.
 */
#include "store/store_internal.h"

#include <limits.h>
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

enum err store_seal_begin(struct store *store)
{
    store->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    store->sealer = EVP_CIPHER_CTX_new();
    return store->cipher && store->sealer ? ERR_OK : ERR_MEMORY;
}

void store_seal_end(struct store *store)
{
    EVP_CIPHER_CTX_free(store->sealer);
    EVP_CIPHER_free(store->cipher);
    store->sealer = NULL;
    store->cipher = NULL;
}

enum err store_seal_with(struct store *store, const uint8_t key[STORE_KEY_SIZE], struct span context, struct span plain,
                         struct buf *out)
{
    if (!is_fit(context, plain))
        return ERR_LIMIT;
    EVP_CIPHER_CTX *cipher = store->sealer;
    unsigned char head[1 + SEAL_NONCE_SIZE] = {SEAL_VERSION}, tag[SEAL_TAG_SIZE];
    const size_t before = out->len;
    enum err err = buf_reserve(out, plain.len + SEAL_OVERHEAD);
    if (err)
        return err;
    err = ERR_STORE;
    int len = 0;
    if (RAND_bytes(head + 1, SEAL_NONCE_SIZE) != 1 || buf_add(out, head, sizeof head))
        goto done;
    unsigned char *target = (unsigned char *)out->data + out->len;
    if (EVP_EncryptInit_ex2(cipher, store->cipher, key, head + 1, NULL) != 1 ||
        EVP_EncryptUpdate(cipher, NULL, &len, bytes_of(context), (int)context.len) != 1 ||
        EVP_EncryptUpdate(cipher, target, &len, bytes_of(plain), (int)plain.len) != 1 || (size_t)len != plain.len ||
        EVP_EncryptFinal_ex(cipher, tag, &len) != 1 || len != 0 ||
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, SEAL_TAG_SIZE, tag) != 1)
        goto done;
    out->len += plain.len;
    err = buf_add(out, tag, sizeof tag);
done:
    if (err)
        buf_truncate(out, before);
    return err;
}

enum err store_seal(struct store *store, struct span context, struct span plain, struct buf *out)
{
    return store_seal_with(store, store->seal_key, context, plain, out);
}

enum err store_unseal_with(struct store *store, const uint8_t key[STORE_KEY_SIZE], struct span context,
                           struct span sealed, struct buf *out)
{
    if (sealed.len < SEAL_OVERHEAD || bytes_of(sealed)[0] != SEAL_VERSION || !is_fit(context, sealed))
        return ERR_STORE;
    const struct span text = span_slice(sealed, 1 + SEAL_NONCE_SIZE, sealed.len - SEAL_TAG_SIZE);
    EVP_CIPHER_CTX *cipher = store->sealer;
    unsigned char tag[SEAL_TAG_SIZE];
    memcpy(tag, text.ptr + text.len, sizeof tag);
    enum err err = buf_reserve(out, text.len + 1);
    if (err)
        return err;
    unsigned char *target = (unsigned char *)out->data + out->len, end[SEAL_TAG_SIZE];
    int len = 0;
    const bool is_good = EVP_DecryptInit_ex2(cipher, store->cipher, key, bytes_of(sealed) + 1, NULL) == 1 &&
                         EVP_DecryptUpdate(cipher, NULL, &len, bytes_of(context), (int)context.len) == 1 &&
                         EVP_DecryptUpdate(cipher, target, &len, bytes_of(text), (int)text.len) == 1 &&
                         (size_t)len == text.len &&
                         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, SEAL_TAG_SIZE, tag) == 1 &&
                         EVP_DecryptFinal_ex(cipher, end, &len) == 1;
    if (is_good)
        out->len += text.len;
    else
        OPENSSL_cleanse(target, text.len);
    out->data[out->len] = '\0';
    return is_good ? ERR_OK : ERR_STORE;
}

enum err store_unseal(struct store *store, struct span context, struct span sealed, struct buf *out)
{
    return store_unseal_with(store, store->seal_key, context, sealed, out);
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

#define CHECK_TEXT SPAN_LIT("privyseal")
#define CHECK_CONTEXT SPAN_LIT("meta/check")

enum err store_write_check(struct store *store, struct store_database *database)
{
    struct buf sealed;
    sqlite3_stmt *statement;
    buf_init(&sealed, 256);
    enum err err = store_seal(store, CHECK_CONTEXT, CHECK_TEXT, &sealed);
    if (!err)
        err = store_prepare(database, "INSERT INTO meta (name, value) VALUES ('check', ?)", &statement);
    if (!err) {
        store_bind_bytes(statement, 1, buf_span(&sealed));
        err = store_finish(database, statement, "write the check value");
    }
    buf_fini(&sealed);
    return err;
}

enum err store_read_check(struct store *store, struct store_database *database)
{
    struct buf plain;
    sqlite3_stmt *statement;
    enum err err = store_prepare(database, "SELECT value FROM meta WHERE name = 'check'", &statement);
    if (err)
        return err;
    buf_init(&plain, 256);
    err = store_err(database, sqlite3_step(statement), "read the check value");
    if (!err)
        err = store_unseal(store, CHECK_CONTEXT, store_column(statement, 0), &plain);
    if (!err && !span_is_equal(buf_span(&plain), CHECK_TEXT))
        err = ERR_STORE;
    store_release(statement);
    buf_fini(&plain);
    return err;
}

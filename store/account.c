/*
 * The accounts that are in memory: their ids, derived from the store's own key with HKDF (RFC 5869), their keys, and
 * the tags by which their rows are found.
 */
#include "store/store_internal.h"

#include "base/secret.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_INFO "privyseal/account/"

enum err store_derive(struct span secret, struct span info, void *out, size_t size)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret.ptr, secret.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info.ptr, info.len),
        OSSL_PARAM_construct_end(),
    };
    enum err err = !context ? ERR_MEMORY : EVP_KDF_derive(context, out, size, params) == 1 ? ERR_OK : ERR_STORE;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return err;
}

/* The id comes first; the rest are the keys of earlier versions. */
struct derived {
    uint8_t id[STORE_TAG_SIZE];
    struct store_keys keys;
};

static enum err derive(struct store *store, const char *name, struct derived *derived_out)
{
    const struct span secret = {(const char *)store->seal_key, STORE_KEY_SIZE};
    struct buf info;
    buf_init(&info, sizeof ACCOUNT_INFO + STORE_ACCOUNT_MAX);
    enum err err = buf_addf(&info, ACCOUNT_INFO "%s", name);
    if (!err)
        err = store_derive(secret, buf_span(&info), derived_out, sizeof *derived_out);
    buf_fini(&info);
    return err;
}

enum err store_account_derived(struct store *store, const char *name, struct store_keys *keys_out)
{
    struct derived derived;
    enum err err = derive(store, name, &derived);
    *keys_out = derived.keys;
    secret_wipe(&derived, sizeof derived);
    return err;
}

static EVP_MAC_CTX *new_tagger(const uint8_t key[STORE_KEY_SIZE])
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *tagger = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (tagger && EVP_MAC_init(tagger, key, STORE_KEY_SIZE, params) != 1) {
        EVP_MAC_CTX_free(tagger);
        return NULL;
    }
    return tagger;
}

/* The name and the id stay. */
static void close_account(struct store_account *account)
{
    EVP_MAC_CTX_free(account->tagger);
    account->tagger = NULL;
    secret_wipe(&account->keys, sizeof account->keys);
    account->is_read = account->is_open = account->is_unsaved = account->are_peers_counted = false;
}

enum err store_account_take(struct store_account *account, const struct store_keys *keys)
{
    EVP_MAC_CTX *tagger = new_tagger(keys->tag);
    if (!tagger)
        return ERR_MEMORY;
    EVP_MAC_CTX_free(account->tagger);
    account->tagger = tagger;
    account->keys = *keys;
    account->is_open = true;
    return ERR_OK;
}

static void account_free(struct store_account *account)
{
    close_account(account);
    free(account->name);
    free(account);
}

static enum err account_new(struct store *store, const char *name, struct store_account **account_out)
{
    struct derived derived;
    struct store_account *account = calloc(1, sizeof *account);
    *account_out = NULL;
    if (!account)
        return ERR_MEMORY;
    enum err err = derive(store, name, &derived);
    memcpy(account->id, derived.id, sizeof account->id);
    secret_wipe(&derived, sizeof derived);
    account->name = strdup(name);
    if (!err && !account->name)
        err = ERR_MEMORY;
    if (err)
        account_free(account);
    else
        *account_out = account;
    return err;
}

enum err store_account_named(struct store *store, const char *name, struct store_account **account_out)
{
    *account_out = NULL;
    for (size_t i = 0; i < store->accounts_len; i++)
        if (strcmp(store->accounts[i]->name, name) == 0) {
            *account_out = store->accounts[i];
            return ERR_OK;
        }
    if (strlen(name) > STORE_ACCOUNT_MAX || store->accounts_len == STORE_ACCOUNTS_MAX)
        return ERR_LIMIT;
    struct store_account **accounts = reallocarray(store->accounts, store->accounts_len + 1, sizeof *store->accounts);
    if (!accounts)
        return ERR_MEMORY;
    store->accounts = accounts;
    enum err err = account_new(store, name, account_out);
    if (!err)
        accounts[store->accounts_len++] = *account_out;
    return err;
}

enum err store_account(struct store *store, const char *name, struct store_account **account_out)
{
    enum err err = store_account_named(store, name, account_out);
    if (!err && !(*account_out)->is_read)
        err = store_account_read(store, *account_out);
    if (!err && !(*account_out)->is_open)
        err = ERR_KEY_LOCKED;
    return err;
}

void store_accounts_saved(struct store *store)
{
    for (size_t i = 0; i < store->accounts_len; i++)
        store->accounts[i]->is_unsaved = false;
}

void store_accounts_undone(struct store *store)
{
    for (size_t i = 0; i < store->accounts_len; i++) {
        store->accounts[i]->are_peers_counted = false;
        if (store->accounts[i]->is_unsaved)
            close_account(store->accounts[i]);
    }
}

void store_accounts_free(struct store *store)
{
    for (size_t i = 0; i < store->accounts_len; i++)
        account_free(store->accounts[i]);
    free(store->accounts);
    store->accounts = NULL;
    store->accounts_len = 0;
}

enum err store_account_tag(struct store_account *account, char kind, struct span text, uint8_t tag[STORE_TAG_SIZE])
{
    size_t size = 0;
    /* Without a key: the one it has goes on. */
    const bool is_good =
        EVP_MAC_init(account->tagger, NULL, 0, NULL) == 1 &&
        EVP_MAC_update(account->tagger, (const unsigned char *)&kind, 1) == 1 &&
        (text.len == 0 || EVP_MAC_update(account->tagger, (const unsigned char *)text.ptr, text.len) == 1) &&
        EVP_MAC_final(account->tagger, tag, &size, STORE_TAG_SIZE) == 1 && size == STORE_TAG_SIZE;
    return is_good ? ERR_OK : ERR_STORE;
}

struct store_row store_row(char kind, const uint8_t tag[STORE_TAG_SIZE], uint64_t number)
{
    struct store_row row;
    row.bytes[0] = kind;
    memcpy(row.bytes + 1, tag, STORE_TAG_SIZE);
    for (size_t i = 0; i < 8; i++)
        row.bytes[1 + STORE_TAG_SIZE + i] = (char)(number >> (56 - 8 * i));
    return row;
}

struct span store_row_span(const struct store_row *row)
{
    return (struct span){row->bytes, sizeof row->bytes};
}

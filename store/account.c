/*
 * The keys of an account, derived from the store's own with HKDF (RFC 5869), and the tags by which its rows are found.
 */
#include "store/store_internal.h"

#include "base/secret.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_INFO "privyseal/account/"

/* In the order in which they come out of the derivation. */
struct derived {
    uint8_t id[STORE_TAG_SIZE];
    uint8_t views_key[STORE_KEY_SIZE];
    uint8_t secrets_key[STORE_KEY_SIZE];
    uint8_t tag_key[STORE_KEY_SIZE];
};

static enum err derive(struct store *store, const char *name, struct derived *derived_out)
{
    char info[sizeof ACCOUNT_INFO + STORE_ACCOUNT_MAX];
    const size_t head = sizeof ACCOUNT_INFO - 1, len = strlen(name);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    memcpy(info, ACCOUNT_INFO, head);
    memcpy(info + head, name, len);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, store->seal_key, STORE_KEY_SIZE),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, head + len),
        OSSL_PARAM_construct_end(),
    };
    enum err err = !context ? ERR_MEMORY
                   : EVP_KDF_derive(context, (unsigned char *)derived_out, sizeof *derived_out, params) == 1
                       ? ERR_OK
                       : ERR_STORE;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
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

static void clear(struct store_account *account)
{
    EVP_MAC_CTX_free(account->tagger);
    free(account->name);
    secret_wipe(account, sizeof *account);
    *account = (struct store_account){.name = NULL};
}

static enum err fill(struct store *store, const char *name, struct store_account *account)
{
    struct derived derived;
    enum err err = derive(store, name, &derived);
    if (!err) {
        memcpy(account->id, derived.id, sizeof account->id);
        memcpy(account->views_key, derived.views_key, sizeof account->views_key);
        memcpy(account->secrets_key, derived.secrets_key, sizeof account->secrets_key);
        account->tagger = new_tagger(derived.tag_key);
        account->name = strdup(name);
        err = account->tagger && account->name ? ERR_OK : ERR_MEMORY;
    }
    secret_wipe(&derived, sizeof derived);
    if (err)
        clear(account);
    return err;
}

enum err store_account(struct store *store, const char *name, struct store_account **account_out)
{
    for (size_t i = 0; i < STORE_ACCOUNTS_KEPT; i++) {
        struct store_account *account = &store->accounts[i];
        if (account->name && strcmp(account->name, name) == 0) {
            *account_out = account;
            return ERR_OK;
        }
    }
    *account_out = NULL;
    if (strlen(name) > STORE_ACCOUNT_MAX)
        return ERR_LIMIT;
    struct store_account *account = &store->accounts[store->accounts_next];
    clear(account);
    enum err err = fill(store, name, account);
    if (err)
        return err;
    store->accounts_next = (store->accounts_next + 1) % STORE_ACCOUNTS_KEPT;
    *account_out = account;
    return ERR_OK;
}

void store_accounts_free(struct store *store)
{
    for (size_t i = 0; i < STORE_ACCOUNTS_KEPT; i++)
        clear(&store->accounts[i]);
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

/*
 * The vault's answers about what is submitted: delivery records, and whether it answers mail that came encrypted.
 */
#include "proxy/vault_internal.h"

#include "proxy/wire.h"
#include "store/encrypted.h"

#include <stdlib.h>
#include <string.h>

struct recipients {
    uint32_t len;
    char **addresses;
};

static enum err collect(const char *address, void *context)
{
    struct recipients *list = context;
    if (list->len >= CRYPTO_RECIPIENTS_MAX)
        return ERR_LIMIT;
    list->addresses[list->len] = strdup(address);
    if (list->addresses[list->len] == NULL)
        return ERR_MEMORY;
    list->len++;
    return ERR_OK;
}

enum err vault_delivery_get(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], message_id[CRYPTO_MESSAGE_ID_SIZE];
    struct store_delivery_key key;
    proxy_get_delivery(in, account, message_id, &key);
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    struct recipients list = {.addresses = calloc(CRYPTO_RECIPIENTS_MAX, sizeof(char *))};
    if (list.addresses == NULL)
        return ERR_MEMORY;
    err = store_delivery_get(store, &key, collect, &list);
    ipc_put_u32(&answer->out, list.len);
    for (uint32_t i = 0; i < list.len; i++) {
        ipc_put_string(&answer->out, list.addresses[i]);
        free(list.addresses[i]);
    }
    free(list.addresses);
    return err;
}

enum err vault_delivery_add(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], message_id[CRYPTO_MESSAGE_ID_SIZE];
    struct store_delivery_key key;
    proxy_get_delivery(in, account, message_id, &key);
    int64_t now = (int64_t)ipc_get_u64(in);
    uint32_t len = ipc_get_u32(in);
    if (len > CRYPTO_RECIPIENTS_MAX)
        return in->err = ERR_PEER_PROTOCOL;
    char(*addresses)[MIME_ADDR_SIZE] = calloc(len + 1u, sizeof(*addresses));
    const char **pointers = calloc(len + 1u, sizeof(*pointers));
    enum err err = addresses == NULL || pointers == NULL ? ERR_MEMORY : ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < len; i++) {
        ipc_get_string(in, addresses[i], sizeof(addresses[i]));
        pointers[i] = addresses[i];
    }
    if (err == ERR_OK)
        err = ipc_in_end(in);
    answer->is_changed = true;
    if (err == ERR_OK)
        err = store_delivery_add(store, &key, pointers, len, now);
    ipc_put_u32(&answer->out, 0);
    free(addresses);
    free(pointers);
    return err;
}

enum err vault_delivery_forget(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], message_id[CRYPTO_MESSAGE_ID_SIZE];
    struct store_delivery_key key;
    proxy_get_delivery(in, account, message_id, &key);
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    answer->is_changed = true;
    ipc_put_u32(&answer->out, 0);
    return store_delivery_forget(store, &key);
}

enum err vault_encrypted_find(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    bool is_found;
    ipc_get_string(in, account, sizeof(account));
    struct span ids = proxy_get_message_ids(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = store_encrypted_find(store, account, ids, &is_found);
    if (err == ERR_OK)
        ipc_put_u32(&answer->out, is_found);
    return err;
}

/*
 * The vault's answers about private keys of S/MIME: to a keeper those of its own account, one by one; to commands all
 * that they need to keep them in order. Net has no way here.
 */
#include "proxy/vault_internal.h"
#include "proxy/wire.h"
#include "store/private_key.h"

#include <string.h>

static enum err get_names(struct ipc_in *in, const struct vault_answer *answer, char account[MIME_ADDR_SIZE],
                          char fingerprint[STORE_FINGERPRINT_SIZE])
{
    enum err err = vault_get_account(in, answer, account);
    ipc_get_string(in, fingerprint, STORE_FINGERPRINT_SIZE);
    return err;
}

enum err vault_private_get(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], fingerprint[STORE_FINGERPRINT_SIZE];
    struct buf key;
    enum err err = get_names(in, answer, account, fingerprint);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    /* The keys of a new account are made. */
    answer->is_changed = true;
    buf_init_secret(&key, STORE_PRIVATE_KEY_MAX + 1);
    err = store_private_key_get(store, account, fingerprint, &key);
    if (err == ERR_OK)
        ipc_put_span(&answer->out, buf_span(&key));
    buf_fini(&key);
    return err;
}

enum err vault_private_put(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], fingerprint[STORE_FINGERPRINT_SIZE];
    enum err err = get_names(in, answer, account, fingerprint);
    const struct span key = ipc_get_span(in);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    answer->is_changed = true;
    return err == ERR_OK ? store_private_key_put(store, account, fingerprint, key) : err;
}

enum err vault_private_remove(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], fingerprint[STORE_FINGERPRINT_SIZE];
    enum err err = get_names(in, answer, account, fingerprint);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    answer->is_changed = true;
    if (err == ERR_OK)
        err = store_private_key_remove(store, account, fingerprint);
    if (err == ERR_OK)
        memcpy(answer->forgets, account, sizeof(answer->forgets));
    return err;
}

struct list {
    uint32_t len;
    char fingerprints[STORE_PRIVATE_KEYS_MAX][STORE_FINGERPRINT_SIZE];
};

static enum err add(const char *fingerprint, void *context)
{
    struct list *list = context;
    if (list->len == STORE_PRIVATE_KEYS_MAX)
        return ERR_LIMIT;
    (void)span_copy(span_of(fingerprint), list->fingerprints[list->len++], STORE_FINGERPRINT_SIZE);
    return ERR_OK;
}

enum err vault_private_list(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    static struct list list;
    char account[MIME_ADDR_SIZE];
    enum err err = vault_get_account(in, answer, account);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    list.len = 0;
    if (err == ERR_OK)
        err = store_private_key_list(store, account, add, &list);
    if (err != ERR_OK)
        return err;
    ipc_put_u32(&answer->out, list.len);
    for (uint32_t i = 0; i < list.len; i++)
        ipc_put_string(&answer->out, list.fingerprints[i]);
    return ERR_OK;
}

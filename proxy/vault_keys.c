/*
 * The vault's answers about the keys of accounts: to a keeper, of its own account alone, the keys themselves; to all,
 * how they are kept.
 */
#include "proxy/vault_internal.h"

#include "base/log.h"
#include "base/secret.h"
#include "proxy/wire.h"
#include "store/account.h"

#include <string.h>

enum err vault_get_account(struct ipc_in *in, const struct vault_answer *answer, char account[MIME_ADDR_SIZE])
{
    ipc_get_string(in, account, MIME_ADDR_SIZE);
    const bool may_ask = answer->is_command || (answer->account != NULL && strcmp(account, answer->account) == 0);
    if (in->err == ERR_OK && !may_ask)
        in->err = ERR_PEER_PROTOCOL;
    return in->err;
}

enum err vault_keys_get(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_kept kept;
    struct buf wrapped;
    enum err err = vault_get_account(in, answer, account);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err == ERR_OK)
        err = store_account_kept(store, account, &kept);
    if (err != ERR_OK)
        return err;
    buf_init(&wrapped, STORE_WRAPPED_MAX);
    if (!kept.is_open && kept.wrap == STORE_WRAP_OPENPGP)
        err = store_account_wrapped(store, account, &wrapped);
    proxy_put_kept(&answer->out, &kept);
    ipc_put_span(&answer->out, buf_span(&wrapped));
    buf_fini(&wrapped);
    return err;
}

enum err vault_keys_open(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    enum err err = vault_get_account(in, answer, account);
    const struct span keys = ipc_get_span(in);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    return err == ERR_OK ? store_account_open(store, account, keys) : err;
}

enum err vault_keys_take(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    uint8_t proof[STORE_PROOF_SIZE];
    struct buf keys;
    enum err err = vault_get_account(in, answer, account);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    /* Those of a new account are made. */
    answer->is_changed = true;
    buf_init_secret(&keys, STORE_KEYS_SIZE);
    err = store_account_keys(store, account, &keys);
    if (err == ERR_OK)
        err = store_account_proof(store, account, proof);
    if (err == ERR_OK) {
        ipc_put_span(&answer->out, buf_span(&keys));
        ipc_put_span(&answer->out, (struct span){(const char *)proof, sizeof(proof)});
    }
    buf_fini(&keys);
    return err;
}

/* While a person was asked for a passphrase the account may have been forgotten, and have others by now. */
static enum err check_same(struct store *store, const char *account, struct span taken)
{
    uint8_t proof[STORE_PROOF_SIZE];
    enum err err = store_account_proof(store, account, proof);
    if (err != ERR_OK)
        return err;
    return secret_is_equal(taken, (struct span){(const char *)proof, sizeof(proof)})
               ? ERR_OK
               : log_failure(ERR_STORE, "wrapped keys of %s, which has others by now", account);
}

enum err vault_keys_wrap(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], holder[STORE_HOLDER_SIZE];
    enum err err = vault_get_account(in, answer, account);
    ipc_get_string(in, holder, sizeof(holder));
    const struct span wrapped = ipc_get_span(in), proof = ipc_get_span(in);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    answer->is_changed = true;
    if (err == ERR_OK)
        err = check_same(store, account, proof);
    return err == ERR_OK ? store_account_wrap(store, account, holder, wrapped) : err;
}

/* A key that was made of a passphrase; of any other length it is malformed. NULL: none. */
static const uint8_t *get_seal(struct ipc_in *in)
{
    const struct span key = ipc_get_span(in);
    if (in->err == ERR_OK && key.len != 0 && key.len != STORE_SEAL_SIZE)
        in->err = ERR_PEER_PROTOCOL;
    return in->err == ERR_OK && key.len != 0 ? (const uint8_t *)key.ptr : NULL;
}

enum err vault_keys_unseal(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    enum err err = vault_get_account(in, answer, account);
    const uint8_t *key = get_seal(in);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err == ERR_OK && key == NULL)
        err = in->err = ERR_PEER_PROTOCOL;
    return err == ERR_OK ? store_account_unseal(store, account, key) : err;
}

enum err vault_store_passphrase(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], recipe[STORE_HOLDER_SIZE];
    ipc_get_string(in, account, sizeof(account));
    const uint8_t *old_key = get_seal(in);
    ipc_get_string(in, recipe, sizeof(recipe));
    const uint8_t *key = get_seal(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && (key == NULL) != (recipe[0] == '\0'))
        err = in->err = ERR_PEER_PROTOCOL;
    answer->is_changed = true;
    if (err == ERR_OK && old_key != NULL)
        err = store_account_unseal(store, account, old_key);
    if (err != ERR_OK)
        return err;
    return key == NULL ? store_account_drop_seal(store, account) : store_account_seal(store, account, recipe, key);
}

enum err vault_store_kept(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_kept kept;
    ipc_get_string(in, account, sizeof(account));
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = store_account_kept(store, account, &kept);
    if (err == ERR_OK)
        proxy_put_kept(&answer->out, &kept);
    return err;
}

/*
 * Private keys in the store as commands use them, and how the account's keys there are opened for it.
 */
#include "cli/vault.h"

#include "base/secret.h"
#include "crypto/passphrase.h"
#include "crypto/wrap.h"
#include "keyring/ask.h"

#include <stdio.h>

static enum err end(struct ipc_in *in)
{
    const enum err err = ipc_in_end(in);
    ipc_in_fini(in);
    return err;
}

/* How the keys are kept; `wrapped` gets the message if they are locked and wrapped. */
static enum err get_kept(const struct cli_vault *vault, const char *account, struct store_kept *kept,
                         struct buf *wrapped)
{
    struct ipc_out out;
    struct ipc_in in;
    if (vault->store) {
        enum err err = store_account_kept(vault->store, account, kept);
        if (!err && !kept->is_open && kept->wrap == STORE_WRAP_OPENPGP)
            err = store_account_wrapped(vault->store, account, wrapped);
        return err;
    }
    ipc_out_begin(&out, PROXY_KEYS_GET);
    ipc_put_string(&out, account);
    enum err err = cli_vault_ask(vault, &out, &in);
    if (err)
        return err;
    proxy_get_kept(&in, kept);
    err = buf_add_span(wrapped, ipc_get_span(&in));
    const enum err ended = end(&in);
    return err ? err : ended;
}

/* Hands in what opens the keys: the keys themselves, or what was made of a passphrase. */
static enum err hand_in(const struct cli_vault *vault, uint16_t type, const char *account, struct span secret)
{
    struct ipc_out out;
    struct ipc_in in;
    if (vault->store && type == PROXY_KEYS_OPEN)
        return store_account_open(vault->store, account, secret);
    if (vault->store)
        return store_account_unseal(vault->store, account, (const uint8_t *)secret.ptr);
    ipc_out_begin(&out, type);
    ipc_put_string(&out, account);
    ipc_put_span(&out, secret);
    enum err err = cli_vault_ask(vault, &out, &in);
    return err ? err : end(&in);
}

static enum err unwrap(const struct cli_vault *vault, struct keyring_gpg *gpg, const char *account, struct span wrapped)
{
    struct buf keys;
    buf_init_secret(&keys, CRYPTO_WRAP_SECRET_MAX);
    enum err err = crypto_unwrap(gpg, true, wrapped, &keys);
    if (!err)
        err = hand_in(vault, PROXY_KEYS_OPEN, account, buf_span(&keys));
    buf_fini(&keys);
    return err == ERR_DECRYPT ? ERR_KEY_LOCKED : err;
}

static enum err unseal(const struct cli_vault *vault, struct keyring_gpg *gpg, const char *account, const char *recipe)
{
    char description[MIME_ADDR_SIZE + 64];
    uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE];
    struct secret passphrase = {NULL, 0};
    (void)snprintf(description, sizeof description, "The passphrase under which privyseal keeps the keys of\n%s",
                   account);
    const struct keyring_question question = {.description = description, .prompt = "Passphrase"};
    enum err err = keyring_ask(gpg, &question, &passphrase);
    if (!err)
        err = crypto_passphrase_key(recipe, secret_span(&passphrase), key);
    if (!err)
        err = hand_in(vault, PROXY_KEYS_UNSEAL, account, (struct span){(const char *)key, sizeof key});
    secret_fini(&passphrase);
    secret_wipe(key, sizeof key);
    return err == ERR_DECRYPT ? ERR_KEY_LOCKED : err;
}

enum err cli_vault_unlock(struct cli_vault *vault, struct keyring_gpg *gpg, const char *account)
{
    struct store_kept kept;
    struct buf wrapped;
    buf_init(&wrapped, STORE_WRAPPED_MAX);
    enum err err = get_kept(vault, account, &kept, &wrapped);
    if (err == ERR_NOT_FOUND)
        err = ERR_OK; /* they are made when they are needed */
    else if (!err && !kept.is_open)
        err = kept.wrap == STORE_WRAP_OPENPGP      ? unwrap(vault, gpg, account, buf_span(&wrapped))
              : kept.wrap == STORE_WRAP_PASSPHRASE ? unseal(vault, gpg, account, kept.holder)
                                                   : ERR_KEY_LOCKED;
    buf_fini(&wrapped);
    return err;
}

static void begin(struct ipc_out *out, uint16_t type, const char *account, const char *fingerprint)
{
    ipc_out_begin(out, type);
    ipc_put_string(out, account);
    ipc_put_string(out, fingerprint);
}

enum err cli_vault_private_put(struct cli_vault *vault, const char *account, const char *fingerprint, struct span key)
{
    struct ipc_out out;
    struct ipc_in in;
    if (vault->store)
        return store_private_key_put(vault->store, account, fingerprint, key);
    begin(&out, PROXY_PRIVATE_PUT, account, fingerprint);
    ipc_put_span(&out, key);
    enum err err = cli_vault_ask(vault, &out, &in);
    return err ? err : end(&in);
}

enum err cli_vault_private_get(struct cli_vault *vault, const char *account, const char *fingerprint, struct buf *out)
{
    struct ipc_out request;
    struct ipc_in in;
    if (vault->store)
        return store_private_key_get(vault->store, account, fingerprint, out);
    begin(&request, PROXY_PRIVATE_GET, account, fingerprint);
    enum err err = cli_vault_ask(vault, &request, &in);
    if (err)
        return err;
    err = buf_add_span(out, ipc_get_span(&in));
    const enum err ended = end(&in);
    return err ? err : ended;
}

enum err cli_vault_private_remove(struct cli_vault *vault, const char *account, const char *fingerprint)
{
    struct ipc_out out;
    struct ipc_in in;
    if (vault->store)
        return store_private_key_remove(vault->store, account, fingerprint);
    begin(&out, PROXY_PRIVATE_REMOVE, account, fingerprint);
    enum err err = cli_vault_ask(vault, &out, &in);
    return err ? err : end(&in);
}

enum err cli_vault_private_list(struct cli_vault *vault, const char *account, store_fingerprint_fn fn, void *context)
{
    struct ipc_out out;
    struct ipc_in in;
    if (vault->store)
        return store_private_key_list(vault->store, account, fn, context);
    ipc_out_begin(&out, PROXY_PRIVATE_LIST);
    ipc_put_string(&out, account);
    enum err err = cli_vault_ask(vault, &out, &in);
    if (err)
        return err;
    const uint32_t len = ipc_get_u32(&in);
    for (uint32_t i = 0; !err && i < len && !in.err; i++) {
        char fingerprint[STORE_FINGERPRINT_SIZE];
        ipc_get_string(&in, fingerprint, sizeof fingerprint);
        err = in.err ? in.err : fn(fingerprint, context);
    }
    const enum err ended = end(&in);
    return err ? err : ended;
}

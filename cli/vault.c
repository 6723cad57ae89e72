#include "cli/vault.h"

#include "base/sandbox.h"
#include "proxy/vault_socket.h"
#include "proxy/wire.h"
#include "proxy/wire_view.h"
#include "store/encrypted.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* No command holds the store for long. */
#define BUSY_WAIT_MS 5000
#define BUSY_PAUSE_MS 20

/* A command that only looks must not make a store where there is none. */
static enum err look(const char *dir)
{
    char path[CONFIG_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/durable.sqlite", dir);
    if (access(path, F_OK) == 0)
        return ERR_OK;
    return errno == ENOENT ? ERR_NOT_FOUND : err_of_errno(errno);
}

static enum err open_alone(const struct config *config, bool is_confined, bool is_made, struct store **store_out)
{
    char dir[CONFIG_PATH_SIZE];
    if (!config_state_path(config, "store", dir))
        return ERR_CONFIG;
    enum err err = is_made ? ERR_OK : look(dir);
    if (err)
        return err;
    /* What root makes the configured user's vault could not open. */
    if (!is_confined && config->user[0] && geteuid() == 0)
        return ERR_REFUSED;
    if (is_confined) {
        const struct sandbox_options options = {.role = SANDBOX_VAULT, .writable_dirs = {dir}, .user = config->user};
        err = sandbox_enter(&options);
    }
    return err ? err : store_open(dir, store_out);
}

/* Other commands have the store for a moment, or the vault that has just started: whoever is not confined yet waits for
   that. */
static enum err open_or_wait(const struct config *config, bool is_confined, bool is_made, struct cli_vault *vault)
{
    const struct timespec pause = {0, (long)BUSY_PAUSE_MS * 1000000};
    enum err err = ERR_BUSY;
    for (int i = 0; err == ERR_BUSY && i < BUSY_WAIT_MS / BUSY_PAUSE_MS; i++) {
        if (i > 0)
            (void)nanosleep(&pause, NULL);
        *vault = (struct cli_vault){.socket = -1};
        err = proxy_vault_socket_connect(config, &vault->socket);
        if (err == ERR_NOT_FOUND)
            err = open_alone(config, is_confined, is_made, &vault->store);
        if (is_confined)
            return err;
    }
    return err;
}

enum err cli_vault_open(const struct config *config, bool is_confined, struct cli_vault *vault)
{
    return open_or_wait(config, is_confined, false, vault);
}

enum err cli_vault_open_to_keep(const struct config *config, struct cli_vault *vault)
{
    return open_or_wait(config, false, true, vault);
}

void cli_vault_close(struct cli_vault *vault)
{
    if (vault->socket >= 0)
        close(vault->socket);
    store_close(&vault->store);
    vault->socket = -1;
}

enum err cli_vault_ask(const struct cli_vault *vault, struct ipc_out *out, struct ipc_in *in)
{
    enum err err = ipc_send(vault->socket, out);
    if (!err)
        err = ipc_recv(vault->socket, in);
    if (err)
        return err == ERR_AGAIN ? ERR_TIMEOUT : err == ERR_END ? ERR_STORE : err;
    const uint32_t result = ipc_get_u32(in);
    if (ipc_type(in) != PROXY_VAULT_DONE || in->err || result >= ERR_COUNT)
        err = ERR_PEER_PROTOCOL;
    else
        err = (enum err)result;
    if (err)
        ipc_in_fini(in);
    return err;
}

/* A request that names an account and nothing else. */
static enum err ask(const struct cli_vault *vault, uint16_t type, const char *account, struct ipc_in *in)
{
    struct ipc_out out;
    ipc_out_begin(&out, type);
    ipc_put_string(&out, account);
    return cli_vault_ask(vault, &out, in);
}

static enum err end(struct ipc_in *in)
{
    const enum err err = ipc_in_end(in);
    ipc_in_fini(in);
    return err;
}

enum err cli_vault_find_encrypted(struct cli_vault *vault, const char *account, const struct crypto_message_ids *ids,
                                  bool *is_found_out)
{
    const struct span digests = crypto_message_ids_span(ids);
    struct ipc_out out;
    struct ipc_in in;
    if (vault->store)
        return store_encrypted_find(vault->store, account, digests, is_found_out);
    ipc_out_begin(&out, PROXY_ENCRYPTED_FIND);
    ipc_put_string(&out, account);
    ipc_put_span(&out, digests);
    enum err err = cli_vault_ask(vault, &out, &in);
    if (err)
        return err;
    *is_found_out = ipc_get_u32(&in) != 0;
    return end(&in);
}

enum err cli_vault_totals(struct cli_vault *vault, const char *account, struct store_totals *totals)
{
    struct ipc_in in;
    if (vault->store)
        return store_view_totals(vault->store, account, totals);
    enum err err = ask(vault, PROXY_STORE_TOTALS, account, &in);
    if (err)
        return err;
    proxy_get_totals(&in, totals);
    return end(&in);
}

/* `depth` as the wire has it. */
static enum err clear(const struct cli_vault *vault, const char *account, uint32_t depth)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, PROXY_STORE_CLEAR);
    ipc_put_string(&out, account);
    ipc_put_u32(&out, depth);
    enum err err = cli_vault_ask(vault, &out, &in);
    return err ? err : end(&in);
}

enum err cli_vault_clear(struct cli_vault *vault, const char *account)
{
    return vault->store ? store_view_clear(vault->store, account) : clear(vault, account, 0);
}

enum err cli_vault_forget(struct cli_vault *vault, const char *account, bool with_private_keys)
{
    return vault->store ? store_account_forget(vault->store, account, with_private_keys)
                        : clear(vault, account, with_private_keys ? 2 : 1);
}

enum err cli_vault_kept(struct cli_vault *vault, const char *account, struct store_kept *kept)
{
    struct ipc_in in;
    if (vault->store)
        return store_account_kept(vault->store, account, kept);
    enum err err = ask(vault, PROXY_STORE_KEPT, account, &in);
    if (err)
        return err;
    proxy_get_kept(&in, kept);
    return end(&in);
}

static enum err passphrase_alone(struct store *store, const char *account, const uint8_t *old_key, const char *recipe,
                                 const uint8_t *key)
{
    enum err err = old_key ? store_account_unseal(store, account, old_key) : ERR_OK;
    if (err)
        return err;
    return key ? store_account_seal(store, account, recipe, key) : store_account_drop_seal(store, account);
}

static struct span seal_span(const uint8_t *key)
{
    return (struct span){(const char *)key, key ? STORE_SEAL_SIZE : 0};
}

enum err cli_vault_passphrase(struct cli_vault *vault, const char *account, const uint8_t *old_key, const char *recipe,
                              const uint8_t *key)
{
    struct ipc_out out;
    struct ipc_in in;
    if (vault->store)
        return passphrase_alone(vault->store, account, old_key, recipe, key);
    ipc_out_begin(&out, PROXY_STORE_PASSPHRASE);
    ipc_put_string(&out, account);
    ipc_put_span(&out, seal_span(old_key));
    ipc_put_string(&out, recipe);
    ipc_put_span(&out, seal_span(key));
    enum err err = cli_vault_ask(vault, &out, &in);
    return err ? err : end(&in);
}

enum err cli_vault_reopen(struct cli_vault *vault, const char *account, uint64_t *messages_out)
{
    struct ipc_in in;
    if (vault->store)
        return store_view_reopen(vault->store, account, messages_out);
    enum err err = ask(vault, PROXY_STORE_REOPEN, account, &in);
    if (err)
        return err;
    *messages_out = ipc_get_u64(&in);
    return end(&in);
}

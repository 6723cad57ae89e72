#include "proxy/vault.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "proxy/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VAULT_CLIENTS_MAX 16
#define VAULT_EXPIRE_EVERY_S 3600

struct vault {
    struct store *store;
    struct pollfd sockets[1 + VAULT_CLIENTS_MAX]; /* [0] is the master's */
    nfds_t sockets_len;
    int64_t expired_at;
};

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

static void put_answer(struct ipc_out *out, enum err result, const struct recipients *list)
{
    ipc_out_begin(out, PROXY_VAULT_DONE);
    ipc_put_u32(out, (uint32_t)result);
    if (result == ERR_OK)
        ipc_put_u32(out, list == NULL ? 0 : list->len);
    for (uint32_t i = 0; list != NULL && i < list->len; i++)
        ipc_put_string(out, list->addresses[i]);
}

static enum err answer(int client, enum err result, const struct recipients *list)
{
    struct ipc_out out;
    put_answer(&out, result, list);
    if (out.err != ERR_OK) {
        /* More than fits into a message: a failure of this one, not of the client. */
        ipc_out_fini(&out);
        put_answer(&out, ERR_STORE, NULL);
    }
    return ipc_send(client, &out);
}

static enum err delivery_get(struct vault *vault, int client, struct ipc_in *in)
{
    char account[MIME_ADDR_SIZE], message_id[CRYPTO_MESSAGE_ID_SIZE];
    struct store_delivery_key key;
    proxy_get_delivery(in, account, message_id, &key);
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    struct recipients list = {.addresses = calloc(CRYPTO_RECIPIENTS_MAX, sizeof(char *))};
    if (list.addresses == NULL)
        return answer(client, ERR_MEMORY, NULL);
    err = store_delivery_get(vault->store, &key, collect, &list);
    err = answer(client, err, err == ERR_OK ? &list : NULL);
    for (uint32_t i = 0; i < list.len; i++)
        free(list.addresses[i]);
    free(list.addresses);
    return err;
}

static enum err delivery_add(struct vault *vault, int client, struct ipc_in *in)
{
    char account[MIME_ADDR_SIZE], message_id[CRYPTO_MESSAGE_ID_SIZE];
    struct store_delivery_key key;
    proxy_get_delivery(in, account, message_id, &key);
    int64_t now = (int64_t)ipc_get_u64(in);
    uint32_t len = ipc_get_u32(in);
    if (len > CRYPTO_RECIPIENTS_MAX)
        return ERR_PEER_PROTOCOL;
    char(*addresses)[MIME_ADDR_SIZE] = calloc(len + 1u, sizeof(*addresses));
    const char **pointers = calloc(len + 1u, sizeof(*pointers));
    enum err err = addresses == NULL || pointers == NULL ? ERR_MEMORY : ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < len; i++) {
        ipc_get_string(in, addresses[i], sizeof(addresses[i]));
        pointers[i] = addresses[i];
    }
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err == ERR_OK)
        err = answer(client, store_delivery_add(vault->store, &key, pointers, len, now), NULL);
    free(addresses);
    free(pointers);
    return err;
}

static enum err delivery_forget(struct vault *vault, int client, struct ipc_in *in)
{
    char account[MIME_ADDR_SIZE], message_id[CRYPTO_MESSAGE_ID_SIZE];
    struct store_delivery_key key;
    proxy_get_delivery(in, account, message_id, &key);
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    return answer(client, store_delivery_forget(vault->store, &key), NULL);
}

/* One request of a net process. An error ends that client, not the vault. */
static enum err serve_client(struct vault *vault, int client)
{
    struct ipc_in in;
    enum err err = ipc_recv(client, &in);
    if (err != ERR_OK)
        return err;
    switch (ipc_type(&in)) {
    case PROXY_DELIVERY_GET:
        err = delivery_get(vault, client, &in);
        break;
    case PROXY_DELIVERY_ADD:
        err = delivery_add(vault, client, &in);
        break;
    case PROXY_DELIVERY_FORGET:
        err = delivery_forget(vault, client, &in);
        break;
    default:
        err = ERR_PEER_PROTOCOL;
    }
    ipc_in_fini(&in);
    return err;
}

static enum err take_client(struct vault *vault)
{
    struct ipc_in in;
    enum err err = ipc_recv(vault->sockets[0].fd, &in);
    if (err != ERR_OK)
        return err;
    int client = ipc_type(&in) == PROXY_VAULT_CLIENT ? ipc_get_file(&in) : -1;
    err = client < 0 ? ERR_PEER_PROTOCOL : ipc_in_end(&in);
    ipc_in_fini(&in);
    if (err == ERR_OK && vault->sockets_len == 1 + VAULT_CLIENTS_MAX) {
        log_warning("too many clients");
        close(client);
        return ERR_OK;
    }
    if (err == ERR_OK)
        vault->sockets[vault->sockets_len++] = (struct pollfd){.fd = client, .events = POLLIN};
    else if (client >= 0)
        close(client);
    return err;
}

static void serve_clients(struct vault *vault)
{
    for (nfds_t i = vault->sockets_len; i-- > 1;) {
        if (vault->sockets[i].revents == 0)
            continue;
        enum err err = serve_client(vault, vault->sockets[i].fd);
        if (err == ERR_OK)
            continue;
        if (err != ERR_END)
            log_failure(err, "request of a client");
        close(vault->sockets[i].fd);
        vault->sockets[i] = vault->sockets[--vault->sockets_len];
    }
}

static void expire(struct vault *vault)
{
    int64_t now = clock_now();
    if (vault->expired_at != 0 && now - vault->expired_at < VAULT_EXPIRE_EVERY_S)
        return;
    vault->expired_at = now;
    enum err err = store_delivery_expire(vault->store, now);
    if (err != ERR_OK)
        log_failure(err, "dropping old delivery records");
}

static enum err serve(struct vault *vault)
{
    for (;;) {
        expire(vault);
        if (poll(vault->sockets, vault->sockets_len, VAULT_EXPIRE_EVERY_S * 1000) < 0) {
            if (errno == EINTR)
                continue;
            return err_of_errno(errno);
        }
        serve_clients(vault);
        if (vault->sockets[0].revents != 0) {
            enum err err = take_client(vault);
            if (err != ERR_OK)
                return err;
        }
    }
}

int proxy_vault_main(const struct config *config, int control)
{
    struct vault vault = {.sockets = {{.fd = control, .events = POLLIN}}, .sockets_len = 1};
    char dir[CONFIG_PATH_SIZE];
    log_init("vault", config->log_level);
    /* Net processes that drain still need it; it ends when the master closes its socket. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the request */
    enum err err = config_state_path(config, "store", dir) ? ERR_OK : ERR_CONFIG;
    if (err == ERR_OK) {
        struct sandbox_options options = {.role = SANDBOX_VAULT, .writable_dirs = {dir}, .user = config->user};
        err = sandbox_enter(&options);
    }
    if (err == ERR_OK)
        err = store_open(dir, &vault.store);
    if (err == ERR_OK)
        err = serve(&vault);
    store_close(&vault.store);
    if (err == ERR_END)
        return 0;
    log_failure(err, "vault");
    return 3;
}

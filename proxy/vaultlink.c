#include "proxy/vaultlink.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

struct request {
    STAILQ_ENTRY(request) link;
    proxy_vault_fn fn;
    void *context;
};

struct proxy_vaultlink {
    struct event_base *base;
    int socket; /* -1: no vault at the moment */
    struct event *readable;
    STAILQ_HEAD(, request) open; /* in the order in which the vault answers */
};

static void finish_first(struct proxy_vaultlink *link, enum err err, const char *const *addresses, size_t len)
{
    struct request *request = STAILQ_FIRST(&link->open);
    STAILQ_REMOVE_HEAD(&link->open, link);
    if (request->fn != NULL)
        request->fn(err, addresses, len, request->context);
    else if (err != ERR_OK)
        log_failure(err, "delivery record");
    free(request);
}

static void disconnect(struct proxy_vaultlink *link)
{
    if (link->readable != NULL)
        event_free(link->readable);
    link->readable = NULL;
    if (link->socket >= 0)
        close(link->socket);
    link->socket = -1;
    while (!STAILQ_EMPTY(&link->open))
        finish_first(link, ERR_STORE, NULL, 0);
}

/* Reads one answer; ERR_PEER_PROTOCOL if it is none. */
static enum err take_answer(struct proxy_vaultlink *link, struct ipc_in *in)
{
    uint32_t code = ipc_get_u32(in);
    uint32_t len = ipc_get_u32(in);
    if (STAILQ_EMPTY(&link->open) || ipc_type(in) != PROXY_VAULT_DONE || code >= ERR_COUNT ||
        len > CRYPTO_RECIPIENTS_MAX)
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
        finish_first(link, (enum err)code, pointers, len);
    free(addresses);
    free(pointers);
    return err;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct proxy_vaultlink *link = context;
    struct ipc_in in;
    (void)what;
    enum err err = ipc_recv(fd, &in);
    if (err == ERR_AGAIN)
        return;
    if (err == ERR_OK) {
        err = take_answer(link, &in);
        ipc_in_fini(&in);
    }
    if (err == ERR_OK)
        return;
    log_failure(err, "the vault");
    disconnect(link);
}

void proxy_vaultlink_connect(struct proxy_vaultlink *link, int socket)
{
    disconnect(link);
    link->socket = socket;
    link->readable = event_new(link->base, socket, EV_READ | EV_PERSIST, on_readable, link);
    if (link->readable == NULL || event_add(link->readable, NULL) != 0)
        disconnect(link);
}

static enum err submit(struct proxy_vaultlink *link, struct ipc_out *out, proxy_vault_fn fn, void *context)
{
    struct request *request = link->socket < 0 ? NULL : calloc(1, sizeof(*request));
    if (request == NULL) {
        ipc_out_fini(out);
        return link->socket < 0 ? ERR_STORE : ERR_MEMORY;
    }
    enum err err = ipc_send(link->socket, out);
    if (err != ERR_OK) {
        free(request);
        return log_failure(ERR_STORE, "asking the vault (%s)", err_name(err));
    }
    *request = (struct request){.fn = fn, .context = context};
    STAILQ_INSERT_TAIL(&link->open, request, link);
    return ERR_OK;
}

enum err proxy_vault_get(struct proxy_vaultlink *link, const struct store_delivery_key *key, proxy_vault_fn fn,
                         void *context)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_DELIVERY_GET);
    proxy_put_delivery(&out, key);
    return submit(link, &out, fn, context);
}

enum err proxy_vault_add(struct proxy_vaultlink *link, const struct store_delivery_key *key,
                         const char *const *addresses, size_t addresses_len, proxy_vault_fn fn, void *context)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_DELIVERY_ADD);
    proxy_put_delivery(&out, key);
    ipc_put_u64(&out, (uint64_t)clock_now());
    ipc_put_u32(&out, (uint32_t)addresses_len);
    for (size_t i = 0; i < addresses_len; i++)
        ipc_put_string(&out, addresses[i]);
    return submit(link, &out, fn, context);
}

enum err proxy_vault_forget(struct proxy_vaultlink *link, const struct store_delivery_key *key)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_DELIVERY_FORGET);
    proxy_put_delivery(&out, key);
    return submit(link, &out, NULL, NULL);
}

enum err proxy_vaultlink_new(struct event_base *base, struct proxy_vaultlink **link_out)
{
    struct proxy_vaultlink *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return ERR_MEMORY;
    *link = (struct proxy_vaultlink){.base = base, .socket = -1};
    STAILQ_INIT(&link->open);
    *link_out = link;
    return ERR_OK;
}

void proxy_vaultlink_free(struct proxy_vaultlink **link_pointer)
{
    struct proxy_vaultlink *link = *link_pointer;
    struct request *request;
    *link_pointer = NULL;
    if (link == NULL)
        return;
    while ((request = STAILQ_FIRST(&link->open)) != NULL) {
        STAILQ_REMOVE_HEAD(&link->open, link);
        free(request);
    }
    disconnect(link);
    free(link);
}

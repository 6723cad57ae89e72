/*
 * What is asked of the vault about a submission: delivery records, and whether it answers mail that came encrypted.
 */
#include "proxy/vaultlink_internal.h"

#include "base/clock.h"
#include "proxy/wire.h"

#include <stdlib.h>

/* err, recipients u32, each: only a get gives any. */
static void on_recipients(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    uint32_t len = err == ERR_OK ? ipc_get_u32(answer) : 0;
    if (len > CRYPTO_RECIPIENTS_MAX) {
        answer->err = ERR_PEER_PROTOCOL;
        len = 0;
    }
    char(*addresses)[MIME_ADDR_SIZE] = calloc(len + 1u, sizeof(*addresses));
    const char **pointers = calloc(len + 1u, sizeof(*pointers));
    if (err == ERR_OK && (addresses == NULL || pointers == NULL)) {
        /* What is left unread would end the line, for want of memory here. */
        err = ERR_MEMORY;
        while (len-- > 0)
            (void)ipc_get_span(answer);
        len = 0;
    }
    for (uint32_t i = 0; err == ERR_OK && i < len; i++) {
        ipc_get_string(answer, addresses[i], sizeof(addresses[i]));
        pointers[i] = addresses[i];
    }
    if (err == ERR_OK && ipc_in_end(answer) != ERR_OK)
        err = ERR_STORE;
    typed->fn.recipients(err, pointers, err == ERR_OK ? len : 0, typed->context);
    free(addresses);
    free(pointers);
}

static enum err ask(struct proxy_vaultlink *link, struct ipc_out *out, proxy_vault_fn fn, void *context)
{
    const struct proxy_vault_typed typed = {.fn.recipients = fn, .context = context};
    return proxy_vault_ask_typed(link, out, fn == NULL ? NULL : on_recipients, &typed, NULL);
}

enum err proxy_vault_get(struct proxy_vaultlink *link, const struct store_delivery_key *key, proxy_vault_fn fn,
                         void *context)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_DELIVERY_GET);
    proxy_put_delivery(&out, key);
    return ask(link, &out, fn, context);
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
    return ask(link, &out, fn, context);
}

enum err proxy_vault_forget(struct proxy_vaultlink *link, const struct store_delivery_key *key)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_DELIVERY_FORGET);
    proxy_put_delivery(&out, key);
    return ask(link, &out, NULL, NULL);
}

static void on_found(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    uint32_t is_found = err == ERR_OK ? ipc_get_u32(answer) : 0;
    if (err == ERR_OK && (is_found > 1 || ipc_in_end(answer) != ERR_OK)) {
        answer->err = ERR_PEER_PROTOCOL;
        err = ERR_STORE;
    }
    typed->fn.found(err, is_found != 0, typed->context);
}

enum err proxy_vault_find_encrypted(struct proxy_vaultlink *link, const char *account,
                                    const struct crypto_message_ids *ids, proxy_vault_found_fn fn, void *context,
                                    struct proxy_vault_request **request_out)
{
    const struct proxy_vault_typed typed = {.fn.found = fn, .context = context};
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_ENCRYPTED_FIND);
    ipc_put_string(&out, account);
    ipc_put_span(&out, crypto_message_ids_span(ids));
    return proxy_vault_ask_typed(link, &out, on_found, &typed, request_out);
}

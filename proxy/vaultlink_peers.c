/*
 * What is told to the vault, and asked of it, about correspondents.
 */
#include "proxy/vaultlink_internal.h"

#include "base/memfd.h"
#include "proxy/wire.h"
#include "proxy/wire_view.h"

#include <string.h>

/* So many recipients fit into a message, whatever their addresses. */
#define SENT_MAX 200u
_Static_assert(SENT_MAX *(MIME_ADDR_SIZE + KEYRING_FPR_SIZE + 16) + MIME_ADDR_SIZE + 64 <= IPC_SIZE_MAX,
               "what was sent fits into a message");

static void begin(struct ipc_out *out, uint16_t type, const char *account)
{
    ipc_out_begin(out, type);
    ipc_put_string(out, account);
}

static void on_peer(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    struct span saved = SPAN_NONE;
    struct keyring_peer peer;
    if (err == ERR_OK)
        saved = proxy_get_content(answer, KEYRING_PEER_SAVED_MAX);
    if (err == ERR_OK && ipc_in_end(answer) != ERR_OK)
        err = ERR_STORE;
    if (err == ERR_OK)
        err = keyring_peer_load(saved, &peer);
    memfd_unmap(&saved);
    typed->fn.peer(err, err == ERR_OK ? &peer : NULL, typed->context);
    if (err == ERR_OK)
        keyring_peer_fini(&peer);
}

enum err proxy_vault_peer_get(struct proxy_vaultlink *link, const char *account, const char *address,
                              proxy_vault_peer_fn fn, void *context, struct proxy_vault_request **request_out)
{
    const struct proxy_vault_typed typed = {.fn.peer = fn, .context = context};
    struct ipc_out out;
    begin(&out, PROXY_PEER_GET, account);
    ipc_put_string(&out, address);
    return proxy_vault_ask_typed(link, &out, on_peer, &typed, request_out);
}

/* Whether words have changed is told apart (proxy_vaultlink_on_words). */
static void on_changed(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    const uint32_t is_changed = err == ERR_OK ? ipc_get_u32(answer) : 0;
    if (err == ERR_OK && (is_changed > 1 || ipc_in_end(answer) != ERR_OK)) {
        answer->err = ERR_PEER_PROTOCOL;
        err = ERR_STORE;
    }
    typed->fn.done(err, typed->context);
}

static enum err ask_changed(struct proxy_vaultlink *link, struct ipc_out *out, proxy_vault_done_fn fn, void *context,
                            struct proxy_vault_request **request_out)
{
    const struct proxy_vault_typed typed = {.fn.done = fn, .context = context};
    return proxy_vault_ask_typed(link, out, fn == NULL ? NULL : on_changed, &typed, request_out);
}

enum err proxy_vault_peer_hear(struct proxy_vaultlink *link, const char *account, struct span words,
                               proxy_vault_done_fn fn, void *context, struct proxy_vault_request **request_out)
{
    struct ipc_out out;
    begin(&out, PROXY_PEER_HEAR, account);
    ipc_put_span(&out, words);
    return ask_changed(link, &out, fn, context, request_out);
}

enum err proxy_vault_peer_received(struct proxy_vaultlink *link, const char *account, int heard, proxy_vault_done_fn fn,
                                   void *context, struct proxy_vault_request **request_out)
{
    struct ipc_out out;
    begin(&out, PROXY_PEER_RECEIVED, account);
    ipc_put_file(&out, heard);
    return ask_changed(link, &out, fn, context, request_out);
}

static void on_due(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    struct proxy_peer_due due = {.used = 0};
    if (err == ERR_OK) {
        due.used = ipc_get_u32(answer);
        due.due = (int64_t)ipc_get_u64(answer);
        ipc_get_string(answer, due.address, sizeof(due.address));
        ipc_get_string(answer, due.fingerprint, sizeof(due.fingerprint));
        ipc_get_string(answer, due.certificate, sizeof(due.certificate));
        if (ipc_in_end(answer) != ERR_OK)
            err = ERR_STORE;
    }
    typed->fn.due(err, err == ERR_OK ? &due : NULL, typed->context);
}

enum err proxy_vault_peer_due(struct proxy_vaultlink *link, const char *account, int64_t now, uint32_t period_s,
                              proxy_vault_due_fn fn, void *context, struct proxy_vault_request **request_out)
{
    const struct proxy_vault_typed typed = {.fn.due = fn, .context = context};
    struct ipc_out out;
    begin(&out, PROXY_PEER_DUE, account);
    ipc_put_u64(&out, (uint64_t)now);
    ipc_put_u32(&out, period_s);
    return proxy_vault_ask_typed(link, &out, on_due, &typed, request_out);
}

enum err proxy_vault_peer_refreshed(struct proxy_vaultlink *link, const char *account, const char *address, int64_t at)
{
    const struct proxy_vault_typed typed = {.context = NULL};
    struct ipc_out out;
    begin(&out, PROXY_PEER_REFRESHED, account);
    ipc_put_string(&out, address);
    ipc_put_u64(&out, (uint64_t)at);
    return proxy_vault_ask_typed(link, &out, NULL, &typed, NULL);
}

enum err proxy_vault_peer_sent(struct proxy_vaultlink *link, const char *account, int64_t at,
                               enum keyring_format format, const struct proxy_vault_sent *sent, size_t len)
{
    const struct proxy_vault_typed typed = {.context = NULL};
    enum err err = ERR_OK;
    for (size_t from = 0; err == ERR_OK && from < len; from += SENT_MAX) {
        const size_t count = len - from < SENT_MAX ? len - from : SENT_MAX;
        struct ipc_out out;
        begin(&out, PROXY_PEER_SENT, account);
        ipc_put_u64(&out, (uint64_t)at);
        ipc_put_u32(&out, format);
        ipc_put_u32(&out, (uint32_t)count);
        for (size_t i = from; i < from + count; i++) {
            ipc_put_string(&out, sent[i].address);
            ipc_put_string(&out, sent[i].fingerprint);
        }
        err = proxy_vault_ask_typed(link, &out, NULL, &typed, NULL);
    }
    return err;
}

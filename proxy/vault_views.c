#include "proxy/vault_views.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "proxy/vaultlink_internal.h"
#include "proxy/wire_view.h"

#include <stdlib.h>
#include <unistd.h>

/* Whoever asked hears of a malformed answer as of a vault that failed; the link sees it in the answer itself. */
static enum err end_answer(enum err err, struct ipc_in *answer)
{
    if (err == ERR_OK && ipc_in_end(answer) != ERR_OK)
        return ERR_STORE;
    return err;
}

/* What a file held was malformed, or there was no memory to read it; the answer itself is then at its end. */
static enum err note(struct ipc_in *answer, enum err err)
{
    if (err == ERR_PEER_PROTOCOL)
        answer->err = err;
    return err == ERR_PEER_PROTOCOL ? ERR_STORE : err;
}

static void on_done(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    typed->fn.done(end_answer(err, answer), typed->context);
}

static enum err ask_done(struct proxy_vaultlink *link, struct ipc_out *out, const char *account, proxy_vault_done_fn fn,
                         void *context, struct proxy_vault_request **request_out)
{
    const struct proxy_vault_typed typed = {.fn.done = fn, .context = context, .account = account};
    return proxy_vault_ask_typed(link, out, fn == NULL ? NULL : on_done, &typed, request_out);
}

static void on_views(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    struct proxy_vault_found *views = NULL;
    size_t len = 0;
    struct span content = err == ERR_OK ? proxy_get_content(answer, PROXY_VIEWS_SIZE_MAX) : SPAN_NONE;
    err = end_answer(err, answer);
    if (err == ERR_OK)
        err = note(answer, proxy_read_views(content, typed->len, &views, &len));
    typed->fn.views(err, views, len, typed->context);
    free(views);
    memfd_unmap(&content);
}

/* Asks with keys, which are all of one account. */
static enum err ask_keys(struct proxy_vaultlink *link, uint16_t type, const struct store_view_key *keys, size_t len,
                         proxy_vault_answer_fn fn, struct proxy_vault_typed *typed,
                         struct proxy_vault_request **request_out)
{
    struct ipc_out out;
    struct buf content;
    int fd;
    if (len == 0)
        return ERR_INTERNAL;
    typed->account = keys[0].account;
    buf_init(&content, PROXY_KEYS_SIZE_MAX);
    enum err err = proxy_write_keys(keys, len, &content);
    ipc_out_begin(&out, type);
    ipc_put_string(&out, keys[0].account);
    proxy_put_content(&out, "keys", buf_span(&content), &fd);
    if (err != ERR_OK)
        out.err = err;
    err = proxy_vault_ask_typed(link, &out, fn, typed, request_out);
    if (fd >= 0)
        close(fd);
    buf_fini(&content);
    return err;
}

enum err proxy_vault_views_get(struct proxy_vaultlink *link, const struct store_view_key *keys, size_t len,
                               proxy_vault_views_fn fn, void *context, struct proxy_vault_request **request_out)
{
    struct proxy_vault_typed typed = {.fn.views = fn, .context = context, .len = len};
    return ask_keys(link, PROXY_VIEW_GET, keys, len, on_views, &typed, request_out);
}

enum err proxy_vault_view_put(struct proxy_vaultlink *link, const struct store_view_key *key,
                              const struct proxy_open_answer *opened, int record, int text, proxy_vault_done_fn fn,
                              void *context, struct proxy_vault_request **request_out)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_VIEW_PUT);
    proxy_put_view_key(&out, key);
    ipc_put_u64(&out, (uint64_t)clock_now());
    ipc_put_span(&out, opened->decision);
    ipc_put_span(&out, opened->session_keys);
    ipc_put_span(&out, opened->encrypted_ids);
    ipc_put_file(&out, record);
    ipc_put_file(&out, text);
    return ask_done(link, &out, key->account, fn, context, request_out);
}

static void on_generation(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    uint32_t generation = err == ERR_OK ? ipc_get_u32(answer) : 0;
    typed->fn.generation(end_answer(err, answer), generation, typed->context);
}

enum err proxy_vault_view_generation(struct proxy_vaultlink *link, const char *account,
                                     const uint8_t digest[STORE_DIGEST_SIZE], proxy_vault_generation_fn fn,
                                     void *context, struct proxy_vault_request **request_out)
{
    const struct proxy_vault_typed typed = {.fn.generation = fn, .context = context, .account = account};
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_VIEW_GENERATION);
    ipc_put_string(&out, account);
    ipc_put_span(&out, (struct span){(const char *)digest, STORE_DIGEST_SIZE});
    return proxy_vault_ask_typed(link, &out, on_generation, &typed, request_out);
}

static void on_search(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    uint32_t missing = err == ERR_OK ? ipc_get_u32(answer) : UINT32_MAX;
    struct span bits = err == ERR_OK ? proxy_get_content(answer, PROXY_BITS_SIZE_MAX) : SPAN_NONE;
    err = end_answer(err, answer);
    bool has_missing = missing != UINT32_MAX;
    if (err == ERR_OK && (has_missing ? missing >= typed->len || bits.len > 0 : bits.len != typed->bytes_len))
        err = note(answer, ERR_PEER_PROTOCOL);
    if (err == ERR_OK && has_missing)
        err = ERR_NOT_FOUND;
    typed->fn.search(err, err == ERR_OK ? (const uint8_t *)bits.ptr : NULL, missing, typed->context);
    memfd_unmap(&bits);
}

enum err proxy_vault_view_search(struct proxy_vaultlink *link, const struct store_view_key *keys, size_t len,
                                 const struct mime_text_leaf *leaves, size_t leaves_len, proxy_vault_search_fn fn,
                                 void *context, struct proxy_vault_request **request_out)
{
    struct proxy_vault_typed typed = {
        .fn.search = fn, .context = context, .len = len, .bytes_len = leaves_len * ((len + 7) / 8)};
    struct ipc_out out;
    struct buf keys_content, leaves_content;
    int keys_fd, leaves_fd;
    if (len == 0)
        return ERR_INTERNAL;
    typed.account = keys[0].account;
    buf_init(&keys_content, PROXY_KEYS_SIZE_MAX);
    buf_init(&leaves_content, PROXY_LEAVES_SIZE_MAX);
    enum err err = proxy_write_keys(keys, len, &keys_content);
    if (err == ERR_OK)
        err = proxy_write_leaves(leaves, leaves_len, &leaves_content);
    ipc_out_begin(&out, PROXY_VIEW_SEARCH);
    ipc_put_string(&out, keys[0].account);
    proxy_put_content(&out, "keys", buf_span(&keys_content), &keys_fd);
    proxy_put_content(&out, "leaves", buf_span(&leaves_content), &leaves_fd);
    if (err != ERR_OK)
        out.err = err;
    err = proxy_vault_ask_typed(link, &out, on_search, &typed, request_out);
    if (keys_fd >= 0)
        close(keys_fd);
    if (leaves_fd >= 0)
        close(leaves_fd);
    buf_fini(&keys_content);
    buf_fini(&leaves_content);
    return err;
}

static void on_places(enum err err, struct ipc_in *answer, void *context)
{
    const struct proxy_vault_typed *typed = context;
    struct store_place *places = NULL;
    size_t len = 0;
    struct span content = err == ERR_OK ? proxy_get_content(answer, PROXY_PLACES_SIZE_MAX) : SPAN_NONE;
    err = end_answer(err, answer);
    if (err == ERR_OK)
        err = note(answer, proxy_read_places(content, &places, &len));
    memfd_unmap(&content);
    typed->fn.places(err, places, len, typed->context);
    free(places);
}

enum err proxy_vault_places_get(struct proxy_vaultlink *link, const struct store_mailbox *mailbox,
                                proxy_vault_places_fn fn, void *context, struct proxy_vault_request **request_out)
{
    const struct proxy_vault_typed typed = {.fn.places = fn, .context = context, .account = mailbox->account};
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_PLACES_GET);
    proxy_put_mailbox(&out, mailbox);
    return proxy_vault_ask_typed(link, &out, on_places, &typed, request_out);
}

/* Asks with a mailbox and a file; `err` is what making the content came to. */
static enum err ask_with(struct proxy_vaultlink *link, uint16_t type, const struct store_mailbox *mailbox,
                         struct span content, enum err err, proxy_vault_done_fn fn, void *context,
                         struct proxy_vault_request **request_out)
{
    struct ipc_out out;
    int fd = -1;
    ipc_out_begin(&out, type);
    proxy_put_mailbox(&out, mailbox);
    if (err != ERR_OK)
        out.err = err;
    proxy_put_content(&out, "places", content, &fd);
    err = ask_done(link, &out, mailbox->account, fn, context, request_out);
    if (fd >= 0)
        close(fd);
    return err;
}

/* By UID, then as they came. */
static int compare_places(const void *a, const void *b)
{
    const struct store_place *left = *(const struct store_place *const *)a;
    const struct store_place *right = *(const struct store_place *const *)b;
    if (left->uid != right->uid)
        return left->uid < right->uid ? -1 : 1;
    return left < right ? -1 : left > right;
}

/* The caller's order is its own; the file's is ascending, and of two for one UID the later counts. */
static enum err sorted_places(const struct store_place *places, size_t len, struct buf *out)
{
    const struct store_place **sorted = calloc(len + 1, sizeof(*sorted));
    enum err err = sorted == NULL ? ERR_MEMORY : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        sorted[i] = &places[i];
    if (err == ERR_OK)
        qsort(sorted, len, sizeof(const struct store_place *), compare_places);
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        if (i + 1 == len || sorted[i + 1]->uid != sorted[i]->uid)
            err = proxy_write_places(sorted[i], 1, out);
    free(sorted);
    return err;
}

enum err proxy_vault_places_put(struct proxy_vaultlink *link, const struct store_mailbox *mailbox,
                                const struct store_place *places, size_t len, proxy_vault_done_fn fn, void *context,
                                struct proxy_vault_request **request_out)
{
    struct buf content;
    buf_init(&content, PROXY_PLACES_SIZE_MAX);
    enum err err = sorted_places(places, len, &content);
    err = ask_with(link, PROXY_PLACES_PUT, mailbox, buf_span(&content), err, fn, context, request_out);
    buf_fini(&content);
    return err;
}

enum err proxy_vault_places_forget(struct proxy_vaultlink *link, const struct store_mailbox *mailbox,
                                   const uint32_t *uids, size_t len, proxy_vault_done_fn fn, void *context,
                                   struct proxy_vault_request **request_out)
{
    struct buf content;
    buf_init(&content, PROXY_UIDS_SIZE_MAX);
    enum err err = proxy_write_uids(uids, len, &content);
    err = ask_with(link, PROXY_PLACES_FORGET, mailbox, buf_span(&content), err, fn, context, request_out);
    buf_fini(&content);
    return err;
}

enum err proxy_vault_places_rename(struct proxy_vaultlink *link, const char *account, struct span from, struct span to,
                                   char separator, proxy_vault_done_fn fn, void *context,
                                   struct proxy_vault_request **request_out)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_PLACES_RENAME);
    ipc_put_string(&out, account);
    ipc_put_span(&out, from);
    ipc_put_span(&out, to);
    ipc_put_u32(&out, (unsigned char)separator);
    return ask_done(link, &out, account, fn, context, request_out);
}

enum err proxy_vault_aliases_get(struct proxy_vaultlink *link, const struct store_view_key *names, size_t len,
                                 proxy_vault_places_fn fn, void *context, struct proxy_vault_request **request_out)
{
    struct proxy_vault_typed typed = {.fn.places = fn, .context = context, .len = len};
    return ask_keys(link, PROXY_ALIASES_GET, names, len, on_places, &typed, request_out);
}

enum err proxy_vault_alias_put(struct proxy_vaultlink *link, const char *account, const uint8_t name[STORE_DIGEST_SIZE],
                               const struct store_place *place)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_ALIAS_PUT);
    ipc_put_string(&out, account);
    ipc_put_span(&out, (struct span){(const char *)name, STORE_DIGEST_SIZE});
    ipc_put_u32(&out, place->is_view);
    ipc_put_span(&out, (struct span){(const char *)place->digest, sizeof(place->digest)});
    return ask_done(link, &out, account, NULL, NULL, NULL);
}

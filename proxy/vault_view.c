/*
 * The vault's answers about views, places, searches, and the store as a whole.
 */
#include "proxy/vault_internal.h"

#include "base/log.h"
#include "base/memfd.h"
#include "crypto/decision.h"
#include "proxy/wire.h"
#include "proxy/wire_view.h"
#include "store/account.h"

#include <stdlib.h>
#include <string.h>

/* Ends the reading of a request; what a file held counts as the request. */
static enum err end(struct ipc_in *in, enum err content_err)
{
    if (content_err == ERR_PEER_PROTOCOL)
        in->err = ERR_PEER_PROTOCOL;
    enum err err = ipc_in_end(in);
    return err != ERR_OK ? err : content_err;
}

/* Keys of views in a file, after their account. */
static enum err get_keys(struct ipc_in *in, char account[MIME_ADDR_SIZE], struct store_view_key **keys_out,
                         size_t *len_out)
{
    *keys_out = NULL;
    *len_out = 0;
    ipc_get_string(in, account, MIME_ADDR_SIZE);
    struct span content = proxy_get_content(in, PROXY_KEYS_SIZE_MAX);
    enum err err = in->err == ERR_OK ? proxy_read_keys(content, account, keys_out, len_out) : in->err;
    if (err == ERR_OK && *len_out == 0)
        err = ERR_PEER_PROTOCOL;
    memfd_unmap(&content);
    return err;
}

/* Adds one view; what was never decided is an answer, too. */
static enum err add_view(struct store *store, const struct store_view_key *key, struct buf *out)
{
    struct proxy_vault_found found = {.is_found = true};
    struct buf bytes;
    buf_init_secret(&bytes, STORE_RECORD_MAX + 4 * STORE_DECISION_MAX);
    enum err err = store_view_get(store, key, &bytes, &found.view);
    if (err == ERR_NOT_FOUND) {
        found.is_found = false;
        err = ERR_OK;
    }
    if (err == ERR_OK)
        err = proxy_write_view(&found, out);
    buf_fini(&bytes);
    return err;
}

enum err vault_view_get(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_view_key *keys;
    struct buf content;
    size_t len;
    enum err err = end(in, get_keys(in, account, &keys, &len));
    buf_init_secret(&content, PROXY_VIEWS_SIZE_MAX);
    for (size_t i = 0; err == ERR_OK && i < len && content.len < PROXY_VIEWS_SIZE_ENOUGH; i++)
        err = add_view(store, &keys[i], &content);
    if (err == ERR_OK)
        proxy_put_content(&answer->out, "views", buf_span(&content), &answer->file);
    buf_fini(&content);
    free(keys);
    return err;
}

/* What a decision is about is for crypto to say; the store asks only whether the message could be opened. */
static enum err is_failed(struct span saved, bool *is_failed_out)
{
    struct crypto_decision *decision = calloc(1, sizeof(*decision));
    if (decision == NULL)
        return ERR_MEMORY;
    enum err err = crypto_decision_load(saved, decision);
    *is_failed_out = err == ERR_OK && decision->verdict.encryption == CRYPTO_ENC_FAILED;
    free(decision);
    return err;
}

enum err vault_view_put(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_view_key key;
    struct store_view view = {.is_failed = false};
    proxy_get_view_key(in, account, &key);
    int64_t now = (int64_t)ipc_get_u64(in);
    view.decision = ipc_get_span(in);
    view.session_keys = ipc_get_span(in);
    view.encrypted_ids = proxy_get_message_ids(in);
    view.record = proxy_get_content(in, STORE_RECORD_MAX);
    view.text = proxy_get_content(in, STORE_TEXT_MAX);
    enum err err = end(in, in->err == ERR_OK ? is_failed(view.decision, &view.is_failed) : in->err);
    answer->is_changed = true;
    if (err == ERR_OK)
        err = store_view_put(store, &key, &view, now);
    memfd_unmap(&view.record);
    memfd_unmap(&view.text);
    return err;
}

enum err vault_view_generation(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    uint8_t digest[STORE_DIGEST_SIZE];
    uint32_t generation;
    ipc_get_string(in, account, sizeof(account));
    struct span bytes = ipc_get_span(in);
    enum err err = end(in, bytes.len == sizeof(digest) ? ERR_OK : ERR_PEER_PROTOCOL);
    if (err != ERR_OK)
        return err;
    memcpy(digest, bytes.ptr, sizeof(digest));
    err = store_view_generation(store, account, digest, &generation);
    if (err == ERR_OK)
        ipc_put_u32(&answer->out, generation);
    return err;
}

static enum err search(struct store *store, const struct store_view_key *keys, size_t len,
                       const struct mime_text_leaf *leaves, size_t leaves_len, struct vault_answer *answer)
{
    size_t missing, size = leaves_len * ((len + 7) / 8);
    uint8_t *bits = calloc(size + 1, 1);
    if (bits == NULL)
        return ERR_MEMORY;
    enum err err = store_view_search(store, keys, len, leaves, leaves_len, bits, &missing);
    bool has_missing = err == ERR_NOT_FOUND;
    if (err == ERR_OK || has_missing) {
        struct span content = has_missing ? SPAN_NONE : (struct span){(const char *)bits, size};
        ipc_put_u32(&answer->out, has_missing ? (uint32_t)missing : UINT32_MAX);
        proxy_put_content(&answer->out, "bits", content, &answer->file);
        err = ERR_OK;
    }
    free(bits);
    return err;
}

enum err vault_view_search(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_view_key *keys;
    struct mime_text_leaf *leaves = NULL;
    size_t len, leaves_len = 0;
    enum err err = get_keys(in, account, &keys, &len);
    struct span content = proxy_get_content(in, PROXY_LEAVES_SIZE_MAX);
    if (err == ERR_OK)
        err = in->err == ERR_OK ? proxy_read_leaves(content, &leaves, &leaves_len) : in->err;
    memfd_unmap(&content);
    err = end(in, err);
    if (err == ERR_OK)
        err = search(store, keys, len, leaves, leaves_len, answer);
    proxy_free_leaves(leaves, leaves_len);
    free(keys);
    return err;
}

/* Takes the places. */
static enum err put_places(struct store_place *places, size_t len, struct vault_answer *answer)
{
    struct buf content;
    buf_init(&content, PROXY_PLACES_SIZE_MAX);
    enum err err = proxy_write_places(places, len, &content);
    if (err == ERR_OK)
        proxy_put_content(&answer->out, "places", buf_span(&content), &answer->file);
    buf_fini(&content);
    free(places);
    return err;
}

enum err vault_places_get(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_mailbox mailbox;
    struct store_place *places = NULL;
    size_t len = 0;
    proxy_get_mailbox(in, account, &mailbox);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = store_places_get(store, &mailbox, &places, &len);
    return err == ERR_OK ? put_places(places, len, answer) : err;
}

enum err vault_places_put(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_mailbox mailbox;
    struct store_place *places = NULL;
    size_t len = 0;
    proxy_get_mailbox(in, account, &mailbox);
    struct span content = proxy_get_content(in, PROXY_PLACES_SIZE_MAX);
    enum err err = end(in, in->err == ERR_OK ? proxy_read_places(content, &places, &len) : in->err);
    memfd_unmap(&content);
    answer->is_changed = true;
    if (err == ERR_OK)
        err = store_places_put(store, &mailbox, places, len);
    free(places);
    return err;
}

enum err vault_places_forget(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_mailbox mailbox;
    uint32_t *uids = NULL;
    size_t len = 0;
    proxy_get_mailbox(in, account, &mailbox);
    struct span content = proxy_get_content(in, PROXY_UIDS_SIZE_MAX);
    enum err err = end(in, in->err == ERR_OK ? proxy_read_uids(content, &uids, &len) : in->err);
    memfd_unmap(&content);
    answer->is_changed = true;
    if (err == ERR_OK)
        err = store_places_forget(store, &mailbox, uids, len);
    free(uids);
    return err;
}

enum err vault_places_rename(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    ipc_get_string(in, account, sizeof(account));
    struct span from = ipc_get_span(in);
    struct span to = ipc_get_span(in);
    uint32_t separator = ipc_get_u32(in);
    bool is_good = from.len <= PROXY_MAILBOX_SIZE_MAX && to.len <= PROXY_MAILBOX_SIZE_MAX && separator <= UINT8_MAX;
    enum err err = end(in, is_good ? ERR_OK : ERR_PEER_PROTOCOL);
    answer->is_changed = true;
    return err == ERR_OK ? store_places_rename(store, account, from, to, (char)separator) : err;
}

enum err vault_aliases_get(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_view_key *names;
    struct store_place *places = NULL;
    size_t len, places_len = 0;
    enum err err = end(in, get_keys(in, account, &names, &len));
    if (err == ERR_OK)
        err = store_aliases_get(store, names, len, &places, &places_len);
    free(names);
    return err == ERR_OK ? put_places(places, places_len, answer) : err;
}

enum err vault_alias_put(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    uint8_t name[STORE_DIGEST_SIZE];
    struct store_place place = {.uid = 0};
    ipc_get_string(in, account, sizeof(account));
    struct span name_bytes = ipc_get_span(in);
    uint32_t is_view = ipc_get_u32(in);
    struct span digest = ipc_get_span(in);
    bool is_good = name_bytes.len == sizeof(name) && digest.len == sizeof(place.digest) && is_view <= 1;
    enum err err = end(in, is_good ? ERR_OK : ERR_PEER_PROTOCOL);
    answer->is_changed = true;
    if (err != ERR_OK)
        return err;
    memcpy(name, name_bytes.ptr, sizeof(name));
    memcpy(place.digest, digest.ptr, sizeof(place.digest));
    place.is_view = is_view == 1;
    return store_alias_put(store, account, name, &place);
}

enum err vault_store_totals(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct store_totals totals;
    ipc_get_string(in, account, sizeof(account));
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = store_view_totals(store, account, &totals);
    if (err == ERR_OK)
        proxy_put_totals(&answer->out, &totals);
    return err;
}

enum err vault_store_clear(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    ipc_get_string(in, account, sizeof(account));
    const uint32_t depth = ipc_get_u32(in);
    enum err err = ipc_in_end(in);
    answer->is_changed = true;
    if (err != ERR_OK)
        return err;
    /* Everything is forgotten of one account at a time: the store does not know what others are called. */
    if (depth != 0)
        return account[0] == '\0' ? ERR_NOT_FOUND : store_account_forget(store, account, depth > 1);
    return store_view_clear(store, account[0] == '\0' ? NULL : account);
}

enum err vault_store_reopen(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    uint64_t messages;
    ipc_get_string(in, account, sizeof(account));
    enum err err = ipc_in_end(in);
    answer->is_changed = true;
    if (err == ERR_OK)
        err = store_view_reopen(store, account, &messages);
    if (err == ERR_OK)
        ipc_put_u64(&answer->out, messages);
    return err;
}

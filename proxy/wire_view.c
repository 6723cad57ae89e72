#include "proxy/wire_view.h"

#include "base/memfd.h"
#include "base/packed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void proxy_put_view_key(struct ipc_out *out, const struct store_view_key *key)
{
    ipc_put_string(out, key->account);
    ipc_put_span(out, (struct span){(const char *)key->digest, sizeof(key->digest)});
    ipc_put_u32(out, key->generation);
}

void proxy_get_view_key(struct ipc_in *in, char account[MIME_ADDR_SIZE], struct store_view_key *key)
{
    *key = (struct store_view_key){.account = account};
    ipc_get_string(in, account, MIME_ADDR_SIZE);
    struct span digest = ipc_get_span(in);
    key->generation = ipc_get_u32(in);
    if (digest.len == sizeof(key->digest))
        memcpy(key->digest, digest.ptr, digest.len);
    else
        in->err = ERR_PEER_PROTOCOL;
}

void proxy_put_mailbox(struct ipc_out *out, const struct store_mailbox *mailbox)
{
    ipc_put_string(out, mailbox->account);
    ipc_put_span(out, mailbox->name);
    ipc_put_u32(out, mailbox->uid_validity);
}

void proxy_get_mailbox(struct ipc_in *in, char account[MIME_ADDR_SIZE], struct store_mailbox *mailbox)
{
    *mailbox = (struct store_mailbox){.account = account};
    ipc_get_string(in, account, MIME_ADDR_SIZE);
    mailbox->name = ipc_get_span(in);
    mailbox->uid_validity = ipc_get_u32(in);
    if (mailbox->name.len > PROXY_MAILBOX_SIZE_MAX)
        in->err = ERR_PEER_PROTOCOL;
}

void proxy_put_totals(struct ipc_out *out, const struct store_totals *totals)
{
    ipc_put_u64(out, totals->views);
    ipc_put_u64(out, totals->failed);
    ipc_put_u64(out, totals->records);
    ipc_put_u64(out, totals->places);
    ipc_put_u64(out, totals->mailboxes);
    ipc_put_u64(out, totals->bytes);
}

void proxy_get_totals(struct ipc_in *in, struct store_totals *totals)
{
    totals->views = ipc_get_u64(in);
    totals->failed = ipc_get_u64(in);
    totals->records = ipc_get_u64(in);
    totals->places = ipc_get_u64(in);
    totals->mailboxes = ipc_get_u64(in);
    totals->bytes = ipc_get_u64(in);
}

void proxy_put_content(struct ipc_out *out, const char *name, struct span content, int *fd_out)
{
    *fd_out = -1;
    if (out->err == ERR_OK)
        out->err = memfd_of(name, content, content.len, fd_out);
    if (out->err == ERR_OK)
        ipc_put_file(out, *fd_out);
}

struct span proxy_get_content(struct ipc_in *in, size_t size_max)
{
    struct span content = SPAN_NONE;
    int fd = ipc_get_file(in);
    if (fd < 0)
        return content;
    enum err err = memfd_map(fd, size_max, &content);
    if (err != ERR_OK && in->err == ERR_OK)
        in->err = err;
    close(fd);
    return content;
}

/* Why there is no array of a file's items. */
static enum err no_items(struct span content, size_t item_size, size_t len_max)
{
    return content.len % item_size != 0 || content.len / item_size > len_max ? ERR_PEER_PROTOCOL : ERR_MEMORY;
}

/* Room for the items of a file whose items all have the same size; one more, so that none is no failure. */
static void *items_of(struct span content, size_t item_size, size_t len_max, size_t room, size_t *len_out)
{
    *len_out = content.len / item_size;
    if (content.len % item_size == 0 && *len_out <= len_max) {
        void *items = calloc(*len_out + 1, room);
        if (items != NULL)
            return items;
    }
    *len_out = 0;
    return NULL;
}

static bool take_u32(struct span *rest, uint32_t *number_out)
{
    uint64_t number;
    bool is_there = packed_take_number(rest, 4, &number);
    *number_out = (uint32_t)number;
    return is_there;
}

static bool take_digest(struct span *rest, uint8_t digest_out[STORE_DIGEST_SIZE])
{
    if (rest->len < STORE_DIGEST_SIZE)
        return false;
    memcpy(digest_out, rest->ptr, STORE_DIGEST_SIZE);
    *rest = span_skip(*rest, STORE_DIGEST_SIZE);
    return true;
}

/* Keys: digest, generation u32. */
#define KEY_SIZE (STORE_DIGEST_SIZE + 4u)

enum err proxy_write_keys(const struct store_view_key *keys, size_t len, struct buf *out)
{
    enum err err = len > PROXY_VAULT_KEYS_MAX ? ERR_LIMIT : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        err = buf_add(out, keys[i].digest, sizeof(keys[i].digest));
        if (err == ERR_OK)
            err = packed_add_number(out, keys[i].generation, 4);
    }
    return err;
}

enum err proxy_read_keys(struct span content, const char *account, struct store_view_key **keys_out, size_t *len_out)
{
    bool is_good = true;
    struct store_view_key *keys = items_of(content, KEY_SIZE, PROXY_VAULT_KEYS_MAX, sizeof(*keys), len_out);
    *keys_out = keys;
    if (keys == NULL)
        return no_items(content, KEY_SIZE, PROXY_VAULT_KEYS_MAX);
    for (size_t i = 0; is_good && i < *len_out; i++) {
        keys[i].account = account;
        is_good = take_digest(&content, keys[i].digest) && take_u32(&content, &keys[i].generation);
    }
    return is_good ? ERR_OK : ERR_INTERNAL;
}

/* Leaves: number of them u32; of each kind u32, number u64, name, needle. */
enum err proxy_write_leaves(const struct mime_text_leaf *leaves, size_t len, struct buf *out)
{
    enum err err = len > PROXY_LEAVES_MAX ? ERR_LIMIT : packed_add_number(out, len, 4);
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        err = packed_add_number(out, (uint64_t)leaves[i].kind, 4);
        if (err == ERR_OK)
            err = packed_add_number(out, leaves[i].number, 8);
        if (err == ERR_OK)
            err = packed_add_bytes(out, span_of(leaves[i].name));
        if (err == ERR_OK)
            err = packed_add_bytes(out, span_of(leaves[i].needle));
    }
    return err;
}

/* Strings hold no NUL; every leaf has both, so that whoever looks into them need not ask. */
static enum err take_string(struct span *rest, char **string_out)
{
    struct span bytes;
    if (!packed_take_bytes(rest, &bytes) || (bytes.len > 0 && memchr(bytes.ptr, '\0', bytes.len) != NULL))
        return ERR_PEER_PROTOCOL;
    *string_out = bytes.len == 0 ? calloc(1, 1) : span_dup(bytes);
    return *string_out == NULL ? ERR_MEMORY : ERR_OK;
}

static enum err take_leaf(struct span *rest, struct mime_text_leaf *leaf)
{
    uint32_t kind;
    if (!take_u32(rest, &kind) || kind > MIME_TEXT_SENT_SINCE || !packed_take_number(rest, 8, &leaf->number))
        return ERR_PEER_PROTOCOL;
    leaf->kind = (enum mime_text_kind)kind;
    enum err err = take_string(rest, &leaf->name);
    return err == ERR_OK ? take_string(rest, &leaf->needle) : err;
}

enum err proxy_read_leaves(struct span content, struct mime_text_leaf **leaves_out, size_t *len_out)
{
    uint32_t len;
    *leaves_out = NULL;
    *len_out = 0;
    if (!take_u32(&content, &len) || len > PROXY_LEAVES_MAX)
        return ERR_PEER_PROTOCOL;
    struct mime_text_leaf *leaves = calloc(len + 1u, sizeof(*leaves));
    enum err err = leaves == NULL ? ERR_MEMORY : ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < len; i++)
        err = take_leaf(&content, &leaves[i]);
    if (err == ERR_OK && content.len > 0)
        err = ERR_PEER_PROTOCOL;
    if (err != ERR_OK) {
        proxy_free_leaves(leaves, len);
        return err;
    }
    *leaves_out = leaves;
    *len_out = len;
    return ERR_OK;
}

void proxy_free_leaves(struct mime_text_leaf *leaves, size_t len)
{
    for (size_t i = 0; leaves != NULL && i < len; i++)
        mime_text_leaf_fini(&leaves[i]);
    free(leaves);
}

/* Views: of each is_found u8 and, if it is, decision, session keys, record. */
enum err proxy_write_view(const struct proxy_vault_found *found, struct buf *out)
{
    size_t before = out->len;
    enum err err = packed_add_number(out, found->is_found, 1);
    if (err == ERR_OK && found->is_found) {
        err = packed_add_bytes(out, found->view.decision);
        if (err == ERR_OK)
            err = packed_add_bytes(out, found->view.session_keys);
        if (err == ERR_OK)
            err = packed_add_bytes(out, found->view.record);
    }
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

static bool take_view(struct span *rest, struct proxy_vault_found *found)
{
    unsigned is_found;
    if (!packed_take_small(rest, 1, &is_found))
        return false;
    found->is_found = is_found == 1;
    if (!found->is_found)
        return true;
    return packed_take_bytes(rest, &found->view.decision) && packed_take_bytes(rest, &found->view.session_keys) &&
           packed_take_bytes(rest, &found->view.record) && found->view.decision.len <= STORE_DECISION_MAX &&
           found->view.session_keys.len <= STORE_DECISION_MAX && found->view.record.len <= STORE_RECORD_MAX;
}

enum err proxy_read_views(struct span content, size_t len_max, struct proxy_vault_found **views_out, size_t *len_out)
{
    size_t len = 0;
    bool is_good = true;
    *views_out = NULL;
    *len_out = 0;
    if (len_max > PROXY_VAULT_KEYS_MAX)
        return ERR_LIMIT;
    struct proxy_vault_found *views = calloc(len_max + 1, sizeof(*views));
    if (views == NULL)
        return ERR_MEMORY;
    for (; is_good && content.len > 0 && len < len_max; len++)
        is_good = take_view(&content, &views[len]);
    if (!is_good || content.len > 0 || len == 0) {
        free(views);
        return ERR_PEER_PROTOCOL;
    }
    *views_out = views;
    *len_out = len;
    return ERR_OK;
}

/* Places: of each UID u32, bits u32, generation u32, digest. */
#define PLACE_SIZE (12u + STORE_DIGEST_SIZE)
enum { PLACE_VIEW = 1, PLACE_REOPEN = 2 };

enum err proxy_write_places(const struct store_place *places, size_t len, struct buf *out)
{
    enum err err = len > PROXY_VAULT_PLACES_MAX ? ERR_LIMIT : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        unsigned bits = (places[i].is_view ? PLACE_VIEW : 0u) | (places[i].wants_reopen ? PLACE_REOPEN : 0u);
        err = packed_add_number(out, places[i].uid, 4);
        if (err == ERR_OK)
            err = packed_add_number(out, bits, 4);
        if (err == ERR_OK)
            err = packed_add_number(out, places[i].generation, 4);
        if (err == ERR_OK)
            err = buf_add(out, places[i].digest, sizeof(places[i].digest));
    }
    return err;
}

static bool take_place(struct span *rest, struct store_place *place)
{
    uint32_t bits;
    if (!take_u32(rest, &place->uid) || !take_u32(rest, &bits) || bits > (PLACE_VIEW | PLACE_REOPEN) ||
        !take_u32(rest, &place->generation) || !take_digest(rest, place->digest))
        return false;
    place->is_view = (bits & PLACE_VIEW) != 0;
    place->wants_reopen = (bits & PLACE_REOPEN) != 0;
    return true;
}

enum err proxy_read_places(struct span content, struct store_place **places_out, size_t *len_out)
{
    bool is_good = true;
    struct store_place *places = items_of(content, PLACE_SIZE, PROXY_VAULT_PLACES_MAX, sizeof(*places), len_out);
    *places_out = NULL;
    if (places == NULL)
        return no_items(content, PLACE_SIZE, PROXY_VAULT_PLACES_MAX);
    for (size_t i = 0; is_good && i < *len_out; i++)
        is_good = take_place(&content, &places[i]) && places[i].uid > (i == 0 ? 0 : places[i - 1].uid);
    if (!is_good) {
        *len_out = 0;
        free(places);
        return ERR_PEER_PROTOCOL;
    }
    *places_out = places;
    return ERR_OK;
}

enum err proxy_write_uids(const uint32_t *uids, size_t len, struct buf *out)
{
    enum err err = len > PROXY_VAULT_PLACES_MAX ? ERR_LIMIT : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        err = packed_add_number(out, uids[i], 4);
    return err;
}

enum err proxy_read_uids(struct span content, uint32_t **uids_out, size_t *len_out)
{
    bool is_good = true;
    uint32_t *uids = items_of(content, sizeof(*uids), PROXY_VAULT_PLACES_MAX, sizeof(*uids), len_out);
    *uids_out = uids;
    if (uids == NULL)
        return no_items(content, sizeof(*uids), PROXY_VAULT_PLACES_MAX);
    for (size_t i = 0; is_good && i < *len_out; i++)
        is_good = take_u32(&content, &uids[i]);
    return is_good ? ERR_OK : ERR_INTERNAL;
}

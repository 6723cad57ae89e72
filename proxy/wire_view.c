#include "proxy/wire_view.h"

#include "base/memfd.h"

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

/* A file as it is read: gets after a failure give zeros. */
struct reader {
    struct span rest;
    enum err err;
};

static struct span get_bytes(struct reader *reader, size_t len)
{
    if (reader->err != ERR_OK || len > reader->rest.len) {
        if (reader->err == ERR_OK)
            reader->err = ERR_PEER_PROTOCOL;
        return SPAN_NONE;
    }
    struct span bytes = {reader->rest.ptr, len};
    reader->rest = span_skip(reader->rest, len);
    return bytes;
}

static uint32_t get_u32(struct reader *reader)
{
    uint32_t number = 0;
    struct span bytes = get_bytes(reader, sizeof(number));
    if (bytes.len == sizeof(number))
        memcpy(&number, bytes.ptr, sizeof(number));
    return number;
}

static uint64_t get_u64(struct reader *reader)
{
    uint64_t number = 0;
    struct span bytes = get_bytes(reader, sizeof(number));
    if (bytes.len == sizeof(number))
        memcpy(&number, bytes.ptr, sizeof(number));
    return number;
}

/* A number that is at most `most`. */
static uint32_t get_bounded(struct reader *reader, uint32_t most)
{
    uint32_t number = get_u32(reader);
    if (number > most && reader->err == ERR_OK)
        reader->err = ERR_PEER_PROTOCOL;
    return reader->err == ERR_OK ? number : 0;
}

static struct span get_span(struct reader *reader, size_t len_max)
{
    uint32_t len = get_bounded(reader, len_max > UINT32_MAX ? UINT32_MAX : (uint32_t)len_max);
    return get_bytes(reader, len);
}

/* Room for the items of a file whose items all have the same size; one more, so that none is no failure. */
static void *items_of(struct span content, size_t item_size, size_t len_max, size_t room, size_t *len_out)
{
    *len_out = content.len / item_size;
    if (content.len % item_size != 0 || *len_out > len_max)
        return NULL;
    return calloc(*len_out + 1, room);
}

static enum err failed_items(struct span content, size_t item_size, size_t len_max)
{
    return content.len % item_size != 0 || content.len / item_size > len_max ? ERR_PEER_PROTOCOL : ERR_MEMORY;
}

static enum err add_u32(struct buf *out, uint32_t number)
{
    return buf_add(out, &number, sizeof(number));
}

static enum err add_span(struct buf *out, struct span bytes)
{
    if (bytes.len > UINT32_MAX)
        return ERR_LIMIT;
    enum err err = add_u32(out, (uint32_t)bytes.len);
    return err == ERR_OK ? buf_add_span(out, bytes) : err;
}

/* Keys: digest, generation u32. */
#define KEY_SIZE (STORE_DIGEST_SIZE + 4u)

enum err proxy_write_keys(const struct store_view_key *keys, size_t len, struct buf *out)
{
    enum err err = len > PROXY_VAULT_KEYS_MAX ? ERR_LIMIT : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        err = buf_add(out, keys[i].digest, sizeof(keys[i].digest));
        if (err == ERR_OK)
            err = add_u32(out, keys[i].generation);
    }
    return err;
}

enum err proxy_read_keys(struct span content, const char *account, struct store_view_key **keys_out, size_t *len_out)
{
    struct reader reader = {.rest = content};
    struct store_view_key *keys = items_of(content, KEY_SIZE, PROXY_VAULT_KEYS_MAX, sizeof(*keys), len_out);
    *keys_out = keys;
    if (keys == NULL) {
        *len_out = 0;
        return failed_items(content, KEY_SIZE, PROXY_VAULT_KEYS_MAX);
    }
    for (size_t i = 0; i < *len_out; i++) {
        keys[i].account = account;
        memcpy(keys[i].digest, get_bytes(&reader, STORE_DIGEST_SIZE).ptr, STORE_DIGEST_SIZE);
        keys[i].generation = get_u32(&reader);
    }
    return ERR_OK;
}

/* Leaves: number of them u32; of each kind u32, number u64, name, needle. */
enum err proxy_write_leaves(const struct mime_text_leaf *leaves, size_t len, struct buf *out)
{
    enum err err = len > PROXY_LEAVES_MAX ? ERR_LIMIT : add_u32(out, (uint32_t)len);
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        err = add_u32(out, (uint32_t)leaves[i].kind);
        if (err == ERR_OK)
            err = buf_add(out, &leaves[i].number, sizeof(leaves[i].number));
        if (err == ERR_OK)
            err = add_span(out, span_of(leaves[i].name));
        if (err == ERR_OK)
            err = add_span(out, span_of(leaves[i].needle));
    }
    return err;
}

/* Strings hold no NUL; every leaf has both, so that whoever looks into them need not ask. */
static char *get_string(struct reader *reader)
{
    struct span bytes = get_span(reader, PROXY_LEAVES_SIZE_MAX);
    if (reader->err == ERR_OK && bytes.len > 0 && memchr(bytes.ptr, '\0', bytes.len) != NULL)
        reader->err = ERR_PEER_PROTOCOL;
    if (reader->err != ERR_OK)
        return NULL;
    char *string = bytes.len == 0 ? calloc(1, 1) : span_dup(bytes);
    if (string == NULL)
        reader->err = ERR_MEMORY;
    return string;
}

enum err proxy_read_leaves(struct span content, struct mime_text_leaf **leaves_out, size_t *len_out)
{
    struct reader reader = {.rest = content};
    *leaves_out = NULL;
    *len_out = 0;
    uint32_t len = get_bounded(&reader, PROXY_LEAVES_MAX);
    struct mime_text_leaf *leaves = calloc(len + 1u, sizeof(*leaves));
    if (leaves == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; reader.err == ERR_OK && i < len; i++) {
        leaves[i].kind = (enum mime_text_kind)get_bounded(&reader, MIME_TEXT_SENT_SINCE);
        leaves[i].number = get_u64(&reader);
        leaves[i].name = get_string(&reader);
        leaves[i].needle = get_string(&reader);
    }
    if (reader.err == ERR_OK && reader.rest.len > 0)
        reader.err = ERR_PEER_PROTOCOL;
    if (reader.err != ERR_OK) {
        proxy_free_leaves(leaves, len);
        return reader.err;
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

/* Views: of each is_found u32 and, if it is, decision, session keys, record. */
enum err proxy_write_view(const struct proxy_vault_found *found, struct buf *out)
{
    size_t before = out->len;
    enum err err = add_u32(out, found->is_found);
    if (err == ERR_OK && found->is_found) {
        err = add_span(out, found->view.decision);
        if (err == ERR_OK)
            err = add_span(out, found->view.session_keys);
        if (err == ERR_OK)
            err = add_span(out, found->view.record);
    }
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

enum err proxy_read_views(struct span content, size_t len_max, struct proxy_vault_found **views_out, size_t *len_out)
{
    struct reader reader = {.rest = content};
    size_t len = 0;
    *views_out = NULL;
    *len_out = 0;
    if (len_max > PROXY_VAULT_KEYS_MAX)
        return ERR_LIMIT;
    struct proxy_vault_found *views = calloc(len_max + 1, sizeof(*views));
    if (views == NULL)
        return ERR_MEMORY;
    for (; reader.err == ERR_OK && reader.rest.len > 0 && len < len_max; len++) {
        views[len].is_found = get_bounded(&reader, 1) == 1;
        if (!views[len].is_found)
            continue;
        views[len].view.decision = get_span(&reader, STORE_DECISION_MAX);
        views[len].view.session_keys = get_span(&reader, STORE_DECISION_MAX);
        views[len].view.record = get_span(&reader, STORE_RECORD_MAX);
    }
    if (reader.err == ERR_OK && (reader.rest.len > 0 || len == 0))
        reader.err = ERR_PEER_PROTOCOL;
    if (reader.err != ERR_OK) {
        free(views);
        return reader.err;
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
        uint32_t head[3] = {places[i].uid,
                            (places[i].is_view ? PLACE_VIEW : 0u) | (places[i].wants_reopen ? PLACE_REOPEN : 0u),
                            places[i].generation};
        err = buf_add(out, head, sizeof(head));
        if (err == ERR_OK)
            err = buf_add(out, places[i].digest, sizeof(places[i].digest));
    }
    return err;
}

enum err proxy_read_places(struct span content, struct store_place **places_out, size_t *len_out)
{
    struct reader reader = {.rest = content};
    struct store_place *places = items_of(content, PLACE_SIZE, PROXY_VAULT_PLACES_MAX, sizeof(*places), len_out);
    *places_out = NULL;
    if (places == NULL) {
        *len_out = 0;
        return failed_items(content, PLACE_SIZE, PROXY_VAULT_PLACES_MAX);
    }
    for (size_t i = 0; reader.err == ERR_OK && i < *len_out; i++) {
        places[i].uid = get_u32(&reader);
        uint32_t bits = get_bounded(&reader, PLACE_VIEW | PLACE_REOPEN);
        places[i].is_view = (bits & PLACE_VIEW) != 0;
        places[i].wants_reopen = (bits & PLACE_REOPEN) != 0;
        places[i].generation = get_u32(&reader);
        memcpy(places[i].digest, get_bytes(&reader, STORE_DIGEST_SIZE).ptr, STORE_DIGEST_SIZE);
        if (places[i].uid <= (i == 0 ? 0 : places[i - 1].uid))
            reader.err = ERR_PEER_PROTOCOL;
    }
    if (reader.err != ERR_OK) {
        *len_out = 0;
        free(places);
        return reader.err;
    }
    *places_out = places;
    return ERR_OK;
}

enum err proxy_write_uids(const uint32_t *uids, size_t len, struct buf *out)
{
    return len > PROXY_VAULT_PLACES_MAX ? ERR_LIMIT : buf_add(out, uids, len * sizeof(*uids));
}

enum err proxy_read_uids(struct span content, uint32_t **uids_out, size_t *len_out)
{
    uint32_t *uids = items_of(content, sizeof(*uids), PROXY_VAULT_PLACES_MAX, sizeof(*uids), len_out);
    *uids_out = uids;
    if (uids == NULL) {
        *len_out = 0;
        return failed_items(content, sizeof(*uids), PROXY_VAULT_PLACES_MAX);
    }
    if (content.len > 0)
        memcpy(uids, content.ptr, content.len);
    return ERR_OK;
}

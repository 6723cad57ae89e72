/*
 * Other names of messages: which view belongs to what a server calls by that name, or that it needs none.
 */
#include "store/view_internal.h"

#include "base/log.h"
#include "base/packed.h"

#include <stdlib.h>
#include <string.h>

#define ENTRY_MAX (1 + STORE_DIGEST_SIZE + 64) /* sealed */

/* A name, looked up. */
struct alias_row {
    struct store_account *account;
    uint8_t tag[STORE_TAG_SIZE];
};

static enum err find_row(struct store *store, const char *account, const uint8_t name[STORE_DIGEST_SIZE],
                         struct alias_row *row)
{
    enum err err = store_account(store, account, &row->account);
    return err ? err
               : store_account_tag(row->account, STORE_TAG_ALIAS, (struct span){(const char *)name, STORE_DIGEST_SIZE},
                                   row->tag);
}

/* Whether it is a view, and if so its digest. */
static enum err insert(struct store *store, const struct alias_row *row, const struct store_place *place)
{
    const struct store_row context = store_row(STORE_ROW_ALIAS, row->tag, 0);
    struct buf plain, sealed;
    sqlite3_stmt *statement;
    buf_init(&plain, ENTRY_MAX);
    buf_init(&sealed, ENTRY_MAX);
    enum err err = packed_add_number(&plain, place->is_view, 1);
    if (!err && place->is_view)
        err = buf_add(&plain, place->digest, sizeof place->digest);
    if (!err)
        err = store_seal_with(store, row->account->keys.views, store_row_span(&context), buf_span(&plain), &sealed);
    if (!err)
        err = store_prepare(&store->views, "INSERT OR REPLACE INTO alias (name, account, entry) VALUES (?, ?, ?)",
                            &statement);
    if (!err) {
        store_bind_bytes(statement, 1, (struct span){(const char *)row->tag, STORE_TAG_SIZE});
        store_bind_bytes(statement, 2, (struct span){(const char *)row->account->id, STORE_TAG_SIZE});
        store_bind_bytes(statement, 3, buf_span(&sealed));
        err = store_finish(&store->views, statement, "keep another name of a message");
    }
    buf_fini(&plain);
    buf_fini(&sealed);
    return err;
}

static enum err try_put(struct store *store, const char *account, const uint8_t name[STORE_DIGEST_SIZE],
                        const struct store_place *place)
{
    struct alias_row row;
    enum err err = find_row(store, account, name, &row);
    if (!err)
        err = store_begin(store, &store->views);
    return err ? err : store_end(store, &store->views, insert(store, &row, place));
}

enum err store_alias_put(struct store *store, const char *account, const uint8_t name[STORE_DIGEST_SIZE],
                         const struct store_place *place)
{
    enum err err = try_put(store, account, name, place);
    return store_views_mended(store, err) ? try_put(store, account, name, place) : err;
}

/* ERR_NOT_FOUND: nothing that could be read. */
static enum err unseal_entry(struct store *store, const struct alias_row *row, struct span sealed,
                             struct store_place *place)
{
    const struct store_row context = store_row(STORE_ROW_ALIAS, row->tag, 0);
    struct buf plain;
    uint64_t is_view = 0;
    buf_init(&plain, ENTRY_MAX);
    enum err err = store_unseal_with(store, row->account->keys.views, store_row_span(&context), sealed, &plain);
    struct span rest = buf_span(&plain);
    if (!err && (!packed_take_number(&rest, 1, &is_view) || rest.len != (is_view ? STORE_DIGEST_SIZE : 0)))
        err = ERR_STORE;
    if (!err && is_view)
        memcpy(place->digest, rest.ptr, sizeof place->digest);
    place->is_view = is_view != 0;
    buf_fini(&plain);
    if (err == ERR_STORE)
        log_warning("store: another name of a message does not open; it is learnt again");
    return err == ERR_STORE ? ERR_NOT_FOUND : err;
}

static enum err get(struct store *store, const struct store_view_key *name, struct store_place *place)
{
    struct alias_row row;
    sqlite3_stmt *statement;
    uint32_t generation;
    enum err err = find_row(store, name->account, name->digest, &row);
    if (!err)
        err = store_prepare(&store->views, "SELECT entry FROM alias WHERE name = ?", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)row.tag, STORE_TAG_SIZE});
    const int result = sqlite3_step(statement);
    err = store_err(&store->views, result, "look another name of a message up");
    if (!err)
        err = result == SQLITE_ROW ? unseal_entry(store, &row, store_column(statement, 0), place) : ERR_NOT_FOUND;
    store_release(statement);
    if (err || !place->is_view)
        return err;
    err = store_view_generation(store, name->account, place->digest, &generation);
    if (!err)
        return generation == 0 ? ERR_OK : ERR_NOT_FOUND;
    return err;
}

enum err store_aliases_get(struct store *store, const struct store_view_key *names, size_t len,
                           struct store_place **places_out, size_t *len_out)
{
    struct store_place *places = calloc(len + 1, sizeof *places);
    enum err err = places ? ERR_OK : ERR_MEMORY;
    *places_out = NULL;
    *len_out = 0;
    for (size_t i = 0; !err && i < len; i++) {
        struct store_place *place = &places[*len_out];
        *place = (struct store_place){.uid = (uint32_t)i + 1};
        err = get(store, &names[i], place);
        if (!err)
            ++*len_out;
        else if (err == ERR_NOT_FOUND || store_views_mended(store, err))
            err = ERR_OK;
    }
    if (err) {
        free(places);
        *len_out = 0;
        return err;
    }
    *places_out = places;
    return ERR_OK;
}

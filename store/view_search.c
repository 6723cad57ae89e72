/*
 * Searching: each text is opened and looked into. No index of words lies on the disk.
 */
#include "store/view_internal.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

struct search {
    struct store *store;
    const struct mime_text_leaf *leaves;
    size_t leaves_len;
    struct buf text;
    bool *is_found; /* for each leaf, in the text at hand */
    uint8_t *bits;
    size_t row_len;
};

static enum err look_into(struct search *search, const struct store_view_row *row, struct span sealed)
{
    buf_clear(&search->text);
    enum err err = store_view_unseal(search->store, row, STORE_ROW_TEXT, sealed, &search->text);
    if (!err)
        err = mime_text_match(buf_span(&search->text), search->leaves, search->leaves_len, search->is_found);
    return err == ERR_PEER_PROTOCOL ? ERR_STORE : err;
}

/* A text that does not open, or is none, is made again like one that was dropped. */
static enum err search_one(struct search *search, sqlite3_stmt *statement, const struct store_view_key *key)
{
    struct store_view_row row;
    bool is_bad = false;
    enum err err = store_view_row(search->store, key, &row);
    if (err)
        return err;
    store_bind_view(statement, &row);
    const int result = sqlite3_step(statement);
    err = store_err(&search->store->views, result, "look a text up");
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    if (!err) {
        err = look_into(search, &row, store_column(statement, 0));
        is_bad = err == ERR_STORE;
    }
    store_release(statement);
    if (!is_bad)
        return err;
    log_warning("store: the text of a view does not open; it is made again");
    err = store_view_drop(search->store, &row);
    return err ? err : ERR_NOT_FOUND;
}

static enum err search_all(struct search *search, const struct store_view_key *keys, size_t len, size_t *at)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(&search->store->views,
                                 "SELECT text FROM record JOIN text ON text.id = record.id"
                                 " WHERE message = ? AND generation = ?",
                                 &statement);
    for (size_t i = 0; !err && i < len; i++) {
        *at = i;
        err = search_one(search, statement, &keys[i]);
        for (size_t j = 0; !err && j < search->leaves_len; j++)
            if (search->is_found[j])
                search->bits[j * search->row_len + i / 8] |= (uint8_t)(1u << i % 8);
    }
    return err;
}

enum err store_view_search(struct store *store, const struct store_view_key *keys, size_t len,
                           const struct mime_text_leaf *leaves, size_t leaves_len, uint8_t *bits, size_t *missing_out)
{
    struct search search = {.store = store,
                            .leaves = leaves,
                            .leaves_len = leaves_len,
                            .is_found = calloc(leaves_len + 1, sizeof(bool)),
                            .bits = bits,
                            .row_len = (len + 7) / 8};
    size_t at = 0;
    *missing_out = SIZE_MAX;
    if (!search.is_found)
        return ERR_MEMORY;
    buf_init_secret(&search.text, STORE_TEXT_MAX + 1);
    memset(bits, 0, leaves_len * search.row_len);
    enum err err = search_all(&search, keys, len, &at);
    if (store_views_mended(store, err))
        err = ERR_NOT_FOUND;
    if (err == ERR_NOT_FOUND)
        *missing_out = at;
    buf_fini(&search.text);
    free(search.is_found);
    return err;
}

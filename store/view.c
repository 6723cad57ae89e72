/*
 * Decisions and session keys in durable.sqlite, records and texts in views.sqlite.
 */
#include "store/view_internal.h"

#include "base/log.h"
#include "base/secret.h"

#include <string.h>

#define SEALED_MORE 64 /* bytes that sealing adds, at most */

enum err store_view_row(struct store *store, const struct store_view_key *key, struct store_view_row *row)
{
    enum err err = store_account(store, key->account, &row->account);
    row->generation = key->generation;
    if (!err)
        err = store_account_tag(row->account, STORE_TAG_MESSAGE,
                                (struct span){(const char *)key->digest, sizeof key->digest}, row->message);
    return err;
}

void store_bind_view(sqlite3_stmt *statement, const struct store_view_row *row)
{
    store_bind_bytes(statement, 1, (struct span){(const char *)row->message, STORE_TAG_SIZE});
    sqlite3_bind_int64(statement, 2, row->generation);
}

static const uint8_t *key_for(const struct store_view_row *row, char kind)
{
    return kind == STORE_ROW_KEYS ? row->account->keys.secrets : row->account->keys.views;
}

static enum err seal(struct store *store, const struct store_view_row *row, char kind, struct span plain,
                     struct buf *out)
{
    const struct store_row context = store_row(kind, row->message, row->generation);
    buf_init(out, plain.len + SEALED_MORE);
    return store_seal_with(store, key_for(row, kind), store_row_span(&context), plain, out);
}

enum err store_view_unseal(struct store *store, const struct store_view_row *row, char kind, struct span sealed,
                           struct buf *out)
{
    const struct store_row context = store_row(kind, row->message, row->generation);
    return store_unseal_with(store, key_for(row, kind), store_row_span(&context), sealed, out);
}

static enum err insert_decision(struct store *store, const struct store_view_row *row, const struct store_view *view,
                                int64_t now)
{
    struct buf decision, keys;
    sqlite3_stmt *statement;
    buf_init(&keys, 0);
    enum err err = seal(store, row, STORE_ROW_DECISION, view->decision, &decision);
    if (!err)
        err = seal(store, row, STORE_ROW_KEYS, view->session_keys, &keys);
    if (!err)
        err = store_prepare(&store->durable,
                            "INSERT INTO view (message, generation, account, decision, session_keys, is_failed, at)"
                            " VALUES (?, ?, ?, ?, ?, ?, ?)",
                            &statement);
    if (!err) {
        store_bind_view(statement, row);
        store_bind_bytes(statement, 3, (struct span){(const char *)row->account->id, STORE_TAG_SIZE});
        store_bind_bytes(statement, 4, buf_span(&decision));
        store_bind_bytes(statement, 5, buf_span(&keys));
        sqlite3_bind_int(statement, 6, view->is_failed);
        sqlite3_bind_int64(statement, 7, now);
        err = store_finish(&store->durable, statement, "keep a decision");
    }
    buf_fini(&decision);
    buf_fini(&keys);
    return err;
}

/* ERR_NOT_FOUND: there is none. The session keys are added behind the decision. */
static enum err get_decision(struct store *store, const struct store_view_row *row, struct buf *out,
                             size_t *decision_len_out)
{
    sqlite3_stmt *statement;
    const size_t before = out->len;
    enum err err = store_prepare(
        &store->durable, "SELECT decision, session_keys FROM view WHERE message = ? AND generation = ?", &statement);
    if (err)
        return err;
    store_bind_view(statement, row);
    const int result = sqlite3_step(statement);
    err = store_err(&store->durable, result, "look a decision up");
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    if (!err)
        err = store_view_unseal(store, row, STORE_ROW_DECISION, store_column(statement, 0), out);
    *decision_len_out = out->len - before;
    if (!err)
        err = store_view_unseal(store, row, STORE_ROW_KEYS, store_column(statement, 1), out);
    if (err == ERR_STORE)
        log_error("store: a decision does not open");
    store_release(statement);
    return err;
}

static enum err insert(struct store *store, const struct store_view_row *row, const struct store_view *view,
                       bool is_new, int64_t now)
{
    enum err err = store_begin(store, &store->durable);
    if (err)
        return err;
    if (is_new)
        err = insert_decision(store, row, view, now);
    if (!err)
        err = store_encrypted_insert(store, row->account, view->encrypted_ids);
    return store_end(store, &store->durable, err);
}

/* The decision that counts: this one if there was none yet. What was decided before its IDs were kept may lack them. */
static enum err keep_decision(struct store *store, const struct store_view_row *row, const struct store_view *view,
                              int64_t now)
{
    struct buf old;
    size_t len;
    buf_init_secret(&old, 2 * STORE_DECISION_MAX + SEALED_MORE);
    enum err err = get_decision(store, row, &old, &len);
    if (!err && !span_is_equal(span_slice(buf_span(&old), 0, len), view->decision))
        err = ERR_EXISTS;
    buf_fini(&old);
    const bool is_new = err == ERR_NOT_FOUND;
    if (!is_new && (err || !view->encrypted_ids.len))
        return err;
    return insert(store, row, view, is_new, now);
}

static enum err insert_record(struct store *store, const struct store_view_row *row, struct span record)
{
    struct buf sealed;
    sqlite3_stmt *statement;
    enum err err = seal(store, row, STORE_ROW_RECORD, record, &sealed);
    if (!err)
        err = store_prepare(&store->views,
                            "INSERT INTO record (message, generation, account, record) VALUES (?, ?, ?, ?)"
                            " ON CONFLICT DO NOTHING",
                            &statement);
    if (!err) {
        store_bind_view(statement, row);
        store_bind_bytes(statement, 3, (struct span){(const char *)row->account->id, STORE_TAG_SIZE});
        store_bind_bytes(statement, 4, buf_span(&sealed));
        err = store_finish(&store->views, statement, "keep a record");
    }
    buf_fini(&sealed);
    return err;
}

static enum err insert_text(struct store *store, const struct store_view_row *row, struct span text)
{
    struct buf sealed;
    sqlite3_stmt *statement;
    enum err err = seal(store, row, STORE_ROW_TEXT, text, &sealed);
    if (!err)
        err = store_prepare(&store->views,
                            "INSERT INTO text (id, text) SELECT id, ?3 FROM record WHERE message = ?1 AND"
                            " generation = ?2 ON CONFLICT DO NOTHING",
                            &statement);
    if (!err) {
        store_bind_view(statement, row);
        store_bind_bytes(statement, 3, buf_span(&sealed));
        err = store_finish(&store->views, statement, "keep a text");
    }
    buf_fini(&sealed);
    return err;
}

static enum err keep_record(struct store *store, const struct store_view_row *row, const struct store_view *view)
{
    enum err err = store_begin(store, &store->views);
    if (err)
        return err;
    err = insert_record(store, row, view->record);
    if (!err && view->text.len)
        err = insert_text(store, row, view->text);
    return store_end(store, &store->views, err);
}

enum err store_view_put(struct store *store, const struct store_view_key *key, const struct store_view *view,
                        int64_t now)
{
    struct store_view_row row;
    if (view->decision.len > STORE_DECISION_MAX || view->session_keys.len > STORE_DECISION_MAX ||
        view->record.len > STORE_RECORD_MAX || view->text.len > STORE_TEXT_MAX)
        return ERR_LIMIT;
    enum err err = store_view_row(store, key, &row);
    if (!err)
        err = keep_decision(store, &row, view, now);
    if (err || !view->record.len)
        return err;
    err = keep_record(store, &row, view);
    return store_views_mended(store, err) ? keep_record(store, &row, view) : err;
}

enum err store_view_drop(struct store *store, const struct store_view_row *row)
{
    static const char *const deletions[] = {
        "DELETE FROM text WHERE id IN (SELECT id FROM record WHERE message = ? AND generation = ?)",
        "DELETE FROM record WHERE message = ? AND generation = ?"};
    enum err err = store_begin(store, &store->views);
    if (err)
        return err;
    for (size_t i = 0; !err && i < 2; i++) {
        sqlite3_stmt *statement;
        err = store_prepare(&store->views, deletions[i], &statement);
        if (err)
            break;
        store_bind_view(statement, row);
        err = store_finish(&store->views, statement, "drop a view that does not open");
    }
    return store_end(store, &store->views, err);
}

/* Nothing is added if it was dropped. What does not open is dropped: it can be made again. */
static enum err get_record(struct store *store, const struct store_view_row *row, struct buf *out)
{
    sqlite3_stmt *statement;
    bool is_bad = false;
    enum err err =
        store_prepare(&store->views, "SELECT record FROM record WHERE message = ? AND generation = ?", &statement);
    if (err)
        return err;
    store_bind_view(statement, row);
    const int result = sqlite3_step(statement);
    err = store_err(&store->views, result, "look a record up");
    if (!err && result == SQLITE_ROW) {
        err = store_view_unseal(store, row, STORE_ROW_RECORD, store_column(statement, 0), out);
        is_bad = err == ERR_STORE;
    }
    store_release(statement);
    if (!is_bad)
        return err;
    log_warning("store: the record of a view does not open; it is made again");
    return store_view_drop(store, row);
}

enum err store_view_get(struct store *store, const struct store_view_key *key, struct buf *out, struct store_view *view)
{
    struct store_view_row row;
    const size_t before = out->len;
    size_t decision_len = 0;
    *view = (struct store_view){.decision = SPAN_NONE};
    enum err err = store_view_row(store, key, &row);
    if (!err)
        err = get_decision(store, &row, out, &decision_len);
    const size_t keys_end = out->len;
    if (!err)
        err = get_record(store, &row, out);
    if (store_views_mended(store, err))
        err = ERR_OK;
    if (err) {
        buf_truncate(out, before);
        return err;
    }
    /* Only now: the buffer may have moved while it grew. */
    const struct span all = buf_span(out);
    view->decision = span_slice(all, before, before + decision_len);
    view->session_keys = span_slice(all, before + decision_len, keys_end);
    view->record = span_slice(all, keys_end, all.len);
    return ERR_OK;
}

enum err store_view_generation(struct store *store, const char *account, const uint8_t digest[STORE_DIGEST_SIZE],
                               uint32_t *generation_out)
{
    struct store_view_key key = {.account = account};
    struct store_view_row row;
    sqlite3_stmt *statement;
    memcpy(key.digest, digest, sizeof key.digest);
    enum err err = store_view_row(store, &key, &row);
    if (!err)
        err = store_prepare(&store->durable,
                            "SELECT max(generation) FROM (SELECT generation FROM view WHERE message = ?1 UNION ALL"
                            " SELECT generation + 1 FROM reopen WHERE message = ?1)",
                            &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)row.message, STORE_TAG_SIZE});
    const int result = sqlite3_step(statement);
    err = store_err(&store->durable, result, "look a generation up");
    if (!err && sqlite3_column_type(statement, 0) == SQLITE_NULL)
        err = ERR_NOT_FOUND;
    *generation_out = err ? 0 : (uint32_t)sqlite3_column_int64(statement, 0);
    store_release(statement);
    return err;
}

/* All generations that failed: places of earlier ones, too, shall show what a later one can. */
static enum err mark(struct store *store, const struct store_account *account)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(&store->durable,
                                 "INSERT OR REPLACE INTO reopen (message, generation, account)"
                                 " SELECT message, generation, account FROM view WHERE account = ? AND is_failed",
                                 &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)account->id, STORE_TAG_SIZE});
    return store_finish(&store->durable, statement, "mark views to be judged again");
}

enum err store_view_reopen(struct store *store, const char *name, uint64_t *messages_out)
{
    struct store_account *account;
    struct store_totals totals;
    *messages_out = 0;
    enum err err = store_view_totals(store, name, &totals);
    if (!err)
        err = store_account_named(store, name, &account);
    if (!err)
        err = store_begin(store, &store->durable);
    if (!err)
        err = store_end(store, &store->durable, mark(store, account));
    *messages_out = err ? 0 : totals.failed;
    return err;
}

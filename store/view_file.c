/*
 * views.sqlite as a whole: opened, made anew when it is damaged, counted, cleared, kept within its bound.
 */
#include "store/store_internal.h"
#include "store/view.h"

#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#define APPLICATION 0x50727656 /* "PrvV" */
#define VERSION 2
/* What is dropped in one call: the caller has others to serve. */
#define DROP_BYTES_MAX (16 << 20)
#define DROP_ROWS_MAX 4000
#define PAGE_SIZE 16384

/* Most texts fit into a page of this size with room for others, so that a search reads few. Pages that become free can
   be given back. Both must be set before the first table. */
static const char *const tables =
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE record (id INTEGER PRIMARY KEY, account BLOB NOT NULL, message BLOB NOT NULL,"
    " generation INTEGER NOT NULL, record BLOB NOT NULL, UNIQUE (message, generation));"
    "CREATE TABLE text (id INTEGER PRIMARY KEY, text BLOB NOT NULL);"
    "CREATE TABLE alias (name BLOB PRIMARY KEY, account BLOB NOT NULL, entry BLOB NOT NULL) WITHOUT "
    "ROWID;" STORE_PLACE_TABLES;

static void make_path(const struct store *store, const char *end, char path_out[STORE_PATH_SIZE])
{
    snprintf(path_out, STORE_PATH_SIZE, "%.560s/views.sqlite%s", store->dir, end);
}

static enum err make_tables(struct store *store)
{
    char sql[120];
    enum err err = store_run(&store->views, "BEGIN IMMEDIATE");
    if (!err)
        err = store_run(&store->views, tables);
    if (!err)
        err = store_write_check(store, &store->views);
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", APPLICATION, VERSION);
    return err ? err : store_run(&store->views, sql);
}

/* Anything but a whole file of ours is ERR_STORE. */
static enum err try_open(struct store *store, bool *is_new_out)
{
    char path[STORE_PATH_SIZE];
    int64_t version = VERSION, application = APPLICATION;
    make_path(store, "", path);
    enum err err = store_database_open(&store->views, path, is_new_out);
    if (!err && *is_new_out)
        err = store_run(&store->views, "PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL");
    if (!err && !*is_new_out)
        err = store_number(&store->views, "PRAGMA user_version", &version);
    if (!err && !*is_new_out)
        err = store_number(&store->views, "PRAGMA application_id", &application);
    if (!err && (version != VERSION || application != APPLICATION))
        err = ERR_STORE;
    if (!err && !*is_new_out)
        err = store_read_check(store, &store->views);
    if (!err)
        err = store_database_begin_writing(&store->views, false);
    if (!err)
        err = store_run(&store->views, "PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 500");
    return !err && *is_new_out ? make_tables(store) : err;
}

static void remove_files(struct store *store)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char path[STORE_PATH_SIZE];
    store_database_close(&store->views);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        make_path(store, ends[i], path);
        (void)unlink(path);
    }
}

static enum err make_anew(struct store *store)
{
    bool is_new;
    remove_files(store);
    enum err err = try_open(store, &is_new);
    if (!err && store->is_group)
        err = store_run(&store->views, "BEGIN");
    if (err && store->is_group)
        store->group_err = err;
    /* The next call that fails for it tries again. */
    store->views.is_damaged = err != ERR_OK;
    return err;
}

enum err store_views_open(struct store *store, bool is_expected)
{
    bool is_new = false;
    enum err err = try_open(store, &is_new);
    if (err == ERR_STORE) {
        log_warning("store: views.sqlite is damaged or of another version; it is made anew, and views are made again");
        err = make_anew(store);
    } else if (!err && is_new && is_expected) {
        log_info("store: views.sqlite was missing; views are made again");
    }
    return err;
}

bool store_views_mended(struct store *store, enum err err)
{
    if (err != ERR_STORE || !store->views.is_damaged)
        return false;
    log_warning("store: views.sqlite is damaged; it is made anew, and views are made again");
    return make_anew(store) == ERR_OK;
}

/* The first column of a statement with the account's id as its only parameter. */
static enum err count(struct store_database *database, const char *sql, const struct store_account *account,
                      uint64_t *count_out)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(database, sql, &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)account->id, STORE_TAG_SIZE});
    const int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *count_out += (uint64_t)sqlite3_column_int64(statement, 0);
    err = store_err(database, result, "count");
    store_release(statement);
    return err;
}

static enum err bytes_of_file(struct store *store, uint64_t *bytes_out, uint64_t *free_out)
{
    int64_t pages, unused;
    enum err err = store_number(&store->views, "PRAGMA page_count", &pages);
    if (!err)
        err = store_number(&store->views, "PRAGMA freelist_count", &unused);
    if (err)
        return err;
    *bytes_out = (uint64_t)pages * PAGE_SIZE;
    *free_out = (uint64_t)unused * PAGE_SIZE;
    return ERR_OK;
}

enum err store_view_totals(struct store *store, const char *name, struct store_totals *totals)
{
    static const char places[] = "SELECT total(places) FROM place WHERE mailbox IN"
                                 " (SELECT id FROM mailbox WHERE account = ?)";
    struct store_account *account;
    uint64_t unused;
    *totals = (struct store_totals){.views = 0};
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = count(&store->durable, "SELECT count(DISTINCT message) FROM view WHERE account = ?", account,
                    &totals->views);
    if (!err)
        err = count(&store->durable,
                    "SELECT count(*) FROM view AS v WHERE account = ? AND is_failed AND generation ="
                    " (SELECT max(generation) FROM view WHERE message = v.message)",
                    account, &totals->failed);
    if (!err)
        err = count(&store->views, "SELECT count(*) FROM record WHERE account = ?", account, &totals->records);
    if (!err)
        err = count(&store->durable, places, account, &totals->places);
    if (!err)
        err = count(&store->views, places, account, &totals->places);
    if (!err)
        err = count(&store->views, "SELECT count(*) FROM mailbox WHERE account = ?", account, &totals->mailboxes);
    if (!err)
        err = bytes_of_file(store, &totals->bytes, &unused);
    return err;
}

enum err store_views_clear(struct store *store, const struct store_account *account)
{
    static const char *const deletions[] = {
        "DELETE FROM text WHERE id IN (SELECT id FROM record WHERE account = ?)",
        "DELETE FROM record WHERE account = ?",
        "DELETE FROM place WHERE mailbox IN (SELECT id FROM mailbox WHERE account = ?)",
        "DELETE FROM mailbox WHERE account = ?", "DELETE FROM alias WHERE account = ?"};
    enum err err = store_begin(store, &store->views);
    if (err)
        return err;
    for (size_t i = 0; !err && i < sizeof deletions / sizeof *deletions; i++) {
        sqlite3_stmt *statement;
        err = store_prepare(&store->views, deletions[i], &statement);
        if (err)
            break;
        store_bind_bytes(statement, 1, (struct span){(const char *)account->id, STORE_TAG_SIZE});
        err = store_finish(&store->views, statement, "clear an account's views");
    }
    return store_end(store, &store->views, err);
}

enum err store_view_clear(struct store *store, const char *name)
{
    struct store_account *account;
    if (!name)
        return make_anew(store);
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = store_views_clear(store, account);
    if (store_views_mended(store, err))
        err = ERR_OK;
    return err ? err : store_run(&store->views, "PRAGMA incremental_vacuum");
}

/* The youngest of the oldest rows that together hold `excess` bytes, or as much as one call may drop. */
static enum err find_youngest(struct store *store, uint64_t excess, int64_t *youngest_out)
{
    sqlite3_stmt *statement;
    uint64_t bytes = 0;
    int result = SQLITE_DONE;
    *youngest_out = 0;
    enum err err = store_prepare(&store->views,
                                 "SELECT record.id, length(record) + ifnull(length(text), 0) FROM record"
                                 " LEFT JOIN text ON text.id = record.id ORDER BY record.id LIMIT ?",
                                 &statement);
    if (err)
        return err;
    sqlite3_bind_int(statement, 1, DROP_ROWS_MAX);
    while (bytes < excess && bytes < DROP_BYTES_MAX && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        *youngest_out = sqlite3_column_int64(statement, 0);
        bytes += (uint64_t)sqlite3_column_int64(statement, 1);
    }
    err = store_err(&store->views, result, "look for the oldest views");
    store_release(statement);
    return err;
}

static enum err drop_until(struct store *store, int64_t youngest)
{
    static const char *const deletions[] = {"DELETE FROM text WHERE id <= ?", "DELETE FROM record WHERE id <= ?"};
    enum err err = store_begin(store, &store->views);
    if (err)
        return err;
    for (size_t i = 0; !err && i < 2; i++) {
        sqlite3_stmt *statement;
        err = store_prepare(&store->views, deletions[i], &statement);
        if (err)
            break;
        sqlite3_bind_int64(statement, 1, youngest);
        err = store_finish(&store->views, statement, "drop the oldest views");
    }
    return store_end(store, &store->views, err);
}

enum err store_view_shrink(struct store *store, uint64_t bytes_max)
{
    uint64_t bytes, unused;
    int64_t youngest = 0;
    enum err err = bytes_of_file(store, &bytes, &unused);
    if (err || bytes <= bytes_max)
        return err;
    /* A little more than must be, so that not every view that comes later drops another. */
    const uint64_t wanted = bytes_max - bytes_max / 16;
    if (bytes - unused > bytes_max)
        err = find_youngest(store, bytes - unused - wanted, &youngest);
    if (!err && youngest)
        err = drop_until(store, youngest);
    else if (!err)
        err = store_run(&store->views, "PRAGMA incremental_vacuum(1024)");
    if (!err)
        err = bytes_of_file(store, &bytes, &unused);
    if (store_views_mended(store, err))
        return ERR_OK;
    return err ? err : bytes > bytes_max && (youngest || unused) ? ERR_AGAIN : ERR_OK;
}

/*
 * One SQLite file: opened exclusively, written through a write-ahead log, its statements prepared once.
 */
#include "store/store_internal.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum err store_err(struct store_database *database, int result, const char *doing)
{
    switch (result & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ERR_OK;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_FULL:
        log_error("store: %s: the disk is full", doing);
        return ERR_DISK_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        database->is_damaged = true;
        break;
    default:
        if (result == SQLITE_IOERR_SHORT_READ)
            database->is_damaged = true;
    }
    log_error("store: %s: %s", doing, database->handle ? sqlite3_errmsg(database->handle) : sqlite3_errstr(result));
    return ERR_STORE;
}

enum err store_run(struct store_database *database, const char *sql)
{
    return store_err(database, sqlite3_exec(database->handle, sql, NULL, NULL, NULL), sql);
}

enum err store_prepare(struct store_database *database, const char *sql, sqlite3_stmt **statement_out)
{
    *statement_out = NULL;
    for (size_t i = 0; i < database->statements_len; i++)
        if (database->statements[i].sql == sql) {
            *statement_out = database->statements[i].statement;
            return ERR_OK;
        }
    if (database->statements_len == STORE_STATEMENTS_MAX)
        return ERR_INTERNAL;
    enum err err = store_err(
        database, sqlite3_prepare_v3(database->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, statement_out, NULL), sql);
    if (err)
        return err;
    database->statements[database->statements_len].sql = sql;
    database->statements[database->statements_len++].statement = *statement_out;
    return ERR_OK;
}

void store_release(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

enum err store_finish(struct store_database *database, sqlite3_stmt *statement, const char *doing)
{
    enum err err = store_err(database, sqlite3_step(statement), doing);
    store_release(statement);
    return err;
}

struct span store_column(sqlite3_stmt *statement, int column)
{
    const char *bytes = sqlite3_column_blob(statement, column);
    const int len = sqlite3_column_bytes(statement, column);
    return bytes && len > 0 ? (struct span){bytes, (size_t)len} : SPAN_NONE;
}

enum err store_number(struct store_database *database, const char *sql, int64_t *number_out)
{
    sqlite3_stmt *statement;
    *number_out = 0;
    enum err err = store_prepare(database, sql, &statement);
    if (err)
        return err;
    const int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *number_out = sqlite3_column_int64(statement, 0);
    err = store_err(database, result, sql);
    store_release(statement);
    return err;
}

void store_bind_bytes(sqlite3_stmt *statement, int index, struct span bytes)
{
    sqlite3_bind_blob64(statement, index, bytes.ptr ? bytes.ptr : "", bytes.len, SQLITE_STATIC);
}

static enum err make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        const int number = errno;
        log_error("store: %s: cannot be opened: %s", path, strerror(number));
        return number == ENOSPC || number == EDQUOT ? ERR_DISK_FULL : ERR_STORE;
    }
    close(fd);
    return ERR_OK;
}

enum err store_database_open(struct store_database *database, const char *path, bool *is_new_out)
{
    int64_t version = 0, tables = 0, application = 0;
    *database = (struct store_database){.handle = NULL};
    enum err err = make_file(path);
    if (!err)
        err = store_err(database,
                        sqlite3_open_v2(path, &database->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL),
                        path);
    if (err)
        return err;
    sqlite3_db_config(database->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    /* Temporary files would lie outside the sandbox; exclusive locking needs no shared memory. */
    err = store_run(database, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;"
                              "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
    if (!err)
        err = store_number(database, "PRAGMA user_version", &version);
    if (!err)
        err = store_number(database, "SELECT count(*) FROM sqlite_schema", &tables);
    if (!err)
        err = store_number(database, "PRAGMA application_id", &application);
    *is_new_out = version == 0 && tables == 0 && application == 0;
    return err;
}

enum err store_database_begin_writing(struct store_database *database, bool is_durable)
{
    enum err err = store_run(database, is_durable ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                                    " PRAGMA secure_delete = ON"
                                                  : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    if (!err)
        err = store_run(database, "PRAGMA journal_size_limit = 33554432");
    if (!err)
        sqlite3_db_config(database->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return err;
}

void store_database_close(struct store_database *database)
{
    for (size_t i = 0; i < database->statements_len; i++)
        sqlite3_finalize(database->statements[i].statement);
    if (database->handle)
        sqlite3_close(database->handle);
    *database = (struct store_database){.handle = NULL};
}

static void roll_back(struct store_database *database)
{
    if (database->handle && !sqlite3_get_autocommit(database->handle) && store_run(database, "ROLLBACK"))
        log_warning("store: a transaction could not be rolled back");
}

enum err store_begin(struct store *store, struct store_database *database)
{
    if (!store->is_group)
        return store_run(database, "BEGIN IMMEDIATE");
    return store->group_err ? store->group_err : store_run(database, "SAVEPOINT call");
}

/* A transaction has ended: so have the rows of accounts that it wrote come to stay, or gone. */
static void settle_accounts(struct store *store, const struct store_database *database, enum err err)
{
    if (database != &store->durable)
        return;
    if (err)
        store_accounts_undone(store);
    else
        store_accounts_saved(store);
    store_checkpoint(store);
}

enum err store_end(struct store *store, struct store_database *database, enum err err)
{
    if (!store->is_group) {
        if (!err)
            err = store_run(database, "COMMIT");
        if (err)
            roll_back(database);
        settle_accounts(store, database, err);
        return err;
    }
    if (!err)
        err = store_run(database, "RELEASE call");
    /* SQLite rolls all of a transaction back for a full disk and the like: nothing of the group is left then. */
    if (err && (!database->handle || sqlite3_get_autocommit(database->handle) ||
                store_run(database, "ROLLBACK TO call; RELEASE call")))
        store->group_err = err;
    if (err && database == &store->durable)
        store_accounts_undone(store);
    return err;
}

enum err store_group_begin(struct store *store)
{
    enum err err = store_run(&store->durable, "BEGIN");
    if (!err)
        err = store_run(&store->views, "BEGIN");
    if (err)
        roll_back(&store->durable);
    store->group_err = ERR_OK;
    store->is_group = !err;
    return err;
}

enum err store_group_end(struct store *store)
{
    enum err err = store->group_err;
    store->is_group = false;
    store->group_err = ERR_OK;
    if (!err)
        err = store_run(&store->durable, "COMMIT");
    roll_back(&store->durable);
    settle_accounts(store, &store->durable, err);
    if (!err)
        err = store_run(&store->views, "COMMIT");
    roll_back(&store->views);
    return err;
}

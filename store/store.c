#include "store/store_internal.h"

#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_VERSION 1
#define STORE_APPLICATION 0x50727653 /* "PrvS", in the database's header */
#define STORE_PATH_SIZE 600
#define STORE_CHECK_TEXT SPAN_LIT("privyseal")
#define STORE_CHECK_CONTEXT SPAN_LIT("meta/check")

enum err store_err(struct store *store, int result, const char *doing)
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
    default:
        log_error("store: %s: %s", doing, store->database ? sqlite3_errmsg(store->database) : sqlite3_errstr(result));
        return ERR_STORE;
    }
}

enum err store_run(struct store *store, const char *sql)
{
    return store_err(store, sqlite3_exec(store->database, sql, NULL, NULL, NULL), sql);
}

enum err store_prepare(struct store *store, const char *sql, sqlite3_stmt **statement_out)
{
    return store_err(store, sqlite3_prepare_v2(store->database, sql, -1, statement_out, NULL), sql);
}

enum err store_finish(struct store *store, sqlite3_stmt *statement, const char *doing)
{
    enum err err = store_err(store, sqlite3_step(statement), doing);
    sqlite3_finalize(statement);
    return err;
}

struct span store_column(sqlite3_stmt *statement, int column)
{
    const char *bytes = sqlite3_column_blob(statement, column);
    const int len = sqlite3_column_bytes(statement, column);
    return bytes && len > 0 ? (struct span){bytes, (size_t)len} : SPAN_NONE;
}

static enum err failed_at(const char *path, const char *doing)
{
    const int number = errno;
    log_error("store: %s: %s: %s", path, doing, strerror(number));
    return number == ENOSPC || number == EDQUOT ? ERR_DISK_FULL : ERR_STORE;
}

static enum err sync_directory(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed_at(dir, "cannot be opened");
    enum err err = fsync(fd) ? failed_at(dir, "cannot be synced") : ERR_OK;
    close(fd);
    return err;
}

static enum err lock_directory(struct store *store, const char *dir)
{
    char path[STORE_PATH_SIZE];
    snprintf(path, sizeof path, "%s/lock", dir);
    if (mkdir(dir, 0700) && errno != EEXIST)
        return failed_at(dir, "cannot be made");
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock < 0)
        return failed_at(path, "cannot be opened");
    if (flock(store->lock, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    return errno == EWOULDBLOCK ? ERR_BUSY : failed_at(path, "cannot be locked");
}

/* Written beside its place and renamed, so that a crash leaves a whole key or none. */
static enum err make_key(const char *dir, const char *path)
{
    char fresh[STORE_PATH_SIZE + 8];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    unsigned char keys[2 * STORE_KEY_SIZE];
    if (RAND_bytes(keys, sizeof keys) != 1)
        return ERR_STORE;
    (void)unlink(fresh);
    enum err err = ERR_OK;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        err = failed_at(fresh, "cannot be made");
    else if (write(fd, keys, sizeof keys) != (ssize_t)sizeof keys || fsync(fd))
        err = failed_at(fresh, "cannot be written");
    if (fd >= 0 && close(fd) && !err)
        err = failed_at(fresh, "cannot be written");
    if (!err && rename(fresh, path))
        err = failed_at(path, "cannot be made");
    secret_wipe(keys, sizeof keys);
    return err ? err : sync_directory(dir);
}

static enum err read_key(struct store *store, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return failed_at(path, "cannot be opened");
    unsigned char keys[2 * STORE_KEY_SIZE + 1];
    struct stat status;
    enum err err = ERR_OK;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_mode & 077) {
        log_error("store: %s: must be a file that its owner alone can read (chmod 600)", path);
        err = ERR_STORE;
    } else if (read(fd, keys, sizeof keys) != 2 * STORE_KEY_SIZE) {
        log_error("store: %s: is no key of %d bytes", path, 2 * STORE_KEY_SIZE);
        err = ERR_STORE;
    } else {
        memcpy(store->seal_key, keys, STORE_KEY_SIZE);
        memcpy(store->tag_key, keys + STORE_KEY_SIZE, STORE_KEY_SIZE);
    }
    secret_wipe(keys, sizeof keys);
    close(fd);
    return err;
}

/* A new key is made only where nothing was ever sealed: records whose key is gone are an error, not a fresh start. */
static enum err load_key(struct store *store, const char *dir, const char *database)
{
    char path[STORE_PATH_SIZE];
    snprintf(path, sizeof path, "%s/key", dir);
    if (access(path, F_OK)) {
        struct stat status;
        if (errno != ENOENT)
            return failed_at(path, "cannot be looked at");
        if (stat(database, &status) == 0 && status.st_size > 0) {
            log_error("store: %s: is missing, and %s was sealed with it", path, database);
            return ERR_STORE;
        }
        enum err err = make_key(dir, path);
        if (err)
            return err;
    }
    return read_key(store, path);
}

static enum err read_number(struct store *store, const char *sql, int64_t *number_out)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(store, sql, &statement);
    if (err)
        return err;
    int result = sqlite3_step(statement);
    *number_out = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    err = store_err(store, result, sql);
    sqlite3_finalize(statement);
    return err;
}

static enum err check_whole(struct store *store)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(store, "PRAGMA quick_check(1)", &statement);
    if (err)
        return err;
    const int result = sqlite3_step(statement);
    const char *said = result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    err = store_err(store, result, "check");
    if (!err && (!said || strcmp(said, "ok") != 0)) {
        log_error("store: the database is damaged: %s", said ? said : "no answer");
        err = ERR_STORE;
    }
    sqlite3_finalize(statement);
    return err;
}

static enum err make_tables(struct store *store)
{
    struct buf sealed;
    buf_init(&sealed, 256);
    enum err err = store_run(store, "BEGIN IMMEDIATE;"
                                    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
                                    "CREATE TABLE delivery (message BLOB NOT NULL, recipient BLOB NOT NULL,"
                                    " address BLOB NOT NULL, at INTEGER NOT NULL,"
                                    " PRIMARY KEY (message, recipient)) WITHOUT ROWID;"
                                    "CREATE INDEX delivery_at ON delivery (at);");
    if (!err)
        err = store_seal(store, STORE_CHECK_CONTEXT, STORE_CHECK_TEXT, &sealed);
    sqlite3_stmt *statement;
    if (!err)
        err = store_prepare(store, "INSERT INTO meta (name, value) VALUES ('check', ?)", &statement);
    if (!err) {
        sqlite3_bind_blob64(statement, 1, sealed.data, sealed.len, SQLITE_STATIC);
        err = store_finish(store, statement, "write the check value");
    }
    char sql[120];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", STORE_APPLICATION,
             STORE_VERSION);
    if (!err)
        err = store_run(store, sql);
    buf_fini(&sealed);
    return err;
}

static enum err check_key(struct store *store)
{
    struct buf plain;
    buf_init(&plain, 256);
    sqlite3_stmt *statement;
    enum err err = store_prepare(store, "SELECT value FROM meta WHERE name = 'check'", &statement);
    if (err)
        return err;
    err = store_err(store, sqlite3_step(statement), "read the check value");
    if (!err)
        err = store_unseal(store, STORE_CHECK_CONTEXT, store_column(statement, 0), &plain);
    if (!err && !span_is_equal(buf_span(&plain), STORE_CHECK_TEXT))
        err = ERR_STORE;
    if (err)
        log_error("store: the key file does not fit the database");
    sqlite3_finalize(statement);
    buf_fini(&plain);
    return err;
}

/* Nothing is written until the file has shown that it is whole, ours and of a version we know: not even the
   write-ahead log of a crash is moved into it when it closes. */
static enum err open_database(struct store *store, const char *dir, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed_at(path, "cannot be opened");
    close(fd);
    enum err err = store_err(
        store, sqlite3_open_v2(path, &store->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL), path);
    if (err)
        return err;
    sqlite3_db_config(store->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    /* Temporary files would lie outside the sandbox; exclusive locking needs no shared memory. */
    int64_t version = 0, tables = 0, application = 0;
    err = store_run(store, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
                           "PRAGMA cell_size_check = ON");
    if (!err)
        err = read_number(store, "PRAGMA user_version", &version);
    if (!err)
        err = read_number(store, "SELECT count(*) FROM sqlite_schema", &tables);
    if (!err)
        err = read_number(store, "PRAGMA application_id", &application);
    const bool is_new = version == 0 && tables == 0 && application == 0;
    if (!err && !is_new && (version != STORE_VERSION || application != STORE_APPLICATION)) {
        log_error("store: %s is not of this program, or of a newer version (%lld)", path, (long long)version);
        err = ERR_STORE;
    }
    if (!err)
        err = check_whole(store);
    if (!err && !is_new)
        err = check_key(store);
    if (!err)
        err = store_run(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    if (!err && is_new)
        err = make_tables(store);
    if (!err && is_new)
        err = sync_directory(dir);
    if (!err)
        sqlite3_db_config(store->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return err;
}

enum err store_open(const char *dir, struct store **store_out)
{
    *store_out = NULL;
    char path[STORE_PATH_SIZE];
    if (strlen(dir) + 32 > sizeof path)
        return ERR_LIMIT;
    snprintf(path, sizeof path, "%s/durable.sqlite", dir);
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return ERR_MEMORY;
    store->lock = -1;
    /* SQLite seeds its random numbers from a device that the sandbox hides later. */
    unsigned char seed;
    sqlite3_randomness(1, &seed);
    enum err err = lock_directory(store, dir);
    if (!err)
        err = load_key(store, dir, path);
    if (!err)
        err = open_database(store, dir, path);
    if (err)
        store_close(&store);
    *store_out = store;
    return err;
}

void store_close(struct store **store)
{
    struct store *old = *store;
    if (!old)
        return;
    if (old->database)
        sqlite3_close(old->database);
    if (old->lock >= 0)
        close(old->lock);
    secret_wipe(old, sizeof *old);
    free(old);
    *store = NULL;
}

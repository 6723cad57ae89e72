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

static enum err check_whole(struct store *store)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(&store->durable, "PRAGMA quick_check(1)", &statement);
    if (err)
        return err;
    const int result = sqlite3_step(statement);
    const char *said = result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    err = store_err(&store->durable, result, "check");
    if (!err && (!said || strcmp(said, "ok") != 0)) {
        log_error("store: the database is damaged: %s", said ? said : "no answer");
        err = ERR_STORE;
    }
    store_release(statement);
    return err;
}

/* Nothing is written until the file has shown that it is whole, ours and of a version we know: not even the
   write-ahead log of a crash is moved into it when it closes. */
static enum err open_durable(struct store *store, const char *path, bool *is_new_out)
{
    enum err err = store_database_open(&store->durable, path, is_new_out);
    if (!err && !*is_new_out)
        err = store_check_version(store, path);
    if (!err)
        err = check_whole(store);
    if (!err && !*is_new_out && (err = store_read_check(store, &store->durable)) == ERR_STORE)
        log_error("store: the key file does not fit the database");
    if (!err)
        err = store_database_begin_writing(&store->durable, true);
    if (!err)
        err = store_make_durable(store, *is_new_out);
    /* What a crash left in the log may be the old form of something that was to go. Only after a transaction of its own
       does SQLite believe that the looks above have ended. */
    if (!err)
        err = store_run(&store->durable, "BEGIN IMMEDIATE; COMMIT");
    store->wants_checkpoint = true;
    if (!err)
        store_checkpoint(store);
    if (!err && *is_new_out)
        err = sync_directory(store->dir);
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
    snprintf(store->dir, sizeof store->dir, "%s", dir);
    /* SQLite seeds its random numbers from a device that the sandbox hides later. */
    unsigned char seed;
    sqlite3_randomness(1, &seed);
    bool is_new = false;
    enum err err = store_seal_begin(store);
    if (!err)
        err = lock_directory(store, dir);
    if (!err)
        err = load_key(store, dir, path);
    if (!err)
        err = open_durable(store, path, &is_new);
    if (!err)
        err = store_views_open(store, !is_new);
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
    store_database_close(&old->views);
    store_database_close(&old->durable);
    store_accounts_free(old);
    store_seal_end(old);
    if (old->lock >= 0)
        close(old->lock);
    secret_wipe(old, sizeof *old);
    free(old);
    *store = NULL;
}

#include "store/peer.h"

#include "base/log.h"
#include "store/store_internal.h"

#include <string.h>

#define TAG_TEXT_MAX ((size_t)4096)
#define SEALED_MAX (STORE_PEER_MAX + 64)

/* By what the record of an address is found, and to what it is bound: account and address, told apart by NUL, which
   neither holds. ASCII case is ignored, as it is where keys are looked up: whoever writes a From in capitals must not
   get a second record, to which nothing applies that a person said of the first. */
static enum err tag_of(struct store *store, const char *account, const char *address, uint8_t tag_out[STORE_TAG_SIZE])
{
    struct buf text;
    buf_init(&text, TAG_TEXT_MAX);
    enum err err = buf_add(&text, account, strlen(account) + 1);
    for (const char *at = address; !err && *at != '\0'; at++)
        err = buf_add_byte(&text, span_lower(*at));
    if (!err)
        err = store_tag(store, SPAN_LIT("peer/address"), buf_span(&text), tag_out);
    buf_fini(&text);
    return err;
}

static struct span bytes_of(const uint8_t bytes[STORE_TAG_SIZE])
{
    return (struct span){(const char *)bytes, STORE_TAG_SIZE};
}

static enum err prepare(struct store *store, const char *sql, const uint8_t bytes[STORE_TAG_SIZE],
                        sqlite3_stmt **statement_out)
{
    enum err err = store_prepare(&store->durable, sql, statement_out);
    if (!err)
        store_bind_bytes(*statement_out, 1, bytes_of(bytes));
    return err;
}

/* How many records the account has: counted once, then kept, until something is rolled back. A count of its own at each
   change would cost more than the change. */
static enum err count(struct store *store, struct store_account *account)
{
    sqlite3_stmt *statement;
    if (account->are_peers_counted)
        return ERR_OK;
    enum err err = prepare(store, "SELECT count(*) FROM peer WHERE account = ?", account->id, &statement);
    if (err)
        return err;
    const int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        account->peers = sqlite3_column_int64(statement, 0);
    err = store_err(&store->durable, result, "count the records of correspondents");
    store_release(statement);
    account->are_peers_counted = !err;
    return err;
}

/* Room for one more of this account, which has been counted. */
static enum err make_room(struct store *store, struct store_account *account)
{
    sqlite3_stmt *statement;
    if (account->peers < (int64_t)STORE_PEERS_MAX)
        return ERR_OK;
    enum err err = prepare(store,
                           "DELETE FROM peer WHERE id = (SELECT id FROM peer WHERE account = ? AND rank < ?2"
                           " ORDER BY rank, at LIMIT 1)",
                           account->id, &statement);
    if (err)
        return err;
    sqlite3_bind_int(statement, 2, STORE_PEER_PINNED);
    err = store_finish(&store->durable, statement, "make room for a correspondent");
    if (!err && sqlite3_changes(store->durable.handle) == 0)
        return ERR_LIMIT;
    account->peers -= !err;
    return err;
}

static enum err is_kept(struct store *store, const uint8_t tag[STORE_TAG_SIZE], bool *is_kept_out)
{
    sqlite3_stmt *statement;
    *is_kept_out = false;
    enum err err = prepare(store, "SELECT 1 FROM peer WHERE tag = ?", tag, &statement);
    if (err)
        return err;
    const int result = sqlite3_step(statement);
    *is_kept_out = result == SQLITE_ROW;
    err = store_err(&store->durable, result, "look for a correspondent");
    store_release(statement);
    return err;
}

static enum err write(struct store *store, struct store_account *account, const uint8_t tag[STORE_TAG_SIZE],
                      struct span sealed, enum store_peer_rank rank, int64_t at)
{
    bool is_there;
    sqlite3_stmt *statement;
    enum err err = is_kept(store, tag, &is_there);
    if (!err && !is_there)
        err = count(store, account);
    if (!err && !is_there)
        err = make_room(store, account);
    if (!err)
        err = prepare(store,
                      "INSERT INTO peer (tag, account, rank, at, sealed) VALUES (?, ?, ?, ?, ?) ON CONFLICT (tag) DO"
                      " UPDATE SET rank = excluded.rank, at = excluded.at, sealed = excluded.sealed",
                      tag, &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 2, bytes_of(account->id));
    sqlite3_bind_int(statement, 3, (int)rank);
    sqlite3_bind_int64(statement, 4, at);
    store_bind_bytes(statement, 5, sealed);
    err = store_finish(&store->durable, statement, "keep what is known of a correspondent");
    account->peers += !err && !is_there;
    return err;
}

enum err store_peer_put(struct store *store, const char *name, const char *address, struct span record,
                        enum store_peer_rank rank, int64_t at)
{
    struct store_account *account;
    uint8_t tag[STORE_TAG_SIZE];
    struct buf sealed;
    if (record.len == 0 || record.len > STORE_PEER_MAX)
        return ERR_LIMIT;
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = tag_of(store, name, address, tag);
    if (err)
        return err;
    buf_init(&sealed, SEALED_MAX);
    err = store_seal(store, bytes_of(tag), record, &sealed);
    if (!err)
        err = store_begin(store, &store->durable);
    if (!err)
        err = store_end(store, &store->durable, write(store, account, tag, buf_span(&sealed), rank, at));
    buf_fini(&sealed);
    return err;
}

enum err store_peer_get(struct store *store, const char *name, const char *address, struct buf *out)
{
    uint8_t tag[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    enum err err = tag_of(store, name, address, tag);
    if (!err)
        err = prepare(store, "SELECT sealed FROM peer WHERE tag = ?", tag, &statement);
    if (err)
        return err;
    const int result = sqlite3_step(statement);
    err = store_err(&store->durable, result, "read what is known of a correspondent");
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    if (!err && (err = store_unseal(store, bytes_of(tag), store_column(statement, 0), out)) == ERR_STORE)
        err = log_failure(ERR_DAMAGED, "store: what is known of %s to %s", address, name);
    store_release(statement);
    return err;
}

enum err store_peer_remove(struct store *store, const char *name, const char *address)
{
    struct store_account *account;
    uint8_t tag[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = tag_of(store, name, address, tag);
    if (!err)
        err = store_begin(store, &store->durable);
    if (err)
        return err;
    err = prepare(store, "DELETE FROM peer WHERE tag = ?", tag, &statement);
    if (!err)
        err = store_finish(&store->durable, statement, "remove what is known of a correspondent");
    if (!err && sqlite3_changes(store->durable.handle) == 0)
        err = ERR_NOT_FOUND;
    account->peers -= !err;
    store->wants_checkpoint = store->wants_checkpoint || !err;
    return store_end(store, &store->durable, err);
}

static enum err tell(struct store *store, sqlite3_stmt *statement, struct buf *record, store_peer_fn fn, void *context)
{
    const struct span tag = store_column(statement, 0);
    buf_clear(record);
    enum err err = tag.len == STORE_TAG_SIZE ? store_unseal(store, tag, store_column(statement, 1), record) : ERR_STORE;
    if (err == ERR_STORE)
        return ERR_DAMAGED;
    return err ? err : fn(buf_span(record), context);
}

enum err store_peer_each(struct store *store, const char *name, store_peer_fn fn, void *context, size_t *damaged)
{
    struct store_account *account;
    sqlite3_stmt *statement;
    struct buf record;
    *damaged = 0;
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = prepare(store, "SELECT tag, sealed FROM peer WHERE account = ?", account->id, &statement);
    if (err)
        return err;
    buf_init(&record, SEALED_MAX);
    int result = SQLITE_DONE;
    while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        err = tell(store, statement, &record, fn, context);
        *damaged += err == ERR_DAMAGED;
        err = err == ERR_DAMAGED ? ERR_OK : err;
    }
    if (!err)
        err = store_err(&store->durable, result, "read the records of correspondents");
    store_release(statement);
    buf_fini(&record);
    if (*damaged)
        log_error("store: %zu records of correspondents of %s do not open", *damaged, name);
    return err;
}

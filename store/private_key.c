#include "store/private_key.h"

#include "base/log.h"
#include "store/view_internal.h"

#include <string.h>

static struct span id_of(const struct store_account *account)
{
    return (struct span){(const char *)account->id, STORE_TAG_SIZE};
}

static bool is_fingerprint(struct span text)
{
    if (text.len == 0 || text.len >= STORE_FINGERPRINT_SIZE)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] < '0' || text.ptr[i] > '9') && (text.ptr[i] < 'A' || text.ptr[i] > 'F'))
            return false;
    return true;
}

enum err store_private_key_row(struct store_account *account, struct span fingerprint, struct store_row *row_out)
{
    uint8_t tag[STORE_TAG_SIZE];
    enum err err = store_account_tag(account, STORE_TAG_PRIVATE_KEY, fingerprint, tag);
    if (!err)
        *row_out = store_row(STORE_ROW_PRIVATE_KEY, tag, 0);
    return err;
}

/* With its keys. */
static enum err look_up(struct store *store, const char *name, const char *fingerprint,
                        struct store_account **account_out, struct store_row *row_out)
{
    if (!is_fingerprint(span_of(fingerprint)))
        return ERR_INTERNAL;
    enum err err = store_account(store, name, account_out);
    return err ? err : store_private_key_row(*account_out, span_of(fingerprint), row_out);
}

static enum err prepare(struct store *store, const char *sql, const struct store_account *account,
                        const char *fingerprint, sqlite3_stmt **statement_out)
{
    enum err err = store_prepare(&store->durable, sql, statement_out);
    if (err)
        return err;
    store_bind_bytes(*statement_out, 1, id_of(account));
    store_bind_bytes(*statement_out, 2, span_of(fingerprint));
    return ERR_OK;
}

enum err store_private_key_count(struct store *store, const struct store_account *account, int64_t *count_out)
{
    sqlite3_stmt *statement;
    *count_out = 0;
    enum err err = store_prepare(&store->durable, "SELECT count(*) FROM private_key WHERE account = ?", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, id_of(account));
    const int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *count_out = sqlite3_column_int64(statement, 0);
    err = store_err(&store->durable, result, "count private keys");
    store_release(statement);
    return err;
}

static enum err insert(struct store *store, const struct store_account *account, const char *fingerprint,
                       struct span sealed)
{
    int64_t count;
    sqlite3_stmt *statement;
    enum err err = store_private_key_count(store, account, &count);
    if (!err && count >= STORE_PRIVATE_KEYS_MAX)
        err = ERR_LIMIT;
    if (!err)
        err = prepare(store,
                      "INSERT INTO private_key (account, fingerprint, sealed) VALUES (?, ?, ?)"
                      " ON CONFLICT DO UPDATE SET sealed = excluded.sealed",
                      account, fingerprint, &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 3, sealed);
    return store_finish(&store->durable, statement, "keep a private key");
}

enum err store_private_key_put(struct store *store, const char *name, const char *fingerprint, struct span key)
{
    struct store_account *account;
    struct store_row row;
    struct buf sealed;
    if (key.len == 0 || key.len > STORE_PRIVATE_KEY_MAX)
        return ERR_LIMIT;
    enum err err = look_up(store, name, fingerprint, &account, &row);
    if (err)
        return err;
    buf_init(&sealed, STORE_PRIVATE_KEY_MAX + 64);
    err = store_seal_with(store, account->keys.secrets, store_row_span(&row), key, &sealed);
    if (!err)
        err = store_begin(store, &store->durable);
    if (!err)
        err = store_end(store, &store->durable, insert(store, account, fingerprint, buf_span(&sealed)));
    buf_fini(&sealed);
    return err;
}

enum err store_private_key_get(struct store *store, const char *name, const char *fingerprint, struct buf *out)
{
    struct store_account *account;
    struct store_row row;
    sqlite3_stmt *statement;
    enum err err = look_up(store, name, fingerprint, &account, &row);
    if (!err)
        err = prepare(store, "SELECT sealed FROM private_key WHERE account = ? AND fingerprint = ?", account,
                      fingerprint, &statement);
    if (err)
        return err;
    const int result = sqlite3_step(statement);
    err = store_err(&store->durable, result, "read a private key");
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    if (!err)
        err = store_unseal_with(store, account->keys.secrets, store_row_span(&row), store_column(statement, 0), out);
    if (err == ERR_STORE)
        log_error("store: the private key %s of %s does not open", fingerprint, name);
    store_release(statement);
    return err;
}

enum err store_private_key_remove(struct store *store, const char *name, const char *fingerprint)
{
    struct store_account *account;
    sqlite3_stmt *statement;
    if (!is_fingerprint(span_of(fingerprint)))
        return ERR_INTERNAL;
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = store_begin(store, &store->durable);
    if (err)
        return err;
    err = prepare(store, "DELETE FROM private_key WHERE account = ? AND fingerprint = ?", account, fingerprint,
                  &statement);
    if (!err)
        err = store_finish(&store->durable, statement, "remove a private key");
    if (!err && sqlite3_changes(store->durable.handle) == 0)
        err = ERR_NOT_FOUND;
    store->wants_checkpoint = store->wants_checkpoint || !err;
    return store_end(store, &store->durable, err);
}

enum err store_private_key_list(struct store *store, const char *name, store_fingerprint_fn fn, void *context)
{
    struct store_account *account;
    sqlite3_stmt *statement;
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = store_prepare(&store->durable,
                            "SELECT fingerprint FROM private_key WHERE account = ? ORDER BY fingerprint", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, id_of(account));
    int result = SQLITE_DONE;
    while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        char fingerprint[STORE_FINGERPRINT_SIZE];
        const bool is_good = is_fingerprint(store_column(statement, 0)) &&
                             span_copy(store_column(statement, 0), fingerprint, sizeof fingerprint);
        err = is_good ? fn(fingerprint, context) : ERR_STORE;
    }
    if (!err)
        err = store_err(&store->durable, result, "list private keys");
    store_release(statement);
    return err;
}

/*
 * All of an account, in both files: sealed anew under other keys, or forgotten.
 *
 * What does not open under the old keys stays as it is: it did not open before either.
 */
#include "store/view_internal.h"

#include "base/log.h"
#include "store/private_key.h"

#include <string.h>

#define PLAIN_MAX ((size_t)65536)
#define SEALED_MORE 64

struct rekey {
    struct store *store;
    struct store_account *account;
    const struct store_keys *old;
    size_t left; /* that did not open */
};

/* Adds the value to `out` as it is sealed under the new keys. */
static enum err reseal(struct rekey *rekey, bool is_secret, const struct store_row *row, struct span sealed,
                       struct buf *out)
{
    const struct store_keys *keys = &rekey->account->keys;
    const struct span context = store_row_span(row);
    struct buf plain;
    buf_init_secret(&plain, PLAIN_MAX);
    enum err err =
        store_unseal_with(rekey->store, is_secret ? rekey->old->secrets : rekey->old->views, context, sealed, &plain);
    if (err == ERR_STORE) {
        rekey->left++;
        err = buf_add_span(out, sealed);
    } else if (!err) {
        err = store_seal_with(rekey->store, is_secret ? keys->secrets : keys->views, context, buf_span(&plain), out);
    }
    buf_fini(&plain);
    return err;
}

static void bind_id(sqlite3_stmt *statement, const struct store_account *account)
{
    store_bind_bytes(statement, 1, (struct span){(const char *)account->id, STORE_TAG_SIZE});
}

/* Row after row, so that none is changed while it is read. */
#define VIEW_NEXT                                                                                                      \
    "SELECT message, generation, decision, session_keys FROM view WHERE account = ?1"                                  \
    " AND (message, generation) > (?2, ?3) ORDER BY message, generation LIMIT 1"
#define VIEW_SET "UPDATE view SET decision = ?3, session_keys = ?4 WHERE message = ?1 AND generation = ?2"

/* ERR_NOT_FOUND: there is none after `at`, which moves on. */
static enum err next_view(struct rekey *rekey, struct store_view_row *at, bool is_first, struct buf *decision,
                          struct buf *keys)
{
    struct store_database *database = &rekey->store->durable;
    sqlite3_stmt *statement;
    enum err err = store_prepare(database, VIEW_NEXT, &statement);
    if (err)
        return err;
    bind_id(statement, rekey->account);
    store_bind_bytes(statement, 2, is_first ? SPAN_NONE : (struct span){(const char *)at->message, STORE_TAG_SIZE});
    sqlite3_bind_int64(statement, 3, is_first ? 0 : at->generation);
    const int result = sqlite3_step(statement);
    err = store_err(database, result, "read a decision");
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    const struct span message = err ? SPAN_NONE : store_column(statement, 0);
    if (!err && message.len != STORE_TAG_SIZE)
        err = ERR_STORE;
    if (!err) {
        memcpy(at->message, message.ptr, STORE_TAG_SIZE);
        at->generation = (uint32_t)sqlite3_column_int64(statement, 1);
        const struct store_row row = store_row(STORE_ROW_DECISION, at->message, at->generation);
        err = reseal(rekey, false, &row, store_column(statement, 2), decision);
    }
    if (!err) {
        const struct store_row row = store_row(STORE_ROW_KEYS, at->message, at->generation);
        err = reseal(rekey, true, &row, store_column(statement, 3), keys);
    }
    store_release(statement);
    return err;
}

static enum err rekey_views(struct rekey *rekey)
{
    struct store_view_row at = {.account = rekey->account};
    struct buf decision, keys;
    enum err err = ERR_OK;
    buf_init(&decision, PLAIN_MAX + SEALED_MORE);
    buf_init(&keys, PLAIN_MAX + SEALED_MORE);
    for (bool is_first = true; !err; is_first = false) {
        sqlite3_stmt *statement;
        buf_clear(&decision);
        buf_clear(&keys);
        err = next_view(rekey, &at, is_first, &decision, &keys);
        if (!err)
            err = store_prepare(&rekey->store->durable, VIEW_SET, &statement);
        if (err)
            break;
        store_bind_view(statement, &at);
        store_bind_bytes(statement, 3, buf_span(&decision));
        store_bind_bytes(statement, 4, buf_span(&keys));
        err = store_finish(&rekey->store->durable, statement, "seal a decision anew");
    }
    buf_fini(&decision);
    buf_fini(&keys);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* A value that is found by two numbers, of which the second may be 0. */
struct numbered {
    const char *next, *set, *doing;
    char kind;
};

/* The tag that the value is bound to stands in the third column, the value in the fourth. */
static const struct numbered MAILBOXES = {
    "SELECT id, id, tag, name FROM mailbox WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT 1",
    "UPDATE mailbox SET name = ?3 WHERE id = ?1 AND ?2 >= 0", "seal a mailbox anew", STORE_ROW_MAILBOX_LATER};
static const struct numbered PAGES = {
    "SELECT mailbox, page, ?1, entries FROM place WHERE mailbox IN (SELECT id FROM mailbox WHERE account = ?1)"
    " AND (mailbox, page) > (?2, ?3) ORDER BY mailbox, page LIMIT 1",
    "UPDATE place SET entries = ?3 WHERE mailbox = ?1 AND page = ?2", "seal places anew", STORE_ROW_PLACES_LATER};

static enum err next_numbered(struct rekey *rekey, const struct numbered *numbered, int64_t at[2], struct buf *out)
{
    struct store_database *database = &rekey->store->durable;
    sqlite3_stmt *statement;
    enum err err = store_prepare(database, numbered->next, &statement);
    if (err)
        return err;
    bind_id(statement, rekey->account);
    sqlite3_bind_int64(statement, 2, at[0]);
    if (numbered == &PAGES)
        sqlite3_bind_int64(statement, 3, at[1]);
    const int result = sqlite3_step(statement);
    err = store_err(database, result, numbered->doing);
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    const struct span tag = err ? SPAN_NONE : store_column(statement, 2);
    if (!err && tag.len != STORE_TAG_SIZE)
        err = ERR_STORE;
    if (!err) {
        at[0] = sqlite3_column_int64(statement, 0);
        at[1] = sqlite3_column_int64(statement, 1);
        const uint64_t number = numbered == &PAGES ? (uint64_t)at[0] << 24 | (uint64_t)at[1] : (uint64_t)at[0];
        const struct store_row row = store_row(numbered->kind, (const uint8_t *)tag.ptr, number);
        err = reseal(rekey, false, &row, store_column(statement, 3), out);
    }
    store_release(statement);
    return err;
}

static enum err rekey_numbered(struct rekey *rekey, const struct numbered *numbered)
{
    int64_t at[2] = {-1, -1};
    struct buf sealed;
    enum err err = ERR_OK;
    buf_init(&sealed, PLAIN_MAX + SEALED_MORE);
    while (!err) {
        sqlite3_stmt *statement;
        buf_clear(&sealed);
        err = next_numbered(rekey, numbered, at, &sealed);
        if (!err)
            err = store_prepare(&rekey->store->durable, numbered->set, &statement);
        if (err)
            break;
        sqlite3_bind_int64(statement, 1, at[0]);
        sqlite3_bind_int64(statement, 2, at[1]);
        store_bind_bytes(statement, 3, buf_span(&sealed));
        err = store_finish(&rekey->store->durable, statement, numbered->doing);
    }
    buf_fini(&sealed);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

#define PRIVATE_NEXT                                                                                                   \
    "SELECT fingerprint, sealed FROM private_key WHERE account = ?1 AND fingerprint > ?2 ORDER BY fingerprint LIMIT 1"
#define PRIVATE_SET "UPDATE private_key SET sealed = ?3 WHERE account = ?1 AND fingerprint = ?2"

/* ERR_NOT_FOUND: there is none after `fingerprint`, which moves on. */
static enum err next_private_key(struct rekey *rekey, struct buf *fingerprint, struct buf *out)
{
    struct store_database *database = &rekey->store->durable;
    sqlite3_stmt *statement;
    struct store_row row;
    enum err err = store_prepare(database, PRIVATE_NEXT, &statement);
    if (err)
        return err;
    bind_id(statement, rekey->account);
    store_bind_bytes(statement, 2, buf_span(fingerprint));
    const int result = sqlite3_step(statement);
    err = store_err(database, result, "read a private key");
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    buf_clear(fingerprint);
    if (!err)
        err = buf_add_span(fingerprint, store_column(statement, 0));
    if (!err)
        err = store_private_key_row(rekey->account, buf_span(fingerprint), &row);
    if (!err)
        err = reseal(rekey, true, &row, store_column(statement, 1), out);
    store_release(statement);
    return err;
}

static enum err rekey_private_keys(struct rekey *rekey)
{
    struct buf fingerprint, sealed;
    enum err err = ERR_OK;
    buf_init(&fingerprint, STORE_FINGERPRINT_SIZE);
    buf_init(&sealed, PLAIN_MAX + SEALED_MORE);
    while (!err) {
        sqlite3_stmt *statement;
        buf_clear(&sealed);
        err = next_private_key(rekey, &fingerprint, &sealed);
        if (!err)
            err = store_prepare(&rekey->store->durable, PRIVATE_SET, &statement);
        if (err)
            break;
        bind_id(statement, rekey->account);
        store_bind_bytes(statement, 2, buf_span(&fingerprint));
        store_bind_bytes(statement, 3, buf_span(&sealed));
        err = store_finish(&rekey->store->durable, statement, "seal a private key anew");
    }
    buf_fini(&fingerprint);
    buf_fini(&sealed);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err clear_views(struct store *store, const struct store_account *account)
{
    enum err err = store_views_clear(store, account);
    return store_views_mended(store, err) ? ERR_OK : err;
}

enum err store_account_rekey(struct store *store, struct store_account *account, const struct store_keys *old)
{
    struct rekey rekey = {.store = store, .account = account, .old = old};
    enum err err = clear_views(store, account);
    if (!err)
        err = rekey_views(&rekey);
    if (!err)
        err = rekey_numbered(&rekey, &MAILBOXES);
    if (!err)
        err = rekey_numbered(&rekey, &PAGES);
    if (!err)
        err = rekey_private_keys(&rekey);
    if (!err)
        log_info("store: the records of %s are sealed under keys of its own now", account->name);
    if (!err && rekey.left)
        log_warning("store: %zu of them do not open", rekey.left);
    return err;
}

static enum err delete_rows(struct store *store, const struct store_account *account)
{
    static const char *const deletions[] = {
        "DELETE FROM place WHERE mailbox IN (SELECT id FROM mailbox WHERE account = ?)",
        "DELETE FROM mailbox WHERE account = ?",
        "DELETE FROM reopen WHERE account = ?",
        "DELETE FROM view WHERE account = ?",
        "DELETE FROM encrypted WHERE account = ?",
        "DELETE FROM private_key WHERE account = ?",
        "DELETE FROM peer WHERE account = ?",
        "DELETE FROM account WHERE id = ?"};
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < sizeof deletions / sizeof *deletions; i++) {
        sqlite3_stmt *statement;
        err = store_prepare(&store->durable, deletions[i], &statement);
        if (err)
            break;
        bind_id(statement, account);
        err = store_finish(&store->durable, statement, "forget an account");
    }
    return err;
}

enum err store_account_forget(struct store *store, const char *name, bool with_private_keys)
{
    struct store_account *account;
    int64_t private_keys = 0;
    enum err err = store_account_named(store, name, &account);
    if (!err && !with_private_keys)
        err = store_private_key_count(store, account, &private_keys);
    if (!err && private_keys > 0)
        err = ERR_EXISTS;
    if (!err)
        err = clear_views(store, account);
    if (!err)
        err = store_account_begin(store);
    if (err)
        return err;
    err = store_account_end(store, delete_rows(store, account));
    if (!err) {
        /* Whatever becomes of the group, its row is to be looked at again. */
        account->is_unsaved = true;
        store_accounts_undone(store);
        store->wants_checkpoint = true;
    }
    store_checkpoint(store);
    return err;
}

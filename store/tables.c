/*
 * The tables of durable.sqlite, version by version: a new file gets the steps of all, an older one those that it lacks.
 */
#include "store/store_internal.h"

#include "base/log.h"

#include <stdio.h>

#define APPLICATION 0x50727653 /* "PrvS", in the database's header */
#define VERSION 6

/* From version i to i + 1. A view's session keys are apart from its decision, since they are sealed with another key.
   Accounts of version 3 have keys that come of the store's own (STORE_WRAP_DERIVED). */
static const char *const steps[VERSION] = {
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE delivery (message BLOB NOT NULL, recipient BLOB NOT NULL, address BLOB NOT NULL,"
    " at INTEGER NOT NULL, PRIMARY KEY (message, recipient)) WITHOUT ROWID;"
    "CREATE INDEX delivery_at ON delivery (at);",
    "CREATE TABLE view (message BLOB NOT NULL, generation INTEGER NOT NULL, account BLOB NOT NULL,"
    " decision BLOB NOT NULL, session_keys BLOB NOT NULL, is_failed INTEGER NOT NULL, at INTEGER NOT NULL,"
    " PRIMARY KEY (message, generation)) WITHOUT ROWID;"
    "CREATE INDEX view_account ON view (account);"
    "CREATE TABLE reopen (message BLOB NOT NULL, generation INTEGER NOT NULL, account BLOB NOT NULL,"
    " PRIMARY KEY (message, generation)) WITHOUT ROWID;" STORE_PLACE_TABLES,
    "CREATE TABLE encrypted (message BLOB PRIMARY KEY, account BLOB NOT NULL) WITHOUT ROWID;",
    "CREATE TABLE account (id BLOB PRIMARY KEY, wrap INTEGER NOT NULL, holder BLOB NOT NULL, wrapped BLOB NOT NULL,"
    " proof BLOB NOT NULL) WITHOUT ROWID;"
    "INSERT INTO account SELECT DISTINCT account, 0, x'', x'', x'' FROM"
    " (SELECT account FROM view UNION SELECT account FROM reopen UNION SELECT account FROM mailbox);",
    /* In brackets: clang takes two strings for two that lack a comma. */
    ("CREATE TABLE private_key (account BLOB NOT NULL, fingerprint BLOB NOT NULL, sealed BLOB NOT NULL,"
     " PRIMARY KEY (account, fingerprint)) WITHOUT ROWID;"),
    ("CREATE TABLE peer (id INTEGER PRIMARY KEY, tag BLOB NOT NULL UNIQUE, account BLOB NOT NULL,"
     " rank INTEGER NOT NULL, at INTEGER NOT NULL, sealed BLOB NOT NULL);"
     "CREATE INDEX peer_account ON peer (account, rank, at);")};

enum err store_check_version(struct store *store, const char *path)
{
    int64_t version, application;
    enum err err = store_number(&store->durable, "PRAGMA user_version", &version);
    if (!err)
        err = store_number(&store->durable, "PRAGMA application_id", &application);
    if (!err && (version < 1 || version > VERSION || application != APPLICATION)) {
        log_error("store: %s is not of this program, or of a newer version (%lld)", path, (long long)version);
        err = ERR_STORE;
    }
    return err;
}

static enum err take_steps(struct store *store, int64_t version)
{
    char sql[120];
    enum err err = store_begin(store, &store->durable);
    if (err)
        return err;
    for (int64_t i = version; !err && i < VERSION; i++)
        err = store_run(&store->durable, steps[i]);
    if (!err && version == 0)
        err = store_write_check(store, &store->durable);
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION, VERSION);
    if (!err)
        err = store_run(&store->durable, sql);
    return store_end(store, &store->durable, err);
}

enum err store_make_durable(struct store *store, bool is_new)
{
    int64_t version = 0;
    enum err err = is_new ? ERR_OK : store_number(&store->durable, "PRAGMA user_version", &version);
    if (err || version == VERSION)
        return err;
    if (!is_new)
        log_info("store: the records of version %lld are brought to version %d", (long long)version, VERSION);
    return take_steps(store, version);
}

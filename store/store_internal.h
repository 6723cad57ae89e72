/*
 * Inside store: the open database and its keys, for the modules that keep records in it.
 */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "base/buf.h"
#include "store/store.h"

#include <sqlite3.h>

#define STORE_KEY_SIZE 32
#define STORE_TAG_SIZE 32

struct store {
    sqlite3 *database;
    int lock;                         /* held by flock as long as the store is open */
    uint8_t seal_key[STORE_KEY_SIZE]; /* AES-256-GCM */
    uint8_t tag_key[STORE_KEY_SIZE];  /* HMAC-SHA-256 */
};

/* What SQLite's result means; logs what was being done. SQLITE_OK, _ROW and _DONE are ERR_OK. */
ERR_RETURN enum err store_err(struct store *store, int result, const char *doing);
ERR_RETURN enum err store_run(struct store *store, const char *sql);
ERR_RETURN enum err store_prepare(struct store *store, const char *sql, sqlite3_stmt **statement_out);
/* Runs to the end a statement that gives no rows, and finishes it whatever happens. */
ERR_RETURN enum err store_finish(struct store *store, sqlite3_stmt *statement, const char *doing);
/* The bytes of a column; valid until the statement's next step. */
struct span store_column(sqlite3_stmt *statement, int column);

#endif

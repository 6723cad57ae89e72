/*
 * Inside store: the open databases, the keys, and how calls become transactions; for the modules that keep records.
 */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "base/buf.h"
#include "store/account.h"

#include <openssl/evp.h>
#include <sqlite3.h>

#define STORE_KEY_SIZE 32
#define STORE_TAG_SIZE 32
#define STORE_PATH_SIZE 600
#define STORE_STATEMENTS_MAX 64
#define STORE_ACCOUNTS_MAX 4096 /* in one life of the process */
#define STORE_ACCOUNT_MAX 1024  /* bytes of an account's name */

/* ---- database.c: one file, its prepared statements, its transactions ---- */

struct store_database {
    sqlite3 *handle; /* NULL: not open */
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } statements[STORE_STATEMENTS_MAX];
    size_t statements_len;
    bool is_damaged; /* SQLite has said so since it was opened */
};

/* Opens the file, made with 0600 if missing; `is_new_out` says that nothing was ever written to it. Nothing is written
   now, nor when it is closed before store_database_begin_writing. */
ERR_RETURN enum err store_database_open(struct store_database *database, const char *path, bool *is_new_out);
/* From here on commits go to the write-ahead log: wholly on disk when they return, or, not `is_durable`, whenever the
   kernel gets to it. */
ERR_RETURN enum err store_database_begin_writing(struct store_database *database, bool is_durable);
void store_database_close(struct store_database *database);

/* What SQLite's result means; logs what was being done. SQLITE_OK, _ROW and _DONE are ERR_OK. */
ERR_RETURN enum err store_err(struct store_database *database, int result, const char *doing);
ERR_RETURN enum err store_run(struct store_database *database, const char *sql);
/* A statement from `sql`, which must be a literal: it is prepared once and kept. Ends with store_finish or
   store_release, before what was bound to it goes. */
ERR_RETURN enum err store_prepare(struct store_database *database, const char *sql, sqlite3_stmt **statement_out);
/* Runs to the end a statement that gives no rows, and releases it whatever happens. */
ERR_RETURN enum err store_finish(struct store_database *database, sqlite3_stmt *statement, const char *doing);
void store_release(sqlite3_stmt *statement);
/* The bytes of a column; valid until the statement's next step. */
struct span store_column(sqlite3_stmt *statement, int column);
/* The first column of the first row of a literal `sql`, 0 if there is none. */
ERR_RETURN enum err store_number(struct store_database *database, const char *sql, int64_t *number_out);
void store_bind_bytes(sqlite3_stmt *statement, int index, struct span bytes);

/* One call's changes to one database: all of them, or none. store_end commits if `err` is ERR_OK, and gives what
   became of it. In a group they are part of the group's transaction. */
ERR_RETURN enum err store_begin(struct store *store, struct store_database *database);
ERR_RETURN enum err store_end(struct store *store, struct store_database *database, enum err err);

/* ---- the store ---- */

/* The keys of an account, in the order in which they are derived, sealed and handed out. */
struct store_keys {
    uint8_t views[STORE_KEY_SIZE];
    uint8_t secrets[STORE_KEY_SIZE];
    uint8_t tag[STORE_KEY_SIZE];
};

struct store_account {
    char *name;
    uint8_t id[STORE_TAG_SIZE];
    bool is_read;    /* its row was looked at */
    bool is_open;    /* keys and tagger are there */
    bool is_unsaved; /* its row is part of a transaction that is open */
    bool are_peers_counted;
    int64_t peers; /* records of correspondents, once counted: with what the open transaction has changed */
    struct store_keys keys;
    EVP_MAC_CTX *tagger; /* HMAC-SHA-256 with the account's own key */
};

struct store {
    struct store_database durable, views;
    char dir[STORE_PATH_SIZE];
    int lock; /* held by flock as long as the store is open */
    bool is_group;
    enum err group_err;               /* the group's transaction is lost; why */
    uint8_t seal_key[STORE_KEY_SIZE]; /* AES-256-GCM */
    uint8_t tag_key[STORE_KEY_SIZE];  /* HMAC-SHA-256 */
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *sealer;
    struct store_account **accounts;
    size_t accounts_len;
    uint8_t credential_key[STORE_KEY_SIZE]; /* AES-256-GCM */
    bool has_credential;
    bool wants_checkpoint; /* keys were wrapped anew: what the log still holds of the old form must go */
};

/* ---- seal.c ---- */
ERR_RETURN enum err store_seal_begin(struct store *store);
void store_seal_end(struct store *store);
ERR_RETURN enum err store_seal_with(struct store *store, const uint8_t key[STORE_KEY_SIZE], struct span context,
                                    struct span plain, struct buf *out);
ERR_RETURN enum err store_unseal_with(struct store *store, const uint8_t key[STORE_KEY_SIZE], struct span context,
                                      struct span sealed, struct buf *out);
/* A value that shows whether a database and the key belong together. */
ERR_RETURN enum err store_write_check(struct store *store, struct store_database *database);
ERR_RETURN enum err store_read_check(struct store *store, struct store_database *database);

/* ---- account.c: what belongs to one account alone ---- */
/* Borrowed until the store is closed. The keys of an account that is new are made. ERR_KEY_LOCKED. */
ERR_RETURN enum err store_account(struct store *store, const char *name, struct store_account **account_out);
/* The same without its keys: name and id alone are there. */
ERR_RETURN enum err store_account_named(struct store *store, const char *name, struct store_account **account_out);
void store_accounts_free(struct store *store);
/* What was written of accounts is on disk, or it is taken back: then their rows are looked at again, and their
   correspondents counted. */
void store_accounts_saved(struct store *store);
void store_accounts_undone(struct store *store);
/* Puts the keys to use. */
ERR_RETURN enum err store_account_take(struct store_account *account, const struct store_keys *keys);
/* HKDF-SHA-256 (RFC 5869) of `secret`, without salt. */
ERR_RETURN enum err store_derive(struct span secret, struct span info, void *out, size_t size);
/* The keys that earlier versions used. */
ERR_RETURN enum err store_account_derived(struct store *store, const char *name, struct store_keys *keys_out);
/* By which a row of `kind` is found without telling what it holds. */
ERR_RETURN enum err store_account_tag(struct store_account *account, char kind, struct span text,
                                      uint8_t tag_out[STORE_TAG_SIZE]);

/* ---- account_row.c: the row that holds an account's keys ---- */
/* Opens the account by its row, and makes one if it has none. ERR_KEY_LOCKED: that takes another's help. */
ERR_RETURN enum err store_account_read(struct store *store, struct store_account *account);
/* Writes how the keys are kept; `proof` tells the right ones from others. In a transaction of the caller's. */
ERR_RETURN enum err store_account_write(struct store *store, struct store_account *account, enum store_wrap wrap,
                                        struct span holder, struct span wrapped);
/* A transaction on durable.sqlite, within another or alone. */
ERR_RETURN enum err store_account_begin(struct store *store);
ERR_RETURN enum err store_account_end(struct store *store, enum err err);
/* Nothing of what was replaced is left in the files: when no transaction is open. */
void store_checkpoint(struct store *store);

/* ---- account_rekey.c ---- */
/* Seals everything durable of the account, which has the keys `old`, under the keys that it has now, but for the tags:
   those stay. What can be made again is dropped. In a transaction of the caller's. */
ERR_RETURN enum err store_account_rekey(struct store *store, struct store_account *account,
                                        const struct store_keys *old);

/* What a sealed value is bound to: its kind, its row's tag and a number. */
struct store_row {
    char bytes[1 + STORE_TAG_SIZE + 8];
};
struct store_row store_row(char kind, const uint8_t tag[STORE_TAG_SIZE], uint64_t number);
struct span store_row_span(const struct store_row *row);

/* ---- private_key.c ---- */
/* What the private key of an account that is open is bound to. */
ERR_RETURN enum err store_private_key_row(struct store_account *account, struct span fingerprint,
                                          struct store_row *row_out);
ERR_RETURN enum err store_private_key_count(struct store *store, const struct store_account *account,
                                            int64_t *count_out);

/* ---- tables.c ---- */
/* ERR_STORE if durable.sqlite is not of this program, or of a version that we do not know. */
ERR_RETURN enum err store_check_version(struct store *store, const char *path);
/* Brings durable.sqlite, new or of an earlier version, to the present one. */
ERR_RETURN enum err store_make_durable(struct store *store, bool is_new);

/* ---- view_file.c ---- */
/* Opens views.sqlite; what is not a whole one of ours is made anew. */
ERR_RETURN enum err store_views_open(struct store *store, bool is_expected);
/* Drops what can be made again of one account. */
ERR_RETURN enum err store_views_clear(struct store *store, const struct store_account *account);
/* True if `err` came of damage in views.sqlite, which has been made anew: the call is to be tried once more. */
bool store_views_mended(struct store *store, enum err err);

/* The tables of mailboxes and places, which both files have. */
#define STORE_PLACE_TABLES                                                                                             \
    "CREATE TABLE mailbox (id INTEGER PRIMARY KEY, tag BLOB NOT NULL UNIQUE, account BLOB NOT NULL,"                   \
    " name BLOB NOT NULL);"                                                                                            \
    "CREATE TABLE place (mailbox INTEGER NOT NULL, page INTEGER NOT NULL, places INTEGER NOT NULL,"                    \
    " entries BLOB NOT NULL, PRIMARY KEY (mailbox, page)) WITHOUT ROWID;"

#endif

/*
 * The row of an account: how its keys are kept, by whom they are opened, and the keys themselves, wrapped.
 *
 * It is written together with what first needs it: a transaction that fails takes the row and the keys back. Where a
 * row is replaced, the old bytes are overwritten in the file (secure_delete) and leave the write-ahead log with the
 * next checkpoint, which follows the commit at once, or, after a crash, the next opening.
 */
#include "store/store_internal.h"

#include "base/log.h"
#include "base/secret.h"

#include <openssl/rand.h>
#include <string.h>

#define KEYS_VERSION 1
#define SEALED_MORE 64
#define CREDENTIAL_INFO SPAN_LIT("privyseal/store/credential")

enum { TAG_PROOF = 'a', ROW_FILE = 'f', ROW_CREDENTIAL = 'c', ROW_PASSPHRASE = 'p' };

static struct span bytes_of(const uint8_t *bytes, size_t len)
{
    return (struct span){(const char *)bytes, len};
}

/* ---- transactions ---- */

enum err store_account_begin(struct store *store)
{
    if (store->is_group && store->group_err)
        return store->group_err;
    return store_run(&store->durable, "SAVEPOINT account");
}

enum err store_account_end(struct store *store, enum err err)
{
    sqlite3 *handle = store->durable.handle;
    if (!err)
        err = store_run(&store->durable, "RELEASE account");
    if (err && !sqlite3_get_autocommit(handle) && store_run(&store->durable, "ROLLBACK TO account; RELEASE account") &&
        store->is_group)
        store->group_err = err;
    if (err && store->is_group && sqlite3_get_autocommit(handle))
        store->group_err = err;
    if (err)
        store_accounts_undone(store);
    else if (sqlite3_get_autocommit(handle))
        store_accounts_saved(store);
    return err;
}

void store_checkpoint(struct store *store)
{
    if (!store->wants_checkpoint || !sqlite3_get_autocommit(store->durable.handle))
        return;
    store->wants_checkpoint = store_run(&store->durable, "PRAGMA wal_checkpoint(TRUNCATE)") != ERR_OK;
}

/* ---- the bytes ---- */

/* Of all of them, keyed with one. */
static enum err prove(struct store_account *account, uint8_t proof_out[STORE_TAG_SIZE])
{
    const struct span keys = bytes_of((const uint8_t *)&account->keys, sizeof account->keys);
    return store_account_tag(account, TAG_PROOF, keys, proof_out);
}

enum err store_account_write(struct store *store, struct store_account *account, enum store_wrap wrap,
                             struct span holder, struct span wrapped)
{
    uint8_t proof[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    enum err err = prove(account, proof);
    if (!err)
        err = store_prepare(&store->durable,
                            "INSERT OR REPLACE INTO account (id, wrap, holder, wrapped, proof) VALUES (?, ?, ?, ?, ?)",
                            &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, bytes_of(account->id, STORE_TAG_SIZE));
    sqlite3_bind_int(statement, 2, (int)wrap);
    store_bind_bytes(statement, 3, holder);
    store_bind_bytes(statement, 4, wrapped);
    store_bind_bytes(statement, 5, bytes_of(proof, sizeof proof));
    store->wants_checkpoint = true;
    return store_finish(&store->durable, statement, "keep the keys of an account");
}

static struct store_row sealed_row(const struct store_account *account, enum store_wrap wrap)
{
    const char kind = wrap == STORE_WRAP_PASSPHRASE   ? ROW_PASSPHRASE
                      : wrap == STORE_WRAP_CREDENTIAL ? ROW_CREDENTIAL
                                                      : ROW_FILE;
    return store_row(kind, account->id, 0);
}

static const uint8_t *sealing_key(const struct store *store, enum store_wrap wrap)
{
    return wrap == STORE_WRAP_CREDENTIAL ? store->credential_key : store->seal_key;
}

static enum err write_sealed_with(struct store *store, struct store_account *account, enum store_wrap wrap,
                                  struct span holder, const uint8_t key[STORE_KEY_SIZE])
{
    const struct store_row context = sealed_row(account, wrap);
    struct buf sealed;
    buf_init(&sealed, sizeof account->keys + SEALED_MORE);
    enum err err = store_seal_with(store, key, store_row_span(&context),
                                   bytes_of((const uint8_t *)&account->keys, sizeof account->keys), &sealed);
    if (!err)
        err = store_account_write(store, account, wrap, holder, buf_span(&sealed));
    buf_fini(&sealed);
    return err;
}

/* With the best key that is here. */
static enum err write_sealed(struct store *store, struct store_account *account)
{
    const enum store_wrap wrap = store->has_credential ? STORE_WRAP_CREDENTIAL : STORE_WRAP_FILE;
    return write_sealed_with(store, account, wrap, SPAN_NONE, sealing_key(store, wrap));
}

/* ---- reading ---- */

/* What stands in a row, borrowed from the statement. */
struct row {
    enum store_wrap wrap;
    struct span holder, wrapped, proof;
};

/* ERR_NOT_FOUND. The statement is to be released. */
static enum err look_up(struct store *store, const struct store_account *account, sqlite3_stmt **statement_out,
                        struct row *row)
{
    enum err err =
        store_prepare(&store->durable, "SELECT wrap, holder, wrapped, proof FROM account WHERE id = ?", statement_out);
    if (err)
        return err;
    store_bind_bytes(*statement_out, 1, bytes_of(account->id, STORE_TAG_SIZE));
    const int result = sqlite3_step(*statement_out);
    err = store_err(&store->durable, result, "look the keys of an account up");
    if (err || result != SQLITE_ROW)
        return err ? err : ERR_NOT_FOUND;
    const int wrap = sqlite3_column_int(*statement_out, 0);
    *row = (struct row){.wrap = (enum store_wrap)wrap,
                        .holder = store_column(*statement_out, 1),
                        .wrapped = store_column(*statement_out, 2),
                        .proof = store_column(*statement_out, 3)};
    return wrap >= 0 && wrap < STORE_WRAP_COUNT ? ERR_OK : log_failure(ERR_STORE, "keys wrapped in a way not known");
}

/* ERR_STORE: this key did not seal it. */
static enum err unseal_with(struct store *store, struct store_account *account, const struct row *row,
                            const uint8_t key[STORE_KEY_SIZE])
{
    const struct store_row context = sealed_row(account, row->wrap);
    struct store_keys keys;
    struct buf plain;
    buf_init_secret(&plain, sizeof keys + 1);
    enum err err = store_unseal_with(store, key, store_row_span(&context), row->wrapped, &plain);
    if (!err && plain.len != sizeof keys)
        err = ERR_STORE;
    if (!err) {
        memcpy(&keys, plain.data, sizeof keys);
        err = store_account_take(account, &keys);
        secret_wipe(&keys, sizeof keys);
    }
    buf_fini(&plain);
    return err;
}

static enum err unseal(struct store *store, struct store_account *account, const struct row *row)
{
    enum err err = unseal_with(store, account, row, sealing_key(store, row->wrap));
    return err == ERR_STORE ? log_failure(err, "the keys of %s do not open", account->name) : err;
}

static enum err make_keys(struct store_account *account)
{
    struct store_keys keys;
    enum err err = RAND_priv_bytes((unsigned char *)&keys, (int)sizeof keys) == 1 ? ERR_OK : ERR_STORE;
    if (!err)
        err = store_account_take(account, &keys);
    secret_wipe(&keys, sizeof keys);
    return err;
}

static enum err make_row(struct store *store, struct store_account *account)
{
    enum err err = make_keys(account);
    return err ? err : write_sealed(store, account);
}

/* Keys that come of the store's own are kept by nothing but that: they are replaced, but for the one that makes tags,
   of which the digests that it was used for are not known any more. */
static enum err replace_derived(struct store *store, struct store_account *account)
{
    struct store_keys old, keys;
    enum err err = store_account_derived(store, account->name, &old);
    if (!err)
        err = make_keys(account);
    keys = account->keys;
    memcpy(keys.tag, old.tag, sizeof keys.tag);
    if (!err)
        err = store_account_take(account, &keys);
    if (!err)
        err = store_account_rekey(store, account, &old);
    if (!err)
        err = write_sealed(store, account);
    secret_wipe(&old, sizeof old);
    secret_wipe(&keys, sizeof keys);
    return err;
}

enum err store_account_read(struct store *store, struct store_account *account)
{
    sqlite3_stmt *statement = NULL;
    struct row row = {.wrap = STORE_WRAP_FILE};
    enum err err = store_account_begin(store);
    if (err)
        return err;
    err = look_up(store, account, &statement, &row);
    const bool is_new = err == ERR_NOT_FOUND;
    const bool is_sealed =
        !err && (row.wrap == STORE_WRAP_FILE || (row.wrap == STORE_WRAP_CREDENTIAL && store->has_credential));
    if (is_sealed)
        err = unseal(store, account, &row);
    if (statement)
        store_release(statement);
    account->is_unsaved = true;
    if (is_new)
        err = make_row(store, account);
    else if (!err && row.wrap == STORE_WRAP_DERIVED)
        err = replace_derived(store, account);
    else if (is_sealed && !err && row.wrap == STORE_WRAP_FILE && store->has_credential)
        err = write_sealed(store, account);
    account->is_read = !err;
    err = store_account_end(store, err);
    store_checkpoint(store);
    return err;
}

/* ---- what others are told and hand over ---- */

enum err store_use_credential(struct store *store, struct span credential)
{
    if (credential.len < STORE_CREDENTIAL_MIN)
        return ERR_LIMIT;
    enum err err = store_derive(credential, CREDENTIAL_INFO, store->credential_key, STORE_KEY_SIZE);
    store->has_credential = !err;
    return err;
}

enum err store_account_kept(struct store *store, const char *name, struct store_kept *kept)
{
    struct store_account *account;
    sqlite3_stmt *statement = NULL;
    struct row row = {.wrap = STORE_WRAP_FILE};
    *kept = (struct store_kept){.wrap = STORE_WRAP_FILE};
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = look_up(store, account, &statement, &row);
    if (!err) {
        kept->wrap = row.wrap;
        kept->is_open = account->is_open || row.wrap == STORE_WRAP_FILE || row.wrap == STORE_WRAP_DERIVED ||
                        (row.wrap == STORE_WRAP_CREDENTIAL && store->has_credential);
        (void)span_copy(row.holder, kept->holder, sizeof kept->holder);
    }
    if (statement)
        store_release(statement);
    return err;
}

enum err store_account_wrapped(struct store *store, const char *name, struct buf *out)
{
    struct store_account *account;
    sqlite3_stmt *statement = NULL;
    struct row row = {.wrap = STORE_WRAP_FILE};
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = look_up(store, account, &statement, &row);
    if (!err)
        err = row.wrap == STORE_WRAP_OPENPGP ? buf_add_span(out, row.wrapped) : ERR_NOT_FOUND;
    if (statement)
        store_release(statement);
    return err;
}

/* A version, the id and the keys. */
enum err store_account_keys(struct store *store, const char *name, struct buf *out)
{
    struct store_account *account;
    enum err err = store_account(store, name, &account);
    if (!err)
        err = buf_add_byte(out, KEYS_VERSION);
    if (!err)
        err = buf_add(out, account->id, sizeof account->id);
    if (!err)
        err = buf_add(out, &account->keys, sizeof account->keys);
    return err;
}
_Static_assert(1 + STORE_TAG_SIZE + sizeof(struct store_keys) == STORE_KEYS_SIZE, "the size of an account's keys");

enum err store_account_proof(struct store *store, const char *name, uint8_t proof_out[STORE_PROOF_SIZE])
{
    struct store_account *account;
    enum err err = store_account(store, name, &account);
    return err ? err : prove(account, proof_out);
}
_Static_assert(STORE_PROOF_SIZE == STORE_TAG_SIZE, "a proof is a tag");

/* The keys prove to be those that were wrapped, or the account is as it was: locked. */
static enum err check_proof(struct store *store, struct store_account *account)
{
    uint8_t proof[STORE_TAG_SIZE];
    sqlite3_stmt *statement = NULL;
    struct row row = {.wrap = STORE_WRAP_FILE};
    enum err err = look_up(store, account, &statement, &row);
    if (!err)
        err = prove(account, proof);
    if (!err && !secret_is_equal(row.proof, bytes_of(proof, sizeof proof)))
        err = log_failure(ERR_STORE, "what was unwrapped are not the keys of %s", account->name);
    if (statement)
        store_release(statement);
    return err;
}

enum err store_account_open(struct store *store, const char *name, struct span text)
{
    struct store_account *account;
    struct store_keys keys;
    enum err err = store_account_named(store, name, &account);
    if (err || account->is_open)
        return err;
    const size_t head = 1 + STORE_TAG_SIZE;
    if (text.len != STORE_KEYS_SIZE || text.ptr[0] != KEYS_VERSION ||
        !span_is_equal(span_slice(text, 1, head), bytes_of(account->id, STORE_TAG_SIZE)))
        return log_failure(ERR_STORE, "what was unwrapped are no keys of %s", name);
    memcpy(&keys, text.ptr + head, sizeof keys);
    err = store_account_take(account, &keys);
    secret_wipe(&keys, sizeof keys);
    if (!err)
        err = check_proof(store, account);
    account->is_read = true;
    if (err) {
        account->is_unsaved = true;
        store_accounts_undone(store);
    }
    return err;
}

/* ERR_NOT_FOUND: there is no row yet. */
static enum err look_how(struct store *store, const struct store_account *account, enum store_wrap *wrap_out)
{
    sqlite3_stmt *statement = NULL;
    struct row row = {.wrap = STORE_WRAP_FILE};
    enum err err = look_up(store, account, &statement, &row);
    *wrap_out = row.wrap;
    if (statement)
        store_release(statement);
    return err;
}

enum err store_account_wrap(struct store *store, const char *name, const char *holder, struct span wrapped)
{
    struct store_account *account;
    enum store_wrap wrap = STORE_WRAP_FILE;
    if (strlen(holder) >= STORE_HOLDER_SIZE || wrapped.len == 0 || wrapped.len > STORE_WRAPPED_MAX)
        return ERR_LIMIT;
    enum err err = store_account(store, name, &account);
    if (!err)
        err = look_how(store, account, &wrap);
    if (!err && wrap == STORE_WRAP_PASSPHRASE)
        err = ERR_EXISTS;
    if (!err)
        err = store_account_begin(store);
    if (err)
        return err;
    err = store_account_end(store, store_account_write(store, account, STORE_WRAP_OPENPGP, span_of(holder), wrapped));
    store_checkpoint(store);
    return err;
}

enum err store_account_seal(struct store *store, const char *name, const char *recipe,
                            const uint8_t key[STORE_SEAL_SIZE])
{
    struct store_account *account;
    if (strlen(recipe) >= STORE_HOLDER_SIZE)
        return ERR_LIMIT;
    enum err err = store_account(store, name, &account);
    if (!err)
        err = store_account_begin(store);
    if (err)
        return err;
    err = store_account_end(store, write_sealed_with(store, account, STORE_WRAP_PASSPHRASE, span_of(recipe), key));
    store_checkpoint(store);
    return err;
}
_Static_assert(STORE_SEAL_SIZE == STORE_KEY_SIZE, "a key made of a passphrase seals");

enum err store_account_unseal(struct store *store, const char *name, const uint8_t key[STORE_SEAL_SIZE])
{
    struct store_account *account;
    sqlite3_stmt *statement = NULL;
    struct row row = {.wrap = STORE_WRAP_FILE};
    enum err err = store_account_named(store, name, &account);
    if (err || account->is_open)
        return err;
    err = look_up(store, account, &statement, &row);
    if (!err)
        err = row.wrap == STORE_WRAP_PASSPHRASE ? unseal_with(store, account, &row, key) : ERR_NOT_FOUND;
    if (statement)
        store_release(statement);
    account->is_read = !err;
    return err == ERR_STORE ? ERR_DECRYPT : err;
}

enum err store_account_drop_seal(struct store *store, const char *name)
{
    struct store_account *account;
    enum store_wrap wrap = STORE_WRAP_FILE;
    enum err err = store_account_named(store, name, &account);
    if (!err)
        err = look_how(store, account, &wrap);
    if (!err && wrap != STORE_WRAP_PASSPHRASE)
        err = ERR_NOT_FOUND;
    if (!err)
        err = store_account(store, name, &account);
    if (!err)
        err = store_account_begin(store);
    if (err)
        return err;
    err = store_account_end(store, write_sealed(store, account));
    store_checkpoint(store);
    return err;
}

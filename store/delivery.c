#include "store/delivery.h"

#include "base/log.h"
#include "store/store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#define DELIVERY_KEY_MAX 4096
#define DELIVERY_ADDRESS_MAX 1024
#define DELIVERY_ROOM_MIN (512 * 1024)

/* By what a message's rows are found: account, Message-ID and digest, told apart by NUL, which none of them holds
   before its end (the digest has a fixed length). */
static enum err message_tag(struct store *store, const struct store_delivery_key *key, uint8_t tag_out[STORE_TAG_SIZE])
{
    struct buf text;
    buf_init(&text, DELIVERY_KEY_MAX);
    enum err err = buf_add(&text, key->account, strlen(key->account) + 1);
    if (!err)
        err = buf_add(&text, key->message_id, strlen(key->message_id) + 1);
    if (!err)
        err = buf_add(&text, key->digest, sizeof key->digest);
    if (!err)
        err = store_tag(store, SPAN_LIT("delivery/message"), buf_span(&text), tag_out);
    buf_fini(&text);
    return err;
}

/* The row of one recipient; its bytes are also the context of the sealed address. */
struct delivery_row {
    uint8_t message[STORE_TAG_SIZE];
    uint8_t recipient[STORE_TAG_SIZE];
};

static struct span row_span(const struct delivery_row *row)
{
    return (struct span){(const char *)row, sizeof *row};
}

static enum err insert(struct store *store, const uint8_t message[STORE_TAG_SIZE], const char *address, int64_t now)
{
    struct delivery_row row;
    memcpy(row.message, message, STORE_TAG_SIZE);
    const struct span context = {(const char *)message, STORE_TAG_SIZE};
    enum err err = store_tag(store, context, span_of(address), row.recipient);
    struct buf sealed;
    buf_init(&sealed, DELIVERY_ADDRESS_MAX);
    if (!err)
        err = store_seal(store, row_span(&row), span_of(address), &sealed);
    sqlite3_stmt *statement = NULL;
    if (!err)
        err = store_prepare(&store->durable,
                            "INSERT INTO delivery (message, recipient, address, at) VALUES (?, ?, ?, ?)"
                            " ON CONFLICT DO NOTHING",
                            &statement);
    if (!err) {
        sqlite3_bind_blob(statement, 1, row.message, STORE_TAG_SIZE, SQLITE_STATIC);
        sqlite3_bind_blob(statement, 2, row.recipient, STORE_TAG_SIZE, SQLITE_STATIC);
        sqlite3_bind_blob64(statement, 3, sealed.data, sealed.len, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 4, now);
        err = store_finish(&store->durable, statement, "add a delivery");
    }
    buf_fini(&sealed);
    return err;
}

/* A trial alone may still fit where the records of a thousand recipients do not. */
static enum err check_room(const struct store *store)
{
    struct statvfs room;
    if (fstatvfs(store->lock, &room) != 0)
        return log_failure(err_of_errno(errno), "store: asking how full the disk is");
    /* A file system without a limit of its own says 0 of 0. */
    if (room.f_blocks == 0 || room.f_bavail >= DELIVERY_ROOM_MIN / room.f_frsize)
        return ERR_OK;
    log_error("store: less than %d kB are free", DELIVERY_ROOM_MIN / 1024);
    return ERR_DISK_FULL;
}

/* A row that is gone again at once: the file is written all the same, and a full disk shows. The empty address is no
   recipient's. */
static enum err try_write(struct store *store, const uint8_t message[STORE_TAG_SIZE], int64_t now)
{
    uint8_t recipient[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    const struct span context = {(const char *)message, STORE_TAG_SIZE};
    enum err err = check_room(store);
    if (!err)
        err = insert(store, message, "", now);
    if (!err)
        err = store_tag(store, context, SPAN_NONE, recipient);
    if (!err)
        err = store_prepare(&store->durable, "DELETE FROM delivery WHERE message = ? AND recipient = ?", &statement);
    if (err)
        return err;
    sqlite3_bind_blob(statement, 1, message, STORE_TAG_SIZE, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, recipient, STORE_TAG_SIZE, SQLITE_STATIC);
    return store_finish(&store->durable, statement, "try whether the disk takes a delivery");
}

enum err store_delivery_add(struct store *store, const struct store_delivery_key *key, const char *const *addresses,
                            size_t addresses_len, int64_t now)
{
    uint8_t message[STORE_TAG_SIZE];
    enum err err = message_tag(store, key, message);
    if (err)
        return err;
    err = store_begin(store, &store->durable);
    if (err)
        return err;
    if (addresses_len == 0)
        err = try_write(store, message, now);
    for (size_t i = 0; !err && i < addresses_len; i++)
        err = insert(store, message, addresses[i], now);
    return store_end(store, &store->durable, err);
}

static enum err tell(struct store *store, sqlite3_stmt *statement, const uint8_t message[STORE_TAG_SIZE],
                     store_recipient_fn fn, void *context)
{
    struct delivery_row row;
    const struct span recipient = store_column(statement, 0);
    memcpy(row.message, message, STORE_TAG_SIZE);
    if (recipient.len != STORE_TAG_SIZE)
        return ERR_STORE;
    memcpy(row.recipient, recipient.ptr, STORE_TAG_SIZE);
    struct buf address;
    buf_init(&address, DELIVERY_ADDRESS_MAX);
    enum err err = store_unseal(store, row_span(&row), store_column(statement, 1), &address);
    if (err)
        log_error("store: the record of a delivery does not open");
    else if (memchr(address.data, '\0', address.len))
        err = ERR_STORE;
    else
        err = fn(address.data, context);
    buf_fini(&address);
    return err;
}

enum err store_delivery_get(struct store *store, const struct store_delivery_key *key, store_recipient_fn fn,
                            void *context)
{
    uint8_t message[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    enum err err = message_tag(store, key, message);
    if (!err)
        err = store_prepare(&store->durable,
                            "SELECT recipient, address FROM delivery WHERE message = ? ORDER BY recipient", &statement);
    if (err)
        return err;
    sqlite3_bind_blob(statement, 1, message, STORE_TAG_SIZE, SQLITE_STATIC);
    int result = SQLITE_DONE;
    while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW)
        err = tell(store, statement, message, fn, context);
    if (!err)
        err = store_err(&store->durable, result, "read deliveries");
    store_release(statement);
    return err;
}

enum err store_delivery_forget(struct store *store, const struct store_delivery_key *key)
{
    uint8_t message[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    enum err err = message_tag(store, key, message);
    if (!err)
        err = store_prepare(&store->durable, "DELETE FROM delivery WHERE message = ?", &statement);
    if (err)
        return err;
    sqlite3_bind_blob(statement, 1, message, STORE_TAG_SIZE, SQLITE_STATIC);
    return store_finish(&store->durable, statement, "forget deliveries");
}

enum err store_delivery_expire(struct store *store, int64_t now)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(&store->durable, "DELETE FROM delivery WHERE at < ?", &statement);
    if (err)
        return err;
    sqlite3_bind_int64(statement, 1, now - (int64_t)DELIVERY_DAYS * 86400);
    return store_finish(&store->durable, statement, "expire deliveries");
}

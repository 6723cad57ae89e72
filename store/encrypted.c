#include "store/encrypted.h"

#include "store/view_internal.h"

#include <string.h>

static enum err check(struct span ids)
{
    return ids.len % STORE_MESSAGE_ID_SIZE == 0 ? ERR_OK : ERR_INTERNAL;
}

/* Account and digest, told apart by NUL, which the account does not hold. */
static enum err message_tag(struct store *store, const char *account, struct span id, uint8_t tag_out[STORE_TAG_SIZE])
{
    struct buf text;
    buf_init(&text, STORE_ACCOUNT_MAX + 1 + STORE_MESSAGE_ID_SIZE);
    enum err err = buf_add(&text, account, strlen(account) + 1);
    if (!err)
        err = buf_add_span(&text, id);
    if (!err)
        err = store_tag(store, SPAN_LIT("encrypted/message"), buf_span(&text), tag_out);
    buf_fini(&text);
    return err;
}

static enum err insert(struct store *store, const struct store_account *account, struct span id)
{
    uint8_t tag[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    enum err err = message_tag(store, account->name, id, tag);
    if (!err)
        err =
            store_prepare(&store->durable,
                          "INSERT INTO encrypted (message, account) VALUES (?, ?) ON CONFLICT DO NOTHING", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)tag, sizeof tag});
    store_bind_bytes(statement, 2, (struct span){(const char *)account->id, sizeof account->id});
    return store_finish(&store->durable, statement, "keep that a message came encrypted");
}

enum err store_encrypted_insert(struct store *store, const struct store_account *account, struct span ids)
{
    enum err err = check(ids);
    for (size_t at = 0; !err && at < ids.len; at += STORE_MESSAGE_ID_SIZE)
        err = insert(store, account, span_slice(ids, at, at + STORE_MESSAGE_ID_SIZE));
    return err;
}

static enum err find(struct store *store, const char *account, struct span id, bool *is_found_out)
{
    uint8_t tag[STORE_TAG_SIZE];
    sqlite3_stmt *statement;
    enum err err = message_tag(store, account, id, tag);
    if (!err)
        err = store_prepare(&store->durable, "SELECT 1 FROM encrypted WHERE message = ?", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)tag, sizeof tag});
    const int result = sqlite3_step(statement);
    *is_found_out = result == SQLITE_ROW;
    err = store_err(&store->durable, result, "look up whether a message came encrypted");
    store_release(statement);
    return err;
}

enum err store_encrypted_find(struct store *store, const char *account, struct span ids, bool *is_found_out)
{
    *is_found_out = false;
    enum err err = check(ids);
    for (size_t at = 0; !err && !*is_found_out && at < ids.len; at += STORE_MESSAGE_ID_SIZE)
        err = find(store, account, span_slice(ids, at, at + STORE_MESSAGE_ID_SIZE), is_found_out);
    return err;
}

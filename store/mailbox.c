#include "store/mailbox.h"

#include "base/log.h"
#include "base/packed.h"

#include <stdlib.h>
#include <string.h>

#define MAILBOX_NAME_MAX 8192

bool store_mailbox_is_durable(const struct store_mailbox_row *mailbox)
{
    return mailbox->database == &mailbox->store->durable;
}

static char name_kind(const struct store_mailbox_row *mailbox)
{
    return store_mailbox_is_durable(mailbox) ? STORE_ROW_MAILBOX_LATER : STORE_ROW_MAILBOX;
}

/* The sealed value is bound to tag and id, and holds UIDVALIDITY and name. */
static enum err unseal_name(struct store_mailbox_row *mailbox, struct span sealed, struct buf *name_out)
{
    const struct store_row context = store_row(name_kind(mailbox), mailbox->tag, (uint64_t)mailbox->id);
    uint64_t uid_validity = 0;
    enum err err =
        store_unseal_with(mailbox->store, mailbox->account->keys.views, store_row_span(&context), sealed, name_out);
    struct span rest = buf_span(name_out);
    if (!err && !packed_take_number(&rest, 4, &uid_validity))
        err = ERR_STORE;
    mailbox->uid_validity = (uint32_t)uid_validity;
    buf_drop(name_out, 4);
    return err;
}

static enum err write_name(struct store_mailbox_row *mailbox, struct span name)
{
    const struct store_row context = store_row(name_kind(mailbox), mailbox->tag, (uint64_t)mailbox->id);
    struct buf plain, sealed;
    sqlite3_stmt *statement;
    buf_init(&plain, MAILBOX_NAME_MAX + 4);
    buf_init(&sealed, MAILBOX_NAME_MAX + 100);
    enum err err = packed_add_number(&plain, mailbox->uid_validity, 4);
    if (!err)
        err = buf_add_span(&plain, name);
    if (!err)
        err = store_seal_with(mailbox->store, mailbox->account->keys.views, store_row_span(&context), buf_span(&plain),
                              &sealed);
    if (!err)
        err = store_prepare(mailbox->database, "UPDATE mailbox SET tag = ?, name = ? WHERE id = ?", &statement);
    if (!err) {
        store_bind_bytes(statement, 1, (struct span){(const char *)mailbox->tag, STORE_TAG_SIZE});
        store_bind_bytes(statement, 2, buf_span(&sealed));
        sqlite3_bind_int64(statement, 3, mailbox->id);
        err = store_finish(mailbox->database, statement, "keep a mailbox");
    }
    buf_fini(&plain);
    buf_fini(&sealed);
    return err;
}

static enum err drop_mailbox(struct store_mailbox_row *mailbox)
{
    static const char *const deletions[] = {"DELETE FROM place WHERE mailbox = ?", "DELETE FROM mailbox WHERE id = ?"};
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < 2; i++) {
        sqlite3_stmt *statement;
        err = store_prepare(mailbox->database, deletions[i], &statement);
        if (err)
            break;
        sqlite3_bind_int64(statement, 1, mailbox->id);
        err = store_finish(mailbox->database, statement, "forget a mailbox");
    }
    return err;
}

/* Finds by tag. ERR_NOT_FOUND. */
static enum err find_tagged(struct store_mailbox_row *mailbox, struct buf *name_out)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(mailbox->database, "SELECT id, name FROM mailbox WHERE tag = ?", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)mailbox->tag, STORE_TAG_SIZE});
    const int result = sqlite3_step(statement);
    err = store_err(mailbox->database, result, "look a mailbox up");
    if (!err && result != SQLITE_ROW)
        err = ERR_NOT_FOUND;
    if (!err) {
        mailbox->id = sqlite3_column_int64(statement, 0);
        err = unseal_name(mailbox, store_column(statement, 1), name_out);
    }
    store_release(statement);
    return err;
}

static enum err begin_mailbox(struct store *store, struct store_database *database, const char *account,
                              struct span name, struct store_mailbox_row *mailbox)
{
    *mailbox = (struct store_mailbox_row){.store = store, .database = database};
    if (name.len > MAILBOX_NAME_MAX)
        return ERR_LIMIT;
    enum err err = store_account(store, account, &mailbox->account);
    return err ? err : store_account_tag(mailbox->account, STORE_TAG_MAILBOX, name, mailbox->tag);
}

enum err store_mailbox_find(struct store *store, struct store_database *database, const struct store_mailbox *wanted,
                            struct store_mailbox_row *mailbox)
{
    struct buf name;
    buf_init(&name, MAILBOX_NAME_MAX + 4);
    enum err err = begin_mailbox(store, database, wanted->account, wanted->name, mailbox);
    if (!err)
        err = find_tagged(mailbox, &name);
    const bool is_bad = err == ERR_STORE && mailbox->id && !store_mailbox_is_durable(mailbox) && !database->is_damaged;
    if (is_bad)
        log_warning("store: the places of a mailbox do not open; they are learnt again");
    if (is_bad || (!err && mailbox->uid_validity != wanted->uid_validity)) {
        err = drop_mailbox(mailbox);
        if (!err)
            err = ERR_NOT_FOUND;
    }
    buf_fini(&name);
    return err;
}

enum err store_mailbox_need(struct store *store, struct store_database *database, const struct store_mailbox *wanted,
                            struct store_mailbox_row *mailbox)
{
    sqlite3_stmt *statement;
    enum err err = store_mailbox_find(store, database, wanted, mailbox);
    if (err != ERR_NOT_FOUND)
        return err;
    err = store_prepare(database, "INSERT INTO mailbox (tag, account, name) VALUES (?, ?, x'')", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)mailbox->tag, STORE_TAG_SIZE});
    store_bind_bytes(statement, 2, (struct span){(const char *)mailbox->account->id, STORE_TAG_SIZE});
    err = store_finish(database, statement, "keep a mailbox");
    mailbox->id = sqlite3_last_insert_rowid(database->handle);
    mailbox->uid_validity = wanted->uid_validity;
    return err ? err : write_name(mailbox, wanted->name);
}

struct moved {
    struct store_mailbox_row mailbox;
    char *name; /* the new one; NULL: it is gone */
};
struct moves {
    struct moved *items;
    size_t len;
};

static bool is_below(struct span name, struct span above, char separator)
{
    return separator && name.len > above.len && span_has_prefix(name, above) && name.ptr[above.len] == separator;
}

/* Notes what becomes of a mailbox with this name. */
static enum err note_move(struct moves *moves, const struct store_mailbox_row *mailbox, struct span name,
                          struct span from, struct span to, char separator)
{
    const bool is_same = span_is_equal(name, from);
    if (!is_same && (!to.len || !is_below(name, from, separator)))
        return ERR_OK;
    struct moved *items = realloc(moves->items, (moves->len + 1) * sizeof *items);
    if (!items)
        return ERR_MEMORY;
    moves->items = items;
    items[moves->len] = (struct moved){.mailbox = *mailbox};
    if (to.len) {
        struct buf fresh;
        buf_init(&fresh, MAILBOX_NAME_MAX);
        enum err err = buf_add_span(&fresh, to);
        if (!err)
            err = buf_add_span(&fresh, span_skip(name, from.len));
        items[moves->len].name = err ? NULL : buf_take(&fresh);
        buf_fini(&fresh);
        if (!items[moves->len].name)
            return err ? err : ERR_MEMORY;
    }
    moves->len++;
    return ERR_OK;
}

static enum err find_moves(struct store_mailbox_row *template, struct span from, struct span to, char separator,
                           struct moves *moves)
{
    sqlite3_stmt *statement;
    struct buf name;
    int result = SQLITE_DONE;
    enum err err = store_prepare(template->database, "SELECT id, tag, name FROM mailbox WHERE account = ?", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)template->account->id, STORE_TAG_SIZE});
    buf_init(&name, MAILBOX_NAME_MAX + 4);
    while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct store_mailbox_row mailbox = *template;
        const struct span tag = store_column(statement, 1);
        mailbox.id = sqlite3_column_int64(statement, 0);
        if (tag.len != STORE_TAG_SIZE)
            continue;
        memcpy(mailbox.tag, tag.ptr, STORE_TAG_SIZE);
        buf_clear(&name);
        err = unseal_name(&mailbox, store_column(statement, 2), &name);
        if (!err)
            err = note_move(moves, &mailbox, buf_span(&name), from, to, separator);
        else if (err == ERR_STORE && !store_mailbox_is_durable(template))
            err = ERR_OK;
    }
    if (!err)
        err = store_err(template->database, result, "look mailboxes up");
    buf_fini(&name);
    store_release(statement);
    return err;
}

/* Out of the way first: one may get the name that another still has. */
static enum err hide(struct store_mailbox_row *mailbox)
{
    sqlite3_stmt *statement;
    enum err err =
        store_prepare(mailbox->database, "UPDATE mailbox SET tag = 'moving ' || id WHERE id = ?", &statement);
    if (err)
        return err;
    sqlite3_bind_int64(statement, 1, mailbox->id);
    return store_finish(mailbox->database, statement, "move a mailbox");
}

/* What was known under the name that another gets is forgotten. */
static enum err vacate(const struct store_mailbox_row *template, const char *name)
{
    struct store_mailbox_row old = *template;
    struct buf text;
    buf_init(&text, MAILBOX_NAME_MAX + 4);
    old.id = 0;
    enum err err = store_account_tag(old.account, STORE_TAG_MAILBOX, span_of(name), old.tag);
    if (!err)
        err = find_tagged(&old, &text);
    if (!err || (err == ERR_STORE && old.id && !old.database->is_damaged))
        err = drop_mailbox(&old);
    buf_fini(&text);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err move(struct store_mailbox_row *mailbox, const char *name)
{
    if (!name)
        return drop_mailbox(mailbox);
    enum err err = store_account_tag(mailbox->account, STORE_TAG_MAILBOX, span_of(name), mailbox->tag);
    return err ? err : write_name(mailbox, span_of(name));
}

/* The moves of one file; names that get a new owner in the other one are free in this one, too. */
static enum err carry_out(const struct store_mailbox_row *template, const struct moves *moves,
                          const struct moves *others)
{
    enum err err = store_begin(template->store, template->database);
    if (err)
        return err;
    for (size_t i = 0; !err && i < moves->len; i++)
        err = hide(&moves->items[i].mailbox);
    for (size_t i = 0; !err && i < others->len; i++)
        err = others->items[i].name ? vacate(template, others->items[i].name) : ERR_OK;
    for (size_t i = 0; !err && i < moves->len; i++) {
        err = moves->items[i].name ? vacate(template, moves->items[i].name) : ERR_OK;
        if (!err)
            err = move(&moves->items[i].mailbox, moves->items[i].name);
    }
    return store_end(template->store, template->database, err);
}

static void free_moves(struct moves *moves)
{
    for (size_t i = 0; i < moves->len; i++)
        free(moves->items[i].name);
    free(moves->items);
}

enum err store_places_rename(struct store *store, const char *account, struct span from, struct span to, char separator)
{
    struct store_mailbox_row views, durable;
    struct moves moves = {.len = 0}, later = {.len = 0};
    if (span_is_equal(from, to))
        return ERR_OK;
    enum err err = begin_mailbox(store, &store->views, account, from, &views);
    if (!err)
        err = begin_mailbox(store, &store->durable, account, from, &durable);
    if (err)
        return err;
    err = find_moves(&views, from, to, separator, &moves);
    if (!err || store_views_mended(store, err))
        err = find_moves(&durable, from, to, separator, &later);
    if (!err)
        err = carry_out(&views, &moves, &later);
    if (!err || store_views_mended(store, err))
        err = carry_out(&durable, &later, &moves);
    free_moves(&moves);
    free_moves(&later);
    return err;
}

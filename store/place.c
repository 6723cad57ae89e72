/*
 * Places: which UID of which mailbox holds which view, or needs none.
 *
 * Both files have the same two tables. views.sqlite holds what can be learnt again; durable.sqlite the places of later
 * generations, which count before those. 256 UIDs share a page, sealed as a whole, so that a mailbox of 50,000 is read
 * in some 200 pieces.
 */
#include "store/mailbox.h"

#include "base/log.h"
#include "base/packed.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_UIDS 256u
#define PAGE_SIZE_MAX (PAGE_UIDS * (2 + 4 + STORE_DIGEST_SIZE) + 64)
#define PLACES_MAX ((size_t)1 << 24)

/* The places of one page; those whose uid is 0 are not known. */
struct page {
    uint32_t number;
    struct store_place places[PAGE_UIDS];
};

/* ---- pages ---- */

/* Of each place: the low byte of the UID, whether it is a view, and then generation and digest. */
static enum err pack(const struct page *page, struct buf *out, unsigned *places_out)
{
    enum err err = ERR_OK;
    *places_out = 0;
    for (size_t i = 0; !err && i < PAGE_UIDS; i++) {
        const struct store_place *place = &page->places[i];
        if (place->uid == 0)
            continue;
        ++*places_out;
        err = packed_add_number(out, i, 1);
        if (!err)
            err = packed_add_number(out, place->is_view, 1);
        if (!err && place->is_view)
            err = packed_add_number(out, place->generation, 4);
        if (!err && place->is_view)
            err = buf_add(out, place->digest, sizeof place->digest);
    }
    return err;
}

static bool unpack(struct span packed, struct page *page)
{
    while (packed.len) {
        uint64_t low, is_view, generation;
        if (!packed_take_number(&packed, 1, &low) || !packed_take_number(&packed, 1, &is_view) || is_view > 1)
            return false;
        struct store_place *place = &page->places[low];
        *place = (struct store_place){.uid = page->number * PAGE_UIDS + (uint32_t)low, .is_view = is_view};
        if (!is_view)
            continue;
        if (!packed_take_number(&packed, 4, &generation) || packed.len < sizeof place->digest)
            return false;
        place->generation = (uint32_t)generation;
        memcpy(place->digest, packed.ptr, sizeof place->digest);
        packed = span_skip(packed, sizeof place->digest);
    }
    return true;
}

static enum err delete_page(struct store_mailbox_row *mailbox, uint32_t number)
{
    sqlite3_stmt *statement;
    enum err err = store_prepare(mailbox->database, "DELETE FROM place WHERE mailbox = ? AND page = ?", &statement);
    if (err)
        return err;
    sqlite3_bind_int64(statement, 1, mailbox->id);
    sqlite3_bind_int64(statement, 2, number);
    return store_finish(mailbox->database, statement, "forget places");
}

static struct store_row page_row(const struct store_mailbox_row *mailbox, uint32_t number)
{
    const char kind = store_mailbox_is_durable(mailbox) ? STORE_ROW_PLACES_LATER : STORE_ROW_PLACES;
    return store_row(kind, mailbox->account->id, (uint64_t)mailbox->id << 24 | number);
}

static enum err unseal_page(struct store_mailbox_row *mailbox, struct span sealed, struct page *page)
{
    const struct store_row context = page_row(mailbox, page->number);
    struct buf plain;
    buf_init(&plain, PAGE_SIZE_MAX);
    enum err err =
        store_unseal_with(mailbox->store, mailbox->account->keys.views, store_row_span(&context), sealed, &plain);
    memset(page->places, 0, sizeof page->places);
    if (!err && !unpack(buf_span(&plain), page))
        err = ERR_STORE;
    buf_fini(&plain);
    if (err != ERR_STORE || store_mailbox_is_durable(mailbox))
        return err;
    log_warning("store: places do not open; they are learnt again");
    memset(page->places, 0, sizeof page->places);
    return ERR_OK;
}

/* Fills in the page's places; none if there is no such page. */
static enum err read_page(struct store_mailbox_row *mailbox, struct page *page)
{
    sqlite3_stmt *statement;
    memset(page->places, 0, sizeof page->places);
    enum err err =
        store_prepare(mailbox->database, "SELECT entries FROM place WHERE mailbox = ? AND page = ?", &statement);
    if (err)
        return err;
    sqlite3_bind_int64(statement, 1, mailbox->id);
    sqlite3_bind_int64(statement, 2, page->number);
    const int result = sqlite3_step(statement);
    err = store_err(mailbox->database, result, "look places up");
    if (!err && result == SQLITE_ROW)
        err = unseal_page(mailbox, store_column(statement, 0), page);
    store_release(statement);
    return err;
}

static enum err write_page(struct store_mailbox_row *mailbox, const struct page *page)
{
    const struct store_row context = page_row(mailbox, page->number);
    struct buf plain, sealed;
    sqlite3_stmt *statement;
    unsigned places = 0;
    buf_init(&plain, PAGE_SIZE_MAX);
    buf_init(&sealed, PAGE_SIZE_MAX);
    enum err err = pack(page, &plain, &places);
    if (!err && places == 0) {
        err = delete_page(mailbox, page->number);
    } else if (!err) {
        err = store_seal_with(mailbox->store, mailbox->account->keys.views, store_row_span(&context), buf_span(&plain),
                              &sealed);
        if (!err)
            err = store_prepare(mailbox->database,
                                "INSERT OR REPLACE INTO place (mailbox, page, places, entries) VALUES (?, ?, ?, ?)",
                                &statement);
        if (!err) {
            sqlite3_bind_int64(statement, 1, mailbox->id);
            sqlite3_bind_int64(statement, 2, page->number);
            sqlite3_bind_int64(statement, 3, places);
            store_bind_bytes(statement, 4, buf_span(&sealed));
            err = store_finish(mailbox->database, statement, "keep places");
        }
    }
    buf_fini(&plain);
    buf_fini(&sealed);
    return err;
}

/* ---- reading all of a mailbox ---- */

struct list {
    struct store_place *places;
    size_t len, capacity;
};

static enum err append(struct list *list, const struct page *page)
{
    if (list->capacity - list->len < PAGE_UIDS) {
        const size_t capacity = list->capacity * 2 + PAGE_UIDS;
        struct store_place *places =
            capacity > PLACES_MAX ? NULL : realloc(list->places, capacity * sizeof *list->places);
        if (!places)
            return capacity > PLACES_MAX ? ERR_LIMIT : ERR_MEMORY;
        list->places = places;
        list->capacity = capacity;
    }
    for (size_t i = 0; i < PAGE_UIDS; i++)
        if (page->places[i].uid)
            list->places[list->len++] = page->places[i];
    return ERR_OK;
}

static enum err read_pages(struct store_mailbox_row *mailbox, struct list *list)
{
    sqlite3_stmt *statement;
    struct page page;
    int result = SQLITE_DONE;
    enum err err =
        store_prepare(mailbox->database, "SELECT page, entries FROM place WHERE mailbox = ? ORDER BY page", &statement);
    if (err)
        return err;
    sqlite3_bind_int64(statement, 1, mailbox->id);
    while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        page.number = (uint32_t)sqlite3_column_int64(statement, 0);
        err = unseal_page(mailbox, store_column(statement, 1), &page);
        if (!err)
            err = append(list, &page);
    }
    if (!err)
        err = store_err(mailbox->database, result, "read places");
    store_release(statement);
    return err;
}

static enum err read_all(struct store *store, struct store_database *database, const struct store_mailbox *wanted,
                         struct list *list)
{
    struct store_mailbox_row mailbox;
    enum err err = store_begin(store, database);
    if (err)
        return err;
    err = store_mailbox_find(store, database, wanted, &mailbox);
    if (!err)
        err = read_pages(&mailbox, list);
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
    return store_end(store, database, err);
}

/* Puts the places of `later` into `list`, both ascending; where both have one, the one of `later` counts. */
static enum err merge(struct list *list, const struct list *later)
{
    if (!later->len)
        return ERR_OK;
    struct store_place *merged = calloc(list->len + later->len, sizeof *merged);
    size_t len = 0, i = 0, j = 0;
    if (!merged)
        return ERR_MEMORY;
    while (i < list->len || j < later->len) {
        if (j == later->len || (i < list->len && list->places[i].uid < later->places[j].uid)) {
            merged[len++] = list->places[i++];
            continue;
        }
        if (i < list->len && list->places[i].uid == later->places[j].uid)
            i++;
        merged[len++] = later->places[j++];
    }
    free(list->places);
    *list = (struct list){merged, len, len};
    return ERR_OK;
}

/* ---- marks ---- */

struct mark {
    uint8_t message[STORE_TAG_SIZE];
    uint32_t generation;
};

static int compare_marks(const void *a, const void *b)
{
    const struct mark *left = a, *right = b;
    const int order = memcmp(left->message, right->message, STORE_TAG_SIZE);
    return order ? order : (left->generation > right->generation) - (left->generation < right->generation);
}

static enum err read_marks(struct store *store, const struct store_account *account, struct mark **marks_out,
                           size_t *len_out)
{
    sqlite3_stmt *statement;
    size_t capacity = 0;
    int result = SQLITE_DONE;
    enum err err =
        store_prepare(&store->durable, "SELECT message, generation FROM reopen WHERE account = ?", &statement);
    if (err)
        return err;
    store_bind_bytes(statement, 1, (struct span){(const char *)account->id, STORE_TAG_SIZE});
    while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (*len_out == capacity) {
            struct mark *marks = realloc(*marks_out, (capacity = capacity * 2 + 64) * sizeof **marks_out);
            if (!marks) {
                err = ERR_MEMORY;
                break;
            }
            *marks_out = marks;
        }
        const struct span message = store_column(statement, 0);
        struct mark *mark = &(*marks_out)[*len_out];
        if (message.len != STORE_TAG_SIZE)
            continue;
        memcpy(mark->message, message.ptr, STORE_TAG_SIZE);
        mark->generation = (uint32_t)sqlite3_column_int64(statement, 1);
        ++*len_out;
    }
    if (!err)
        err = store_err(&store->durable, result, "read marks");
    store_release(statement);
    return err;
}

static enum err show_marks(struct store *store, const char *name, struct list *list)
{
    struct store_account *account;
    struct mark *marks = NULL;
    size_t len = 0;
    enum err err = store_account(store, name, &account);
    if (!err)
        err = read_marks(store, account, &marks, &len);
    if (!err && len)
        qsort(marks, len, sizeof *marks, compare_marks);
    for (size_t i = 0; !err && len && i < list->len; i++) {
        struct store_place *place = &list->places[i];
        struct mark wanted = {.generation = place->generation};
        if (!place->is_view)
            continue;
        err = store_account_tag(account, STORE_TAG_MESSAGE,
                                (struct span){(const char *)place->digest, sizeof place->digest}, wanted.message);
        place->wants_reopen = !err && bsearch(&wanted, marks, len, sizeof *marks, compare_marks);
    }
    free(marks);
    return err;
}

enum err store_places_get(struct store *store, const struct store_mailbox *mailbox, struct store_place **places_out,
                          size_t *len_out)
{
    struct list list = {.len = 0}, later = {.len = 0};
    *places_out = NULL;
    *len_out = 0;
    enum err err = read_all(store, &store->views, mailbox, &list);
    if (store_views_mended(store, err)) {
        list.len = 0;
        err = ERR_OK;
    }
    if (!err)
        err = read_all(store, &store->durable, mailbox, &later);
    if (!err)
        err = merge(&list, &later);
    if (!err)
        err = show_marks(store, mailbox->account, &list);
    free(later.places);
    if (err) {
        free(list.places);
        return err;
    }
    *places_out = list.places;
    *len_out = list.len;
    return ERR_OK;
}

/* ---- changing ---- */

/* Whether the place goes into this file. */
static bool belongs(const struct store_mailbox_row *mailbox, const struct store_place *place)
{
    return (place->is_view && place->generation > 0) == store_mailbox_is_durable(mailbox);
}

static void set(const struct store_mailbox_row *mailbox, struct page *page, const struct store_place *place)
{
    struct store_place *old = &page->places[place->uid % PAGE_UIDS];
    if (store_mailbox_is_durable(mailbox) && old->uid && old->generation >= place->generation)
        return;
    *old = *place;
}

/* The page that is being changed, written when another is turned to. */
struct open_page {
    bool is_open;
    struct page page;
};

static enum err close_page(struct store_mailbox_row *mailbox, struct open_page *open)
{
    const bool was_open = open->is_open;
    open->is_open = false;
    return was_open ? write_page(mailbox, &open->page) : ERR_OK;
}

static enum err turn_to(struct store_mailbox_row *mailbox, struct open_page *open, uint32_t uid)
{
    if (open->is_open && open->page.number == uid / PAGE_UIDS)
        return ERR_OK;
    enum err err = close_page(mailbox, open);
    open->page.number = uid / PAGE_UIDS;
    if (!err)
        err = read_page(mailbox, &open->page);
    open->is_open = !err;
    return err;
}

/* Each page is read and written once where the places ascend. */
static enum err set_places(struct store_mailbox_row *mailbox, const struct store_place *places, size_t len)
{
    struct open_page open = {.is_open = false};
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < len; i++) {
        if (places[i].uid == 0 || !belongs(mailbox, &places[i]))
            continue;
        err = turn_to(mailbox, &open, places[i].uid);
        if (!err)
            set(mailbox, &open.page, &places[i]);
    }
    return err ? err : close_page(mailbox, &open);
}

static enum err clear_places(struct store_mailbox_row *mailbox, const uint32_t *uids, size_t len)
{
    struct open_page open = {.is_open = false};
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < len; i++) {
        err = turn_to(mailbox, &open, uids[i]);
        if (!err)
            open.page.places[uids[i] % PAGE_UIDS].uid = 0;
    }
    return err ? err : close_page(mailbox, &open);
}

static enum err put(struct store *store, struct store_database *database, const struct store_mailbox *wanted,
                    const struct store_place *places, size_t len)
{
    struct store_mailbox_row mailbox;
    enum err err = store_begin(store, database);
    if (err)
        return err;
    err = store_mailbox_need(store, database, wanted, &mailbox);
    if (!err)
        err = set_places(&mailbox, places, len);
    return store_end(store, database, err);
}

enum err store_places_put(struct store *store, const struct store_mailbox *mailbox, const struct store_place *places,
                          size_t len)
{
    size_t later = 0;
    for (size_t i = 0; i < len; i++)
        later += places[i].is_view && places[i].generation > 0;
    enum err err = later ? put(store, &store->durable, mailbox, places, len) : ERR_OK;
    if (err || later == len)
        return err;
    err = put(store, &store->views, mailbox, places, len);
    return store_views_mended(store, err) ? put(store, &store->views, mailbox, places, len) : err;
}

static enum err forget(struct store *store, struct store_database *database, const struct store_mailbox *wanted,
                       const uint32_t *uids, size_t len)
{
    struct store_mailbox_row mailbox;
    enum err err = store_begin(store, database);
    if (err)
        return err;
    err = store_mailbox_find(store, database, wanted, &mailbox);
    if (!err)
        err = clear_places(&mailbox, uids, len);
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
    return store_end(store, database, err);
}

enum err store_places_forget(struct store *store, const struct store_mailbox *mailbox, const uint32_t *uids, size_t len)
{
    enum err err = forget(store, &store->views, mailbox, uids, len);
    if (store_views_mended(store, err))
        err = ERR_OK;
    return err ? err : forget(store, &store->durable, mailbox, uids, len);
}

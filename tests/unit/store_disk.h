/*
 * What lies in the files of a store, as whoever copies them would see it. To be included by one file of a test program.
 */
#ifndef TESTS_UNIT_STORE_DISK_H
#define TESTS_UNIT_STORE_DISK_H

#include "store/store_internal.h"
#include "tests/unit/store_dir.h"

/* What stands in the row of the one account there is. */
__attribute__((unused)) static void wrapped_of(struct store *store, struct buf *wrapped)
{
    sqlite3_stmt *statement;
    buf_init(wrapped, 1000);
    assert_int_equal(store_prepare(&store->durable, "SELECT wrapped FROM account", &statement), ERR_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(buf_add_span(wrapped, store_column(statement, 0)), ERR_OK);
    store_release(statement);
}

__attribute__((unused)) static bool is_on_disk(struct span bytes)
{
    static const char *const names[] = {"durable.sqlite", "durable.sqlite-wal", "views.sqlite", "views.sqlite-wal"};
    bool is_found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf whole;
        if (access(in_directory(names[i]), F_OK))
            continue;
        read_whole(names[i], &whole);
        is_found = is_found || span_find(buf_span(&whole), 0, bytes) != SIZE_MAX;
        buf_fini(&whole);
    }
    return is_found;
}

/* Any piece of them. */
__attribute__((unused)) static bool is_any_on_disk(struct span bytes)
{
    for (size_t at = 0; at + 12 <= bytes.len; at += 6)
        if (is_on_disk(span_slice(bytes, at, at + 12)))
            return true;
    return false;
}

#endif

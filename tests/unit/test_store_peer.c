/* Records of correspondents in the store: sealed, found by a tag, gone when removed, bounded. */
#include "store/peer.h"

#include "store/account.h"
#include "store/view.h"
#include "tests/unit/store_disk.h"

#define ALICE "alice@example.org"
#define BOB "bob@example.org"
#define ERIN "erin@example.net"
#define RECORD SPAN_LIT("0123456789 what is known of a correspondent 0123456789")
#define OTHER SPAN_LIT("another record, in place of the first one")

static enum err get(struct store *store, const char *account, const char *address, struct span wanted)
{
    struct buf out;
    buf_init(&out, STORE_PEER_MAX + 1);
    const enum err err = store_peer_get(store, account, address, &out);
    if (!err)
        assert_true(span_is_equal(buf_span(&out), wanted));
    else
        assert_int_equal(out.len, 0);
    buf_fini(&out);
    return err;
}

static void put(struct store *store, const char *address, struct span record, enum store_peer_rank rank, int64_t at)
{
    assert_int_equal(store_peer_put(store, ALICE, address, record, rank, at), ERR_OK);
}

static enum err add_record(struct span record, void *context)
{
    struct buf *records = context;
    if (span_is_equal(record, SPAN_LIT("not good")))
        return ERR_DAMAGED;
    if (span_is_equal(record, SPAN_LIT("stop")))
        return ERR_TIMEOUT;
    return buf_addf(records, "%.3s ", record.ptr);
}

static enum err each_of(struct store *store, const char *account, const char *wanted, size_t wanted_damaged)
{
    struct buf records;
    size_t damaged;
    buf_init(&records, 1000);
    const enum err err = store_peer_each(store, account, add_record, &records, &damaged);
    if (!err)
        assert_string_equal(records.data, wanted);
    assert_int_equal(damaged, wanted_damaged);
    buf_fini(&records);
    return err;
}

static enum err each(struct store *store, const char *account, const char *wanted)
{
    return each_of(store, account, wanted, 0);
}

static void run_sql(const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(in_directory("durable.sqlite"), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static void test_put_get_remove(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_NOT_FOUND);
    put(store, ERIN, RECORD, STORE_PEER_HEARD, 1);
    put(store, BOB, OTHER, STORE_PEER_HEARD, 1);
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_OK);
    assert_int_equal(get(store, BOB, ERIN, RECORD), ERR_NOT_FOUND);
    put(store, ERIN, OTHER, STORE_PEER_WRITTEN, 2);
    store_close(&store);
    store = open_store();
    assert_int_equal(get(store, ALICE, ERIN, OTHER), ERR_OK);
    assert_int_equal(each(store, ALICE, "ano ano "), ERR_OK);
    assert_int_equal(each(store, BOB, ""), ERR_OK);
    assert_int_equal(store_peer_remove(store, ALICE, BOB), ERR_OK);
    assert_int_equal(store_peer_remove(store, ALICE, BOB), ERR_NOT_FOUND);
    assert_int_equal(store_peer_remove(store, BOB, ERIN), ERR_NOT_FOUND);
    assert_int_equal(each(store, ALICE, "ano "), ERR_OK);
    assert_int_equal(store_peer_put(store, ALICE, ERIN, SPAN_NONE, STORE_PEER_HEARD, 1), ERR_LIMIT);
    store_close(&store);
}

/* Keys are looked up without looking at case: so is what a person said of them. */
static void test_case_is_ignored(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, ERIN, RECORD, STORE_PEER_PINNED, 1);
    assert_int_equal(get(store, ALICE, "ERIN@example.net", RECORD), ERR_OK);
    put(store, "eRiN@example.net", OTHER, STORE_PEER_PINNED, 2);
    assert_int_equal(get(store, ALICE, ERIN, OTHER), ERR_OK);
    assert_int_equal(each(store, ALICE, "ano "), ERR_OK);
    assert_int_equal(store_peer_remove(store, ALICE, "Erin@example.net"), ERR_OK);
    assert_int_equal(get(store, ALICE, ERIN, OTHER), ERR_NOT_FOUND);
    store_close(&store);
}

/* The files tell nobody whom a person writes to; of what is removed not even the sealed form is left. */
static void test_nothing_is_told(void **state)
{
    struct buf sealed;
    sqlite3_stmt *statement;
    (void)state;
    struct store *store = open_store();
    put(store, ERIN, RECORD, STORE_PEER_HEARD, 1);
    buf_init(&sealed, 1000);
    assert_int_equal(store_prepare(&store->durable, "SELECT sealed FROM peer", &statement), ERR_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(buf_add_span(&sealed, store_column(statement, 0)), ERR_OK);
    store_release(statement);
    assert_not_on_disk("erin");
    assert_not_on_disk("known of a");
    assert_true(is_on_disk(buf_span(&sealed)));
    assert_int_equal(store_peer_remove(store, ALICE, ERIN), ERR_OK);
    store_checkpoint(store);
    assert_false(is_any_on_disk(buf_span(&sealed)));
    store_close(&store);
    assert_false(is_any_on_disk(buf_span(&sealed)));
    buf_fini(&sealed);
}

/* What does not open is said and passed over, and neither written over nor lost by itself. */
static void test_damaged(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, ERIN, RECORD, STORE_PEER_HEARD, 1);
    put(store, BOB, OTHER, STORE_PEER_HEARD, 2);
    store_close(&store);
    /* One in another's place does not open either. */
    run_sql("UPDATE peer SET sealed = (SELECT sealed FROM peer WHERE at = 2) WHERE at = 1");
    store = open_store();
    log_init("test", LOG_LEVEL_ERROR);
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_DAMAGED);
    assert_int_equal(each_of(store, ALICE, "ano ", 1), ERR_OK);
    put(store, "frank@example.net", SPAN_LIT("not good"), STORE_PEER_HEARD, 3);
    assert_int_equal(each_of(store, ALICE, "ano ", 2), ERR_OK);
    put(store, "gina@example.net", SPAN_LIT("stop"), STORE_PEER_HEARD, 3);
    assert_int_equal(each_of(store, ALICE, "", 2), ERR_TIMEOUT);
    assert_int_equal(store_peer_remove(store, ALICE, ERIN), ERR_OK);
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_NOT_FOUND);
    store_close(&store);
}

static void run_inside(struct store *store, const char *sql)
{
    assert_int_equal(sqlite3_exec(store->durable.handle, sql, NULL, NULL, NULL), SQLITE_OK);
    store_accounts_undone(store); /* it is counted anew */
}

static int64_t count(struct store *store)
{
    int64_t number;
    assert_int_equal(store_number(&store->durable, "SELECT count(*) FROM peer", &number), ERR_OK);
    return number;
}

/* Up to the last place, of the account of the first row. */
static void fill(struct store *store)
{
    run_inside(store, "WITH RECURSIVE n (i) AS (SELECT 1 + (SELECT count(*) FROM peer) UNION ALL SELECT i + 1 FROM n"
                      " WHERE i < 200000) INSERT INTO peer (tag, account, rank, at, sealed)"
                      " SELECT CAST(i AS BLOB), (SELECT account FROM peer LIMIT 1), 1, 4, x'00' FROM n");
    assert_int_equal(count(store), STORE_PEERS_MAX);
}

/* Whoever fills it with names makes neither those go whom mail was sent to, nor those of whom a person said something.
   Rows are put there directly: the many are not the point. */
static void test_room(void **state)
{
    (void)state;
    struct store *store = open_store();
    run_inside(store, "PRAGMA synchronous = OFF");
    put(store, "pinned@example.net", RECORD, STORE_PEER_PINNED, 1);
    put(store, "written@example.net", RECORD, STORE_PEER_WRITTEN, 2);
    put(store, "old@example.net", RECORD, STORE_PEER_HEARD, 3);
    fill(store);
    put(store, "new@example.net", RECORD, STORE_PEER_HEARD, 5);
    assert_int_equal(get(store, ALICE, "old@example.net", RECORD), ERR_NOT_FOUND);
    put(store, "newer@example.net", RECORD, STORE_PEER_HEARD, 6);
    assert_int_equal(get(store, ALICE, "new@example.net", RECORD), ERR_NOT_FOUND);
    put(store, "newer@example.net", RECORD, STORE_PEER_WRITTEN, 7);
    put(store, "newest@example.net", RECORD, STORE_PEER_HEARD, 8);
    assert_int_equal(get(store, ALICE, "written@example.net", RECORD), ERR_NOT_FOUND);
    assert_int_equal(get(store, ALICE, "newer@example.net", RECORD), ERR_OK);
    assert_int_equal(get(store, ALICE, "pinned@example.net", RECORD), ERR_OK);
    run_inside(store, "UPDATE peer SET rank = 2 WHERE rank < 2");
    assert_int_equal(store_peer_put(store, ALICE, BOB, RECORD, STORE_PEER_PINNED, 9), ERR_LIMIT);
    assert_int_equal(store_peer_put(store, ERIN, BOB, RECORD, STORE_PEER_HEARD, 9), ERR_OK);
    run_inside(store, "DELETE FROM peer");
    store_close(&store);
}

/* The number is kept in memory: what is rolled back, removed or forgotten must not stay in it. */
static void test_room_is_counted(void **state)
{
    (void)state;
    struct store *store = open_store();
    run_inside(store, "PRAGMA synchronous = OFF");
    put(store, "old@example.net", RECORD, STORE_PEER_HEARD, 3);
    fill(store);
    run_inside(store, "DELETE FROM peer WHERE tag = CAST(200000 AS BLOB)");
    assert_int_equal(store_group_begin(store), ERR_OK);
    put(store, ERIN, RECORD, STORE_PEER_WRITTEN, 5);
    store->group_err = ERR_DISK_FULL;
    assert_int_equal(store_group_end(store), ERR_DISK_FULL);
    assert_int_equal(store_peer_put(store, BOB, ERIN, RECORD, STORE_PEER_HEARD, 5), ERR_OK);
    put(store, ERIN, RECORD, STORE_PEER_WRITTEN, 5);
    assert_int_equal(get(store, ALICE, "old@example.net", RECORD), ERR_OK);
    assert_int_equal(store_peer_remove(store, ALICE, ERIN), ERR_OK);
    put(store, "old@example.net", RECORD, STORE_PEER_HEARD, 3);
    put(store, "frank@example.net", RECORD, STORE_PEER_WRITTEN, 5);
    assert_int_equal(get(store, ALICE, "old@example.net", RECORD), ERR_OK);
    assert_int_equal(count(store), STORE_PEERS_MAX + 1);
    /* Room was made, and nothing came into it. */
    assert_int_equal(sqlite3_exec(store->durable.handle,
                                  "CREATE TEMP TRIGGER no BEFORE INSERT ON peer BEGIN SELECT RAISE(ABORT, 'no'); END",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    log_init("test", LOG_LEVEL_ERROR);
    assert_int_equal(store_peer_put(store, ALICE, ERIN, RECORD, STORE_PEER_WRITTEN, 7), ERR_STORE);
    assert_int_equal(get(store, ALICE, "old@example.net", RECORD), ERR_OK);
    assert_int_equal(sqlite3_exec(store->durable.handle, "DROP TRIGGER no", NULL, NULL, NULL), SQLITE_OK);
    put(store, ERIN, RECORD, STORE_PEER_WRITTEN, 7);
    assert_int_equal(get(store, ALICE, "old@example.net", RECORD), ERR_NOT_FOUND);
    assert_int_equal(count(store), STORE_PEERS_MAX + 1);
    assert_int_equal(store_account_forget(store, ALICE, false), ERR_OK);
    put(store, "old@example.net", RECORD, STORE_PEER_HEARD, 3);
    put(store, ERIN, RECORD, STORE_PEER_WRITTEN, 7);
    assert_int_equal(get(store, ALICE, "old@example.net", RECORD), ERR_OK);
    store_close(&store);
}

/* They are no views: only with everything of the account do they go. */
static void test_clearing_keeps_it(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, ERIN, RECORD, STORE_PEER_HEARD, 1);
    assert_int_equal(store_view_clear(store, ALICE), ERR_OK);
    assert_int_equal(store_view_clear(store, NULL), ERR_OK);
    assert_int_equal(store_account_forget(store, BOB, false), ERR_OK);
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_OK);
    assert_int_equal(store_account_forget(store, ALICE, false), ERR_OK);
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_NOT_FOUND);
    store_close(&store);
}

/* In a group of others it is on disk when they are; what fails takes nothing along. */
static void test_in_a_group(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(store_group_begin(store), ERR_OK);
    put(store, ERIN, RECORD, STORE_PEER_HEARD, 1);
    assert_int_equal(store_peer_remove(store, ALICE, BOB), ERR_NOT_FOUND);
    put(store, BOB, OTHER, STORE_PEER_HEARD, 1);
    assert_int_equal(store_peer_remove(store, ALICE, BOB), ERR_OK);
    assert_int_equal(store_group_end(store), ERR_OK);
    assert_int_equal(each(store, ALICE, "012 "), ERR_OK);
    store_close(&store);
}

/* A store of the version before has none, and can take some. */
static void test_earlier_version(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, ERIN, RECORD, STORE_PEER_HEARD, 1);
    store_close(&store);
    run_sql("DROP TABLE peer; PRAGMA user_version = 5");
    store = open_store();
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_NOT_FOUND);
    put(store, ERIN, RECORD, STORE_PEER_HEARD, 1);
    assert_int_equal(get(store, ALICE, ERIN, RECORD), ERR_OK);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_put_get_remove, begin_empty),
        cmocka_unit_test_setup(test_case_is_ignored, begin_empty),
        cmocka_unit_test_setup(test_nothing_is_told, begin_empty),
        cmocka_unit_test_setup(test_damaged, begin_empty),
        cmocka_unit_test_setup(test_room, begin_empty),
        cmocka_unit_test_setup(test_room_is_counted, begin_empty),
        cmocka_unit_test_setup(test_clearing_keeps_it, begin_empty),
        cmocka_unit_test_setup(test_in_a_group, begin_empty),
        cmocka_unit_test_setup(test_earlier_version, begin_empty),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

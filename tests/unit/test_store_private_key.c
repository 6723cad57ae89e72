/* Private keys in the store: sealed with the account's secrets, kept whatever is cleared, gone when removed. */
#include "store/private_key.h"

#include "base/secret.h"
#include "store/view_internal.h"
#include "tests/unit/store_disk.h"

#define ALICE "alice@example.org"
#define BOB "bob@example.org"
#define ONE "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
#define TWO "FF112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
#define KEY SPAN_LIT("0123456789 the private key, as it is kept 0123456789")
#define OTHER SPAN_LIT("another one")

static enum err get(struct store *store, const char *account, const char *fingerprint, struct span wanted)
{
    struct buf out;
    buf_init_secret(&out, STORE_PRIVATE_KEY_MAX + 1);
    const enum err err = store_private_key_get(store, account, fingerprint, &out);
    if (!err)
        assert_true(span_is_equal(buf_span(&out), wanted));
    else
        assert_int_equal(out.len, 0);
    buf_fini(&out);
    return err;
}

static enum err add_name(const char *fingerprint, void *context)
{
    struct buf *names = context;
    return buf_addf(names, "%.2s ", fingerprint);
}

static void expect_list(struct store *store, const char *account, const char *wanted)
{
    struct buf names;
    buf_init(&names, 1000);
    assert_int_equal(store_private_key_list(store, account, add_name, &names), ERR_OK);
    assert_string_equal(names.data, wanted);
    buf_fini(&names);
}

static void run_sql(const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(in_directory("durable.sqlite"), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static struct store *store_with_key(void)
{
    struct store *store = open_store();
    assert_int_equal(store_private_key_put(store, ALICE, ONE, KEY), ERR_OK);
    return store;
}

static void test_put_get_remove(void **state)
{
    (void)state;
    struct store *store = store_with_key();
    assert_int_equal(store_private_key_put(store, ALICE, TWO, OTHER), ERR_OK);
    assert_int_equal(store_private_key_put(store, BOB, TWO, KEY), ERR_OK);
    store_close(&store);
    store = open_store();
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_OK);
    assert_int_equal(get(store, ALICE, TWO, OTHER), ERR_OK);
    assert_int_equal(get(store, BOB, TWO, KEY), ERR_OK);
    assert_int_equal(get(store, BOB, ONE, KEY), ERR_NOT_FOUND);
    expect_list(store, ALICE, "00 FF ");
    expect_list(store, BOB, "FF ");
    expect_list(store, "carol@example.org", "");
    /* The newer one replaces. */
    assert_int_equal(store_private_key_put(store, ALICE, TWO, KEY), ERR_OK);
    assert_int_equal(get(store, ALICE, TWO, KEY), ERR_OK);
    assert_not_on_disk("the private key, as it is kept");
    assert_int_equal(store_private_key_remove(store, ALICE, ONE), ERR_OK);
    assert_int_equal(store_private_key_remove(store, ALICE, ONE), ERR_NOT_FOUND);
    assert_int_equal(store_private_key_remove(store, BOB, ONE), ERR_NOT_FOUND);
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_NOT_FOUND);
    expect_list(store, ALICE, "FF ");
    store_close(&store);
}

/* Also sealed it is in no file any more. */
static void test_removed_is_gone(void **state)
{
    (void)state;
    for (int is_group = 0; is_group < 2; is_group++) {
        struct store *store = store_with_key();
        sqlite3_stmt *statement;
        struct buf sealed;
        buf_init(&sealed, 1000);
        assert_int_equal(store_prepare(&store->durable, "SELECT sealed FROM private_key", &statement), ERR_OK);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        assert_int_equal(buf_add_span(&sealed, store_column(statement, 0)), ERR_OK);
        store_release(statement);
        assert_true(is_on_disk(buf_span(&sealed)));
        if (is_group)
            assert_int_equal(store_group_begin(store), ERR_OK);
        assert_int_equal(store_private_key_remove(store, ALICE, ONE), ERR_OK);
        if (is_group)
            assert_int_equal(store_group_end(store), ERR_OK);
        assert_false(is_on_disk(buf_span(&sealed)));
        store_close(&store);
        buf_fini(&sealed);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct buf big;
    char fingerprint[STORE_FINGERPRINT_SIZE];
    buf_init(&big, STORE_PRIVATE_KEY_MAX + 1);
    for (size_t i = 0; i < STORE_PRIVATE_KEY_MAX; i++)
        assert_int_equal(buf_add_byte(&big, 'x'), ERR_OK);
    assert_int_equal(store_private_key_put(store, ALICE, ONE, buf_span(&big)), ERR_OK);
    assert_int_equal(get(store, ALICE, ONE, buf_span(&big)), ERR_OK);
    assert_int_equal(buf_add_byte(&big, 'x'), ERR_OK);
    assert_int_equal(store_private_key_put(store, ALICE, ONE, buf_span(&big)), ERR_LIMIT);
    assert_int_equal(store_private_key_put(store, ALICE, ONE, SPAN_NONE), ERR_LIMIT);
    assert_int_equal(store_private_key_put(store, ALICE, "", KEY), ERR_INTERNAL);
    assert_int_equal(store_private_key_put(store, ALICE, "abc", KEY), ERR_INTERNAL);
    assert_int_equal(store_private_key_put(store, ALICE, ONE "0", KEY), ERR_INTERNAL);
    assert_int_equal(store_group_begin(store), ERR_OK);
    for (unsigned i = 1; i < STORE_PRIVATE_KEYS_MAX; i++) {
        snprintf(fingerprint, sizeof fingerprint, "%08X", i);
        assert_int_equal(store_private_key_put(store, ALICE, fingerprint, KEY), ERR_OK);
    }
    assert_int_equal(store_private_key_put(store, ALICE, TWO, KEY), ERR_LIMIT);
    assert_int_equal(store_private_key_put(store, BOB, TWO, KEY), ERR_OK);
    assert_int_equal(store_group_end(store), ERR_OK);
    store_close(&store);
    buf_fini(&big);
}

static void test_locked(void **state)
{
    (void)state;
    struct store *store = store_with_key();
    struct buf keys;
    buf_init_secret(&keys, STORE_KEYS_SIZE);
    assert_int_equal(store_account_keys(store, ALICE, &keys), ERR_OK);
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_OK);
    store_close(&store);
    store = open_store();
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_KEY_LOCKED);
    assert_int_equal(store_private_key_put(store, ALICE, TWO, KEY), ERR_KEY_LOCKED);
    expect_list(store, ALICE, "00 ");
    assert_int_equal(store_private_key_put(store, BOB, TWO, KEY), ERR_OK);
    assert_int_equal(store_account_open(store, ALICE, buf_span(&keys)), ERR_OK);
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_OK);
    store_close(&store);
    store = open_store();
    assert_int_equal(store_private_key_remove(store, ALICE, ONE), ERR_OK);
    store_close(&store);
    buf_fini(&keys);
}

/* A value in another's place does not open. */
static void test_bound_to_its_row(void **state)
{
    (void)state;
    struct store *store = store_with_key();
    assert_int_equal(store_private_key_put(store, ALICE, TWO, OTHER), ERR_OK);
    store_close(&store);
    run_sql("UPDATE private_key SET sealed = (SELECT sealed FROM private_key WHERE fingerprint = CAST('" ONE
            "' AS BLOB)) WHERE fingerprint = CAST('" TWO "' AS BLOB)");
    store = open_store();
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_OK);
    assert_int_equal(get(store, ALICE, TWO, OTHER), ERR_STORE);
    store_close(&store);
}

/* What is cleared because it can be made again takes no private key along. */
static void test_clearing_keeps_it(void **state)
{
    (void)state;
    struct store *store = store_with_key();
    assert_int_equal(store_view_clear(store, ALICE), ERR_OK);
    assert_int_equal(store_view_clear(store, NULL), ERR_OK);
    assert_int_equal(store_account_forget(store, ALICE, false), ERR_EXISTS);
    assert_int_equal(store_account_forget(store, BOB, false), ERR_OK);
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_OK);
    store_close(&store);
    store = open_store();
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_OK);
    assert_int_equal(store_account_forget(store, ALICE, true), ERR_OK);
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_NOT_FOUND);
    expect_list(store, ALICE, "");
    assert_int_equal(store_account_forget(store, ALICE, false), ERR_OK);
    store_close(&store);
}

/* Keys that come of the store's own are replaced at the first use: with them what is sealed. */
static void test_sealed_anew(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_account *account;
    struct store_keys keys;
    assert_int_equal(store_account_named(store, ALICE, &account), ERR_OK);
    assert_int_equal(store_account_derived(store, ALICE, &keys), ERR_OK);
    assert_int_equal(store_account_take(account, &keys), ERR_OK);
    account->is_read = true;
    assert_int_equal(store_private_key_put(store, ALICE, ONE, KEY), ERR_OK);
    assert_int_equal(store_private_key_put(store, ALICE, TWO, OTHER), ERR_OK);
    store_close(&store);
    run_sql("INSERT INTO account SELECT DISTINCT account, 0, x'', x'', x'' FROM private_key");
    for (int i = 0; i < 2; i++) {
        store = open_store();
        assert_int_equal(get(store, ALICE, ONE, KEY), ERR_OK);
        assert_int_equal(get(store, ALICE, TWO, OTHER), ERR_OK);
        assert_int_equal(store_account_named(store, ALICE, &account), ERR_OK);
        assert_memory_not_equal(account->keys.secrets, keys.secrets, STORE_KEY_SIZE);
        store_close(&store);
    }
    secret_wipe(&keys, sizeof keys);
}

/* A store of the version before has none, and can take some. */
static void test_earlier_version(void **state)
{
    (void)state;
    struct store *store = store_with_key();
    store_close(&store);
    run_sql("DROP TABLE private_key; DROP TABLE peer; PRAGMA user_version = 4");
    store = open_store();
    expect_list(store, ALICE, "");
    assert_int_equal(store_private_key_put(store, ALICE, ONE, KEY), ERR_OK);
    assert_int_equal(get(store, ALICE, ONE, KEY), ERR_OK);
    store_close(&store);
}

static int clean(void **state)
{
    (void)state;
    empty_directory();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_put_get_remove, clean),   cmocka_unit_test_setup(test_removed_is_gone, clean),
        cmocka_unit_test_setup(test_bounds, clean),           cmocka_unit_test_setup(test_locked, clean),
        cmocka_unit_test_setup(test_bound_to_its_row, clean), cmocka_unit_test_setup(test_clearing_keeps_it, clean),
        cmocka_unit_test_setup(test_sealed_anew, clean),      cmocka_unit_test_setup(test_earlier_version, clean),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

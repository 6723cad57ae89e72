/* The keys of accounts: how they are kept, by whom they open, and that nothing of an earlier way is left. */
#include "store/view_internal.h"

#include "base/secret.h"
#include "tests/unit/store_disk.h"

#include <signal.h>
#include <sys/wait.h>

#define NOW INT64_C(1800000000)
#define ALICE "alice@example.org"
#define BOB "bob@example.org"
#define CREDENTIAL SPAN_LIT("a secret that systemd gives us, of 40 bytes")

static struct store_view_key key_of(const char *account, unsigned number)
{
    struct store_view_key key = {.account = account};
    memcpy(key.digest, &number, sizeof number);
    return key;
}

static enum err put(struct store *store, const char *account, unsigned number)
{
    const struct store_view_key key = key_of(account, number);
    const struct store_view view = {.decision = SPAN_LIT("decided"),
                                    .session_keys = SPAN_LIT("9:0123456789ABCDEF"),
                                    .record = SPAN_LIT("record"),
                                    .text = SPAN_LIT("text")};
    return store_view_put(store, &key, &view, NOW);
}

static enum err get(struct store *store, const char *account, unsigned number)
{
    const struct store_view_key key = key_of(account, number);
    struct store_view view;
    struct buf bytes;
    buf_init_secret(&bytes, STORE_RECORD_MAX + 10000);
    enum err err = store_view_get(store, &key, &bytes, &view);
    if (!err) {
        assert_true(span_is_equal(view.decision, SPAN_LIT("decided")));
        assert_true(span_is_equal(view.session_keys, SPAN_LIT("9:0123456789ABCDEF")));
    }
    buf_fini(&bytes);
    return err;
}

static struct store_kept kept_of(struct store *store, const char *account)
{
    struct store_kept kept;
    assert_int_equal(store_account_kept(store, account, &kept), ERR_OK);
    return kept;
}

static void keys_of(struct store *store, const char *account, struct buf *keys)
{
    buf_init_secret(keys, STORE_KEYS_SIZE);
    assert_int_equal(store_account_keys(store, account, keys), ERR_OK);
    assert_int_equal(keys->len, STORE_KEYS_SIZE);
}

static size_t size_of_log(void)
{
    struct stat status;
    assert_int_equal(stat(in_directory("durable.sqlite-wal"), &status), 0);
    return (size_t)status.st_size;
}

static void run_sql(const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(in_directory("durable.sqlite"), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static void test_made_at_first_need(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_kept kept;
    struct store_totals totals;
    struct buf keys, others;
    assert_int_equal(store_view_totals(store, ALICE, &totals), ERR_OK);
    assert_int_equal(store_account_kept(store, ALICE, &kept), ERR_NOT_FOUND);
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    assert_int_equal(kept_of(store, ALICE).wrap, STORE_WRAP_FILE);
    assert_true(kept_of(store, ALICE).is_open);
    keys_of(store, ALICE, &keys);
    keys_of(store, BOB, &others);
    assert_memory_not_equal(keys.data + 33, others.data + 33, 96);
    store_close(&store);
    /* Random: another store with the same key file makes others. */
    struct buf again;
    assert_int_equal(unlink(in_directory("durable.sqlite")), 0);
    store = open_store();
    keys_of(store, ALICE, &again);
    assert_memory_equal(again.data, keys.data, 33);
    for (size_t i = 33; i < STORE_KEYS_SIZE; i += STORE_KEY_SIZE)
        assert_memory_not_equal(again.data + i, keys.data + i, STORE_KEY_SIZE);
    store_close(&store);
    store = open_store();
    struct buf same;
    keys_of(store, ALICE, &same);
    assert_memory_equal(again.data, same.data, STORE_KEYS_SIZE);
    store_close(&store);
    buf_fini(&keys);
    buf_fini(&others);
    buf_fini(&again);
    buf_fini(&same);
}

static void test_wrapped_and_locked(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_totals totals;
    struct buf keys, others, wrapped;
    uint64_t messages;
    uint32_t generation;
    const struct store_mailbox mailbox = {ALICE, SPAN_LIT("INBOX"), 7};
    const struct store_place place = {.uid = 1};
    struct store_place *places;
    size_t len;
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    assert_int_equal(put(store, BOB, 1), ERR_OK);
    keys_of(store, ALICE, &keys);
    keys_of(store, BOB, &others);
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_OK);
    assert_int_equal(get(store, ALICE, 1), ERR_OK);
    store_close(&store);
    store = open_store();
    assert_int_equal(kept_of(store, ALICE).wrap, STORE_WRAP_OPENPGP);
    assert_string_equal(kept_of(store, ALICE).holder, "KEY");
    assert_false(kept_of(store, ALICE).is_open);
    const struct store_view_key key = key_of(ALICE, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get(store, ALICE, 1), ERR_KEY_LOCKED);
        assert_int_equal(put(store, ALICE, 2), ERR_KEY_LOCKED);
        assert_int_equal(store_view_generation(store, ALICE, key.digest, &generation), ERR_KEY_LOCKED);
        assert_int_equal(store_places_get(store, &mailbox, &places, &len), ERR_KEY_LOCKED);
        assert_int_equal(store_places_put(store, &mailbox, &place, 1), ERR_KEY_LOCKED);
        assert_int_equal(store_places_rename(store, ALICE, SPAN_LIT("a"), SPAN_LIT("b"), '/'), ERR_KEY_LOCKED);
        assert_int_equal(store_account_wrap(store, ALICE, "MINE", SPAN_LIT("another")), ERR_KEY_LOCKED);
        struct buf none;
        buf_init(&none, STORE_KEYS_SIZE);
        assert_int_equal(store_account_keys(store, ALICE, &none), ERR_KEY_LOCKED);
        assert_int_equal(none.len, 0);
        buf_fini(&none);
        /* What goes by the id alone. */
        assert_int_equal(store_view_totals(store, ALICE, &totals), ERR_OK);
        assert_int_equal(totals.views, 1);
        assert_int_equal(store_view_reopen(store, ALICE, &messages), ERR_OK);
        /* Another's are as they were. */
        assert_int_equal(get(store, BOB, 1), ERR_OK);
        /* Neither another's keys nor wrong ones nor half of them open it. */
        assert_int_equal(store_account_open(store, ALICE, buf_span(&others)), ERR_STORE);
        for (size_t at = 0; at < STORE_KEYS_SIZE; at += 128) {
            keys.data[at] ^= 1;
            assert_int_equal(store_account_open(store, ALICE, buf_span(&keys)), ERR_STORE);
            keys.data[at] ^= 1;
        }
        assert_int_equal(store_account_open(store, ALICE, span_slice(buf_span(&keys), 0, 128)), ERR_STORE);
        assert_int_equal(store_account_open(store, ALICE, SPAN_NONE), ERR_STORE);
    }
    buf_init(&wrapped, 100);
    assert_int_equal(store_account_wrapped(store, ALICE, &wrapped), ERR_OK);
    assert_string_equal(wrapped.data, "a PGP message");
    assert_int_equal(store_account_wrapped(store, BOB, &wrapped), ERR_NOT_FOUND);
    assert_int_equal(store_account_open(store, ALICE, buf_span(&keys)), ERR_OK);
    assert_true(kept_of(store, ALICE).is_open);
    assert_int_equal(get(store, ALICE, 1), ERR_OK);
    assert_int_equal(put(store, ALICE, 2), ERR_OK);
    store_close(&store);
    buf_fini(&wrapped);
    buf_fini(&keys);
    buf_fini(&others);
}

/* A wrong key beside good ones must not slip in. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct buf keys;
    keys_of(store, ALICE, &keys);
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_OK);
    store_close(&store);
    store = open_store();
    for (size_t at = 0; at < STORE_KEYS_SIZE; at++) {
        keys.data[at] ^= 0x40;
        assert_int_equal(store_account_open(store, ALICE, buf_span(&keys)), ERR_STORE);
        keys.data[at] ^= 0x40;
    }
    assert_int_equal(store_account_open(store, ALICE, buf_span(&keys)), ERR_OK);
    store_close(&store);
    buf_fini(&keys);
}

/* After wrapping, the key file opens nothing any more: the old row is in none of the files, at once and later. */
static void test_nothing_is_left(void **state)
{
    (void)state;
    for (int is_group = 0; is_group < 2; is_group++) {
        struct buf old;
        empty_directory();
        struct store *store = open_store();
        assert_int_equal(put(store, ALICE, 1), ERR_OK);
        wrapped_of(store, &old);
        assert_true(is_on_disk(buf_span(&old)));
        if (is_group)
            assert_int_equal(store_group_begin(store), ERR_OK);
        assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_OK);
        if (is_group)
            assert_int_equal(store_group_end(store), ERR_OK);
        assert_false(is_any_on_disk(buf_span(&old)));
        assert_int_equal(size_of_log(), 0);
        assert_true(is_on_disk(SPAN_LIT("a PGP message")));
        store_close(&store);
        assert_false(is_any_on_disk(buf_span(&old)));
        buf_fini(&old);
    }
}

static void test_credential(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct buf keys, same, old;
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    keys_of(store, ALICE, &keys);
    wrapped_of(store, &old);
    assert_int_equal(store_use_credential(store, SPAN_LIT("of 31 bytes, which is too short")), ERR_LIMIT);
    store_close(&store);
    /* What lay in the file is taken over. */
    store = open_store();
    assert_int_equal(store_use_credential(store, CREDENTIAL), ERR_OK);
    assert_int_equal(get(store, ALICE, 1), ERR_OK);
    assert_int_equal(kept_of(store, ALICE).wrap, STORE_WRAP_CREDENTIAL);
    assert_false(is_on_disk(buf_span(&old)));
    store_close(&store);
    store = open_store();
    assert_false(kept_of(store, ALICE).is_open);
    assert_int_equal(get(store, ALICE, 1), ERR_KEY_LOCKED);
    store_close(&store);
    store = open_store();
    assert_int_equal(store_use_credential(store, SPAN_LIT("another secret that is long enough for all")), ERR_OK);
    assert_int_equal(get(store, ALICE, 1), ERR_STORE);
    assert_int_equal(get(store, ALICE, 1), ERR_STORE);
    store_close(&store);
    store = open_store();
    assert_int_equal(store_use_credential(store, CREDENTIAL), ERR_OK);
    assert_true(kept_of(store, ALICE).is_open);
    assert_int_equal(get(store, ALICE, 1), ERR_OK);
    keys_of(store, ALICE, &same);
    assert_memory_equal(keys.data, same.data, STORE_KEYS_SIZE);
    store_close(&store);
    buf_fini(&old);
    buf_fini(&keys);
    buf_fini(&same);
}

/* ---- what earlier versions left ---- */

static struct store_row row_of(struct store_account *account, unsigned number, char kind)
{
    const struct store_view_key key = key_of(ALICE, number);
    uint8_t tag[STORE_TAG_SIZE];
    assert_int_equal(
        store_account_tag(account, STORE_TAG_MESSAGE, (struct span){(const char *)key.digest, sizeof key.digest}, tag),
        ERR_OK);
    return store_row(kind, tag, 0);
}

/* A store of version 2, which has derived keys: as this program would have written it with those. */
static void make_version_2(struct buf *decision_out)
{
    struct store *store = open_store();
    struct store_account *account;
    struct store_keys keys;
    sqlite3_stmt *statement;
    const struct store_mailbox mailbox = {ALICE, SPAN_LIT("INBOX"), 7};
    struct store_place places[2] = {{.uid = 3, .is_view = true, .generation = 1}, {.uid = 70000}};
    assert_int_equal(store_account_named(store, ALICE, &account), ERR_OK);
    assert_int_equal(store_account_derived(store, ALICE, &keys), ERR_OK);
    assert_int_equal(store_account_take(account, &keys), ERR_OK);
    account->is_read = true;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(put(store, ALICE, i), ERR_OK);
    places[1].is_view = true;
    places[1].generation = 2;
    assert_int_equal(store_places_put(store, &mailbox, places, 2), ERR_OK);
    const struct store_row row = row_of(account, 1, STORE_ROW_DECISION);
    buf_init(decision_out, 1000);
    assert_int_equal(store_prepare(&store->durable, "SELECT decision FROM view WHERE message = ?", &statement), ERR_OK);
    store_bind_bytes(statement, 1, (struct span){row.bytes + 1, STORE_TAG_SIZE});
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(buf_add_span(decision_out, store_column(statement, 0)), ERR_OK);
    store_release(statement);
    store_close(&store);
    run_sql(
        "DROP TABLE encrypted; DROP TABLE account; DROP TABLE private_key; DROP TABLE peer; PRAGMA user_version = 2");
}

static void expect_version_2(struct store *store)
{
    const struct store_mailbox mailbox = {ALICE, SPAN_LIT("INBOX"), 7};
    struct store_place *places;
    size_t len;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(get(store, ALICE, i), ERR_OK);
    assert_int_equal(get(store, ALICE, 5), ERR_NOT_FOUND);
    assert_int_equal(store_places_get(store, &mailbox, &places, &len), ERR_OK);
    assert_int_equal(len, 2);
    assert_int_equal(places[0].generation, 1);
    assert_int_equal(places[1].uid, 70000);
    assert_int_equal(places[1].generation, 2);
    free(places);
}

/* Nothing that was decided is lost, and what the store's own key opens is gone. */
static void test_derived_keys_are_replaced(void **state)
{
    (void)state;
    struct buf decision, keys;
    struct store_keys old;
    make_version_2(&decision);
    assert_true(is_on_disk(buf_span(&decision)));
    struct store *store = open_store();
    assert_int_equal(kept_of(store, ALICE).wrap, STORE_WRAP_DERIVED);
    expect_version_2(store);
    assert_int_equal(kept_of(store, ALICE).wrap, STORE_WRAP_FILE);
    assert_false(is_on_disk(buf_span(&decision)));
    keys_of(store, ALICE, &keys);
    assert_int_equal(store_account_derived(store, ALICE, &old), ERR_OK);
    assert_memory_not_equal(keys.data + 33, old.views, STORE_KEY_SIZE);
    assert_memory_not_equal(keys.data + 33 + STORE_KEY_SIZE, old.secrets, STORE_KEY_SIZE);
    store_close(&store);
    store = open_store();
    expect_version_2(store);
    store_close(&store);
    buf_fini(&decision);
    buf_fini(&keys);
}

/* A row that was damaged before stays so, and costs the others nothing. */
static void test_damaged_row_is_left(void **state)
{
    (void)state;
    struct buf decision;
    make_version_2(&decision);
    run_sql("UPDATE view SET decision = x'0102' WHERE message = (SELECT min(message) FROM view)");
    struct store *store = open_store();
    unsigned good = 0, bad = 0;
    for (unsigned i = 0; i < 5; i++) {
        const enum err err = get(store, ALICE, i);
        good += err == ERR_OK;
        bad += err == ERR_STORE;
    }
    assert_int_equal(good, 4);
    assert_int_equal(bad, 1);
    store_close(&store);
    buf_fini(&decision);
}

/* ---- transactions ---- */

/* A group that fails takes the keys back with their row: what is sealed later must open later. */
static void test_group_that_fails(void **state)
{
    (void)state;
    struct buf first, second, third;
    struct store_kept kept;
    struct store *store = open_store();
    assert_int_equal(store_group_begin(store), ERR_OK);
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    keys_of(store, ALICE, &first);
    store->group_err = ERR_DISK_FULL;
    assert_int_equal(store_group_end(store), ERR_DISK_FULL);
    assert_int_equal(store_account_kept(store, ALICE, &kept), ERR_NOT_FOUND);
    assert_int_equal(put(store, ALICE, 2), ERR_OK);
    keys_of(store, ALICE, &second);
    assert_memory_not_equal(first.data + 33, second.data + 33, 96);
    assert_int_equal(store_group_begin(store), ERR_OK);
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_OK);
    store->group_err = ERR_DISK_FULL;
    assert_int_equal(store_group_end(store), ERR_DISK_FULL);
    assert_int_equal(kept_of(store, ALICE).wrap, STORE_WRAP_FILE);
    assert_int_equal(get(store, ALICE, 2), ERR_OK);
    store_close(&store);
    store = open_store();
    keys_of(store, ALICE, &third);
    assert_memory_equal(third.data, second.data, STORE_KEYS_SIZE);
    assert_int_equal(get(store, ALICE, 1), ERR_NOT_FOUND);
    assert_int_equal(get(store, ALICE, 2), ERR_OK);
    store_close(&store);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&third);
}

static void wrap_until_killed(int report)
{
    struct store *store;
    if (store_open(directory, &store))
        _exit(1);
    for (unsigned i = 0;; i++) {
        char wrapped[400];
        memset(wrapped, 'a' + (int)(i % 26), sizeof wrapped);
        if (store_account_wrap(store, ALICE, "KEY", (struct span){wrapped, sizeof wrapped}) ||
            write(report, &i, sizeof i) != sizeof i)
            _exit(2);
    }
}

/* Killed in the middle of wrapping: the old form is there or the new one, whole. */
static void test_kill_while_wrapping(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct buf keys;
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    keys_of(store, ALICE, &keys);
    store_close(&store);
    for (unsigned round = 0; round < 20; round++) {
        int ends[2];
        unsigned done = 0, last = 0;
        bool has_any = false;
        assert_int_equal(pipe(ends), 0);
        /* Each time from the file's form on. */
        run_sql("DELETE FROM account WHERE wrap = 3");
        store = open_store();
        struct store_account *account;
        struct store_keys raw;
        assert_int_equal(store_account_named(store, ALICE, &account), ERR_OK);
        memcpy(&raw, keys.data + 33, sizeof raw);
        assert_int_equal(store_account_take(account, &raw), ERR_OK);
        account->is_read = true;
        const struct store_row context = store_row('f', account->id, 0);
        struct buf sealed;
        buf_init(&sealed, 1000);
        assert_int_equal(
            store_seal(store, store_row_span(&context), (struct span){(const char *)&raw, sizeof raw}, &sealed),
            ERR_OK);
        assert_int_equal(store_account_write(store, account, STORE_WRAP_FILE, SPAN_NONE, buf_span(&sealed)), ERR_OK);
        buf_fini(&sealed);
        store_close(&store);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(ends[0]);
            wrap_until_killed(ends[1]);
        }
        close(ends[1]);
        while (done < round && read(ends[0], &last, sizeof last) == sizeof last) {
            has_any = true;
            done++;
        }
        kill(pid, SIGKILL);
        while (read(ends[0], &last, sizeof last) == sizeof last)
            has_any = true;
        close(ends[0]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        store = open_store();
        struct buf wrapped;
        wrapped_of(store, &wrapped);
        if (kept_of(store, ALICE).wrap == STORE_WRAP_FILE) {
            assert_false(has_any);
        } else {
            assert_int_equal(wrapped.len, 400);
            for (size_t i = 1; i < wrapped.len; i++)
                assert_int_equal(wrapped.data[i], wrapped.data[0]);
            assert_true(wrapped.data[0] - 'a' == (char)(last % 26) ||
                        wrapped.data[0] - 'a' == (char)((last + 1) % 26) || !has_any);
            assert_int_equal(store_account_open(store, ALICE, buf_span(&keys)), ERR_OK);
        }
        assert_int_equal(get(store, ALICE, 1), ERR_OK);
        buf_fini(&wrapped);
        store_close(&store);
    }
    buf_fini(&keys);
}

static void test_forgotten(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_kept kept;
    struct store_totals totals;
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    assert_int_equal(put(store, BOB, 1), ERR_OK);
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_OK);
    store_close(&store);
    store = open_store();
    assert_int_equal(get(store, ALICE, 1), ERR_KEY_LOCKED);
    assert_int_equal(store_account_forget(store, ALICE, false), ERR_OK);
    assert_int_equal(store_account_kept(store, ALICE, &kept), ERR_NOT_FOUND);
    assert_int_equal(get(store, ALICE, 1), ERR_NOT_FOUND);
    assert_int_equal(store_view_totals(store, ALICE, &totals), ERR_OK);
    assert_int_equal(totals.views + totals.records + totals.places + totals.mailboxes, 0);
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    assert_int_equal(get(store, ALICE, 1), ERR_OK);
    assert_int_equal(get(store, BOB, 1), ERR_OK);
    store_close(&store);
}

static void test_limits(void **state)
{
    (void)state;
    static char long_holder[STORE_HOLDER_SIZE + 1];
    static char long_message[STORE_WRAPPED_MAX + 1];
    struct store *store = open_store();
    memset(long_holder, 'k', sizeof long_holder - 1);
    assert_int_equal(put(store, ALICE, 1), ERR_OK);
    assert_int_equal(store_account_wrap(store, ALICE, long_holder, SPAN_LIT("a PGP message")), ERR_LIMIT);
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", (struct span){long_message, sizeof long_message}),
                     ERR_LIMIT);
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_NONE), ERR_LIMIT);
    assert_int_equal(kept_of(store, ALICE).wrap, STORE_WRAP_FILE);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_made_at_first_need, begin_empty),
        cmocka_unit_test_setup(test_wrapped_and_locked, begin_empty),
        cmocka_unit_test_setup(test_every_byte_counts, begin_empty),
        cmocka_unit_test_setup(test_nothing_is_left, begin_empty),
        cmocka_unit_test_setup(test_credential, begin_empty),
        cmocka_unit_test_setup(test_derived_keys_are_replaced, begin_empty),
        cmocka_unit_test_setup(test_damaged_row_is_left, begin_empty),
        cmocka_unit_test_setup(test_group_that_fails, begin_empty),
        cmocka_unit_test_setup(test_kill_while_wrapping, begin_empty),
        cmocka_unit_test_setup(test_forgotten, begin_empty),
        cmocka_unit_test_setup(test_limits, begin_empty),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

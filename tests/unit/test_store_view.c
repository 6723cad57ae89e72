/* Views in the store: the first decision counts for ever, what can be made again may go, nothing acknowledged is lost.
 */
#include "store/view_internal.h"

#include "store_dir.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define NOW INT64_C(1800000000)
#define ALICE "alice@example.org"

static struct store_view_key key_of(unsigned number)
{
    struct store_view_key key = {.account = ALICE};
    memcpy(key.digest, &number, sizeof number);
    return key;
}

static struct store_view view_of(const char *decision, const char *record)
{
    return (struct store_view){.decision = span_of(decision),
                               .session_keys = SPAN_LIT("9:0123456789ABCDEF"),
                               .record = span_of(record),
                               .text = SPAN_LIT("the text that is searched")};
}

static void put(struct store *store, unsigned number, const char *decision, const char *record)
{
    const struct store_view_key key = key_of(number);
    const struct store_view view = view_of(decision, record);
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
}

/* Both may be NULL: not decided, and dropped. */
static void expect(struct store *store, const struct store_view_key *key, const char *decision, const char *record)
{
    struct buf bytes;
    struct store_view view;
    buf_init_secret(&bytes, STORE_RECORD_MAX + 10000);
    assert_int_equal(buf_add_string(&bytes, "before"), ERR_OK);
    assert_int_equal(store_view_get(store, key, &bytes, &view), decision ? ERR_OK : ERR_NOT_FOUND);
    assert_memory_equal(bytes.data, "before", 6);
    if (decision) {
        assert_true(span_is_equal(view.decision, span_of(decision)));
        assert_true(span_is_equal(view.session_keys, SPAN_LIT("9:0123456789ABCDEF")));
        assert_true(span_is_equal(view.record, span_of(record ? record : "")));
    } else {
        assert_int_equal(bytes.len, 6);
    }
    buf_fini(&bytes);
}

static void expect_number(struct store *store, unsigned number, const char *decision, const char *record)
{
    const struct store_view_key key = key_of(number);
    expect(store, &key, decision, record);
}

static struct store_totals totals_of(struct store *store)
{
    struct store_totals totals;
    assert_int_equal(store_view_totals(store, ALICE, &totals), ERR_OK);
    return totals;
}

static void test_first_decision_wins(void **state)
{
    (void)state;
    struct store *store = open_store();
    expect_number(store, 1, NULL, NULL);
    put(store, 1, "first", "its record");
    struct store_view_key key = key_of(1), later = key_of(1), other = key_of(1);
    struct store_view view = view_of("second", "another record");
    assert_int_equal(store_view_put(store, &key, &view, NOW + 1), ERR_EXISTS);
    view = view_of("first", "another record");
    view.session_keys = SPAN_LIT("other keys");
    assert_int_equal(store_view_put(store, &key, &view, NOW + 1), ERR_OK);
    expect_number(store, 1, "first", "its record");
    later.generation = 1;
    other.account = "bob@example.org";
    expect(store, &later, NULL, NULL);
    expect(store, &other, NULL, NULL);
    store_close(&store);
    store = open_store();
    expect_number(store, 1, "first", "its record");
    store_close(&store);
}

static void test_generations(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_view_key key = key_of(1);
    struct store_view view = view_of("later", "record");
    uint32_t generation = 9;
    assert_int_equal(store_view_generation(store, ALICE, key.digest, &generation), ERR_NOT_FOUND);
    put(store, 1, "first", "record 0");
    assert_int_equal(store_view_generation(store, ALICE, key.digest, &generation), ERR_OK);
    assert_int_equal(generation, 0);
    key.generation = 3;
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
    assert_int_equal(store_view_generation(store, ALICE, key.digest, &generation), ERR_OK);
    assert_int_equal(generation, 3);
    assert_int_equal(store_view_generation(store, "bob@example.org", key.digest, &generation), ERR_NOT_FOUND);
    expect_number(store, 1, "first", "record 0");
    expect(store, &key, "later", "record");
    assert_int_equal(totals_of(store).views, 1);
    assert_int_equal(totals_of(store).records, 2);
    store_close(&store);
}

static void test_failed_ones_are_counted_and_marked(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_view view = view_of("failed", "record");
    uint64_t messages = 9;
    assert_int_equal(store_view_reopen(store, ALICE, &messages), ERR_OK);
    assert_int_equal(messages, 0);
    view.is_failed = true;
    for (unsigned i = 0; i < 3; i++) {
        const struct store_view_key key = key_of(i);
        assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
    }
    put(store, 7, "good", "record");
    struct store_view_key later = key_of(2);
    later.generation = 1;
    view = view_of("opened", "record");
    assert_int_equal(store_view_put(store, &later, &view, NOW), ERR_OK);
    assert_int_equal(totals_of(store).views, 4);
    assert_int_equal(totals_of(store).failed, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(store_view_reopen(store, ALICE, &messages), ERR_OK);
        assert_int_equal(messages, 2);
    }
    assert_int_equal(store_view_reopen(store, "bob@example.org", &messages), ERR_OK);
    assert_int_equal(messages, 0);
    /* What is marked is due; a mark says nothing of a generation that has been decided since. */
    uint32_t generation = 9;
    assert_int_equal(store_view_generation(store, ALICE, key_of(0).digest, &generation), ERR_OK);
    assert_int_equal(generation, 1);
    assert_int_equal(store_view_generation(store, ALICE, later.digest, &generation), ERR_OK);
    assert_int_equal(generation, 1);
    assert_int_equal(store_view_generation(store, ALICE, key_of(7).digest, &generation), ERR_OK);
    assert_int_equal(generation, 0);
    store_close(&store);
}

static void test_limits(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_view_key key = key_of(1);
    char *bytes = calloc(1, STORE_RECORD_MAX + 1);
    struct store_view view = view_of("first", "record");
    view.decision = (struct span){bytes, STORE_DECISION_MAX + 1};
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_LIMIT);
    view.decision.len--;
    view.session_keys = (struct span){bytes, STORE_DECISION_MAX + 1};
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_LIMIT);
    view.session_keys.len--;
    view.record = (struct span){bytes, STORE_RECORD_MAX + 1};
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_LIMIT);
    view.record.len--;
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
    struct buf out;
    buf_init(&out, STORE_RECORD_MAX + 10000);
    assert_int_equal(store_view_get(store, &key, &out, &view), ERR_OK);
    assert_int_equal(view.record.len, STORE_RECORD_MAX);
    buf_fini(&out);
    /* A buffer without room for all of it gets nothing. */
    buf_init(&out, STORE_RECORD_MAX);
    assert_int_equal(store_view_get(store, &key, &out, &view), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
    char name[1200];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct store_view_key far = {.account = name};
    assert_int_equal(store_view_put(store, &far, &view, NOW), ERR_LIMIT);
    free(bytes);
    store_close(&store);
}

static void test_nothing_readable_on_disk(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, 1, "signature=good; signer=bob", "Subject: the record");
    assert_not_on_disk("signer");
    assert_not_on_disk("0123456789ABCDEF");
    assert_not_on_disk("the record");
    assert_not_on_disk("is searched");
    assert_not_on_disk("alice");
    store_close(&store);
    assert_not_on_disk("searched");
}

/* What opens views does not open session keys, nor does one account's key another's. */
static void test_keys_are_apart(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_view_key key = key_of(1);
    struct store_account *bob;
    struct store_view_row row;
    sqlite3_stmt *statement;
    struct buf plain;
    put(store, 1, "decided", "record");
    assert_int_equal(store_account(store, "bob@example.org", &bob), ERR_OK);
    assert_int_equal(store_view_row(store, &key, &row), ERR_OK);
    assert_int_equal(store_prepare(&store->durable, "SELECT session_keys FROM view", &statement), ERR_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const struct store_row bound = store_row(STORE_ROW_KEYS, row.message, 0);
    const struct span sealed = store_column(statement, 0), context = store_row_span(&bound);
    const uint8_t *const wrong[] = {row.account->keys.views, bob->keys.views, bob->keys.secrets, store->seal_key};
    buf_init(&plain, 1000);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(store_unseal_with(store, wrong[i], context, sealed, &plain), ERR_STORE);
    assert_int_equal(store_unseal_with(store, row.account->keys.secrets, context, sealed, &plain), ERR_OK);
    assert_string_equal(plain.data, "9:0123456789ABCDEF");
    buf_fini(&plain);
    store_release(statement);
    store_close(&store);
}

/* Many accounts: more than are kept at hand. */
static void test_many_accounts(void **state)
{
    enum { MANY = 40 };
    (void)state;
    struct store *store = open_store();
    char name[64], record[100];
    struct store_view_key key = key_of(1);
    key.account = name;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < MANY; i++) {
            snprintf(name, sizeof name, "user%u@example.org", i);
            snprintf(record, sizeof record, "record of %s", name);
            const struct store_view view = view_of("decided", record);
            if (round == 0)
                assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
            else
                expect(store, &key, "decided", record);
        }
    store_close(&store);
}

/* What is left of views.sqlite is whole or nothing; decisions and keys are there in any case, and records come back. */
static void expect_made_anew(struct span damaged)
{
    write_whole("views.sqlite", damaged);
    struct store *store = open_store();
    for (unsigned i = 0; i < 300; i++) {
        const struct store_view_key key = key_of(i);
        struct store_view view;
        struct buf out;
        buf_init_secret(&out, 100000);
        assert_int_equal(store_view_get(store, &key, &out, &view), ERR_OK);
        assert_true(span_is_equal(view.decision, SPAN_LIT("decided")));
        buf_fini(&out);
    }
    for (unsigned i = 0; i < 300; i++)
        put(store, i, "decided", "record made again, quite as it was");
    struct mime_text_leaf leaf = {.kind = MIME_TEXT_ANY, .name = "", .needle = "x"};
    uint8_t bits[1];
    size_t missing;
    const struct store_view_key key = key_of(5);
    /* The text of these tests is none that mime/text.h made: it is dropped as if it had never been kept. */
    assert_int_equal(store_view_search(store, &key, 1, &leaf, 1, bits, &missing), ERR_NOT_FOUND);
    assert_int_equal(missing, 0);
    store_close(&store);
}

static void test_damaged_views_are_made_anew(void **state)
{
    (void)state;
    struct buf whole, other;
    struct store *store = open_store();
    put(store, 1, "of another store", "record");
    store_close(&store);
    read_whole("views.sqlite", &other);
    empty_directory();
    store = open_store();
    for (unsigned i = 0; i < 300; i++)
        put(store, i, "decided", "record made again, quite as it was");
    store_close(&store);
    log_init("test", LOG_LEVEL_ERROR);
    read_whole("views.sqlite", &whole);
    assert_true(whole.len > 5 * 16384);
    expect_made_anew(buf_span(&whole));
    expect_made_anew(SPAN_NONE);
    expect_made_anew(
        SPAN_LIT("this is no database, whatever its name says; it is longer than a header is, though....."
                 "......................................................................................"));
    expect_made_anew(buf_span(&other));
    for (size_t i = 0; i < 10; i++)
        expect_made_anew(span_slice(buf_span(&whole), 0, whole.len * i / 10 + 100));
    for (size_t page = 0; page < whole.len / 16384; page++) {
        char saved[16384];
        memcpy(saved, whole.data + page * sizeof saved, sizeof saved);
        memset(whole.data + page * sizeof saved, 0xa5, sizeof saved);
        expect_made_anew(buf_span(&whole));
        memcpy(whole.data + page * sizeof saved, saved, sizeof saved);
    }
    /* Single bytes, that SQLite does not look at: what is sealed does not open, and is dropped. */
    for (size_t at = 16384; at < whole.len; at += 5003) {
        whole.data[at] = (char)~whole.data[at];
        expect_made_anew(buf_span(&whole));
        whole.data[at] = (char)~whole.data[at];
    }
    buf_fini(&whole);
    buf_fini(&other);
}

static uint64_t size_of(const char *name)
{
    struct stat status;
    return stat(in_directory(name), &status) ? 0 : (uint64_t)status.st_size;
}

static void test_shrinking_drops_the_oldest(void **state)
{
    enum { VIEWS = 300 };
    (void)state;
    struct store *store = open_store();
    char record[20001];
    enum err err;
    memset(record, 'r', sizeof record - 1);
    record[sizeof record - 1] = '\0';
    for (unsigned i = 0; i < VIEWS; i++)
        put(store, i, "decided", record);
    assert_true(totals_of(store).bytes > 6000000);
    assert_int_equal(store_view_shrink(store, 100000000), ERR_OK);
    assert_int_equal(totals_of(store).records, VIEWS);
    unsigned turns = 0;
    while ((err = store_view_shrink(store, 2000000)) == ERR_AGAIN && turns < 100)
        turns++;
    assert_int_equal(err, ERR_OK);
    assert_true(totals_of(store).bytes <= 2000000);
    assert_in_range(totals_of(store).records, 60, 100);
    assert_int_equal(totals_of(store).views, VIEWS);
    expect_number(store, VIEWS - 1, "decided", record);
    expect_number(store, 0, "decided", NULL);
    put(store, 0, "decided", record);
    expect_number(store, 0, "decided", record);
    assert_int_equal(store_view_shrink(store, 2000000), ERR_OK);
    /* Even the newest goes if it must; what cannot be dropped stays. */
    for (turns = 0; (err = store_view_shrink(store, 1)) == ERR_AGAIN && turns < 100;)
        turns++;
    assert_int_equal(err, ERR_OK);
    assert_int_equal(totals_of(store).records, 0);
    store_close(&store);
    assert_true(size_of("views.sqlite") <= 2000000);
}

static void test_clearing(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_view_key other = key_of(1);
    const struct store_view view = view_of("decided", "record");
    other.account = "bob@example.org";
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 50; i++)
            put(store, i, "decided", "record");
        assert_int_equal(store_view_put(store, &other, &view, NOW), ERR_OK);
        assert_int_equal(store_view_clear(store, round == 0 ? ALICE : NULL), ERR_OK);
        assert_int_equal(totals_of(store).records, 0);
        assert_int_equal(totals_of(store).views, 50);
        expect_number(store, 7, "decided", NULL);
        expect(store, &other, "decided", round == 0 ? "record" : NULL);
    }
    store_close(&store);
}

static void test_groups(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_view_key key = key_of(1);
    const struct store_view view = view_of("another", "record");
    assert_int_equal(store_group_begin(store), ERR_OK);
    for (unsigned i = 0; i < 20; i++)
        put(store, i, "decided", "record");
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_EXISTS);
    assert_int_equal(store_view_clear(store, NULL), ERR_OK);
    put(store, 3, "decided", "record after clearing");
    expect_number(store, 2, "decided", NULL);
    assert_int_equal(store_group_end(store), ERR_OK);
    /* A group of nothing, and one that only looks. */
    assert_int_equal(store_group_begin(store), ERR_OK);
    assert_int_equal(store_group_end(store), ERR_OK);
    assert_int_equal(store_group_begin(store), ERR_OK);
    expect_number(store, 3, "decided", "record after clearing");
    assert_int_equal(store_group_end(store), ERR_OK);
    store_close(&store);
    store = open_store();
    expect_number(store, 3, "decided", "record after clearing");
    expect_number(store, 19, "decided", NULL);
    assert_int_equal(totals_of(store).views, 20);
    store_close(&store);
}

/* Views in groups of a few, reported when each group has ended. */
static void write_until_killed(int report)
{
    struct store *store;
    if (store_open(directory, &store))
        _exit(1);
    for (unsigned i = 0;; i++) {
        if (store_group_begin(store))
            _exit(2);
        for (unsigned j = 0; j < 5; j++) {
            char record[3000];
            const struct store_view_key key = key_of(i * 5 + j);
            snprintf(record, sizeof record, "%2900u", i * 5 + j);
            const struct store_view view = view_of("decided", record);
            if (store_view_put(store, &key, &view, NOW))
                _exit(3);
        }
        if (store_group_end(store) || write(report, &i, sizeof i) != sizeof i)
            _exit(4);
    }
}

static void expect_groups(unsigned groups)
{
    struct store *store = open_store();
    for (unsigned i = 0; i < groups * 5; i++) {
        char record[3000];
        snprintf(record, sizeof record, "%2900u", i);
        expect_number(store, i, "decided", record);
    }
    /* One commit may have been made whose word did not come through. */
    assert_in_range(totals_of(store).views, groups * 5, groups * 5 + 5);
    assert_int_equal(totals_of(store).views % 5, 0);
    store_close(&store);
}

static void test_kill_in_mid_commit(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        empty_directory();
        int ends[2], status;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            write_until_killed(ends[1]);
        }
        close(ends[1]);
        unsigned groups = 0, next;
        while (groups < 5 + round * 7 && read(ends[0], &next, sizeof next) == sizeof next)
            groups = next + 1;
        usleep(round * 137);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(ends[0], &next, sizeof next) == sizeof next)
            groups = next + 1;
        close(ends[0]);
        expect_groups(groups);
    }
}

/* Views until the disk is full, alone and in groups: those that were acknowledged are there. */
static void fill_and_look(bool is_grouped)
{
    char record[5000];
    unsigned done = 0, end = 0;
    enum err err = ERR_OK;
    struct store *store = open_store();
    memset(record, 'r', sizeof record - 1);
    record[sizeof record - 1] = '\0';
    const struct store_view view = view_of("decided", record);
    while (!err && end < 10000) {
        const unsigned count = is_grouped ? 7 : 1;
        if (is_grouped)
            assert_int_equal(store_group_begin(store), ERR_OK);
        for (unsigned i = 0; i < count; i++) {
            const struct store_view_key key = key_of(end++);
            const enum err one = store_view_put(store, &key, &view, NOW);
            err = err ? err : one;
        }
        if (is_grouped) {
            const enum err last = store_group_end(store);
            err = err ? err : last;
        }
        done = err ? done : end;
    }
    assert_true(err == ERR_DISK_FULL || err == ERR_STORE);
    assert_true(done > 0 && end < 10000);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < done; i++)
            expect_number(store, i, "decided", record);
        store_close(&store);
        store = open_store();
    }
    /* There is room again when something is dropped. */
    assert_int_equal(store_view_clear(store, NULL), ERR_OK);
    put(store, 20000, "decided", record);
    store_close(&store);
    empty_directory();
}

static void test_full_disk(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=3m") != 0)
        skip(); /* only root may mount */
    fill_and_look(false);
    fill_and_look(true);
    assert_int_equal(umount2(directory, MNT_DETACH), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_first_decision_wins, begin_empty),
        cmocka_unit_test_setup(test_generations, begin_empty),
        cmocka_unit_test_setup(test_failed_ones_are_counted_and_marked, begin_empty),
        cmocka_unit_test_setup(test_limits, begin_empty),
        cmocka_unit_test_setup(test_nothing_readable_on_disk, begin_empty),
        cmocka_unit_test_setup(test_keys_are_apart, begin_empty),
        cmocka_unit_test_setup(test_many_accounts, begin_empty),
        cmocka_unit_test_setup(test_damaged_views_are_made_anew, begin_empty),
        cmocka_unit_test_setup(test_shrinking_drops_the_oldest, begin_empty),
        cmocka_unit_test_setup(test_clearing, begin_empty),
        cmocka_unit_test_setup(test_groups, begin_empty),
        cmocka_unit_test_setup(test_kill_in_mid_commit, begin_empty),
        cmocka_unit_test_setup(test_full_disk, begin_empty),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

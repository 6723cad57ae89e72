/* The store: what is acknowledged stays, what is damaged stays untouched, nothing lies readable on the disk. */
#include "store/delivery.h"

#include "store_dir.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)

static const struct store_delivery_key message = {"alice@example.org", "<1@example.org>", {1, 2, 3}};

struct found {
    char text[4096];
    size_t len;
};

static enum err note(const char *address, void *context)
{
    struct found *found = context;
    snprintf(found->text + strlen(found->text), sizeof found->text - strlen(found->text), "[%s]", address);
    found->len++;
    return ERR_OK;
}

static enum err count(const char *address, void *context)
{
    size_t *len = context;
    assert_string_not_equal(address, "");
    ++*len;
    return ERR_OK;
}

static struct found find(struct store *store, const struct store_delivery_key *key)
{
    struct found found = {.len = 0};
    assert_int_equal(store_delivery_get(store, key, note, &found), ERR_OK);
    return found;
}

static void add(struct store *store, const struct store_delivery_key *key, const char *address, int64_t now)
{
    assert_int_equal(store_delivery_add(store, key, &address, 1, now), ERR_OK);
}

static void test_sealed_values(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct buf sealed, again, plain;
    buf_init(&sealed, 1000);
    buf_init(&again, 1000);
    buf_init(&plain, 1000);
    const struct span context = SPAN_LIT("table/7"), text = SPAN_LIT("what nobody reads");
    assert_int_equal(store_seal(store, context, text, &sealed), ERR_OK);
    assert_int_equal(store_seal(store, context, text, &again), ERR_OK);
    assert_false(span_is_equal(buf_span(&sealed), buf_span(&again)));
    assert_int_equal(span_find(buf_span(&sealed), 0, SPAN_LIT("nobody")), SIZE_MAX);
    assert_int_equal(buf_add_string(&plain, "before "), ERR_OK);
    assert_int_equal(store_unseal(store, context, buf_span(&sealed), &plain), ERR_OK);
    assert_string_equal(plain.data, "before what nobody reads");
    /* Another row, every changed bit, every cut: nothing opens and nothing is added. */
    assert_int_equal(store_unseal(store, SPAN_LIT("table/8"), buf_span(&sealed), &plain), ERR_STORE);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] = (char)(sealed.data[i] ^ (1 << (i % 8)));
        assert_int_equal(store_unseal(store, context, buf_span(&sealed), &plain), ERR_STORE);
        sealed.data[i] = (char)(sealed.data[i] ^ (1 << (i % 8)));
        assert_int_equal(store_unseal(store, context, span_slice(buf_span(&sealed), 0, i), &plain), ERR_STORE);
    }
    assert_string_equal(plain.data, "before what nobody reads");
    buf_clear(&again);
    assert_int_equal(store_seal(store, context, SPAN_NONE, &again), ERR_OK);
    assert_int_equal(store_unseal(store, context, buf_span(&again), &plain), ERR_OK);
    buf_fini(&sealed);
    buf_fini(&again);
    buf_fini(&plain);
    store_close(&store);
    assert_null(store);
}

static void test_tags(void **state)
{
    (void)state;
    struct store *store = open_store();
    uint8_t a[32], b[32];
    assert_int_equal(store_tag(store, SPAN_LIT("ab"), SPAN_LIT("c"), a), ERR_OK);
    assert_int_equal(store_tag(store, SPAN_LIT("ab"), SPAN_LIT("c"), b), ERR_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(store_tag(store, SPAN_LIT("a"), SPAN_LIT("bc"), b), ERR_OK);
    assert_memory_not_equal(a, b, sizeof a);
    store_close(&store);
    empty_directory();
    store = open_store();
    assert_int_equal(store_tag(store, SPAN_LIT("ab"), SPAN_LIT("c"), b), ERR_OK);
    assert_memory_not_equal(a, b, sizeof a);
    store_close(&store);
}

static void test_deliveries(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(find(store, &message).len, 0);
    add(store, &message, "bob@example.org", NOW);
    add(store, &message, "bob@example.org", NOW + 5);
    add(store, &message, "carol@example.org", NOW);
    struct store_delivery_key edited = message, other = message, account = message;
    edited.digest[31] = 1;
    other.message_id = "";
    account.account = "bob@example.org";
    add(store, &edited, "dave@example.org", NOW);
    assert_int_equal(find(store, &other).len, 0);
    assert_int_equal(find(store, &account).len, 0);
    store_close(&store);
    store = open_store();
    struct found found = find(store, &message);
    assert_int_equal(found.len, 2);
    assert_non_null(strstr(found.text, "[bob@example.org]"));
    assert_non_null(strstr(found.text, "[carol@example.org]"));
    assert_int_equal(store_delivery_forget(store, &message), ERR_OK);
    assert_int_equal(find(store, &message).len, 0);
    assert_string_equal(find(store, &edited).text, "[dave@example.org]");
    store_close(&store);
}

/* A call that fails in a group takes its own changes back, and leaves what was done before and after it. */
static void test_group_with_a_failure(void **state)
{
    (void)state;
    static char endless[3000];
    const char *const half[] = {"half@example.org", endless};
    struct store *store = open_store();
    memset(endless, 'x', sizeof endless - 1);
    assert_int_equal(store_group_begin(store), ERR_OK);
    add(store, &message, "before@example.org", NOW);
    assert_int_equal(store_delivery_add(store, &message, half, 2, NOW), ERR_LIMIT);
    add(store, &message, "after@example.org", NOW);
    assert_int_equal(store_group_end(store), ERR_OK);
    for (int round = 0; round < 2; round++) {
        struct found found = find(store, &message);
        assert_int_equal(found.len, 2);
        assert_null(strstr(found.text, "half"));
        store_close(&store);
        store = open_store();
    }
    /* Alone, too. */
    assert_int_equal(store_delivery_add(store, &message, half, 2, NOW), ERR_LIMIT);
    assert_int_equal(find(store, &message).len, 2);
    store_close(&store);
}

static enum err refuse(const char *address, void *context)
{
    (void)address;
    (*(int *)context)++;
    return ERR_LIMIT;
}

static void test_callback_ends_the_walk(void **state)
{
    (void)state;
    struct store *store = open_store();
    add(store, &message, "bob@example.org", NOW);
    add(store, &message, "carol@example.org", NOW);
    int called = 0;
    assert_int_equal(store_delivery_get(store, &message, refuse, &called), ERR_LIMIT);
    assert_int_equal(called, 1);
    store_close(&store);
}

static void test_expiry(void **state)
{
    (void)state;
    struct store *store = open_store();
    add(store, &message, "old@example.org", NOW - DELIVERY_DAYS * DAY - 1);
    add(store, &message, "new@example.org", NOW - DELIVERY_DAYS * DAY + 1);
    assert_int_equal(store_delivery_expire(store, NOW), ERR_OK);
    assert_string_equal(find(store, &message).text, "[new@example.org]");
    store_close(&store);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    struct store *store = open_store(), *second;
    assert_int_equal(store_open(directory, &second), ERR_BUSY);
    assert_null(second);
    store_close(&store);
    store = open_store();
    store_close(&store);
}

static void test_nothing_readable_on_disk(void **state)
{
    (void)state;
    struct store *store = open_store();
    add(store, &message, "bob-the-recipient@example.org", NOW);
    assert_not_on_disk("example.org");
    assert_not_on_disk("bob");
    store_close(&store);
}

static void expect_refused_untouched(const char *name, struct span bytes)
{
    struct store *store;
    write_whole(name, bytes);
    assert_int_equal(store_open(directory, &store), ERR_STORE);
    assert_null(store);
    struct buf after;
    read_whole(name, &after);
    assert_true(span_is_equal(buf_span(&after), bytes));
    buf_fini(&after);
}

static void test_damage_is_refused_and_untouched(void **state)
{
    (void)state;
    struct store *store = open_store();
    for (int i = 0; i < 200; i++) {
        char address[64];
        snprintf(address, sizeof address, "user%d@example.org", i);
        add(store, &message, address, NOW);
    }
    store_close(&store);
    struct buf whole;
    read_whole("durable.sqlite", &whole);
    assert_true(whole.len > 8192);
    char first = whole.data[0];
    whole.data[0] = 'X';
    expect_refused_untouched("durable.sqlite", buf_span(&whole));
    whole.data[0] = first;
    expect_refused_untouched("durable.sqlite", span_slice(buf_span(&whole), 0, whole.len / 2));
    char page[4096];
    memcpy(page, whole.data + 4096, sizeof page);
    memset(whole.data + 4096, 0xa5, sizeof page);
    expect_refused_untouched("durable.sqlite", buf_span(&whole));
    memcpy(whole.data + 4096, page, sizeof page);
    write_whole("durable.sqlite", buf_span(&whole));
    store = open_store();
    assert_int_equal(find(store, &message).len > 0, 1);
    store_close(&store);
    buf_fini(&whole);
}

static void test_key_that_does_not_fit(void **state)
{
    (void)state;
    struct store *store = open_store();
    add(store, &message, "bob@example.org", NOW);
    store_close(&store);
    struct buf key;
    read_whole("key", &key);
    assert_int_equal(key.len, 64);
    key.data[0] = (char)~key.data[0];
    expect_refused_untouched("key", buf_span(&key));
    expect_refused_untouched("key", span_slice(buf_span(&key), 0, 63));
    key.data[0] = (char)~key.data[0];
    write_whole("key", buf_span(&key));
    assert_int_equal(chmod(in_directory("key"), 0640), 0);
    assert_int_equal(store_open(directory, &store), ERR_STORE);
    assert_int_equal(unlink(in_directory("key")), 0);
    assert_int_equal(store_open(directory, &store), ERR_STORE);
    assert_int_not_equal(access(in_directory("key"), F_OK), 0);
    buf_fini(&key);
}

static void run_sql(const char *sql)
{
    sqlite3 *database;
    assert_int_equal(sqlite3_open_v2(in_directory("durable.sqlite"), &database, SQLITE_OPEN_READWRITE, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
}

/* Version 1 had deliveries alone. What is newer than this program is left alone. */
static void test_versions(void **state)
{
    (void)state;
    struct store *store = open_store();
    add(store, &message, "bob@example.org", NOW);
    store_close(&store);
    assert_int_equal(unlink(in_directory("views.sqlite")), 0);
    run_sql("DROP TABLE encrypted; DROP TABLE view; DROP TABLE reopen; DROP TABLE mailbox; DROP TABLE place;"
            " DROP TABLE account; DROP TABLE private_key; DROP TABLE peer; PRAGMA user_version = 1");
    store = open_store();
    assert_string_equal(find(store, &message).text, "[bob@example.org]");
    store_close(&store);
    run_sql("SELECT message FROM view; SELECT message FROM reopen; SELECT id FROM mailbox; SELECT page FROM place");
    store = open_store();
    assert_string_equal(find(store, &message).text, "[bob@example.org]");
    store_close(&store);
    run_sql("PRAGMA user_version = 7");
    assert_int_equal(store_open(directory, &store), ERR_STORE);
    run_sql("PRAGMA user_version = 6; PRAGMA application_id = 7");
    assert_int_equal(store_open(directory, &store), ERR_STORE);
}

/* A writer is killed in the middle of its commits, again and again; all that it acknowledged must be there. */
static void write_until_killed(int report)
{
    struct store *store;
    if (store_open(directory, &store))
        _exit(1);
    struct store_delivery_key key = message;
    for (uint32_t i = 0;; i++) {
        char address[64];
        snprintf(address, sizeof address, "user%u@example.org", i);
        const char *list[] = {address, "everyone@example.org"};
        if (store_delivery_add(store, &key, list, 2, NOW) || write(report, &i, sizeof i) != sizeof i)
            _exit(2);
    }
}

/* Recipients until the disk is full: the records that were acknowledged are there, of the refused one nothing is. */
static void fill_and_look(void)
{
    enum { MANY = 40 };
    static char addresses[MANY][200];
    const char *list[MANY];
    size_t done = 0;
    enum err err = ERR_OK;
    struct store *store = open_store();
    for (int i = 0; i < MANY; i++) {
        snprintf(addresses[i], sizeof addresses[i], "%0150d@example.org", i);
        list[i] = addresses[i];
    }
    struct store_delivery_key key = message;
    for (; err == ERR_OK && done < 10000; done += err == ERR_OK) {
        memcpy(key.digest, &done, sizeof done);
        err = store_delivery_add(store, &key, list, MANY, NOW);
    }
    assert_true(err == ERR_DISK_FULL || err == ERR_STORE);
    /* The trial itself needs fewer pages than a record of many and would find them; it asks for more than it needs. */
    assert_int_equal(store_delivery_add(store, &message, NULL, 0, NOW), ERR_DISK_FULL);
    assert_int_equal(find(store, &message).len, 0);
    assert_int_equal(find(store, &key).len, 0);
    store_close(&store);
    store = open_store();
    for (size_t i = 0; i <= done; i++) {
        size_t len = 0;
        memcpy(key.digest, &i, sizeof i);
        assert_int_equal(store_delivery_get(store, &key, count, &len), ERR_OK);
        assert_int_equal(len, i < done ? MANY : 0);
    }
    assert_true(done > 0);
    store_close(&store);
}

static void test_full_disk(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=600k") != 0)
        skip(); /* only root may mount */
    fill_and_look();
    assert_int_equal(umount2(directory, MNT_DETACH), 0);
}

/* On a disk without any room no store comes to be, and none is in the way when there is room again. */
static void test_disk_full_from_the_start(void **state)
{
    static const char block[4096];
    struct store *store;
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=640k") != 0)
        skip();
    for (size_t room = 0; room < 40; room++) {
        int fd = open(in_directory("ballast"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        while (write(fd, block, sizeof block) == (ssize_t)sizeof block)
            continue;
        assert_int_equal(ftruncate(fd, (off_t)((39 - room) * 4 * sizeof block)), 0);
        close(fd);
        enum err err = store_open(directory, &store);
        assert_true(err == ERR_OK || err == ERR_DISK_FULL || err == ERR_STORE);
        assert_true((err == ERR_OK) == (store != NULL));
        if (room == 0)
            assert_int_not_equal(err, ERR_OK);
        store_close(&store);
        assert_int_equal(unlink(in_directory("ballast")), 0);
    }
    store = open_store();
    store_close(&store);
    assert_int_equal(umount2(directory, MNT_DETACH), 0);
}

static void test_kill_in_mid_commit(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        empty_directory();
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            write_until_killed(ends[1]);
        }
        close(ends[1]);
        uint32_t last = 0, next;
        size_t reported = 0;
        while (reported < 5 + round * 7 && read(ends[0], &next, sizeof next) == sizeof next) {
            last = next;
            reported++;
        }
        usleep(round * 137);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(ends[0], &next, sizeof next) == sizeof next)
            last = next;
        close(ends[0]);
        struct store *store = open_store();
        struct found found = find(store, &message);
        /* One commit may have been made whose word did not come through. */
        assert_in_range(found.len, last + 2, last + 3);
        assert_non_null(strstr(found.text, "[everyone@example.org]"));
        store_close(&store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sealed_values, begin_empty),
        cmocka_unit_test_setup(test_tags, begin_empty),
        cmocka_unit_test_setup(test_deliveries, begin_empty),
        cmocka_unit_test_setup(test_group_with_a_failure, begin_empty),
        cmocka_unit_test_setup(test_callback_ends_the_walk, begin_empty),
        cmocka_unit_test_setup(test_expiry, begin_empty),
        cmocka_unit_test_setup(test_one_at_a_time, begin_empty),
        cmocka_unit_test_setup(test_nothing_readable_on_disk, begin_empty),
        cmocka_unit_test_setup(test_damage_is_refused_and_untouched, begin_empty),
        cmocka_unit_test_setup(test_key_that_does_not_fit, begin_empty),
        cmocka_unit_test_setup(test_versions, begin_empty),
        cmocka_unit_test_setup(test_full_disk, begin_empty),
        cmocka_unit_test_setup(test_disk_full_from_the_start, begin_empty),
        cmocka_unit_test_setup(test_kill_in_mid_commit, begin_empty),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

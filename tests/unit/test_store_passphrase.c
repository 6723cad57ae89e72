/* Keys of accounts that are sealed under a key made of a passphrase: with that alone they open, and a person alone
   replaces it. */
#include "store/view_internal.h"

#include "base/secret.h"
#include "tests/unit/store_disk.h"

#include <signal.h>
#include <sys/wait.h>

#define NOW INT64_C(1800000000)
#define ALICE "alice@example.org"
#define BOB "bob@example.org"
#define CREDENTIAL SPAN_LIT("a secret that systemd gives us, of 40 bytes")

static const uint8_t first[STORE_SEAL_SIZE] = {1, 2, 3}, second[STORE_SEAL_SIZE] = {1, 2, 4};

static enum err put(struct store *store, const char *account)
{
    const struct store_view_key key = {.account = account};
    const struct store_view view = {.decision = SPAN_LIT("decided"),
                                    .session_keys = SPAN_LIT("9:0123456789ABCDEF"),
                                    .record = SPAN_LIT("record"),
                                    .text = SPAN_LIT("text")};
    return store_view_put(store, &key, &view, NOW);
}

static enum err get(struct store *store, const char *account)
{
    const struct store_view_key key = {.account = account};
    struct store_view view;
    struct buf bytes;
    buf_init_secret(&bytes, STORE_RECORD_MAX + 10000);
    enum err err = store_view_get(store, &key, &bytes, &view);
    if (!err)
        assert_true(span_is_equal(view.decision, SPAN_LIT("decided")));
    buf_fini(&bytes);
    return err;
}

static void expect_kept(struct store *store, enum store_wrap wrap, const char *holder, bool is_open)
{
    struct store_kept kept;
    assert_int_equal(store_account_kept(store, ALICE, &kept), ERR_OK);
    assert_int_equal(kept.wrap, wrap);
    assert_string_equal(kept.holder, holder);
    assert_int_equal(kept.is_open, is_open);
}

static struct store *open_again(struct store *store)
{
    store_close(&store);
    return open_store();
}

static void test_opens_with_its_key_alone(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(put(store, ALICE), ERR_OK);
    assert_int_equal(put(store, BOB), ERR_OK);
    assert_int_equal(store_account_seal(store, ALICE, "recipe", first), ERR_OK);
    expect_kept(store, STORE_WRAP_PASSPHRASE, "recipe", true);
    assert_int_equal(get(store, ALICE), ERR_OK);
    store = open_again(store);
    for (int i = 0; i < 2; i++) {
        expect_kept(store, STORE_WRAP_PASSPHRASE, "recipe", false);
        assert_int_equal(get(store, ALICE), ERR_KEY_LOCKED);
        assert_int_equal(put(store, ALICE), ERR_KEY_LOCKED);
        assert_int_equal(get(store, BOB), ERR_OK);
        /* Nobody who has not opened it keeps it in another way. */
        assert_int_equal(store_account_seal(store, ALICE, "mine", second), ERR_KEY_LOCKED);
        assert_int_equal(store_account_drop_seal(store, ALICE), ERR_KEY_LOCKED);
        assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_KEY_LOCKED);
        assert_int_equal(store_account_unseal(store, ALICE, second), ERR_DECRYPT);
    }
    assert_int_equal(store_account_unseal(store, BOB, first), ERR_OK); /* it is open */
    assert_int_equal(store_account_unseal(store, ALICE, first), ERR_OK);
    expect_kept(store, STORE_WRAP_PASSPHRASE, "recipe", true);
    assert_int_equal(get(store, ALICE), ERR_OK);
    store_close(&store);
}

static void test_a_credential_replaces_it_not(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(put(store, ALICE), ERR_OK);
    assert_int_equal(store_account_seal(store, ALICE, "recipe", first), ERR_OK);
    /* A keeper that had the keys before the passphrase was chosen. */
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message")), ERR_EXISTS);
    store = open_again(store);
    assert_int_equal(store_use_credential(store, CREDENTIAL), ERR_OK);
    assert_int_equal(get(store, ALICE), ERR_KEY_LOCKED);
    assert_int_equal(store_account_unseal(store, ALICE, first), ERR_OK);
    assert_int_equal(get(store, ALICE), ERR_OK);
    expect_kept(store, STORE_WRAP_PASSPHRASE, "recipe", true);
    /* When it is taken away the keys are kept as those of others are. */
    assert_int_equal(store_account_drop_seal(store, ALICE), ERR_OK);
    expect_kept(store, STORE_WRAP_CREDENTIAL, "", true);
    store_close(&store);
}

static void test_changed_and_removed(void **state)
{
    (void)state;
    struct buf one, two, three;
    struct store *store = open_store();
    assert_int_equal(put(store, ALICE), ERR_OK);
    assert_int_equal(store_account_drop_seal(store, ALICE), ERR_NOT_FOUND);
    assert_int_equal(store_account_drop_seal(store, BOB), ERR_NOT_FOUND);
    assert_int_equal(store_account_seal(store, ALICE, "recipe", first), ERR_OK);
    wrapped_of(store, &one);
    assert_int_equal(store_account_seal(store, ALICE, "other", second), ERR_OK);
    wrapped_of(store, &two);
    assert_false(is_any_on_disk(buf_span(&one)));
    assert_true(is_any_on_disk(buf_span(&two)));
    store = open_again(store);
    expect_kept(store, STORE_WRAP_PASSPHRASE, "other", false);
    assert_int_equal(store_account_unseal(store, ALICE, first), ERR_DECRYPT);
    assert_int_equal(store_account_unseal(store, ALICE, second), ERR_OK);
    assert_int_equal(store_account_drop_seal(store, ALICE), ERR_OK);
    assert_false(is_any_on_disk(buf_span(&two)));
    expect_kept(store, STORE_WRAP_FILE, "", true);
    assert_int_equal(store_account_unseal(store, ALICE, first), ERR_OK); /* it is open */
    store = open_again(store);
    assert_int_equal(store_account_unseal(store, ALICE, second), ERR_NOT_FOUND);
    assert_int_equal(get(store, ALICE), ERR_OK);
    /* From an OpenPGP key to a passphrase. */
    assert_int_equal(store_account_wrap(store, ALICE, "KEY", SPAN_LIT("a PGP message, of some length")), ERR_OK);
    assert_int_equal(store_account_seal(store, ALICE, "recipe", first), ERR_OK);
    assert_false(is_any_on_disk(SPAN_LIT("a PGP message, of some length")));
    wrapped_of(store, &three);
    assert_false(span_is_equal(buf_span(&one), buf_span(&three)));
    store_close(&store);
    buf_fini(&one);
    buf_fini(&two);
    buf_fini(&three);
}

/* What is sealed for one account opens no other, whoever moves rows. */
static void test_bound_to_the_account(void **state)
{
    (void)state;
    sqlite3 *handle;
    struct store *store = open_store();
    assert_int_equal(put(store, ALICE), ERR_OK);
    assert_int_equal(put(store, BOB), ERR_OK);
    assert_int_equal(store_account_seal(store, ALICE, "recipe", first), ERR_OK);
    assert_int_equal(store_account_seal(store, BOB, "recipe", first), ERR_OK);
    store_close(&store);
    assert_int_equal(sqlite3_open(in_directory("durable.sqlite"), &handle), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(handle, "UPDATE account SET wrapped = (SELECT max(wrapped) FROM account)", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
    store = open_store();
    const enum err alice = store_account_unseal(store, ALICE, first), bob = store_account_unseal(store, BOB, first);
    assert_true((alice == ERR_OK && bob == ERR_DECRYPT) || (alice == ERR_DECRYPT && bob == ERR_OK));
    store_close(&store);
}

static void test_a_group_that_fails(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(put(store, ALICE), ERR_OK);
    assert_int_equal(store_group_begin(store), ERR_OK);
    assert_int_equal(store_account_seal(store, ALICE, "recipe", first), ERR_OK);
    store->group_err = ERR_DISK_FULL;
    assert_int_equal(store_group_end(store), ERR_DISK_FULL);
    expect_kept(store, STORE_WRAP_FILE, "", true);
    store = open_again(store);
    assert_int_equal(get(store, ALICE), ERR_OK);
    store_close(&store);
}

static void seal_until_killed(int report)
{
    struct store *store;
    if (store_open(directory, &store) || store_account_unseal(store, ALICE, first))
        _exit(1);
    for (unsigned i = 1;; i++) {
        const bool is_odd = i % 2 == 1;
        enum err err = i % 3 == 0 ? store_account_drop_seal(store, ALICE) : ERR_OK;
        if (!err)
            err = store_account_seal(store, ALICE, is_odd ? "odd" : "even", is_odd ? first : second);
        if (err || write(report, &i, sizeof i) != sizeof i)
            _exit(2);
    }
}

/* Killed in the middle of a change: one of the two passphrases opens it, or the file does. */
static void test_kill_while_changing(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(put(store, ALICE), ERR_OK);
    for (unsigned round = 0; round < 20; round++) {
        int ends[2];
        unsigned done = 0, last;
        struct store_kept kept;
        assert_int_equal(store_account_seal(store, ALICE, "odd", first), ERR_OK);
        store_close(&store);
        assert_int_equal(pipe(ends), 0);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(ends[0]);
            seal_until_killed(ends[1]);
        }
        close(ends[1]);
        while (done < round && read(ends[0], &last, sizeof last) == sizeof last)
            done++;
        assert_int_equal(done, round);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(ends[0]);
        store = open_store();
        assert_int_equal(store_account_kept(store, ALICE, &kept), ERR_OK);
        if (kept.wrap == STORE_WRAP_PASSPHRASE)
            assert_int_equal(store_account_unseal(store, ALICE, strcmp(kept.holder, "odd") == 0 ? first : second),
                             ERR_OK);
        else
            assert_int_equal(kept.wrap, STORE_WRAP_FILE);
        assert_int_equal(get(store, ALICE), ERR_OK);
    }
    store_close(&store);
}

static void test_limits(void **state)
{
    (void)state;
    static char long_recipe[STORE_HOLDER_SIZE + 1];
    struct store *store = open_store();
    memset(long_recipe, 'r', sizeof long_recipe - 1);
    assert_int_equal(store_account_seal(store, ALICE, long_recipe, first), ERR_LIMIT);
    /* An account that is new is kept so from the first. */
    assert_int_equal(store_account_seal(store, ALICE, long_recipe + 1, first), ERR_OK);
    store = open_again(store);
    expect_kept(store, STORE_WRAP_PASSPHRASE, long_recipe + 1, false);
    assert_int_equal(store_account_forget(store, ALICE, false), ERR_OK);
    assert_int_equal(put(store, ALICE), ERR_OK);
    expect_kept(store, STORE_WRAP_FILE, "", true);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_opens_with_its_key_alone, begin_empty),
        cmocka_unit_test_setup(test_a_credential_replaces_it_not, begin_empty),
        cmocka_unit_test_setup(test_changed_and_removed, begin_empty),
        cmocka_unit_test_setup(test_bound_to_the_account, begin_empty),
        cmocka_unit_test_setup(test_a_group_that_fails, begin_empty),
        cmocka_unit_test_setup(test_kill_while_changing, begin_empty),
        cmocka_unit_test_setup(test_limits, begin_empty),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

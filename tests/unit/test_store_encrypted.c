/* Message-IDs of mail that came encrypted: kept with the decision, for good, for one account, and told to nobody. */
#include "store/encrypted.h"
#include "store/view.h"

#include "store_dir.h"

#define NOW INT64_C(1800000000)
#define ALICE "alice@example.org"
#define BOB "bob@example.org"
/* Digests: what they are of is nothing to the store. */
#define ONE "0123456789abcdef0123456789abcdef"
#define TWO "another digest of 32 bytes......"
#define THREE "a third one, 32 bytes long too.."

static enum err put(struct store *store, unsigned number, const char *decision, const char *ids)
{
    struct store_view_key key = {.account = ALICE};
    memcpy(key.digest, &number, sizeof number);
    const struct store_view view = {.decision = span_of(decision),
                                    .session_keys = SPAN_LIT("9:0123456789ABCDEF"),
                                    .record = SPAN_LIT("record"),
                                    .encrypted_ids = span_of(ids)};
    return store_view_put(store, &key, &view, NOW);
}

static bool is_known(struct store *store, const char *account, const char *ids)
{
    bool is_found = true;
    assert_int_equal(store_encrypted_find(store, account, span_of(ids), &is_found), ERR_OK);
    return is_found;
}

static void test_found_by_any(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_false(is_known(store, ALICE, ONE));
    assert_int_equal(put(store, 1, "decided", ONE TWO), ERR_OK);
    assert_int_equal(put(store, 2, "decided", ""), ERR_OK);
    assert_true(is_known(store, ALICE, ONE));
    assert_true(is_known(store, ALICE, TWO));
    assert_true(is_known(store, ALICE, THREE TWO));
    assert_false(is_known(store, ALICE, THREE));
    assert_false(is_known(store, ALICE, ""));
    assert_false(is_known(store, BOB, ONE TWO));
    /* A second message with the same ID. */
    assert_int_equal(put(store, 3, "decided", ONE), ERR_OK);
    assert_true(is_known(store, ALICE, ONE));
    store_close(&store);
}

static void test_kept_for_good(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(put(store, 1, "decided", ONE), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        store_close(&store);
        store = open_store();
        assert_true(is_known(store, ALICE, ONE));
        assert_int_equal(store_view_clear(store, i == 0 ? ALICE : NULL), ERR_OK);
        assert_true(is_known(store, ALICE, ONE));
    }
    assert_int_equal(store_view_shrink(store, 0) == ERR_STORE, false);
    assert_true(is_known(store, ALICE, ONE));
    store_close(&store);
    assert_int_equal(unlink(in_directory("views.sqlite")), 0);
    store = open_store();
    assert_true(is_known(store, ALICE, ONE));
    store_close(&store);
}

/* The IDs are those of the decision that counts; one that came too late has none. */
static void test_with_the_decision(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(put(store, 1, "first", ONE), ERR_OK);
    assert_int_equal(put(store, 1, "second", TWO), ERR_EXISTS);
    assert_false(is_known(store, ALICE, TWO));
    /* A message that was decided before IDs were kept gets them when its view is made again. */
    assert_int_equal(put(store, 2, "decided", ""), ERR_OK);
    assert_false(is_known(store, ALICE, THREE));
    assert_int_equal(put(store, 2, "decided", THREE), ERR_OK);
    assert_true(is_known(store, ALICE, THREE));
    /* Both or neither. */
    assert_int_equal(put(store, 3, "decided", TWO "and half"), ERR_INTERNAL);
    assert_false(is_known(store, ALICE, TWO));
    struct store_view_key key = {.account = ALICE, .digest = {3}};
    struct store_view view;
    struct buf bytes;
    buf_init_secret(&bytes, STORE_RECORD_MAX);
    assert_int_equal(store_view_get(store, &key, &bytes, &view), ERR_NOT_FOUND);
    buf_fini(&bytes);
    bool is_found = true;
    assert_int_equal(store_encrypted_find(store, ALICE, SPAN_LIT("half"), &is_found), ERR_INTERNAL);
    assert_false(is_found);
    store_close(&store);
}

static void test_groups(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(store_group_begin(store), ERR_OK);
    assert_int_equal(put(store, 1, "decided", ONE), ERR_OK);
    assert_int_equal(put(store, 2, "decided", TWO "and half"), ERR_INTERNAL);
    assert_true(is_known(store, ALICE, ONE));
    assert_int_equal(store_group_end(store), ERR_OK);
    store_close(&store);
    store = open_store();
    assert_true(is_known(store, ALICE, ONE));
    assert_false(is_known(store, ALICE, TWO));
    store_close(&store);
}

static void test_nothing_readable_on_disk(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(put(store, 1, "decided", ONE), ERR_OK);
    assert_not_on_disk(ONE);
    store_close(&store);
    assert_not_on_disk(ONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_found_by_any, begin_empty),
        cmocka_unit_test_setup(test_kept_for_good, begin_empty),
        cmocka_unit_test_setup(test_with_the_decision, begin_empty),
        cmocka_unit_test_setup(test_groups, begin_empty),
        cmocka_unit_test_setup(test_nothing_readable_on_disk, begin_empty),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

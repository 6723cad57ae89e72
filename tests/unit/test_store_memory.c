/* Memory that runs out anywhere in the store: an error, nothing half done, nothing lost of what was acknowledged. */
#include "failing_malloc.h"

#include "store/view.h"
#include "store_dir.h"

#include <openssl/err.h>

#define NOW INT64_C(1800000000)
#define ALICE "alice@example.org"

static const struct store_view_key kept = {.account = ALICE, .digest = {1}};
static const struct store_view view = {.decision = SPAN_LIT("decided"),
                                       .session_keys = SPAN_LIT("9:00"),
                                       .record = SPAN_LIT("record"),
                                       .text = SPAN_LIT("text")};
static const struct store_mailbox inbox = {ALICE, SPAN_LIT("INBOX"), 7};

static bool read_back(struct store *store)
{
    struct buf out;
    struct store_view got;
    struct store_place *places;
    size_t len;
    buf_init_secret(&out, 10000);
    enum err err = store_view_get(store, &kept, &out, &got);
    assert_true(err != ERR_NOT_FOUND && err != ERR_EXISTS);
    bool is_right = !err && span_is_equal(got.decision, view.decision);
    buf_fini(&out);
    err = store_places_get(store, &inbox, &places, &len);
    is_right = is_right && !err && len == 1 && places[0].uid == 3;
    free(places);
    return is_right;
}

/* Puts once more what is there, in a group and alone, and one that is not there yet. */
static bool write_again(struct store *store)
{
    const struct store_place place = {.uid = 3, .is_view = true, .generation = 1, .digest = {1}};
    static uint8_t number;
    struct store_view_key fresh = kept;
    bool is_right = store_group_begin(store) == ERR_OK;
    fresh.digest[0] = 2;
    fresh.digest[1] = number++;
    const bool is_group = is_right;
    is_right = store_view_put(store, &kept, &view, NOW) == ERR_OK && is_right;
    is_right = store_view_put(store, &fresh, &view, NOW) == ERR_OK && is_right;
    is_right = store_places_put(store, &inbox, &place, 1) == ERR_OK && is_right;
    if (is_group)
        is_right = store_group_end(store) == ERR_OK && is_right;
    return is_right && store_view_put(store, &kept, &view, NOW) == ERR_OK;
}

static bool use(void *context)
{
    struct store *store;
    bool is_right = store_open(directory, &store) == ERR_OK;
    (void)context;
    if (is_right) {
        is_right = read_back(store);
        is_right = write_again(store) && is_right;
        is_right = read_back(store) && is_right;
    }
    store_close(&store);
    ERR_clear_error();
    return is_right;
}

static void test_memory_runs_out(void **state)
{
    (void)state;
#ifdef FAILING_MALLOC_IS_OFF
    skip();
#endif
    struct store *store = open_store();
    const struct store_place place = {.uid = 3, .is_view = true, .generation = 1, .digest = {1}};
    assert_int_equal(store_view_put(store, &kept, &view, NOW), ERR_OK);
    assert_int_equal(store_places_put(store, &inbox, &place, 1), ERR_OK);
    store_close(&store);
    failing_malloc_run(use, NULL);
    store = open_store();
    assert_true(read_back(store));
    store_close(&store);
}

/* In memory, where there is such a place: hundreds of commits need not wait for a disk. */
static int make_fast_directory(void **state)
{
    log_init("test", LOG_LEVEL_ERROR);
    snprintf(directory, sizeof directory, "/dev/shm/test_store.XXXXXX");
    return mkdtemp(directory) ? 0 : make_directory(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_memory_runs_out, begin_empty)};
    return cmocka_run_group_tests(tests, make_fast_directory, remove_directory);
}

/* The views of a net process, with master, keepers and vault played by the test. */
#include "tests/unit/views_world.h"

/* What somebody who waits was told. */
struct told {
    unsigned times;
    enum err err;
    bool is_plain, has_record;
    uint64_t size;
    char header[128];
    struct proxy_body *body;
    struct proxy_view_wait *wait;
};

static struct proxy_view_id id_of(uint8_t number)
{
    struct proxy_view_id id = {.account = 0, .generation = number % 2};

    memset(id.digest, number, sizeof(id.digest));
    return id;
}

static struct store_view_key key_of(uint8_t number)
{
    struct proxy_view_id id = id_of(number);
    struct store_view_key key = {.account = "alice@example.org", .generation = id.generation};

    memcpy(key.digest, id.digest, sizeof(key.digest));
    return key;
}

static void on_record(enum err err, const struct proxy_record *record, bool is_plain, void *context)
{
    struct told *told = context;

    told->wait = NULL;
    told->times++;
    told->err = err;
    told->is_plain = is_plain;
    told->has_record = record != NULL;
    if (record != NULL) {
        told->size = record->size;
        assert_true(span_copy(record->header, told->header, sizeof(told->header)));
    }
}

static void on_body(enum err err, struct proxy_body *body, void *context)
{
    struct told *told = context;

    told->wait = NULL;
    told->times++;
    told->err = err;
    told->body = body;
    assert_true((body != NULL) == (err == ERR_OK));
}

static int file_of(const char *text)
{
    int fd;

    assert_int_equal(memfd_of("raw", span_of(text), SIZE_MOST, &fd), ERR_OK);
    return fd;
}

static void open_view(struct world *world, uint8_t number, const char *text, struct told *told)
{
    struct proxy_view_id id = id_of(number);

    *told = (struct told){0};
    assert_int_equal(proxy_views_open(world->net.views, &id, file_of(text), on_record, told, &told->wait), ERR_OK);
    assert_int_equal(told->times, 0);
}

static void ask_body(struct world *world, uint8_t number, const char *text, struct told *told)
{
    struct proxy_view_id id = id_of(number);

    *told = (struct told){0};
    assert_int_equal(proxy_views_body(world->net.views, &id, file_of(text), on_body, told, &told->wait), ERR_OK);
    assert_int_equal(told->times, 0);
}

static void ask_record(struct world *world, uint8_t number, struct told *told)
{
    struct proxy_view_id id = id_of(number);

    *told = (struct told){0};
    assert_int_equal(proxy_views_record(world->net.views, &id, on_record, told, &told->wait), ERR_OK);
    assert_int_equal(told->times, 0);
}

static bool has_record(struct world *world, uint8_t number)
{
    struct proxy_view_id id = id_of(number);
    struct proxy_record record;

    return proxy_views_peek(world->net.views, &id, &record);
}

static bool has_body(struct world *world, uint8_t number)
{
    struct proxy_view_id id = id_of(number);
    struct proxy_body *body = proxy_views_hold(world->net.views, &id);
    bool is_there = body != NULL;

    proxy_views_release(world->net.views, &body);
    return is_there;
}

static void assert_told(const struct told *told, enum err err, const char *header)
{
    assert_int_equal(told->times, 1);
    assert_int_equal(told->err, err);
    assert_int_equal(told->has_record, header != NULL);
    if (header != NULL)
        assert_string_equal(told->header, header);
}

static void assert_body(struct world *world, struct told *told, const char *text)
{
    assert_int_equal(told->times, 1);
    assert_int_equal(told->err, ERR_OK);
    assert_true(span_is_equal(told->body->bytes, span_of(text)));
    assert_non_null(told->body->tree->root);
    proxy_views_release(world->net.views, &told->body);
    assert_null(told->body);
}

static void test_opened_once_and_kept(void **state)
{
    struct world *world = *state;
    struct told told;

    ask_record(world, 1, &told);
    settle(world);
    assert_told(&told, ERR_NOT_FOUND, NULL);
    open_view(world, 1, "one", &told);
    settle(world);
    assert_told(&told, ERR_OK, "X: judged 1\r\n\r\n");
    assert_int_equal(told.size, 18);
    assert_false(told.is_plain);
    assert_int_equal(world->puts, 1);
    assert_int_equal(world->kept_len, 1);
    assert_true(has_record(world, 1) && has_body(world, 1));
    /* From here on nobody needs to be asked. */
    world->holds_vault = world->holds_jobs = true;
    ask_record(world, 1, &told);
    settle(world);
    assert_told(&told, ERR_OK, "X: judged 1\r\n\r\n");
    ask_body(world, 1, "one", &told);
    settle(world);
    assert_body(world, &told, "X: judged 1\r\n\r\none");
    assert_int_equal(world->opens, 1);
    assert_int_equal(world->gets, 1);
}

static void test_generations_are_apart(void **state)
{
    struct world *world = *state;
    struct proxy_view_id id = id_of(1);
    struct proxy_record record;
    struct told told;

    open_view(world, 1, "one", &told);
    settle(world);
    assert_true(proxy_views_peek(world->net.views, &id, &record));
    id.generation = 0;
    assert_false(proxy_views_peek(world->net.views, &id, &record));
}

static void test_one_job_for_all_who_wait(void **state)
{
    struct world *world = *state;
    struct told told[4];

    for (int i = 0; i < 3; i++)
        open_view(world, 1, "one", &told[i]);
    ask_body(world, 1, "one", &told[3]);
    settle(world);
    for (int i = 0; i < 3; i++)
        assert_told(&told[i], ERR_OK, "X: judged 1\r\n\r\n");
    assert_body(world, &told[3], "X: judged 1\r\n\r\none");
    assert_int_equal(world->opens, 1);
    assert_int_equal(world->puts, 1);
}

static void test_plain_is_not_committed(void **state)
{
    struct world *world = *state;
    struct told told;

    open_view(world, 1, "plain as day", &told);
    settle(world);
    assert_told(&told, ERR_OK, NULL);
    assert_true(told.is_plain);
    assert_int_equal(world->puts, 0);
    assert_false(has_record(world, 1));
}

static void test_vault_knows_it(void **state)
{
    struct world *world = *state;
    struct told told;

    open_view(world, 1, "one", &told);
    settle(world);
    /* Another process of ours: nothing in memory. */
    proxy_views_free(&world->net.views);
    assert_int_equal(proxy_views_new(&world->net, &world->net.views), ERR_OK);
    ask_record(world, 1, &told);
    settle(world);
    assert_told(&told, ERR_OK, "X: judged 1\r\n\r\n");
    assert_int_equal(world->opens, 1);
    /* The body comes out of a keeper that judges nothing and makes no record. */
    ask_body(world, 1, "one", &told);
    settle(world);
    assert_body(world, &told, "X: judged 1\r\n\r\none");
    assert_int_equal(world->decided_opens, 1);
    assert_int_equal(world->bodies_alone, 1);
    assert_int_equal(world->puts, 1);
}

static void test_what_was_dropped_is_made_as_it_was(void **state)
{
    struct world *world = *state;
    struct store_view_key key = key_of(1);
    struct told told;

    add_kept(world, &key, "judged of old");
    ask_record(world, 1, &told);
    settle(world);
    assert_told(&told, ERR_NOT_FOUND, NULL);
    open_view(world, 1, "one", &told);
    settle(world);
    assert_told(&told, ERR_OK, "X: judged of old\r\n\r\n");
    assert_int_equal(world->decided_opens, 1);
    assert_true(world->kept[0].record_len > 0 && world->kept[0].has_text);
    /* The text alone was dropped: whoever must search asks for the view to be made, though the record is at hand. */
    world->kept[0].has_text = false;
    open_view(world, 1, "one", &told);
    settle(world);
    assert_told(&told, ERR_OK, "X: judged of old\r\n\r\n");
    assert_true(world->kept[0].has_text);
}

static void test_first_commit_wins(void **state)
{
    struct world *world = *state;
    struct store_view_key key = key_of(1);
    struct told told[2];

    world->holds_jobs = true;
    open_view(world, 1, "one", &told[0]);
    ask_body(world, 1, "one", &told[1]);
    settle(world);
    add_kept(world, &key, "judged by another");
    world->holds_jobs = false;
    settle(world);
    assert_told(&told[0], ERR_OK, "X: judged by another\r\n\r\n");
    assert_body(world, &told[1], "X: judged by another\r\n\r\none");
    assert_int_equal(world->opens, 2);
    assert_int_equal(world->decided_opens, 1);
    assert_int_equal(world->kept_len, 1);
}

static void test_nothing_is_shown_that_is_not_committed(void **state)
{
    struct world *world = *state;
    struct told told[2];

    world->put_err = ERR_STORE;
    open_view(world, 1, "one", &told[0]);
    ask_body(world, 1, "one", &told[1]);
    settle(world);
    assert_told(&told[0], ERR_STORE, NULL);
    assert_int_equal(told[1].err, ERR_STORE);
    assert_false(has_record(world, 1) || has_body(world, 1));
    /* A vault that says that it exists and does not know it. */
    world->put_err = ERR_EXISTS;
    open_view(world, 1, "one", &told[0]);
    settle(world);
    assert_told(&told[0], ERR_EXISTS, NULL);
    assert_false(has_record(world, 1));
    world->put_err = ERR_OK;
    open_view(world, 1, "one", &told[0]);
    settle(world);
    assert_int_equal(told[0].err, ERR_OK);
}

static void test_failures_are_told_to_all(void **state)
{
    struct world *world = *state;
    struct told told[2];

    world->job_err = ERR_KEY_LOCKED;
    open_view(world, 1, "one", &told[0]);
    ask_body(world, 1, "one", &told[1]);
    settle(world);
    assert_told(&told[0], ERR_KEY_LOCKED, NULL);
    assert_int_equal(told[1].err, ERR_KEY_LOCKED);
    world->job_err = ERR_OK;
    world->get_err = ERR_STORE;
    ask_record(world, 2, &told[0]);
    open_view(world, 2, "two", &told[1]);
    settle(world);
    assert_told(&told[0], ERR_STORE, NULL);
    assert_told(&told[1], ERR_STORE, NULL);
    world->get_err = ERR_OK;
    world->is_keeper_dead = true;
    open_view(world, 1, "one", &told[0]);
    settle(world);
    assert_told(&told[0], ERR_WORKER, NULL);
    world->is_keeper_dead = false;
    open_view(world, 1, "one", &told[0]);
    open_view(world, 2, "two", &told[1]);
    settle(world);
    assert_int_equal(told[0].err, ERR_OK);
    assert_int_equal(told[1].err, ERR_OK);
}

static void test_many_are_loaded_at_once(void **state)
{
    struct proxy_view_id ids[20];
    struct world *world = *state;
    struct told told, opened[10];

    for (uint8_t i = 0; i < 10; i++)
        open_view(world, i, "some", &opened[i]);
    settle(world);
    proxy_views_free(&world->net.views);
    assert_int_equal(proxy_views_new(&world->net, &world->net.views), ERR_OK);
    world->gets = 0;
    world->keys_asked = 0;
    for (uint8_t i = 0; i < 20; i++)
        ids[i] = id_of(i);
    for (int round = 0; round < 2; round++) {
        told = (struct told){0};
        assert_int_equal(proxy_views_load(world->net.views, ids, 20, on_record, &told, &told.wait), ERR_OK);
        settle(world);
        assert_told(&told, ERR_OK, NULL);
        for (uint8_t i = 0; i < 20; i++)
            assert_int_equal(has_record(world, i), i < 10);
    }
    assert_int_equal(world->gets, 1);
    assert_int_equal(world->keys_asked, 20);
    world->get_err = ERR_STORE;
    ids[0] = id_of(99);
    told = (struct told){0};
    assert_int_equal(proxy_views_load(world->net.views, ids, 1, on_record, &told, &told.wait), ERR_OK);
    settle(world);
    assert_told(&told, ERR_STORE, NULL);
}

/* While a body alone is being made, somebody wants the record and the text, too. */
static void test_more_is_wanted_while_it_is_made(void **state)
{
    struct world *world = *state;
    struct store_view_key key = key_of(1);
    struct told told[2];

    add_kept(world, &key, "judged of old");
    world->holds_jobs = true;
    ask_body(world, 1, "one", &told[0]);
    settle(world);
    open_view(world, 1, "one", &told[1]);
    world->holds_jobs = false;
    settle(world);
    assert_body(world, &told[0], "X: judged of old\r\n\r\none");
    assert_told(&told[1], ERR_OK, "X: judged of old\r\n\r\n");
    assert_int_equal(world->opens, 2);
}

/* A body of what was never decided is a first opening like any other. */
static void test_body_of_the_undecided_is_committed(void **state)
{
    struct world *world = *state;
    struct told told;

    ask_body(world, 1, "one", &told);
    settle(world);
    assert_body(world, &told, "X: judged 1\r\n\r\none");
    assert_int_equal(world->puts, 1);
    assert_int_equal(world->bodies_alone, 0);
    assert_true(has_record(world, 1));
}

static void test_vault_is_asked_once(void **state)
{
    struct world *world = *state;
    struct told told[3];

    world->holds_vault = true;
    ask_record(world, 1, &told[0]);
    ask_record(world, 1, &told[1]);
    open_view(world, 1, "one", &told[2]);
    settle(world);
    world->holds_vault = false;
    settle(world);
    assert_int_equal(world->gets, 1);
    assert_told(&told[0], ERR_NOT_FOUND, NULL);
    assert_told(&told[1], ERR_NOT_FOUND, NULL);
    assert_int_equal(told[2].err, ERR_OK);
}

/* Nobody waits any more: no keeper is troubled. */
static void test_given_up_before_it_began(void **state)
{
    struct world *world = *state;
    struct told told;

    world->holds_vault = true;
    open_view(world, 1, "one", &told);
    settle(world);
    proxy_views_cancel(&told.wait);
    world->holds_vault = false;
    settle(world);
    assert_int_equal(told.times, 0);
    assert_int_equal(world->opens, 0);
    open_view(world, 1, "one", &told);
    settle(world);
    assert_told(&told, ERR_OK, "X: judged 1\r\n\r\n");
}

/* Who asks for the record has the vault's word, not that of a keeper that is at it. */
static void test_record_does_not_wait_for_keepers(void **state)
{
    struct world *world = *state;
    struct told told[2];

    world->holds_jobs = true;
    open_view(world, 1, "one", &told[0]);
    settle(world);
    world->holds_vault = true;
    ask_record(world, 1, &told[1]);
    settle(world);
    world->job_err = ERR_KEY_LOCKED;
    world->holds_jobs = false;
    settle(world);
    assert_told(&told[0], ERR_KEY_LOCKED, NULL);
    assert_int_equal(told[1].times, 0);
    world->holds_vault = false;
    settle(world);
    assert_told(&told[1], ERR_NOT_FOUND, NULL);
}

/* Keepers keep an index by its number: another ring has another. */
static void test_ring_that_changed_has_another_number(void **state)
{
    struct world *world = *state;
    struct told told;
    char path[128];

    open_view(world, 1, "one", &told);
    settle(world);
    uint64_t first = world->index_number;
    open_view(world, 2, "two", &told);
    settle(world);
    assert_true(first != 0 && world->index_number == first);
    assert_int_equal(world->lists, 1);
    snprintf(path, sizeof(path), "%s/pubring.kbx", world->home);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    open_view(world, 3, "three", &told);
    settle(world);
    assert_int_equal(told.err, ERR_OK);
    assert_true(world->index_number != first);
    assert_int_equal(world->lists, 2);
}

/* At each step of the way, and for each of two who wait. */
static void test_cancelled_at_any_time(void **state)
{
    struct world *world = *state;
    struct proxy_view_id id;

    for (uint8_t steps = 0; steps < 14; steps++) {
        for (unsigned which = 0; which < 4; which++) {
            uint8_t number = (uint8_t)(100u + steps * 4u + which);
            struct told told[4];

            id = id_of(number);
            open_view(world, number, "some", &told[0]);
            ask_body(world, number, "some", &told[1]);
            ask_record(world, number, &told[2]);
            told[3] = (struct told){0};
            assert_int_equal(proxy_views_load(world->net.views, &id, 1, on_record, &told[3], &told[3].wait), ERR_OK);
            for (uint8_t i = 0; i < steps; i++)
                event_base_loop(world->net.base, EVLOOP_NONBLOCK), i % 2 == 1 ? turn(world) : (void)0;
            for (unsigned i = 0; i < 4; i++)
                if (i != which)
                    proxy_views_cancel(&told[i].wait);
            unsigned before[4];
            for (unsigned i = 0; i < 4; i++)
                before[i] = told[i].times;
            settle(world);
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(told[i].times, i == which ? 1 : before[i]);
            for (unsigned i = 0; i < 4; i++)
                proxy_views_release(world->net.views, &told[i].body);
            world->kept_len = 0;
        }
    }
}

static void test_freed_with_all_under_way(void **state)
{
    struct world *world = *state;
    struct told told[40];

    world->holds_jobs = true;
    for (uint8_t i = 0; i < 10; i++) {
        open_view(world, i, "some", &told[i * 4]);
        ask_body(world, i, "some", &told[i * 4 + 1]);
        ask_record(world, (uint8_t)(i + 50), &told[i * 4 + 2]);
        for (uint8_t j = 0; j < i; j++)
            turn(world);
        open_view(world, (uint8_t)(i + 100), "some", &told[i * 4 + 3]);
    }
    proxy_views_unlock(world->net.views, 0);
}

static void test_cache_is_bounded(void **state)
{
    static char large[200000];
    struct world *world = *state;
    struct told told;

    memset(large, 'x', sizeof(large) - 1);
    for (uint8_t i = 0; i < 20; i++) {
        open_view(world, i, large, &told);
        settle(world);
        assert_int_equal(told.err, ERR_OK);
    }
    unsigned bodies = 0;
    for (uint8_t i = 0; i < 20; i++)
        bodies += has_body(world, i);
    assert_in_range(bodies, 4, 5);
    assert_true(has_body(world, 19) && has_record(world, 0));
    /* What is held stays, and is shared with whoever asks meanwhile. */
    struct proxy_view_id id = id_of(19);
    struct proxy_body *held = proxy_views_hold(world->net.views, &id);
    world->config.view_cache_max = 1000;
    open_view(world, 30, "small", &told);
    settle(world);
    assert_true(held->bytes.len == sizeof(large) - 1 + strlen("X: judged 20\r\n\r\n"));
    assert_int_equal(held->bytes.ptr[held->bytes.len - 1], 'x');
    assert_ptr_equal(proxy_views_hold(world->net.views, &id), held);
    struct proxy_body *again = held;
    proxy_views_release(world->net.views, &again);
    assert_true(has_body(world, 19));
    proxy_views_release(world->net.views, &held);
    assert_false(has_body(world, 19) || has_record(world, 19) || has_record(world, 0));
    /* And all of it works without a cache. */
    open_view(world, 31, "small", &told);
    settle(world);
    assert_int_equal(told.err, ERR_OK);
    ask_body(world, 19, large, &told);
    settle(world);
    assert_int_equal(told.err, ERR_OK);
    proxy_views_release(world->net.views, &told.body);
}

static void give_own_key(struct world *world)
{
    struct keyring_entry entry = {.address = "alice@example.org",
                                  .fingerprint = "AAAABBBBCCCCDDDDEEEEFFFF0000111122223333",
                                  .format = KEYRING_OPENPGP,
                                  .trust = KEYRING_OWN,
                                  .has_secret = true};

    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
    memset(entry.fingerprint, 'B', 40);
    entry.has_secret = false;
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
    memset(entry.fingerprint, 'D', 40);
    entry.has_secret = true;
    entry.trust = KEYRING_FULL;
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
    memset(entry.fingerprint, 'C', 40);
    entry.trust = KEYRING_OWN;
    snprintf(entry.address, sizeof(entry.address), "alice@work.example");
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
}

static void test_unlocking(void **state)
{
    struct world *world = *state;

    proxy_views_unlock(world->net.views, 0);
    settle(world);
    assert_int_equal(world->unlocks, 0); /* there is no key of the account's */
    give_own_key(world);
    proxy_ring_free(&world->net.ring);
    assert_int_equal(proxy_ring_new(&world->config, &world->net.ring), ERR_OK);
    proxy_ring_set_pool(world->net.ring, world->net.pool);
    world->holds_unlock = true;
    for (int i = 0; i < 5; i++) {
        proxy_views_unlock(world->net.views, 0);
        settle(world);
    }
    world->holds_unlock = false;
    settle(world);
    assert_int_equal(world->unlocks, 1);
    assert_string_equal(world->unlock_key, "AAAABBBBCCCCDDDDEEEEFFFF0000111122223333");
    /* It went well: the next login asks the agent again. A prompt that was cancelled is not shown again. */
    world->unlock_err = ERR_KEY_LOCKED;
    proxy_views_unlock(world->net.views, 0);
    settle(world);
    assert_int_equal(world->unlocks, 2);
    for (int i = 0; i < 3; i++) {
        proxy_views_unlock(world->net.views, 0);
        settle(world);
    }
    assert_int_equal(world->unlocks, 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_opened_once_and_kept),
        CASE(test_generations_are_apart),
        CASE(test_one_job_for_all_who_wait),
        CASE(test_plain_is_not_committed),
        CASE(test_vault_knows_it),
        CASE(test_what_was_dropped_is_made_as_it_was),
        CASE(test_first_commit_wins),
        CASE(test_nothing_is_shown_that_is_not_committed),
        CASE(test_failures_are_told_to_all),
        CASE(test_many_are_loaded_at_once),
        CASE(test_more_is_wanted_while_it_is_made),
        CASE(test_body_of_the_undecided_is_committed),
        CASE(test_vault_is_asked_once),
        CASE(test_given_up_before_it_began),
        CASE(test_record_does_not_wait_for_keepers),
        CASE(test_ring_that_changed_has_another_number),
        CASE(test_cancelled_at_any_time),
        CASE(test_freed_with_all_under_way),
        CASE(test_cache_is_bounded),
        CASE(test_unlocking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

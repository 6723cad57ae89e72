/* The views of a net process, with master, keepers and vault played by the test: how one is made. */
#include "tests/unit/views_world.h"

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

/* The vault lacks the account's keys: nobody notices if they can be opened without asking, and who waits does so once.
 */
static void test_store_is_opened_unnoticed(void **state)
{
    struct world *world = *state;
    struct told told[3];

    world->get_err = ERR_KEY_LOCKED;
    world->holds_keys = true;
    for (uint8_t i = 0; i < 3; i++)
        ask_record(world, i, &told[i]);
    settle(world);
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(told[i].times, 0);
    world->holds_keys = false;
    settle(world);
    for (uint8_t i = 0; i < 3; i++)
        assert_told(&told[i], ERR_NOT_FOUND, NULL);
    assert_int_equal(world->keys_jobs, 1);
    assert_int_equal(world->unlocks, 0);
    /* The vault is another one when what was made is to be kept. */
    world->put_err = ERR_KEY_LOCKED;
    open_view(world, 4, "four", &told[0]);
    settle(world);
    assert_int_equal(told[0].err, ERR_OK);
    assert_int_equal(world->opens, 1);
    assert_int_equal(world->puts, 2);
    assert_int_equal(world->keys_jobs, 2);
}

/* They cannot be: who waits is told, a person is asked once, and what comes later finds them open. */
static void test_store_stays_locked(void **state)
{
    struct world *world = *state;
    struct told told[2];

    world->get_err = world->keys_err = ERR_KEY_LOCKED;
    world->unlock_err = ERR_KEY_LOCKED;
    for (unsigned i = 0; i < 3; i++) {
        ask_record(world, 1, &told[0]);
        open_view(world, 2, "two", &told[1]);
        settle(world);
        assert_told(&told[0], ERR_KEY_LOCKED, NULL);
        assert_told(&told[1], ERR_KEY_LOCKED, NULL);
    }
    assert_int_equal(world->opens, 0);
    assert_int_equal(world->unlocks, 1);
    world->keys_err = ERR_OK;
    open_view(world, 2, "two", &told[1]);
    settle(world);
    assert_int_equal(told[1].err, ERR_OK);
}

/* While a person is asked, gpg-agent would keep whoever tries it in the meantime waiting. */
static void test_nobody_waits_for_a_person(void **state)
{
    struct world *world = *state;
    struct told told;

    world->get_err = world->keys_err = ERR_KEY_LOCKED;
    world->holds_unlock = true;
    ask_record(world, 1, &told);
    settle(world);
    assert_told(&told, ERR_KEY_LOCKED, NULL);
    world->holds_keys = true;
    for (unsigned i = 0; i < 3; i++) {
        ask_record(world, 1, &told);
        settle(world);
        assert_told(&told, ERR_KEY_LOCKED, NULL);
    }
    assert_int_equal(world->keys_jobs, 1);
    world->holds_keys = world->holds_unlock = false;
    settle(world);
    assert_int_equal(world->unlocks, 1);
    ask_record(world, 1, &told);
    settle(world);
    assert_told(&told, ERR_NOT_FOUND, NULL);
}

/* A vault whose keys do not open for all that, and a keeper that dies: told, not asked for ever. */
static void test_store_does_not_open(void **state)
{
    struct world *world = *state;
    struct told told;

    world->get_err = ERR_KEY_LOCKED;
    world->keys_err = ERR_STORE;
    ask_record(world, 1, &told);
    settle(world);
    assert_told(&told, ERR_KEY_LOCKED, NULL);
    assert_int_equal(world->keys_jobs, 2);
    assert_int_equal(world->gets, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(test_opened_once_and_kept),
        WORLD_CASE(test_generations_are_apart),
        WORLD_CASE(test_one_job_for_all_who_wait),
        WORLD_CASE(test_plain_is_not_committed),
        WORLD_CASE(test_vault_knows_it),
        WORLD_CASE(test_what_was_dropped_is_made_as_it_was),
        WORLD_CASE(test_first_commit_wins),
        WORLD_CASE(test_nothing_is_shown_that_is_not_committed),
        WORLD_CASE(test_failures_are_told_to_all),
        WORLD_CASE(test_more_is_wanted_while_it_is_made),
        WORLD_CASE(test_body_of_the_undecided_is_committed),
        WORLD_CASE(test_vault_is_asked_once),
        WORLD_CASE(test_given_up_before_it_began),
        WORLD_CASE(test_record_does_not_wait_for_keepers),
        WORLD_CASE(test_store_is_opened_unnoticed),
        WORLD_CASE(test_store_stays_locked),
        WORLD_CASE(test_nobody_waits_for_a_person),
        WORLD_CASE(test_store_does_not_open),
        WORLD_CASE(test_ring_that_changed_has_another_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

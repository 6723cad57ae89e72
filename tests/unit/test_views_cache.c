/* The views of a net process: many of them, given up, kept within bounds; and the keys that open them. */
#include "tests/unit/views_world.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(test_many_are_loaded_at_once),
        WORLD_CASE(test_cancelled_at_any_time),
        WORLD_CASE(test_freed_with_all_under_way),
        WORLD_CASE(test_cache_is_bounded),
        WORLD_CASE(test_unlocking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

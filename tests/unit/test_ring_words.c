/* The key index follows what the vault knows of correspondents, and what runs out of it. */
#include "tests/unit/ring_asked.h"

#include "base/clock.h"

#define NOW 1800000000

/* Listed anew, but not by gpg: the home is in the state in which it was. */
static void test_changed(void **state)
{
    struct world *world = *state;

    ask(world);
    const uint64_t number = world->list_number;
    const unsigned lists = world->lists;
    proxy_ring_words_changed(world->net.ring, "nobody@example.org", false);
    assert_non_null(proxy_ring_current(world->net.ring, 0));
    proxy_ring_words_changed(world->net.ring, world->account.address, false);
    assert_null(proxy_ring_current_but_mail(world->net.ring, 0));
    ask(world);
    proxy_ring_words_changed(world->net.ring, NULL, false);
    ask(world);
    /* What mail tells changes nothing for the next mail's verdict. */
    proxy_ring_words_changed(world->net.ring, world->account.address, true);
    assert_non_null(proxy_ring_current_but_mail(world->net.ring, 0));
    ask(world);
    assert_int_equal(world->lists, lists + 3);
    assert_int_equal(world->list_number, number);
}

/* A listing that began before a change is no answer to whoever asks after it; without one it is everybody's. */
static void test_asked_late(void **state)
{
    struct world *world = *state;
    struct asked first = {0}, second = {0}, third = {0};

    for (unsigned i = 0; i < 3; i++) {
        const unsigned lists = world->lists;
        proxy_ring_words_changed(world->net.ring, NULL, false);
        first.times = second.times = third.times = 0;
        assert_int_equal(proxy_ring_ask(world->net.ring, 0, on_ring, &first, &first.wait), ERR_OK);
        assert_null(proxy_ring_current_but_mail(world->net.ring, 0));
        if (i > 0)
            proxy_ring_words_changed(world->net.ring, NULL, i == 1);
        assert_int_equal(proxy_ring_ask(world->net.ring, 0, on_ring, &second, &second.wait), ERR_OK);
        assert_int_equal(proxy_ring_ask(world->net.ring, 0, on_ring, &third, &third.wait), ERR_OK);
        proxy_ring_cancel(&third.wait);
        settle(world);
        assert_int_equal(first.times, 1);
        assert_int_equal(second.times, 1);
        assert_int_equal(third.times, 0);
        assert_int_equal(world->lists, lists + (i == 0 ? 1 : 2));
        assert_non_null(proxy_ring_current(world->net.ring, 0));
    }
    /* While it is listed for what mail told alone, a message goes on with what its recipients were answered by. */
    proxy_ring_words_changed(world->net.ring, NULL, true);
    assert_int_equal(proxy_ring_ask(world->net.ring, 0, on_ring, &first, &first.wait), ERR_OK);
    assert_null(proxy_ring_current(world->net.ring, 0));
    assert_non_null(proxy_ring_current_but_mail(world->net.ring, 0));
    settle(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {WORLD_CASE(test_changed), WORLD_CASE(test_asked_late)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

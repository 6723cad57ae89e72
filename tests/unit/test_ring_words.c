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
    assert_null(proxy_ring_current_to_read(world->net.ring, 0));
    ask(world);
    proxy_ring_words_changed(world->net.ring, NULL, false);
    ask(world);
    /* What mail tells changes nothing for the next mail's verdict. */
    proxy_ring_words_changed(world->net.ring, world->account.address, true);
    assert_non_null(proxy_ring_current_to_read(world->net.ring, 0));
    ask(world);
    assert_int_equal(world->lists, lists + 3);
    assert_int_equal(world->list_number, number);
}

/* A word that runs out is told by nobody. Of many that do so one after the other, each is not waited for. */
static void test_lapsed(void **state)
{
    struct world *world = *state;
    struct keyring_entry entry = {.format = KEYRING_OPENPGP,
                                  .address = "bob@example.org",
                                  .fingerprint = "AA",
                                  .trust = KEYRING_FOUND,
                                  .source = KEYRING_SOURCE_WKD,
                                  .ask_again = NOW + 10 - KEYRING_WORD_LONGER_S};

    clock_fix(NOW);
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
    entry.ask_again++;
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
    ask(world);
    clock_fix(NOW + 9);
    passed_ms += 100000;
    assert_non_null(proxy_ring_current(world->net.ring, 0));
    clock_fix(NOW + 10);
    ask(world);
    clock_fix(NOW + 11);
    assert_non_null(proxy_ring_current(world->net.ring, 0));
    /* Of others nobody asks; whose word it was is looked at again at once, but not again and again. */
    proxy_ring_check_lapsed(world->net.ring, 0, "nobody@example.org");
    assert_non_null(proxy_ring_current(world->net.ring, 0));
    proxy_ring_check_lapsed(world->net.ring, 0, "bob@example.org");
    ask(world);
    proxy_ring_check_lapsed(world->net.ring, 0, "bob@example.org");
    assert_non_null(proxy_ring_current(world->net.ring, 0));
    /* Nothing else runs out. */
    passed_ms += 61000;
    clock_fix(NOW + 1000000);
    assert_non_null(proxy_ring_current(world->net.ring, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {WORLD_CASE(test_changed), WORLD_CASE(test_lapsed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* When a correspondent's key is to be asked for again. */
#include "keyring/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1800000000

/* Each about once in the time, at a time of its own that a restart does not change; nobody whose key is not in use. */
static void test_refresh_due(void **state)
{
    const uint32_t week = 604800;
    const int64_t day = 86400;
    int64_t due, first = 0;
    size_t others = 0;
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct keyring_peer peer;
        char address[32];
        snprintf(address, sizeof address, "bob%d@example.org", i);
        keyring_peer_init(&peer, address);
        assert_false(keyring_peer_refresh_due(&peer, NOW, week, &due));
        keyring_peer_sent(&peer, KEYRING_OPENPGP, "", NOW);
        assert_false(keyring_peer_refresh_due(&peer, NOW, week, &due));
        keyring_peer_sent(&peer, i % 2 == 0 ? KEYRING_OPENPGP : KEYRING_SMIME, "ABCD", NOW);
        assert_true(keyring_peer_refresh_due(&peer, NOW, week, &due));
        assert_true(due >= NOW + week * 3 / 4 && due <= NOW + week * 5 / 4);
        first = i == 0 ? due : first;
        others += due / 3600 != first / 3600;
        const int64_t before = due;
        assert_true(keyring_peer_refresh_due(&peer, NOW + 3 * day, week, &due));
        assert_int_equal(due, before);
        keyring_peer_refreshed(&peer, before);
        assert_true(keyring_peer_refresh_due(&peer, before, week, &due));
        assert_true(due >= before + week * 3 / 4 && due <= before + week * 5 / 4);
        /* The clock went back: not put off for ever. */
        assert_true(keyring_peer_refresh_due(&peer, NOW - 300 * day, week, &due));
        assert_int_equal(due, NOW - 300 * day);
        keyring_peer_refreshed(&peer, NOW - 300 * day);
        assert_true(keyring_peer_refresh_due(&peer, NOW - 300 * day, week, &due));
        assert_true(due >= NOW - 300 * day + week * 3 / 4);
        assert_true(keyring_peer_refresh_due(&peer, NOW + 90 * day, week, &due));
        assert_false(keyring_peer_refresh_due(&peer, NOW + 91 * day, week, &due));
        keyring_peer_fini(&peer);
    }
    assert_true(others > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refresh_due)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

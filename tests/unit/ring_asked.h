/*
 * What tests of the key index share: a clock that is moved on, and the index asked for.
 */
#ifndef TESTS_UNIT_RING_ASKED_H
#define TESTS_UNIT_RING_ASKED_H

#include "tests/unit/views_world.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t passed_ms; /* beyond the real time */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, clock, now);

    if (clock == CLOCK_MONOTONIC)
        now->tv_sec += (time_t)(passed_ms / 1000);
    return (int)result;
}

struct asked {
    unsigned times;
    struct proxy_ring_wait *wait;
};

static void on_ring(enum err err, const struct keyring *keyring, void *context)
{
    struct asked *asked = context;

    assert_int_equal(err, ERR_OK);
    assert_non_null(keyring);
    asked->times++;
}

static inline void ask(struct world *world)
{
    struct asked asked = {0};

    assert_null(proxy_ring_current(world->net.ring, 0));
    assert_int_equal(proxy_ring_ask(world->net.ring, 0, on_ring, &asked, &asked.wait), ERR_OK);
    settle(world);
    assert_int_equal(asked.times, 1);
    assert_non_null(proxy_ring_current(world->net.ring, 0));
}

#endif

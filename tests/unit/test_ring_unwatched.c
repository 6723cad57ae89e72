/* The key index where the user has used up what there is of inotify. */
#include "tests/unit/ring_asked.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>

static bool has_instance;

int inotify_init1(int flags)
{
    (void)flags;
    if (has_instance)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    errno = EMFILE;
    return -1;
}

int inotify_add_watch(int fd, const char *name, uint32_t mask)
{
    (void)fd;
    (void)name;
    (void)mask;
    errno = ENOSPC;
    return -1;
}

static void check(struct world *world)
{
    unsigned lists = world->lists;

    ask(world);
    assert_int_equal(world->lists, lists + 1);
    for (int i = 0; i < 3; i++) {
        assert_non_null(proxy_ring_current(world->net.ring, 0));
        settle(world);
        assert_int_equal(world->lists, lists + 1);
        /* Nobody asks: nothing is listed. */
        passed_ms += 2000;
        settle(world);
        assert_int_equal(world->lists, lists + 1);
        ask(world);
        assert_int_equal(world->lists, ++lists + 1);
    }
}

static void test_no_instance(void **state)
{
    check(*state);
}

static void test_no_watch(void **state)
{
    struct world *world = *state;

    has_instance = true;
    proxy_ring_free(&world->net.ring);
    assert_int_equal(proxy_ring_new(&world->config, &world->net.ring), ERR_OK);
    proxy_ring_set_pool(world->net.ring, world->net.pool);
    check(world);
}

/* What a look-up has brought counts at once: a recipient is not refused for good by what was listed before it. */
static void test_known_change(void **state)
{
    struct world *world = *state;

    ask(world);
    assert_non_null(proxy_ring_current(world->net.ring, 0));
    proxy_ring_changed(world->net.ring, 0);
    ask(world);
    assert_non_null(proxy_ring_current(world->net.ring, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {WORLD_CASE(test_no_instance), WORLD_CASE(test_no_watch),
                                       WORLD_CASE(test_known_change)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

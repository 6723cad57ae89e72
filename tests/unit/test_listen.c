#include "proxy/listen.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct config config;
    struct config_listener listeners[2];
    struct config_address addresses[2][2];
};

static void fill(struct world *world)
{
    *world = (struct world){.config = {.listeners_len = 1}};
    world->config.listeners = world->listeners;
    for (size_t i = 0; i < 2; i++) {
        world->listeners[i].at = world->addresses[i];
        world->listeners[i].at_len = 1;
        snprintf(world->addresses[i][0].host, sizeof(world->addresses[i][0].host), "127.0.0.1");
        snprintf(world->addresses[i][1].host, sizeof(world->addresses[i][1].host), "::1");
    }
}

static bool can_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_connected = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return is_connected;
}

static void test_binds_every_address(void **state)
{
    struct world world;
    struct proxy_sockets sockets;
    (void)state;
    fill(&world);
    world.listeners[0].at_len = 2;
    world.config.listeners_len = 2;
    assert_int_equal(proxy_listen(&world.config, NULL, &sockets), ERR_OK);
    assert_int_equal(sockets.len, 3);
    assert_int_equal(sockets.items[2].listener, 1);
    assert_string_equal(sockets.items[1].host, "::1");
    for (size_t i = 0; i < 3; i++)
        assert_true(sockets.items[i].bound_port > 0);
    assert_true(can_connect(sockets.items[0].bound_port));
    int port = sockets.items[0].bound_port;
    proxy_listen_close(&sockets);
    assert_int_equal(sockets.len, 0);
    assert_false(can_connect(port));
}

/* On a reload a socket whose address stays is never closed in between; others go and come. */
static void test_takes_over(void **state)
{
    struct world world;
    struct proxy_sockets old, fresh;
    (void)state;
    fill(&world);
    assert_int_equal(proxy_listen(&world.config, NULL, &old), ERR_OK);
    int port = old.items[0].bound_port;
    world.config.listeners_len = 2;
    world.addresses[1][0] = world.addresses[1][1];
    assert_int_equal(proxy_listen(&world.config, &old, &fresh), ERR_OK);
    assert_int_equal(old.len, 0);
    assert_int_equal(fresh.len, 2);
    assert_int_equal(fresh.items[0].bound_port, port);
    assert_true(can_connect(port));
    proxy_listen_close(&fresh);
}

static void test_failure_leaves_the_old_ones(void **state)
{
    struct world world;
    struct proxy_sockets taken, old, fresh = {0};
    (void)state;
    fill(&world);
    assert_int_equal(proxy_listen(&world.config, NULL, &taken), ERR_OK);
    assert_int_equal(proxy_listen(&world.config, NULL, &old), ERR_OK);
    int port = old.items[0].bound_port;
    world.config.listeners_len = 2;
    world.addresses[1][0].port = taken.items[0].bound_port;
    assert_int_equal(proxy_listen(&world.config, &old, &fresh), ERR_IO);
    assert_int_equal(old.len, 1);
    assert_true(can_connect(port));
    proxy_listen_close(&old);
    proxy_listen_close(&taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_binds_every_address),
        cmocka_unit_test(test_takes_over),
        cmocka_unit_test(test_failure_leaves_the_old_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

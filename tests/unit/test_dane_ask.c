/* Questions for a name server that takes them and says nothing: what ends them, and that nothing is told twice. What a
   name server says is looked at with a real one, in tests/interop. */
#include "base/clock.h"
#include "base/log.h"
#include "keyring/dane.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ERIN "erin@example.net"
/* A key that nobody has: nothing is ever validated here. */
#define ANCHOR ". IN DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"

struct told {
    struct event_base *base;
    size_t len;
    size_t expected; /* then the loop ends */
    enum err err;
    size_t pieces;
    char problem[400];
};

struct world {
    struct event_base *base;
    struct keyring_dane_options options;
    struct keyring_dane *dane;
    struct told told;
    int silent;
    char anchor[64];
};

static void on_told(enum err err, const struct keyring_piece *pieces, size_t pieces_len, const char *problem,
                    void *context)
{
    struct told *told = context;
    (void)pieces;
    told->len++;
    told->err = err;
    told->pieces = pieces_len;
    snprintf(told->problem, sizeof told->problem, "%s", problem);
    if (told->len == told->expected)
        event_base_loopbreak(told->base);
}

static void world_open(struct world *world, uint32_t timeout_ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *world = (struct world){.base = event_base_new(), .silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    assert_non_null(world->base);
    assert_int_equal(bind(world->silent, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(world->silent, (struct sockaddr *)&address, &size), 0);
    snprintf(world->anchor, sizeof world->anchor, "/tmp/test_dane.XXXXXX");
    const int file = mkstemp(world->anchor);
    assert_true(file >= 0 && write(file, ANCHOR, sizeof ANCHOR - 1) == (ssize_t)sizeof ANCHOR - 1);
    close(file);
    snprintf(world->options.anchor, sizeof world->options.anchor, "%s", world->anchor);
    snprintf(world->options.servers[0], sizeof world->options.servers[0], "127.0.0.1@%d", ntohs(address.sin_port));
    world->options.servers_len = 1;
    world->options.timeout_ms = timeout_ms;
    world->told = (struct told){.base = world->base, .expected = 1};
    assert_int_equal(keyring_dane_new(world->base, &world->options, &world->dane), ERR_OK);
}

static void world_close(struct world *world)
{
    keyring_dane_free(&world->dane);
    event_base_free(world->base);
    close(world->silent);
    unlink(world->anchor);
}

static void run(struct world *world)
{
    assert_true(event_base_dispatch(world->base) >= 0);
}

static void test_deadline(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 50);
    assert_int_equal(keyring_dane_find(world.dane, ERIN, on_told, &world.told, NULL), ERR_OK);
    assert_int_equal(world.told.len, 0);
    run(&world);
    assert_int_equal(world.told.err, ERR_UPSTREAM_DOWN);
    assert_string_equal(world.told.problem, "no answer about example.net in 0 seconds");
    assert_int_equal(keyring_dane_try(world.dane, ".", on_told, &world.told, NULL), ERR_OK);
    world.told.expected = 2;
    run(&world);
    assert_int_equal(world.told.len, 2);
    assert_int_equal(world.told.err, ERR_UPSTREAM_DOWN);
    world_close(&world);
}

/* Cancelled in any order, and freed with the rest open: none of them is told. */
static void test_cancelled(void **state)
{
    (void)state;
    enum { LEN = 8 };
    struct keyring_dane_query *queries[LEN];
    struct world world;
    world_open(&world, 60000);
    for (size_t i = 0; i < LEN; i++) {
        char address[64];
        snprintf(address, sizeof address, "erin%zu@example.net", i / 2);
        assert_int_equal(keyring_dane_find(world.dane, address, on_told, &world.told, &queries[i]), ERR_OK);
    }
    assert_true(event_base_loop(world.base, EVLOOP_NONBLOCK) >= 0);
    for (size_t i = 0; i < LEN; i += 3) {
        keyring_dane_cancel(&queries[i]);
        assert_null(queries[i]);
        keyring_dane_cancel(&queries[i]);
    }
    assert_true(event_base_loop(world.base, EVLOOP_NONBLOCK) >= 0);
    world_close(&world);
    assert_int_equal(world.told.len, 0);
}

/* A name server that answers nobody (REFUSED, RFC 1035 §4.1.1). */
static void on_question(evutil_socket_t fd, short what, void *context)
{
    unsigned char message[1500];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    (void)what;
    (void)context;
    const ssize_t len = recvfrom(fd, message, sizeof message, 0, (struct sockaddr *)&from, &size);
    if (len < 12)
        return;
    message[2] |= 0x80;
    message[3] = (unsigned char)((message[3] & 0xf0) | 5);
    (void)sendto(fd, message, (size_t)len, 0, (struct sockaddr *)&from, size);
}

/* libunbound goes on asking what nobody waits for any more; what it then finds concerns nobody, and what is asked
   meanwhile is told as ever. */
static void test_late(void **state)
{
    (void)state;
    struct world world;
    struct keyring_dane_query *query = NULL;
    world_open(&world, 50);
    assert_int_equal(keyring_dane_find(world.dane, ERIN, on_told, &world.told, NULL), ERR_OK);
    run(&world);
    assert_int_equal(world.told.len, 1);
    world.options.timeout_ms = 60000;
    assert_int_equal(keyring_dane_find(world.dane, ERIN, on_told, &world.told, &query), ERR_OK);
    keyring_dane_cancel(&query);
    assert_int_equal(keyring_dane_find(world.dane, ERIN, on_told, &world.told, NULL), ERR_OK);
    world.told.expected = 2;
    struct event *question = event_new(world.base, world.silent, EV_READ | EV_PERSIST, on_question, NULL);
    assert_true(question != NULL && event_add(question, NULL) == 0);
    run(&world);
    event_free(question);
    assert_int_equal(world.told.err, ERR_UPSTREAM_DOWN);
    assert_non_null(strstr(world.told.problem, "cannot be asked"));
    world_close(&world);
    assert_int_equal(world.told.len, 2);
}

static void test_not_more_at_once(void **state)
{
    (void)state;
    struct world world;
    struct keyring_dane_query *query = NULL;
    world_open(&world, 60000);
    for (size_t i = 0; i < KEYRING_DANE_QUERIES_MAX; i++)
        assert_int_equal(keyring_dane_find(world.dane, ERIN, on_told, &world.told, &query), ERR_OK);
    assert_int_equal(keyring_dane_find(world.dane, ERIN, on_told, &world.told, NULL), ERR_BUSY);
    keyring_dane_cancel(&query);
    assert_int_equal(keyring_dane_find(world.dane, ERIN, on_told, &world.told, NULL), ERR_OK);
    world_close(&world);
}

/* Nothing is asked; it is told out of the loop all the same. */
static void test_no_name(void **state)
{
    (void)state;
    struct world world;
    char byte;
    world_open(&world, 60000);
    assert_int_equal(keyring_dane_find(world.dane, "erin@[192.0.2.1]", on_told, &world.told, NULL), ERR_OK);
    assert_int_equal(world.told.len, 0);
    run(&world);
    assert_int_equal(world.told.err, ERR_OK);
    assert_int_equal(world.told.pieces, 0);
    assert_non_null(strstr(world.told.problem, "no name in the DNS"));
    /* Names that libunbound answers itself, nobody signs. */
    world.told.len = 0;
    assert_int_equal(keyring_dane_find(world.dane, "erin@example.invalid", on_told, &world.told, NULL), ERR_OK);
    assert_int_equal(world.told.len, 0);
    run(&world);
    assert_int_equal(world.told.err, ERR_OK);
    assert_non_null(strstr(world.told.problem, "not signed"));
    assert_true(recv(world.silent, &byte, 1, MSG_DONTWAIT) < 0);
    world_close(&world);
}

/* From the root down: it is set up without asking anybody, and what is asked can be taken back. */
static void test_without_a_resolver(void **state)
{
    (void)state;
    struct world world;
    struct keyring_dane *dane = NULL;
    struct keyring_dane_query *query = NULL;
    world_open(&world, 60000);
    world.options.servers_len = 0;
    world.options.is_recursive = true;
    assert_int_equal(keyring_dane_new(world.base, &world.options, &dane), ERR_OK);
    assert_int_equal(keyring_dane_find(dane, "erin@example.invalid", on_told, &world.told, NULL), ERR_OK);
    run(&world);
    assert_int_equal(world.told.err, ERR_OK);
    assert_int_equal(keyring_dane_find(dane, "erin@example.invalid", on_told, &world.told, &query), ERR_OK);
    keyring_dane_cancel(&query);
    keyring_dane_free(&dane);
    assert_int_equal(world.told.len, 1);
    world_close(&world);
}

static void expect_unusable(const char *anchor, const char *server)
{
    struct world world;
    struct keyring_dane *dane = NULL;
    world_open(&world, 60000);
    snprintf(world.options.anchor, sizeof world.options.anchor, "%s", anchor == NULL ? world.anchor : anchor);
    snprintf(world.options.servers[0], sizeof world.options.servers[0], "%s", server);
    assert_int_equal(keyring_dane_new(world.base, &world.options, &dane), ERR_OK);
    assert_int_equal(keyring_dane_find(dane, ERIN, on_told, &world.told, NULL), ERR_OK);
    run(&world);
    assert_int_equal(world.told.err, ERR_UPSTREAM_DOWN);
    assert_non_null(strstr(world.told.problem, "cannot be set up"));
    keyring_dane_free(&dane);
    world_close(&world);
}

static void test_unusable_options(void **state)
{
    (void)state;
    expect_unusable("/nowhere", "127.0.0.1@1");
    expect_unusable("/etc/passwd", "127.0.0.1@1");
    expect_unusable(NULL, "nonsense");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_not_more_at_once),
        cmocka_unit_test(test_no_name),
        cmocka_unit_test(test_unusable_options),
        cmocka_unit_test(test_without_a_resolver),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

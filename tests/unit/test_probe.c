#include "base/clock.h"
#include "crypto/seal.h"
#include "proxy/net_internal.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVERS 2

/* A server that greets and answers EHLO, on the same loop. */
struct upstream {
    struct evconnlistener *listener;
    const char *features; /* NULL: hangs up after the greeting */
    unsigned connections;
};

struct world {
    struct proxy_net net;
    struct config config;
    struct config_account accounts[SERVERS];
    struct config_listener listener;
    size_t numbers[SERVERS];
    struct upstream upstreams[SERVERS];
};

struct outcome {
    unsigned times;
    struct proxy_shared features;
};

static void on_shared(const struct proxy_shared *shared, void *context)
{
    struct outcome *outcome = context;
    outcome->times++;
    outcome->features = *shared;
}

static void on_command(struct bufferevent *bufferevent, void *context)
{
    struct upstream *upstream = context;
    struct evbuffer *input = bufferevent_get_input(bufferevent);
    size_t len;
    char *line = evbuffer_readln(input, &len, EVBUFFER_EOL_CRLF_STRICT);
    if (line != NULL && strncmp(line, "EHLO", 4) == 0 && upstream->features != NULL)
        evbuffer_add_printf(bufferevent_get_output(bufferevent), "250-up\r\n%s", upstream->features);
    else if (line != NULL)
        bufferevent_free(bufferevent);
    free(line);
}

static void on_event(struct bufferevent *bufferevent, short what, void *context)
{
    (void)what;
    (void)context;
    bufferevent_free(bufferevent);
}

static void on_connection(struct evconnlistener *listener, int fd, struct sockaddr *address, int len, void *context)
{
    struct upstream *upstream = context;
    struct bufferevent *bufferevent =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    (void)address;
    (void)len;
    upstream->connections++;
    bufferevent_setcb(bufferevent, on_command, NULL, on_event, upstream);
    bufferevent_enable(bufferevent, EV_READ | EV_WRITE);
    evbuffer_add_printf(bufferevent_get_output(bufferevent), "220 up\r\n");
}

static void start_upstream(struct world *world, size_t number, const char *features)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    struct upstream *upstream = &world->upstreams[number];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    upstream->features = features;
    upstream->listener = evconnlistener_new_bind(world->net.base, on_connection, upstream, LEV_OPT_CLOSE_ON_FREE, 8,
                                                 (const struct sockaddr *)&address, sizeof(address));
    assert_non_null(upstream->listener);
    assert_int_equal(getsockname(evconnlistener_get_fd(upstream->listener), (struct sockaddr *)&address, &len), 0);
    struct config_account *account = &world->accounts[number];
    account->upstreams[CONFIG_SMTP].security = CONFIG_CLEAR;
    account->upstreams[CONFIG_SMTP].port = ntohs(address.sin_port);
    snprintf(account->upstreams[CONFIG_SMTP].host, sizeof(account->upstreams[CONFIG_SMTP].host), "127.0.0.1");
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->net.base = event_base_new();
    world->net.config = &world->config;
    world->net.client_tls = calloc(SERVERS, sizeof(SSL_CTX *));
    world->config.accounts = world->accounts;
    world->config.accounts_len = SERVERS;
    world->config.timeout_percent = 100;
    snprintf(world->config.host_name, sizeof(world->config.host_name), "proxy.example");
    world->listener.accounts = world->numbers;
    world->listener.accounts_len = SERVERS;
    world->numbers[1] = 1;
    assert_int_equal(proxy_probe_new(&world->net, &world->net.probe), ERR_OK);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    proxy_probe_free(&world->net.probe);
    for (size_t i = 0; i < SERVERS; i++)
        if (world->upstreams[i].listener != NULL)
            evconnlistener_free(world->upstreams[i].listener);
    event_base_loop(world->net.base, EVLOOP_NONBLOCK);
    event_base_free(world->net.base);
    free(world->net.client_tls);
    free(world);
    return 0;
}

static struct proxy_probe_wait *ask(struct world *world, struct outcome *outcome)
{
    struct proxy_probe_wait *wait = NULL;
    assert_int_equal(proxy_probe_ask(world->net.probe, &world->listener, on_shared, outcome, &wait), ERR_OK);
    assert_int_equal(outcome->times, 0); /* never from within the call */
    return wait;
}

static void run_until(struct world *world, const struct outcome *outcome)
{
    const struct timespec pause = {0, 1000000};
    for (uint64_t end = clock_monotonic_ms() + 10000; outcome->times == 0 && clock_monotonic_ms() < end;) {
        event_base_loop(world->net.base, EVLOOP_NONBLOCK);
        nanosleep(&pause, NULL);
    }
    assert_int_equal(outcome->times, 1);
}

/* What seals twice in base64 leaves less, also of the larger limit. */
static void test_offers_what_is_left_when_sealed(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    world->accounts[0].smime.is_opaque = true;
    start_upstream(world, 0, "250-SIZE 5065536\r\n250 AUTH PLAIN\r\n");
    start_upstream(world, 1, "250-SIZE 4065536\r\n250 AUTH PLAIN\r\n");
    (void)ask(world, &outcome);
    run_until(world, &outcome);
    assert_int_equal(outcome.features.size_max, 5000000 / 100 * CRYPTO_SEALED_TWICE_PERCENT);
}

static void test_offers_what_all_share(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    start_upstream(world, 0, "250-SIZE 5065536\r\n250-DSN\r\n250-SMTPUTF8\r\n250 AUTH PLAIN CRAM-MD5\r\n");
    start_upstream(world, 1, "250-SIZE 4065536\r\n250-DSN\r\n250 AUTH LOGIN CRAM-MD5\r\n");
    (void)ask(world, &outcome);
    run_until(world, &outcome);
    assert_int_equal(outcome.features.size_max, 4000000 / 100 * CRYPTO_SEALED_PERCENT);
    assert_true((outcome.features.smtp_flags & SMTP_HAS_DSN) != 0);
    assert_true((outcome.features.smtp_flags & SMTP_HAS_SMTPUTF8) == 0);
    /* The password forms stand for each other; CRAM-MD5 needs one server. */
    assert_int_equal(outcome.features.mechanisms, 1u << SASL_PLAIN | 1u << SASL_LOGIN);
}

static void test_answers_are_kept(void **state)
{
    struct world *world = *state;
    start_upstream(world, 0, "250 AUTH CRAM-MD5\r\n");
    world->accounts[1] = world->accounts[0];
    for (int i = 0; i < 3; i++) {
        struct outcome outcome = {0};
        (void)ask(world, &outcome);
        run_until(world, &outcome);
        assert_int_equal(outcome.features.mechanisms, 1u << SASL_CRAM_MD5);
    }
    assert_int_equal(world->upstreams[0].connections, 1);
}

static void test_unreachable_server_means_the_least(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    start_upstream(world, 0, "250-DSN\r\n250 AUTH PLAIN CRAM-MD5\r\n");
    start_upstream(world, 1, NULL);
    (void)ask(world, &outcome);
    run_until(world, &outcome);
    assert_int_equal(outcome.features.smtp_flags, 0);
    assert_int_equal(outcome.features.mechanisms, 1u << SASL_PLAIN | 1u << SASL_LOGIN);
}

static void test_cancelled_is_silent(void **state)
{
    struct world *world = *state;
    struct outcome cancelled = {0}, outcome = {0};
    start_upstream(world, 0, "250 DSN\r\n");
    start_upstream(world, 1, "250 DSN\r\n");
    struct proxy_probe_wait *wait = ask(world, &cancelled);
    (void)ask(world, &outcome);
    proxy_probe_cancel(&wait);
    assert_null(wait);
    run_until(world, &outcome);
    assert_int_equal(cancelled.times, 0);
}

/* Accounts without a server of their own say nothing of what is offered. */
static void test_no_server(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    (void)ask(world, &outcome);
    run_until(world, &outcome);
    assert_int_equal(outcome.features.smtp_flags, 0);
    assert_int_equal(outcome.features.mechanisms, 1u << SASL_PLAIN | 1u << SASL_LOGIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_offers_what_all_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offers_what_is_left_when_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreachable_server_means_the_least, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_server, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Names and addresses, with a name server of our own in the loop. */
#include "base/address.h"
#include "base/conn.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct address make_address(const char *literal, int port)
{
    struct address_list list;
    assert_int_equal(address_literal(literal, port, &list), ERR_OK);
    assert_int_equal(list.count, 1);
    return list.items[0];
}

static void literals(void **state)
{
    (void)state;
    static const struct {
        const char *literal;
        const char *text;
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1:25", true},
        {"127.9.9.9", "127.9.9.9:25", true},
        {"::1", "[::1]:25", true},
        {"::ffff:127.0.0.1", "[::ffff:127.0.0.1]:25", true},
        {"128.0.0.1", "128.0.0.1:25", false},
        {"0.0.0.0", "0.0.0.0:25", false},
        {"::", "[::]:25", false},
        {"::ffff:10.0.0.1", "[::ffff:10.0.0.1]:25", false},
        {"2001:db8::1", "[2001:db8::1]:25", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[ADDRESS_TEXT_SIZE];
        struct address address = make_address(cases[i].literal, 25);
        address_format(&address, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(address_is_loopback(&address), cases[i].is_loopback);
    }
    struct address_list list;
    assert_int_equal(address_literal("LocalHost", 25, &list), ERR_OK);
    assert_int_equal(list.count, 2);
    assert_true(address_is_loopback(&list.items[0]) && address_is_loopback(&list.items[1]));
    assert_int_equal(address_literal("mail.example.org", 25, &list), ERR_NOT_FOUND);
    assert_int_equal(address_literal("", 25, &list), ERR_NOT_FOUND);
    assert_int_equal(address_literal("127.0.0.1.example", 25, &list), ERR_NOT_FOUND);
    const struct address local = {.storage.ss_family = AF_UNIX, .len = sizeof(sa_family_t)};
    char text[ADDRESS_TEXT_SIZE];
    address_format(&local, text);
    assert_string_equal(text, "unknown");
    assert_false(address_is_loopback(&local));
}

static void hosts(void **state)
{
    (void)state;
    char host[ADDRESS_HOST_SIZE];
    assert_int_equal(address_host("[::1]", host), ERR_OK);
    assert_string_equal(host, "::1");
    assert_int_equal(address_host("mail.example.org", host), ERR_OK);
    assert_string_equal(host, "mail.example.org");
    assert_int_equal(address_host("", host), ERR_CONFIG);
    assert_int_equal(address_host(NULL, host), ERR_CONFIG);
    char long_host[ADDRESS_HOST_SIZE + 1];
    memset(long_host, 'a', ADDRESS_HOST_SIZE);
    long_host[ADDRESS_HOST_SIZE] = '\0';
    assert_int_equal(address_host(long_host, host), ERR_CONFIG);
}

/* ---- A connection by name ---- */

struct world {
    struct event_base *base;
    struct evdns_base *dns;
    struct evdns_server_port *server;
    struct conn *conn;
    unsigned question_count;
    unsigned ready_count;
    unsigned close_count;
    enum err why;
    char peer[ADDRESS_TEXT_SIZE];
    int port;
    int listener;
};

static void on_ready(struct conn *conn, void *owner)
{
    struct world *world = owner;
    world->ready_count++;
    snprintf(world->peer, sizeof world->peer, "%s", conn_peer(conn));
}

static void on_input(struct conn *conn, void *owner)
{
    (void)conn, (void)owner;
}

static void on_close(struct conn *conn, enum err why, void *owner)
{
    (void)conn;
    struct world *world = owner;
    world->close_count++;
    world->why = why;
}

static const struct conn_handlers handlers = {on_ready, on_input, NULL, on_close};

/* "two.example" has an address where nobody listens before the good one; others do not exist. */
static void answer(struct evdns_server_request *request, void *context)
{
    struct world *world = context;
    bool is_known = false;
    for (int i = 0; i < request->nquestions; i++) {
        const struct evdns_server_question *question = request->questions[i];
        world->question_count++;
        if (strcasecmp(question->name, "two.example") != 0)
            continue;
        is_known = true;
        if (question->type != EVDNS_TYPE_A)
            continue;
        const uint32_t addresses[] = {htonl(INADDR_LOOPBACK + 2), htonl(INADDR_LOOPBACK)};
        assert_int_equal(evdns_server_request_add_a_reply(request, question->name, 2, addresses, 60), 0);
    }
    evdns_server_request_respond(request, is_known ? 0 : DNS_ERR_NOTEXIST);
}

static int bound_socket(int type, int *port_out)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port_out = ntohs(address.sin_port);
    return fd;
}

static void connect_by_name(struct world *world, const char *name)
{
    *world = (struct world){.base = event_base_new()};
    int dns_port;
    int fd = bound_socket(SOCK_DGRAM, &dns_port);
    world->server = evdns_add_server_port_with_base(world->base, fd, 0, answer, world);
    world->dns = evdns_base_new(world->base, 0);
    char server[32];
    snprintf(server, sizeof server, "127.0.0.1:%d", dns_port);
    assert_int_equal(evdns_base_nameserver_ip_add(world->dns, server), 0);
    world->listener = bound_socket(SOCK_STREAM, &world->port);
    assert_int_equal(listen(world->listener, 5), 0);
    const struct conn_options options = {
        .base = world->base, .handlers = &handlers, .owner = world, .input_max = 100, .output_max = 100};
    assert_int_equal(conn_connect(&options, world->dns, name, world->port, NULL, 2000, &world->conn), ERR_OK);
    assert_int_equal(world->ready_count + world->close_count, 0);
    const struct timeval interval = {.tv_usec = 5000};
    for (int i = 0; i < 600 && world->ready_count + world->close_count == 0; i++) {
        event_base_loopexit(world->base, &interval);
        event_base_dispatch(world->base);
    }
}

static void leave(struct world *world)
{
    conn_free(&world->conn);
    evdns_base_free(world->dns, 0);
    evdns_close_server_port(world->server);
    event_base_loop(world->base, EVLOOP_NONBLOCK);
    close(world->listener);
    event_base_free(world->base);
}

static void all_addresses_are_tried(void **state)
{
    (void)state;
    struct world world;
    connect_by_name(&world, "two.example");
    assert_int_equal(world.ready_count, 1);
    assert_int_equal(world.close_count, 0);
    char peer[ADDRESS_TEXT_SIZE];
    snprintf(peer, sizeof peer, "127.0.0.1:%d", world.port);
    assert_string_equal(world.peer, peer);
    leave(&world);
}

static void an_unknown_name_is_down(void **state)
{
    (void)state;
    struct world world;
    connect_by_name(&world, "none.example");
    assert_int_equal(world.ready_count, 0);
    assert_int_equal(world.close_count, 1);
    assert_int_equal(world.why, ERR_UPSTREAM_DOWN);
    assert_true(world.question_count > 0);
    leave(&world);
}

static void localhost_is_never_asked_of_a_server(void **state)
{
    (void)state;
    struct world world;
    connect_by_name(&world, "localhost");
    assert_int_equal(world.ready_count, 1);
    assert_int_equal(world.question_count, 0);
    leave(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals),
        cmocka_unit_test(hosts),
        cmocka_unit_test(all_addresses_are_tried),
        cmocka_unit_test(an_unknown_name_is_down),
        cmocka_unit_test(localhost_is_never_asked_of_a_server),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Connecting by name, with a name server of the test's own, inside the sandbox of the net process: nothing that
   libevent's resolver needs may be missing from the list of calls. The first address (IPv6) refuses, the second one
   answers. */
#include "base/conn.h"
#include "base/sandbox.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(STDERR_FILENO, "line %d: %s\n", __LINE__, #condition);                                             \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

#define TYPE_A 1
#define TYPE_AAAA 28
#define HEADER_SIZE 12

struct place {
    struct event_base *base;
    int name_server;
    bool is_mute;
    unsigned questions;
    int ready_count;
    int close_count;
    enum err why;
};

static int bound_socket(int type, int *port_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *port_out = ntohs(address.sin_port);
    return fd;
}

/* Repeats the question and adds one answer: 127.0.0.1 or ::1 (RFC 1035 §4.1). */
static void answer(int fd, short what, void *context)
{
    struct place *place = context;
    struct sockaddr_storage client;
    socklen_t client_len = sizeof client;
    unsigned char text[512];
    (void)what;
    ssize_t len = recvfrom(fd, text, 400, 0, (struct sockaddr *)&client, &client_len);
    CHECK(len > HEADER_SIZE + 4);
    place->questions++;
    if (place->is_mute)
        return;
    size_t end = HEADER_SIZE;
    while (end < (size_t)len && text[end] != 0)
        end += text[end] + 1u;
    end += 5;
    CHECK(end <= (size_t)len);
    bool is_v6 = text[end - 3] == TYPE_AAAA;
    CHECK(is_v6 || text[end - 3] == TYPE_A);
    static const unsigned char v4[] = {0xc0, 0x0c, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1};
    static const unsigned char v6[] = {0xc0, 0x0c, 0, TYPE_AAAA, 0, 1, 0, 0, 0, 60, 0, 16, 0, 0,
                                       0,    0,    0, 0,         0, 0, 0, 0, 0, 0,  0, 0,  0, 1};
    size_t record_size = is_v6 ? sizeof v6 : sizeof v4;
    memcpy(text + end, is_v6 ? v6 : v4, record_size);
    text[2] = 0x85; /* an authoritative answer */
    text[3] = 0x80;
    text[7] = 1;
    memset(text + 8, 0, 4);
    CHECK(sendto(fd, text, end + record_size, 0, (struct sockaddr *)&client, client_len) > 0);
}

static void on_ready(struct conn *conn, void *owner)
{
    struct place *place = owner;
    CHECK(strncmp(conn_peer(conn), "127.0.0.1:", 10) == 0);
    place->ready_count++;
}

static void on_input(struct conn *conn, void *owner)
{
    (void)conn, (void)owner;
}

static void on_close(struct conn *conn, enum err why, void *owner)
{
    struct place *place = owner;
    (void)conn;
    place->why = why;
    place->close_count++;
}

static const struct conn_handlers handlers = {.on_ready = on_ready, .on_input = on_input, .on_close = on_close};

static void stop(int fd, short what, void *base)
{
    (void)fd, (void)what;
    (void)event_base_loopbreak(base);
}

static void look_up_confined(bool is_mute)
{
    int dns_port, port;
    char server[64];
    struct place place = {.base = event_base_new(), .is_mute = is_mute};
    place.name_server = bound_socket(SOCK_DGRAM, &dns_port);
    int listener = bound_socket(SOCK_STREAM, &port);
    CHECK(listen(listener, 1) == 0);
    snprintf(server, sizeof server, "127.0.0.1:%d", dns_port);
    struct evdns_base *dns = evdns_base_new(place.base, 0);
    CHECK(dns != NULL && evdns_base_nameserver_ip_add(dns, server) == 0);
    struct sandbox_options sandbox = {.role = SANDBOX_NET};
    CHECK(sandbox_enter(&sandbox) == ERR_OK);

    struct event *asked = event_new(place.base, place.name_server, EV_READ | EV_PERSIST, answer, &place);
    struct event *limit = event_new(place.base, -1, 0, stop, place.base);
    CHECK(event_add(asked, NULL) == 0 && event_add(limit, &(struct timeval){5, 0}) == 0);
    struct conn_options options = {
        .base = place.base, .handlers = &handlers, .owner = &place, .input_max = 1000, .output_max = 1000};
    struct conn *conn;
    CHECK(conn_connect(&options, dns, "mail.example", port, NULL, is_mute ? 200 : 3000, &conn) == ERR_OK);
    while (place.ready_count + place.close_count == 0 && !event_base_got_break(place.base))
        event_base_loop(place.base, EVLOOP_ONCE);
    CHECK(place.questions >= 2);
    CHECK(place.ready_count == !is_mute && place.close_count == is_mute);
    CHECK(!is_mute || place.why == ERR_UPSTREAM_DOWN);
    conn_free(&conn);
    event_free(asked);
    event_free(limit);
    evdns_base_free(dns, 0);
    event_base_free(place.base);
    _exit(0);
}

static void assert_looks_up(bool is_mute)
{
    pid_t child = fork();
    int status = -1;
    assert_true(child >= 0);
    if (child == 0)
        look_up_confined(is_mute);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void name_is_looked_up_and_all_addresses_tried(void **state)
{
    (void)state;
    assert_looks_up(false);
}

static void mute_name_server_is_not_waited_for(void **state)
{
    (void)state;
    assert_looks_up(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_is_looked_up_and_all_addresses_tried),
        cmocka_unit_test(mute_name_server_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

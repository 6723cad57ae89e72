#include "proxy/owner.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* A connection on loopback: [0] is the client's end, [1] the server's. */
static void connect_pair(int family, int ends[2])
{
    union address address;
    socklen_t len = family == AF_INET ? sizeof(address.v4) : sizeof(address.v6);
    int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof(address));
    address.any.sa_family = (sa_family_t)family;
    if (family == AF_INET)
        address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address.v6.sin6_addr = in6addr_loopback;
    assert_int_equal(bind(listener, &address.any, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, &address.any, &len), 0);
    ends[0] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(ends[0], &address.any, len), 0);
    ends[1] = accept(listener, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listener);
}

static void check_own(int family)
{
    int diag, ends[2];
    uid_t uid = 12345;
    assert_int_equal(proxy_owner_open(&diag), ERR_OK);
    connect_pair(family, ends);
    assert_int_equal(proxy_owner_of(diag, ends[1], &uid), ERR_OK);
    assert_int_equal(uid, getuid());
    close(ends[0]);
    close(ends[1]);
    close(diag);
}

static void test_own_socket(void **state)
{
    (void)state;
    check_own(AF_INET);
    check_own(AF_INET6);
}

/* Sockets belong to whoever made them. */
static void test_another_users_socket(void **state)
{
    const uid_t other = 65534;
    int diag, ends[2];
    uid_t uid = 0;
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(proxy_owner_open(&diag), ERR_OK);
    assert_int_equal(seteuid(other), 0);
    connect_pair(AF_INET, ends);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(proxy_owner_of(diag, ends[1], &uid), ERR_OK);
    assert_int_equal(uid, other);
    close(ends[0]);
    close(ends[1]);
    close(diag);
}

static void test_closed_socket_has_no_owner(void **state)
{
    int diag, ends[2];
    uid_t uid = 12345;
    (void)state;
    assert_int_equal(proxy_owner_open(&diag), ERR_OK);
    connect_pair(AF_INET, ends);
    close(ends[0]);
    assert_int_equal(proxy_owner_of(diag, ends[1], &uid), ERR_NOT_FOUND);
    assert_int_equal(uid, 12345);
    close(ends[1]);
    close(diag);
}

static void test_no_tcp_socket(void **state)
{
    int diag, ends[2];
    uid_t uid = 12345;
    (void)state;
    assert_int_equal(proxy_owner_open(&diag), ERR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(proxy_owner_of(diag, ends[1], &uid), ERR_NOT_FOUND);
    close(ends[0]);
    close(ends[1]);
    close(diag);
}

/* Whoever listens where a client has been is not that client. */
static void test_listener_is_no_client(void **state)
{
    const struct linger reset = {1, 0};
    const int yes = 1;
    union address address;
    socklen_t len = sizeof(address.v4);
    int diag, ends[2];
    uid_t uid = 12345;
    (void)state;
    assert_int_equal(proxy_owner_open(&diag), ERR_OK);
    connect_pair(AF_INET, ends);
    assert_int_equal(getsockname(ends[0], &address.any, &len), 0);
    int held = ends[1];
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(ends[0]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    assert_int_equal(bind(listener, &address.any, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(proxy_owner_of(diag, held, &uid), ERR_NOT_FOUND);
    assert_int_equal(uid, 12345);
    close(listener);
    close(held);
    close(diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_socket),
        cmocka_unit_test(test_another_users_socket),
        cmocka_unit_test(test_closed_socket_has_no_owner),
        cmocka_unit_test(test_no_tcp_socket),
        cmocka_unit_test(test_listener_is_no_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

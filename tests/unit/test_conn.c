/* Connections on a real event loop over loopback: limits, pauses, timeouts, and TLS begun at once or in mid-connection.
 */
#include "base/conn.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_MAX 4096
#define WAIT_MS 3000

/* One end of a connection and what happened to it. */
struct end {
    struct conn *conn;
    unsigned ready_count;
    unsigned drain_count;
    unsigned input_count;
    unsigned close_count;
    enum err why;
    char text[TEXT_MAX];
    size_t len;
    size_t most_waiting;
    bool keeps_input;
    bool frees_on_input;
    bool finishes_on_close;
};

struct pair {
    struct event_base *base;
    struct end server;
    struct end client;
    SSL_CTX *server_tls;
    SSL_CTX *client_tls;
    int listener;
    int port;
    size_t input_max;
    size_t output_max;
};

static char folder[] = "/tmp/test_conn.XXXXXX";
static char certificate[64];
static char key[64];

static void on_ready(struct conn *conn, void *owner)
{
    struct end *end = owner;
    assert_ptr_equal(conn, end->conn);
    end->ready_count++;
}

static void on_input(struct conn *conn, void *owner)
{
    struct end *end = owner;
    struct evbuffer *input = conn_input(conn);
    assert_int_equal(end->close_count, 0);
    end->input_count++;
    if (evbuffer_get_length(input) > end->most_waiting)
        end->most_waiting = evbuffer_get_length(input);
    if (end->frees_on_input) {
        conn_free(&end->conn);
        assert_true(evbuffer_get_length(input) > 0); /* still there until we return */
        return;
    }
    if (end->keeps_input)
        return;
    int count = evbuffer_remove(input, end->text + end->len, TEXT_MAX - 1 - end->len);
    assert_true(count >= 0);
    end->len += (size_t)count;
    end->text[end->len] = '\0';
    if (end->len == TEXT_MAX - 1)
        evbuffer_drain(input, evbuffer_get_length(input));
}

static void on_drain(struct conn *conn, void *owner)
{
    struct end *end = owner;
    assert_int_equal(conn_output_len(conn), 0);
    end->drain_count++;
}

static void on_close(struct conn *conn, enum err why, void *owner)
{
    struct end *end = owner;
    assert_ptr_equal(conn, end->conn);
    end->close_count++;
    end->why = why;
    if (end->finishes_on_close) {
        assert_int_equal(conn_write(conn, SPAN_LIT("last words\r\n")), ERR_OK);
        conn_finish(&end->conn);
    }
}

static const struct conn_handlers handlers = {on_ready, on_input, on_drain, on_close};

static struct conn_options options_for(struct pair *pair, struct end *end)
{
    return (struct conn_options){.base = pair->base,
                                 .handlers = &handlers,
                                 .owner = end,
                                 .input_max = pair->input_max,
                                 .output_max = pair->output_max};
}

static void turn(struct pair *pair, unsigned ms)
{
    const struct timeval interval = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    event_base_loopexit(pair->base, &interval);
    event_base_dispatch(pair->base);
}

/* Turns the loop until `condition` or the time is up, which fails the test. */
#define WAIT_FOR(pair, condition)                                                                                      \
    do {                                                                                                               \
        for (int turns_ = 0; !(condition) && turns_ < WAIT_MS / 5; turns_++)                                           \
            turn(pair, 5);                                                                                             \
        assert_true(condition);                                                                                        \
    } while (0)

static int listen_on(int family, int *port_out)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
    socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (family == AF_INET)
        ((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        ((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 5), 0);
    len = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port_out = ntohs(family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                        : ((struct sockaddr_in6 *)&address)->sin6_port);
    return fd;
}

static void begin(struct pair *pair, int family)
{
    *pair = (struct pair){.input_max = 65536, .output_max = 1 << 20};
    pair->base = event_base_new();
    pair->listener = listen_on(family, &pair->port);
    assert_int_equal(tls_server_new(certificate, key, &pair->server_tls), ERR_OK);
    assert_int_equal(tls_client_new(certificate, &pair->client_tls), ERR_OK);
}

static void finish(struct pair *pair)
{
    conn_free(&pair->server.conn);
    conn_free(&pair->client.conn);
    turn(pair, 10);
    SSL_CTX_free(pair->server_tls);
    SSL_CTX_free(pair->client_tls);
    close(pair->listener);
    event_base_free(pair->base);
}

static void start_client(struct pair *pair, const char *host, bool has_tls)
{
    struct conn_options options = options_for(pair, &pair->client);
    assert_int_equal(
        conn_connect(&options, NULL, host, pair->port, has_tls ? pair->client_tls : NULL, 1000, &pair->client.conn),
        ERR_OK);
    assert_int_equal(pair->client.ready_count + pair->client.close_count, 0);
}

static void start_server(struct pair *pair, bool has_tls)
{
    WAIT_FOR(pair, conn_fd(pair->client.conn) >= 0);
    int fd = accept4(pair->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    struct conn_options options = options_for(pair, &pair->server);
    assert_int_equal(conn_accept(&options, fd, has_tls ? pair->server_tls : NULL, &pair->server.conn), ERR_OK);
    assert_int_equal(pair->server.ready_count, 0);
}

static void start(struct pair *pair, const char *host, bool has_tls)
{
    start_client(pair, host, has_tls);
    start_server(pair, has_tls);
}

static void start_ready(struct pair *pair, const char *host, bool has_tls)
{
    start(pair, host, has_tls);
    WAIT_FOR(pair, pair->client.ready_count == 1 && pair->server.ready_count == 1);
}

static void write_all(struct end *end, const char *text)
{
    assert_int_equal(conn_write(end->conn, span_of(text)), ERR_OK);
}

static void check_exchange(struct pair *pair)
{
    pair->server.len = pair->client.len = 0;
    write_all(&pair->client, "hello\r\n");
    write_all(&pair->server, "220 here\r\n");
    WAIT_FOR(pair, pair->server.len == 7 && pair->client.len == 10);
    assert_string_equal(pair->server.text, "hello\r\n");
    assert_string_equal(pair->client.text, "220 here\r\n");
    assert_true(pair->server.drain_count > 0 && pair->client.drain_count > 0);
}

static void clear_exchange_and_orderly_end(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_ready(&pair, "127.0.0.1", false);
    assert_false(conn_is_tls(pair.client.conn));
    assert_true(conn_is_loopback(pair.server.conn));
    assert_int_equal(strncmp(conn_peer(pair.server.conn), "127.0.0.1:", 10), 0);
    check_exchange(&pair);
    write_all(&pair.client, "QUIT\r\n");
    conn_finish(&pair.client.conn);
    assert_null(pair.client.conn);
    WAIT_FOR(&pair, pair.server.close_count == 1);
    assert_int_equal(pair.server.why, ERR_END);
    assert_string_equal(pair.server.text, "hello\r\nQUIT\r\n");
    assert_int_equal(pair.client.close_count, 0);
    finish(&pair);
}

static void ipv6_with_and_without_brackets(void **state)
{
    (void)state;
    static const char *const hosts[] = {"::1", "[::1]", "localhost"};
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        begin(&pair, AF_INET6);
        start(&pair, hosts[i], true);
        WAIT_FOR(&pair, pair.client.ready_count == 1 && pair.server.ready_count == 1);
        assert_true(conn_is_tls(pair.client.conn) && conn_is_tls(pair.server.conn));
        assert_true(conn_is_loopback(pair.client.conn));
        assert_int_equal(strncmp(conn_peer(pair.client.conn), "[::1]:", 6), 0);
        check_exchange(&pair);
        finish(&pair);
    }
}

static void implicit_tls_ends_with_close_notify(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_ready(&pair, "localhost", true);
    check_exchange(&pair);
    write_all(&pair.server, "221 bye\r\n");
    conn_finish(&pair.server.conn);
    WAIT_FOR(&pair, pair.client.close_count == 1);
    assert_int_equal(pair.client.why, ERR_END);
    assert_string_equal(pair.client.text, "220 here\r\n221 bye\r\n");
    finish(&pair);
}

static void tls_cut_without_close_notify_is_lost(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_ready(&pair, "localhost", true);
    check_exchange(&pair);
    conn_free(&pair.server.conn);
    WAIT_FOR(&pair, pair.client.close_count == 1);
    assert_int_equal(pair.client.why, ERR_UPSTREAM_LOST);
    finish(&pair);
}

static void wrong_name_and_stranger_are_refused(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_client(&pair, "127.0.0.1", false);
    start_server(&pair, false);
    WAIT_FOR(&pair, pair.client.ready_count == 1 && pair.server.ready_count == 1);
    assert_int_equal(conn_start_tls_server(pair.server.conn, pair.server_tls), ERR_OK);
    assert_int_equal(conn_start_tls_client(pair.client.conn, pair.client_tls, "mail.example.org"), ERR_OK);
    WAIT_FOR(&pair, pair.client.close_count == 1 && pair.server.close_count == 1);
    assert_int_equal(pair.client.why, ERR_UPSTREAM_TLS);
    assert_int_equal(pair.server.why, ERR_UPSTREAM_TLS);
    assert_int_equal(pair.client.ready_count, 1);
    finish(&pair);

    begin(&pair, AF_INET);
    SSL_CTX_free(pair.client_tls);
    assert_int_equal(tls_client_new(NULL, &pair.client_tls), ERR_OK); /* the system's anchors do not know us */
    start(&pair, "localhost", true);
    WAIT_FOR(&pair, pair.client.close_count == 1);
    assert_int_equal(pair.client.why, ERR_UPSTREAM_TLS);
    assert_int_equal(pair.client.ready_count, 0);
    finish(&pair);
}

static void clear_peer_of_a_tls_listener_is_refused(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_client(&pair, "127.0.0.1", false);
    start_server(&pair, true);
    WAIT_FOR(&pair, pair.client.ready_count == 1);
    write_all(&pair.client, "EHLO clear.example\r\n");
    WAIT_FOR(&pair, pair.server.close_count == 1);
    assert_int_equal(pair.server.why, ERR_UPSTREAM_TLS);
    assert_int_equal(pair.server.ready_count, 0);
    finish(&pair);
}

/* RFC 3207 §4.2 and design 1.1.9: whatever stood in the same packet as STARTTLS or its answer is gone. */
static void starttls_throws_injected_clear_text_away(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_ready(&pair, "localhost", false);
    pair.server.keeps_input = pair.client.keeps_input = true;
    write_all(&pair.client, "STARTTLS\r\nMAIL FROM:<mallory@example.org>\r\n");
    WAIT_FOR(&pair, pair.server.input_count > 0);
    write_all(&pair.server, "220 go\r\n250 injected\r\n");
    assert_int_equal(conn_start_tls_server(pair.server.conn, pair.server_tls), ERR_OK); /* before the 220 has gone */
    assert_int_equal(evbuffer_get_length(conn_input(pair.server.conn)), 0);
    assert_int_equal(conn_write(pair.server.conn, SPAN_LIT("more in clear")), ERR_INTERNAL);
    assert_int_equal(conn_start_tls_server(pair.server.conn, pair.server_tls), ERR_INTERNAL);
    WAIT_FOR(&pair, pair.client.input_count > 0);
    assert_true(evbuffer_get_length(conn_input(pair.client.conn)) > 8);
    assert_int_equal(conn_start_tls_client(pair.client.conn, pair.client_tls, "localhost"), ERR_OK);
    assert_int_equal(evbuffer_get_length(conn_input(pair.client.conn)), 0);
    WAIT_FOR(&pair, pair.client.ready_count == 2 && pair.server.ready_count == 2);
    assert_int_equal(evbuffer_get_length(conn_input(pair.client.conn)), 0);
    assert_int_equal(evbuffer_get_length(conn_input(pair.server.conn)), 0);
    pair.server.keeps_input = pair.client.keeps_input = false;
    check_exchange(&pair);
    assert_int_equal(conn_start_tls_server(pair.server.conn, pair.server_tls), ERR_INTERNAL);
    finish(&pair);
}

/* `is_burst`: the kernel holds much when reading begins. */
static void check_bounded_input(bool has_tls, bool is_burst)
{
    struct pair pair;
    begin(&pair, AF_INET);
    pair.input_max = 5000;
    start_ready(&pair, "127.0.0.1", has_tls);
    pair.server.keeps_input = true;
    if (is_burst)
        conn_pause(pair.server.conn);
    char block[1000];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(conn_write(pair.client.conn, (struct span){block, sizeof block}), ERR_OK);
    turn(&pair, 200);
    conn_resume(pair.server.conn);
    turn(&pair, is_burst ? 100 : 0);
    size_t waiting = evbuffer_get_length(conn_input(pair.server.conn));
    assert_in_range(waiting, 5000, 5000 + 16384);
    assert_true(pair.server.most_waiting <= 5000 + 16384);
    /* All of it comes when it is consumed, and nothing is left inside OpenSSL. */
    size_t total = 0;
    for (int i = 0; i < 1000 && total < 1000000; i++) {
        size_t len = evbuffer_get_length(conn_input(pair.server.conn));
        assert_true(len <= 5000 + 16384);
        evbuffer_drain(conn_input(pair.server.conn), len);
        total += len;
        turn(&pair, 2);
    }
    assert_int_equal(total, 1000000);
    finish(&pair);
}

static void input_is_bounded_in_clear(void **state)
{
    (void)state;
    check_bounded_input(false, false);
    check_bounded_input(false, true);
}

static void input_is_bounded_under_tls(void **state)
{
    (void)state;
    check_bounded_input(true, false);
    check_bounded_input(true, true);
}

static void output_is_bounded(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    pair.output_max = 10;
    start_ready(&pair, "127.0.0.1", false);
    assert_int_equal(conn_write(pair.client.conn, SPAN_LIT("12345678901")), ERR_LIMIT);
    assert_int_equal(conn_write(pair.client.conn, SPAN_LIT("1234567890")), ERR_OK);
    assert_int_equal(conn_write(pair.client.conn, SPAN_LIT("1")), ERR_LIMIT);
    WAIT_FOR(&pair, pair.server.len == 10);
    assert_int_equal(conn_write(pair.client.conn, SPAN_LIT("1")), ERR_OK);
    finish(&pair);
}

static void check_pause(bool has_tls)
{
    struct pair pair;
    begin(&pair, AF_INET);
    start_ready(&pair, "127.0.0.1", has_tls);
    conn_set_timeout(pair.server.conn, 50);
    conn_pause(pair.server.conn);
    write_all(&pair.client, "waits");
    turn(&pair, 200);
    assert_int_equal(pair.server.input_count, 0);
    assert_int_equal(pair.server.close_count, 0); /* we do not read: the peer is not late */
    conn_resume(pair.server.conn);
    WAIT_FOR(&pair, pair.server.len == 5);
    pair.server.keeps_input = true;
    write_all(&pair.client, "more");
    WAIT_FOR(&pair, evbuffer_get_length(conn_input(pair.server.conn)) == 4);
    unsigned count = pair.server.input_count;
    conn_pause(pair.server.conn);
    conn_resume(pair.server.conn);
    assert_int_equal(pair.server.input_count, count);
    WAIT_FOR(&pair, pair.server.input_count == count + 1); /* what is left is told again */
    finish(&pair);
}

static void pause_and_resume(void **state)
{
    (void)state;
    check_pause(false);
    check_pause(true);
}

/* Bytes that come one by one buy no time; only the owner's word does. */
static void lateness_times_out_and_last_words_go_out(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_ready(&pair, "127.0.0.1", true);
    pair.server.finishes_on_close = true;
    for (int i = 0; i < 4; i++) {
        conn_set_timeout(pair.server.conn, 500);
        turn(&pair, 200);
    }
    assert_int_equal(pair.server.close_count, 0);
    conn_set_timeout(pair.server.conn, 100);
    for (int i = 0; i < 20 && pair.server.close_count == 0; i++) {
        turn(&pair, 20);
        write_all(&pair.client, ".");
    }
    assert_int_equal(pair.server.close_count, 1);
    WAIT_FOR(&pair, pair.client.close_count == 1);
    assert_int_equal(pair.server.why, ERR_TIMEOUT);
    assert_int_equal(pair.client.why, ERR_END);
    assert_string_equal(pair.client.text, "last words\r\n");
    finish(&pair);
}

static void handshake_times_out(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    struct conn_options options = options_for(&pair, &pair.client);
    assert_int_equal(conn_connect(&options, NULL, "127.0.0.1", pair.port, pair.client_tls, 100, &pair.client.conn),
                     ERR_OK);
    WAIT_FOR(&pair, pair.client.close_count == 1); /* nobody accepts */
    assert_int_equal(pair.client.why, ERR_TIMEOUT);
    finish(&pair);
}

static void refused_connection_is_down(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    close(pair.listener);
    start_client(&pair, "localhost", true);
    assert_int_equal(conn_write(pair.client.conn, SPAN_LIT("too early")), ERR_INTERNAL);
    WAIT_FOR(&pair, pair.client.close_count == 1);
    assert_int_equal(pair.client.why, ERR_UPSTREAM_DOWN);
    assert_int_equal(evbuffer_get_length(conn_input(pair.client.conn)), 0);
    assert_int_equal(conn_write(pair.client.conn, SPAN_LIT("too late")), ERR_UPSTREAM_LOST);
    pair.listener = -1;
    finish(&pair);
}

static void names_that_cannot_be_looked_up(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    struct conn_options options = options_for(&pair, &pair.client);
    assert_int_equal(conn_connect(&options, NULL, "mail.example.org", 25, NULL, 100, &pair.client.conn), ERR_CONFIG);
    assert_int_equal(conn_connect(&options, NULL, "", 25, NULL, 100, &pair.client.conn), ERR_CONFIG);
    assert_null(pair.client.conn);
    /* A resolver without servers answers at once, before evdns_getaddrinfo returns, or after a while: never too early.
     */
    struct evdns_base *dns = evdns_base_new(pair.base, 0);
    assert_int_equal(conn_connect(&options, dns, "mail.example.org", 25, NULL, 200, &pair.client.conn), ERR_OK);
    assert_int_equal(pair.client.close_count, 0);
    WAIT_FOR(&pair, pair.client.close_count == 1);
    assert_int_equal(pair.client.why, ERR_UPSTREAM_DOWN);
    conn_free(&pair.client.conn);
    /* One that never answers, and an owner who leaves. */
    assert_int_equal(evdns_base_nameserver_ip_add(dns, "127.0.0.1:9"), 0);
    assert_int_equal(conn_connect(&options, dns, "mail.example.org", 25, NULL, 200, &pair.client.conn), ERR_OK);
    turn(&pair, 5);
    conn_free(&pair.client.conn);
    turn(&pair, 20);
    evdns_base_free(dns, 1);
    finish(&pair);
}

static void freeing_inside_a_callback_waits(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair, AF_INET);
    start_ready(&pair, "127.0.0.1", true);
    pair.server.frees_on_input = true;
    write_all(&pair.client, "hello");
    WAIT_FOR(&pair, pair.server.conn == NULL);
    WAIT_FOR(&pair, pair.client.close_count == 1);
    assert_int_equal(pair.client.why, ERR_UPSTREAM_LOST);
    assert_int_equal(pair.server.close_count, 0);
    finish(&pair);
}

/* A server too busy to serve says so and leaves, before its connection is ready and while the client still talks. */
static void finish_sends_what_was_written_before_ready(void **state)
{
    (void)state;
    for (int has_tls = 0; has_tls < 2; has_tls++) {
        struct pair pair;
        begin(&pair, AF_INET);
        start(&pair, "127.0.0.1", has_tls != 0);
        write_all(&pair.server, "421 busy\r\n");
        conn_finish(&pair.server.conn);
        WAIT_FOR(&pair, pair.client.ready_count == 1 || pair.client.len == 10);
        enum err late = conn_write(pair.client.conn, SPAN_LIT("EHLO a\r\n"));
        assert_true(late == ERR_OK || late == ERR_UPSTREAM_LOST);
        WAIT_FOR(&pair, pair.client.close_count == 1);
        assert_string_equal(pair.client.text, "421 busy\r\n");
        assert_int_equal(pair.client.why, ERR_END);
        assert_int_equal(pair.server.ready_count, 0);
        finish(&pair);
    }
}

static int make_certificate(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    return tls_make_certificate(certificate, key) == ERR_OK ? 0 : -1;
}

static int remove_certificate(void **state)
{
    (void)state;
    unlink(certificate);
    unlink(key);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clear_exchange_and_orderly_end),
        cmocka_unit_test(ipv6_with_and_without_brackets),
        cmocka_unit_test(implicit_tls_ends_with_close_notify),
        cmocka_unit_test(tls_cut_without_close_notify_is_lost),
        cmocka_unit_test(wrong_name_and_stranger_are_refused),
        cmocka_unit_test(clear_peer_of_a_tls_listener_is_refused),
        cmocka_unit_test(starttls_throws_injected_clear_text_away),
        cmocka_unit_test(input_is_bounded_in_clear),
        cmocka_unit_test(input_is_bounded_under_tls),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(pause_and_resume),
        cmocka_unit_test(lateness_times_out_and_last_words_go_out),
        cmocka_unit_test(handshake_times_out),
        cmocka_unit_test(refused_connection_is_down),
        cmocka_unit_test(names_that_cannot_be_looked_up),
        cmocka_unit_test(freeing_inside_a_callback_waits),
        cmocka_unit_test(finish_sends_what_was_written_before_ready),
    };
    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}

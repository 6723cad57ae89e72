/*
 * Issuers over HTTP, for tests: the server is in this process, on its loop. With ask() and what it was told.
 */
#ifndef TESTS_REVOCATION_ASKED_H
#define TESTS_REVOCATION_ASKED_H

#include "tests/unit/revocation_made.h"

#include "keyring/revocation_ask.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <signal.h>

#define DAY 86400
#define GOOD KEYRING_REVOCATION_GOOD
#define REVOKED KEYRING_REVOCATION_REVOKED
#define UNKNOWN KEYRING_REVOCATION_UNKNOWN
#define DEADLINE_MS 60000

static struct event_base *base;
static struct evhttp *server;
static unsigned port;
static struct made root, stranger;
static const char *const hosts[] = {"LOCALHOST", "127.0.0.1"};

/* What the server answers on each path. */
static struct page {
    const char *path;
    struct buf body;
    int code;              /* 0: nothing, ever */
    const char *elsewhere; /* of a redirect */
    unsigned asked;
    size_t posted; /* bytes */
} pages[8];

static void on_request(struct evhttp_request *request, void *context)
{
    (void)context;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        struct page *page = &pages[i];
        if (page->path == NULL || strcmp(evhttp_request_get_uri(request), page->path) != 0)
            continue;
        page->asked++;
        page->posted = evbuffer_get_length(evhttp_request_get_input_buffer(request));
        if (page->code == 0)
            return;
        struct evbuffer *body = evbuffer_new();
        assert_int_equal(evbuffer_add(body, page->body.data, page->body.len), 0);
        if (page->elsewhere != NULL)
            evhttp_add_header(evhttp_request_get_output_headers(request), "Location", page->elsewhere);
        evhttp_send_reply(request, page->code, "As it is", body);
        evbuffer_free(body);
        return;
    }
    evhttp_send_error(request, HTTP_NOTFOUND, NULL);
}

__attribute__((unused)) static struct page *page_at(size_t index, const char *path, int code)
{
    pages[index].path = path;
    pages[index].code = code;
    return &pages[index];
}

__attribute__((unused)) static int set_up(void **state)
{
    const struct made_wish ca = {.name = "Root", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign"};
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    memset(pages, 0, sizeof pages);
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        buf_init(&pages[i].body, KEYRING_ANSWER_MAX * 2);
    base = event_base_new();
    server = evhttp_new(base);
    assert_true(base != NULL && server != NULL);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    assert_non_null(bound);
    assert_int_equal(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&at, &len), 0);
    port = ntohs(at.sin_port);
    evhttp_set_gencb(server, on_request, NULL);
    root = made_certificate(&ca, NULL);
    stranger = made_certificate(&ca, NULL);
    return 0;
}

__attribute__((unused)) static int tear_down(void **state)
{
    (void)state;
    evhttp_free(server);
    event_base_free(base);
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        buf_fini(&pages[i].body);
    made_free(&root);
    made_free(&stranger);
    return 0;
}

/* A certificate that names the places "L/path" (a list) and "O/path" (a responder) of the server, each once at most. */
__attribute__((unused)) static struct made leaf_of(const struct made *by, const char *host, const char *list,
                                                   const char *responder, bool is_ca)
{
    char points[256] = "", access[256] = "";
    struct made_wish wish = {.name = is_ca ? "Middle" : "Alice",
                             .san = is_ca ? NULL : "email:alice@example.org",
                             .basic = is_ca ? "critical,CA:TRUE" : NULL,
                             .usage = is_ca ? "critical,keyCertSign,cRLSign" : NULL};
    (void)snprintf(points, sizeof points, "URI:http://%s:%u%s", host, port, list == NULL ? "" : list);
    (void)snprintf(access, sizeof access, "OCSP;URI:http://%s:%u%s", host, port, responder == NULL ? "" : responder);
    if (list != NULL)
        wish.crl = points;
    if (responder != NULL)
        wish.access = access;
    return made_certificate(&wish, by);
}

__attribute__((unused)) static STACK_OF(X509) * path_of(const struct made *leaf, const struct made *middle)
{
    STACK_OF(X509) *path = sk_X509_new_null();
    assert_true(sk_X509_push(path, leaf->certificate) > 0);
    if (middle != NULL)
        assert_true(sk_X509_push(path, middle->certificate) > 0);
    assert_true(sk_X509_push(path, root.certificate) > 0);
    return path;
}

__attribute__((unused)) static struct keyring_asker *asker_of(bool has_hosts, uint32_t timeout_ms)
{
    struct keyring_asker *asker;
    const struct keyring_fetch_options options = {.base = base,
                                                  .hosts = hosts,
                                                  .hosts_len = has_hosts ? 2 : 0,
                                                  .answer_max = KEYRING_ANSWER_MAX,
                                                  .timeout_ms = timeout_ms};
    assert_int_equal(keyring_asker_new(&options, &asker), ERR_OK);
    return asker;
}

struct told {
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX];
    size_t answers[KEYRING_CHAIN_MAX]; /* bytes */
    size_t len;
    bool is_told;
};

static void on_asked(void *context, const struct keyring_asked *asked, size_t len)
{
    struct told *told = context;
    assert_false(told->is_told);
    for (size_t i = 0; i < len; i++) {
        told->revocations[i] = asked[i].revocation;
        told->answers[i] = asked[i].answer.len;
    }
    told->len = len;
    told->is_told = true;
}

__attribute__((unused)) static void begin(struct keyring_asker *asker, STACK_OF(X509) * path, int64_t now_s,
                                          struct told *told)
{
    struct keyring_ask *ask;
    *told = (struct told){.is_told = false};
    assert_int_equal(
        keyring_ask_begin(asker, path, MADE_NOW + now_s, MADE_NOW + now_s, DEADLINE_MS, on_asked, told, &ask), ERR_OK);
    assert_false(told->is_told);
}

__attribute__((unused)) static void await(const struct told *told)
{
    while (!told->is_told)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

__attribute__((unused)) static struct told ask_anew(struct keyring_asker *asker, STACK_OF(X509) * path, int64_t now_s)
{
    struct told told = {.is_told = false};
    struct keyring_ask *ask;
    assert_int_equal(
        keyring_ask_begin(asker, path, MADE_NOW + now_s, MADE_NOW + now_s, DEADLINE_MS, on_asked, &told, &ask), ERR_OK);
    keyring_ask_anew(ask);
    await(&told);
    return told;
}

__attribute__((unused)) static struct told ask(struct keyring_asker *asker, STACK_OF(X509) * path, int64_t now_s)
{
    struct told told;
    begin(asker, path, now_s, &told);
    await(&told);
    return told;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif

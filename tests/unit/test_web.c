/* Keys over HTTPS: what is asked of Web Key Directories and keyservers, and what is made of any answer. The server is
   in this process, on its loop, under TLS with a certificate made here. */
#include "tests/unit/failing_malloc.h"

#include "base/log.h"
#include "base/tls.h"
#include "keyring/web.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BOB "bob@example.org"
#define TIMEOUT_MS 60000u

/* An Ed25519 key without signatures, made by hand, for Bob. */
#define KEY                                                                                                            \
    "\x98\x33\x04\x6b\x00\xc4\x00\x16\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01\x01\x07\x40"                             \
    "0123456789abcdef0123456789abcdef\xb4\x0f" BOB

static struct event_base *base;
static struct evhttp *server;
static SSL_CTX *server_tls, *client_tls, *stranger_tls;
static char folder[] = "/tmp/test_web.XXXXXX", certificate_file[64], key_file[64], other_certificate[64], other_key[64];
static int port;

/* What the server is to do, and what it has heard. */
static struct {
    int code; /* 0: nothing, ever */
    const char *body, *location;
    size_t len;
    char asked[1024];
    unsigned times;
} page;

static struct answer {
    unsigned fired;
    enum err err;
    size_t len;
    char problem[200];
    struct span first;
    char bytes[4096];
} answered;

static void on_request(struct evhttp_request *request, void *context)
{
    (void)context;
    page.times++;
    (void)snprintf(page.asked, sizeof page.asked, "%s", evhttp_request_get_uri(request));
    if (page.code == 0)
        return;
    struct evbuffer *body = evbuffer_new();
    assert_int_equal(evbuffer_add(body, page.body, page.len), 0);
    if (page.location != NULL)
        evhttp_add_header(evhttp_request_get_output_headers(request), "Location", page.location);
    evhttp_send_reply(request, page.code, "As it is", body);
    evbuffer_free(body);
}

static struct bufferevent *take_line(struct event_base *at, void *context)
{
    return bufferevent_openssl_socket_new(at, -1, SSL_new(context), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
}

static int set_up(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(certificate_file, sizeof certificate_file, "%s/c", folder);
    (void)snprintf(key_file, sizeof key_file, "%s/k", folder);
    (void)snprintf(other_certificate, sizeof other_certificate, "%s/oc", folder);
    (void)snprintf(other_key, sizeof other_key, "%s/ok", folder);
    assert_int_equal(tls_make_certificate(certificate_file, key_file), ERR_OK);
    assert_int_equal(tls_make_certificate(other_certificate, other_key), ERR_OK);
    assert_int_equal(tls_server_new(certificate_file, key_file, &server_tls), ERR_OK);
    assert_int_equal(tls_client_new(certificate_file, &client_tls), ERR_OK);
    assert_int_equal(tls_client_new(other_certificate, &stranger_tls), ERR_OK);
    base = event_base_new();
    server = evhttp_new(base);
    assert_non_null(server);
    evhttp_set_bevcb(server, take_line, server_tls);
    evhttp_set_gencb(server, on_request, NULL);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    assert_non_null(bound);
    assert_int_equal(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&at, &len), 0);
    port = ntohs(at.sin_port);
    return 0;
}

static int tear_down(void **state)
{
    const char *const files[] = {certificate_file, key_file, other_certificate, other_key};
    (void)state;
    evhttp_free(server);
    event_base_free(base);
    SSL_CTX_free(server_tls);
    SSL_CTX_free(client_tls);
    SSL_CTX_free(stranger_tls);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(unlink(files[i]), 0);
    return rmdir(folder);
}

/* ---- what is asked ---- */

static void the_drafts_own_example(void **state)
{
    char url[KEYRING_WEB_URL_SIZE];
    (void)state;
    assert_int_equal(keyring_wkd_url("Joe.Doe@example.org", false, url), ERR_OK);
    assert_string_equal(url, "https://openpgpkey.example.org/.well-known/openpgpkey/example.org/hu/"
                             "iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe");
    assert_int_equal(keyring_wkd_url("Joe.Doe@example.org", true, url), ERR_OK);
    assert_string_equal(url,
                        "https://example.org/.well-known/openpgpkey/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe");
}

/* Whatever an address is made of, it stays a value. */
static void every_byte_is_escaped(void **state)
{
    static const struct {
        const char *address, *escaped, *whole; /* whole: NULL, it is no address in normal form */
    } rows[] = {{"a+b=c&d@example.org", "a%2Bb%3Dc%26d", "a%2Bb%3Dc%26d%40example.org"},
                {"\"a b\"@example.org", "%22a%20b%22", "%22a%20b%22%40example.org"},
                {"\"a@b\"@example.org", "%22a%40b%22", "%22a%40b%22%40example.org"},
                {"100%@example.org", "100%25", "100%25%40example.org"},
                {"../../x?y#z@example.org", "..%2F..%2Fx%3Fy%23z", "..%2F..%2Fx%3Fy%23z%40example.org"},
                {"*)(uid=*@example.org", "%2A%29%28uid%3D%2A", "%2A%29%28uid%3D%2A%40example.org"},
                {"'`$;|~@example.org", "%27%60%24%3B%7C~", "%27%60%24%3B%7C~%40example.org"},
                {"\\\"\r\n@example.org", "%5C%22%0D%0A", "%5C%22%0D%0A%40example.org"},
                {"j\xc3\xb6rg@example.org", "j%C3%B6rg", "j%C3%B6rg%40example.org"}};
    const struct keyring_web_options options = {.is_keyserver = true, .host = "::1", .port = 8443};
    char url[KEYRING_WEB_URL_SIZE], start[256];
    (void)state;
    (void)snprintf(start, sizeof start, "https://[::1]:8443/pks/lookup?op=get&options=mr&exact=on&search=");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(keyring_wkd_url(rows[i].address, true, url), ERR_OK);
        assert_string_equal(strstr(url, "?l=") + 3, rows[i].escaped);
        assert_int_equal(keyring_hkp_url(&options, rows[i].address, url), ERR_OK);
        assert_memory_equal(url, start, strlen(start));
        assert_string_equal(url + strlen(start), rows[i].whole);
    }
}

static void longest_address(void **state)
{
    const struct keyring_web_options options = {.is_keyserver = true, .host = "h", .port = 1};
    char address[MIME_ADDR_SIZE], url[KEYRING_WEB_URL_SIZE];
    (void)state;
    memset(address, '&', 64);
    address[64] = '@';
    memset(address + 65, 'a', 255);
    address[320] = '\0';
    assert_int_equal(keyring_hkp_url(&options, address, url), ERR_OK);
    assert_int_equal(keyring_wkd_url(address, false, url), ERR_ADDRESS_SYNTAX);
    address[65 + 200] = '\0';
    assert_int_equal(keyring_wkd_url(address, false, url), ERR_OK);
}

/* A domain that is no host name has no directory, and nobody is connected to. */
static void domains_that_are_no_hosts(void **state)
{
    static const char *const addresses[] = {"a@[127.0.0.1]", "a@127.0.0.1",   "a@[IPv6:::1]", "a@x/y",  "a@x:80",
                                            "a@x?y",         "a@user:pw",     "a@x y",        "a@",     "a@.x",
                                            "a@-x",          "a@EXAMPLE.ORG", "a@m\xc3\xbc",  "a@x#y",  "a@x%41",
                                            "a@1.2",         "a@x\\y",        "a@x\r\ny",     "a@x\"y", "a@*"};
    char url[KEYRING_WEB_URL_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        assert_int_equal(keyring_wkd_url(addresses[i], false, url), ERR_ADDRESS_SYNTAX);
    char normal[MIME_ADDR_SIZE];
    assert_int_equal(mime_addr_normalise(span_of("a@M\xc3\xbcnchen.example"), normal), ERR_OK);
    assert_int_equal(keyring_wkd_url(normal, true, url), ERR_OK);
    assert_memory_equal(url, "https://xn--mnchen-3ya.example/", 31);
}

/* ---- what is answered ---- */

static void on_answer(enum err err, const struct keyring_piece *pieces, size_t pieces_len, const char *problem,
                      void *context)
{
    (void)context;
    answered.fired++;
    answered.err = err;
    answered.len = pieces_len;
    (void)snprintf(answered.problem, sizeof answered.problem, "%s", problem);
    if (pieces_len > 0) {
        assert_int_equal(pieces[0].kind, KEYRING_FOUND_OPENPGP);
        assert_true(pieces[0].bytes.len <= sizeof answered.bytes);
        memcpy(answered.bytes, pieces[0].bytes.ptr, pieces[0].bytes.len);
        answered.first = (struct span){answered.bytes, pieces[0].bytes.len};
    }
    event_base_loopbreak(base);
}

static struct keyring_web_options keyserver(const char *host, uint32_t timeout_ms)
{
    struct keyring_web_options options = {
        .name = "keyserver k", .is_keyserver = true, .port = port, .timeout_ms = timeout_ms};
    (void)snprintf(options.host, sizeof options.host, "%s", host);
    return options;
}

static void ask(const struct keyring_web_options *options, SSL_CTX *tls, const char *address)
{
    struct keyring_web *web;
    answered = (struct answer){0};
    page.times = 0;
    assert_int_equal(keyring_web_new(base, NULL, options, tls, &web), ERR_OK);
    assert_int_equal(keyring_web_find(web, address, on_answer, NULL), ERR_OK);
    assert_int_equal(answered.fired, 0);
    event_base_dispatch(base);
    assert_int_equal(answered.fired, 1);
    keyring_web_free(&web);
    /* What the server still has to notice of the end. */
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
}

static void set_page(int code, const char *body, size_t len)
{
    page.code = code;
    page.body = body;
    page.len = len;
    page.location = NULL;
}

static void a_key(void **state)
{
    const struct keyring_web_options options = keyserver("localhost", TIMEOUT_MS);
    (void)state;
    set_page(200, KEY, sizeof KEY - 1);
    ask(&options, client_tls, BOB);
    assert_int_equal(answered.err, ERR_OK);
    assert_int_equal(answered.len, 1);
    assert_true(span_is_equal(answered.first, SPAN_LIT(KEY)));
    assert_string_equal(answered.problem, "");
    assert_string_equal(page.asked, "/pks/lookup?op=get&options=mr&exact=on&search=bob%40example.org");
    /* Whether it is there. */
    ask(&options, client_tls, NULL);
    assert_int_equal(answered.err, ERR_OK);
    assert_int_equal(answered.len, 0);
    assert_string_equal(page.asked, "/");
}

static void answers_that_are_none(void **state)
{
    static char large[KEYRING_HKP_ANSWER_MAX + 1];
    const struct keyring_web_options options = keyserver("localhost", TIMEOUT_MS);
    (void)state;
    const struct {
        int code;
        const char *body, *location;
        size_t len;
        enum err err;
        const char *problem;
    } rows[] = {{404, "none", NULL, 4, ERR_OK, ""},
                {410, "", NULL, 0, ERR_OK, ""},
                /* They take nothing back that was said before: only who says "nothing" has told all. */
                {301, "", "https://localhost/", 0, ERR_OK, "does not say"},
                {302, "", "http://127.0.0.1/", 0, ERR_OK, "does not say"},
                {403, "", NULL, 0, ERR_OK, "does not say"},
                {408, "", NULL, 0, ERR_LOOKUP, "none"},
                {429, "", NULL, 0, ERR_LOOKUP, "none"},
                {500, "", NULL, 0, ERR_LOOKUP, "none"},
                {200, "", NULL, 0, ERR_OK, "no OpenPGP key"},
                {200, "<html>", NULL, 6, ERR_OK, "no OpenPGP key"},
                {200, KEY, NULL, sizeof KEY - 2, ERR_OK, "no OpenPGP key"},
                {200, large, NULL, sizeof large, ERR_LOOKUP, "larger than"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set_page(rows[i].code, rows[i].body, rows[i].len);
        page.location = rows[i].location;
        ask(&options, client_tls, BOB);
        assert_int_equal(answered.err, rows[i].err);
        assert_int_equal(answered.len, 0);
        assert_int_equal(page.times, 1);
        assert_non_null(strstr(answered.problem, rows[i].problem));
        if (rows[i].problem[0] == '\0')
            assert_string_equal(answered.problem, "");
    }
    /* Another's key. */
    set_page(200, KEY, sizeof KEY - 1);
    ask(&options, client_tls, "eve@example.org");
    assert_int_equal(answered.err, ERR_OK);
    assert_int_equal(answered.len, 0);
    assert_non_null(strstr(answered.problem, "no key with the address"));
}

static void who_is_not_who_he_should_be(void **state)
{
    struct keyring_web_options options = keyserver("localhost", TIMEOUT_MS);
    (void)state;
    set_page(200, KEY, sizeof KEY - 1);
    ask(&options, stranger_tls, BOB);
    assert_int_equal(answered.err, ERR_UPSTREAM_DOWN);
    assert_int_equal(page.times, 0);
    assert_non_null(strstr(answered.problem, "certificate"));
    /* The certificate is good, but for other names. */
    options = keyserver("127.0.0.2", TIMEOUT_MS);
    ask(&options, client_tls, BOB);
    assert_int_equal(answered.err, ERR_UPSTREAM_DOWN);
    assert_int_equal(page.times, 0);
    /* One without certificates to go by asks nobody. */
    struct keyring_web *web;
    assert_int_equal(keyring_web_new(base, NULL, &options, NULL, &web), ERR_OK);
    assert_int_equal(keyring_web_find(web, BOB, on_answer, NULL), ERR_UPSTREAM_TLS);
    keyring_web_free(&web);
}

static void silence_ends(void **state)
{
    const struct keyring_web_options options = keyserver("localhost", 50);
    (void)state;
    set_page(0, "", 0);
    ask(&options, client_tls, BOB);
    assert_int_equal(answered.err, ERR_UPSTREAM_DOWN);
    assert_non_null(strstr(answered.problem, "no answer"));
}

static void nobody_there(void **state)
{
    struct keyring_web_options options = keyserver("127.0.0.1", TIMEOUT_MS);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    (void)state;
    /* A port that is taken, and at which nobody listens. */
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    options.port = ntohs(at.sin_port);
    ask(&options, client_tls, BOB);
    assert_int_equal(answered.err, ERR_UPSTREAM_DOWN);
    close(fd);
}

/* A domain's own word where its directory is: never on this machine, unless the configuration says so. */
static void private_addresses(void **state)
{
    static const char *const hosts[] = {"LOCALHOST"};
    struct keyring_web_options options = {.name = "wkd", .method = KEYRING_WKD_DIRECT, .timeout_ms = TIMEOUT_MS};
    (void)state;
    ask(&options, client_tls, "bob@localhost");
    assert_int_equal(answered.err, ERR_LOOKUP);
    assert_non_null(strstr(answered.problem, "private"));
    /* Port 443 of this machine, where a test can have nobody: it is tried, and answers or not. */
    options.hosts = hosts;
    options.hosts_len = 1;
    ask(&options, client_tls, "bob@localhost");
    assert_null(strstr(answered.problem, "private"));
    /* No host: nothing, and nobody is asked. */
    ask(&options, client_tls, "bob@[127.0.0.1]");
    assert_int_equal(answered.err, ERR_OK);
    assert_string_equal(answered.problem, "");
}

static void as_many_as_there_may_be(void **state)
{
    const struct keyring_web_options options = keyserver("localhost", TIMEOUT_MS);
    struct keyring_web *web;
    (void)state;
    set_page(0, "", 0);
    answered = (struct answer){0};
    assert_int_equal(keyring_web_new(base, NULL, &options, client_tls, &web), ERR_OK);
    for (size_t i = 0; i < KEYRING_HKP_QUERIES_MAX; i++)
        assert_int_equal(keyring_web_find(web, BOB, on_answer, NULL), ERR_OK);
    assert_int_equal(keyring_web_find(web, BOB, on_answer, NULL), ERR_BUSY);
    keyring_web_free(&web);
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(answered.fired, 0);
}

/* A question that there is no memory for is refused, and leaves nothing behind. */
static void without_memory(void **state)
{
    const struct keyring_web_options options = keyserver("127.0.0.1", TIMEOUT_MS);
    enum err err;
    size_t left = 0;
    (void)state;
    set_page(0, "", 0);
    answered = (struct answer){0};
    do {
        struct keyring_web *web = NULL;
        const long before = failing_malloc_live;
        failing_malloc_left = left++;
        failing_malloc_has_failed = false;
        err = keyring_web_new(base, NULL, &options, client_tls, &web);
        if (err == ERR_OK)
            err = keyring_web_find(web, BOB, on_answer, NULL);
        failing_malloc_left = SIZE_MAX;
        keyring_web_free(&web);
        if (failing_malloc_has_failed && left > 1)
            assert_true(failing_malloc_live <= before + 1); /* what libevent keeps for later */
    } while (failing_malloc_has_failed && left < 200);
    assert_int_equal(err, ERR_OK);
    assert_int_equal(answered.fired, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_drafts_own_example),
        cmocka_unit_test(every_byte_is_escaped),
        cmocka_unit_test(longest_address),
        cmocka_unit_test(domains_that_are_no_hosts),
        cmocka_unit_test(a_key),
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(who_is_not_who_he_should_be),
        cmocka_unit_test(silence_ends),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(private_addresses),
        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(without_memory),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

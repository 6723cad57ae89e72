/* Keepers ask the finder what has been revoked: a finder in its sandbox, a web server, and us as the keepers. */
#include "tests/unit/revocation_made.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "proxy/finder.h"
#include "proxy/keeper_internal.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define DAY 86400
#define ALICE "alice@example.org"
#define BOB "bob@example.org"

enum { LEAF_LIST, MIDDLE_ANSWER, REVOKED_LIST, MISSING, FORGED_LIST, PAGES_COUNT };
static const char *const names[PAGES_COUNT] = {"/leaf.crl", "/middle", "/revoked.crl", "/missing.crl", "/forged.crl"};
static struct buf pages[PAGES_COUNT];
static volatile unsigned *asked; /* shared with the server */

static struct made root, others_root, middle, leaf, revoked, missing, forged;
static unsigned port;
static int control;
static pid_t finder, server;
static char folder[] = "/tmp/privyseal-finder-XXXXXX", root_file[64], others_file[64];

static struct made issue(const struct made *by, const char *name, int list, int answer)
{
    char points[128], access[128];
    const bool is_ca = answer >= 0;
    (void)snprintf(points, sizeof points, "URI:http://127.0.0.1:%u%s", port, names[list < 0 ? 0 : list]);
    (void)snprintf(access, sizeof access, "OCSP;URI:http://127.0.0.1:%u%s", port, names[answer < 0 ? 0 : answer]);
    const struct made_wish wish = {.name = name,
                                   .san = is_ca ? NULL : "email:carol@example.org",
                                   .basic = is_ca ? "critical,CA:TRUE" : NULL,
                                   .usage = is_ca ? "critical,keyCertSign,cRLSign" : NULL,
                                   .crl = list >= 0 ? points : NULL,
                                   .access = answer >= 0 ? access : NULL};
    return made_certificate(&wish, by);
}

/* ---- the server ---- */

static void on_request(struct evhttp_request *request, void *context)
{
    (void)context;
    for (size_t i = 0; i < PAGES_COUNT; i++) {
        if (strcmp(evhttp_request_get_uri(request), names[i]) != 0)
            continue;
        asked[i]++;
        struct evbuffer *body = evbuffer_new();
        if (pages[i].len > 0 && evbuffer_add(body, pages[i].data, pages[i].len) == 0)
            evhttp_send_reply(request, HTTP_OK, "OK", body);
        else
            evhttp_send_error(request, HTTP_NOTFOUND, NULL);
        evbuffer_free(body);
        return;
    }
    evhttp_send_error(request, HTTP_NOTFOUND, NULL);
}

static void serve(int fd)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)evutil_make_socket_nonblocking(fd);
    if (evhttp_accept_socket(http, fd) != 0)
        _exit(3);
    evhttp_set_gencb(http, on_request, NULL);
    (void)event_base_dispatch(base);
    _exit(3);
}

/* ---- the finder ---- */

static void start_finder(void)
{
    static char host[] = "127.0.0.1", *hosts[] = {host};
    static struct config_account accounts[2];
    static struct config config = {.accounts = accounts,
                                   .accounts_len = 2,
                                   .log_level = LOG_LEVEL_INFO,
                                   .revocation_hosts = hosts,
                                   .revocation_hosts_len = 1};
    static char *addresses[2][1];
    static char alice[] = ALICE, bob[] = BOB;
    int ends[2];
    addresses[0][0] = alice;
    addresses[1][0] = bob;
    for (size_t i = 0; i < 2; i++) {
        accounts[i].addresses = addresses[i];
        accounts[i].addresses_len = 1;
        accounts[i].revocation = KEYRING_REVOCATION_SOFT;
        (void)snprintf(accounts[i].address, sizeof accounts[i].address, "%s", addresses[i][0]);
        (void)snprintf(accounts[i].smime_ca, sizeof accounts[i].smime_ca, "%s", i == 0 ? root_file : others_file);
    }
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    finder = fork();
    assert_true(finder >= 0);
    if (finder == 0) {
        close(ends[0]);
        clock_fix(MADE_NOW);
        _exit(proxy_finder_main(&config, ends[1]));
    }
    close(ends[1]);
    control = ends[0];
}

/* A line to the finder: a keeper's, or without an account net's. */
static int line_of(const char *account)
{
    int ends[2];
    struct ipc_out out;
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    ipc_out_begin(&out, account == NULL ? PROXY_FINDER_CLIENT : PROXY_FINDER_KEEPER);
    if (account != NULL)
        ipc_put_string(&out, account);
    ipc_put_file(&out, ends[1]);
    assert_int_equal(ipc_send(control, &out), ERR_OK);
    close(ends[1]);
    return ends[0];
}

static void save(const struct made *made, const char *name, char path_out[64])
{
    (void)snprintf(path_out, 64, "%s/%s", folder, name);
    FILE *file = fopen(path_out, "w");
    assert_non_null(file);
    assert_true(PEM_write_X509(file, made->certificate) == 1 && fclose(file) == 0);
}

static int set_up(void **state)
{
    const struct made_wish ca = {.name = "Root", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign"};
    const struct made_wish alone = {.name = "Stranger", .san = "email:mallory@example.org"};
    const struct made_news good = {.made_s = 0}, bad = {.since_s = -DAY};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)state;
    clock_fix(MADE_NOW);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_non_null(mkdtemp(folder));
    assert_true(bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 16) == 0 &&
                getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    port = ntohs(at.sin_port);
    asked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(asked != MAP_FAILED);
    root = made_certificate(&ca, NULL);
    others_root = made_certificate(&ca, NULL);
    struct made stranger = made_certificate(&alone, NULL);
    middle = issue(&root, "Middle", -1, MIDDLE_ANSWER);
    leaf = issue(&middle, "Carol", LEAF_LIST, -1);
    revoked = issue(&root, "Carol", REVOKED_LIST, -1);
    missing = issue(&root, "Carol", MISSING, -1);
    forged = issue(&stranger, "Carol", FORGED_LIST, -1);
    made_free(&stranger);
    for (size_t i = 0; i < PAGES_COUNT; i++)
        buf_init(&pages[i], 65536);
    made_list(&good, leaf.certificate, &middle, &middle, &pages[LEAF_LIST]);
    made_answer(&good, middle.certificate, &root, &root, &pages[MIDDLE_ANSWER]);
    made_list(&bad, revoked.certificate, &root, &root, &pages[REVOKED_LIST]);
    save(&root, "root.pem", root_file);
    save(&others_root, "other.pem", others_file);
    server = fork();
    assert_true(server >= 0);
    if (server == 0)
        serve(fd);
    close(fd);
    start_finder();
    return 0;
}

static int tear_down(void **state)
{
    int status;
    (void)state;
    close(control);
    assert_true(waitpid(finder, &status, 0) == finder && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(kill(server, SIGKILL) == 0 && waitpid(server, &status, 0) == server);
    struct made *const all[] = {&root, &others_root, &middle, &leaf, &revoked, &missing, &forged};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        made_free(all[i]);
    for (size_t i = 0; i < PAGES_COUNT; i++)
        buf_fini(&pages[i]);
    assert_true(unlink(root_file) == 0 && unlink(others_file) == 0 && rmdir(folder) == 0);
    return 0;
}

/* ---- keepers ---- */

static struct keeper keeper_of(const char *account, enum keyring_revocation_mode mode)
{
    return (struct keeper){.setup = {.vault = -1, .finder = line_of(account), .revocation = (uint32_t)mode}};
}

static void keeper_fini(struct keeper *keeper)
{
    if (keeper->setup.finder >= 0)
        close(keeper->setup.finder);
    free(keeper->known);
}

static STACK_OF(X509) * path_of(const struct made *first, const struct made *second, const struct made *last)
{
    STACK_OF(X509) *path = sk_X509_new_null();
    const struct made *const all[] = {first, second, last};
    for (size_t i = 0; i < 3; i++)
        if (all[i] != NULL)
            assert_true(sk_X509_push(path, all[i]->certificate) > 0);
    return path;
}

/* What a keeper is told: the error, and with ERR_OK whether it is unknown. */
static void assert_told(struct keeper *keeper, STACK_OF(X509) * path, enum err expected, bool expects_unknown)
{
    bool is_unknown;
    assert_int_equal(keeper_revocation(keeper, path, MADE_NOW, &is_unknown), expected);
    assert_int_equal(is_unknown, expects_unknown);
}

static void news_are_told_and_kept(void **state)
{
    struct keeper keeper = keeper_of(ALICE, KEYRING_REVOCATION_HARD), other = keeper_of(ALICE, KEYRING_REVOCATION_HARD);
    STACK_OF(X509) *path = path_of(&leaf, &middle, &root);
    (void)state;
    assert_told(&keeper, path, ERR_OK, false);
    /* The keeper remembers: not even the finder is asked. */
    assert_told(&keeper, path, ERR_OK, false);
    assert_int_equal(keeper.asked, 1);
    /* And the finder, for another. */
    assert_told(&other, path, ERR_OK, false);
    assert_int_equal(asked[LEAF_LIST], 1);
    assert_int_equal(asked[MIDDLE_ANSWER], 1);
    sk_X509_free(path);
    keeper_fini(&keeper);
    keeper_fini(&other);
}

static void revoked_is_told(void **state)
{
    struct keeper keeper = keeper_of(ALICE, KEYRING_REVOCATION_SOFT);
    STACK_OF(X509) *path = path_of(&revoked, NULL, &root);
    bool is_unknown;
    (void)state;
    assert_told(&keeper, path, ERR_REVOKED, false);
    assert_told(&keeper, path, ERR_REVOKED, false);
    assert_int_equal(keeper.asked, 1);
    /* As of before: asked anew, and judged for then. */
    assert_int_equal(keeper_revocation(&keeper, path, MADE_NOW - 2 * DAY, &is_unknown), ERR_OK);
    assert_false(is_unknown);
    keeper.setup.revocation = KEYRING_REVOCATION_OFF;
    assert_told(&keeper, path, ERR_OK, false);
    sk_X509_free(path);
    keeper_fini(&keeper);
}

static void unknown_is_noted_or_refused(void **state)
{
    struct keeper keeper = keeper_of(ALICE, KEYRING_REVOCATION_SOFT);
    STACK_OF(X509) *path = path_of(&missing, NULL, &root);
    (void)state;
    assert_told(&keeper, path, ERR_OK, true);
    keeper.setup.revocation = KEYRING_REVOCATION_HARD;
    assert_told(&keeper, path, ERR_LOOKUP, false);
    assert_int_equal(asked[MISSING], 1);
    sk_X509_free(path);
    keeper_fini(&keeper);
}

/* Whatever a keeper says that it has verified. */
static void only_verified_chains_are_asked_about(void **state)
{
    struct keeper alice = keeper_of(ALICE, KEYRING_REVOCATION_SOFT), bob = keeper_of(BOB, KEYRING_REVOCATION_SOFT);
    STACK_OF(X509) *path = path_of(&forged, NULL, &root), *others = path_of(&missing, NULL, &root);
    STACK_OF(X509) *longer = path_of(&forged, &missing, &root);
    const unsigned before = asked[MISSING];
    (void)state;
    assert_told(&alice, path, ERR_OK, true);
    assert_told(&alice, longer, ERR_OK, true);
    assert_told(&bob, others, ERR_OK, true);
    assert_int_equal(asked[FORGED_LIST], 0);
    assert_int_equal(asked[MISSING], before);
    sk_X509_free(path);
    sk_X509_free(others);
    sk_X509_free(longer);
    keeper_fini(&alice);
    keeper_fini(&bob);
}

static void assert_ended(int line, struct ipc_out *out)
{
    struct ipc_in in;
    assert_int_equal(ipc_send(line, out), ERR_OK);
    assert_int_equal(ipc_recv(line, &in), ERR_END);
    close(line);
}

static void strange_requests_end_the_line(void **state)
{
    struct ipc_out out;
    int fd;
    (void)state;
    /* A keeper may not look for keys; net may not ask for what has been revoked. */
    ipc_out_begin(&out, PROXY_FIND);
    ipc_put_u32(&out, 1);
    ipc_put_string(&out, ALICE);
    assert_ended(line_of(ALICE), &out);
    assert_int_equal(memfd_of("path", SPAN_LIT("no certificate"), 100, &fd), ERR_OK);
    for (int i = 0; i < 2; i++) {
        ipc_out_begin(&out, PROXY_REVOCATION);
        ipc_put_u32(&out, 1);
        ipc_put_u32(&out, 0);
        ipc_put_file(&out, fd);
        assert_ended(line_of(i == 0 ? NULL : ALICE), &out);
    }
    close(fd);
    ipc_out_begin(&out, PROXY_REVOCATION);
    ipc_put_u32(&out, 1);
    assert_ended(line_of(ALICE), &out);
}

/* Puts an answer of a finder's on the way to a keeper that has not asked yet. */
static void answer_as_finder(int line, uint32_t number, uint32_t index, uint32_t kind, uint32_t size, struct span bytes)
{
    struct ipc_out out;
    int fd;
    assert_int_equal(memfd_of("answers", bytes, 65536, &fd), ERR_OK);
    ipc_out_begin(&out, PROXY_FINDER_DONE);
    ipc_put_u32(&out, number);
    ipc_put_u32(&out, ERR_OK);
    ipc_put_u32(&out, 1);
    ipc_put_u32(&out, index);
    ipc_put_u32(&out, kind);
    ipc_put_u32(&out, size);
    ipc_put_file(&out, fd);
    assert_int_equal(ipc_send(line, &out), ERR_OK);
    close(fd);
}

static void finder_is_not_believed(void **state)
{
    const struct made_news good = {.made_s = 0};
    struct buf lie, truth;
    STACK_OF(X509) *path = path_of(&missing, NULL, &root);
    (void)state;
    buf_init(&lie, 65536);
    buf_init(&truth, 65536);
    made_list(&good, missing.certificate, &root, &others_root, &lie);
    made_list(&good, missing.certificate, &root, &root, &truth);
    const uint32_t size = (uint32_t)truth.len;
    const struct {
        uint32_t number, index, kind, size;
        const struct buf *bytes;
        bool is_known, ends_line;
    } rows[] = {{1, 0, KEYRING_ANSWER_LIST, size, &truth, true, false},
                {1, 0, KEYRING_ANSWER_LIST, (uint32_t)lie.len, &lie, false, false},
                {1, 0, KEYRING_ANSWER_OCSP, size, &truth, false, false},
                {1, 1, KEYRING_ANSWER_LIST, size, &truth, false, true},
                {1, 0, KEYRING_ANSWER_COUNT, size, &truth, false, true},
                {1, 0, KEYRING_ANSWER_LIST, size + 1, &truth, false, true},
                {1, UINT32_MAX, KEYRING_ANSWER_LIST, UINT32_MAX, &truth, false, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int ends[2];
        assert_int_equal(ipc_pair(false, ends), ERR_OK);
        struct keeper keeper = {.setup = {.vault = -1, .finder = ends[0], .revocation = KEYRING_REVOCATION_SOFT}};
        /* An answer to an earlier question is passed over. */
        answer_as_finder(ends[1], 0, 0, KEYRING_ANSWER_LIST, (uint32_t)lie.len, buf_span(&lie));
        answer_as_finder(ends[1], rows[i].number, rows[i].index, rows[i].kind, rows[i].size, buf_span(rows[i].bytes));
        assert_told(&keeper, path, ERR_OK, !rows[i].is_known);
        assert_int_equal(keeper.setup.finder < 0, rows[i].ends_line);
        keeper_fini(&keeper);
        close(ends[1]);
    }
    buf_fini(&lie);
    buf_fini(&truth);
    sk_X509_free(path);
}

/* What is asked anew brings nothing, or what was said before: what counts still is not given up for it. */
static void what_counts_is_kept(void **state)
{
    const struct made_news earlier = {.made_s = -7200, .next_s = DAY}, later = {.made_s = -60, .next_s = DAY};
    struct keeper keeper = keeper_of(ALICE, KEYRING_REVOCATION_HARD);
    STACK_OF(X509) *path = path_of(&revoked, NULL, &root);
    static const struct {
        bool is_earlier;
        enum err expected, after;
    } rows[] = {{true, ERR_REVOKED, ERR_REVOKED}, {false, ERR_OK, ERR_OK}};
    (void)state;
    assert_told(&keeper, path, ERR_REVOKED, false);
    keeper.asks_anew = true;
    close(keeper.setup.finder);
    keeper.setup.finder = -1;
    assert_told(&keeper, path, ERR_LOOKUP, false);
    keeper.asks_anew = false;
    assert_told(&keeper, path, ERR_REVOKED, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf list;
        int ends[2];
        assert_int_equal(ipc_pair(false, ends), ERR_OK);
        buf_init(&list, 65536);
        made_list(rows[i].is_earlier ? &earlier : &later, revoked.certificate, &root, &root, &list);
        keeper.setup.finder = ends[0];
        keeper.asks_anew = true;
        answer_as_finder(ends[1], keeper.asked + 1, 0, KEYRING_ANSWER_LIST, (uint32_t)list.len, buf_span(&list));
        assert_told(&keeper, path, rows[i].expected, false);
        keeper.asks_anew = false;
        assert_told(&keeper, path, rows[i].after, false);
        buf_fini(&list);
        close(ends[0]);
        close(ends[1]);
    }
    keeper.setup.finder = -1;
    sk_X509_free(path);
    keeper_fini(&keeper);
}

static void lost_finder_is_unknown(void **state)
{
    int ends[2];
    STACK_OF(X509) *path = path_of(&leaf, &middle, &root);
    (void)state;
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    close(ends[1]);
    struct keeper keeper = {.setup = {.vault = -1, .finder = ends[0], .revocation = KEYRING_REVOCATION_HARD}};
    assert_told(&keeper, path, ERR_LOOKUP, false);
    assert_int_equal(keeper.setup.finder, -1);
    assert_told(&keeper, path, ERR_LOOKUP, false);
    sk_X509_free(path);
    keeper_fini(&keeper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(news_are_told_and_kept),        cmocka_unit_test(revoked_is_told),
        cmocka_unit_test(unknown_is_noted_or_refused),   cmocka_unit_test(only_verified_chains_are_asked_about),
        cmocka_unit_test(strange_requests_end_the_line), cmocka_unit_test(finder_is_not_believed),
        cmocka_unit_test(lost_finder_is_unknown),        cmocka_unit_test(what_counts_is_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

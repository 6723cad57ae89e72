/* Net's line to the finder: answers in any order, malformed ones, none, and a finder that goes; we are the finder. */
#include "base/log.h"
#include "base/memfd.h"
#include "proxy/finderlink.h"
#include "proxy/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_MS 600000
#define ASKED_MAX 4

struct asked {
    struct proxy_finder_request *request;
    unsigned fired;
    enum err err;
    uint32_t seconds, pieces_len;
    bool has_file, is_partial;
};

static struct event_base *base;
static struct proxy_finderlink *line;
static struct asked asked[ASKED_MAX];
static unsigned lost;
static int finder;

static void on_lost(void *context)
{
    (void)context;
    lost++;
}

static void on_answer(enum err err, const struct proxy_finder_answer *answer, void *context)
{
    struct asked *one = context;
    one->request = NULL;
    one->fired++;
    one->err = err;
    assert_int_equal(err == ERR_OK, answer != NULL);
    if (answer == NULL)
        return;
    one->seconds = answer->seconds;
    one->pieces_len = answer->pieces_len;
    one->has_file = answer->file >= 0;
    one->is_partial = answer->is_partial;
}

static void connect_line(void)
{
    int ends[2];
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    finder = ends[1];
    proxy_finderlink_connect(line, ends[0]);
}

static int begin(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    memset(asked, 0, sizeof asked);
    lost = 0;
    finder = -1;
    base = event_base_new();
    return base == NULL || proxy_finderlink_new(base, on_lost, NULL, &line) != ERR_OK ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    proxy_finderlink_free(&line);
    event_base_free(base);
    if (finder >= 0)
        close(finder);
    return 0;
}

/* What can happen now. */
static void run(void)
{
    for (int turn = 0; turn < 5; turn++)
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
}

static void find(size_t index, const char *address, uint32_t timeout_ms)
{
    assert_int_equal(
        proxy_finder_find(line, address, index, NULL, timeout_ms, on_answer, &asked[index], &asked[index].request),
        ERR_OK);
    assert_int_equal(asked[index].fired, 0);
}

/* The number of the next request, which must be for this address. */
static uint32_t heard(const char *expected)
{
    char address[300];
    struct ipc_in in;
    assert_int_equal(ipc_recv(finder, &in), ERR_OK);
    assert_int_equal(ipc_type(&in), PROXY_FIND);
    const uint32_t number = ipc_get_u32(&in);
    ipc_get_string(&in, address, sizeof address);
    (void)ipc_get_u32(&in);
    char fingerprint[4];
    ipc_get_string(&in, fingerprint, sizeof fingerprint);
    assert_int_equal(ipc_get_u32(&in), 0);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_string_equal(address, expected);
    return number;
}

struct said {
    uint16_t type;
    uint32_t code, seconds, pieces, is_partial, is_file;
    bool has_file, has_more;
};

static void say(uint32_t number, const struct said *said)
{
    struct ipc_out out;
    int fd = -1;
    ipc_out_begin(&out, said->type);
    ipc_put_u32(&out, number);
    ipc_put_u32(&out, said->code);
    if (said->code == ERR_OK) {
        ipc_put_u32(&out, said->seconds);
        ipc_put_u32(&out, said->pieces);
        ipc_put_u32(&out, said->is_partial);
        ipc_put_u32(&out, said->is_file);
    }
    if (said->has_more)
        ipc_put_u32(&out, 1);
    if (said->has_file) {
        assert_int_equal(memfd_of("found", SPAN_LIT("found"), 10, &fd), ERR_OK);
        ipc_put_file(&out, fd);
    }
    assert_int_equal(ipc_send(finder, &out), ERR_OK);
    if (fd >= 0)
        close(fd);
}

static void test_answers_in_any_order(void **state)
{
    (void)state;
    connect_line();
    find(0, "a@example.org", LONG_MS);
    find(1, "b@example.org", LONG_MS);
    find(2, "c@example.org", LONG_MS);
    const uint32_t numbers[] = {heard("a@example.org"), heard("b@example.org"), heard("c@example.org")};
    say(numbers[2], &(struct said){PROXY_FINDER_DONE, .code = ERR_LOOKUP});
    say(numbers[1],
        &(struct said){PROXY_FINDER_DONE, .seconds = 7, .pieces = 2, .is_partial = 1, .is_file = 1, .has_file = true});
    /* Nothing of the address's, yet all that a directory has. */
    say(numbers[0], &(struct said){PROXY_FINDER_DONE, .seconds = 9, .is_file = 1, .has_file = true});
    run();
    assert_true(asked[0].fired == 1 && asked[1].fired == 1 && asked[2].fired == 1);
    assert_true(asked[0].err == ERR_OK && asked[0].seconds == 9 && asked[0].pieces_len == 0 && asked[0].has_file);
    assert_true(asked[1].err == ERR_OK && asked[1].seconds == 7 && asked[1].pieces_len == 2 && asked[1].has_file);
    assert_true(!asked[0].is_partial && asked[1].is_partial);
    assert_int_equal(asked[2].err, ERR_LOOKUP);
    find(3, "d@example.org", LONG_MS);
    say(heard("d@example.org"), &(struct said){PROXY_FINDER_DONE, .seconds = 1});
    run();
    assert_true(asked[3].fired == 1 && asked[3].err == ERR_OK && !asked[3].has_file);
    assert_int_equal(lost, 0);
}

static void test_malformed_answers_end_the_line(void **state)
{
    static const struct said lies[] = {
        {PROXY_FIND, .seconds = 1},
        {PROXY_FINDER_DONE, .code = ERR_COUNT},
        {PROXY_FINDER_DONE, .code = UINT32_MAX},
        {PROXY_FINDER_DONE, .pieces = 1},
        {PROXY_FINDER_DONE, .pieces = 1, .is_file = 1},
        {PROXY_FINDER_DONE, .has_file = true},
        {PROXY_FINDER_DONE, .has_more = true},
        {PROXY_FINDER_DONE, .code = ERR_LOOKUP, .has_more = true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        asked[0].fired = 0;
        connect_line();
        find(0, "a@example.org", LONG_MS);
        say(heard("a@example.org"), &lies[i]);
        run();
        if (asked[0].fired != 1 || asked[0].err != ERR_LOOKUP || lost != i + 1)
            fail_msg("lie %zu: fired %u, %s, lost %u", i, asked[0].fired, err_name(asked[0].err), lost);
        close(finder);
        finder = -1;
    }
}

static void test_nobody_there(void **state)
{
    (void)state;
    find(0, "a@example.org", LONG_MS);
    run();
    assert_true(asked[0].fired == 1 && asked[0].err == ERR_LOOKUP);
    connect_line();
    find(1, "b@example.org", LONG_MS);
    close(finder);
    finder = -1;
    run();
    assert_true(asked[1].fired == 1 && asked[1].err == ERR_LOOKUP);
    assert_int_equal(lost, 1);
    /* One that takes its place is told nothing of before. */
    connect_line();
    find(2, "c@example.org", LONG_MS);
    say(heard("c@example.org"), &(struct said){PROXY_FINDER_DONE, .seconds = 1});
    run();
    assert_true(asked[2].fired == 1 && asked[2].err == ERR_OK);
}

static void test_silence(void **state)
{
    (void)state;
    connect_line();
    find(0, "a@example.org", 1);
    const uint32_t number = heard("a@example.org");
    while (asked[0].fired == 0)
        (void)event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(asked[0].err, ERR_LOOKUP);
    /* Too late: read, and for nobody. */
    say(number, &(struct said){PROXY_FINDER_DONE, .pieces = 1, .is_file = 1, .has_file = true});
    find(1, "b@example.org", LONG_MS);
    proxy_finder_cancel(&asked[1].request);
    assert_null(asked[1].request);
    say(heard("b@example.org"), &(struct said){PROXY_FINDER_DONE, .seconds = 1});
    run();
    assert_true(asked[0].fired == 1 && asked[1].fired == 0);
    assert_int_equal(lost, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers_in_any_order, begin, end),
        cmocka_unit_test_setup_teardown(test_malformed_answers_end_the_line, begin, end),
        cmocka_unit_test_setup_teardown(test_nobody_there, begin, end),
        cmocka_unit_test_setup_teardown(test_silence, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

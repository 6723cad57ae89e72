#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE_MOST 1000

struct capture {
    int pipe[2];
    int real_stderr;
    char text[4 * LINE_MOST];
};

static int set_up(void **state)
{
    struct capture *capture = calloc(1, sizeof *capture);
    if (!capture)
        return -1;
    *state = capture;
    unsetenv("JOURNAL_STREAM");
    log_init("net", LOG_LEVEL_INFO);
    capture->real_stderr = dup(STDERR_FILENO);
    return pipe2(capture->pipe, O_CLOEXEC | O_NONBLOCK) == 0 && dup2(capture->pipe[1], STDERR_FILENO) >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    struct capture *capture = *state;
    (void)dup2(capture->real_stderr, STDERR_FILENO);
    close(capture->real_stderr);
    close(capture->pipe[0]);
    close(capture->pipe[1]);
    free(capture);
    return 0;
}

/* What was logged since the last time. */
static const char *logged(struct capture *capture)
{
    ssize_t len = read(capture->pipe[0], capture->text, sizeof capture->text - 1);
    capture->text[len < 0 ? 0 : len] = '\0';
    return capture->text;
}

static void test_lines(void **state)
{
    struct capture *capture = *state;
    log_info("listening on %s:%d", "localhost", 25);
    assert_string_equal(logged(capture), "net: listening on localhost:25\n");
    log_warning("odd");
    assert_string_equal(logged(capture), "net: warning: odd\n");
    log_error("bad");
    assert_string_equal(logged(capture), "net: error: bad\n");
    log_debug("detail");
    assert_string_equal(logged(capture), "");
    log_init("vault", LOG_LEVEL_DEBUG);
    log_debug("detail");
    assert_string_equal(logged(capture), "vault: debug: detail\n");
    log_init("net", LOG_LEVEL_ERROR);
    log_warning("odd");
    log_info("%s", "");
    assert_string_equal(logged(capture), "");
}

static void test_failures(void **state)
{
    struct capture *capture = *state;
    assert_int_equal(log_failure(ERR_NO_KEY, "sealing for %s", "bob"), ERR_NO_KEY);
    assert_string_equal(logged(capture),
                        "net: warning: sealing for bob: Encryption is required and no usable key was found\n");
}

static void test_control_bytes_are_made_harmless(void **state)
{
    struct capture *capture = *state;
    log_info("%s", "a\r\nnet: forged\033[2J\t\x7f\x01z");
    assert_string_equal(logged(capture), "net: a\\x0d\\x0anet: forged\\x1b[2J\\x09\\x7f\\x01z\n");
    /* Well-formed UTF-8 stays readable; the controls beyond ASCII, and what is no UTF-8, do not. */
    log_info("%s", "J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x94\x91");
    assert_string_equal(logged(capture), "net: J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x94\x91\n");
    log_info("%s", "\xc2\x9b"
                   "1m|\x9b|\xff|\xc3|\xe2\x82|\xc0\xaf|\xe0\x80\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xf8");
    assert_string_equal(logged(capture), "net: \\xc2\\x9b1m|\\x9b|\\xff|\\xc3|\\xe2\\x82|\\xc0\\xaf|\\xe0\\x80\\xaf|"
                                         "\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80|\\xf8\n");
}

static void test_long_lines_are_cut(void **state)
{
    struct capture *capture = *state;
    char text[2 * LINE_MOST];
    for (size_t len = LINE_MOST - 20; len < sizeof text; len += len < LINE_MOST + 10 ? 1 : 100) {
        memset(text, 'x', len);
        text[len] = '\0';
        log_info("%s", text);
        const char *line = logged(capture);
        size_t line_len = strlen(line);
        assert_true(line_len <= LINE_MOST);
        assert_ptr_equal(strchr(line, '\n'), line + line_len - 1);
        bool is_whole = line_len == len + sizeof "net: \n" - 1;
        assert_true(is_whole || strcmp(line + line_len - 4, "...\n") == 0);
    }
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)log_failure(ERR_IO, "%s", text);
    assert_true(strlen(logged(capture)) <= LINE_MOST);
}

static void test_priorities_for_the_journal(void **state)
{
    struct capture *capture = *state;
    struct stat status;
    char stream[64];
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
    log_init("net", LOG_LEVEL_DEBUG);
    log_error("a");
    log_warning("b");
    log_info("c");
    log_debug("d");
    assert_string_equal(logged(capture), "<3>net: a\n<4>net: b\n<6>net: c\n<7>net: d\n");
    /* Some other stream: stderr was redirected. */
    assert_int_equal(setenv("JOURNAL_STREAM", "1:2", 1), 0);
    log_init("net", LOG_LEVEL_DEBUG);
    log_error("a");
    assert_string_equal(logged(capture), "net: error: a\n");
    assert_int_equal(setenv("JOURNAL_STREAM", "nonsense", 1), 0);
    log_init("net", LOG_LEVEL_DEBUG);
    log_error("a");
    assert_string_equal(logged(capture), "net: error: a\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines),
        TEST(test_failures),
        TEST(test_control_bytes_are_made_harmless),
        TEST(test_long_lines_are_cut),
        TEST(test_priorities_for_the_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

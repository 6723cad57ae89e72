/* The finder's clients: one that does not read holds nobody up. */
#include "proxy/finder.h"

#include "base/ipc.h"
#include "proxy/wire.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 900      /* answers: more than a socket holds, and not more than are kept for one client */
#define TOO_MANY 5000 /* more than both */

static pid_t finder;
static int control;

/* Without a directory: what is asked for is answered at once, with nothing. */
static int start(void **state)
{
    static struct config config = {.log_level = LOG_LEVEL_ERROR};
    int ends[2];
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    finder = fork();
    assert_true(finder >= 0);
    if (finder == 0) {
        close(ends[0]);
        _exit(proxy_finder_main(&config, ends[1]));
    }
    close(ends[1]);
    control = ends[0];
    return 0;
}

static int stop(void **state)
{
    int status;
    (void)state;
    close(control);
    return waitpid(finder, &status, 0) == finder && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int line(void)
{
    int ends[2];
    struct ipc_out out;
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    ipc_out_begin(&out, PROXY_FINDER_CLIENT);
    ipc_put_file(&out, ends[1]);
    assert_int_equal(ipc_send(control, &out), ERR_OK);
    close(ends[1]);
    return ends[0];
}

static enum err ask(int fd, uint32_t number)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_FIND);
    ipc_put_u32(&out, number);
    ipc_put_string(&out, "erin@example.net");
    ipc_put_u32(&out, 0); /* the first stage */
    ipc_put_string(&out, "");
    ipc_put_u32(&out, 0);
    return ipc_send(fd, &out);
}

/* The number of the next answer; TOO_MANY: there is none. */
static uint32_t answered(int fd)
{
    struct ipc_in in;
    if (ipc_recv(fd, &in) != ERR_OK)
        return TOO_MANY;
    const uint32_t number = ipc_get_u32(&in);
    assert_int_equal(ipc_type(&in), PROXY_FINDER_DONE);
    assert_int_equal(ipc_get_u32(&in), ERR_OK);
    ipc_in_fini(&in);
    return number;
}

static void one_that_reads_late_gets_all_in_order(void **state)
{
    (void)state;
    const int lazy = line(), other = line();
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(ask(lazy, i), ERR_OK);
    assert_int_equal(ask(other, 7), ERR_OK);
    assert_int_equal(answered(other), 7);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(answered(lazy), i);
    close(lazy);
    close(other);
}

static void one_that_never_reads_is_ended(void **state)
{
    (void)state;
    const int lazy = line(), other = line();
    uint32_t sent = 0, read = 0;
    while (sent < TOO_MANY && ask(lazy, sent) == ERR_OK)
        sent++;
    assert_int_equal(ask(other, 7), ERR_OK);
    assert_int_equal(answered(other), 7);
    while (answered(lazy) == read)
        read++;
    assert_true(read < TOO_MANY);
    close(lazy);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_reads_late_gets_all_in_order),
        cmocka_unit_test(one_that_never_reads_is_ended),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

#include "base/spawn.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 20000

static struct spawn_options shell(const char *const *arguments)
{
    return (struct spawn_options){.file = "/bin/sh", .arguments = arguments, .inherit_fd = -1, .is_quiet = true};
}

/* Runs the script with the write end of a pipe as descriptor 3, and gives what it wrote there. */
static enum err output_of(const char *script, char *text, size_t text_size, const char *user)
{
    const char *const arguments[] = {"sh", "-c", script, NULL};
    struct spawn_options options = shell(arguments);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    options.inherit_fd = ends[1];
    options.user = user;
    enum err err = spawn_run(&options, TIMEOUT_MS);
    close(ends[1]);
    ssize_t len = read(ends[0], text, text_size - 1);
    close(ends[0]);
    text[len > 0 ? len : 0] = '\0';
    return err;
}

static enum err run(const char *script, uint32_t timeout_ms)
{
    const char *const arguments[] = {"sh", "-c", script, NULL};
    struct spawn_options options = shell(arguments);
    return spawn_run(&options, timeout_ms);
}

static void test_ends(void **state)
{
    (void)state;
    assert_int_equal(run("exit 0", TIMEOUT_MS), ERR_OK);
    assert_int_equal(run("exit 1", TIMEOUT_MS), ERR_ENGINE);
    assert_int_equal(run("kill -9 $$", TIMEOUT_MS), ERR_ENGINE);
}

static void test_time_runs_out(void **state)
{
    (void)state;
    uint64_t before = clock_monotonic_ms();
    assert_int_equal(run("exec sleep 60", 100), ERR_TIMEOUT);
    uint64_t took = clock_monotonic_ms() - before;
    assert_true(took >= 100 && took < 10000);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void test_what_cannot_be_started(void **state)
{
    (void)state;
    const char *const arguments[] = {"none", NULL};
    struct spawn_options options = {.file = "/no/such/program", .arguments = arguments, .inherit_fd = -1};
    pid_t pid = 1;
    assert_int_equal(spawn_start(&options, &pid), ERR_ENGINE);
    assert_int_equal(pid, -1);
    options.file = "/etc/passwd";
    assert_int_equal(spawn_start(&options, &pid), ERR_ENGINE);
    options.file = "/bin/sh";
    options.inherit_fd = 12345;
    assert_int_equal(spawn_start(&options, &pid), ERR_ENGINE);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_nothing_but_the_one_descriptor_is_inherited(void **state)
{
    (void)state;
    char text[256];
    int leaks[3];
    for (size_t i = 0; i < 3; i++)
        leaks[i] = open("/dev/null", O_RDONLY); /* without close-on-exec */
    int far = fcntl(leaks[0], F_DUPFD, 500);
    assert_true(far >= 500);
    /* Only at the end does the shell redirect anything, since it keeps descriptors of its own while it does. */
    assert_int_equal(output_of("for fd in /proc/$$/fd/*; do [ -e $fd ] && l=\"$l${fd##*/} \"; done; echo $l >&3", text,
                               sizeof text, NULL),
                     ERR_OK);
    assert_string_equal(text, "0 1 2 3\n");
    close(far);
    for (size_t i = 0; i < 3; i++)
        close(leaks[i]);
}

static void test_descriptor_3_can_be_inherited_as_such(void **state)
{
    (void)state;
    int ends[2];
    char byte = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int saved = fcntl(3, F_DUPFD_CLOEXEC, 100);
    int writer = ends[1];
    if (writer != 3)
        assert_int_equal(dup3(writer, 3, O_CLOEXEC), 3);
    const char *const arguments[] = {"sh", "-c", "printf x >&3", NULL};
    struct spawn_options options = shell(arguments);
    options.inherit_fd = 3;
    int reader = ends[0] == 3 ? saved : ends[0];
    assert_int_equal(spawn_run(&options, TIMEOUT_MS), ERR_OK);
    assert_int_equal(read(reader, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(3);
    if (writer != 3)
        close(writer);
    if (saved >= 0)
        close(saved);
    if (ends[0] != 3)
        close(ends[0]);
}

static void test_quiet_means_dev_null(void **state)
{
    (void)state;
    char text[256];
    assert_int_equal(output_of("l=$(cd /proc/$$/fd && readlink 0 1 2); echo $l >&3", text, sizeof text, NULL), ERR_OK);
    assert_string_equal(text, "/dev/null /dev/null /dev/null\n");
}

static void test_signals_are_as_new(void **state)
{
    (void)state;
    char text[256];
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
    void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
    /* grep's own mask, since the shell changes its own. */
    assert_int_equal(output_of("exec grep -E 'Sig(Blk|Ign)' /proc/self/status >&3", text, sizeof text, NULL), ERR_OK);
    unsigned long long is_blocked, is_ignored;
    assert_int_equal(sscanf(text, "SigBlk:\t%llx\nSigIgn:\t%llx\n", &is_blocked, &is_ignored), 2);
    assert_int_equal(is_blocked, 0);
    /* Signals 32 and 33 are glibc's own: its posix_spawn, by which this test may have been started, ignores the first.
     */
    assert_int_equal(is_ignored & ~(3ull << 31), 0);
    (void)signal(SIGPIPE, handler);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

/* A middle process starts a program that sleeps, tells us its number, and is killed; the program must end too. */
static void test_dies_with_parent(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t middle = fork();
    assert_true(middle >= 0);
    if (middle == 0) {
        const char *const arguments[] = {"sleep", "60", NULL};
        /* The sleeper holds the write end; the reader sees the end of the file when it dies. */
        struct spawn_options options = {.file = "/bin/sleep",
                                        .arguments = arguments,
                                        .inherit_fd = ends[1],
                                        .is_quiet = true,
                                        .dies_with_parent = true};
        pid_t pid;
        if (spawn_start(&options, &pid) != ERR_OK)
            _exit(1);
        ssize_t written = write(ends[1], "x", 1);
        (void)written;
        pause();
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    uint64_t before = clock_monotonic_ms();
    assert_int_equal(kill(middle, SIGKILL), 0);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    assert_true(clock_monotonic_ms() - before < 10000);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(middle, &status, 0), middle);
    assert_true(WIFSIGNALED(status));
}

static void test_user(void **state)
{
    (void)state;
    char text[256];
    if (geteuid() != 0)
        skip();
    assert_int_equal(output_of("id -nu >&3", text, sizeof text, "nobody"), ERR_OK);
    assert_string_equal(text, "nobody\n");
    assert_int_equal(output_of("id -G >&3", text, sizeof text, "nobody"), ERR_OK);
    assert_string_equal(text, "65534\n");
    assert_int_equal(output_of("true", text, sizeof text, "no-such-user-here"), ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_time_runs_out),
        cmocka_unit_test(test_what_cannot_be_started),
        cmocka_unit_test(test_nothing_but_the_one_descriptor_is_inherited),
        cmocka_unit_test(test_descriptor_3_can_be_inherited_as_such),
        cmocka_unit_test(test_quiet_means_dev_null),
        cmocka_unit_test(test_signals_are_as_new),
        cmocka_unit_test(test_dies_with_parent),
        cmocka_unit_test(test_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

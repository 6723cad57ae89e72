/*
 * Plain gpg, run on a test's GnuPG home as a second opinion: bytes in, bytes out, exit status.
 */
#ifndef TESTS_UNIT_PLAIN_GPG_H
#define TESTS_UNIT_PLAIN_GPG_H

#include "base/buf.h"
#include "tests/unit/gpg_home.h"

#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

extern char **environ;

static inline int plain_gpg_spawn(const char *const *arguments, int in, int out)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    assert_int_equal(posix_spawnp(&pid, arguments[0], &actions, NULL, (char *const *)(void *)arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs gpg with these arguments (NULL-terminated), `input` on its standard input; adds what it prints to `out` (or
   NULL). Gives its exit status. */
static inline int plain_gpg(const struct gpg_home *home, const char *const *further, struct span input, struct buf *out)
{
    const char *arguments[32] = {"gpg",     "--homedir", home->path, "--no-autostart",
                                 "--batch", "--yes",     "--quiet",  "--no-tty"};
    int in_fd = memfd_create("in", MFD_CLOEXEC), out_fd = memfd_create("out", MFD_CLOEXEC), status;
    size_t len = 8;
    char piece[4096];
    ssize_t count;

    for (; *further != NULL && len < 31; further++)
        arguments[len++] = *further;
    assert_true(in_fd >= 0 && out_fd >= 0);
    assert_int_equal(write(in_fd, input.ptr != NULL ? input.ptr : "", input.len), (ssize_t)input.len);
    lseek(in_fd, 0, SEEK_SET);
    status = plain_gpg_spawn(arguments, in_fd, out_fd);
    lseek(out_fd, 0, SEEK_SET);
    while (out != NULL && (count = read(out_fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
    close(in_fd);
    close(out_fd);
    return status;
}

#endif

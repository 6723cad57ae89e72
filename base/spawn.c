#include "base/spawn.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define INHERITED_FD 3
#define GROUPS_MAX 256

/* Who the child will be; found before the fork, since looking names up is not safe between fork and exec. */
struct identity {
    bool is_set;
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX];
    int groups_len;
};

static enum err find_identity(const char *user, struct identity *identity_out)
{
    *identity_out = (struct identity){.is_set = false};
    if (!user || geteuid() != 0)
        return ERR_OK;
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry)
        return log_failure(ERR_CONFIG, "user %s: %s", user, errno ? strerror(errno) : "no such user");
    identity_out->is_set = true;
    identity_out->uid = entry->pw_uid;
    identity_out->gid = entry->pw_gid;
    identity_out->groups_len = GROUPS_MAX;
    if (getgrouplist(user, entry->pw_gid, identity_out->groups, &identity_out->groups_len) < 0)
        return log_failure(ERR_CONFIG, "user %s is in more than %d groups", user, GROUPS_MAX);
    return ERR_OK;
}

static bool become(const struct identity *identity)
{
    return !identity->is_set || (setgroups((size_t)identity->groups_len, identity->groups) == 0 &&
                                 setresgid(identity->gid, identity->gid, identity->gid) == 0 &&
                                 setresuid(identity->uid, identity->uid, identity->uid) == 0);
}

static bool silence(void)
{
    int null = open("/dev/null", O_RDWR);
    if (null < 0)
        return false;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (dup2(null, fd) < 0)
            return false;
    }
    if (null > STDERR_FILENO)
        close(null);
    return true;
}

/* Leaves open: 0 to 2, the inherited file as 3, and `*status_fd`, moved above it, until the exec. */
static bool arrange_files(const struct spawn_options *options, int *status_fd)
{
    *status_fd = fcntl(*status_fd, F_DUPFD_CLOEXEC, INHERITED_FD + 1);
    if (*status_fd < 0)
        return false;
    unsigned first = INHERITED_FD;
    if (options->inherit_fd >= 0) {
        /* dup2 onto itself would leave close-on-exec set. */
        bool is_there = options->inherit_fd == INHERITED_FD ? fcntl(INHERITED_FD, F_SETFD, 0) == 0
                                                            : dup2(options->inherit_fd, INHERITED_FD) >= 0;
        if (!is_there)
            return false;
        first++;
    }
    unsigned status = (unsigned)*status_fd;
    return (!options->is_quiet || silence()) && (first >= status || close_range(first, status - 1, 0) == 0) &&
           close_range(status + 1, UINT_MAX, 0) == 0;
}

/* An ignored signal stays ignored over an exec, and so does a blocked one. */
static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Becomes the program, or tells the parent through `status_fd` why not. Only calls that are safe after a fork. */
static _Noreturn void run_child(const struct spawn_options *options, const struct identity *identity, pid_t parent,
                                int status_fd)
{
    bool is_ready = arrange_files(options, &status_fd) && become(identity);
    /* After the change of user, which clears the setting. The parent may have gone before it took hold. */
    if (is_ready && options->dies_with_parent) {
        is_ready = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
        if (getppid() != parent)
            _exit(127);
    }
    reset_signals();
    if (is_ready)
        (void)execv(options->file, (char *const *)(uintptr_t)options->arguments);
    int reason = errno;
    ssize_t written = write(status_fd, &reason, sizeof reason);
    (void)written;
    _exit(127);
}

/* Waits until the child has called exec (end of file) or reports why it could not. */
static enum err await_exec(const struct spawn_options *options, int status_fd, pid_t pid)
{
    int reason;
    ssize_t len;
    do {
        len = read(status_fd, &reason, sizeof reason);
    } while (len < 0 && errno == EINTR);
    if (len == 0)
        return ERR_OK;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return log_failure(ERR_ENGINE, "starting %s: %s", options->file,
                       len == (ssize_t)sizeof reason ? strerror(reason) : "no answer");
}

enum err spawn_start(const struct spawn_options *options, pid_t *pid_out)
{
    struct identity identity;
    int status[2];
    *pid_out = -1;
    enum err err = find_identity(options->user, &identity);
    if (err != ERR_OK)
        return err;
    if (pipe2(status, O_CLOEXEC) != 0)
        return log_failure(ERR_IO, "starting %s: %s", options->file, strerror(errno));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        run_child(options, &identity, parent, status[1]);
    int fork_errno = errno;
    close(status[1]);
    if (pid < 0)
        err = log_failure(fork_errno == ENOMEM ? ERR_MEMORY : ERR_BUSY, "starting %s: %s", options->file,
                          strerror(fork_errno));
    else
        err = await_exec(options, status[0], pid);
    close(status[0]);
    if (err == ERR_OK)
        *pid_out = pid;
    return err;
}

/* True if the process ended within the time. It stays to be waited for. */
static bool await_end(pid_t pid, uint32_t timeout_ms)
{
    struct pollfd end = {.fd = pidfd_open(pid, 0), .events = POLLIN};
    if (end.fd < 0)
        return false;
    const uint64_t deadline = clock_monotonic_ms() + timeout_ms;
    int ready;
    do {
        uint64_t now = clock_monotonic_ms();
        uint64_t left = now < deadline ? deadline - now : 0;
        ready = poll(&end, 1, left > INT_MAX ? INT_MAX : (int)left);
    } while (ready < 0 && errno == EINTR);
    close(end.fd);
    return ready > 0;
}

enum err spawn_run(const struct spawn_options *options, uint32_t timeout_ms)
{
    pid_t pid;
    enum err err = spawn_start(options, &pid);
    if (err != ERR_OK)
        return err;
    bool is_over = await_end(pid, timeout_ms);
    if (!is_over)
        (void)kill(pid, SIGKILL);
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!is_over)
        return log_failure(ERR_TIMEOUT, "running %s", options->file);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return log_failure(ERR_ENGINE, "running %s: it ended with status 0x%04x", options->file, (unsigned)status);
    return ERR_OK;
}

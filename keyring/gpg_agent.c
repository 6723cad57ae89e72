/*
 * gpg-agent for one home. In its usual mode it forks away from whoever starts it; in supervised mode it stays a child
 * and listens on a socket that is handed to it, so it can be asked from the first moment and ends with its parent.
 */
#include "keyring/gpg_internal.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/memfd.h"
#include "base/spawn.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GPGCONF_PATH "/usr/bin/gpgconf"
#define AGENT_PATH "/usr/bin/gpg-agent"
#define ENV_PATH "/usr/bin/env"
#define GPGCONF_TIMEOUT_MS 10000
#define ANSWER_TIMEOUT_MS 10000

/* Where the agent's socket is: in the home, or below /run/user where there is that. Only gpgconf knows its rules, and
   it writes to the file that it inherits. */
static enum err find_socket(const char *home, const char *user, struct sockaddr_un *address)
{
    const char *const arguments[] = {"gpgconf",   "--homedir",   home,           "--output",
                                     "/dev/fd/3", "--list-dirs", "agent-socket", NULL};
    char text[sizeof address->sun_path + 2];
    int fd;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    enum err err = memfd_new("agent-socket", &fd);
    if (err != ERR_OK)
        return err;
    /* As another user gpgconf must be able to open it again. */
    if (user != NULL && geteuid() == 0)
        (void)fchmod(fd, 0666);
    const struct spawn_options options = {
        .file = GPGCONF_PATH, .arguments = arguments, .inherit_fd = fd, .is_quiet = true, .user = user};
    err = spawn_run(&options, GPGCONF_TIMEOUT_MS);
    ssize_t len = err == ERR_OK ? pread(fd, text, sizeof text, 0) : 0;
    close(fd);
    if (err != ERR_OK)
        return err;
    struct span path = span_trim((struct span){text, len < 0 ? 0 : (size_t)len});
    if (path.len == 0)
        return log_failure(ERR_ENGINE, "asking gpgconf for the agent's socket");
    if (!span_copy(path, address->sun_path, sizeof address->sun_path)) {
        log_error(
            "the path of gpg-agent's socket for %s is longer than %zu bytes: use a GnuPG home with a shorter path",
            home, sizeof address->sun_path - 1);
        return ERR_CONFIG;
    }
    return ERR_OK;
}

/* The Assuan greeting begins with "OK". */
static bool reads_ok(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char greeting[3] = "";
    return poll(&wait, 1, ANSWER_TIMEOUT_MS) == 1 && recv(fd, greeting, 2, 0) == 2 && strcmp(greeting, "OK") == 0;
}

/* -1 if nobody is there. The rest of the greeting is still to be read. */
static int connect_to(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 && reads_ok(fd))
        return fd;
    close(fd);
    return -1;
}

static bool answers(const struct sockaddr_un *address)
{
    int fd = connect_to(address);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static enum err listen_at(const struct sockaddr_un *address, const char *user, int *fd_out)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return log_failure(ERR_IO, "socket: %s", strerror(errno));
    /* Nobody answers there: a socket that was left behind. */
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        log_warning("removing %s, at which nobody answers: %s", address->sun_path, strerror(errno));
    mode_t mask = umask(0177);
    bool is_bound = bind(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    umask(mask);
    const struct passwd *owner = is_bound && user != NULL && geteuid() == 0 ? getpwnam(user) : NULL;
    if (owner != NULL)
        is_bound = lchown(address->sun_path, owner->pw_uid, owner->pw_gid) == 0;
    if (!is_bound || listen(fd, 64) != 0) {
        int reason = errno;
        close(fd);
        return log_failure(ERR_IO, "listening at %s: %s", address->sun_path, strerror(reason));
    }
    *fd_out = fd;
    return ERR_OK;
}

static enum err start_agent(const char *home, const char *user, int listen_fd, pid_t *pid_out)
{
    /* In supervised mode the agent leaves SIGPIPE as it was, so a client that goes early (a worker that was killed)
       would end it; spawn_start leaves no signal ignored. env execs it in the same process. */
    const char *const arguments[] = {"env", "--ignore-signal=PIPE", AGENT_PATH, "--homedir",
                                     home,  "--supervised",         NULL};
    const struct spawn_options options = {.file = ENV_PATH,
                                          .arguments = arguments,
                                          .inherit_fd = listen_fd,
                                          .is_quiet = true,
                                          .dies_with_parent = true,
                                          .user = user};
    /* The protocol of sd_listen_fds(3); without names a single socket is the main one. The agent's own children do not
       see these, and nor must ours. */
    if (setenv("LISTEN_FDS", "1", 1) != 0)
        return ERR_MEMORY;
    (void)unsetenv("LISTEN_FDNAMES");
    (void)unsetenv("LISTEN_PID");
    enum err err = spawn_start(&options, pid_out);
    (void)unsetenv("LISTEN_FDS");
    return err;
}

enum err keyring_gpg_agent_start(const char *home, const char *user, pid_t *pid_out)
{
    struct sockaddr_un address;
    int fd = -1;
    *pid_out = 0;
    enum err err = find_socket(home, user, &address);
    if (err != ERR_OK || answers(&address))
        return err;
    err = listen_at(&address, user, &fd);
    if (err != ERR_OK)
        return err;
    err = start_agent(home, user, fd, pid_out);
    close(fd);
    if (err == ERR_OK && !answers(&address))
        err = log_failure(ERR_ENGINE, "gpg-agent for %s does not answer", home);
    return err;
}

/* Asking gpgconf costs as much as a decryption: once is enough, as long as the agent is where it was. */
static int find_agent(struct keyring_gpg *gpg, enum err *err_out)
{
    int fd = gpg->agent.sun_path[0] != '\0' ? connect_to(&gpg->agent) : -1;
    *err_out = fd >= 0 ? ERR_OK : find_socket(gpg->home, NULL, &gpg->agent);
    return fd < 0 && *err_out == ERR_OK ? connect_to(&gpg->agent) : fd;
}

bool keyring_gpg_has_agent(struct keyring_gpg *gpg)
{
    enum err err;
    int fd = find_agent(gpg, &err);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || err != ERR_OK;
}

enum err gpg_agent_connect_at(const char *home, const char *user, int *fd_out)
{
    struct sockaddr_un address;
    enum err err = find_socket(home, user, &address);
    if (err != ERR_OK)
        return err;
    *fd_out = connect_to(&address);
    return *fd_out >= 0 ? ERR_OK : log_failure(ERR_KEY_LOCKED, "no gpg-agent answers for %s", home);
}

enum err gpg_agent_connect(struct keyring_gpg *gpg, int *fd_out)
{
    enum err err;
    *fd_out = find_agent(gpg, &err);
    if (*fd_out >= 0 || err != ERR_OK)
        return err;
    return log_failure(ERR_KEY_LOCKED, "no gpg-agent answers for %s", gpg->home);
}

#include "base/sandbox.h"

#include "base/log.h"
#include "base/sandbox_parts.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The leak check at exit stops the process with ptrace, which the filter forbids; it asks this function of ours first.
 */
#if SANDBOX_IS_SANITIZED
static int is_confined;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return is_confined;
}
#endif

void sandbox_no_dumps(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static enum err switch_user(const char *user)
{
    if (!user || !*user || geteuid() != 0)
        return ERR_OK;
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry)
        return log_failure(ERR_CONFIG, "user %s: %s", user, errno ? strerror(errno) : "no such user");
    const uid_t uid = entry->pw_uid;
    const gid_t gid = entry->pw_gid;
    if (initgroups(user, gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return log_failure(ERR_WORKER, "becoming user %s: %s", user, strerror(errno));
    if (uid != 0 && setresuid(0, 0, 0) == 0)
        return log_failure(ERR_WORKER, "user %s can become root again", user);
    return ERR_OK;
}

/* No capability stays, nor comes back with an exec, also for a process that stays root. */
static enum err drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return log_failure(ERR_WORKER, "no_new_privs: %s", strerror(errno));
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    /* EPERM: there was no CAP_SETPCAP, so the process had nothing worth bounding; EINVAL: past the last capability. */
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            break;
    }
    if (syscall(SYS_capset, &header, none) != 0)
        return log_failure(ERR_WORKER, "dropping capabilities: %s", strerror(errno));
    return ERR_OK;
}

static enum err set_limit(__rlimit_resource_t resource, const char *name, uint64_t most)
{
    struct rlimit limit;
    if (most == 0)
        return ERR_OK;
    if (getrlimit(resource, &limit) != 0)
        return log_failure(ERR_WORKER, "%s: %s", name, strerror(errno));
    /* A lower limit that somebody set before us stays. */
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(resource, &limit) != 0)
        return log_failure(ERR_WORKER, "%s: %s", name, strerror(errno));
    return ERR_OK;
}

static enum err set_limits(const struct sandbox_options *options)
{
    /* A write beyond the limit shall fail with EFBIG, not end the process. */
    (void)signal(SIGXFSZ, SIG_IGN);
    enum err err = set_limit(RLIMIT_FSIZE, "file size limit", options->file_size_max);
    if (err == ERR_OK)
        err = set_limit(RLIMIT_NOFILE, "descriptor limit", options->files_max);
    if (err == ERR_OK)
        err = set_limit(RLIMIT_CPU, "processor time limit", options->cpu_seconds_max);
    /* AddressSanitizer reserves terabytes of address space. */
    if (err == ERR_OK && !SANDBOX_IS_SANITIZED)
        err = set_limit(RLIMIT_AS, "memory limit", options->memory_max);
    return err;
}

enum err sandbox_enter(const struct sandbox_options *options)
{
    if ((size_t)options->role >= SANDBOX_COUNT)
        return log_failure(ERR_INTERNAL, "sandbox: no role %d", (int)options->role);
    /* In this order: mounting and the change of user need what the next step takes away, Landlock and seccomp need
       no_new_privs, and the filter comes last since it forbids all of these. */
    enum err err = sandbox_hide_dirs(options);
    if (err == ERR_OK)
        err = switch_user(options->user);
    if (err == ERR_OK)
        err = drop_capabilities();
    sandbox_no_dumps(); /* a change of identity sets it anew */
    if (err == ERR_OK)
        err = set_limits(options);
    if (err == ERR_OK)
        err = sandbox_confine_files(options);
    if (err == ERR_OK)
        err = sandbox_confine_calls(options->role);
#if SANDBOX_IS_SANITIZED
    is_confined = err == ERR_OK;
#endif
    return err;
}

#include "base/log.h"
#include "base/sandbox_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What <linux/landlock.h> of Linux 6.1 does not know yet; the kernel's interface is stable. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP (1ULL << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL (1ULL << 1)
#endif

/* The newest form of struct landlock_ruleset_attr; an older kernel takes it as long as what it does not know is zero.
 */
struct ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scopes;
};

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                                                          \
    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_REMOVE_DIR |              \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                      \
     LANDLOCK_ACCESS_FS_REFER)
#define RUN (READ | LANDLOCK_ACCESS_FS_EXECUTE)
/* The rights that a rule for something else than a directory may name. */
#define FILE_ONLY                                                                                                      \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE |                      \
     LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_IOCTL_DEV)

struct system_path {
    const char *path;
    uint64_t access;
};

/* What gpg and the libraries that are loaded late need. /proc is for the list of one's own descriptors; what belongs to
   other processes is closed by Landlock itself. */
static const struct system_path keeper_paths[] = {
    {"/usr", RUN},          {"/bin", RUN},
    {"/lib", RUN},          {"/lib32", RUN},
    {"/lib64", RUN},        {"/etc", READ},
    {"/proc", READ},        {"/dev/null", READ | LANDLOCK_ACCESS_FS_WRITE_FILE},
    {"/dev/zero", READ},    {"/dev/random", READ},
    {"/dev/urandom", READ}, {NULL, 0},
};

/* SQLite seeds its file names from here. */
static const struct system_path vault_paths[] = {{"/dev/urandom", READ}, {NULL, 0}};
static const struct system_path net_paths[] = {{NULL, 0}};

int sandbox_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

/* All that this kernel can forbid. What it cannot is left to seccomp and to ordinary permissions. */
static struct ruleset ruleset_of(int abi, enum sandbox_role role)
{
    struct ruleset rules = {.files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    if (abi >= 2)
        rules.files |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rules.files |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (abi >= 4 && (role == SANDBOX_VAULT || role == SANDBOX_KEEPER))
        rules.network = LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP;
    if (abi >= 5)
        rules.files |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    if (abi >= 6)
        rules.scopes = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
    return rules;
}

/* The size that a kernel of this ABI knows; a longer one would be refused. */
static size_t ruleset_size(int abi)
{
    if (abi < 4)
        return offsetof(struct ruleset, network);
    return abi < 6 ? offsetof(struct ruleset, scopes) : sizeof(struct ruleset);
}

/* Allows `access` below `path`. A path that is not there takes nothing away from the confinement. */
static enum err allow(int ruleset, const struct ruleset *rules, const char *path, uint64_t access, bool may_lack)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && may_lack && (errno == ENOENT || errno == EACCES || errno == ENOTDIR))
        return ERR_OK;
    if (fd < 0)
        return log_failure(ERR_WORKER, "sandbox: %s: %s", path, strerror(errno));
    enum err err = ERR_OK;
    struct stat status;
    if (fstat(fd, &status) == 0) {
        struct landlock_path_beneath_attr beneath = {.allowed_access = access & rules->files, .parent_fd = fd};
        if (!S_ISDIR(status.st_mode))
            beneath.allowed_access &= FILE_ONLY;
        if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0)
            err = log_failure(ERR_WORKER, "sandbox: rule for %s: %s", path, strerror(errno));
    } else {
        err = log_failure(ERR_WORKER, "sandbox: %s: %s", path, strerror(errno));
    }
    close(fd);
    return err;
}

static enum err add_rules(int ruleset, const struct ruleset *rules, const struct sandbox_options *options)
{
    static const struct system_path *const system_paths[SANDBOX_COUNT] = {[SANDBOX_NET] = net_paths,
                                                                          [SANDBOX_VAULT] = vault_paths,
                                                                          [SANDBOX_KEEPER] = keeper_paths,
                                                                          [SANDBOX_FINDER] = net_paths,
                                                                          [SANDBOX_FINDER_LOCAL] = net_paths};
    const uint64_t read = options->role == SANDBOX_KEEPER ? RUN : READ;
    enum err err = ERR_OK;
    for (const struct system_path *entry = system_paths[options->role]; entry->path && err == ERR_OK; entry++)
        err = allow(ruleset, rules, entry->path, entry->access, true);
    for (size_t i = 0; i < SANDBOX_DIRS_MAX && options->readable_dirs[i] && err == ERR_OK; i++)
        err = allow(ruleset, rules, options->readable_dirs[i], read, true);
    for (size_t i = 0; i < SANDBOX_DIRS_MAX && options->writable_dirs[i] && err == ERR_OK; i++)
        err = allow(ruleset, rules, options->writable_dirs[i], WRITE, false);
    return err;
}

enum err sandbox_confine_files(const struct sandbox_options *options)
{
    const int abi = sandbox_landlock_abi();
    if (abi == 0) {
        log_warning("the kernel has no Landlock: files are protected by their permissions alone");
        return ERR_OK;
    }
    const struct ruleset rules = ruleset_of(abi, options->role);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, ruleset_size(abi), 0);
    if (ruleset < 0)
        return log_failure(ERR_WORKER, "sandbox: making Landlock rules: %s", strerror(errno));
    enum err err = add_rules(ruleset, &rules, options);
    if (err == ERR_OK && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        err = log_failure(ERR_WORKER, "sandbox: Landlock: %s", strerror(errno));
    close(ruleset);
    return err;
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return is_written;
}

/* A user namespace in which this user keeps the number it has outside, so that gpg and its agent see no difference. */
static bool enter_user_namespace(void)
{
    char uid_map[64], gid_map[64];
    const unsigned uid = geteuid();
    const unsigned gid = getegid();
    snprintf(uid_map, sizeof uid_map, "%u %u 1\n", uid, uid);
    snprintf(gid_map, sizeof gid_map, "%u %u 1\n", gid, gid);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    /* The files in /proc of a process that is not dumpable belong to root. sandbox_enter switches dumps off again. */
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 && write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", uid_map) && write_file("/proc/self/gid_map", gid_map);
}

enum err sandbox_hide_dirs(const struct sandbox_options *options)
{
    const size_t dirs_max = sizeof options->hidden_dirs / sizeof *options->hidden_dirs;
    if (!options->hidden_dirs[0])
        return ERR_OK;
    bool is_apart = geteuid() == 0 ? unshare(CLONE_NEWNS) == 0 : enter_user_namespace();
    if (!is_apart || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return log_failure(ERR_WORKER, "sandbox: a mount namespace: %s", strerror(errno));
    for (size_t i = 0; i < dirs_max && options->hidden_dirs[i]; i++) {
        const char *dir = options->hidden_dirs[i];
        const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        if (mount("none", dir, "tmpfs", flags, "size=4k,nr_inodes=1,mode=0555") != 0 && errno != ENOENT)
            return log_failure(ERR_WORKER, "sandbox: hiding %s: %s", dir, strerror(errno));
    }
    return ERR_OK;
}

#include "base/log.h"
#include "base/sandbox_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* One row: a call, and optionally a condition on one argument: (argument & mask) == value. Rows for the same call are
   alternatives. A call without a number on this machine is passed over. */
struct call {
    int number;
    bool is_conditional;
    unsigned argument;
    uint64_t mask;
    uint64_t value;
};

#define CALL(name)                                                                                                     \
    {                                                                                                                  \
        .number = SCMP_SYS(name)                                                                                       \
    }
#define CALL_IF(name, argument_, mask_, value_)                                                                        \
    {                                                                                                                  \
        .number = SCMP_SYS(name), .is_conditional = true, .argument = (argument_), .mask = (mask_), .value = (value_)  \
    }
#define CALL_END                                                                                                       \
    {                                                                                                                  \
        .number = __NR_SCMP_ERROR                                                                                      \
    }

/* The kernel looks at 32 bits where C says int. */
#define INT_BITS 0xffffffffULL
#define SOCKET_TYPE_BITS 0xfULL

/* clang-format off */

/* Memory, time, signals to oneself, and reading and writing what is open already: for net and vault. */
static const struct call common_calls[] = {
    CALL(read), CALL(readv), CALL(pread64), CALL(preadv), CALL(preadv2), CALL(write), CALL(writev), CALL(pwrite64),
    CALL(pwritev), CALL(pwritev2), CALL(close), CALL(close_range), CALL(lseek), CALL(ftruncate), CALL(fstat),
    CALL(dup), CALL(dup2), CALL(dup3), CALL(memfd_create), CALL(munmap), CALL(mremap),
    CALL(madvise), CALL(brk), CALL(mlock), CALL(munlock), CALL(futex), CALL(set_robust_list), CALL(rseq),
    CALL(sched_yield), CALL(sched_getaffinity), CALL(getrandom), CALL(clock_gettime), CALL(clock_getres),
    CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(time), CALL(times), CALL(getrusage), CALL(getpid),
    CALL(getppid), CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(uname), CALL(sysinfo),
    CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigpending), CALL(rt_sigtimedwait),
    CALL(sigaltstack), CALL(restart_syscall), CALL(pause), CALL(exit), CALL(exit_group), CALL(poll), CALL(ppoll),
    CALL(select), CALL(pselect6), CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait),
    CALL(epoll_pwait2), CALL(eventfd2), CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime),
    CALL(signalfd4), CALL(pipe), CALL(pipe2), CALL(accept), CALL(accept4), CALL(shutdown), CALL(getsockname),
    CALL(getpeername), CALL(getsockopt), CALL(setsockopt), CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg), CALL(sendto),
    CALL(sendmsg), CALL(sendmmsg), CALL(getrlimit),
    /* No code is made or loaded after the start. */
    CALL_IF(mmap, 2, PROT_EXEC, 0), CALL_IF(mprotect, 2, PROT_EXEC, 0),
    /* Not F_SETOWN and F_SETSIG: with them the kernel itself sends any signal to any process of this user. */
    CALL_IF(fcntl, 1, INT_BITS, F_DUPFD), CALL_IF(fcntl, 1, INT_BITS, F_DUPFD_CLOEXEC),
    CALL_IF(fcntl, 1, INT_BITS, F_GETFD), CALL_IF(fcntl, 1, INT_BITS, F_SETFD), CALL_IF(fcntl, 1, INT_BITS, F_GETFL),
    CALL_IF(fcntl, 1, INT_BITS, F_SETFL), CALL_IF(fcntl, 1, INT_BITS, F_ADD_SEALS),
    CALL_IF(fcntl, 1, INT_BITS, F_GET_SEALS), CALL_IF(fcntl, 1, INT_BITS, F_GETLK),
    CALL_IF(fcntl, 1, INT_BITS, F_SETLK), CALL_IF(fcntl, 1, INT_BITS, F_SETLKW),
    /* The C library's fstat. */
    CALL_IF(newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH),
    /* Connected pairs lead nowhere else; but one for datagrams could be turned to any socket there is. */
    CALL_IF(socketpair, 1, SOCKET_TYPE_BITS, SOCK_STREAM), CALL_IF(socketpair, 1, SOCKET_TYPE_BITS, SOCK_SEQPACKET),
    CALL_IF(prctl, 0, INT_BITS, PR_SET_NAME),
    /* Reading limits only: the new value is a null pointer. */
    CALL_IF(prlimit64, 2, UINT64_MAX, 0),
    CALL_IF(ioctl, 1, INT_BITS, FIONREAD), CALL_IF(ioctl, 1, INT_BITS, FIONBIO), CALL_IF(ioctl, 1, INT_BITS, TCGETS),
    CALL_END,
};

/* No AF_UNIX: a gpg-agent listens there. Sockets of other families, and those that listen, are opened before. */
static const struct call net_calls[] = {
    CALL_IF(socket, 0, INT_BITS, AF_INET), CALL_IF(socket, 0, INT_BITS, AF_INET6), CALL(connect),
    CALL_END,
};

/* Questions for name servers leave from ports that nobody can guess. No socket listens: that is another call. */
static const struct call finder_calls[] = {
    CALL(bind),
    CALL_END,
};

static const struct call local_calls[] = {
    CALL_IF(socket, 0, INT_BITS, AF_UNIX),
    CALL_END,
};

/* Files by name, for SQLite; which ones is for Landlock to say. */
static const struct call vault_calls[] = {
    CALL(open), CALL(openat), CALL(stat), CALL(lstat), CALL(newfstatat), CALL(statx), CALL(access), CALL(faccessat),
    CALL(faccessat2),
    CALL(readlink), CALL(readlinkat), CALL(getcwd), CALL(getdents64), CALL(unlink), CALL(unlinkat), CALL(rename),
    CALL(renameat), CALL(renameat2), CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(truncate), CALL(fallocate),
    CALL(fadvise64), CALL(fsync), CALL(fdatasync), CALL(sync_file_range), CALL(msync), CALL(flock), CALL(fchmod),
    CALL(fchown), CALL(umask), CALL(utimensat), CALL(statfs), CALL(fstatfs),
    CALL_END,
};

/* For the report that a sanitizer makes when it has found something. */
static const struct call sanitizer_calls[] = {
    CALL(readlink), CALL(readlinkat), CALL(tgkill), CALL(personality), CALL(mincore), CALL(getresuid), CALL(getresgid),
    CALL_END,
};

/* What gpg does not need and what has been a way out of confinement: other processes, mounts and namespaces, the kernel
   itself, and its larger and younger interfaces. */
static const struct call keeper_denials[] = {
    CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev), CALL(process_madvise), CALL(process_mrelease),
    CALL(kcmp), CALL(pidfd_getfd), CALL(mount), CALL(umount), CALL(umount2), CALL(pivot_root), CALL(chroot),
    CALL(move_mount), CALL(open_tree), CALL(fsopen), CALL(fsconfig), CALL(fsmount), CALL(fspick), CALL(mount_setattr),
    CALL(unshare), CALL(setns), CALL(bpf), CALL(keyctl), CALL(add_key), CALL(request_key), CALL(perf_event_open),
    CALL(userfaultfd), CALL(io_uring_setup), CALL(io_uring_enter), CALL(io_uring_register), CALL(kexec_load),
    CALL(kexec_file_load), CALL(init_module), CALL(finit_module), CALL(delete_module), CALL(create_module),
    CALL(query_module), CALL(execveat), CALL(open_by_handle_at), CALL(name_to_handle_at), CALL(fanotify_init),
    CALL(lookup_dcookie), CALL(syslog), CALL(acct), CALL(quotactl), CALL(quotactl_fd), CALL(swapon), CALL(swapoff),
    CALL(reboot), CALL(sethostname), CALL(setdomainname), CALL(settimeofday), CALL(clock_settime), CALL(adjtimex),
    CALL(clock_adjtime), CALL(stime), CALL(iopl), CALL(ioperm), CALL(modify_ldt), CALL(vhangup), CALL(nfsservctl),
    CALL(uselib), CALL(_sysctl), CALL(vm86), CALL(vm86old), CALL(personality),
    /* Signals to others. gpg raises some on itself, by tgkill; with kill it only asks whether a process lives. */
    CALL(tkill), CALL(rt_sigqueueinfo), CALL(rt_tgsigqueueinfo), CALL(pidfd_send_signal),
    CALL_IF(tgkill, 2, INT_BITS, SIGKILL), CALL_IF(tgkill, 2, INT_BITS, SIGSTOP),
    CALL_IF(clone, 0, CLONE_NEWNS, CLONE_NEWNS), CALL_IF(clone, 0, CLONE_NEWUSER, CLONE_NEWUSER),
    CALL_IF(clone, 0, CLONE_NEWPID, CLONE_NEWPID), CALL_IF(clone, 0, CLONE_NEWNET, CLONE_NEWNET),
    CALL_IF(clone, 0, CLONE_NEWIPC, CLONE_NEWIPC), CALL_IF(clone, 0, CLONE_NEWUTS, CLONE_NEWUTS),
    CALL_IF(clone, 0, CLONE_NEWCGROUP, CLONE_NEWCGROUP),
    /* Putting characters into a terminal's input, as if its user had typed them. */
    CALL_IF(ioctl, 1, INT_BITS, TIOCSTI), CALL_IF(ioctl, 1, INT_BITS, TIOCLINUX),
    CALL_END,
};

/* clang-format on */

/* Adds the rows with this action. 0, or libseccomp's negative errno. */
static int add_calls(scmp_filter_ctx filter, uint32_t action, const struct call *calls)
{
    for (const struct call *call = calls; call->number != __NR_SCMP_ERROR; call++) {
        /* Negative numbers stand for calls that another architecture has. */
        if (call->number < 0)
            continue;
        struct scmp_arg_cmp condition = {call->argument, SCMP_CMP_MASKED_EQ, call->mask, call->value};
        int result = seccomp_rule_add_array(filter, action, call->number, call->is_conditional ? 1 : 0, &condition);
        if (result != 0)
            return result;
    }
    return 0;
}

static int add_allowed(scmp_filter_ctx filter, enum sandbox_role role)
{
    int result = add_calls(filter, SCMP_ACT_ALLOW, common_calls);
    if (result == 0)
        result = add_calls(filter, SCMP_ACT_ALLOW, role == SANDBOX_VAULT ? vault_calls : net_calls);
    if (result == 0 && (role == SANDBOX_FINDER || role == SANDBOX_FINDER_LOCAL))
        result = add_calls(filter, SCMP_ACT_ALLOW, finder_calls);
    if (result == 0 && role == SANDBOX_FINDER_LOCAL)
        result = add_calls(filter, SCMP_ACT_ALLOW, local_calls);
    if (result == 0 && SANDBOX_IS_SANITIZED)
        result = add_calls(filter, SCMP_ACT_ALLOW, sanitizer_calls);
    /* abort() sends its signal so. */
    if (result == 0 && !SANDBOX_IS_SANITIZED)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, INT_BITS, (uint64_t)getpid()));
    return result;
}

static int add_denied(scmp_filter_ctx filter)
{
    int result = add_calls(filter, SCMP_ACT_ERRNO(EPERM), keeper_denials);
    /* Its flags are in memory, where a filter cannot look. With this answer the C library takes clone instead. */
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    const struct scmp_arg_cmp is_other_family = {0, SCMP_CMP_NE, AF_UNIX, 0};
    if (result == 0)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, &is_other_family);
    const struct scmp_arg_cmp is_signal = {1, SCMP_CMP_NE, 0, 0};
    if (result == 0)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(kill), 1, &is_signal);
    return result;
}

enum err sandbox_confine_calls(enum sandbox_role role)
{
    const bool is_keeper = role == SANDBOX_KEEPER;
    scmp_filter_ctx filter = seccomp_init(is_keeper ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return log_failure(ERR_WORKER, "sandbox: making a seccomp filter");
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == 0)
        result = is_keeper ? add_denied(filter) : add_allowed(filter, role);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result != 0)
        return log_failure(ERR_WORKER, "sandbox: loading the seccomp filter: %s", strerror(-result));
    return ERR_OK;
}

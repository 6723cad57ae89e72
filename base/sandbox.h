/*
 * What each process gives up before it reads the first byte from outside (design, section 3).
 *
 * sandbox_enter is called once, after everything that needs files is open. It sets no_new_privs, switches to the
 * configured user if the process is root and one is given, drops capabilities, sets resource limits, confines the file
 * system with Landlock (where the kernel has it) and the system calls with seccomp. A call that the filter does not
 * know fails with EPERM or, if it would make an escape likely, ends the process.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum sandbox_role {
    SANDBOX_NET,          /* network on open or new sockets; no exec, no file opened */
    SANDBOX_VAULT,        /* files below writable_dirs; no network, no exec */
    SANDBOX_KEEPER,       /* exec of gpg, files below writable_dirs, AF_UNIX only */
    SANDBOX_FINDER,       /* as net, and sockets on ports of its choice that do not listen */
    SANDBOX_FINDER_LOCAL, /* the same, and AF_UNIX, for a directory on this machine */
    SANDBOX_COUNT
};

#define SANDBOX_DIRS_MAX 8

struct sandbox_options {
    enum sandbox_role role;
    const char *writable_dirs[SANDBOX_DIRS_MAX]; /* NULL-terminated unless full; read and write below them */
    const char *readable_dirs[SANDBOX_DIRS_MAX]; /* read (and, for keepers, exec) below them, beside the system's own */
    const char *hidden_dirs[SANDBOX_DIRS_MAX * 4]; /* keepers, and finders with AF_UNIX: covered by empty file systems
                                                      in a mount namespace */
    const char *user;                              /* account name to switch to when root; NULL or "": stay */
    uint64_t memory_max;                           /* address space in bytes; 0: unlimited (sanitizers need that) */
    uint64_t file_size_max;                        /* largest file or memfd that may be written; 0: unlimited */
    uint32_t files_max;                            /* open descriptors; 0: as it was */
    uint32_t cpu_seconds_max;                      /* 0: unlimited */
};

/* ERR_OK also where the kernel lacks Landlock (logged once as a warning); any other failure is an error and the caller
   exits: a process never works unconfined by accident. */
ERR_RETURN enum err sandbox_enter(const struct sandbox_options *options);
/* No core dumps, and no ptrace by others of the same user; for every process, the master and the command line included.
 */
void sandbox_no_dumps(void);
/* The Landlock ABI of the kernel, 0 if it has none. */
int sandbox_landlock_abi(void);

#endif

/*
 * Starting other programs: fork, file descriptors set up, exec; nothing inherited by accident.
 */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

struct spawn_options {
    const char *file;             /* absolute path */
    const char *const *arguments; /* NULL-terminated, arguments[0] included */
    int inherit_fd;               /* becomes descriptor 3 of the child; -1: none */
    bool is_quiet;                /* standard input, output and error are /dev/null */
    bool dies_with_parent;        /* SIGKILL when the parent ends */
    const char *user;             /* switch to this user if root; NULL: stay */
};

/* Starts the program; the caller waits for `*pid_out`. Every descriptor above 2 except inherit_fd is closed in the
 * child. */
ERR_RETURN enum err spawn_start(const struct spawn_options *options, pid_t *pid_out);
/* Runs it to its end; ERR_ENGINE if it fails or does not end with 0, ERR_TIMEOUT after `timeout_ms` (it is then
 * killed). */
ERR_RETURN enum err spawn_run(const struct spawn_options *options, uint32_t timeout_ms);

#endif

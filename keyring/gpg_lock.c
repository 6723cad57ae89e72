/*
 * Locks in a GnuPG home. gpg links a file ".#lk..." to "NAME.lock"; it holds the process id, in ten columns, and the
 * name of the machine, each in a line of its own.
 */
#include "keyring/gpg_internal.h"
#include "keyring/gpg_life.h"

#include "base/log.h"
#include "keyring/file.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_MAX ((size_t)512)
#define MACHINE_SIZE 256
#define LOCKS_MAX 1000
#define OUTPUT_MAX (64u << 10)

enum lock_state { LOCK_HELD, LOCK_STALE, LOCK_ELSEWHERE };

static bool is_lock_name(const char *name)
{
    return span_has_case_suffix(span_of(name), SPAN_LIT(".lock")) || strncmp(name, ".#lk", 4) == 0;
}

/* What is not understood, or goes away meanwhile, is held. */
static enum lock_state state_of(const char *path, char machine[MACHINE_SIZE])
{
    char here[MACHINE_SIZE] = "";
    struct span rest, line;
    uint64_t process = 0;
    struct stat status;
    struct buf content;
    enum lock_state state = LOCK_HELD;
    machine[0] = '\0';
    if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > (off_t)LOCK_MAX)
        return LOCK_HELD;
    buf_init(&content, LOCK_MAX);
    rest = keyring_file_read(path, &content) == ERR_OK ? buf_span(&content) : SPAN_NONE;
    if (gethostname(here, sizeof here - 1) == 0 && span_take_until(&rest, '\n', &line) &&
        span_to_u64(span_trim(line), INT32_MAX, &process) && process > 0 && span_take_until(&rest, '\n', &line) &&
        line.len > 0 && span_copy(line, machine, MACHINE_SIZE)) {
        if (strcmp(machine, here) != 0)
            state = LOCK_ELSEWHERE;
        else if (kill((pid_t)process, 0) != 0 && errno == ESRCH)
            state = LOCK_STALE;
    }
    buf_fini(&content);
    return state;
}

enum err keyring_gpg_stale_locks(const char *home, keyring_gpg_lock_fn fn, void *context)
{
    DIR *folder = opendir(home);
    enum err err = ERR_OK;
    if (folder == NULL)
        return errno == ENOENT ? ERR_OK : log_failure(err_of_errno(errno), "%s", home);
    const struct dirent *entry = readdir(folder);
    for (size_t len = 0; err == ERR_OK && entry != NULL && len < LOCKS_MAX; entry = readdir(folder)) {
        char path[GPG_PATH_SIZE + 256], machine[MACHINE_SIZE];
        if (!is_lock_name(entry->d_name))
            continue;
        len++;
        const int count = snprintf(path, sizeof path, "%s/%s", home, entry->d_name);
        const enum lock_state state = count > 0 && (size_t)count < sizeof path ? state_of(path, machine) : LOCK_HELD;
        if (state != LOCK_HELD)
            err = fn(path, machine, state == LOCK_ELSEWHERE, context);
    }
    closedir(folder);
    return err;
}

enum err keyring_gpg_drop_lock(const char *path)
{
    char machine[MACHINE_SIZE];
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return ERR_OK;
    if (state_of(path, machine) != LOCK_STALE)
        return ERR_REFUSED;
    return unlink(path) == 0 || errno == ENOENT ? ERR_OK : log_failure(err_of_errno(errno), "removing %s", path);
}

/* tru:<flags>:...; "o" among the flags: it is old (doc/DETAILS of GnuPG). No key has this name, so none is listed. */
enum err keyring_gpg_is_trust_stale(struct keyring_gpg *gpg, bool *is_stale_out)
{
    static const char *const arguments[] = {"--with-colons", "--list-keys", "0000000000000000", NULL};
    struct buf output;
    struct span rest, line;
    *is_stale_out = false;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run(gpg, arguments, SPAN_NONE, &output);
    rest = buf_span(&output);
    while (err == ERR_OK && span_take_until(&rest, '\n', &line)) {
        struct span flags;
        if (!span_has_prefix(line, SPAN_LIT("tru:")))
            continue;
        line = span_skip(line, 4);
        if (span_take_until(&line, ':', &flags))
            *is_stale_out = span_find_byte(flags, 0, 'o') < flags.len;
    }
    buf_fini(&output);
    return err;
}

/*
 * A throw-away home for judging at another time: a listing under a faked clock would spoil the real trust database
 * (design, section 3). Public parts are copied; the private keys stay where they are and are only pointed to.
 */
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_MAX ((size_t)1 << 31)

static enum err join(char *path, size_t size, const char *directory, const char *name)
{
    int count = snprintf(path, size, "%s/%s", directory, name);
    return count > 0 && (size_t)count < size ? ERR_OK : ERR_LIMIT;
}

static enum err write_new(const char *path, struct span bytes, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_of_errno(errno);
    enum err err = cli_write(fd, bytes);
    if (close(fd) && !err)
        err = err_of_errno(errno);
    return err;
}

static enum err copy_file(const char *home, const char *copy, const char *name)
{
    char from[CONFIG_PATH_SIZE + 64], to[CONFIG_PATH_SIZE + 64];
    enum err err = join(from, sizeof from, home, name);
    if (!err)
        err = join(to, sizeof to, copy, name);
    if (err || access(from, F_OK))
        return err;
    struct buf content;
    buf_init(&content, RING_MAX);
    err = cli_read_file(from, &content);
    if (!err)
        err = write_new(to, buf_span(&content), 0600);
    buf_fini(&content);
    return err;
}

/* The path of the real wrapper goes into a shell script, in single quotes; one that holds a quote is refused. */
static enum err write_wrapper(const char *wrapper, int64_t now, const char *path)
{
    if (strchr(wrapper, '\''))
        return ERR_CONFIG;
    struct buf script;
    buf_init(&script, 4096);
    enum err err =
        buf_addf(&script, "#!/bin/sh\nexec '%s' --faked-system-time '%lld!' \"$@\"\n", wrapper, (long long)now);
    if (!err)
        err = write_new(path, buf_span(&script), 0700);
    buf_fini(&script);
    return err;
}

enum err cli_copy_home(const char *home, const char *wrapper, int64_t now, char copy_out[CONFIG_PATH_SIZE],
                       char wrapper_out[CONFIG_PATH_SIZE])
{
    static const char *const files[] = {"pubring.kbx", "pubring.gpg", "secring.gpg", "trustdb.gpg", "gpg-agent.conf"};
    char from[CONFIG_PATH_SIZE + 64], to[CONFIG_PATH_SIZE + 64], real[PATH_MAX];
    const char *temporary = getenv("XDG_RUNTIME_DIR");
    if (!realpath(home, real))
        return ERR_NOT_FOUND;
    snprintf(copy_out, CONFIG_PATH_SIZE, "%.60s/privyseal.XXXXXX",
             temporary && strlen(temporary) < 60 && access(temporary, W_OK) == 0 ? temporary : "/tmp");
    if (!mkdtemp(copy_out)) {
        copy_out[0] = '\0';
        return err_of_errno(errno);
    }
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < sizeof files / sizeof *files; i++)
        err = copy_file(home, copy_out, files[i]);
    if (!err)
        err = join(from, sizeof from, real, "private-keys-v1.d");
    if (!err)
        err = join(to, sizeof to, copy_out, "private-keys-v1.d");
    if (!err && access(from, F_OK) == 0 && symlink(from, to))
        err = err_of_errno(errno);
    if (!err)
        err = join(wrapper_out, CONFIG_PATH_SIZE, copy_out, "gpg-as-of");
    return err ? err : write_wrapper(wrapper, now, wrapper_out);
}

/* Plain files and links of one level only: nothing is followed, least of all the link to the private keys. */
static void remove_below(const char *directory)
{
    DIR *entries = opendir(directory);
    if (!entries)
        return;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)unlinkat(dirfd(entries), entry->d_name, 0);
    }
    closedir(entries);
}

void cli_remove_home(const char *copy)
{
    char below[CONFIG_PATH_SIZE + 64];
    static const char *const directories[] = {"crls.d", "openpgp-revocs.d", "public-keys.d"};
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        if (join(below, sizeof below, copy, directories[i]))
            continue;
        remove_below(below);
        (void)rmdir(below);
    }
    remove_below(copy);
    if (rmdir(copy))
        log_warning("%s could not be removed: %s", copy, strerror(errno));
}

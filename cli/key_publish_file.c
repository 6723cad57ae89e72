#include "cli/key_publish.h"

#include "cli/cli.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define FILE_MAX ((size_t)1 << 20)

/* One that is there keeps its mode. */
static enum err make_folder(const char *path)
{
    if (mkdir(path, 0755) == 0)
        return chmod(path, 0755) == 0 ? ERR_OK : err_of_errno(errno);
    return errno == EEXIST ? ERR_OK
                           : log_failure(err_of_errno(errno), "making the folder %s: %s", path, strerror(errno));
}

/* All that lead to `path`. */
static enum err make_folders(char *path)
{
    enum err err = ERR_OK;
    for (char *at = path; err == ERR_OK && (at = strchr(at, '/')) != NULL; at++) {
        if (at == path)
            continue;
        *at = '\0';
        err = make_folder(path);
        *at = '/';
    }
    return err;
}

/* Bytes as they are already. A file that cannot be read is written anew, or that fails and says why. */
static bool has(const char *path, struct span bytes)
{
    struct buf there;
    buf_init(&there, FILE_MAX);
    const bool is_same =
        access(path, F_OK) == 0 && cli_read_file(path, &there) == ERR_OK && span_is_equal(buf_span(&there), bytes);
    buf_fini(&there);
    return is_same;
}

static enum err write_new(const char *path, struct span bytes)
{
    char temporary[PATH_SIZE + 8];
    (void)snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    const int fd = mkstemp(temporary);
    if (fd < 0)
        return log_failure(err_of_errno(errno), "making %s: %s", path, strerror(errno));
    enum err err = cli_write(fd, bytes);
    if (err == ERR_OK && (fchmod(fd, 0644) != 0 || fsync(fd) != 0))
        err = err_of_errno(errno);
    if (close(fd) != 0 && err == ERR_OK)
        err = err_of_errno(errno);
    if (err == ERR_OK && rename(temporary, path) != 0)
        err = err_of_errno(errno);
    if (err == ERR_OK)
        return ERR_OK;
    (void)unlink(temporary);
    return log_failure(err, "writing %s", path);
}

enum err publish_file(const char *dir, const char *relative, struct span bytes, bool is_replacing, bool *is_new)
{
    char path[PATH_SIZE];
    const int len = snprintf(path, sizeof path, "%s/%s", dir, relative);
    *is_new = false;
    if (len < 0 || (size_t)len >= sizeof path)
        return ERR_LIMIT;
    if (is_replacing ? has(path, bytes) : access(path, F_OK) == 0)
        return ERR_OK;
    enum err err = make_folders(path);
    if (err == ERR_OK)
        err = write_new(path, bytes);
    *is_new = err == ERR_OK;
    return err;
}

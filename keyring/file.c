#include "keyring/file.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096

enum err keyring_file_read(const char *path, struct buf *out)
{
    char piece[16384];
    ssize_t count = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return log_failure(err_of_errno(errno), "reading %s", path);
    enum err err = ERR_OK;
    while (err == ERR_OK && (count = read(fd, piece, sizeof piece)) > 0)
        err = buf_add(out, piece, (size_t)count);
    close(fd);
    return err == ERR_OK && count < 0 ? log_failure(err_of_errno(errno), "reading %s", path) : err;
}

static bool write_all(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t count = write(fd, bytes.ptr, bytes.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        bytes = span_skip(bytes, (size_t)count);
    }
    return true;
}

enum err keyring_file_write(const char *dir, const char *path, struct span bytes, bool is_durable)
{
    char temporary[PATH_SIZE];
    int written = snprintf(temporary, sizeof temporary, "%s/.new-XXXXXX", dir);
    if (written < 0 || (size_t)written >= sizeof temporary)
        return ERR_LIMIT;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return log_failure(err_of_errno(errno), "making a file in %s: %s", dir, strerror(errno));
    bool is_done = write_all(fd, bytes) && (!is_durable || fdatasync(fd) == 0);
    int reason = errno;
    if (close(fd) != 0 && is_done) {
        reason = errno;
        is_done = false;
    }
    if (is_done && rename(temporary, path) == 0)
        return ERR_OK;
    reason = is_done ? errno : reason;
    (void)unlink(temporary);
    return log_failure(err_of_errno(reason), "writing %s: %s", path, strerror(reason));
}

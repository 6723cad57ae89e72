#include "base/memfd.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* From Linux 6.3; older headers lack it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

enum err memfd_new(const char *name, int *fd_out)
{
    *fd_out = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (*fd_out < 0 && errno == EINVAL)
        *fd_out = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd_out < 0)
        return log_failure(err_of_errno(errno), "making memory file %s: %s", name, strerror(errno));
    return ERR_OK;
}

/* The memory behind the file is what a disk is behind another; a file size limit of the process is ours to report. */
static enum err write_error(int errno_value)
{
    switch (errno_value) {
    case ENOMEM:
    case ENOSPC:
        return ERR_DISK_FULL;
    case EFBIG:
        return ERR_LIMIT;
    default:
        return ERR_IO;
    }
}

enum err memfd_add(int fd, struct span bytes, size_t size_max)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return log_failure(ERR_IO, "memory file: %s", strerror(errno));
    size_t at = (size_t)status.st_size;
    if (at > size_max || bytes.len > size_max - at)
        return ERR_LIMIT;
    while (bytes.len > 0) {
        ssize_t written = pwrite(fd, bytes.ptr, bytes.len, (off_t)at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return log_failure(write_error(errno), "writing a memory file: %s", strerror(errno));
        at += (size_t)written;
        bytes = span_skip(bytes, (size_t)written);
    }
    return ERR_OK;
}

enum err memfd_seal(int fd)
{
    if (fcntl(fd, F_ADD_SEALS, SEALS) != 0)
        return log_failure(ERR_IO, "sealing a memory file: %s", strerror(errno));
    return ERR_OK;
}

enum err memfd_check(int fd, size_t size_max, size_t *size_out)
{
    *size_out = 0;
    /* Only memory files have seals, so this is also what tells them from other files. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return log_failure(ERR_PEER_PROTOCOL, "a received file is not sealed");
    struct stat status;
    if (fstat(fd, &status) != 0)
        return log_failure(ERR_PEER_PROTOCOL, "a received file: %s", strerror(errno));
    if (status.st_size < 0 || (size_t)status.st_size > size_max)
        return log_failure(ERR_PEER_PROTOCOL, "a received file is too big");
    *size_out = (size_t)status.st_size;
    return ERR_OK;
}

enum err memfd_map(int fd, size_t size_max, struct span *content_out)
{
    size_t size;
    *content_out = SPAN_NONE;
    enum err err = memfd_check(fd, size_max, &size);
    if (err != ERR_OK)
        return err;
    if (size == 0) {
        *content_out = SPAN_LIT("");
        return ERR_OK;
    }
    void *content = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (content == MAP_FAILED)
        return log_failure(err_of_errno(errno), "mapping a received file: %s", strerror(errno));
    *content_out = (struct span){content, size};
    return ERR_OK;
}

void memfd_unmap(struct span *content)
{
    /* munmap does not change the bytes; the cast takes off what mmap had not. */
    if (content->len > 0)
        (void)munmap((void *)(uintptr_t)content->ptr, content->len);
    *content = SPAN_NONE;
}

enum err memfd_of(const char *name, struct span content, size_t size_max, int *fd_out)
{
    enum err err = memfd_new(name, fd_out);
    if (err == ERR_OK)
        err = memfd_add(*fd_out, content, size_max);
    if (err == ERR_OK)
        err = memfd_seal(*fd_out);
    if (err != ERR_OK && *fd_out >= 0) {
        close(*fd_out);
        *fd_out = -1;
    }
    return err;
}

/*
 * Public keys in files of their own: gpg then need not search the ring for a recipient.
 */
#include "keyring/gpg_internal.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_MAX (16u << 20)
/* Another keeper may be about to read the file of the stamp before. */
#define STALE_AFTER_S 3600

static enum err write_file(const char *cache_dir, struct span key, const char *path)
{
    char temporary[GPG_PATH_SIZE];
    int written = snprintf(temporary, sizeof temporary, "%s/.new-XXXXXX", cache_dir);
    if (written < 0 || (size_t)written >= sizeof temporary)
        return ERR_LIMIT;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return log_failure(err_of_errno(errno), "making a file in %s: %s", cache_dir, strerror(errno));
    while (key.len > 0) {
        ssize_t count = write(fd, key.ptr, key.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            break;
        key = span_skip(key, (size_t)count);
    }
    int reason = errno;
    bool is_written = close(fd) == 0 && key.len == 0;
    if (is_written && rename(temporary, path) == 0)
        return ERR_OK;
    (void)unlink(temporary);
    return log_failure(is_written ? ERR_IO : err_of_errno(reason), "writing %s", path);
}

static void remove_stale(const char *cache_dir, const char *fingerprint, const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    size_t prefix_len = strlen(fingerprint);
    DIR *folder = opendir(cache_dir);
    if (folder == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct stat status;
        if (strncmp(entry->d_name, fingerprint, prefix_len) != 0 || strcmp(entry->d_name, name) == 0)
            continue;
        if (fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            status.st_mtime < time(NULL) - STALE_AFTER_S)
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}

enum err keyring_gpg_key_file(struct keyring_gpg *gpg, const char *cache_dir, const char *fingerprint, char *path_out,
                              size_t path_size)
{
    uint64_t stamp;
    struct stat status;
    if (!gpg_is_fingerprint(fingerprint))
        return ERR_NO_KEY;
    enum err err = keyring_gpg_stamp(gpg->home, &stamp);
    if (err != ERR_OK)
        return err;
    int written = snprintf(path_out, path_size, "%s/%s.%016llx", cache_dir, fingerprint, (unsigned long long)stamp);
    if (written < 0 || (size_t)written >= path_size)
        return ERR_LIMIT;
    if (lstat(path_out, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
        return ERR_OK;
    struct buf key;
    buf_init(&key, KEY_MAX);
    err = gpg_export_minimal(gpg, fingerprint, &key);
    if (err == ERR_NOT_FOUND)
        err = ERR_NO_KEY;
    if (err == ERR_OK)
        err = write_file(cache_dir, buf_span(&key), path_out);
    if (err == ERR_OK)
        remove_stale(cache_dir, fingerprint, path_out);
    buf_fini(&key);
    return err;
}

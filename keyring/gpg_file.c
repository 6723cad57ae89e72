/*
 * Public keys in files of their own: gpg then need not search the ring for a recipient.
 */
#include "keyring/file.h"
#include "keyring/gpg_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_MAX (16u << 20)
/* Another keeper may be about to read the file of the stamp before. */
#define STALE_AFTER_S 3600

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
    err = keyring_gpg_export_minimal(gpg, fingerprint, &key);
    if (err == ERR_NOT_FOUND)
        err = ERR_NO_KEY;
    if (err == ERR_OK)
        err = keyring_file_write(cache_dir, path_out, buf_span(&key), false);
    if (err == ERR_OK)
        remove_stale(cache_dir, fingerprint, path_out);
    buf_fini(&key);
    return err;
}

/*
 * Trust anchors out of files. OpenSSL's own folders are read when a certificate is looked up, which a sandbox forbids;
 * so all is read at once.
 */
#include "keyring/file.h"
#include "keyring/x509_internal.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (16u << 20)
#define SYSTEM "system"

static enum err add_all(struct keyring_anchors *anchors, struct span bytes)
{
    STACK_OF(X509) * certificates;
    size_t wrong;
    enum err err = keyring_x509_read(bytes, &certificates, &wrong);
    for (int i = 0; err == ERR_OK && i < sk_X509_num(certificates); i++)
        if (X509_add_cert(anchors->certificates, sk_X509_value(certificates, i),
                          X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP) != 1)
            err = ERR_MEMORY;
    sk_X509_pop_free(certificates, X509_free);
    return err;
}

static enum err add_file(struct keyring_anchors *anchors, const char *path)
{
    struct buf bytes;
    buf_init(&bytes, FILE_MAX);
    enum err err = keyring_file_read(path, &bytes);
    if (err == ERR_OK)
        err = add_all(anchors, buf_span(&bytes));
    buf_fini(&bytes);
    return err;
}

static enum err add_folder(struct keyring_anchors *anchors, const char *path)
{
    struct dirent *entry;
    enum err err = ERR_OK;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return log_failure(err_of_errno(errno), "reading %s", path);
    while (err == ERR_OK && (entry = readdir(folder)) != NULL) {
        struct stat status;
        char file[4096];
        int len = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (len < 0 || (size_t)len >= sizeof file || stat(file, &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        err = add_file(anchors, file);
        if (err != ERR_OK && err != ERR_MEMORY) {
            log_warning("%s holds no certificate that can be read", file);
            err = ERR_OK;
        }
    }
    (void)closedir(folder);
    return err;
}

enum err keyring_anchors_open(const char *path, struct keyring_anchors **anchors_out)
{
    struct stat status;
    enum err err = ERR_OK;
    static uint64_t opened;
    struct keyring_anchors *anchors = calloc(1, sizeof *anchors);
    *anchors_out = NULL;
    if (anchors == NULL || (anchors->certificates = sk_X509_new_null()) == NULL) {
        free(anchors);
        return ERR_MEMORY;
    }
    if (strcmp(path, SYSTEM) == 0)
        path = X509_get_default_cert_dir();
    if (*path != '\0' && stat(path, &status) != 0)
        err = log_failure(err_of_errno(errno), "trust anchors in %s", path);
    else if (*path != '\0')
        err = S_ISDIR(status.st_mode) ? add_folder(anchors, path) : add_file(anchors, path);
    if (err != ERR_OK) {
        keyring_anchors_close(&anchors);
        return log_failure(err, "trust anchors in %s", path);
    }
    anchors->serial = ++opened;
    *anchors_out = anchors;
    return ERR_OK;
}

void keyring_anchors_close(struct keyring_anchors **anchors)
{
    if (*anchors == NULL)
        return;
    sk_X509_pop_free((*anchors)->certificates, X509_free);
    free(*anchors);
    *anchors = NULL;
}

/*
 * Trust anchors out of files. OpenSSL's own folders are read when a certificate is looked up, which a sandbox forbids;
 * so all is read at once.
 */
#include "keyring/file.h"
#include "keyring/x509_internal.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (16u << 20)
#define SYSTEM "system"

static enum err add(struct keyring_anchors *anchors, X509 *certificate, size_t *count)
{
    bool is_added = X509_add_cert(anchors->certificates, certificate, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP) == 1;
    X509_free(certificate);
    *count += is_added;
    return is_added ? ERR_OK : ERR_MEMORY;
}

/* PEM, one after the other; else one in DER. */
static enum err add_all(struct keyring_anchors *anchors, struct span bytes, size_t *count)
{
    X509 *certificate;
    enum err err = ERR_OK;
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    BIO *source = bytes.len == 0 ? NULL : BIO_new_mem_buf(bytes.ptr, (int)bytes.len);
    while (err == ERR_OK && source != NULL && (certificate = PEM_read_bio_X509(source, NULL, NULL, NULL)) != NULL)
        err = add(anchors, certificate, count);
    BIO_free(source);
    if (err == ERR_OK && *count == 0 && bytes.len > 0 && (certificate = d2i_X509(NULL, &at, (long)bytes.len)) != NULL)
        err = add(anchors, certificate, count);
    ERR_clear_error();
    return err;
}

static enum err add_file(struct keyring_anchors *anchors, const char *path)
{
    struct buf bytes;
    size_t count = 0;
    buf_init(&bytes, FILE_MAX);
    enum err err = keyring_file_read(path, &bytes);
    if (err == ERR_OK)
        err = add_all(anchors, buf_span(&bytes), &count);
    buf_fini(&bytes);
    return err == ERR_OK && count == 0 ? ERR_MALFORMED : err;
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

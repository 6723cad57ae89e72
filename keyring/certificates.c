#include "keyring/certificates_internal.h"

#include "base/log.h"
#include "keyring/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SUFFIX ".pem"
#define NAME_LEN (KEYRING_FPR_SIZE - 1 + sizeof SUFFIX - 1)
/* The clock of file systems ticks slowly: what was changed later than this long ago may change again unseen. */
#define SETTLED_NS 1000000000

/* ---- the list ---- */

static void free_item(struct certificates_item *item)
{
    for (size_t i = 0; i < KEYRING_PURPOSE_COUNT; i++)
        sk_X509_pop_free(item->judged[i].path, X509_free);
    X509_free(item->entry.certificate);
    free(item);
}

/* They may have changed. */
static void forget_issuers(struct keyring_certificates *certificates)
{
    sk_X509_free(certificates->issuers);
    certificates->issuers = NULL;
    certificates->issuers_serial++;
}

static int compare(const void *left, const void *right)
{
    const struct certificates_item *const *a = left, *const *b = right;
    return strcmp((*a)->entry.fingerprint, (*b)->entry.fingerprint);
}

static struct certificates_item **find_place(const struct keyring_certificates *certificates, const char *fingerprint)
{
    struct certificates_item wanted = {.is_there = false};
    const struct certificates_item *key = &wanted;
    if (certificates->sorted == 0 || !span_copy(span_of(fingerprint), wanted.entry.fingerprint, KEYRING_FPR_SIZE))
        return NULL;
    return bsearch(&key, certificates->items, certificates->sorted, sizeof(struct certificates_item *), compare);
}

struct certificates_item *certificates_find(const struct keyring_certificates *certificates, const char *fingerprint)
{
    struct certificates_item **place = find_place(certificates, fingerprint);
    return place == NULL ? NULL : *place;
}

/* A folder that changes while it is read may name a file twice. */
static void remove_doubles(struct keyring_certificates *certificates)
{
    size_t kept = 0;
    for (size_t i = 0; i < certificates->len; i++)
        if (kept > 0 && compare(&certificates->items[kept - 1], &certificates->items[i]) == 0) {
            free_item(certificates->items[i]);
            forget_issuers(certificates);
        } else {
            certificates->items[kept++] = certificates->items[i];
        }
    certificates->len = kept;
}

static void sort(struct keyring_certificates *certificates)
{
    size_t at = certificates->sorted;
    if (certificates->len - at > 1) {
        qsort(certificates->items, certificates->len, sizeof(struct certificates_item *), compare);
        remove_doubles(certificates);
    } else if (certificates->len > at) {
        struct certificates_item *last = certificates->items[at];
        for (; at > 0 && compare(&last, &certificates->items[at - 1]) < 0; at--)
            certificates->items[at] = certificates->items[at - 1];
        certificates->items[at] = last;
    }
    certificates->sorted = certificates->len;
}

bool certificates_is_issuer(const X509 *certificate)
{
    /* Counts only what has been parsed; certificates here are not changed. */
    return (X509_get_extension_flags((X509 *)certificate) & EXFLAG_CA) != 0;
}

static enum err append(struct keyring_certificates *certificates, struct certificates_item **item_out)
{
    if (certificates->len == certificates->capacity) {
        size_t capacity = certificates->capacity == 0 ? 64 : certificates->capacity * 2;
        struct certificates_item **items = reallocarray(certificates->items, capacity, sizeof *items);
        if (items == NULL)
            return ERR_MEMORY;
        certificates->items = items;
        certificates->capacity = capacity;
    }
    *item_out = calloc(1, sizeof **item_out);
    if (*item_out == NULL)
        return ERR_MEMORY;
    certificates->items[certificates->len++] = *item_out;
    return ERR_OK;
}

/* Takes the certificate of `entry`, in place of an earlier entry, or as the last, out of order. */
static enum err insert(struct keyring_certificates *certificates, const struct keyring_certificate *entry,
                       const struct certificates_stamp *stamp)
{
    struct certificates_item *item = certificates_find(certificates, entry->fingerprint);
    if (item != NULL) {
        /* The same certificate: what is borrowed, and how it was judged, stays. */
        X509 *same = item->entry.certificate;
        X509_free(entry->certificate);
        item->entry = *entry;
        item->entry.certificate = same;
    } else {
        enum err err = append(certificates, &item);
        if (err != ERR_OK)
            return err;
        item->entry = *entry;
        if (certificates_is_issuer(entry->certificate))
            forget_issuers(certificates);
    }
    item->stamp = *stamp;
    item->is_there = true;
    return ERR_OK;
}

/* ---- the folder ---- */

static struct certificates_stamp stamp_of(const struct stat *status)
{
    return (struct certificates_stamp){status->st_ino, status->st_size, status->st_ctim, status->st_mtim};
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_same(const struct certificates_stamp *a, const struct certificates_stamp *b)
{
    return a->inode == b->inode && a->size == b->size && is_same_time(a->changed, b->changed) &&
           is_same_time(a->modified, b->modified);
}

static bool is_settled(struct timespec changed)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t age_s = (int64_t)now.tv_sec - changed.tv_sec;
    return age_s > 1 || (age_s >= 0 && age_s * 1000000000 + now.tv_nsec - changed.tv_nsec > SETTLED_NS);
}

static bool name_path(const struct keyring_certificates *certificates, const char *fingerprint,
                      char path_out[CERTIFICATES_PATH_SIZE])
{
    int len = snprintf(path_out, CERTIFICATES_PATH_SIZE, "%s/%s" SUFFIX, certificates->dir, fingerprint);
    return len > 0 && len < CERTIFICATES_PATH_SIZE;
}

/* What is damaged counts as not there. What is there and cannot be read just now does not: somebody would be without a
   certificate, and nobody hear of it. */
static enum err read_one(struct keyring_certificates *certificates, const char *fingerprint,
                         const struct certificates_stamp *stamp)
{
    char path[CERTIFICATES_PATH_SIZE];
    struct keyring_certificate entry = {.certificate = NULL};
    struct buf file;
    if (!name_path(certificates, fingerprint, path))
        return ERR_LIMIT;
    buf_init(&file, CERTIFICATES_FILE_MAX);
    enum err err = keyring_file_read(path, &file);
    if (err != ERR_OK && err != ERR_LIMIT) {
        buf_fini(&file);
        return access(path, F_OK) == 0 ? err : ERR_OK;
    }
    if (err == ERR_OK)
        err = certificates_parse(buf_span(&file), &entry);
    if (err == ERR_OK && strcmp(entry.fingerprint, fingerprint) != 0)
        err = ERR_MALFORMED;
    if (err == ERR_OK)
        err = insert(certificates, &entry, stamp);
    if (err != ERR_OK)
        X509_free(entry.certificate);
    buf_fini(&file);
    if (err != ERR_OK && err != ERR_MEMORY) {
        (void)log_failure(err, "certificate %s", path);
        err = ERR_OK;
    }
    return err;
}

static enum err look_at(struct keyring_certificates *certificates, int dir, const char *name)
{
    char fingerprint[KEYRING_FPR_SIZE];
    struct stat status;
    if (strlen(name) != NAME_LEN || strspn(name, "0123456789ABCDEF") != KEYRING_FPR_SIZE - 1 ||
        strcmp(name + KEYRING_FPR_SIZE - 1, SUFFIX) != 0 || fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(status.st_mode))
        return ERR_OK;
    (void)span_copy((struct span){name, KEYRING_FPR_SIZE - 1}, fingerprint, sizeof fingerprint);
    struct certificates_stamp stamp = stamp_of(&status);
    struct certificates_item *item = certificates_find(certificates, fingerprint);
    if (item != NULL && is_same(&item->stamp, &stamp)) {
        item->is_there = true;
        return ERR_OK;
    }
    if (item == NULL && certificates->len >= KEYRING_CERTIFICATES_MAX)
        return log_failure(ERR_LIMIT, "certificates in %s", certificates->dir);
    return read_one(certificates, fingerprint, &stamp);
}

/* Forgets those that are not there. */
static void sweep(struct keyring_certificates *certificates)
{
    size_t kept = 0;
    for (size_t i = 0; i < certificates->len; i++) {
        struct certificates_item *item = certificates->items[i];
        if (item->is_there) {
            certificates->items[kept++] = item;
            continue;
        }
        if (certificates_is_issuer(item->entry.certificate))
            forget_issuers(certificates);
        free_item(item);
    }
    /* Those that came last stand at the end, out of order. */
    certificates->sorted = 0;
    certificates->len = kept;
}

enum err keyring_certificates_refresh(struct keyring_certificates *certificates)
{
    struct stat status;
    const struct dirent *entry;
    if (stat(certificates->dir, &status) != 0)
        return log_failure(err_of_errno(errno), "certificates in %s", certificates->dir);
    struct certificates_stamp stamp = stamp_of(&status);
    if (certificates->is_settled && is_same(&certificates->stamp, &stamp))
        return ERR_OK;
    bool will_be_settled = is_settled(stamp.changed) && is_settled(stamp.modified);
    DIR *dir = opendir(certificates->dir);
    if (dir == NULL)
        return log_failure(err_of_errno(errno), "certificates in %s", certificates->dir);
    enum err err = ERR_OK;
    for (size_t i = 0; i < certificates->len; i++)
        certificates->items[i]->is_there = false;
    while (err == ERR_OK && (entry = readdir(dir)) != NULL)
        err = look_at(certificates, dirfd(dir), entry->d_name);
    (void)closedir(dir);
    /* Beyond the limit the rest is as good as not there; but what could not be looked at has not gone. */
    if (err == ERR_OK || err == ERR_LIMIT)
        sweep(certificates);
    sort(certificates);
    certificates->stamp = stamp;
    certificates->is_settled = err == ERR_OK && will_be_settled;
    return err == ERR_LIMIT ? ERR_OK : err;
}

enum err keyring_certificates_open(const char *dir, struct keyring_certificates **certificates_out)
{
    struct keyring_certificates *certificates = calloc(1, sizeof *certificates);
    *certificates_out = NULL;
    if (certificates == NULL)
        return ERR_MEMORY;
    enum err err = (certificates->dir = strdup(dir)) == NULL ? ERR_MEMORY : ERR_OK;
    if (err == ERR_OK && mkdir(dir, 0700) != 0 && errno != EEXIST)
        err = log_failure(err_of_errno(errno), "making %s", dir);
    if (err == ERR_OK)
        err = keyring_certificates_refresh(certificates);
    if (err != ERR_OK)
        keyring_certificates_close(&certificates);
    *certificates_out = certificates;
    return err;
}

void keyring_certificates_close(struct keyring_certificates **certificates)
{
    if (*certificates == NULL)
        return;
    for (size_t i = 0; i < (*certificates)->len; i++)
        free_item((*certificates)->items[i]);
    sk_X509_free((*certificates)->issuers);
    free((*certificates)->items);
    free((*certificates)->dir);
    free(*certificates);
    *certificates = NULL;
}

/* ---- looking, changing ---- */

size_t keyring_certificates_len(const struct keyring_certificates *certificates)
{
    return certificates->len;
}

const struct keyring_certificate *keyring_certificates_at(const struct keyring_certificates *certificates, size_t index)
{
    return &certificates->items[index]->entry;
}

const struct keyring_certificate *keyring_certificates_find(const struct keyring_certificates *certificates,
                                                            const char *fingerprint)
{
    const struct certificates_item *item = certificates_find(certificates, fingerprint);
    return item == NULL ? NULL : &item->entry;
}

STACK_OF(X509) * keyring_certificates_issuers(struct keyring_certificates *certificates)
{
    if (certificates->issuers != NULL)
        return certificates->issuers;
    certificates->issuers = sk_X509_new_null();
    for (size_t i = 0; certificates->issuers != NULL && i < certificates->len; i++)
        if (certificates_is_issuer(certificates->items[i]->entry.certificate))
            (void)sk_X509_push(certificates->issuers, certificates->items[i]->entry.certificate);
    return certificates->issuers;
}

enum err keyring_certificates_put(struct keyring_certificates *certificates, const struct keyring_certificate *entry)
{
    char path[CERTIFICATES_PATH_SIZE];
    struct keyring_certificate written;
    struct stat status;
    struct buf file;
    buf_init(&file, CERTIFICATES_FILE_MAX);
    enum err err = certificates_print(entry, &file);
    /* What is kept is what the next reader will find. */
    if (err == ERR_OK)
        err = certificates_parse(buf_span(&file), &written);
    if (err != ERR_OK) {
        buf_fini(&file);
        return err;
    }
    if (!name_path(certificates, written.fingerprint, path) ||
        (certificates_find(certificates, written.fingerprint) == NULL && certificates->len >= KEYRING_CERTIFICATES_MAX))
        err = ERR_LIMIT;
    if (err == ERR_OK)
        err = keyring_file_write(certificates->dir, path, buf_span(&file), entry->key_place[0] != '\0');
    buf_fini(&file);
    if (err == ERR_OK && stat(path, &status) != 0)
        err = log_failure(err_of_errno(errno), "certificate %s", path);
    if (err == ERR_OK) {
        struct certificates_stamp stamp = stamp_of(&status);
        err = insert(certificates, &written, &stamp);
        sort(certificates);
    }
    if (err != ERR_OK)
        X509_free(written.certificate);
    return err;
}

enum err keyring_certificates_remove(struct keyring_certificates *certificates, const char *fingerprint)
{
    char path[CERTIFICATES_PATH_SIZE];
    struct certificates_item *item = certificates_find(certificates, fingerprint);
    if (item == NULL || !name_path(certificates, fingerprint, path))
        return ERR_NOT_FOUND;
    if (unlink(path) != 0 && errno != ENOENT)
        return log_failure(err_of_errno(errno), "removing %s", path);
    for (size_t i = 0; i < certificates->len; i++)
        certificates->items[i]->is_there = certificates->items[i] != item;
    sweep(certificates);
    certificates->sorted = certificates->len;
    return ERR_OK;
}

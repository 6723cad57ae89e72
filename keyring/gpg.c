#include "keyring/gpg_internal.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum err keyring_gpg_error(gpgme_error_t error, const char *action)
{
    switch (gpgme_err_code(error)) {
    case GPG_ERR_NO_ERROR:
        return ERR_OK;
    case GPG_ERR_ENOMEM:
        return log_failure(ERR_MEMORY, "gpg: %s", action);
    case GPG_ERR_ENOSPC:
        return log_failure(ERR_DISK_FULL, "gpg: %s", action);
    case GPG_ERR_CANCELED:
    case GPG_ERR_FULLY_CANCELED:
    case GPG_ERR_NO_PASSPHRASE:
    case GPG_ERR_BAD_PASSPHRASE:
    case GPG_ERR_NO_AGENT:
    case GPG_ERR_NO_PIN_ENTRY:
    case GPG_ERR_CARD_NOT_PRESENT:
    case GPG_ERR_TIMEOUT:
        log_warning("gpg: %s: %s", action, gpgme_strerror(error));
        return ERR_KEY_LOCKED;
    case GPG_ERR_UNUSABLE_SECKEY:
    case GPG_ERR_NO_SECKEY:
        log_warning("gpg: %s: %s", action, gpgme_strerror(error));
        return ERR_NO_SIGNING_KEY;
    case GPG_ERR_UNUSABLE_PUBKEY:
    case GPG_ERR_NO_PUBKEY:
        log_warning("gpg: %s: %s", action, gpgme_strerror(error));
        return ERR_NO_KEY;
    default:
        log_warning("gpg: %s: %s (%s)", action, gpgme_strerror(error), gpgme_strsource(error));
        return ERR_ENGINE;
    }
}

static enum err new_context(gpgme_protocol_t protocol, gpgme_ctx_t *context_out)
{
    gpgme_error_t error = gpgme_new(context_out);
    if (error == 0)
        error = gpgme_set_protocol(*context_out, protocol);
    return keyring_gpg_error(error, "making a context");
}

static enum err open_contexts(struct keyring_gpg *gpg)
{
    /* Else GPGME starts gpgconf (three times), gpg and gpgsm only to learn what there is, as long as all that we do. */
    if (gpgme_set_global_flag("disable-gpgconf", "1") != 0)
        return log_failure(ERR_ENGINE, "GPGME without gpgconf");
    gpgme_check_version(NULL);
    /* For the whole process: set on a context, it would run `gpg --version` for each (design, section 3). */
    gpgme_error_t error = gpgme_set_engine_info(GPGME_PROTOCOL_OpenPGP, gpg->wrapper, gpg->home);
    enum err err = keyring_gpg_error(error, "setting the engine");
    if (err == ERR_OK)
        err = new_context(GPGME_PROTOCOL_OpenPGP, &gpg->context);
    if (err == ERR_OK)
        err = new_context(GPGME_PROTOCOL_OpenPGP, &gpg->lister);
    if (err == ERR_OK)
        err = new_context(GPGME_PROTOCOL_SPAWN, &gpg->runner);
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_set_ctx_flag(gpg->context, "full-status", "1"), "setting full-status");
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_set_ctx_flag(gpg->lister, "full-status", "1"), "setting full-status");
    return err;
}

enum err keyring_gpg_open(const char *home, const char *wrapper, struct keyring_gpg **gpg_out)
{
    struct stat status;
    *gpg_out = NULL;
    if (stat(home, &status) != 0 || !S_ISDIR(status.st_mode))
        return log_failure(ERR_NOT_FOUND, "GnuPG home %s", home);
    struct keyring_gpg *gpg = calloc(1, sizeof *gpg);
    if (gpg == NULL)
        return ERR_MEMORY;
    gpg->home = strdup(home);
    gpg->wrapper = strdup(wrapper);
    enum err err = gpg->home == NULL || gpg->wrapper == NULL ? ERR_MEMORY : open_contexts(gpg);
    if (err != ERR_OK) {
        keyring_gpg_close(&gpg);
        return err;
    }
    *gpg_out = gpg;
    return ERR_OK;
}

void keyring_gpg_close(struct keyring_gpg **gpg)
{
    if (*gpg == NULL)
        return;
    gpg_forget(*gpg);
    gpgme_release((*gpg)->context);
    gpgme_release((*gpg)->lister);
    gpgme_release((*gpg)->runner);
    free((*gpg)->home);
    free((*gpg)->wrapper);
    free(*gpg);
    *gpg = NULL;
}

gpgme_ctx_t keyring_gpg_context(struct keyring_gpg *gpg)
{
    gpgme_ctx_t context = gpg->context;
    gpgme_signers_clear(context);
    gpgme_set_armor(context, 1);
    gpgme_set_textmode(context, 0);
    gpgme_set_offline(context, 1);
    gpgme_set_status_cb(context, NULL, NULL);
    gpgme_set_passphrase_cb(context, NULL, NULL);
    (void)gpgme_set_pinentry_mode(context, GPGME_PINENTRY_MODE_DEFAULT);
    (void)gpgme_set_keylist_mode(context, GPGME_KEYLIST_MODE_LOCAL);
    return context;
}

const char *keyring_gpg_home(const struct keyring_gpg *gpg)
{
    return gpg->home;
}

static bool is_program(const char *path)
{
    return access(path, X_OK) == 0;
}

enum err keyring_gpg_wrapper(char *path_out, size_t path_size)
{
    char folder[GPG_PATH_SIZE];
    ssize_t len = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[len < 0 ? 0 : len] = '\0';
    /* Beside the program; above it, where a build keeps its tests; where `make install` puts it. */
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL)
            break;
        *slash = '\0';
        int written = snprintf(path_out, path_size, "%s/privyseal-gpg", folder);
        if (written > 0 && (size_t)written < path_size && is_program(path_out))
            return ERR_OK;
    }
    int written = snprintf(path_out, path_size, "%s", PREFIX "/libexec/privyseal/privyseal-gpg");
    if (written > 0 && (size_t)written < path_size && is_program(path_out))
        return ERR_OK;
    return log_failure(ERR_NOT_FOUND, "privyseal-gpg");
}

/* Measured (design, section 3): the S2K count costs 5 ms instead of 500 per use; without growing secure memory the
   agent fails beyond 12 RSA operations at once. The passphrase stays for a day's work, at most a week. */
static const char agent_conf[] = "s2k-count 65536\n"
                                 "auto-expand-secmem 0x100000\n"
                                 "disable-scdaemon\n"
                                 "allow-loopback-pinentry\n"
                                 "default-cache-ttl 86400\n"
                                 "max-cache-ttl 604800\n";

static enum err make_file(const char *home, const char *name, const char *content)
{
    char path[GPG_PATH_SIZE];
    int written = snprintf(path, sizeof path, "%s/%s", home, name);
    if (written < 0 || (size_t)written >= sizeof path)
        return ERR_LIMIT;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? ERR_OK : log_failure(err_of_errno(errno), "making %s", path);
    size_t len = strlen(content);
    bool is_written = write(fd, content, len) == (ssize_t)len;
    if (close(fd) != 0 || !is_written)
        return log_failure(ERR_IO, "writing %s", path);
    return ERR_OK;
}

enum err keyring_gpg_make_home(const char *home)
{
    if (mkdir(home, 0700) != 0 && errno != EEXIST)
        return log_failure(err_of_errno(errno), "making %s", home);
    enum err err = make_file(home, "gpg-agent.conf", agent_conf);
    return err == ERR_OK ? make_file(home, "gpg.conf", "") : err;
}

/* FNV-1a: the stamp must only differ when the files do; nobody gains by making it collide. */
static uint64_t mix(uint64_t hash, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        hash = (hash ^ ((number >> (8 * i)) & 0xff)) * 0x100000001b3u;
    return hash;
}

enum err keyring_gpg_stamp(const char *home, uint64_t *stamp_out)
{
    static const char *const names[] = {"pubring.kbx", "pubring.gpg", "trustdb.gpg", "private-keys-v1.d"};
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[GPG_PATH_SIZE];
        struct stat status;
        int written = snprintf(path, sizeof path, "%s/%s", home, names[i]);
        if (written < 0 || (size_t)written >= sizeof path)
            return ERR_LIMIT;
        if (stat(path, &status) != 0) {
            if (errno != ENOENT)
                return log_failure(ERR_IO, "%s: %s", path, strerror(errno));
            status = (struct stat){0};
        }
        hash = mix(hash, (uint64_t)status.st_ino);
        hash = mix(hash, (uint64_t)status.st_size);
        hash = mix(hash, (uint64_t)status.st_mtim.tv_sec);
        hash = mix(hash, (uint64_t)status.st_mtim.tv_nsec);
    }
    *stamp_out = hash;
    return ERR_OK;
}

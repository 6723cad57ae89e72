#include "proxy/state.h"

#include "base/tls.h"
#include "keyring/gpg.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes `path` and what is missing above it. */
static enum err make_dirs(const char *path)
{
    char part[CONFIG_PATH_SIZE];
    for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        size_t len = slash == NULL ? strlen(path) : (size_t)(slash - path);
        if (!span_copy((struct span){path, len}, part, sizeof(part)))
            return ERR_CONFIG;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return log_failure(err_of_errno(errno), "making %s", part);
        if (slash == NULL)
            return ERR_OK;
    }
}

static enum err give(const char *path, const char *user)
{
    if (user[0] == '\0' || geteuid() != 0)
        return ERR_OK;
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        log_error("there is no user %s", user);
        return ERR_CONFIG;
    }
    /* The user may write above this directory: a link put in its place must not be followed. */
    if (lchown(path, entry->pw_uid, entry->pw_gid) != 0)
        return log_failure(err_of_errno(errno), "giving %s to %s", path, user);
    return ERR_OK;
}

static enum err make_given(const char *path, const char *user)
{
    enum err err = make_dirs(path);
    return err == ERR_OK ? give(path, user) : err;
}

enum err proxy_state_certificate(const struct config *config, char certificate[CONFIG_PATH_SIZE],
                                 char key[CONFIG_PATH_SIZE])
{
    return config_state_path(config, "tls/certificate.pem", certificate) &&
                   config_state_path(config, "tls/key.pem", key)
               ? ERR_OK
               : ERR_CONFIG;
}

enum err proxy_state_prepare_account(const struct config *config, const struct config_account *account)
{
    char path[CONFIG_PATH_SIZE];
    if (!config_key_cache(config, account, path))
        return ERR_CONFIG;
    enum err err = make_given(path, config->user);
    if (err == ERR_OK)
        err = config_certificates(config, account, path) ? make_given(path, config->user) : ERR_CONFIG;
    if (err != ERR_OK || !account->is_own_home)
        return err;
    err = make_given(account->gnupghome, config->user);
    if (err == ERR_OK)
        err = keyring_gpg_make_home(account->gnupghome);
    return err;
}

enum err proxy_state_prepare(const struct config *config)
{
    char path[CONFIG_PATH_SIZE], certificate[CONFIG_PATH_SIZE];
    /* The state directory itself must let the configured user through to what is the user's. */
    enum err err = make_given(config->state_dir, config->user);
    if (err == ERR_OK && config_state_path(config, "store", path))
        err = make_given(path, config->user);
    if (err == ERR_OK && config_state_path(config, "run", path))
        err = make_given(path, config->user);
    if (err == ERR_OK && config_state_path(config, "tls", path))
        err = make_dirs(path);
    if (err == ERR_OK)
        err = proxy_state_certificate(config, certificate, path);
    if (err == ERR_OK)
        err = tls_make_certificate(certificate, path);
    for (size_t i = 0; err == ERR_OK && i < config->accounts_len; i++)
        err = proxy_state_prepare_account(config, &config->accounts[i]);
    return err;
}

#include "proxy/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "crypto/memory.h"
#include "proxy/keeper_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Also counted: all files of this user that are on their way between processes (unix(7), ETOOMANYREFS). */
#define KEEPER_FILES_MAX 4096

enum err keeper_outcome(enum err result)
{
    return crypto_memory_has_failed() ? ERR_MEMORY : result;
}

enum err keeper_answer(enum err result)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, (uint32_t)keeper_outcome(result));
    return ipc_send(KEEPER_SOCKET, &out);
}

enum err keeper_smime(struct keeper *keeper, const struct crypto_smime **smime_out)
{
    enum err err = keeper->certificates == NULL
                       ? keyring_certificates_open(keeper->setup.certificates, &keeper->certificates)
                       : keyring_certificates_refresh(keeper->certificates);
    keeper->smime = keeper->setup.smime;
    keeper->smime.anchors = keeper->anchors;
    keeper->smime.certificates = keeper->certificates;
    keeper->smime.private_key = keeper_private_key;
    if (keeper->setup.revocation != KEYRING_REVOCATION_OFF)
        keeper->smime.revocation = keeper_revocation;
    keeper->smime.context = keeper;
    *smime_out = &keeper->smime;
    return err;
}

/* One job. An error here is the peer's or the socket's, and ends the keeper; a job's own failure has been answered. */
static enum err serve_one(struct keeper *keeper)
{
    struct ipc_in in;
    keeper_wait(keeper);
    enum err err = ipc_recv(KEEPER_SOCKET, &in);
    if (err != ERR_OK)
        return err;
    switch (ipc_type(&in)) {
    case PROXY_JOB_LIST:
        err = keeper_list(keeper, &in);
        break;
    case PROXY_JOB_INSPECT:
        err = keeper_inspect(keeper, &in);
        break;
    case PROXY_JOB_SEAL:
    case PROXY_JOB_OWN:
        err = keeper_seal(keeper, &in);
        break;
    case PROXY_JOB_OPEN:
        err = keeper_open(keeper, &in);
        break;
    case PROXY_JOB_UNLOCK:
        err = keeper_unlock(keeper, &in);
        break;
    case PROXY_JOB_KEYS:
        err = keeper_keys(keeper, &in);
        break;
    case PROXY_JOB_LEARN:
        err = keeper_learn(keeper, &in);
        break;
    case PROXY_JOB_REVOKED:
        err = keeper_revoked(keeper, &in);
        break;
    default:
        err = ERR_PEER_PROTOCOL;
    }
    ipc_in_fini(&in);
    /* What OpenSSL did not get it would go without in the next job, too. */
    return err == ERR_OK ? keeper_outcome(err) : err;
}

static enum err enter_sandbox(const struct proxy_keeper_setup *setup)
{
    char wrapper_dir[sizeof(setup->wrapper)];
    memcpy(wrapper_dir, setup->wrapper, sizeof(wrapper_dir));
    char *slash = strrchr(wrapper_dir, '/');
    if (slash == NULL)
        return ERR_INTERNAL;
    *slash = '\0';
    const bool has_dir = setup->pkcs11_module[0] != '\0' && setup->pkcs11_dir[0] != '\0';
    struct sandbox_options options = {
        .role = SANDBOX_KEEPER,
        .writable_dirs = {setup->home, setup->key_cache, setup->certificates, has_dir ? setup->pkcs11_dir : NULL},
        .readable_dirs = {wrapper_dir},
        .user = setup->user,
        .memory_max = setup->memory_max,
        .file_size_max = setup->output_max,
        .files_max = KEEPER_FILES_MAX};
    for (uint32_t i = 0; i < setup->hidden_len; i++)
        options.hidden_dirs[i] = setup->hidden[i];
    return sandbox_enter(&options);
}

static enum err take_setup(struct keeper *keeper)
{
    struct ipc_in in;
    enum err err = ipc_recv(KEEPER_SOCKET, &in);
    if (err != ERR_OK)
        return err;
    err = proxy_get_setup(&in, &keeper->setup);
    ipc_in_fini(&in);
    return err;
}

/* gpg starts for every job, and in the plain locale it opens no locale's files, which were a twentieth of its time.
   The user's own locale is told to gpg apart, for the window that asks for a passphrase. */
static void simplify_locale(void)
{
    static const struct {
        int category;
        const char *name;
    } kept[] = {{LC_CTYPE, "LC_CTYPE"}, {LC_MESSAGES, "LC_MESSAGES"}};
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
        gpgme_error_t error = gpgme_set_locale(NULL, kept[i].category, setlocale(kept[i].category, ""));
        if (error != 0)
            log_warning("%s: %s", kept[i].name, gpgme_strerror(error));
    }
    if (setenv("LC_ALL", "C", 1) != 0)
        log_warning("setting LC_ALL: %s", strerror(errno));
}

int proxy_keeper_main(void)
{
    struct keeper keeper = {.setup.vault = -1, .setup.finder = -1};
    log_init("keeper", LOG_LEVEL_INFO);
    crypto_memory_watch();
    sandbox_no_dumps();
    signal(SIGPIPE, SIG_IGN);
    /* A terminal's interrupt is for the master, which lets jobs end; and the group is what a time-out ends. */
    setpgid(0, 0);
    signal(SIGTERM, SIG_IGN);
    umask(077);
    enum err err = take_setup(&keeper);
    if (err == ERR_OK) {
        log_init("keeper", (enum log_level)keeper.setup.log_level);
        /* Without them nobody would have a certificate, so that mail left in clear, and verdicts that stay were wrong:
           the jobs fail until another keeper can read them. */
        err = keyring_anchors_open(keeper.setup.smime_ca, &keeper.anchors);
    }
    if (err == ERR_OK && keeper.setup.pkcs11_module[0] != '\0' &&
        keyring_token_open(keeper.setup.pkcs11_module, &keeper.token) != ERR_OK)
        log_error("the token of %s cannot be used", keeper.setup.account);
    if (err == ERR_OK)
        err = enter_sandbox(&keeper.setup);
    if (err == ERR_OK)
        simplify_locale();
    if (err == ERR_OK)
        err = keyring_gpg_open(keeper.setup.home, keeper.setup.wrapper, &keeper.gpg);
    while (err == ERR_OK)
        err = serve_one(&keeper);
    keeper_private_fini(&keeper);
    keyring_token_close(&keeper.token);
    keyring_free(&keeper.keyring);
    keyring_free(&keeper.ring);
    keyring_certificates_close(&keeper.certificates);
    keyring_anchors_close(&keeper.anchors);
    free(keeper.known);
    keyring_gpg_close(&keeper.gpg);
    if (keeper.setup.vault >= 0)
        close(keeper.setup.vault);
    if (keeper.setup.finder >= 0)
        close(keeper.setup.finder);
    if (err == ERR_END)
        return 0;
    log_failure(err, "keeper for %s", keeper.setup.home);
    return 3;
}

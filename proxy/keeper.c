#include "proxy/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "base/sandbox.h"
#include "proxy/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPER_SOCKET 3
#define KEEPER_INDEX_MAX ((size_t)1 << 31)

struct keeper {
    struct proxy_keeper_setup setup;
    struct keyring_gpg *gpg;
};

/* Answers a job that has nothing but its error to tell. */
static enum err answer(enum err result)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, (uint32_t)result);
    return ipc_send(KEEPER_SOCKET, &out);
}

/* Seals `fd` and sends what `out` holds with it; closes `fd`. */
static enum err answer_with_file(struct ipc_out *out, int fd)
{
    enum err err = memfd_seal(fd);
    if (err == ERR_OK) {
        ipc_put_file(out, fd);
        err = ipc_send(KEEPER_SOCKET, out);
    } else {
        ipc_out_fini(out);
        err = answer(err);
    }
    close(fd);
    return err;
}

static enum err list_ring(struct keeper *keeper, int *fd_out)
{
    struct keyring *keyring = NULL;
    struct buf saved;
    *fd_out = -1;
    buf_init(&saved, KEEPER_INDEX_MAX);
    /* A person's own home is brought up to date by the person's own gpg. */
    enum err err = keeper->setup.is_own_home ? keyring_gpg_check_trust(keeper->gpg) : ERR_OK;
    if (err == ERR_OK)
        err = keyring_new(&keyring);
    if (err == ERR_OK)
        err = keyring_gpg_list(keeper->gpg, keyring);
    if (err == ERR_OK)
        err = keyring_save(keyring, &saved);
    if (err == ERR_OK)
        err = memfd_of("index", buf_span(&saved), KEEPER_INDEX_MAX, fd_out);
    keyring_free(&keyring);
    buf_fini(&saved);
    return err;
}

static enum err job_list(struct keeper *keeper, struct ipc_in *in)
{
    int fd;
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    err = list_ring(keeper, &fd);
    if (err != ERR_OK)
        return answer(err);
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, ERR_OK);
    ipc_put_file(&out, fd);
    err = ipc_send(KEEPER_SOCKET, &out);
    close(fd);
    return err;
}

static enum err inspect(struct span message, char *subject_tag, char (*recipients)[MIME_ADDR_SIZE],
                        size_t recipients_len)
{
    const char *pointers[CRYPTO_RECIPIENTS_MAX];
    bool is_visible[CRYPTO_RECIPIENTS_MAX] = {false};
    struct crypto_facts facts;
    for (size_t i = 0; i < recipients_len; i++)
        pointers[i] = recipients[i];
    struct crypto_inspect_options options = {
        .subject_tag = subject_tag, .recipients = pointers, .recipients_len = recipients_len};
    enum err err = crypto_inspect(message, &options, &facts, is_visible);
    if (err != ERR_OK)
        return answer(err);
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, ERR_OK);
    proxy_put_facts(&out, &facts, is_visible, recipients_len);
    return ipc_send(KEEPER_SOCKET, &out);
}

static enum err job_inspect(struct keeper *keeper, struct ipc_in *in)
{
    char subject_tag[64];
    struct span message = SPAN_NONE;
    ipc_get_string(in, subject_tag, sizeof(subject_tag));
    uint32_t len = ipc_get_u32(in);
    if (len > CRYPTO_RECIPIENTS_MAX)
        return ERR_PEER_PROTOCOL;
    char(*recipients)[MIME_ADDR_SIZE] = calloc(len + 1u, sizeof(*recipients));
    if (recipients == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < len; i++)
        ipc_get_string(in, recipients[i], sizeof(recipients[i]));
    int fd = ipc_get_file(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = memfd_map(fd, keeper->setup.output_max, &message);
    if (err == ERR_OK)
        err = inspect(message, subject_tag, recipients, len);
    memfd_unmap(&message);
    if (fd >= 0)
        close(fd);
    free(recipients);
    return err;
}

static enum err seal(struct keeper *keeper, struct crypto_seal_request *request, struct span message)
{
    struct crypto_seal_result result;
    int fd;
    enum err err = memfd_new("sealed", &fd);
    if (err != ERR_OK)
        return answer(err);
    request->output_max = keeper->setup.output_max;
    request->key_cache_dir = keeper->setup.key_cache;
    err = crypto_seal(keeper->gpg, request, message, fd, &result);
    if (err != ERR_OK) {
        close(fd);
        return answer(err);
    }
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, ERR_OK);
    ipc_put_u64(&out, result.size);
    ipc_put_u32(&out, result.is_8bit);
    return answer_with_file(&out, fd);
}

static enum err job_seal(struct keeper *keeper, struct ipc_in *in)
{
    struct crypto_seal_request request;
    char subject_tag[64];
    char(*recipients)[KEYRING_FPR_SIZE] = NULL;
    struct span message = SPAN_NONE;
    int fd = -1;
    enum err err = proxy_get_seal(in, &request, subject_tag, sizeof(subject_tag), &recipients);
    if (err == ERR_OK) {
        fd = ipc_get_file(in);
        err = ipc_in_end(in);
    }
    if (err == ERR_OK)
        err = memfd_map(fd, keeper->setup.output_max, &message);
    if (err == ERR_OK)
        err = seal(keeper, &request, message);
    memfd_unmap(&message);
    if (fd >= 0)
        close(fd);
    free(recipients);
    return err;
}

/* One job. An error here is the peer's or the socket's, and ends the keeper; a job's own failure has been answered. */
static enum err serve_one(struct keeper *keeper)
{
    struct ipc_in in;
    enum err err = ipc_recv(KEEPER_SOCKET, &in);
    if (err != ERR_OK)
        return err;
    switch (ipc_type(&in)) {
    case PROXY_JOB_LIST:
        err = job_list(keeper, &in);
        break;
    case PROXY_JOB_INSPECT:
        err = job_inspect(keeper, &in);
        break;
    case PROXY_JOB_SEAL:
        err = job_seal(keeper, &in);
        break;
    default:
        err = ERR_PEER_PROTOCOL;
    }
    ipc_in_fini(&in);
    return err;
}

static enum err enter_sandbox(const struct proxy_keeper_setup *setup)
{
    char wrapper_dir[sizeof(setup->wrapper)];
    memcpy(wrapper_dir, setup->wrapper, sizeof(wrapper_dir));
    char *slash = strrchr(wrapper_dir, '/');
    if (slash == NULL)
        return ERR_INTERNAL;
    *slash = '\0';
    struct sandbox_options options = {.role = SANDBOX_KEEPER,
                                      .writable_dirs = {setup->home, setup->key_cache},
                                      .readable_dirs = {wrapper_dir},
                                      .user = setup->user,
                                      .memory_max = setup->memory_max,
                                      .file_size_max = setup->output_max,
                                      .files_max = 256};
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
    struct keeper keeper = {.gpg = NULL};
    log_init("keeper", LOG_LEVEL_INFO);
    sandbox_no_dumps();
    signal(SIGPIPE, SIG_IGN);
    /* A terminal's interrupt is for the master, which lets jobs end; and the group is what a time-out ends. */
    setpgid(0, 0);
    signal(SIGTERM, SIG_IGN);
    umask(077);
    enum err err = take_setup(&keeper);
    if (err == ERR_OK) {
        log_init("keeper", (enum log_level)keeper.setup.log_level);
        err = enter_sandbox(&keeper.setup);
    }
    if (err == ERR_OK)
        simplify_locale();
    if (err == ERR_OK)
        err = keyring_gpg_open(keeper.setup.home, keeper.setup.wrapper, &keeper.gpg);
    while (err == ERR_OK)
        err = serve_one(&keeper);
    keyring_gpg_close(&keeper.gpg);
    if (err == ERR_END)
        return 0;
    log_failure(err, "keeper for %s", keeper.setup.home);
    return 3;
}

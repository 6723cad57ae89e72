#include "proxy/keeper_internal.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "crypto/own.h"

#include <stdlib.h>
#include <unistd.h>

/* Seals `fd` and sends what `out` holds with it; closes `fd`. */
static enum err answer_with_file(struct ipc_out *out, int fd)
{
    enum err err = memfd_seal(fd);
    if (err == ERR_OK) {
        ipc_put_file(out, fd);
        err = ipc_send(KEEPER_SOCKET, out);
    } else {
        ipc_out_fini(out);
        err = keeper_answer(err);
    }
    close(fd);
    return err;
}

/* What gpg tells, which takes long, is asked anew when the home has changed, and not for a certificate. */
static enum err list_home(struct keeper *keeper, uint64_t number)
{
    if (number != 0 && keeper->ring != NULL && keeper->ring_number == number)
        return ERR_OK;
    keyring_free(&keeper->ring);
    /* A person's own home is brought up to date by the person's own gpg. */
    enum err err = keeper->setup.is_own_home ? keyring_gpg_check_trust(keeper->gpg) : ERR_OK;
    if (err == ERR_OK)
        err = keyring_new(&keeper->ring);
    if (err == ERR_OK)
        err = keyring_gpg_list(keeper->gpg, keeper->ring);
    if (err != ERR_OK)
        keyring_free(&keeper->ring);
    keeper->ring_number = number;
    return err;
}

static enum err list_ring(struct keeper *keeper, uint64_t number, int *fd_out)
{
    struct keyring *keyring = NULL, *vouched = NULL;
    const int64_t now = clock_now();
    const char *own[PROXY_ADDRESSES_MAX];
    const struct crypto_smime *smime;
    struct buf saved;
    *fd_out = -1;
    for (uint32_t i = 0; i < keeper->setup.addresses_len; i++)
        own[i] = keeper->setup.addresses[i];
    buf_init(&saved, KEEPER_INDEX_MAX);
    enum err err = list_home(keeper, number);
    if (err == ERR_OK)
        err = keyring_new(&keyring);
    for (size_t i = 0; err == ERR_OK && i < keyring_len(keeper->ring); i++)
        err = keyring_add(keyring, keyring_at(keeper->ring, i));
    if (err == ERR_OK)
        err = keeper_smime(keeper, &smime);
    if (err == ERR_OK)
        err = keyring_certificates_list(smime->certificates, smime->anchors, own, keeper->setup.addresses_len, now,
                                        keyring);
    if (err == ERR_OK)
        err = keeper_vouch(keeper, &keyring, now, &vouched);
    if (err == ERR_OK)
        err = keyring_save(vouched, &saved);
    if (err == ERR_OK)
        err = memfd_of("index", buf_span(&saved), KEEPER_INDEX_MAX, fd_out);
    keyring_free(&keyring);
    keyring_free(&vouched);
    buf_fini(&saved);
    return err;
}

enum err keeper_list(struct keeper *keeper, struct ipc_in *in)
{
    int fd;
    uint64_t number = ipc_get_u64(in);
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    err = keeper_outcome(list_ring(keeper, number, &fd));
    if (err != ERR_OK) {
        if (fd >= 0)
            close(fd);
        return keeper_answer(err);
    }
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
        return keeper_answer(err);
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, ERR_OK);
    proxy_put_facts(&out, &facts, is_visible, recipients_len);
    return ipc_send(KEEPER_SOCKET, &out);
}

enum err keeper_inspect(struct keeper *keeper, struct ipc_in *in)
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

static enum err seal(struct keeper *keeper, bool is_own, struct crypto_seal_request *request, struct span message)
{
    struct crypto_seal_result result;
    int fd;
    enum err err = keeper_smime(keeper, &request->smime);
    if (err == ERR_OK)
        err = memfd_new("sealed", &fd);
    if (err != ERR_OK)
        return keeper_answer(err);
    request->output_max = keeper->setup.output_max;
    request->key_cache_dir = keeper->setup.key_cache;
    /* Programs save drafts by themselves, every few minutes: keys are unlocked at login or not at all. */
    request->is_quiet = is_own;
    err = is_own ? crypto_seal_own(keeper->gpg, request, message, fd, &result)
                 : crypto_seal(keeper->gpg, request, message, fd, &result);
    err = keeper_outcome(err);
    if (err != ERR_OK) {
        close(fd);
        return keeper_answer(err);
    }
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, ERR_OK);
    ipc_put_u64(&out, result.size);
    ipc_put_u32(&out, result.is_8bit);
    return answer_with_file(&out, fd);
}

enum err keeper_seal(struct keeper *keeper, struct ipc_in *in)
{
    struct crypto_seal_request request;
    struct proxy_seal_lists lists;
    struct span message = SPAN_NONE;
    int fd = -1;
    enum err err = proxy_get_seal(in, &request, &lists);
    if (err == ERR_OK) {
        fd = ipc_get_file(in);
        err = ipc_in_end(in);
    }
    if (err == ERR_OK)
        err = memfd_map(fd, keeper->setup.output_max, &message);
    if (err == ERR_OK)
        err = seal(keeper, ipc_type(in) == PROXY_JOB_OWN, &request, message);
    memfd_unmap(&message);
    if (fd >= 0)
        close(fd);
    proxy_seal_lists_fini(&lists);
    return err;
}

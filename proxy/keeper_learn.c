/*
 * What the finder found: looked at here, where it can do no harm, and kept if it is good.
 */
#include "proxy/keeper_internal.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "keyring/learn.h"

#include <unistd.h>

static enum err learn(struct keeper *keeper, const char *address, int fd, struct buf *words, size_t *kept)
{
    const struct crypto_smime *smime;
    struct span found = SPAN_NONE;
    enum err err = keeper_smime(keeper, &smime);
    if (err == ERR_OK)
        err = memfd_map(fd, KEYRING_FOUND_SIZE_MAX, &found);
    if (err == ERR_OK) {
        const struct keyring_learner learner = {.address = address,
                                                .certificates = smime->certificates,
                                                .anchors = smime->anchors,
                                                .gpg = keeper->gpg,
                                                .now = clock_now(),
                                                .words = words};
        err = keyring_learn(&learner, found, kept);
    }
    memfd_unmap(&found);
    return err;
}

enum err keeper_learn(struct keeper *keeper, struct ipc_in *in)
{
    char address[MIME_ADDR_SIZE];
    size_t kept = 0;
    struct buf words;
    struct ipc_out out;
    ipc_get_string(in, address, sizeof(address));
    int fd = ipc_get_file(in);
    enum err err = ipc_in_end(in);
    buf_init(&words, KEYRING_LEARN_WORDS_MAX);
    if (err == ERR_OK)
        err = keeper_outcome(learn(keeper, address, fd, &words, &kept));
    if (fd >= 0)
        close(fd);
    if (err == ERR_OK) {
        ipc_out_begin(&out, PROXY_JOB_DONE);
        ipc_put_u32(&out, ERR_OK);
        ipc_put_u32(&out, (uint32_t)kept);
        ipc_put_span(&out, buf_span(&words));
        err = ipc_send(KEEPER_SOCKET, &out);
    } else if (err != ERR_PEER_PROTOCOL) {
        err = keeper_answer(err);
    }
    buf_fini(&words);
    return err;
}

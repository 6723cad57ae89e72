/*
 * What the finder found, or mail brought along: looked at here, where it can do no harm, and kept if it is good.
 */
#include "proxy/keeper_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "keyring/learn.h"
#include "keyring/peer.h"

#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

/* `how`: who may be heard, and whether it is mail. */
static enum err learn(struct keeper *keeper, const char *address, const struct keyring_learner *how, struct span found,
                      struct buf *words, size_t *kept)
{
    const struct crypto_smime *smime;
    enum err err = keeper_smime(keeper, &smime);
    if (err != ERR_OK)
        return err;
    struct keyring_learner learner = *how;
    learner.address = address;
    learner.certificates = smime->certificates;
    learner.anchors = smime->anchors;
    learner.gpg = keeper->gpg;
    learner.now = clock_now();
    learner.words = words;
    return keyring_learn(&learner, found, kept);
}

static enum err take_digest(const char *address, struct span attached, uint8_t digest[32])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool is_done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                         EVP_DigestUpdate(context, address, strlen(address) + 1) == 1 &&
                         EVP_DigestUpdate(context, attached.ptr, attached.len) == 1 &&
                         EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    return is_done ? ERR_OK : ERR_INTERNAL;
}

static bool was_attached(const struct keeper *keeper, const uint8_t digest[32])
{
    for (size_t i = 0; i < KEEPER_ATTACHED_MAX; i++)
        if (memcmp(keeper->attached[i], digest, sizeof(keeper->attached[i])) == 0)
            return true;
    return false;
}

static enum err tell(struct span words, struct buf *heard)
{
    struct keyring_word word;
    enum err err;
    while ((err = keyring_word_take(&words, &word)) == ERR_OK) {
        struct keyring_heard one = {.at = word.since, .is_attached = true};
        memcpy(one.address, word.address, sizeof(one.address));
        memcpy(one.fingerprint, word.fingerprint, sizeof(one.fingerprint));
        err = keyring_heard_add(heard, &one);
        if (err != ERR_OK)
            return err;
    }
    return err == ERR_END ? ERR_OK : err;
}

void keeper_learn_attached(struct keeper *keeper, const char *address, struct span attached, struct buf *heard)
{
    uint8_t digest[32];
    struct buf words;
    size_t kept;
    enum err err = take_digest(address, attached, digest);
    if (err == ERR_OK && was_attached(keeper, digest))
        return;
    buf_init(&words, KEYRING_LEARN_WORDS_MAX);
    if (err == ERR_OK)
        err = learn(keeper, address, &(struct keyring_learner){.is_mail = true}, attached, &words, &kept);
    if (err == ERR_OK)
        err = tell(buf_span(&words), heard);
    buf_fini(&words);
    if (err == ERR_OK)
        memcpy(keeper->attached[keeper->attached_next++ % KEEPER_ATTACHED_MAX], digest, sizeof(digest));
    else
        (void)log_failure(err, "keeping a key that came with mail of %s", address);
}

enum err keeper_learn(struct keeper *keeper, struct ipc_in *in)
{
    char address[MIME_ADDR_SIZE];
    struct keyring_teller tellers[KEYRING_TELLERS_MAX];
    struct keyring_learner how = {.tellers = tellers};
    struct span found = SPAN_NONE;
    size_t kept = 0;
    struct buf words;
    struct ipc_out out;
    ipc_get_string(in, address, sizeof(address));
    how.tellers_len = proxy_get_tellers(in, tellers);
    int fd = ipc_get_file(in);
    enum err err = ipc_in_end(in);
    buf_init(&words, KEYRING_LEARN_WORDS_MAX);
    if (err == ERR_OK) {
        err = memfd_map(fd, KEYRING_FOUND_SIZE_MAX, &found);
        if (err == ERR_OK)
            err = learn(keeper, address, &how, found, &words, &kept);
        err = keeper_outcome(err);
        memfd_unmap(&found);
    }
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

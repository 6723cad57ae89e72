/*
 * Revocation, for a keeper's engine: the finder is asked over a line of our own, and its answers are judged here, so
 * that it need not be believed. What counts is kept by certificate until it runs out, and what could not be learnt for
 * some time, so that a mailbox full of mail by one person asks once.
 */
#include "proxy/keeper_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "crypto/smime_seal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KNOWN_MAX 1024
#define UNKNOWN_S 60
#define PATH_SIZE_MAX ((size_t)1 << 20)
#define ANSWERS_SIZE_MAX (KEYRING_ANSWER_MAX * 2)

/* What is known of one certificate, below this issuer. A full table begins anew. */
struct keeper_known {
    struct {
        char certificate[KEYRING_FPR_SIZE], issuer[KEYRING_FPR_SIZE];
        struct keyring_revocation revocation;
        int64_t until;
    } items[KNOWN_MAX];
    size_t len;
};

struct asking {
    struct keeper *keeper;
    STACK_OF(X509) * path;
    size_t len; /* certificates but the anchor */
    int64_t now, at;
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX];
};

static enum err name_pair(const struct asking *asking, size_t index, char certificate_out[KEYRING_FPR_SIZE],
                          char issuer_out[KEYRING_FPR_SIZE])
{
    enum err err = keyring_x509_fingerprint(sk_X509_value(asking->path, (int)index), certificate_out);
    return err != ERR_OK ? err : keyring_x509_fingerprint(sk_X509_value(asking->path, (int)index + 1), issuer_out);
}

/* Takes what is known of all of the path. False: something is not. Only for judgements of the present, since what was
   revoked later counts otherwise. */
static bool take_known(struct asking *asking)
{
    const struct keeper_known *known = asking->keeper->known;
    char certificate[KEYRING_FPR_SIZE], issuer[KEYRING_FPR_SIZE];
    for (size_t i = 0; i < asking->len; i++) {
        bool is_known = false;
        if (known == NULL || asking->keeper->asks_anew || asking->at != asking->now ||
            name_pair(asking, i, certificate, issuer) != ERR_OK)
            return false;
        for (size_t j = 0; !is_known && j < known->len; j++) {
            is_known = known->items[j].until > asking->now && strcmp(known->items[j].certificate, certificate) == 0 &&
                       strcmp(known->items[j].issuer, issuer) == 0;
            if (is_known)
                asking->revocations[i] = known->items[j].revocation;
        }
        if (!is_known)
            return false;
    }
    return true;
}

/* What counts still is not given up for no answer, nor for one that was made earlier. */
static bool counts_more(const struct keyring_revocation *old, int64_t until, const struct keyring_revocation *fresh,
                        int64_t now)
{
    return old->state != KEYRING_REVOCATION_UNKNOWN && until > now &&
           (fresh->state == KEYRING_REVOCATION_UNKNOWN || fresh->made < old->made);
}

static void keep(struct asking *asking)
{
    struct keeper_known *known = asking->keeper->known;
    if (known == NULL)
        known = asking->keeper->known = calloc(1, sizeof(*known));
    if (known == NULL || asking->at != asking->now)
        return;
    for (size_t i = 0; i < asking->len; i++) {
        const struct keyring_revocation *revocation = &asking->revocations[i];
        char certificate[KEYRING_FPR_SIZE], issuer[KEYRING_FPR_SIZE];
        size_t at = 0;
        if (name_pair(asking, i, certificate, issuer) != ERR_OK)
            return;
        while (at < known->len &&
               (strcmp(known->items[at].certificate, certificate) != 0 || strcmp(known->items[at].issuer, issuer) != 0))
            at++;
        if (at == KNOWN_MAX)
            at = known->len = 0;
        if (at < known->len &&
            counts_more(&known->items[at].revocation, known->items[at].until, revocation, asking->now)) {
            if (revocation->state != KEYRING_REVOCATION_UNKNOWN)
                asking->revocations[i] = known->items[at].revocation;
            continue;
        }
        if (at == known->len)
            known->len++;
        memcpy(known->items[at].certificate, certificate, sizeof(certificate));
        memcpy(known->items[at].issuer, issuer, sizeof(issuer));
        known->items[at].revocation = *revocation;
        known->items[at].until =
            revocation->state == KEYRING_REVOCATION_UNKNOWN ? asking->now + UNKNOWN_S : revocation->until;
    }
}

/* ---- the finder ---- */

static enum err send_path(const struct asking *asking, uint32_t number)
{
    struct ipc_out out;
    struct buf bytes;
    int fd = -1;
    enum err err = ERR_OK;
    buf_init(&bytes, PATH_SIZE_MAX);
    for (int i = 0; err == ERR_OK && i < sk_X509_num(asking->path); i++) {
        unsigned char *der = NULL;
        int len = i2d_X509(sk_X509_value(asking->path, i), &der);
        err = len > 0 ? buf_add(&bytes, der, (size_t)len) : ERR_MEMORY;
        OPENSSL_free(der);
    }
    if (err == ERR_OK)
        err = memfd_of("path", buf_span(&bytes), PATH_SIZE_MAX, &fd);
    buf_fini(&bytes);
    if (err != ERR_OK)
        return err;
    ipc_out_begin(&out, PROXY_REVOCATION);
    ipc_put_u32(&out, number);
    ipc_put_u32(&out, asking->keeper->asks_anew);
    ipc_put_file(&out, fd);
    err = ipc_send(asking->keeper->setup.finder, &out);
    close(fd);
    return err;
}

/* One answer, about the certificate `index`. */
static enum err take_answer(struct asking *asking, size_t index, uint32_t kind, struct span bytes)
{
    if (index >= asking->len || kind >= KEYRING_ANSWER_COUNT)
        return ERR_PEER_PROTOCOL;
    return keyring_revocation_judge((enum keyring_answer_kind)kind, bytes, sk_X509_value(asking->path, (int)index),
                                    sk_X509_value(asking->path, (int)index + 1), asking->now, asking->at,
                                    &asking->revocations[index]);
}

static enum err take_answers(struct asking *asking, struct ipc_in *in)
{
    struct {
        uint32_t index, kind, size;
    } items[KEYRING_CHAIN_MAX];
    struct span bytes = SPAN_NONE;
    size_t from = 0;
    const uint32_t count = ipc_get_u32(in);
    if (count > KEYRING_CHAIN_MAX)
        return ERR_PEER_PROTOCOL;
    for (uint32_t i = 0; i < count; i++) {
        items[i].index = ipc_get_u32(in);
        items[i].kind = ipc_get_u32(in);
        items[i].size = ipc_get_u32(in);
    }
    int fd = count > 0 ? ipc_get_file(in) : -1;
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && fd >= 0)
        err = memfd_map(fd, ANSWERS_SIZE_MAX, &bytes);
    for (uint32_t i = 0; err == ERR_OK && i < count; i++) {
        err = items[i].size > bytes.len - from
                  ? ERR_PEER_PROTOCOL
                  : take_answer(asking, items[i].index, items[i].kind, span_slice(bytes, from, from + items[i].size));
        from += items[i].size;
    }
    memfd_unmap(&bytes);
    if (fd >= 0)
        close(fd);
    return err;
}

/* The answer with this number; an earlier one was not waited for to the end. */
static enum err await(struct asking *asking, uint32_t number)
{
    struct ipc_in in;
    enum err err = ipc_recv(asking->keeper->setup.finder, &in);
    while (err == ERR_OK) {
        const uint32_t answered = ipc_get_u32(&in), result = ipc_get_u32(&in);
        if (ipc_type(&in) != PROXY_FINDER_DONE || in.err != ERR_OK || result >= ERR_COUNT)
            err = ERR_PEER_PROTOCOL;
        else if (answered == number)
            err = result != ERR_OK ? (enum err)result : take_answers(asking, &in);
        ipc_in_fini(&in);
        if (err != ERR_OK || answered == number)
            return err;
        err = ipc_recv(asking->keeper->setup.finder, &in);
    }
    return err;
}

static void ask(struct asking *asking)
{
    struct keeper *keeper = asking->keeper;
    const uint32_t number = ++keeper->asked;
    if (keeper->setup.finder < 0)
        return;
    enum err err = send_path(asking, number);
    if (err == ERR_OK)
        err = await(asking, number);
    if (err != ERR_OK)
        log_failure(err, "asking what has been revoked");
    /* What else may come over the line cannot be told apart from answers. */
    if (err == ERR_PEER_PROTOCOL || err == ERR_END) {
        close(keeper->setup.finder);
        keeper->setup.finder = -1;
    }
}

enum err keeper_revocation(void *context, STACK_OF(X509) * path, int64_t at, bool *is_unknown_out)
{
    struct keeper *keeper = context;
    const enum keyring_revocation_mode mode = (enum keyring_revocation_mode)keeper->setup.revocation;
    const int len = path == NULL ? 0 : sk_X509_num(path) - 1;
    struct asking asking = {.keeper = keeper, .path = path, .now = clock_now(), .at = at};
    *is_unknown_out = false;
    if (mode == KEYRING_REVOCATION_OFF)
        return ERR_OK;
    if (len < 0 || len > KEYRING_CHAIN_MAX)
        return ERR_LIMIT;
    asking.len = (size_t)len;
    for (size_t i = 0; i < asking.len; i++)
        asking.revocations[i].reason = "nobody was there to ask";
    if (path == NULL)
        return keyring_revocation_sum(NULL, 0, mode, is_unknown_out);
    /* An anchor is believed by whoever named it as one. */
    if (asking.len > 0 && !take_known(&asking)) {
        ask(&asking);
        keep(&asking);
    }
    return keyring_revocation_sum(asking.revocations, asking.len, mode, is_unknown_out);
}

enum err keeper_revoked(struct keeper *keeper, struct ipc_in *in)
{
    char fingerprint[KEYRING_FPR_SIZE];
    const struct crypto_smime *smime;
    ipc_get_string(in, fingerprint, sizeof(fingerprint));
    if (ipc_in_end(in) != ERR_OK)
        return ERR_PEER_PROTOCOL;
    enum err err = keeper_smime(keeper, &smime);
    if (err == ERR_OK) {
        keeper->asks_anew = true;
        err = crypto_smime_ask_revocation(smime, fingerprint);
        keeper->asks_anew = false;
    }
    return keeper_answer(keeper_outcome(err));
}

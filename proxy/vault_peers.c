/*
 * The vault's answers about correspondents: net tells what happened, and what sources say, up to `found`; a keeper gets
 * the words of its own account, and its records; what a person says comes of commands alone.
 */
#include "proxy/vault_internal.h"

#include "base/memfd.h"
#include "proxy/peers.h"
#include "proxy/wire.h"
#include "proxy/wire_view.h"

#include <string.h>

/* Of a request that is done when the answer is there. */
static void note_changed(struct vault_answer *answer, const char *account, bool is_changed)
{
    ipc_put_u32(&answer->out, is_changed);
    if (is_changed)
        (void)span_copy(span_of(account), answer->words_changed, sizeof(answer->words_changed));
}

static enum keyring_format get_format(struct ipc_in *in)
{
    const uint32_t format = ipc_get_u32(in);
    if (in->err == ERR_OK && format != KEYRING_OPENPGP && format != KEYRING_SMIME)
        in->err = ERR_PEER_PROTOCOL;
    return (enum keyring_format)format;
}

/* Upper-case hexadecimal, or "". */
static void get_fingerprint(struct ipc_in *in, char fingerprint[KEYRING_FPR_SIZE])
{
    ipc_get_string(in, fingerprint, KEYRING_FPR_SIZE);
    if (in->err == ERR_OK && fingerprint[strspn(fingerprint, "0123456789ABCDEF")] != '\0')
        in->err = ERR_PEER_PROTOCOL;
}

static void get_address(struct ipc_in *in, char address[MIME_ADDR_SIZE])
{
    ipc_get_string(in, address, MIME_ADDR_SIZE);
    if (in->err == ERR_OK && address[0] == '\0')
        in->err = ERR_PEER_PROTOCOL;
}

enum err vault_peer_get(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], address[MIME_ADDR_SIZE];
    struct keyring_peer peer;
    struct buf saved;
    ipc_get_string(in, account, sizeof(account));
    if (in->err == ERR_OK && answer->account != NULL && strcmp(account, answer->account) != 0)
        in->err = ERR_PEER_PROTOCOL;
    get_address(in, address);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = proxy_peers_get(store, account, address, &peer);
    if (err != ERR_OK)
        return err;
    buf_init(&saved, KEYRING_PEER_SAVED_MAX);
    err = keyring_peer_save(&peer, &saved);
    if (err == ERR_OK)
        proxy_put_content(&answer->out, "peer", buf_span(&saved), &answer->file);
    buf_fini(&saved);
    keyring_peer_fini(&peer);
    return err;
}

/* What `in` holds are words, all of one address; and net says nothing in a person's name, nor more than `found`. */
static enum err check_words(const struct vault_answer *answer, struct span words)
{
    struct keyring_word word;
    char address[MIME_ADDR_SIZE] = "";
    enum err err;
    while ((err = keyring_word_take(&words, &word)) == ERR_OK) {
        if (address[0] != '\0' && strcmp(address, word.address) != 0)
            return ERR_PEER_PROTOCOL;
        memcpy(address, word.address, sizeof(address));
        if (!answer->is_command && (word.source == KEYRING_SOURCE_PERSON || word.trust > KEYRING_FOUND))
            return ERR_PEER_PROTOCOL;
    }
    return err == ERR_END && address[0] != '\0' ? ERR_OK : ERR_PEER_PROTOCOL;
}

enum err vault_peer_hear(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    bool is_changed = false;
    ipc_get_string(in, account, sizeof(account));
    const struct span words = ipc_get_span(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && check_words(answer, words) != ERR_OK)
        err = in->err = ERR_PEER_PROTOCOL;
    if (err != ERR_OK)
        return err;
    answer->is_changed = true;
    err = proxy_peers_hear(store, account, words, &is_changed);
    note_changed(answer, account, is_changed);
    return err;
}

static enum err check_heard(struct span heard)
{
    struct keyring_heard one;
    enum err err;
    while ((err = keyring_heard_take(&heard, &one)) == ERR_OK) {
    }
    return err == ERR_END ? ERR_OK : ERR_PEER_PROTOCOL;
}

enum err vault_peer_received(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    bool is_changed = false;
    ipc_get_string(in, account, sizeof(account));
    struct span heard = proxy_get_content(in, KEYRING_HEARD_SIZE_MAX);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && check_heard(heard) != ERR_OK)
        err = in->err = ERR_PEER_PROTOCOL;
    if (err == ERR_OK) {
        answer->is_changed = true;
        answer->is_by_mail = true;
        err = proxy_peers_received(store, account, heard, &is_changed);
        note_changed(answer, account, is_changed);
    }
    memfd_unmap(&heard);
    return err;
}

enum err vault_peer_sent(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    enum err first = ERR_OK;
    ipc_get_string(in, account, sizeof(account));
    const int64_t at = (int64_t)ipc_get_u64(in);
    const enum keyring_format format = get_format(in);
    const uint32_t len = ipc_get_u32(in);
    if (in->err == ERR_OK && (at < 0 || len > CRYPTO_RECIPIENTS_MAX))
        in->err = ERR_PEER_PROTOCOL;
    answer->is_changed = true;
    for (uint32_t i = 0; i < len && in->err == ERR_OK; i++) {
        char address[MIME_ADDR_SIZE], fingerprint[KEYRING_FPR_SIZE];
        get_address(in, address);
        get_fingerprint(in, fingerprint);
        enum err err =
            in->err == ERR_OK ? proxy_peers_sent(store, account, address, format, fingerprint, at) : ERR_PEER_PROTOCOL;
        first = first == ERR_OK ? err : first;
    }
    enum err err = ipc_in_end(in);
    return err == ERR_OK ? first : err;
}

enum err vault_peer_due(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct proxy_peer_due due;
    ipc_get_string(in, account, sizeof(account));
    const int64_t now = (int64_t)ipc_get_u64(in);
    const uint32_t period_s = ipc_get_u32(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && (now < 0 || period_s == 0))
        err = in->err = ERR_PEER_PROTOCOL;
    if (err == ERR_OK)
        err = proxy_peers_due(store, account, now, period_s, &due);
    if (err != ERR_OK)
        return err;
    ipc_put_u32(&answer->out, due.used);
    ipc_put_u64(&answer->out, (uint64_t)due.due);
    ipc_put_string(&answer->out, due.address);
    ipc_put_string(&answer->out, due.fingerprint);
    ipc_put_string(&answer->out, due.certificate);
    return ERR_OK;
}

enum err vault_peer_refreshed(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], address[MIME_ADDR_SIZE];
    ipc_get_string(in, account, sizeof(account));
    get_address(in, address);
    const int64_t at = (int64_t)ipc_get_u64(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && at < 0)
        err = in->err = ERR_PEER_PROTOCOL;
    if (err != ERR_OK)
        return err;
    answer->is_changed = true;
    return proxy_peers_refreshed(store, account, address, at);
}

enum err vault_peer_words(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE];
    struct buf words;
    enum err err = vault_get_account(in, answer, account);
    const int64_t now = (int64_t)ipc_get_u64(in);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    buf_init(&words, KEYRING_WORDS_SIZE_MAX);
    err = proxy_peers_words(store, account, now, &words);
    if (err == ERR_OK)
        proxy_put_content(&answer->out, "words", buf_span(&words), &answer->file);
    buf_fini(&words);
    return err;
}

static enum err get_peer(struct ipc_in *in, const struct vault_answer *answer, char account[MIME_ADDR_SIZE],
                         char address[MIME_ADDR_SIZE])
{
    enum err err = vault_get_account(in, answer, account);
    get_address(in, address);
    return err == ERR_OK ? in->err : err;
}

enum err vault_peer_unpin(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], address[MIME_ADDR_SIZE];
    enum err err = get_peer(in, answer, account, address);
    const enum keyring_format format = get_format(in);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    answer->is_changed = true;
    err = proxy_peers_unpin(store, account, address, format);
    if (err == ERR_OK)
        memcpy(answer->words_changed, account, sizeof(answer->words_changed));
    return err;
}

enum err vault_peer_remove(struct store *store, struct ipc_in *in, struct vault_answer *answer)
{
    char account[MIME_ADDR_SIZE], address[MIME_ADDR_SIZE];
    enum err err = get_peer(in, answer, account, address);
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    answer->is_changed = true;
    err = store_peer_remove(store, account, address);
    if (err == ERR_OK)
        memcpy(answer->words_changed, account, sizeof(answer->words_changed));
    return err;
}

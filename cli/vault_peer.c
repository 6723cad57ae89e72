/*
 * Records of correspondents as commands use them: through the vault while `serve` runs, in the store when it does not.
 */
#include "cli/vault.h"

#include "base/memfd.h"
#include "proxy/peers.h"
#include "proxy/wire_view.h"

#include <unistd.h>

static enum err end(struct ipc_in *in)
{
    const enum err err = ipc_in_end(in);
    ipc_in_fini(in);
    return err;
}

/* Of a request that is answered with its error and, if `has_number`, a number that says nothing to a command. */
static enum err ask_done(const struct cli_vault *vault, struct ipc_out *out, bool has_number)
{
    struct ipc_in in;
    enum err err = cli_vault_ask(vault, out, &in);
    if (err)
        return err;
    if (has_number)
        (void)ipc_get_u32(&in);
    return end(&in);
}

static void begin(struct ipc_out *out, uint16_t type, const char *account)
{
    ipc_out_begin(out, type);
    ipc_put_string(out, account);
}

/* Adds the one file of an answer. */
static enum err take_file(struct ipc_in *in, size_t size_max, struct buf *out)
{
    struct span content = proxy_get_content(in, size_max);
    enum err err = end(in);
    if (!err)
        err = buf_add_span(out, content);
    memfd_unmap(&content);
    return err;
}

enum err cli_vault_peer_get(struct cli_vault *vault, const char *account, const char *address,
                            struct keyring_peer *peer)
{
    struct ipc_out out;
    struct ipc_in in;
    struct buf saved;
    if (vault->store)
        return proxy_peers_get(vault->store, account, address, peer);
    begin(&out, PROXY_PEER_GET, account);
    ipc_put_string(&out, address);
    enum err err = cli_vault_ask(vault, &out, &in);
    if (err)
        return err;
    buf_init(&saved, KEYRING_PEER_SAVED_MAX);
    err = take_file(&in, KEYRING_PEER_SAVED_MAX, &saved);
    if (!err)
        err = keyring_peer_load(buf_span(&saved), peer);
    buf_fini(&saved);
    return err;
}

enum err cli_vault_peer_hear_all(struct cli_vault *vault, const char *account, struct span words)
{
    struct ipc_out out;
    bool is_changed;
    if (vault->store)
        return proxy_peers_hear(vault->store, account, words, &is_changed);
    begin(&out, PROXY_PEER_HEAR, account);
    ipc_put_span(&out, words);
    return ask_done(vault, &out, true);
}

enum err cli_vault_peer_hear(struct cli_vault *vault, const char *account, const struct keyring_word *word)
{
    struct buf saved;
    buf_init(&saved, sizeof *word + 64);
    enum err err = keyring_word_add(&saved, word);
    if (!err)
        err = cli_vault_peer_hear_all(vault, account, buf_span(&saved));
    buf_fini(&saved);
    return err;
}

enum err cli_vault_peer_unpin(struct cli_vault *vault, const char *account, const char *address,
                              enum keyring_format format)
{
    struct ipc_out out;
    if (vault->store)
        return proxy_peers_unpin(vault->store, account, address, format);
    begin(&out, PROXY_PEER_UNPIN, account);
    ipc_put_string(&out, address);
    ipc_put_u32(&out, format);
    return ask_done(vault, &out, false);
}

enum err cli_vault_peer_remove(struct cli_vault *vault, const char *account, const char *address)
{
    struct ipc_out out;
    if (vault->store)
        return store_peer_remove(vault->store, account, address);
    begin(&out, PROXY_PEER_REMOVE, account);
    ipc_put_string(&out, address);
    return ask_done(vault, &out, false);
}

static enum err received(struct cli_vault *vault, const char *account, struct span heard)
{
    struct ipc_out out;
    bool is_changed;
    int fd;
    if (vault->store)
        return proxy_peers_received(vault->store, account, heard, &is_changed);
    enum err err = memfd_of("heard", heard, KEYRING_HEARD_SIZE_MAX, &fd);
    if (err)
        return err;
    begin(&out, PROXY_PEER_RECEIVED, account);
    ipc_put_file(&out, fd);
    err = ask_done(vault, &out, true);
    close(fd);
    return err;
}

enum err cli_vault_peer_received(struct cli_vault *vault, const char *account, const struct keyring_heard *heard)
{
    struct buf saved;
    buf_init(&saved, KEYRING_HEARD_SIZE_MAX);
    enum err err = keyring_heard_add(&saved, heard);
    if (!err)
        err = received(vault, account, buf_span(&saved));
    buf_fini(&saved);
    return err;
}

enum err cli_vault_words(struct cli_vault *vault, const char *account, int64_t now, struct buf *out)
{
    struct ipc_out request;
    struct ipc_in in;
    if (vault->store)
        return proxy_peers_words(vault->store, account, now, out);
    begin(&request, PROXY_PEER_WORDS, account);
    ipc_put_u64(&request, (uint64_t)now);
    enum err err = cli_vault_ask(vault, &request, &in);
    return err ? err : take_file(&in, KEYRING_WORDS_SIZE_MAX, out);
}

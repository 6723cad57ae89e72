/*
 * Words about correspondents' keys, which the vault has, laid over the ring: what net then chooses by.
 */
#include "proxy/keeper_internal.h"

#include "base/memfd.h"
#include "keyring/peer.h"
#include "proxy/wire_view.h"

/* Without them a key that a person has ruled out would be taken: no answer is no list. */
static enum err ask_words(struct keeper *keeper, int64_t now, struct span *words)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, PROXY_PEER_WORDS);
    ipc_put_string(&out, keeper->setup.account);
    ipc_put_u64(&out, (uint64_t)now);
    enum err err = keeper_ask_vault(keeper, &out, &in);
    if (err != ERR_OK)
        return err == ERR_PEER_PROTOCOL ? ERR_STORE : err;
    *words = proxy_get_content(&in, KEYRING_WORDS_SIZE_MAX);
    err = ipc_in_end(&in) == ERR_OK ? ERR_OK : ERR_STORE;
    ipc_in_fini(&in);
    return err;
}

bool keeper_can_read_record(const char *address, void *context)
{
    struct keeper *keeper = context;
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, PROXY_PEER_GET);
    ipc_put_string(&out, keeper->setup.account);
    ipc_put_string(&out, address);
    enum err err = keeper->setup.vault < 0 ? ERR_STORE : keeper_ask_vault(keeper, &out, &in);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND;
    struct span record = proxy_get_content(&in, KEYRING_PEER_SAVED_MAX);
    err = ipc_in_end(&in);
    memfd_unmap(&record);
    ipc_in_fini(&in);
    return err == ERR_OK;
}

enum err keeper_vouch(struct keeper *keeper, struct keyring **listed, int64_t now, struct keyring **vouched_out)
{
    struct span words = SPAN_NONE;
    *vouched_out = NULL;
    enum err err = keeper->setup.vault < 0 ? ERR_OK : ask_words(keeper, now, &words);
    if (err == ERR_OK)
        err = keyring_vouch(*listed, words, now, vouched_out);
    memfd_unmap(&words);
    keyring_free(listed);
    return err == ERR_PEER_PROTOCOL ? ERR_STORE : err;
}

#include "proxy/peers.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

_Static_assert(KEYRING_PEER_SAVED_MAX <= STORE_PEER_MAX, "a record fits into the store");

enum err proxy_peers_get(struct store *store, const char *account, const char *address, struct keyring_peer *peer)
{
    struct buf saved;
    buf_init(&saved, STORE_PEER_MAX + 64);
    enum err err = store_peer_get(store, account, address, &saved);
    if (err == ERR_OK && (err = keyring_peer_load(buf_span(&saved), peer)) == ERR_STORE)
        err = log_failure(ERR_DAMAGED, "what is known of %s to %s", address, account);
    buf_fini(&saved);
    return err;
}

static enum err get_or_make(struct store *store, const char *account, const char *address, struct keyring_peer *peer)
{
    enum err err = proxy_peers_get(store, account, address, peer);
    if (err != ERR_NOT_FOUND)
        return err;
    keyring_peer_init(peer, address);
    return ERR_OK;
}

static enum err put(struct store *store, const char *account, const struct keyring_peer *peer)
{
    const enum store_peer_rank rank = keyring_peer_is_pinned(peer) ? STORE_PEER_PINNED
                                      : peer->sent > 0             ? STORE_PEER_WRITTEN
                                                                   : STORE_PEER_HEARD;
    struct buf saved;
    buf_init(&saved, KEYRING_PEER_SAVED_MAX);
    enum err err = keyring_peer_save(peer, &saved);
    if (err == ERR_OK)
        err = store_peer_put(store, account, peer->address, buf_span(&saved), rank, clock_now());
    buf_fini(&saved);
    return err;
}

enum err proxy_peers_hear(struct store *store, const char *account, struct span words, bool *changed)
{
    struct keyring_peer peer;
    struct keyring_word word;
    struct span rest = words;
    *changed = false;
    enum err err = keyring_word_take(&rest, &word);
    if (err != ERR_OK)
        return err == ERR_END ? ERR_OK : err;
    err = get_or_make(store, account, word.address, &peer);
    if (err != ERR_OK)
        return err;
    err = keyring_peer_hear_all(&peer, words, changed);
    if (err == ERR_OK && *changed)
        err = put(store, account, &peer);
    keyring_peer_fini(&peer);
    return err;
}

static enum err receive(struct store *store, const char *account, const struct keyring_heard *heard, bool *changed)
{
    struct keyring_peer peer;
    enum err err = get_or_make(store, account, heard->address, &peer);
    if (err != ERR_OK)
        return err;
    err = keyring_peer_received(&peer, heard, changed);
    if (err == ERR_OK)
        err = put(store, account, &peer);
    keyring_peer_fini(&peer);
    return err;
}

enum err proxy_peers_received(struct store *store, const char *account, struct span heard, bool *changed)
{
    struct keyring_heard one;
    enum err err, first = ERR_OK;
    *changed = false;
    while ((err = keyring_heard_take(&heard, &one)) == ERR_OK) {
        bool is_changed = false;
        err = receive(store, account, &one, &is_changed);
        *changed = *changed || (err == ERR_OK && is_changed);
        first = first == ERR_OK ? err : first;
    }
    return err == ERR_END ? first : err;
}

enum err proxy_peers_sent(struct store *store, const char *account, const char *address, enum keyring_format format,
                          const char *fingerprint, int64_t at)
{
    struct keyring_peer peer;
    enum err err = get_or_make(store, account, address, &peer);
    if (err != ERR_OK)
        return err;
    keyring_peer_sent(&peer, format, fingerprint, at);
    err = put(store, account, &peer);
    keyring_peer_fini(&peer);
    return err;
}

enum err proxy_peers_unpin(struct store *store, const char *account, const char *address, enum keyring_format format)
{
    struct keyring_peer peer;
    enum err err = proxy_peers_get(store, account, address, &peer);
    if (err != ERR_OK)
        return err;
    err = keyring_peer_unpin(&peer, format) ? put(store, account, &peer) : ERR_NOT_FOUND;
    keyring_peer_fini(&peer);
    return err;
}

struct gathering {
    int64_t now;
    struct buf *out;
};

static enum err gather(struct span record, void *context)
{
    struct gathering *gathering = context;
    struct keyring_word words[KEYRING_PEER_WORDS_MAX + 2];
    struct keyring_peer peer;
    enum err err = keyring_peer_load(record, &peer);
    if (err != ERR_OK)
        return err == ERR_STORE ? ERR_DAMAGED : err;
    const size_t len = keyring_peer_words(&peer, gathering->now, words);
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        err = keyring_word_add(gathering->out, &words[i]);
    keyring_peer_fini(&peer);
    return err;
}

enum err proxy_peers_words(struct store *store, const char *account, int64_t now, struct buf *out)
{
    struct gathering gathering = {now, out};
    const struct keyring_word unread = keyring_word_unread(account);
    size_t damaged;
    enum err err = store_peer_each(store, account, gather, &gathering, &damaged);
    return err == ERR_OK && damaged > 0 ? keyring_word_add(out, &unread) : err;
}

struct looking {
    int64_t now;
    uint32_t period_s;
    struct proxy_peer_due *due;
};

static enum err look(struct span record, void *context)
{
    const struct looking *looking = context;
    struct proxy_peer_due *first = looking->due;
    struct keyring_peer peer;
    int64_t due;
    enum err err = keyring_peer_load(record, &peer);
    if (err != ERR_OK)
        return err == ERR_STORE ? ERR_DAMAGED : err;
    if (keyring_peer_refresh_due(&peer, looking->now, looking->period_s, &due)) {
        first->used++;
        if (first->due == 0 || due < first->due) {
            first->due = due;
            memcpy(first->address, peer.address, sizeof(first->address));
            memcpy(first->fingerprint, peer.chosen[0], sizeof(first->fingerprint));
            memcpy(first->certificate, peer.chosen[1], sizeof(first->certificate));
        }
    }
    keyring_peer_fini(&peer);
    return ERR_OK;
}

enum err proxy_peers_due(struct store *store, const char *account, int64_t now, uint32_t period_s,
                         struct proxy_peer_due *due)
{
    struct looking looking = {now, period_s, due};
    size_t damaged;
    *due = (struct proxy_peer_due){.used = 0};
    return store_peer_each(store, account, look, &looking, &damaged);
}

enum err proxy_peers_refreshed(struct store *store, const char *account, const char *address, int64_t at)
{
    struct keyring_peer peer;
    enum err err = proxy_peers_get(store, account, address, &peer);
    if (err != ERR_OK)
        return err;
    keyring_peer_refreshed(&peer, at);
    err = put(store, account, &peer);
    keyring_peer_fini(&peer);
    return err;
}

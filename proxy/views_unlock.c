#include "proxy/views_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define SILENCE_MS ((uint64_t)600 * 1000)
#define KEYS_MAX 100

struct view_unlock {
    struct proxy_views *views;
    struct proxy_ring_wait *ring;
    struct proxy_job *job; /* a person is being asked, or nothing is locked */
    uint64_t silent_until_ms;
};

struct keys {
    const char *items[KEYS_MAX]; /* borrowed from the index */
    size_t len;
};

static void add_key(struct keys *keys, const struct keyring_entry *entry)
{
    if (!entry->has_secret || entry->is_revoked || entry->trust != KEYRING_OWN || keys->len == KEYS_MAX)
        return;
    for (size_t i = 0; i < keys->len; i++)
        if (strcmp(keys->items[i], entry->fingerprint) == 0)
            return;
    keys->items[keys->len++] = entry->fingerprint;
}

/* The keys that carry one of the account's addresses: a person's home may hold others, which are no business of it. */
static void find_keys(const struct config_account *account, const struct keyring *keyring, struct keys *keys)
{
    for (size_t i = 0; i < account->addresses_len; i++) {
        size_t first, len = keyring_find(keyring, account->addresses[i], &first);
        for (size_t j = 0; j < len; j++)
            add_key(keys, keyring_at(keyring, first + j));
    }
}

static void on_unlocked(enum err err, struct ipc_in *in, void *context)
{
    struct view_unlock *unlock = context;
    size_t number = (size_t)(unlock - unlock->views->unlocks);
    unlock->job = NULL;
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err == ERR_OK)
        return;
    unlock->silent_until_ms = clock_monotonic_ms() + SILENCE_MS;
    log_failure(err, "unlocking the keys of %s", unlock->views->net->config->accounts[number].address);
}

static enum err submit(struct view_unlock *unlock, const struct keyring *keyring)
{
    struct proxy_net *net = unlock->views->net;
    size_t number = (size_t)(unlock - unlock->views->unlocks);
    struct keys keys = {.len = 0};
    struct ipc_out out;
    find_keys(&net->config->accounts[number], keyring, &keys);
    if (keys.len == 0)
        return ERR_OK;
    ipc_out_begin(&out, PROXY_JOB_UNLOCK);
    ipc_put_u32(&out, (uint32_t)keys.len);
    for (size_t i = 0; i < keys.len; i++)
        ipc_put_string(&out, keys.items[i]);
    return proxy_pool_submit(net->pool, number, &out, on_unlocked, unlock, &unlock->job);
}

static void on_ring(enum err err, const struct keyring *keyring, void *context)
{
    struct view_unlock *unlock = context;
    unlock->ring = NULL;
    if (err == ERR_OK)
        err = submit(unlock, keyring);
    if (err != ERR_OK)
        log_failure(err, "unlocking keys");
}

void proxy_views_unlock(struct proxy_views *views, size_t account)
{
    struct view_unlock *unlock = &views->unlocks[account];
    struct proxy_ring *ring = views->net->ring;
    if (unlock->job != NULL || unlock->ring != NULL || clock_monotonic_ms() < unlock->silent_until_ms)
        return;
    const struct keyring *keyring = proxy_ring_current(ring, account);
    enum err err =
        keyring != NULL ? submit(unlock, keyring) : proxy_ring_ask(ring, account, on_ring, unlock, &unlock->ring);
    if (err != ERR_OK)
        log_failure(err, "unlocking keys");
}

enum err views_unlock_init(struct proxy_views *views)
{
    size_t len = views->net->config->accounts_len;
    views->unlocks = calloc(len + 1, sizeof(*views->unlocks));
    for (size_t i = 0; views->unlocks != NULL && i < len; i++)
        views->unlocks[i].views = views;
    return views->unlocks != NULL ? ERR_OK : ERR_MEMORY;
}

void views_unlock_fini(struct proxy_views *views)
{
    for (size_t i = 0; views->unlocks != NULL && i < views->net->config->accounts_len; i++) {
        proxy_ring_cancel(&views->unlocks[i].ring);
        proxy_pool_cancel(&views->unlocks[i].job);
    }
    free(views->unlocks);
}

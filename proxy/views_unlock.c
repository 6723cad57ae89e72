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
    struct proxy_job *job;      /* a person is being asked, or nothing is locked */
    struct proxy_job *keys_job; /* the account's keys in the store are being opened, if that asks nobody */
    bool is_store_locked;       /* that was tried in vain */
    bool is_second_try;
    bool wants_person; /* a person is to be asked when that is done */
    uint64_t silent_until_ms;
};

struct keys {
    const char *items[KEYS_MAX]; /* borrowed from the index */
    size_t len;
};

/* One that is revoked is trusted by nobody any more, and still reads what was sealed to it. */
static void add_key(struct keys *keys, const struct keyring_entry *entry)
{
    if (entry->format != KEYRING_OPENPGP || !entry->has_secret || (!entry->is_revoked && entry->trust != KEYRING_OWN) ||
        keys->len == KEYS_MAX)
        return;
    for (size_t i = 0; i < keys->len; i++)
        if (strcmp(keys->items[i], entry->fingerprint) == 0)
            return;
    keys->items[keys->len++] = entry->fingerprint;
}

/* The OpenPGP keys that carry one of the account's addresses: a person's home may hold others, which are no business of
 * it. */
static void find_keys(const struct config_account *account, const struct keyring *keyring, struct keys *keys)
{
    for (size_t i = 0; i < account->addresses_len; i++) {
        size_t first, len = keyring_find(keyring, account->addresses[i], &first);
        for (size_t j = 0; j < len; j++)
            add_key(keys, keyring_at(keyring, first + j));
    }
}

static const struct config_account *account_of(const struct view_unlock *unlock)
{
    return &unlock->views->net->config->accounts[unlock - unlock->views->unlocks];
}

/* Tells those whose questions wait for the account's keys in the store. */
static void end_waiting(struct view_unlock *unlock, enum err err)
{
    unlock->is_store_locked = err == ERR_KEY_LOCKED;
    proxy_vaultlink_unlocked(unlock->views->net->vault, account_of(unlock)->address, err);
}

static void on_unlocked(enum err err, struct ipc_in *in, void *context)
{
    struct view_unlock *unlock = context;
    unlock->job = NULL;
    if (err == ERR_OK)
        err = ipc_in_end(in);
    if (err == ERR_OK) {
        end_waiting(unlock, ERR_OK);
        return;
    }
    /* A vault that went away meanwhile is nobody's refusal. */
    if (err != ERR_STORE)
        unlock->silent_until_ms = clock_monotonic_ms() + SILENCE_MS;
    log_failure(err, "unlocking the keys of %s", account_of(unlock)->address);
}

static enum err submit(struct view_unlock *unlock, const struct keyring *keyring)
{
    struct proxy_net *net = unlock->views->net;
    const struct config_account *account = account_of(unlock);
    struct keys keys = {.len = 0};
    struct ipc_out out;
    find_keys(account, keyring, &keys);
    if (keys.len == 0 && !unlock->is_store_locked && account->pkcs11_module[0] == '\0')
        return ERR_OK;
    const struct keyring_entry *reader = proxy_own_key(account, keyring, KEYRING_OPENPGP, KEYRING_ENCRYPT);
    const struct keyring_entry *signer = proxy_own_key(account, keyring, KEYRING_OPENPGP, KEYRING_SIGN);
    ipc_out_begin(&out, PROXY_JOB_UNLOCK);
    ipc_put_u32(&out, (uint32_t)keys.len);
    for (size_t i = 0; i < keys.len; i++)
        ipc_put_string(&out, keys.items[i]);
    ipc_put_string(&out, reader != NULL ? reader->fingerprint : NULL);
    ipc_put_string(&out, signer != NULL ? signer->fingerprint : NULL);
    return proxy_pool_submit(net->pool, (size_t)(unlock - unlock->views->unlocks), &out, on_unlocked, unlock,
                             &unlock->job);
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

static void ask_person(struct view_unlock *unlock)
{
    struct proxy_ring *ring = unlock->views->net->ring;
    const size_t account = (size_t)(unlock - unlock->views->unlocks);
    if (unlock->job != NULL || unlock->ring != NULL || clock_monotonic_ms() < unlock->silent_until_ms)
        return;
    const struct keyring *keyring = proxy_ring_current(ring, account);
    enum err err =
        keyring != NULL ? submit(unlock, keyring) : proxy_ring_ask(ring, account, on_ring, unlock, &unlock->ring);
    if (err != ERR_OK)
        log_failure(err, "unlocking keys");
}

static enum err submit_keys(struct view_unlock *unlock);

static void on_keys(enum err err, struct ipc_in *in, void *context)
{
    struct view_unlock *unlock = context;
    unlock->keys_job = NULL;
    if (err == ERR_OK)
        err = ipc_in_end(in);
    /* A keeper or a vault that died in the middle says nothing of the keys. */
    const bool may_try_again = (err == ERR_WORKER || err == ERR_STORE) && !unlock->is_second_try;
    unlock->is_second_try = may_try_again;
    if (may_try_again && submit_keys(unlock) == ERR_OK)
        return;
    if (err != ERR_OK && err != ERR_KEY_LOCKED)
        log_failure(err, "opening the store's keys of %s", account_of(unlock)->address);
    end_waiting(unlock, err);
    if (err == ERR_KEY_LOCKED || unlock->wants_person)
        ask_person(unlock);
    unlock->wants_person = false;
}

static enum err submit_keys(struct view_unlock *unlock)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_KEYS);
    return proxy_pool_submit(unlock->views->net->pool, (size_t)(unlock - unlock->views->unlocks), &out, on_keys, unlock,
                             &unlock->keys_job);
}

/* A key that is not protected, or whose passphrase gpg-agent has, opens them at once and unnoticed. While a person is
   asked gpg-agent keeps whoever wants another locked key waiting for a minute: nobody is made to. */
static void open_store(struct view_unlock *unlock)
{
    const bool is_asking = unlock->job != NULL || unlock->ring != NULL;
    if (is_asking && unlock->is_store_locked && unlock->keys_job == NULL) {
        end_waiting(unlock, ERR_KEY_LOCKED);
        return;
    }
    enum err err = unlock->keys_job != NULL ? ERR_OK : submit_keys(unlock);
    if (err == ERR_OK)
        return;
    log_failure(err, "opening the store's keys of %s", account_of(unlock)->address);
    end_waiting(unlock, err);
}

/* First without anybody: so it is done once, whoever else waits for it. */
void proxy_views_unlock(struct proxy_views *views, size_t account)
{
    views->unlocks[account].wants_person = true;
    open_store(&views->unlocks[account]);
}

static void on_locked(const char *address, void *context)
{
    struct proxy_views *views = context;
    const struct config_account *account = config_account_of_address(views->net->config, address);
    if (account == NULL)
        proxy_vaultlink_unlocked(views->net->vault, address, ERR_NOT_FOUND);
    else
        open_store(&views->unlocks[account - views->net->config->accounts]);
}

enum err views_unlock_init(struct proxy_views *views)
{
    size_t len = views->net->config->accounts_len;
    views->unlocks = calloc(len + 1, sizeof(*views->unlocks));
    for (size_t i = 0; views->unlocks != NULL && i < len; i++)
        views->unlocks[i].views = views;
    if (views->unlocks != NULL)
        proxy_vaultlink_on_locked(views->net->vault, on_locked, views);
    return views->unlocks != NULL ? ERR_OK : ERR_MEMORY;
}

void views_unlock_fini(struct proxy_views *views)
{
    for (size_t i = 0; views->unlocks != NULL && i < views->net->config->accounts_len; i++) {
        proxy_ring_cancel(&views->unlocks[i].ring);
        proxy_pool_cancel(&views->unlocks[i].job);
        proxy_pool_cancel(&views->unlocks[i].keys_job);
    }
    if (views->unlocks != NULL)
        proxy_vaultlink_on_locked(views->net->vault, NULL, NULL);
    free(views->unlocks);
}

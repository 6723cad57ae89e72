#include "proxy/expiry.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyring/expiry.h"
#include "proxy/net_internal.h"
#include "proxy/ring.h"

#include <stdlib.h>
#include <string.h>

#define DAY_S 86400

struct proxy_expiry {
    struct proxy_net *net;
    struct event *timer;
    struct proxy_ring_wait *wait; /* for the listing of `account` */
    size_t account;               /* the next one to be looked at */
};

static void tell(const struct config_account *account, const struct keyring *keyring, enum keyring_format format)
{
    const char *told = "";
    for (size_t i = 0; i < account->addresses_len; i++) {
        char text[KEYRING_EXPIRY_TEXT_SIZE];
        enum keyring_expiry expiry;
        int64_t end;
        const struct keyring_entry *key =
            keyring_expiry_own(keyring, account->addresses[i], format, clock_now(), &expiry, &end);
        if (key == NULL || expiry == KEYRING_LASTS || strcmp(key->fingerprint, told) == 0)
            continue;
        keyring_expiry_text(key, expiry, end, text);
        log_warning("%s: %s", account->addresses[i], text);
        told = key->fingerprint;
    }
}

static void tell_all(const struct config_account *account, const struct keyring *keyring)
{
    tell(account, keyring, KEYRING_OPENPGP);
    tell(account, keyring, KEYRING_SMIME);
}

static void look(struct proxy_expiry *expiry);

static void on_listed(enum err err, const struct keyring *keyring, void *context)
{
    struct proxy_expiry *expiry = context;
    const struct config_account *account = &expiry->net->config->accounts[expiry->account++];
    expiry->wait = NULL;
    /* What went wrong was logged by the ring. */
    if (err == ERR_OK)
        tell_all(account, keyring);
    look(expiry);
}

/* Goes on with the next account, up to one that must be listed first. */
static void look(struct proxy_expiry *expiry)
{
    const struct timeval day = {.tv_sec = DAY_S};
    struct proxy_net *net = expiry->net;
    if (net->is_draining)
        return;
    for (; expiry->account < net->config->accounts_len; expiry->account++) {
        const struct config_account *account = &net->config->accounts[expiry->account];
        const struct keyring *keyring = proxy_ring_current(net->ring, expiry->account);
        enum err err = ERR_OK;
        if (keyring != NULL)
            tell_all(account, keyring);
        else
            err = proxy_ring_ask(net->ring, expiry->account, on_listed, expiry, &expiry->wait);
        if (keyring == NULL && err == ERR_OK)
            return;
        if (err != ERR_OK)
            log_failure(err, "looking when the keys of %s end", account->address);
    }
    evtimer_add(expiry->timer, &day);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct proxy_expiry *expiry = context;
    (void)fd;
    (void)what;
    expiry->account = 0;
    look(expiry);
}

enum err proxy_expiry_new(struct proxy_net *net, struct proxy_expiry **expiry_out)
{
    const struct timeval now = {.tv_sec = 0};
    struct proxy_expiry *expiry = calloc(1, sizeof(*expiry));
    if (expiry == NULL)
        return ERR_MEMORY;
    expiry->net = net;
    expiry->timer = evtimer_new(net->base, on_timer, expiry);
    if (expiry->timer == NULL || evtimer_add(expiry->timer, &now) != 0) {
        proxy_expiry_free(&expiry);
        return ERR_MEMORY;
    }
    *expiry_out = expiry;
    return ERR_OK;
}

void proxy_expiry_free(struct proxy_expiry **expiry)
{
    if (*expiry == NULL)
        return;
    proxy_ring_cancel(&(*expiry)->wait);
    if ((*expiry)->timer != NULL)
        event_free((*expiry)->timer);
    free(*expiry);
    *expiry = NULL;
}

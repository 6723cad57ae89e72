#include "proxy/refresh.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/net_internal.h"
#include "proxy/wire.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* So long between two addresses at most, so that a machine that runs for some hours a day gets round, too. */
#define GAP_MAX_MS 3600000u
#define GAP_MIN_MS 500u
/* Addresses in a row that nobody is asked about. */
#define PASSED_MAX 100u

struct proxy_refresh {
    struct proxy_net *net;
    struct event *timer;
    size_t account; /* whose turn it is */
    uint32_t *used; /* addresses with keys in use, of each account, as last heard */
    unsigned passed;
    struct proxy_vault_request *asking;
    /* The address that is being refreshed. */
    struct proxy_lookup *lookup;
    struct proxy_job *job;
    struct proxy_peer_due due;
    size_t stage;
    bool has_failed;
};

/* Half to one and a half times as long as would bring everybody's turn once in the time. */
static uint32_t gap_ms(const struct proxy_refresh *refresh)
{
    uint64_t all = 1, mean = (uint64_t)refresh->net->config->refresh_s * 1000;
    uint32_t random = 0;
    for (size_t i = 0; i < refresh->net->config->accounts_len; i++)
        all += refresh->used[i];
    mean /= all;
    mean = mean > GAP_MAX_MS ? GAP_MAX_MS : mean < GAP_MIN_MS ? GAP_MIN_MS : mean;
    if (RAND_bytes((unsigned char *)&random, sizeof(random)) != 1)
        random = UINT32_MAX / 2;
    return (uint32_t)(mean / 2 + mean * random / UINT32_MAX);
}

static void wait_on(struct proxy_refresh *refresh)
{
    const uint32_t ms = gap_ms(refresh);
    const struct timeval gap = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    refresh->passed = 0;
    evtimer_add(refresh->timer, &gap);
}

static const char *address_of(const struct proxy_refresh *refresh)
{
    return refresh->net->config->accounts[refresh->account].address;
}

static void next_account(struct proxy_refresh *refresh)
{
    refresh->account = (refresh->account + 1) % refresh->net->config->accounts_len;
    wait_on(refresh);
}

static void ask_due(struct proxy_refresh *refresh);

/* What could not be asked is asked again after half the time. */
static void end(struct proxy_refresh *refresh, bool is_asked)
{
    const int64_t now = clock_now();
    enum err err = proxy_vault_peer_refreshed(refresh->net->vault, address_of(refresh), refresh->due.address,
                                              refresh->has_failed ? now - refresh->net->config->refresh_s / 2 : now);
    if (err != ERR_OK)
        log_failure(err, "noting that the keys of %s were asked for", refresh->due.address);
    if (is_asked || err != ERR_OK || ++refresh->passed > PASSED_MAX)
        next_account(refresh);
    else
        ask_due(refresh);
}

static void go_on(struct proxy_refresh *refresh);

static void on_looked(enum err err, void *context)
{
    struct proxy_refresh *refresh = context;
    refresh->lookup = NULL;
    refresh->has_failed = refresh->has_failed || err != ERR_OK;
    refresh->stage++;
    go_on(refresh);
}

static void on_issuers(enum err err, struct ipc_in *answer, void *context)
{
    struct proxy_refresh *refresh = context;
    (void)answer;
    refresh->job = NULL;
    refresh->has_failed = refresh->has_failed || (err != ERR_OK && err != ERR_REVOKED);
    end(refresh, true);
}

/* Last of all the issuers of the certificate that is in use, where the account has them asked. */
static void ask_issuers(struct proxy_refresh *refresh)
{
    const struct config_account *account = &refresh->net->config->accounts[refresh->account];
    struct ipc_out out;
    if (refresh->due.certificate[0] == '\0' || account->revocation == KEYRING_REVOCATION_OFF) {
        end(refresh, refresh->stage > 0);
        return;
    }
    ipc_out_begin(&out, PROXY_JOB_REVOKED);
    ipc_put_string(&out, refresh->due.certificate);
    enum err err = proxy_pool_submit(refresh->net->pool, refresh->account, &out, on_issuers, refresh, &refresh->job);
    if (err == ERR_OK)
        return;
    log_failure(err, "asking the issuers of the certificate of %s", refresh->due.address);
    refresh->has_failed = true;
    end(refresh, true);
}

/* Each stage is asked: a weaker source may know first of a revocation. */
static void go_on(struct proxy_refresh *refresh)
{
    const struct proxy_net *net = refresh->net;
    const struct proxy_peer_due *due = &refresh->due;
    if (config_stage_timeout_ms(net->config, due->address, refresh->stage) == 0) {
        ask_issuers(refresh);
        return;
    }
    enum err err = proxy_lookup_refresh(net->lookups, refresh->account, due->address, due->fingerprint, refresh->stage,
                                        on_looked, refresh, &refresh->lookup);
    if (err == ERR_OK)
        return;
    log_failure(err, "asking what has become of the keys of %s", due->address);
    refresh->has_failed = true;
    end(refresh, true);
}

static void on_due(enum err err, const struct proxy_peer_due *due, void *context)
{
    struct proxy_refresh *refresh = context;
    refresh->asking = NULL;
    if (err == ERR_OK)
        refresh->used[refresh->account] = due->used;
    if (err != ERR_OK || due->due == 0 || due->due > clock_now() || refresh->net->is_draining) {
        next_account(refresh);
        return;
    }
    refresh->due = *due;
    refresh->stage = 0;
    refresh->has_failed = false;
    go_on(refresh);
}

static void ask_due(struct proxy_refresh *refresh)
{
    const struct proxy_net *net = refresh->net;
    enum err err = proxy_vault_peer_due(net->vault, address_of(refresh), clock_now(), net->config->refresh_s, on_due,
                                        refresh, &refresh->asking);
    if (err == ERR_OK)
        return;
    log_failure(err, "asking whose keys are to be refreshed");
    next_account(refresh);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    ask_due(context);
}

enum err proxy_refresh_new(struct proxy_net *net, struct proxy_refresh **refresh_out)
{
    struct proxy_refresh *refresh = calloc(1, sizeof(*refresh));
    if (refresh == NULL)
        return ERR_MEMORY;
    refresh->net = net;
    refresh->used = calloc(net->config->accounts_len + 1, sizeof(*refresh->used));
    refresh->timer = evtimer_new(net->base, on_timer, refresh);
    if (refresh->used == NULL || refresh->timer == NULL) {
        proxy_refresh_free(&refresh);
        return ERR_MEMORY;
    }
    if (net->config->refresh_s > 0 && net->config->accounts_len > 0)
        wait_on(refresh);
    *refresh_out = refresh;
    return ERR_OK;
}

void proxy_refresh_free(struct proxy_refresh **refresh)
{
    if (*refresh == NULL)
        return;
    proxy_lookup_cancel(&(*refresh)->lookup);
    proxy_pool_cancel(&(*refresh)->job);
    proxy_vault_cancel(&(*refresh)->asking);
    if ((*refresh)->timer != NULL)
        event_free((*refresh)->timer);
    free((*refresh)->used);
    free(*refresh);
    *refresh = NULL;
}

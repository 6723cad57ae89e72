#include "proxy/probe.h"

#include "base/clock.h"
#include "proxy/net_internal.h"

#include <stdlib.h>

#define FRESH_MS 3600000u
#define RETRY_MS 60000u
/* No client waits longer than this for its EHLO because of a slow upstream. */
#define WAIT_MAX_S 5

struct server {
    struct proxy_probe *probe;
    size_t account;             /* the first account that uses it */
    struct smtp_client *client; /* asking now */
    struct smtp_features features;
    bool is_known;
    uint64_t asked_ms; /* when it was last asked; 0: never */
};

struct proxy_probe_wait {
    TAILQ_ENTRY(proxy_probe_wait) link;
    struct proxy_probe *probe;
    const struct config_listener *listener;
    proxy_probe_fn fn; /* NULL once cancelled */
    void *context;
    struct event *timer;
};

struct proxy_probe {
    struct proxy_net *net;
    struct server *servers; /* one for each account; only the first of those that share a server is used */
    TAILQ_HEAD(, proxy_probe_wait) waits;
};

/* NULL if the account has none for mail that is sent. */
static struct server *server_of(struct proxy_probe *probe, size_t account)
{
    const struct config *config = probe->net->config;
    if (!config->accounts[account].has_smtp)
        return NULL;
    for (size_t i = 0; i < account; i++)
        if (config_upstream_is_same(&config->accounts[i].smtp, &config->accounts[account].smtp))
            return &probe->servers[i];
    return &probe->servers[account];
}

static bool is_due(const struct server *server)
{
    uint64_t age = clock_monotonic_ms() - server->asked_ms;
    return server->client == NULL && (server->asked_ms == 0 || age > (server->is_known ? FRESH_MS : RETRY_MS));
}

/* True while an answer may still come that the listener would have to heed. */
static bool is_waiting(struct proxy_probe *probe, const struct config_listener *listener)
{
    for (size_t i = 0; i < listener->accounts_len; i++) {
        struct server *server = server_of(probe, listener->accounts[i]);
        if (server != NULL && server->client != NULL && !server->is_known)
            return true;
    }
    return false;
}

static const sasl_set FALLBACK = 1u << SASL_PLAIN | 1u << SASL_LOGIN;
/* The password forms can be turned into each other (session_auth.c), so either stands for both. */
static sasl_set both_forms(sasl_set set)
{
    return (set & FALLBACK) != 0 ? set | FALLBACK : set;
}

static void share(struct proxy_probe *probe, const struct config_listener *listener, struct smtp_features *shared)
{
    const struct server *first = NULL;
    bool is_single = true;
    *shared = (struct smtp_features){.flags = ~0u, .mechanisms = ~0u};
    for (size_t i = 0; i < listener->accounts_len; i++) {
        const struct server *server = server_of(probe, listener->accounts[i]);
        if (server == NULL)
            continue;
        if (first == NULL)
            first = server;
        is_single = is_single && server == first;
        if (!server->is_known) {
            shared->flags = 0;
            shared->mechanisms &= FALLBACK;
            continue;
        }
        shared->flags &= server->features.flags;
        shared->mechanisms &= both_forms(server->features.mechanisms);
        if (server->features.size_max != 0 && (shared->size_max == 0 || server->features.size_max < shared->size_max))
            shared->size_max = server->features.size_max;
    }
    if (first == NULL)
        *shared = (struct smtp_features){.mechanisms = FALLBACK};
    /* In these the server speaks before it is known whose it must be (design, section 5). */
    if (!is_single)
        shared->mechanisms &= ~(1u << SASL_CRAM_MD5 | 1u << SASL_SCRAM_SHA_1 | 1u << SASL_SCRAM_SHA_256);
}

static void wait_finish(struct proxy_probe_wait *wait)
{
    struct smtp_features shared;
    TAILQ_REMOVE(&wait->probe->waits, wait, link);
    event_free(wait->timer);
    if (wait->fn != NULL) {
        share(wait->probe, wait->listener, &shared);
        wait->fn(&shared, wait->context);
    }
    free(wait);
}

static void answer_waits(struct proxy_probe *probe)
{
    struct proxy_probe_wait *wait, *next;
    for (wait = TAILQ_FIRST(&probe->waits); wait != NULL; wait = next) {
        next = TAILQ_NEXT(wait, link);
        if (!is_waiting(probe, wait->listener))
            wait_finish(wait);
    }
}

static void on_ready(struct smtp_client *client, void *owner)
{
    struct server *server = owner;
    server->features = *smtp_client_features(client);
    server->is_known = true;
    smtp_client_quit(&server->client);
    answer_waits(server->probe);
}

static void on_close(struct smtp_client *client, enum err why, void *owner)
{
    struct server *server = owner;
    (void)client;
    log_failure(why, "asking %s what it offers", server->probe->net->config->accounts[server->account].smtp.host);
    smtp_client_free(&server->client);
    answer_waits(server->probe);
}

static const struct smtp_client_handlers HANDLERS = {.on_ready = on_ready, .on_close = on_close};

static void ask(struct server *server)
{
    struct smtp_client_options options = proxy_net_upstream(server->probe->net, server->account);
    options.handlers = &HANDLERS;
    options.owner = server;
    server->asked_ms = clock_monotonic_ms();
    enum err err = smtp_client_new(&options, &server->client);
    if (err != ERR_OK) {
        server->client = NULL;
        log_failure(err, "asking an upstream what it offers");
    }
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    wait_finish(context);
}

enum err proxy_probe_ask(struct proxy_probe *probe, const struct config_listener *listener, proxy_probe_fn fn,
                         void *context, struct proxy_probe_wait **wait_out)
{
    for (size_t i = 0; i < listener->accounts_len; i++) {
        struct server *server = server_of(probe, listener->accounts[i]);
        if (server != NULL && is_due(server))
            ask(server);
    }
    struct proxy_probe_wait *wait = calloc(1, sizeof(*wait));
    if (wait == NULL)
        return ERR_MEMORY;
    *wait = (struct proxy_probe_wait){.probe = probe, .listener = listener, .fn = fn, .context = context};
    wait->timer = evtimer_new(probe->net->base, on_timer, wait);
    const struct timeval time = {is_waiting(probe, listener) ? WAIT_MAX_S : 0, 0};
    if (wait->timer == NULL || evtimer_add(wait->timer, &time) != 0) {
        if (wait->timer != NULL)
            event_free(wait->timer);
        free(wait);
        return ERR_MEMORY;
    }
    TAILQ_INSERT_TAIL(&probe->waits, wait, link);
    *wait_out = wait;
    return ERR_OK;
}

void proxy_probe_cancel(struct proxy_probe_wait **wait)
{
    if (*wait != NULL)
        (*wait)->fn = NULL;
    *wait = NULL;
}

enum err proxy_probe_new(struct proxy_net *net, struct proxy_probe **probe_out)
{
    struct proxy_probe *probe = calloc(1, sizeof(*probe));
    if (probe == NULL)
        return ERR_MEMORY;
    probe->net = net;
    TAILQ_INIT(&probe->waits);
    probe->servers = calloc(net->config->accounts_len + 1, sizeof(*probe->servers));
    if (probe->servers == NULL) {
        free(probe);
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < net->config->accounts_len; i++) {
        probe->servers[i].probe = probe;
        probe->servers[i].account = i;
    }
    *probe_out = probe;
    return ERR_OK;
}

void proxy_probe_free(struct proxy_probe **probe_pointer)
{
    struct proxy_probe *probe = *probe_pointer;
    struct proxy_probe_wait *wait;
    *probe_pointer = NULL;
    if (probe == NULL)
        return;
    for (size_t i = 0; i < probe->net->config->accounts_len; i++)
        smtp_client_free(&probe->servers[i].client);
    while ((wait = TAILQ_FIRST(&probe->waits)) != NULL) {
        TAILQ_REMOVE(&probe->waits, wait, link);
        event_free(wait->timer);
        free(wait);
    }
    free(probe->servers);
    free(probe);
}

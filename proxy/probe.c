#include "proxy/probe.h"

#include "base/clock.h"
#include "crypto/seal.h"
#include "proxy/net_internal.h"

#include <stdlib.h>

#define FRESH_MS 3600000u
#define RETRY_MS 60000u
/* No client waits longer than this for its EHLO because of a slow upstream. */
#define WAIT_MAX_S 5

struct server {
    struct proxy_probe *probe;
    enum config_protocol protocol;
    size_t account;           /* the first account that uses it */
    struct smtp_client *smtp; /* asking now */
    struct imap_client *imap;
    struct proxy_shared features;
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
    struct server *servers; /* for each account and protocol; only the first of those that share a server is used */
    TAILQ_HEAD(, proxy_probe_wait) waits;
};

/* NULL if the account has none of this kind. */
static struct server *server_of(struct proxy_probe *probe, enum config_protocol protocol, size_t account)
{
    const struct config_account *accounts = probe->net->config->accounts;
    if (!config_has_upstream(&accounts[account], protocol))
        return NULL;
    size_t first = 0;
    while (!config_upstream_is_same(&accounts[first].upstreams[protocol], &accounts[account].upstreams[protocol]))
        first++;
    return &probe->servers[first * CONFIG_PROTOCOL_COUNT + protocol];
}

static bool is_asking(const struct server *server)
{
    return server->smtp != NULL || server->imap != NULL;
}

static bool is_due(const struct server *server)
{
    uint64_t age = clock_monotonic_ms() - server->asked_ms;
    return !is_asking(server) && (server->asked_ms == 0 || age > (server->is_known ? FRESH_MS : RETRY_MS));
}

/* True while an answer may still come that the listener would have to heed. */
static bool is_waiting(struct proxy_probe *probe, const struct config_listener *listener)
{
    for (size_t i = 0; i < listener->accounts_len; i++) {
        struct server *server = server_of(probe, listener->protocol, listener->accounts[i]);
        if (server != NULL && is_asking(server) && !server->is_known)
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

/* What may be sent to a server that takes `limit` bytes; 0: it has no limit. */
static uint64_t room_of(uint64_t limit, bool is_opaque)
{
    unsigned percent = is_opaque ? CRYPTO_SEALED_TWICE_PERCENT : CRYPTO_SEALED_PERCENT;
    if (limit == 0)
        return 0;
    return limit > CRYPTO_SEALED_HEADERS + 100 ? (limit - CRYPTO_SEALED_HEADERS) / 100 * percent : 1;
}

static void share(struct proxy_probe *probe, const struct config_listener *listener, struct proxy_shared *shared)
{
    const struct server *first = NULL;
    bool is_single = true;
    *shared = (struct proxy_shared){.smtp_flags = ~0u, .mechanisms = ~0u};
    for (size_t i = 0; i < listener->accounts_len; i++) {
        const struct server *server = server_of(probe, listener->protocol, listener->accounts[i]);
        if (server == NULL)
            continue;
        if (first == NULL)
            first = server;
        is_single = is_single && server == first;
        if (!server->is_known) {
            shared->smtp_flags = 0;
            shared->mechanisms &= FALLBACK;
            continue;
        }
        shared->smtp_flags &= server->features.smtp_flags;
        shared->mechanisms &= both_forms(server->features.mechanisms);
        uint64_t room =
            room_of(server->features.size_max, probe->net->config->accounts[listener->accounts[i]].smime.is_opaque);
        if (room != 0 && (shared->size_max == 0 || room < shared->size_max))
            shared->size_max = room;
    }
    if (first == NULL)
        *shared = (struct proxy_shared){.mechanisms = FALLBACK};
    /* In these the server speaks before it is known whose it must be (design, section 5). */
    if (!is_single)
        shared->mechanisms &= ~(1u << SASL_CRAM_MD5 | 1u << SASL_SCRAM_SHA_1 | 1u << SASL_SCRAM_SHA_256);
}

static void wait_finish(struct proxy_probe_wait *wait)
{
    struct proxy_shared shared;
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

static void on_smtp_ready(struct smtp_client *client, void *owner)
{
    struct server *server = owner;
    const struct smtp_features *features = smtp_client_features(client);
    server->features = (struct proxy_shared){
        .smtp_flags = features->flags, .size_max = features->size_max, .mechanisms = features->mechanisms};
    server->is_known = true;
    smtp_client_quit(&server->smtp);
    answer_waits(server->probe);
}

static void on_imap_ready(struct imap_client *client, void *owner)
{
    struct server *server = owner;
    const struct imap_capabilities *capabilities = imap_client_capabilities(client);
    server->features = (struct proxy_shared){.mechanisms = capabilities->mechanisms};
    /* The command LOGIN takes a password as well. */
    if ((capabilities->features & IMAP_HAS_LOGINDISABLED) == 0)
        server->features.mechanisms |= FALLBACK;
    server->is_known = true;
    imap_client_quit(&server->imap);
    answer_waits(server->probe);
}

static void give_up(struct server *server, enum err why)
{
    const struct config_account *account = &server->probe->net->config->accounts[server->account];
    log_failure(why, "asking %s what it offers", account->upstreams[server->protocol].host);
    smtp_client_free(&server->smtp);
    imap_client_free(&server->imap);
    answer_waits(server->probe);
}

static void on_smtp_close(struct smtp_client *client, enum err why, void *owner)
{
    (void)client;
    give_up(owner, why);
}

static void on_imap_close(struct imap_client *client, enum err why, void *owner)
{
    (void)client;
    give_up(owner, why);
}

static enum err ask_smtp(struct server *server)
{
    static const struct smtp_client_handlers handlers = {.on_ready = on_smtp_ready, .on_close = on_smtp_close};
    struct smtp_client_options options = proxy_upstream_smtp(server->probe->net, server->account);
    options.handlers = &handlers;
    options.owner = server;
    return smtp_client_new(&options, &server->smtp);
}

/* A server has nothing to say here but answers to the client's own questions. */
static bool on_imap_head(struct imap_client *client, const struct imap_head *head, void *owner)
{
    (void)client;
    (void)head;
    (void)owner;
    return false;
}

static void on_imap_response(struct imap_client *client, const struct imap_head *head, struct imap_unit *unit,
                             void *owner)
{
    (void)client;
    (void)head;
    (void)unit;
    (void)owner;
}

static enum err ask_imap(struct server *server)
{
    static const struct imap_client_handlers handlers = {
        .on_ready = on_imap_ready, .on_head = on_imap_head, .on_response = on_imap_response, .on_close = on_imap_close};
    struct imap_client_options options = proxy_upstream_imap(server->probe->net, server->account);
    options.handlers = &handlers;
    options.owner = server;
    return imap_client_new(&options, &server->imap);
}

static void ask(struct server *server)
{
    static enum err (*const asks[])(struct server *) = {[CONFIG_SMTP] = ask_smtp, [CONFIG_IMAP] = ask_imap};
    server->asked_ms = clock_monotonic_ms();
    enum err err = asks[server->protocol](server);
    if (err != ERR_OK)
        log_failure(err, "asking an upstream what it offers");
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
        struct server *server = server_of(probe, listener->protocol, listener->accounts[i]);
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
    size_t servers_len = net->config->accounts_len * CONFIG_PROTOCOL_COUNT;
    probe->servers = calloc(servers_len + 1, sizeof(*probe->servers));
    if (probe->servers == NULL) {
        free(probe);
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < servers_len; i++) {
        probe->servers[i].probe = probe;
        probe->servers[i].account = i / CONFIG_PROTOCOL_COUNT;
        probe->servers[i].protocol = (enum config_protocol)(i % CONFIG_PROTOCOL_COUNT);
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
    for (size_t i = 0; i < probe->net->config->accounts_len * CONFIG_PROTOCOL_COUNT; i++) {
        smtp_client_free(&probe->servers[i].smtp);
        imap_client_free(&probe->servers[i].imap);
    }
    while ((wait = TAILQ_FIRST(&probe->waits)) != NULL) {
        TAILQ_REMOVE(&probe->waits, wait, link);
        event_free(wait->timer);
        free(wait);
    }
    free(probe->servers);
    free(probe);
}

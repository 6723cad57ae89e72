#include "cli/check.h"

#include "base/sasl.h"
#include "base/tls.h"
#include "proxy/upstream.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <string.h>

#define SERVER_TIMEOUT_S 10

struct visit {
    struct check *check;
    const struct config_account *account;
    struct event_base *base;
    struct smtp_client *client;
    bool is_over;
};

static void say_features(struct visit *visit)
{
    const struct smtp_features *features = smtp_client_features(visit->client);
    const struct config_upstream *server = &visit->account->upstreams[CONFIG_SMTP];
    struct buf mechanisms;
    buf_init(&mechanisms, 512);
    if (sasl_format_set(features->mechanisms, &mechanisms))
        buf_clear(&mechanisms);
    check_note(visit->check, CHECK_OK, visit->account->address, "server %s port %d answers; logins: %s", server->host,
               server->port, mechanisms.len ? mechanisms.data : "none");
    if (!(features->flags & SMTP_HAS_8BITMIME))
        check_note(visit->check, CHECK_WARNING, visit->account->address,
                   "server %s has no 8BITMIME; some messages will be re-encoded", server->host);
    buf_fini(&mechanisms);
}

static void on_ready(struct smtp_client *client, void *owner)
{
    (void)client;
    struct visit *visit = owner;
    say_features(visit);
    visit->is_over = true;
    event_base_loopbreak(visit->base);
}

static const char *advice(enum err why)
{
    switch (why) {
    case ERR_UPSTREAM_TLS:
        return "look at its certificate, at `ca_file`, and whether smtp:// (STARTTLS) or smtps:// is right";
    case ERR_UPSTREAM_DOWN:
    case ERR_TIMEOUT:
        return "look at its name and port, and at the network";
    default:
        return "look at what it says with --json and log = debug";
    }
}

static void on_close(struct smtp_client *client, enum err why, void *owner)
{
    (void)client;
    struct visit *visit = owner;
    check_note(visit->check, CHECK_BAD, visit->account->address, "server %s port %d: %s; %s",
               visit->account->upstreams[CONFIG_SMTP].host, visit->account->upstreams[CONFIG_SMTP].port,
               err_sentence(why), advice(why));
    visit->is_over = true;
    event_base_loopbreak(visit->base);
}

static enum err begin(struct visit *visit, struct evdns_base *dns, SSL_CTX *tls)
{
    static const struct smtp_client_handlers handlers = {.on_ready = on_ready, .on_close = on_close};
    const struct config_upstream *server = &visit->account->upstreams[CONFIG_SMTP];
    const struct smtp_client_options options = {.base = visit->base,
                                                .dns = dns,
                                                .handlers = &handlers,
                                                .owner = visit,
                                                .host = server->host,
                                                .port = server->port,
                                                .security = proxy_upstream_smtp_security(server),
                                                .tls = tls,
                                                .hello_name = visit->check->cli->config->host_name,
                                                .timeout_percent = 100};
    return smtp_client_new(&options, &visit->client);
}

void check_server(struct check *check, const struct config_account *account)
{
    struct visit visit = {.check = check, .account = account, .base = event_base_new()};
    struct evdns_base *dns = visit.base ? evdns_base_new(visit.base, EVDNS_BASE_INITIALIZE_NAMESERVERS) : NULL;
    SSL_CTX *tls = NULL;
    enum err err = visit.base ? ERR_OK : ERR_MEMORY;
    if (!err && account->upstreams[CONFIG_SMTP].security != CONFIG_CLEAR)
        err = tls_client_new(
            account->upstreams[CONFIG_SMTP].ca_file[0] ? account->upstreams[CONFIG_SMTP].ca_file : NULL, &tls);
    if (!err)
        err = begin(&visit, dns, tls);
    const struct timeval limit = {SERVER_TIMEOUT_S, 0};
    if (!err) {
        event_base_loopexit(visit.base, &limit);
        event_base_dispatch(visit.base);
        if (!visit.is_over)
            check_note(check, CHECK_BAD, account->address, "server %s port %d does not answer within %d seconds; %s",
                       account->upstreams[CONFIG_SMTP].host, account->upstreams[CONFIG_SMTP].port, SERVER_TIMEOUT_S,
                       advice(ERR_TIMEOUT));
    } else {
        check_note(check, CHECK_BAD, account->address, "server %s: %s; %s", account->upstreams[CONFIG_SMTP].host,
                   err_sentence(err), advice(ERR_UPSTREAM_TLS));
    }
    smtp_client_free(&visit.client);
    if (dns)
        evdns_base_free(dns, 0);
    if (visit.base)
        event_base_free(visit.base);
    SSL_CTX_free(tls);
}

#include "cli/check.h"

#include "base/sasl.h"
#include "base/tls.h"
#include "cli/progress.h"
#include "proxy/upstream.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <string.h>

#define SERVER_TIMEOUT_S 10
#define RESPONSE_MAX 65536u

struct visit {
    struct check *check;
    const struct config_account *account;
    enum config_protocol protocol;
    const struct config_upstream *server;
    struct event_base *base;
    struct evdns_base *dns;
    SSL_CTX *tls;
    struct smtp_client *smtp;
    struct imap_client *imap;
    bool is_over;
};

static void end(struct visit *visit)
{
    visit->is_over = true;
    event_base_loopbreak(visit->base);
}

static void say_logins(struct visit *visit, sasl_set set, const char *more)
{
    struct buf mechanisms;
    buf_init(&mechanisms, 512);
    if (sasl_format_set(set, &mechanisms))
        buf_clear(&mechanisms);
    check_note(visit->check, CHECK_OK, visit->account->address, "%s server %s port %d answers; logins: %s%s%s",
               config_protocol_name(visit->protocol), visit->server->host, visit->server->port,
               mechanisms.len || *more ? mechanisms.data : "none", mechanisms.len && *more ? " " : "", more);
    buf_fini(&mechanisms);
}

static const char *advice(enum err why)
{
    switch (why) {
    case ERR_UPSTREAM_TLS:
        return "look at its certificate, at `ca_file`, and whether STARTTLS (smtp://, imap://) or TLS at once "
               "(smtps://, imaps://) is right";
    case ERR_UPSTREAM_DOWN:
    case ERR_TIMEOUT:
        return "look at its name and port, and at the network";
    default:
        return "look at what it says with --json and log = debug";
    }
}

static void say_failure(struct visit *visit, enum err why)
{
    check_note(visit->check, CHECK_BAD, visit->account->address, "%s server %s port %d: %s; %s",
               config_protocol_name(visit->protocol), visit->server->host, visit->server->port, err_sentence(why),
               advice(why));
}

/* ---- a server for mail that is sent ---- */

static void on_smtp_ready(struct smtp_client *client, void *owner)
{
    struct visit *visit = owner;
    const struct smtp_features *features = smtp_client_features(client);
    say_logins(visit, features->mechanisms, "");
    if (!(features->flags & SMTP_HAS_8BITMIME))
        check_note(visit->check, CHECK_WARNING, visit->account->address,
                   "server %s has no 8BITMIME; some messages will be re-encoded", visit->server->host);
    end(visit);
}

static void on_smtp_close(struct smtp_client *client, enum err why, void *owner)
{
    (void)client;
    say_failure(owner, why);
    end(owner);
}

static enum err visit_smtp(struct visit *visit)
{
    static const struct smtp_client_handlers handlers = {.on_ready = on_smtp_ready, .on_close = on_smtp_close};
    const struct smtp_client_options options = {.base = visit->base,
                                                .dns = visit->dns,
                                                .handlers = &handlers,
                                                .owner = visit,
                                                .host = visit->server->host,
                                                .port = visit->server->port,
                                                .security = proxy_upstream_smtp_security(visit->server),
                                                .tls = visit->tls,
                                                .hello_name = visit->check->cli->config->host_name,
                                                .timeout_percent = 100};
    return smtp_client_new(&options, &visit->smtp);
}

/* ---- a server for mail that is read ---- */

static void on_imap_ready(struct imap_client *client, void *owner)
{
    struct visit *visit = owner;
    const struct imap_capabilities *offered = imap_client_capabilities(client);
    say_logins(visit, offered->mechanisms, offered->features & IMAP_HAS_LOGINDISABLED ? "" : "(command LOGIN)");
    end(visit);
}

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

static void on_imap_close(struct imap_client *client, enum err why, void *owner)
{
    (void)client;
    say_failure(owner, why);
    end(owner);
}

static enum err visit_imap(struct visit *visit)
{
    static const struct imap_client_handlers handlers = {
        .on_ready = on_imap_ready, .on_head = on_imap_head, .on_response = on_imap_response, .on_close = on_imap_close};
    const struct imap_client_options options = {.base = visit->base,
                                                .dns = visit->dns,
                                                .handlers = &handlers,
                                                .owner = visit,
                                                .host = visit->server->host,
                                                .port = visit->server->port,
                                                .security = proxy_upstream_imap_security(visit->server),
                                                .tls = visit->tls,
                                                .literal_max = RESPONSE_MAX,
                                                .response_max = RESPONSE_MAX,
                                                .timeout_percent = 100};
    return imap_client_new(&options, &visit->imap);
}

static enum err prepare(struct visit *visit)
{
    visit->base = event_base_new();
    if (!visit->base)
        return ERR_MEMORY;
    visit->dns = evdns_base_new(visit->base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
    if (visit->server->security == CONFIG_CLEAR)
        return ERR_OK;
    return tls_client_new(visit->server->ca_file[0] ? visit->server->ca_file : NULL, &visit->tls);
}

void check_server(struct check *check, const struct config_account *account, enum config_protocol protocol)
{
    static enum err (*const visits[])(struct visit *) = {[CONFIG_SMTP] = visit_smtp, [CONFIG_IMAP] = visit_imap};
    struct visit visit = {
        .check = check, .account = account, .protocol = protocol, .server = &account->upstreams[protocol]};
    const struct timeval limit = {SERVER_TIMEOUT_S, 0};
    char what[CONFIG_PATH_SIZE];
    snprintf(what, sizeof what, "asking %s", visit.server->host);
    progress_begin(what);
    enum err err = prepare(&visit);
    if (!err)
        err = visits[protocol](&visit);
    if (!err) {
        event_base_loopexit(visit.base, &limit);
        event_base_dispatch(visit.base);
    }
    progress_end();
    if (err || !visit.is_over)
        say_failure(&visit, err ? err : ERR_TIMEOUT);
    smtp_client_free(&visit.smtp);
    imap_client_free(&visit.imap);
    if (visit.dns)
        evdns_base_free(visit.dns, 0);
    if (visit.base)
        event_base_free(visit.base);
    SSL_CTX_free(visit.tls);
}

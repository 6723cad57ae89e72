#include "proxy/upstream.h"

#include "proxy/net_internal.h"

/* The text of one IMAP response: also the BODYSTRUCTURE of a message that is nothing but parameters, with each of its
   bytes quoted. */
#define RESPONSE_MAX(message_max) (((size_t)16 << 20) + 2 * (size_t)(message_max))

enum smtp_security proxy_upstream_smtp_security(const struct config_upstream *upstream)
{
    static const enum smtp_security securities[] = {[CONFIG_TLS_FROM_START] = SMTP_TLS_IMPLICIT,
                                                    [CONFIG_TLS_BY_COMMAND] = SMTP_TLS_STARTTLS,
                                                    [CONFIG_CLEAR] = SMTP_CLEAR};
    return securities[upstream->security];
}

enum imap_security proxy_upstream_imap_security(const struct config_upstream *upstream)
{
    static const enum imap_security securities[] = {[CONFIG_TLS_FROM_START] = IMAP_TLS_IMPLICIT,
                                                    [CONFIG_TLS_BY_COMMAND] = IMAP_TLS_STARTTLS,
                                                    [CONFIG_CLEAR] = IMAP_CLEAR};
    return securities[upstream->security];
}

struct smtp_client_options proxy_upstream_smtp(const struct proxy_net *net, size_t account)
{
    const struct config_upstream *upstream = &net->config->accounts[account].upstreams[CONFIG_SMTP];
    return (struct smtp_client_options){.base = net->base,
                                        .dns = net->dns,
                                        .host = upstream->host,
                                        .port = upstream->port,
                                        .security = proxy_upstream_smtp_security(upstream),
                                        .tls = net->client_tls[account],
                                        .hello_name = net->config->host_name,
                                        .timeout_percent = net->config->timeout_percent};
}

struct imap_client_options proxy_upstream_imap(const struct proxy_net *net, size_t account)
{
    const struct config_upstream *upstream = &net->config->accounts[account].upstreams[CONFIG_IMAP];
    return (struct imap_client_options){.base = net->base,
                                        .dns = net->dns,
                                        .host = upstream->host,
                                        .port = upstream->port,
                                        .security = proxy_upstream_imap_security(upstream),
                                        .tls = net->client_tls[account],
                                        .literal_max = net->config->message_max * 2,
                                        .response_max = RESPONSE_MAX(net->config->message_max),
                                        .timeout_percent = net->config->timeout_percent};
}

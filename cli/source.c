#include "cli/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_answer(enum err err, const struct keyring_piece *pieces, size_t pieces_len, const char *problem,
                      void *context)
{
    struct cli_source *source = context;
    snprintf(source->problem, sizeof source->problem, "%s", problem);
    for (size_t i = 0; !err && i < pieces_len; i++)
        err = proxy_source_keep(source->config, source->address, &pieces[i], &source->found);
    source->err = err;
    if (--*source->open == 0)
        event_base_loopbreak(source->base);
}

static enum err ask(struct cli_source *source, struct evdns_base *dns)
{
    enum err err = proxy_source_open(source->config, source->base, dns, &source->source);
    if (err)
        return err;
    const struct proxy_source_ops *ops = source->source.ops;
    source->is_asked = source->address || ops->try;
    if (!source->is_asked)
        return ERR_OK;
    err = source->address ? ops->ask(source->source.state, source->address, on_answer, source)
                          : ops->try(source->source.state, on_answer, source);
    *source->open += !err;
    /* One that cannot be asked is no reason to lose the others' answers. */
    if (err && err != ERR_MEMORY) {
        source->err = err;
        snprintf(source->problem, sizeof source->problem, "%s", err_sentence(err));
        return ERR_OK;
    }
    return err;
}

enum err cli_ask_sources(const struct config *config, const char *address, struct cli_source **sources_out)
{
    size_t open = 0;
    struct cli_source *sources = calloc(config->sources_len + 1, sizeof *sources);
    *sources_out = sources;
    if (!sources)
        return ERR_MEMORY;
    keyring_ldap_init();
    struct event_base *base = event_base_new();
    struct evdns_base *dns = base ? evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS) : NULL;
    /* For names that strangers choose: without domains to be tried behind them. */
    struct evdns_base *whole_dns = base ? evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS) : NULL;
    enum err err = base ? ERR_OK : ERR_MEMORY;
    if (whole_dns)
        evdns_base_search_clear(whole_dns);
    for (size_t i = 0; !err && i < config->sources_len; i++) {
        struct cli_source *source = &sources[i];
        *source = (struct cli_source){.config = config->sources[i], .address = address, .open = &open, .base = base};
        buf_init(&source->found, KEYRING_FOUND_SIZE_MAX);
        if (!address || config_source_serves(source->config, address))
            err = ask(source, source->config->kind == KEYRING_SOURCE_WKD ? whole_dns : dns);
    }
    if (!err && open > 0)
        event_base_dispatch(base);
    for (size_t i = 0; i < config->sources_len; i++)
        proxy_source_close(&sources[i].source);
    if (dns)
        evdns_base_free(dns, 0);
    if (whole_dns)
        evdns_base_free(whole_dns, 0);
    if (base)
        event_base_free(base);
    return err;
}

void cli_sources_free(const struct config *config, struct cli_source **sources)
{
    for (size_t i = 0; *sources && i < config->sources_len; i++)
        buf_fini(&(*sources)[i].found);
    free(*sources);
    *sources = NULL;
}

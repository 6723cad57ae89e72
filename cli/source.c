#include "cli/source.h"

#include "cli/progress.h"
#include "cli/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_answer(enum err err, const struct keyring_piece *pieces, size_t pieces_len, const char *problem,
                      void *context)
{
    static const struct keyring_piece all = {.kind = KEYRING_FOUND_ALL};
    struct cli_source *source = context;
    const struct cli_question *question = source->question;
    snprintf(source->problem, sizeof source->problem, "%s", problem);
    for (size_t i = 0; i < pieces_len; i++) {
        const enum err kept = proxy_source_keep(source->config, question->address, &pieces[i], &source->found);
        err = err ? err : kept;
    }
    if (!err && !problem[0] && question->fingerprint && !source->is_by_key)
        err = proxy_source_keep(source->config, question->address, &all, &source->found);
    source->err = err;
    if (--*source->open == 0)
        event_base_loopbreak(source->base);
    progress_step(*source->asked - *source->open, *source->asked);
}

static enum err ask(struct cli_source *source, struct evdns_base *dns)
{
    enum err err = proxy_source_open(source->config, source->base, dns, &source->source);
    if (err)
        return err;
    const struct proxy_source_ops *ops = source->source.ops;
    const struct cli_question *question = source->question;
    void *state = source->source.state;
    source->is_by_key = question->fingerprint && ops->ask_key;
    if (question->key.len > 0)
        source->is_asked = ops->send != NULL;
    else if (source->is_by_key)
        source->is_asked = question->fingerprint[0] != '\0';
    else
        source->is_asked = question->address || ops->try;
    if (!source->is_asked)
        return ERR_OK;
    err = question->key.len > 0 ? ops->send(state, question->key, on_answer, source)
          : source->is_by_key   ? ops->ask_key(state, question->address, question->fingerprint, on_answer, source)
          : question->address   ? ops->ask(state, question->address, on_answer, source)
                                : ops->try(state, on_answer, source);
    *source->open += !err;
    *source->asked += !err;
    /* One that cannot be asked is no reason to lose the others' answers. */
    if (err && err != ERR_MEMORY) {
        source->err = err;
        snprintf(source->problem, sizeof source->problem, "%s", err_sentence(err));
        return ERR_OK;
    }
    return err;
}

static bool is_meant(const struct config_source *config, size_t index, const struct cli_question *question)
{
    if (question->is_left && question->is_left[index])
        return false;
    return !question->address || config_source_serves(config, question->address);
}

enum err cli_ask_sources(const struct config *config, const struct cli_question *question,
                         struct cli_source **sources_out)
{
    size_t open = 0, asked = 0;
    char what[MIME_ADDR_SIZE + 64];
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
        *source = (struct cli_source){
            .config = config->sources[i], .question = question, .open = &open, .asked = &asked, .base = base};
        buf_init(&source->found, KEYRING_FOUND_SIZE_MAX);
        if (is_meant(source->config, i, question))
            err = ask(source, source->config->kind == KEYRING_SOURCE_WKD ? whole_dns : dns);
    }
    snprintf(what, sizeof what, "asking the sources of keys%s%s", question->address ? " for " : "",
             question->address ? question->address : "");
    if (!err && open > 0) {
        progress_begin(what);
        progress_step(asked - open, asked);
        event_base_dispatch(base);
        progress_end();
    }
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

enum err cli_keep_words(const struct cli *cli, struct span said)
{
    struct cli_vault vault;
    enum err err = said.len == 0 ? ERR_END : cli_vault_open_to_keep(cli->config, &vault);
    if (err)
        return err == ERR_END ? ERR_OK : err;
    err = cli_vault_peer_hear_all(&vault, cli->account->address, said);
    cli_vault_close(&vault);
    return err;
}

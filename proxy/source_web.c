/* A Web Key Directory of each domain, or a keyserver, with its TLS. */
#include "proxy/source.h"

#include "base/tls.h"

#include <stdlib.h>

static enum err open_web(const struct config_source *source, struct event_base *base, struct evdns_base *dns,
                         void **state_out)
{
    const struct config_web *config = PROXY_SECTION(struct config_web, source);
    struct keyring_web *web = NULL;
    SSL_CTX *tls = NULL;
    enum err err = ERR_OK;
    if (!config->web.is_clear)
        err = tls_client_new(source->ca_file[0] == '\0' ? NULL : source->ca_file, &tls);
    if (err != ERR_OK)
        log_failure(err, "%s: its certificates", config->web.name);
    err = keyring_web_new(base, dns, &config->web, tls, &web);
    SSL_CTX_free(tls);
    if (err == ERR_OK)
        *state_out = web;
    return err;
}

static void close_web(void *state)
{
    struct keyring_web *web = state;
    keyring_web_free(&web);
}

static enum err ask(void *state, const char *address, keyring_answer_fn fn, void *context)
{
    return keyring_web_find(state, address, fn, context);
}

static enum err ask_key(void *state, const char *address, const char *fingerprint, keyring_answer_fn fn, void *context)
{
    return keyring_web_find_key(state, address, fingerprint, fn, context);
}

static enum err send_key(void *state, struct span key, keyring_answer_fn fn, void *context)
{
    return keyring_web_send(state, key, fn, context);
}

static enum err try(void *state, keyring_answer_fn fn, void *context)
{
    return keyring_web_find(state, NULL, fn, context);
}

const struct proxy_source_ops proxy_source_wkd = {
    .open = open_web, .close = close_web, .ask = ask, .is_of_domain = true};
const struct proxy_source_ops proxy_source_keyserver = {
    .open = open_web, .close = close_web, .ask = ask, .try = try, .ask_key = ask_key, .send = send_key};

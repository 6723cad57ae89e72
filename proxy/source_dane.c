/* The domains' own zones. */
#include "proxy/source.h"

#include <string.h>

static enum err open_dane(const struct config_source *source, struct event_base *base, struct evdns_base *dns,
                          void **state_out)
{
    struct keyring_dane *dane = NULL;
    (void)dns;
    enum err err = keyring_dane_new(base, &PROXY_SECTION(struct config_dane, source)->dane, &dane);
    *state_out = dane;
    return err;
}

static void close_dane(void *state)
{
    struct keyring_dane *dane = state;
    keyring_dane_free(&dane);
}

static enum err ask(void *state, const char *address, keyring_answer_fn fn, void *context)
{
    return keyring_dane_find(state, address, fn, context, NULL);
}

/* The root stands for all: whoever has no domains is asked about those of others. */
static enum err try(void *state, keyring_answer_fn fn, void *context)
{
    return keyring_dane_try(state, ".", fn, context, NULL);
}

const struct proxy_source_ops proxy_source_dane = {
    .open = open_dane, .close = close_dane, .ask = ask, .try = try, .is_of_domain = true};

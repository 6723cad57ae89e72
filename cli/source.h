/*
 * Sources of keys asked by a command, all at once, each within its own timeout.
 */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include "cli/cli.h"
#include "proxy/source.h"

struct cli_source {
    const struct config_source *config;
    bool is_asked; /* its configuration lets it be asked, and there is something to ask */
    enum err err;
    char problem[300]; /* why it could not be asked */
    struct buf found;  /* what it has (keyring/found.h) */
    struct proxy_source source;
    const char *address;
    size_t *open, *asked; /* of all together: still asked, and ever */
    struct event_base *base;
};

/* Asks all sources that serve `address` for its keys; with NULL, whether they are there. One for each of
   config->sources goes to `*sources_out`, to be freed with cli_sources_free. */
ERR_RETURN enum err cli_ask_sources(const struct config *config, const char *address, struct cli_source **sources_out);
void cli_sources_free(const struct config *config, struct cli_source **sources);

#endif

/*
 * Directories asked by a command, all at once, each within its own timeout.
 */
#ifndef CLI_DIRECTORY_H
#define CLI_DIRECTORY_H

#include "cli/cli.h"
#include "proxy/directory.h"

struct cli_directory {
    const struct config_directory *config;
    bool is_asked; /* its configuration lets it be asked */
    enum err err;
    char problem[300]; /* why it could not be asked, or does not have all; "": it has */
    struct buf found;  /* what it has (keyring/found.h) */
    struct proxy_directory place;
    const char *address;
    size_t *open;
    struct event_base *base;
};

/* Asks all directories that serve `address` for its keys; with NULL, whether they are there. One for each of the
   configuration goes to `*directories_out`, to be freed with cli_directories_free. */
ERR_RETURN enum err cli_ask_directories(const struct config *config, const char *address,
                                        struct cli_directory **directories_out);
void cli_directories_free(const struct config *config, struct cli_directory **directories);

#endif

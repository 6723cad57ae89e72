#include "cli/directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_answer(enum err err, const struct keyring_ldap_value *values, size_t values_len, const char *problem,
                      void *context)
{
    struct cli_directory *directory = context;
    snprintf(directory->problem, sizeof directory->problem, "%s", problem);
    for (size_t i = 0; !err && i < values_len; i++)
        err = proxy_directory_keep(directory->config, directory->address, &values[i], &directory->found);
    directory->err = err;
    if (--*directory->open == 0)
        event_base_loopbreak(directory->base);
}

static enum err ask(struct cli_directory *directory, struct evdns_base *dns)
{
    enum err err = proxy_directory_open(directory->config, directory->base, dns, &directory->place);
    if (err)
        return err;
    err = directory->address ? keyring_ldap_find(directory->place.ldap, directory->address, on_answer, directory, NULL)
                             : keyring_ldap_try(directory->place.ldap, on_answer, directory, NULL);
    *directory->open += !err;
    return err;
}

enum err cli_ask_directories(const struct config *config, const char *address, struct cli_directory **directories_out)
{
    size_t open = 0;
    struct cli_directory *directories = calloc(config->directories_len + 1, sizeof *directories);
    *directories_out = directories;
    if (!directories)
        return ERR_MEMORY;
    keyring_ldap_init();
    struct event_base *base = event_base_new();
    struct evdns_base *dns = base ? evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS) : NULL;
    enum err err = base ? ERR_OK : ERR_MEMORY;
    for (size_t i = 0; !err && i < config->directories_len; i++) {
        struct cli_directory *directory = &directories[i];
        *directory =
            (struct cli_directory){.config = &config->directories[i], .address = address, .open = &open, .base = base};
        buf_init(&directory->found, KEYRING_FOUND_SIZE_MAX);
        directory->is_asked = !address || config_directory_serves(directory->config, address);
        if (directory->is_asked)
            err = ask(directory, dns);
    }
    if (!err && open > 0)
        event_base_dispatch(base);
    for (size_t i = 0; i < config->directories_len; i++)
        proxy_directory_close(&directories[i].place);
    if (dns)
        evdns_base_free(dns, 0);
    if (base)
        event_base_free(base);
    return err;
}

void cli_directories_free(const struct config *config, struct cli_directory **directories)
{
    for (size_t i = 0; *directories && i < config->directories_len; i++)
        buf_fini(&(*directories)[i].found);
    free(*directories);
    *directories = NULL;
}

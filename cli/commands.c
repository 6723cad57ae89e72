#include "cli/commands.h"

#include <string.h>

const struct cli_command *const cli_commands[] = {&cli_serve,        &cli_check,
                                                  &cli_key_make,     &cli_key_import,
                                                  &cli_key_list,     &cli_key_show,
                                                  &cli_key_export,   &cli_key_delete,
                                                  &cli_key_backup,   &cli_key_renew,
                                                  &cli_key_rotate,   &cli_key_revoke,
                                                  &cli_key_publish,  &cli_key_refresh,
                                                  &cli_key_find,     &cli_key_pin,
                                                  &cli_key_certify,  &cli_key_trust,
                                                  &cli_why,          &cli_seal,
                                                  &cli_open,         &cli_certificate,
                                                  &cli_store_show,   &cli_store_clear,
                                                  &cli_store_reopen, &cli_store_passphrase,
                                                  &cli_completion,   NULL};

const struct cli_family cli_families[] = {
    {"key", "your own keys, and those of others"}, {"store", "what is kept of opened mail"}, {NULL, NULL}};

const struct cli_family *cli_family_of(const char *word)
{
    for (const struct cli_family *family = cli_families; family->name; family++)
        if (strcmp(word, family->name) == 0)
            return family;
    return NULL;
}

const char *cli_word_in(const struct cli_command *command, const struct cli_family *family)
{
    const size_t len = strlen(family->name);
    return strncmp(command->name, family->name, len) == 0 && command->name[len] == ' ' ? command->name + len + 1 : NULL;
}

const struct cli_family *cli_family_with(const struct cli_command *command)
{
    for (const struct cli_family *family = cli_families; family->name; family++)
        if (cli_word_in(command, family))
            return family;
    return NULL;
}

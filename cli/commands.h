/*
 * The table of all commands, for main, which finds one in it, and for what lists them.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/cli.h"

/* A first word that several commands share. */
struct cli_family {
    const char *name;
    const char *summary;
};

/* In the order of help; the table ends with NULL. */
extern const struct cli_command *const cli_commands[];
/* The table ends with a NULL name. */
extern const struct cli_family cli_families[];
/* Those that every command takes, ended by a NULL name. */
extern const struct cli_option *const cli_common_options;

/* The family with this name, or NULL. */
const struct cli_family *cli_family_of(const char *word);
/* The command's word within the family, or NULL if it is not of it. */
const char *cli_word_in(const struct cli_command *command, const struct cli_family *family);
/* The family that the command is of, or NULL. */
const struct cli_family *cli_family_with(const struct cli_command *command);

#endif

/*
 * Options and help, both from the same tables, so that what --help says is what is understood.
 */
#include "cli/commands.h"

#include "base/clock.h"
#include "cli/table.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MAX 32
#define OPTION_COLUMNS 24 /* at least, so that what both tables say stands below each other */

static const char *at;
static bool wants_help, wants_version;

/* Filled by hand below: `config`, `account` and `json` go into struct cli. */
enum { COMMON_CONFIG, COMMON_ACCOUNT, COMMON_JSON, COMMON_AT, COMMON_HELP, COMMON_VERSION, COMMON_COUNT };
static const struct cli_option common[COMMON_COUNT + 1] = {
    [COMMON_CONFIG] = {"config", "FILE", "read this configuration", NULL, NULL, NULL},
    [COMMON_ACCOUNT] = {"account", "ADDRESS", "the account, where there are several", NULL, NULL, NULL},
    [COMMON_JSON] = {"json", NULL, "print JSON for programs", NULL, NULL, NULL},
    [COMMON_AT] = {"at", "TIME", "judge as of YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ or @SECONDS", NULL, &at, NULL},
    [COMMON_HELP] = {"help", NULL, "print this", &wants_help, NULL, NULL},
    [COMMON_VERSION] = {"version", NULL, "print the version", &wants_version, NULL, NULL},
    [COMMON_COUNT] = {NULL, NULL, NULL, NULL, NULL, NULL}};

const struct cli_option *const cli_common_options = common;

static void print_options(const struct cli_option *options)
{
    struct table *table;
    enum err err = table_new(NULL, 2, &table);
    for (const struct cli_option *option = options; !err && option && option->name; option++) {
        char left[100], padded[120];
        snprintf(left, sizeof left, "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        snprintf(padded, sizeof padded, "  %-*s", OPTION_COLUMNS, left);
        const char *const cells[] = {padded, option->help};
        err = table_add(table, cells);
    }
    if (!err)
        table_print(table);
    table_free(&table);
}

/* Its lines are those of the source, which a terminal of another width breaks anew. */
static void print_text(const char *text)
{
    struct table *table = NULL;
    char *line = isatty(STDOUT_FILENO) ? strdup(text) : NULL;
    for (char *byte = line; byte && *byte; byte++)
        *byte = (char)(*byte == '\n' ? ' ' : *byte);
    if (line && !table_new(NULL, 1, &table) && !table_add(table, (const char *const[]){line}))
        table_print(table);
    else
        puts(text);
    table_free(&table);
    free(line);
}

void cli_help(const struct cli_command *command)
{
    printf("Usage: privyseal %s [OPTION]...%s%s\n\n", command->name, command->operands ? " " : "",
           command->operands ? command->operands : "");
    print_text(command->text);
    puts("");
    if (command->options) {
        printf("Options:\n");
        print_options(command->options);
        printf("\n");
    }
    printf("Common options:\n");
    print_options(common);
    printf("\nExit status: 0 done, 1 refused or not good, 2 usage or configuration, 3 could not.\n");
    if (command->example)
        printf("\nExample:\n  %s\n", command->example);
}

static const struct cli_option *all_options(const struct cli_command *command, struct option long_out[OPTIONS_MAX + 1],
                                            struct cli_option all_out[OPTIONS_MAX])
{
    size_t len = 0;
    const struct cli_option *const tables[] = {command->options, common};
    for (size_t i = 0; i < 2; i++)
        for (const struct cli_option *option = tables[i]; option && option->name; option++) {
            if (len == OPTIONS_MAX)
                abort();
            all_out[len] = *option;
            long_out[len++] =
                (struct option){option->name, option->argument ? required_argument : no_argument, NULL, 0};
        }
    long_out[len] = (struct option){NULL, 0, NULL, 0};
    return all_out;
}

static int take(struct cli *cli, const struct cli_option *option, const char *argument)
{
    if (strcmp(option->name, "config") == 0)
        cli->config_file = argument;
    else if (strcmp(option->name, "account") == 0)
        cli->account_name = argument;
    else if (strcmp(option->name, "json") == 0)
        cli->is_json = true;
    else if (option->flag)
        *option->flag = true;
    else if (option->value)
        *option->value = argument;
    else if (option->list->len < CLI_LIST_MAX)
        option->list->items[option->list->len++] = argument;
    else
        return cli_usage(cli, "--%s is given more than %d times", option->name, CLI_LIST_MAX);
    return CLI_DONE;
}

int cli_options_read(struct cli *cli, int *argc, char ***argv, bool *is_over_out)
{
    struct option long_options[OPTIONS_MAX + 1];
    struct cli_option all[OPTIONS_MAX];
    (void)all_options(cli->command, long_options, all);
    int index = 0, found, status = CLI_DONE;
    *is_over_out = false;
    optind = 0;
    opterr = 0;
    while (status == CLI_DONE && (found = getopt_long(*argc, *argv, ":", long_options, &index)) != -1) {
        if (found == 0)
            status = take(cli, &all[index], optarg);
        else
            status = cli_usage(cli, found == ':' ? "%s needs a value" : "%s is no option of this command",
                               (*argv)[optind - 1]);
    }
    if (status)
        return status;
    *argc -= optind;
    *argv += optind;
    if (wants_help)
        cli_help(cli->command);
    else if (wants_version)
        printf("privyseal 0.1\n");
    *is_over_out = wants_help || wants_version;
    int64_t seconds;
    if (!*is_over_out && at) {
        if (clock_parse(at, &seconds))
            return cli_usage(cli, "--at %s is no time; expected YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ or @SECONDS", at);
        clock_fix(seconds);
    }
    if (!*is_over_out && !cli->command->operands && *argc > 0)
        return cli_usage(cli, "\"%s\" is one word too many", (*argv)[0]);
    return CLI_DONE;
}

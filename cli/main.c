/*
 * privyseal COMMAND: finds the command by its words, reads its options, runs it.
 */
#include "cli/cli.h"

#include "base/sandbox.h"
#include "proxy/keeper.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &cli_serve,      &cli_check,       &cli_key_make,    &cli_key_import,  &cli_key_list,     &cli_key_show,
    &cli_key_export, &cli_key_delete,  &cli_key_backup,  &cli_key_renew,   &cli_key_rotate,   &cli_key_revoke,
    &cli_key_publish, &cli_key_refresh, &cli_key_find,   &cli_key_pin,     &cli_key_certify, &cli_key_trust,   &cli_why,          &cli_seal,
    &cli_open,       &cli_certificate, &cli_store_show,  &cli_store_clear, &cli_store_reopen, &cli_store_passphrase};
/* First words that several commands share. */
static const char *const families[] = {"key", "store"};
#define FAMILIES_LEN (sizeof families / sizeof *families)
#define COMMANDS_LEN (sizeof commands / sizeof *commands)

/* The family whose first word this is, or NULL. */
static const char *family_of(const char *word)
{
    for (size_t i = 0; i < FAMILIES_LEN; i++)
        if (strcmp(word, families[i]) == 0)
            return families[i];
    return NULL;
}

/* Whether the command is of the family; all are of none. */
static bool is_of(const struct cli_command *command, const char *family)
{
    const size_t len = family ? strlen(family) : 0;
    return !family || (strncmp(command->name, family, len) == 0 && command->name[len] == ' ');
}

static void print_commands(FILE *out, const char *family)
{
    fprintf(out, "Commands:\n");
    for (size_t i = 0; i < COMMANDS_LEN; i++)
        if (is_of(commands[i], family))
            fprintf(out, "  %-13s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n`privyseal COMMAND --help` explains a command.\n");
}

static void print_overview(FILE *out)
{
    fprintf(out, "privyseal signs and encrypts the mail that passes through it.\n\n"
                 "Usage: privyseal COMMAND [OPTION]...\n\n");
    print_commands(out, NULL);
}

/* How many words of the command line name the command; 0 if they do not. */
static int words_matching(const struct cli_command *command, int argc, char **argv)
{
    struct span rest = span_of(command->name), word;
    int count = 0;
    while (span_take_until(&rest, ' ', &word)) {
        if (count >= argc || !span_is_equal(span_of(argv[count]), word))
            return 0;
        count++;
    }
    return count;
}

static const struct cli_command *find_command(int argc, char **argv, int *words_out)
{
    for (size_t i = 0; i < COMMANDS_LEN; i++)
        if ((*words_out = words_matching(commands[i], argc, argv)) > 0)
            return commands[i];
    return NULL;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int unknown_command(int argc, char **argv)
{
    const char *family = argc > 0 ? family_of(argv[0]) : NULL;
    if (family) {
        fprintf(stderr, "privyseal %s: expected one of", family);
        for (size_t i = 0; i < COMMANDS_LEN; i++)
            if (is_of(commands[i], family))
                fprintf(stderr, " %s", commands[i]->name + strlen(family) + 1);
        fprintf(stderr, "; see `privyseal --help`\n");
    } else if (argc > 0) {
        fprintf(stderr, "privyseal: there is no command \"%s\"; see `privyseal --help`\n", argv[0]);
    } else {
        print_overview(stderr);
    }
    return CLI_USAGE;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli cli = {.command = command};
    bool is_over;
    int status = cli_options_read(&cli, &argc, &argv, &is_over);
    if (status == CLI_DONE && !is_over)
        status = command->run(&cli, argc, argv);
    cli_close(&cli);
    if (fflush(stdout) && status == CLI_DONE)
        status = CLI_FAILED;
    return status;
}

int main(int argc, char **argv)
{
    argc--;
    argv++;
    if (argc == 1 && strcmp(argv[0], PROXY_KEEPER_COMMAND) == 0)
        return proxy_keeper_main();
    sandbox_no_dumps();
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    log_init("privyseal", LOG_LEVEL_WARNING);
    const bool wants_help = argc > 0 && strcmp(argv[0], "help") == 0;
    if (wants_help) {
        argc--;
        argv++;
    }
    if ((wants_help && argc == 0) || (argc > 0 && is_help(argv[0]))) {
        print_overview(stdout);
        return CLI_DONE;
    }
    const char *family = argc > 0 ? family_of(argv[0]) : NULL;
    if (family && ((wants_help && argc == 1) || (argc > 1 && is_help(argv[1])))) {
        printf("Usage: privyseal %s COMMAND [OPTION]...\n\n", family);
        print_commands(stdout, family);
        return CLI_DONE;
    }
    int words = 0;
    const bool wants_version = argc > 0 && strcmp(argv[0], "--version") == 0;
    const struct cli_command *command = wants_version ? &cli_serve : find_command(argc, argv, &words);
    if (!command)
        return unknown_command(argc, argv);
    if (wants_help) {
        cli_help(command);
        return CLI_DONE;
    }
    /* getopt takes the word before the first option for the program's name. */
    const int skip = wants_version ? -1 : words - 1;
    return run(command, argc - skip, argv + skip);
}

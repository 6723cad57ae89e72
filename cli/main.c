/*
 * privyseal COMMAND: finds the command by its words, reads its options, runs it.
 */
#include "cli/commands.h"

#include "base/sandbox.h"
#include "proxy/keeper.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void print_commands(FILE *out, const struct cli_family *family)
{
    fprintf(out, "Commands:\n");
    for (const struct cli_command *const *command = cli_commands; *command; command++)
        if (!family || cli_word_in(*command, family))
            fprintf(out, "  %-16s  %s\n", (*command)->name, (*command)->summary);
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
    for (const struct cli_command *const *command = cli_commands; *command; command++)
        if ((*words_out = words_matching(*command, argc, argv)) > 0)
            return *command;
    return NULL;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int unknown_command(int argc, char **argv)
{
    const struct cli_family *family = argc > 0 ? cli_family_of(argv[0]) : NULL;
    if (family) {
        fprintf(stderr, "privyseal %s: expected one of", family->name);
        for (const struct cli_command *const *command = cli_commands; *command; command++)
            if (cli_word_in(*command, family))
                fprintf(stderr, " %s", cli_word_in(*command, family));
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
    const struct cli_family *family = argc > 0 ? cli_family_of(argv[0]) : NULL;
    if (family && ((wants_help && argc == 1) || (argc > 1 && is_help(argv[1])))) {
        printf("Usage: privyseal %s COMMAND [OPTION]...\n\n", family->name);
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

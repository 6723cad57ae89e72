/*
 * privyseal completion: what the shells complete, written from the same tables as --help.
 *
 * What stands for a value says what is completed: FILE and DIR a path, words between bars ("full|marginal") these
 * words, all else nothing. Operands are completed by what the first of them that has something is.
 */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

enum kind { KIND_FREE, KIND_FILE, KIND_FOLDER, KIND_WORDS };

static enum kind kind_of(struct span argument)
{
    if (span_is_equal(argument, SPAN_LIT("FILE")))
        return KIND_FILE;
    if (span_is_equal(argument, SPAN_LIT("DIR")))
        return KIND_FOLDER;
    return span_find_byte(argument, 0, '|') < argument.len ? KIND_WORDS : KIND_FREE;
}

/* The operand that says what is completed, without what says that it may be left out or repeated. */
static struct span operand_of(const struct cli_command *command, enum kind *kind_out)
{
    struct span rest = span_of(command->operands), word;
    *kind_out = KIND_FREE;
    while (span_take_until(&rest, ' ', &word)) {
        while (word.len && *word.ptr == '[')
            word = span_skip(word, 1);
        while (word.len && (word.ptr[word.len - 1] == ']' || word.ptr[word.len - 1] == '.'))
            word.len--;
        if ((*kind_out = kind_of(word)) != KIND_FREE)
            return word;
    }
    return SPAN_NONE;
}

/* "one|two" as "one two". */
static void print_words(struct span words)
{
    for (size_t i = 0; i < words.len; i++)
        putchar(words.ptr[i] == '|' ? ' ' : words.ptr[i]);
}

/* Within single quotes; `escaped` gets a backslash before it. */
static void print_quoted(const char *text, const char *escaped, const char *quote)
{
    for (; *text; text++) {
        if (*text == '\'')
            printf("%s", quote);
        else
            printf("%s%c", strchr(escaped, *text) ? "\\" : "", *text);
    }
}

/* The first words: commands, families, help. */
static bool is_first(const struct cli_command *command)
{
    return !cli_family_with(command);
}

/* ---- bash ---- */

static void bash_value(const char *command, const struct cli_option *option)
{
    static const char *const kinds[] = {
        [KIND_FREE] = "none", [KIND_FILE] = "file", [KIND_FOLDER] = "folder", [KIND_WORDS] = "words"};
    const struct span argument = span_of(option->argument);
    const enum kind kind = kind_of(argument);
    printf("    %s --%s') kind=%s", command, option->name, kinds[kind]);
    if (kind == KIND_WORDS) {
        printf(" words='");
        print_words(argument);
        printf("'");
    }
    printf(" ;;\n");
}

static void bash_values(const char *command, const struct cli_option *options)
{
    for (; options && options->name; options++)
        if (options->argument)
            bash_value(command, options);
}

static void bash_command(const struct cli_command *command)
{
    static const char *const kinds[] = {
        [KIND_FREE] = "none", [KIND_FILE] = "file", [KIND_FOLDER] = "folder", [KIND_WORDS] = "words"};
    enum kind kind;
    const struct span operand = operand_of(command, &kind);
    const struct cli_option *const tables[] = {command->options, cli_common_options};
    printf("    '%s')\n        kind=%s words='", command->name, kinds[kind]);
    print_words(operand);
    printf("' options='");
    for (size_t i = 0; i < 2; i++)
        for (const struct cli_option *option = tables[i]; option && option->name; option++)
            printf("%s--%s", i || option != tables[0] ? " " : "", option->name);
    printf("'\n        ;;\n");
}

static void bash_words(void)
{
    printf("    if ((COMP_CWORD == first)); then\n        kind=words words='");
    for (const struct cli_command *const *command = cli_commands; *command; command++)
        if (is_first(*command))
            printf("%s ", (*command)->name);
    for (const struct cli_family *family = cli_families; family->name; family++)
        printf("%s ", family->name);
    printf("help' options='--help --version'\n");
    for (const struct cli_family *family = cli_families; family->name; family++) {
        printf("    elif ((COMP_CWORD == first + 1)) && [[ ${COMP_WORDS[first]} == %s ]]; then\n        kind=words "
               "words='",
               family->name);
        for (const struct cli_command *const *command = cli_commands; *command; command++)
            if (cli_word_in(*command, family))
                printf("%s ", cli_word_in(*command, family));
        printf("' options=--help\n");
    }
}

static void print_bash(void)
{
    printf("# Completion of privyseal for bash, made by `privyseal completion bash`.\n"
           "_privyseal()\n{\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
           "    local first=1 command= kind= words= options=\n"
           "    COMPREPLY=()\n"
           "    # An equals sign is a word of its own.\n"
           "    if [[ $word == = ]]; then\n        word=\n"
           "    elif [[ $before == = ]]; then\n        before=${COMP_WORDS[COMP_CWORD - 2]}\n    fi\n"
           "    [[ ${COMP_WORDS[1]} == help ]] && ((COMP_CWORD > 1)) && first=2\n");
    bash_words();
    printf("    else\n    command=${COMP_WORDS[first]}\n    case $command in\n    ");
    for (const struct cli_family *family = cli_families; family->name; family++)
        printf("%s%s", family == cli_families ? "" : " | ", family->name);
    printf(") command+=\" ${COMP_WORDS[first + 1]}\" ;;\n    esac\n    case \"$command $before\" in\n");
    for (const struct cli_command *const *command = cli_commands; *command; command++) {
        char quoted[80];
        snprintf(quoted, sizeof quoted, "'%s", (*command)->name);
        bash_values(quoted, (*command)->options);
    }
    bash_values("*'", cli_common_options);
    printf("    esac\n    [[ $kind ]] || case $command in\n");
    for (const struct cli_command *const *command = cli_commands; *command; command++)
        bash_command(*command);
    printf("    esac\n    fi\n"
           "    [[ $word == -* && $options ]] && kind=words words=$options\n"
           "    case $kind in\n"
           "    words) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\") ;;\n"
           "    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
           "    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$word\") ;;\n"
           "    esac\n}\n"
           "complete -F _privyseal privyseal\n");
}

/* ---- zsh ---- */

static void zsh_value(const char *name, enum kind kind, struct span words)
{
    printf(":%s:", name);
    if (kind == KIND_FILE)
        printf("_files");
    else if (kind == KIND_FOLDER)
        printf("_files -/");
    else if (kind == KIND_WORDS) {
        printf("(");
        print_words(words);
        printf(")");
    }
}

static void zsh_options(const struct cli_option *options)
{
    for (; options && options->name; options++) {
        const struct span argument = span_of(options->argument);
        printf(" \\\n            '%s--%s%s[", options->list ? "*" : "", options->name, options->argument ? "=" : "");
        print_quoted(options->help, "[]:\\", "'\\''");
        printf("]");
        if (options->argument)
            zsh_value(options->name, kind_of(argument), argument);
        printf("'");
    }
}

static void zsh_description(const char *word, const char *summary)
{
    printf(" \\\n            '%s:", word);
    print_quoted(summary, "\\", "'\\''");
    printf("'");
}

static void zsh_words(void)
{
    printf("    if ((CURRENT == 2)); then\n        local -a names=(");
    for (const struct cli_command *const *command = cli_commands; *command; command++)
        if (is_first(*command))
            zsh_description((*command)->name, (*command)->summary);
    for (const struct cli_family *family = cli_families; family->name; family++)
        zsh_description(family->name, family->summary);
    zsh_description("help", "explains a command");
    printf(")\n        _describe command names\n        return\n    fi\n");
    for (const struct cli_family *family = cli_families; family->name; family++) {
        printf("    if ((CURRENT == 3)) && [[ $words[2] == %s ]]; then\n        local -a names=(", family->name);
        for (const struct cli_command *const *command = cli_commands; *command; command++)
            if (cli_word_in(*command, family))
                zsh_description(cli_word_in(*command, family), (*command)->summary);
        printf(")\n        _describe command names\n        return\n    fi\n");
    }
}

static void print_zsh(void)
{
    printf("#compdef privyseal\n# Completion of privyseal for zsh, made by `privyseal completion zsh`.\n"
           "_privyseal()\n{\n"
           "    if ((CURRENT > 2)) && [[ $words[2] == help ]]; then\n"
           "        shift words\n        ((CURRENT--))\n    fi\n");
    zsh_words();
    printf("    local command=$words[2]\n    shift words\n    ((CURRENT--))\n");
    for (const struct cli_family *family = cli_families; family->name; family++)
        printf("    if [[ $command == %s ]]; then\n        command+=\" $words[2]\"\n        shift words\n"
               "        ((CURRENT--))\n    fi\n",
               family->name);
    printf("    local -a common=(");
    zsh_options(cli_common_options);
    printf(")\n    case $command in\n");
    for (const struct cli_command *const *command = cli_commands; *command; command++) {
        enum kind kind;
        const struct span operand = operand_of(*command, &kind);
        printf("    '%s')\n        _arguments $common", (*command)->name);
        zsh_options((*command)->options);
        if (kind != KIND_FREE) {
            printf(" \\\n            '*");
            zsh_value("operand", kind, operand);
            printf("'");
        }
        printf(" ;;\n");
    }
    printf("    esac\n}\n"
           "# Loaded by compinit it is this function; read by a person it is registered.\n"
           "if [[ $funcstack[1] == _privyseal ]]; then\n    _privyseal \"$@\"\nelse\n    compdef _privyseal privyseal\n"
           "fi\n");
}

/* ---- fish ---- */

static void fish_line(const char *condition, const char *name, const char *help)
{
    printf("complete -c privyseal -n '__privyseal_is%s%s'", condition[0] ? " " : "", condition);
    printf("%s", name);
    printf(" -d '");
    print_quoted(help, "\\", "\\'");
    printf("'\n");
}

static void fish_value(enum kind kind, struct span words)
{
    if (kind == KIND_FILE)
        printf(" -F");
    else if (kind == KIND_FOLDER)
        printf(" -x -a '(__fish_complete_directories)'");
    else if (kind == KIND_WORDS) {
        printf(" -x -a '");
        print_words(words);
        printf("'");
    } else {
        printf(" -x");
    }
}

static void fish_options(const char *condition, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        printf("complete -c privyseal -n '%s' -l %s", condition, options->name);
        if (options->argument) {
            printf(" -r");
            fish_value(kind_of(span_of(options->argument)), span_of(options->argument));
        }
        printf(" -d '");
        print_quoted(options->help, "\\", "\\'");
        printf("'\n");
    }
}

static void fish_command(const struct cli_command *command)
{
    const struct cli_family *family = cli_family_with(command);
    const char *word = family ? cli_word_in(command, family) : command->name;
    char name[80], condition[80];
    enum kind kind;
    const struct span operand = operand_of(command, &kind);
    snprintf(name, sizeof name, " -a %s", word);
    fish_line(family ? family->name : "", name, command->summary);
    snprintf(condition, sizeof condition, "__privyseal_in %s", command->name);
    fish_options(condition, command->options);
    if (kind != KIND_FREE) {
        printf("complete -c privyseal -n '%s'", condition);
        fish_value(kind, operand);
        printf("\n");
    }
}

static void print_fish(void)
{
    printf("# Completion of privyseal for fish, made by `privyseal completion fish`.\n"
           "function __privyseal_words\n"
           "    set -l words (commandline -opc)\n    set -e words[1]\n"
           "    test \"$words[1]\" = help; and set -e words[1]\n"
           "    string join -- \\n $words\nend\n"
           "# Whether the words before the cursor are these and no others.\n"
           "function __privyseal_is\n"
           "    set -l words (__privyseal_words)\n    test \"$words\" = \"$argv\"\nend\n"
           "# Whether they begin with these.\n"
           "function __privyseal_in\n"
           "    set -l words (__privyseal_words)\n"
           "    set -l begin $words[1..(count $argv)]\n    test \"$begin\" = \"$argv\"\nend\n"
           "complete -c privyseal -f\n");
    for (const struct cli_family *family = cli_families; family->name; family++) {
        char name[80];
        snprintf(name, sizeof name, " -a %s", family->name);
        fish_line("", name, family->summary);
    }
    fish_line("", " -a help", "explains a command");
    for (const struct cli_command *const *command = cli_commands; *command; command++)
        fish_command(*command);
    fish_options("not __privyseal_is", cli_common_options);
}

static int run(struct cli *cli, int argc, char **argv)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; argc == 1 && i < sizeof shells / sizeof *shells; i++)
        if (strcmp(argv[0], shells[i].shell) == 0) {
            shells[i].print();
            return ferror(stdout) ? CLI_FAILED : CLI_DONE;
        }
    return cli_usage(cli, "expected one of bash, zsh and fish");
}

const struct cli_command cli_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .summary = "writes what a shell completes commands and options by",
    .text =
        "Writes the completion of commands, options and their values for a shell. `make install` puts it where the\n"
        "shells look for it; without that: `source <(privyseal completion bash)` in ~/.bashrc,\n"
        "`source <(privyseal completion zsh)` in ~/.zshrc after compinit, or\n"
        "`privyseal completion fish | source` in ~/.config/fish/config.fish.",
    .example = "source <(privyseal completion bash)",
    .run = run};

/*
 * privyseal store ...: what is kept of opened mail.
 */
#include "cli/table.h"
#include "cli/vault.h"

#include <stdio.h>
#include <string.h>

/* The account that is meant: by --account or by name. NULL: all. */
static enum err choose(struct cli *cli, int argc, char **argv, const struct config_account **account_out)
{
    *account_out = NULL;
    enum err err = cli_open_config(cli);
    if (err)
        return err;
    if (argc > 1 || (argc == 1 && cli->account_name)) {
        (void)cli_usage(cli, "expected one account at most");
        return ERR_USAGE;
    }
    if (argc == 1)
        cli->account_name = argv[0];
    if (!cli->account_name)
        return ERR_OK;
    err = cli_open_account(cli, NULL);
    *account_out = cli->account;
    return err;
}

/* Opens the store for one command. `*is_empty_out`: nothing was ever kept, and nothing is open. */
static enum err open_vault(struct cli *cli, struct cli_vault *vault, bool *is_empty_out)
{
    enum err err = cli_vault_open(cli->config, true, vault);
    *is_empty_out = err == ERR_NOT_FOUND;
    if (err == ERR_BUSY)
        fprintf(stderr,
                "privyseal %s: another process has the store open; try again, or look whether `privyseal serve`"
                " runs with another configuration\n",
                cli->command->name);
    else if (err && err != ERR_NOT_FOUND)
        (void)cli_fail(cli, err, "opening the store");
    return *is_empty_out ? ERR_OK : err;
}

static bool is_meant(const struct cli *cli, const struct config_account *account, size_t index)
{
    return !account || account == &cli->config->accounts[index];
}

static enum err read_totals(const struct cli *cli, struct cli_vault *vault, bool is_empty, size_t index,
                            struct store_totals *totals)
{
    *totals = (struct store_totals){.views = 0};
    return is_empty ? ERR_OK : cli_vault_totals(vault, cli->config->accounts[index].address, totals);
}

/* How the account's keys are kept. */
static enum err read_kept(struct cli_vault *vault, bool is_empty, const char *address, const char **words_out)
{
    static const char *const words[STORE_WRAP_COUNT] = {[STORE_WRAP_DERIVED] = "file",
                                                        [STORE_WRAP_FILE] = "file",
                                                        [STORE_WRAP_CREDENTIAL] = "credential",
                                                        [STORE_WRAP_OPENPGP] = "openpgp",
                                                        [STORE_WRAP_PASSPHRASE] = "passphrase"};
    struct store_kept kept;
    enum err err = is_empty ? ERR_NOT_FOUND : cli_vault_kept(vault, address, &kept);
    *words_out = err ? "none" : words[kept.wrap];
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static json_t *totals_json(const char *address, const char *kept, const struct store_totals *totals)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "account", address, "keys", kept, "views",
                     (json_int_t)totals->views, "failed", (json_int_t)totals->failed, "records",
                     (json_int_t)totals->records, "places", (json_int_t)totals->places, "mailboxes",
                     (json_int_t)totals->mailboxes);
}

static enum err add_row(struct table *table, const char *address, const char *kept, const struct store_totals *totals)
{
    char numbers[5][24];
    const uint64_t values[5] = {totals->views, totals->failed, totals->records, totals->places, totals->mailboxes};
    for (size_t i = 0; i < 5; i++)
        snprintf(numbers[i], sizeof numbers[i], "%llu", (unsigned long long)values[i]);
    const char *const cells[] = {address, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], kept};
    return table_add(table, cells);
}

/* Fills both forms; the bytes are those of all accounts together. */
static enum err collect(const struct cli *cli, struct cli_vault *vault, bool is_empty,
                        const struct config_account *account, struct table *table, json_t *list, uint64_t *bytes_out)
{
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < cli->config->accounts_len; i++) {
        const char *address = cli->config->accounts[i].address, *kept;
        struct store_totals totals;
        if (!is_meant(cli, account, i))
            continue;
        err = read_totals(cli, vault, is_empty, i, &totals);
        if (!err)
            err = read_kept(vault, is_empty, address, &kept);
        if (!err)
            err = add_row(table, address, kept, &totals);
        if (!err && json_array_append_new(list, totals_json(address, kept, &totals)))
            err = ERR_MEMORY;
        *bytes_out = totals.bytes;
    }
    return err;
}

static int print(const struct cli *cli, struct cli_vault *vault, bool is_empty, const struct config_account *account)
{
    static const char *const heads[] = {"ACCOUNT", "MESSAGES", "NOT OPENED", "AT HAND", "PLACES", "MAILBOXES", "KEYS"};
    struct table *table;
    json_t *list = json_array();
    uint64_t bytes = 0;
    enum err err = table_new(heads, 7, &table);
    if (!err)
        err = collect(cli, vault, is_empty, account, table, list, &bytes);
    int status = err ? cli_fail(cli, err, "reading the store") : CLI_DONE;
    if (!err && cli->is_json) {
        status = cli_print_json(json_pack("{s:O, s:I, s:I}", "accounts", list, "bytes", (json_int_t)bytes, "bytes_max",
                                          (json_int_t)cli->config->store_max));
    } else if (!err) {
        table_print(table);
        printf("%llu kB of at most %llu kB are used for what is at hand.\n", (unsigned long long)bytes / 1024,
               (unsigned long long)cli->config->store_max / 1024);
    }
    json_decref(list);
    table_free(&table);
    return status;
}

static int run_show(struct cli *cli, int argc, char **argv)
{
    const struct config_account *account;
    struct cli_vault vault;
    bool is_empty;
    enum err err = choose(cli, argc, argv, &account);
    if (!err)
        err = open_vault(cli, &vault, &is_empty);
    if (err)
        return cli_exit_of(err);
    const int status = print(cli, &vault, is_empty, account);
    cli_vault_close(&vault);
    return status;
}

static bool is_clearing_all, with_private_keys, is_sure;

static const struct cli_option clear_options[] = {
    {"all", NULL, "also drop what was decided, and the keys it is sealed with", &is_clearing_all, NULL, NULL},
    {"private-keys", NULL, "with --all: and the private keys of S/MIME certificates, which nothing brings back",
     &with_private_keys, NULL, NULL},
    {"yes", NULL, "with --all: do not ask", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* Private keys are no cache: they go only by their name. */
static enum err forget(const struct cli *cli, struct cli_vault *vault, const char *address)
{
    enum err err = cli_vault_forget(vault, address, with_private_keys);
    if (err == ERR_EXISTS)
        fprintf(stderr,
                "privyseal %s: private keys of S/MIME certificates of %s are kept here, and nothing was dropped of "
                "that account; bring them away with `privyseal key export --secret` first, or give --private-keys "
                "to lose them\n",
                cli->command->name, address);
    return err;
}

static enum err clear(const struct cli *cli, struct cli_vault *vault, const struct config_account *account)
{
    enum err err = ERR_OK;
    if (!is_clearing_all)
        return cli_vault_clear(vault, account ? account->address : NULL);
    for (size_t i = 0; !err && i < cli->config->accounts_len; i++)
        if (is_meant(cli, account, i))
            err = forget(cli, vault, cli->config->accounts[i].address);
    return err;
}

static int print_cleared(const struct cli *cli, const struct config_account *account)
{
    json_t *list = json_array();
    for (size_t i = 0; i < cli->config->accounts_len; i++)
        if (is_meant(cli, account, i))
            (void)json_array_append_new(list, json_string(cli->config->accounts[i].address));
    return cli_print_json(json_pack("{s:o, s:b}", "accounts", list, "all", is_clearing_all));
}

/* What can be made again goes without a question. */
static bool is_agreed(const struct cli *cli, const struct config_account *account)
{
    char question[900];
    snprintf(question, sizeof question,
             "Of %s: drop what was decided about each message, what is known of correspondents with the keys that you "
             "pinned%s, and the keys that seal this?\nNothing brings it back. Drop it",
             account                         ? account->address
             : cli->config->accounts_len > 1 ? "ALL accounts"
                                             : cli->config->accounts[0].address,
             with_private_keys ? ", the PRIVATE KEYS of S/MIME certificates" : "");
    if (!is_clearing_all || is_sure || cli_confirm(question))
        return true;
    fprintf(stderr, "privyseal store clear: nothing was dropped; expected \"yes\", or --yes\n");
    return false;
}

static int run_clear(struct cli *cli, int argc, char **argv)
{
    const struct config_account *account;
    struct cli_vault vault;
    bool is_empty;
    if (!is_clearing_all && (with_private_keys || is_sure))
        return cli_usage(cli, "--private-keys and --yes are for --all");
    enum err err = choose(cli, argc, argv, &account);
    if (!err && !is_agreed(cli, account))
        return CLI_REFUSED;
    if (!err)
        err = open_vault(cli, &vault, &is_empty);
    if (err)
        return cli_exit_of(err);
    if (!is_empty)
        err = clear(cli, &vault, account);
    cli_vault_close(&vault);
    if (err)
        return err == ERR_EXISTS ? CLI_REFUSED : cli_fail(cli, err, "clearing the store");
    return cli->is_json ? print_cleared(cli, account) : CLI_DONE;
}

static void say_reopened(const struct cli *cli, const char *address, uint64_t messages)
{
    if (cli->is_json)
        return;
    if (messages == 0)
        printf("%s: no message is there that could not be opened\n", address);
    else
        printf("%s: %llu %s judged again when the mailbox is next selected\n", address, (unsigned long long)messages,
               messages == 1 ? "message is" : "messages are");
}

static int run_reopen(struct cli *cli, int argc, char **argv)
{
    const struct config_account *account;
    struct cli_vault vault;
    bool is_empty;
    enum err err = choose(cli, argc, argv, &account);
    if (!err)
        err = open_vault(cli, &vault, &is_empty);
    if (err)
        return cli_exit_of(err);
    json_t *list = json_array();
    for (size_t i = 0; !err && i < cli->config->accounts_len; i++) {
        const char *address = cli->config->accounts[i].address;
        uint64_t messages = 0;
        if (!is_meant(cli, account, i))
            continue;
        err = is_empty ? ERR_OK : cli_vault_reopen(&vault, address, &messages);
        if (!err)
            say_reopened(cli, address, messages);
        if (!err &&
            json_array_append_new(list, json_pack("{s:s, s:I}", "account", address, "messages", (json_int_t)messages)))
            err = ERR_MEMORY;
    }
    cli_vault_close(&vault);
    int status = err ? cli_fail(cli, err, "marking messages") : CLI_DONE;
    if (!err && cli->is_json)
        status = cli_print_json(json_incref(list));
    json_decref(list);
    return status;
}

const struct cli_command cli_store_show = {
    .name = "store show",
    .operands = "[ACCOUNT]",
    .summary = "shows how much is kept of opened mail",
    .text =
        "Shows for each account how many messages privyseal has decided about, how many of them it could not open,\n"
        "how many are at hand (header, structure and searchable text, sealed), and the places that are known: how\n"
        "many UIDs of how many mailboxes; and what keeps the keys that all this is sealed with: a passphrase, an\n"
        "OpenPGP key (openpgp), a systemd credential, or a file beside it. It works while `privyseal serve` runs, too.",
    .example = "privyseal store show",
    .run = run_show};

const struct cli_command cli_store_clear = {
    .name = "store clear",
    .operands = "[ACCOUNT]",
    .summary = "drops what is kept of opened mail and can be made again",
    .text =
        "Drops headers, structures, searchable texts and places, of ACCOUNT or of all. What was decided about each\n"
        "message stays, so that it looks the same as before when it is next opened.\n"
        "With --all that goes, too, after asking, with what is known of correspondents and the keys that seal it: the\n"
        "account begins anew, as it must where the OpenPGP key that opens those keys is lost. Messages are judged\n"
        "again, and a mail program that keeps copies may show other bytes under the same number than before: have it\n"
        "fetch them again. An account that has private keys of S/MIME certificates here is left alone unless\n"
        "--private-keys is given, too: these keys cannot be made again.",
    .example = "privyseal store clear",
    .options = clear_options,
    .run = run_clear};

const struct cli_command cli_store_reopen = {
    .name = "store reopen",
    .operands = "[ACCOUNT]",
    .summary = "has messages judged again that could not be opened",
    .text =
        "Marks the messages of ACCOUNT, or of all accounts, that could not be opened. When a mail program next\n"
        "selects their mailbox, the proxy copies each within it, judges the copy anew, and expunges the old one: a\n"
        "message never changes under its UID. It is of use after a key was imported.",
    .example = "privyseal store reopen",
    .run = run_reopen};

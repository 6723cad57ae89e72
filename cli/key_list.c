#include "cli/key.h"
#include "cli/table.h"

#include <string.h>

#define SHORT_LEN 16

static bool is_wanted(const struct keyring_entry *entry, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (span_find_case(span_of(entry->user_id), 0, span_of(argv[i])) != SIZE_MAX ||
            span_find_case(span_of(entry->address), 0, span_of(argv[i])) != SIZE_MAX ||
            span_find_case(span_of(entry->fingerprint), 0, span_of(argv[i])) != SIZE_MAX)
            return true;
    return argc == 0;
}

static int print_json(const struct cli *cli, int argc, char **argv)
{
    json_t *list = json_array();
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (is_wanted(entry, argc, argv) && json_array_append_new(list, key_json(entry))) {
            json_decref(list);
            return cli_fail(cli, ERR_MEMORY, "listing");
        }
    }
    return cli_print_json(list);
}

static enum err add_row(struct table *table, const char *const *cells)
{
    const enum err err = table_add(table, cells);
    table_colour(table, 1, colour_of(cells[1]));
    table_colour(table, 2, colour_of(cells[2]));
    return err;
}

/* The narrow table leaves out source and algorithm, and of the fingerprint all but the 16 digits that suffice as KEY.
 */
static enum err fill(const struct cli *cli, int argc, char **argv, bool is_narrow, struct table **table_out)
{
    static const char *const heads[] = {"ADDRESS", "TRUST", "STATE", "EXPIRES", "FINGERPRINT", "SOURCE", "ALGORITHM"};
    struct table *table;
    enum err err = table_new(heads, is_narrow ? 5 : 7, &table);
    for (size_t i = 0; !err && i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        char expires[CLI_DATE_SIZE];
        cli_date(entry->expires, expires);
        const size_t len = strlen(entry->fingerprint);
        const char *const cells[] = {entry->address[0] ? entry->address : entry->user_id,
                                     keyring_trust_name(entry->trust),
                                     key_state(entry),
                                     expires,
                                     entry->fingerprint + (is_narrow && len > SHORT_LEN ? len - SHORT_LEN : 0),
                                     keyring_source_name(entry->source),
                                     entry->algorithm};
        if (is_wanted(entry, argc, argv))
            err = add_row(table, cells);
    }
    *table_out = table;
    return err;
}

static int print_table(const struct cli *cli, int argc, char **argv)
{
    struct table *table;
    enum err err = fill(cli, argc, argv, false, &table);
    if (!err && table_is_too_wide(table)) {
        table_free(&table);
        err = fill(cli, argc, argv, true, &table);
    }
    if (!err)
        table_print(table);
    table_free(&table);
    return err ? cli_fail(cli, err, "listing") : CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = cli_open_ring(cli, false);
    if (err)
        return cli_exit_of(err);
    return cli->is_json ? print_json(cli, argc, argv) : print_table(cli, argc, argv);
}

const struct cli_command cli_key_list = {
    .name = "key list",
    .operands = "[TEXT...]",
    .summary = "lists the keys: address, trust, state, expiry",
    .text =
        "Lists the keys of the account's key ring, one line for each address that a key carries; with TEXT, those\n"
        "whose address, name or fingerprint holds it. TRUST says how far the key is trusted for that address:\n"
        "own, pinned, full, marginal, found, seen, unverified or never; SOURCE, where it came from, or by whose word\n"
        "it is trusted. On a narrow terminal source and algorithm are left out, and the fingerprint is cut to its\n"
        "last 16 digits.",
    .example = "privyseal key list example.org",
    .run = run};

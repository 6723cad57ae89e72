#include "cli/key.h"
#include "cli/table.h"

#include <stdio.h>
#include <string.h>

static enum err add_line(struct table *table, const char *name, const char *value)
{
    const char *const cells[] = {name, value};
    return table_add(table, cells);
}

/* Until when the key serves for `use`: 0 without end, negative not at all. */
static enum err add_use(struct table *table, const char *use, int64_t until)
{
    char date[CLI_DATE_SIZE], value[CLI_DATE_SIZE + 8];
    cli_date(until, date);
    snprintf(value, sizeof value, "until %s", date);
    return add_line(table, use, until < 0 ? "no" : until == 0 ? "yes, without end" : value);
}

static enum err add_dates(struct table *table, const struct keyring_entry *entry)
{
    char date[CLI_DATE_SIZE];
    cli_date(entry->created, date);
    enum err err = add_line(table, "created", date);
    cli_date(entry->expires, date);
    if (!err)
        err = add_line(table, "expires", date);
    if (!err)
        err = add_use(table, "encrypts", entry->encrypt_until);
    return err ? err : add_use(table, "signs", entry->sign_until);
}

static enum err add_user_ids(const struct cli *cli, struct table *table, const char *fingerprint)
{
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (strcmp(entry->fingerprint, fingerprint) != 0)
            continue;
        char line[400];
        snprintf(line, sizeof line, "%s (trust %s%s)", entry->user_id, keyring_trust_name(entry->trust),
                 entry->is_primary_uid ? ", primary" : "");
        err = add_line(table, "user ID", line);
    }
    return err;
}

static int print_table(const struct cli *cli, const struct keyring_entry *entry)
{
    char grouped[KEY_GROUPED_SIZE];
    key_group(entry->fingerprint, grouped);
    struct table *table;
    enum err err = table_new(NULL, 2, &table);
    if (!err)
        err = add_line(table, "fingerprint", grouped);
    if (!err)
        err = add_line(table, "algorithm", entry->algorithm);
    if (!err && *key_state(entry))
        err = add_line(table, "state", key_state(entry));
    if (!err)
        err = add_dates(table, entry);
    if (!err && entry->has_aead)
        err = add_line(table, "asks for", "AEAD, which cannot be checked yet; see `privyseal check`");
    if (!err)
        err = add_user_ids(cli, table, entry->fingerprint);
    if (!err)
        table_print(table);
    table_free(&table);
    return err ? cli_fail(cli, err, "showing the key") : CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    if (argc != 1)
        return cli_usage(cli, "expected one fingerprint or address");
    const struct keyring_entry *key;
    enum err err = key_open(cli, argv[0], &key);
    if (err)
        return cli_exit_of(err);
    if (!cli->is_json)
        return print_table(cli, key);
    json_t *list = json_array();
    for (size_t i = 0; i < keyring_len(cli->keyring); i++)
        if (strcmp(keyring_at(cli->keyring, i)->fingerprint, key->fingerprint) == 0 &&
            json_array_append_new(list, key_json(keyring_at(cli->keyring, i)))) {
            json_decref(list);
            return cli_fail(cli, ERR_MEMORY, "showing the key");
        }
    return cli_print_json(list);
}

const struct cli_command cli_key_show = {
    .name = "key show",
    .operands = "KEY",
    .summary = "shows one key: fingerprint, dates, user IDs and their trust",
    .text =
        "Shows one key. KEY is a fingerprint, its last 16 or more digits, or an address that one key alone carries.",
    .example = "privyseal key show bob@example.org",
    .run = run};

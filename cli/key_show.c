#include "cli/key.h"
#include "cli/table.h"
#include "keyring/answer.h"

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
        char line[KEY_TEXT_SIZE];
        const bool is_certificate = entry->format == KEYRING_SMIME;
        const bool has_voucher = entry->trust > KEYRING_UNVERIFIED && entry->trust != KEYRING_OWN;
        snprintf(line, sizeof line, "%s (trust %s%s%s%s)",
                 is_certificate && entry->address[0] ? entry->address : entry->user_id,
                 keyring_trust_name(entry->trust), has_voucher ? " by the word of " : "",
                 has_voucher ? keyring_voucher_text(entry) : "",
                 entry->is_primary_uid && !is_certificate ? ", primary" : "");
        err = add_line(table, is_certificate && entry->address[0] ? "address" : "user ID", line);
        table_colour(table, 1, colour_of(keyring_trust_name(entry->trust)));
    }
    return err;
}

/* What a certificate says beside that, and where it leads. */
static enum err add_certificate(const struct cli *cli, struct table *table, const struct keyring_entry *entry)
{
    const struct keyring_certificate *certificate = key_certificate(cli, entry);
    const enum keyring_purpose purpose = entry->encrypt_until < 0 ? KEYRING_SIGN : KEYRING_ENCRYPT;
    char text[KEY_TEXT_SIZE], serial[KEY_SERIAL_SIZE];
    if (!certificate)
        return ERR_OK;
    key_name(X509_get_issuer_name(certificate->certificate), text, sizeof text);
    enum err err = add_line(table, "issuer", text);
    key_serial(certificate->certificate, serial);
    if (!err)
        err = add_line(table, "serial", serial);
    key_certificate_source(certificate, text);
    if (!err)
        err = add_line(table, "source", text);
    if (!err && certificate->key_place[0])
        err = add_line(table, "private key",
                       strcmp(certificate->key_place, "store") == 0 ? "in the store" : certificate->key_place);
    return err ? err : key_certificate_explain(cli, certificate, purpose, table);
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
    if (!err && entry->format == KEYRING_SMIME)
        err = add_line(table, "subject", entry->user_id);
    if (!err && *key_state(entry))
        err = add_line(table, "state", key_state(entry));
    if (*key_state(entry))
        table_colour(table, 1, colour_of(key_state(entry)));
    if (!err)
        err = add_dates(table, entry);
    if (!err)
        err = add_certificate(cli, table, entry);
    if (!err && entry->has_aead)
        err = add_line(table, "asks for", "AEAD, which cannot be checked yet; see `privyseal check`");
    if (!err)
        err = add_user_ids(cli, table, entry->fingerprint);
    if (!err)
        table_print(table);
    table_free(&table);
    return err ? cli_fail(cli, err, "showing the key") : CLI_DONE;
}

static json_t *entry_json(const struct cli *cli, const struct keyring_entry *entry)
{
    json_t *json = key_json(entry);
    json_t *more = key_certificate_json(cli, entry);
    if (json && more)
        (void)json_object_update(json, more);
    json_decref(more);
    return json;
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
            json_array_append_new(list, entry_json(cli, keyring_at(cli->keyring, i)))) {
            json_decref(list);
            return cli_fail(cli, ERR_MEMORY, "showing the key");
        }
    return cli_print_json(list);
}

const struct cli_command cli_key_show = {
    .name = "key show",
    .operands = "KEY",
    .summary = "shows one key or certificate: fingerprint, dates, names and their trust",
    .text =
        "Shows one key, or certificate with its chain to a trust anchor. KEY is a fingerprint, its last 16 or more\n"
        "digits, or an address that one key alone carries.",
    .example = "privyseal key show bob@example.org",
    .run = run};

#include "cli/key.h"
#include "cli/vault.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

static bool is_sure, is_not_theirs, is_removing, is_forgetting;

static const struct cli_option options[] = {
    {"not", NULL, "say that it is not theirs: it is never used for the address", &is_not_theirs, NULL, NULL},
    {"remove", NULL, "take back what was said with this command of the address", &is_removing, NULL, NULL},
    {"forget", NULL, "forget all that is kept of the address, also what is damaged", &is_forgetting, NULL, NULL},
    {"yes", NULL, "do not ask; expects the whole fingerprint", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* Whether one of the key's names carries the address: what is shown to whoever has to decide. */
static bool show_names(const struct cli *cli, const struct keyring_entry *key, const char *address, FILE *out)
{
    bool is_carried = false;
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (strcmp(entry->fingerprint, key->fingerprint) != 0)
            continue;
        fprintf(out, "  name         %s (trust %s)\n", entry->user_id, keyring_trust_name(entry->trust));
        is_carried = is_carried || mime_addr_is_same(entry->address, address);
    }
    return is_carried;
}

static void show(const struct cli *cli, const struct keyring_entry *key, const char *address)
{
    char grouped[KEY_GROUPED_SIZE], created[CLI_DATE_SIZE];
    FILE *out = cli->is_json ? stderr : stdout;
    key_group(key->fingerprint, grouped);
    cli_date(key->created, created);
    fprintf(out, "  fingerprint  %s\n  algorithm    %s, made %s\n", grouped, key->algorithm, created);
    if (*key_state(key))
        fprintf(out, "  state        %s\n", key_state(key));
    if (!show_names(cli, key, address, out))
        fprintf(out, "  but no name of it carries %s\n", address);
    fflush(out);
}

static bool is_confirmed(const struct cli *cli, const struct keyring_entry *key, const char *address)
{
    char question[MIME_ADDR_SIZE + 160];
    show(cli, key, address);
    snprintf(question, sizeof question,
             is_not_theirs ? "Is this key NOT that of %s?"
                           : "Is this the key of %s? (Compare the fingerprint with its owner, not by mail.)",
             address);
    return is_sure || cli_confirm(question);
}

static enum err hear(const struct cli *cli, const struct keyring_entry *key, const char *address)
{
    struct cli_vault vault;
    struct keyring_word word = {.format = key->format,
                                .source = KEYRING_SOURCE_PERSON,
                                .trust = is_not_theirs ? KEYRING_NEVER : KEYRING_PINNED,
                                .since = clock_now()};
    (void)span_copy(span_of(address), word.address, sizeof word.address);
    memcpy(word.fingerprint, key->fingerprint, sizeof word.fingerprint);
    enum err err = cli_vault_open_to_keep(cli->config, &vault);
    if (err)
        return err;
    err = cli_vault_peer_hear(&vault, cli->account->address, &word);
    cli_vault_close(&vault);
    return err;
}

/* Blanks and colons may stand between them, "0x" before them. */
static size_t count_digits(const char *name)
{
    size_t len = 0;
    for (const char *at = strncmp(name, "0x", 2) == 0 ? name + 2 : name; *at; at++)
        len += *at != ' ' && *at != ':';
    return len;
}

static int pin(struct cli *cli, const char *address, const char *name)
{
    const struct keyring_entry *key;
    if (strchr(name, '@'))
        return cli_usage(cli, "expected the fingerprint after the address; see `privyseal key list %s`", address);
    enum err err = key_open(cli, name, &key);
    if (err)
        return cli_exit_of(err);
    if (is_sure && count_digits(name) < strlen(key->fingerprint))
        return cli_usage(cli, "--yes expects the whole fingerprint, %s", key->fingerprint);
    if (key->trust == KEYRING_OWN && is_not_theirs)
        return cli_usage(cli, "%s is your own key; `privyseal key delete` takes it away", key->fingerprint);
    if (!is_confirmed(cli, key, address)) {
        fprintf(stderr, "privyseal key pin: nothing was changed; expected \"yes\", or --yes\n");
        return CLI_REFUSED;
    }
    err = hear(cli, key, address);
    if (err)
        return cli_fail(cli, err, "keeping that for %s", address);
    const char *trust = keyring_trust_name(is_not_theirs ? KEYRING_NEVER : KEYRING_PINNED);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s, s:s, s:s}", "address", address, "fingerprint", key->fingerprint,
                                        "format", key->format == KEYRING_SMIME ? "smime" : "openpgp", "trust", trust));
    printf(is_not_theirs ? "%s: the key %s counts as not theirs\n" : "%s: the key %s is pinned\n", address,
           key->fingerprint);
    return CLI_DONE;
}

/* Of both formats; that something was said of one is enough. */
static enum err unpin(struct cli *cli, const char *address)
{
    static const enum keyring_format formats[] = {KEYRING_OPENPGP, KEYRING_SMIME};
    struct cli_vault vault;
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = cli_vault_open(cli->config, false, &vault);
    if (err)
        return err;
    bool is_any = false;
    for (size_t i = 0; i < 2 && (!err || err == ERR_NOT_FOUND); i++) {
        err = cli_vault_peer_unpin(&vault, cli->account->address, address, formats[i]);
        is_any = is_any || !err;
    }
    cli_vault_close(&vault);
    return err == ERR_NOT_FOUND && is_any ? ERR_OK : err;
}

static int say_nothing(const char *what, const char *address)
{
    fprintf(stderr, "privyseal key pin: nothing %s of %s\n", what, address);
    return CLI_REFUSED;
}

static int forget(struct cli *cli, const char *address)
{
    struct cli_vault vault;
    char question[MIME_ADDR_SIZE + 160];
    enum err err = cli_open_account(cli, NULL);
    if (err)
        return cli_exit_of(err);
    snprintf(question, sizeof question,
             "Forget what is kept of %s: pins, keys ruled out, what mail and sources have told?", address);
    if (!is_sure && !cli_confirm(question)) {
        fprintf(stderr, "privyseal key pin: nothing was changed; expected \"yes\", or --yes\n");
        return CLI_REFUSED;
    }
    err = cli_vault_open(cli->config, false, &vault);
    if (!err) {
        err = cli_vault_peer_remove(&vault, cli->account->address, address);
        cli_vault_close(&vault);
    }
    if (err == ERR_NOT_FOUND)
        return say_nothing("is kept", address);
    if (err)
        return cli_fail(cli, err, "forgetting what is kept of %s", address);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:b}", "address", address, "forgotten", true));
    printf("%s: nothing is kept of it any more\n", address);
    return CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    char address[MIME_ADDR_SIZE];
    if ((is_removing || is_forgetting) && (argc != 1 || is_not_theirs || (is_removing && is_forgetting)))
        return cli_usage(cli, "expected one address and no key with --remove or --forget, and one of the two");
    if (!is_removing && !is_forgetting && argc != 2)
        return cli_usage(cli, "expected an address and a fingerprint");
    if (mime_addr_normalise(span_of(argv[0]), address))
        return cli_usage(cli, "\"%s\" is no address; expected one like bob@example.org", argv[0]);
    if (is_forgetting)
        return forget(cli, address);
    if (!is_removing)
        return pin(cli, address, argv[1]);
    enum err err = unpin(cli, address);
    if (err == ERR_USAGE || err == ERR_CONFIG)
        return cli_exit_of(err);
    if (err == ERR_NOT_FOUND)
        return say_nothing("was said with this command", address);
    if (err)
        return cli_fail(cli, err, "taking back what was said of %s", address);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:n}", "address", address, "trust"));
    printf("%s: nothing is pinned any more\n", address);
    return CLI_DONE;
}

const struct cli_command cli_key_pin = {
    .name = "key pin",
    .operands = "ADDRESS [FINGERPRINT]",
    .summary = "confirms whose key it is, after the fingerprint was compared",
    .text =
        "Says that the key, or certificate, with FINGERPRINT (its last 16 or more digits will do) is that of ADDRESS:\n"
        "it is shown, and \"yes\" expected, after you have compared the fingerprint with its owner. From then on it "
        "is\n"
        "trusted for the address as `pinned`, more than by any source, and no other source's key stands against it.\n"
        "A pin replaces an earlier one of the same format. With --not, the key counts as not theirs, whoever says so;\n"
        "where it was the only one, mail for ADDRESS may leave in clear, if its rule lets it.\n"
        "--forget removes all that is kept of the address, whose keys stay in the ring; it is also for a record that\n"
        "`privyseal check` calls damaged, for as long as which mail for the address is refused.",
    .example = "privyseal key pin bob@example.org 2BD9D0AD1A2B3C4D5E6F708192A3B4C5D6E7F809",
    .options = options,
    .run = run};

/*
 * privyseal store passphrase: the keys of an account in the store are kept by a passphrase.
 *
 * The key is made of it here; the vault, or the store that is opened here, seals with that. What opens the keys is
 * asked for only where they are locked.
 */
#include "base/secret.h"
#include "cli/key_own.h"
#include "cli/vault.h"
#include "crypto/passphrase.h"
#include "crypto/wrap.h"
#include "keyring/ask.h"

#include <stdio.h>
#include <string.h>

static bool is_removing;
static const char *new_fd, *old_fd;

static const struct cli_option options[] = {
    {"remove", NULL, "take the passphrase away", &is_removing, NULL, NULL},
    {"passphrase-fd", "N", "read the new passphrase from this descriptor; default: gpg-agent asks, twice", NULL,
     &new_fd, NULL},
    {"old-passphrase-fd", "N", "read the present one from this descriptor, if it is needed", NULL, &old_fd, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* What is done, and what is known by then. */
struct change {
    struct cli *cli;
    struct cli_vault vault;
    struct store_kept kept;
    bool has_old_key;
    uint8_t old_key[CRYPTO_PASSPHRASE_KEY_SIZE];
    uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE];
    char recipe[CRYPTO_RECIPE_SIZE];
};

static const char *address_of(const struct change *change)
{
    return change->cli->account->address;
}

/* Only where somebody must be asked, or gpg. */
static enum err open_gpg(const struct change *change)
{
    return change->cli->gpg ? ERR_OK : cli_open_gpg(change->cli, false);
}

static enum err ask(void *context, const char *what, const char *error, struct secret *passphrase)
{
    const struct change *change = context;
    char description[MIME_ADDR_SIZE + 128];
    snprintf(description, sizeof description, "%s for what privyseal keeps of the mail of\n%s", what,
             address_of(change));
    const struct keyring_question question = {.description = description, .prompt = "Passphrase", .error = error};
    enum err err = open_gpg(change);
    return err ? err : keyring_ask(change->cli->gpg, &question, passphrase);
}

static enum err make_key(struct change *change)
{
    struct secret passphrase = {NULL, 0};
    enum err err = new_fd
                       ? cli_read_passphrase(change->cli, "passphrase-fd", new_fd, KEYRING_ASK_SECRET_MAX, &passphrase)
                       : key_ask_twice(ask, change, "The new passphrase", "Once more the new passphrase", &passphrase);
    if (!err)
        err = crypto_recipe_new(change->recipe);
    if (!err)
        err = crypto_passphrase_key(change->recipe, secret_span(&passphrase), change->key);
    secret_fini(&passphrase);
    return err;
}

static enum err make_old_key(struct change *change)
{
    struct secret passphrase = {NULL, 0};
    enum err err =
        old_fd ? cli_read_passphrase(change->cli, "old-passphrase-fd", old_fd, KEYRING_ASK_SECRET_MAX, &passphrase)
               : ask(change, "The present passphrase", NULL, &passphrase);
    if (!err)
        err = crypto_passphrase_key(change->kept.holder, secret_span(&passphrase), change->old_key);
    change->has_old_key = !err;
    secret_fini(&passphrase);
    return err;
}

/* Only where the store is opened here; a vault has the keys from a keeper. */
static enum err unwrap(struct change *change)
{
    struct store *store = change->vault.store;
    struct buf wrapped, keys;
    buf_init(&wrapped, STORE_WRAPPED_MAX);
    buf_init_secret(&keys, CRYPTO_WRAP_SECRET_MAX);
    enum err err = store ? store_account_wrapped(store, address_of(change), &wrapped) : ERR_KEY_LOCKED;
    if (!err)
        err = open_gpg(change);
    if (!err)
        err = crypto_unwrap(change->cli->gpg, true, buf_span(&wrapped), &keys);
    if (!err)
        err = store_account_open(store, address_of(change), buf_span(&keys));
    buf_fini(&wrapped);
    buf_fini(&keys);
    return err;
}

static enum err open_keys(struct change *change)
{
    if (change->kept.is_open)
        return ERR_OK;
    return change->kept.wrap == STORE_WRAP_PASSPHRASE ? make_old_key(change)
           : change->kept.wrap == STORE_WRAP_OPENPGP  ? unwrap(change)
                                                      : ERR_KEY_LOCKED;
}

static int say(const struct change *change)
{
    if (change->cli->is_json)
        return cli_print_json(
            json_pack("{s:s, s:s}", "account", address_of(change), "keys", is_removing ? "removed" : "passphrase"));
    if (is_removing)
        printf("%s: the passphrase is taken away\n", address_of(change));
    else
        printf("%s: the store's keys are sealed with the passphrase; without it nothing of what is kept opens\n",
               address_of(change));
    return CLI_DONE;
}

static int say_failed(const struct change *change, enum err err)
{
    const char *name = change->cli->command->name;
    switch (err) {
    case ERR_USAGE:
        return CLI_USAGE;
    case ERR_DECRYPT:
        fprintf(stderr, "privyseal %s: that is not the passphrase of %s; nothing is changed\n", name,
                address_of(change));
        return CLI_REFUSED;
    case ERR_NOT_FOUND:
        fprintf(stderr, "privyseal %s: %s has no passphrase that could be taken away\n", name, address_of(change));
        return CLI_REFUSED;
    case ERR_KEY_LOCKED:
        fprintf(stderr,
                "privyseal %s: the store's keys of %s are locked, or no passphrase was given; nothing is changed. Log "
                "in to IMAP once while `privyseal serve` runs, and try again\n",
                name, address_of(change));
        return CLI_REFUSED;
    default:
        return cli_fail(change->cli, err, "changing the passphrase of %s", address_of(change));
    }
}

static int change_passphrase(struct change *change)
{
    enum err err = cli_vault_kept(&change->vault, address_of(change), &change->kept);
    if (err == ERR_NOT_FOUND) {
        change->kept = (struct store_kept){.wrap = STORE_WRAP_FILE, .is_open = true};
        err = ERR_OK;
    }
    if (!err && is_removing && change->kept.wrap != STORE_WRAP_PASSPHRASE)
        err = ERR_NOT_FOUND;
    if (!err)
        err = open_keys(change);
    if (!err && !is_removing)
        err = make_key(change);
    if (!err)
        err = cli_vault_passphrase(&change->vault, address_of(change), change->has_old_key ? change->old_key : NULL,
                                   change->recipe, is_removing ? NULL : change->key);
    return err ? say_failed(change, err) : say(change);
}

/* Not in the vault's sandbox: gpg-agent is asked, and perhaps gpg. */
static enum err open_store(struct change *change)
{
    enum err err = cli_vault_open(change->cli->config, false, &change->vault);
    const char *name = change->cli->command->name;
    if (err == ERR_NOT_FOUND)
        fprintf(stderr, "privyseal %s: nothing is kept of opened mail yet; start `privyseal serve` first\n", name);
    else if (err == ERR_REFUSED)
        fprintf(stderr, "privyseal %s: the store belongs to %s; start `privyseal serve` first, or do this as %s\n",
                name, change->cli->config->user, change->cli->config->user);
    else if (err)
        (void)cli_fail(change->cli, err, "opening the store");
    return err;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct change change = {.cli = cli};
    if (argc > 1 || (argc == 1 && cli->account_name))
        return cli_usage(cli, "expected one account at most");
    if (is_removing && new_fd)
        return cli_usage(cli, "--remove and --passphrase-fd; expected one of them");
    if (argc == 1)
        cli->account_name = argv[0];
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = open_store(&change);
    if (err)
        return cli_exit_of(err);
    const int status = change_passphrase(&change);
    secret_wipe(change.old_key, sizeof change.old_key);
    secret_wipe(change.key, sizeof change.key);
    cli_vault_close(&change.vault);
    return status;
}

const struct cli_command cli_store_passphrase = {
    .name = "store passphrase",
    .operands = "[ACCOUNT]",
    .summary = "has the keys of what is kept sealed with a passphrase",
    .text =
        "Sets or changes the passphrase that seals the keys of what is kept of opened mail, in place of the OpenPGP\n"
        "key or the file that seals them now: gpg-agent asks for it, twice, and asks for it again when a mail program\n"
        "logs in after a start. The present passphrase is asked for unless `privyseal serve` runs and has the keys\n"
        "open. With --remove the keys are kept as before, and wrapped to the account's OpenPGP key, if it has one,\n"
        "when a mail program next logs in. A passphrase that is lost cannot be had again: see `store clear --all`.",
    .example = "privyseal store passphrase",
    .options = options,
    .run = run};

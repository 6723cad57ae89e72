/*
 * An Autocrypt setup message (level 1, section 4.4) is opened, and it is settled whether its key is the person's own.
 *
 * The code shows that the person has talked to whoever made the message, not that this was themselves: a stranger may
 * send both. So it is enough only where the key has an address of the account and takes no other own key's place.
 */
#include "cli/key.h"
#include "cli/key_import.h"
#include "cli/key_own.h"

#include "crypto/autocrypt_setup.h"

#include <stdio.h>
#include <string.h>

#define TRIES_MAX 3

static enum err open_it(struct cli *cli, const struct crypto_setup *setup, const char *passphrase_fd, struct buf *key)
{
    struct secret typed = {NULL, 0}, code = {NULL, 0};
    char what[160];
    enum err err = ERR_AUTH_FAILED;
    (void)snprintf(what, sizeof what, "Autocrypt setup code%s%s%s%s",
                   setup->is_numeric ? " (nine blocks of four digits" : "",
                   setup->begin[0] ? (setup->is_numeric ? ", beginning with " : " beginning with ") : "", setup->begin,
                   setup->is_numeric ? ")" : "");
    for (int i = 0; err == ERR_AUTH_FAILED && i < (passphrase_fd ? 1 : TRIES_MAX); i++) {
        err = key_ask_passphrase(cli, passphrase_fd, what, i > 0 ? "That is not its code." : NULL, &typed);
        if (!err)
            err = crypto_setup_normalise(secret_span(&typed), &code);
        if (!err)
            err = crypto_setup_open(cli->gpg, setup, &code, key);
    }
    secret_fini(&typed);
    secret_fini(&code);
    return err;
}

static void say_unread(const struct cli *cli, enum err err, const char *name)
{
    const char *why = err == ERR_MALFORMED     ? "is a damaged Autocrypt setup message"
                      : err == ERR_AUTH_FAILED ? "expected the setup code that was shown when it was made"
                      : err == ERR_KEY_LOCKED  ? "expected a setup code"
                                               : NULL;
    if (why)
        fprintf(stderr, "privyseal key import: %s: %s\n", name, why);
    else
        (void)cli_fail(cli, err, "opening %s", name);
}

static bool has_accounts_address(const struct cli *cli, const struct keyring *held)
{
    for (size_t i = 0; i < keyring_len(held); i++) {
        const struct keyring_entry *entry = keyring_at(held, i);
        if (!entry->is_revoked && entry->address[0] &&
            config_account_of_address(cli->config, entry->address) == cli->account)
            return true;
    }
    return false;
}

static enum err settle(const struct cli *cli, const char *name, const struct keyring *held)
{
    const struct keyring_entry *key = keyring_at(held, 0);
    const struct keyring_entry *own = cli_own_key(cli, KEYRING_OPENPGP, cli->account->address);
    const bool is_accounts = has_accounts_address(cli, held);
    char grouped[KEY_GROUPED_SIZE], question[1400];
    if (is_accounts && (!own || strcmp(own->fingerprint, key->fingerprint) == 0))
        return ERR_OK;
    key_group(key->fingerprint, grouped);
    snprintf(
        question, sizeof question,
        "%s\n  %s\n  This key %s%s%s%s.\n  Whoever made the message can read what is sealed to it. Did you make it "
        "yourself?",
        key->user_id, grouped, is_accounts ? "" : "has no valid user ID with an address of ",
        is_accounts ? "" : cli->account->address, is_accounts ? "would be yours beside " : "",
        is_accounts ? own->fingerprint : "");
    if (cli_confirm(question))
        return ERR_OK;
    if (is_accounts)
        fprintf(stderr,
                "privyseal key import: %s: the key %s would be yours beside %s; expected \"yes\", or --own if you made "
                "the message yourself\n",
                name, key->fingerprint, own->fingerprint);
    else
        fprintf(stderr,
                "privyseal key import: %s: the key %s of %s has no valid user ID with an address of %s; expected "
                "\"yes\", or --own if you made the message yourself\n",
                name, key->fingerprint, key->user_id, cli->account->address);
    return ERR_REFUSED;
}

static enum err check(const struct cli *cli, const char *name, struct span key, bool is_own)
{
    struct keyring *held;
    enum err err = keyring_new(&held);
    if (err)
        return err;
    bool is_alone = false;
    err = keyring_gpg_peek(cli->gpg, key, held);
    if (!err && keyring_len(held) > 0)
        err = keyring_gpg_is_secret_of(cli->gpg, key, keyring_at(held, 0)->fingerprint, &is_alone);
    if (!err && !is_alone)
        err = ERR_MALFORMED;
    if (err)
        say_unread(cli, err, name);
    else if (!is_own)
        err = settle(cli, name, held);
    keyring_free(&held);
    return err;
}

enum err key_import_open_setup(struct cli *cli, const char *name, struct span message, const char *passphrase_fd,
                               bool is_own, struct buf *key_out)
{
    struct crypto_setup setup;
    enum err err = crypto_setup_read(message, &setup);
    if (!err) {
        err = open_it(cli, &setup, passphrase_fd, key_out);
        crypto_setup_fini(&setup);
    }
    if (err)
        say_unread(cli, err, name);
    return err ? err : check(cli, name, buf_span(key_out), is_own);
}

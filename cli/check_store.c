#include "cli/check.h"
#include "cli/vault.h"

#include <string.h>

/* Whether the secret part of the key that is named first in `holder` is here. */
static bool has_holder(const struct keyring *keyring, const char *holder)
{
    const size_t len = strcspn(holder, " ");
    for (size_t i = 0; i < keyring_len(keyring); i++) {
        const struct keyring_entry *entry = keyring_at(keyring, i);
        if (entry->has_secret && strlen(entry->fingerprint) == len && strncmp(entry->fingerprint, holder, len) == 0)
            return true;
    }
    return false;
}

static void check_file(struct check *check, const struct config_account *account)
{
    if (cli_own_key(check->cli, KEYRING_OPENPGP, account->address))
        check_note(
            check, CHECK_WARNING, account->address,
            "the store's keys lie in a file beside what they seal; log in to IMAP once, and they are wrapped to the "
            "own key");
    else
        check_note(check, CHECK_WARNING, account->address,
                   "the store's keys lie in a file beside what they seal; make an own key with `privyseal key make "
                   "--address %s` and log in to IMAP, or seal them with `privyseal store passphrase %s`, or start "
                   "`privyseal serve` with the systemd credential privyseal.store",
                   account->address, account->address);
}

static void check_openpgp(struct check *check, const struct config_account *account, const struct store_kept *kept)
{
    const int len = (int)strcspn(kept->holder, " ");
    if (has_holder(check->cli->keyring, kept->holder))
        check_note(check, CHECK_OK, account->address, "the store's keys are wrapped to the own key %.*s", len,
                   kept->holder);
    else
        check_note(check, CHECK_BAD, account->address,
                   "the store is locked: its keys are wrapped to the OpenPGP key %.*s, whose secret part is not here; "
                   "import that key with `privyseal key import --own`, or, if it is lost, begin anew with `privyseal "
                   "store clear --all %s`",
                   len, kept->holder, account->address);
}

static void check_kept(struct check *check, const struct config_account *account, const struct store_kept *kept)
{
    switch (kept->wrap) {
    case STORE_WRAP_OPENPGP:
        check_openpgp(check, account, kept);
        break;
    case STORE_WRAP_CREDENTIAL:
        check_note(check, CHECK_OK, account->address,
                   "the store's keys are sealed with the credential privyseal.store");
        break;
    case STORE_WRAP_PASSPHRASE:
        check_note(check, CHECK_OK, account->address, "the store's keys are sealed with a passphrase%s",
                   kept->is_open ? "" : ", which is asked for when a mail program logs in");
        break;
    default:
        check_file(check, account);
    }
}

/* Notes a record that is damaged; false if it is not. */
static bool check_record(struct check *check, struct cli_vault *vault, const char *account, const char *address)
{
    struct keyring_peer peer;
    enum err err = cli_vault_peer_get(vault, account, address, &peer);
    if (!err)
        keyring_peer_fini(&peer);
    if (err != ERR_DAMAGED)
        return false;
    check_note(
        check, CHECK_BAD, address,
        "what is kept of it in the store is damaged, and mail for it is refused, since it may say which key is not "
        "theirs; have it forgotten with `privyseal key pin --forget %s`, and say again what you know of its keys",
        address);
    return true;
}

/* Which record is damaged is found by asking for each address that there are keys of: the record itself no longer tells
   whose it is. */
static void check_records(struct check *check, struct cli_vault *vault, const struct config_account *account)
{
    const struct keyring *keyring = check->cli->keyring;
    const char *before = "";
    bool is_any = false;
    if (keyring == NULL || !keyring_is_incomplete(keyring))
        return;
    for (size_t i = 0; i < keyring_len(keyring); i++) {
        const char *address = keyring_at(keyring, i)->address;
        if (*address && !mime_addr_is_same(address, before))
            is_any = check_record(check, vault, account->address, address) || is_any;
        before = address;
    }
    if (!is_any)
        check_note(check, CHECK_BAD, account->address,
                   "a record in the store is damaged, of a correspondent of whom there is no key here: mail for that "
                   "address is refused, and the refusal tells what to do");
}

void check_store(struct check *check, const struct config_account *account)
{
    struct cli_vault vault;
    struct store_kept kept;
    enum err err = cli_vault_open(check->cli->config, false, &vault);
    if (!err) {
        err = cli_vault_kept(&vault, account->address, &kept);
        check_records(check, &vault, account);
        cli_vault_close(&vault);
    }
    if (err == ERR_NOT_FOUND)
        check_note(check, CHECK_OK, account->address, "nothing is kept of opened mail yet");
    else if (err == ERR_STORE)
        check_note(check, CHECK_BAD, account->address,
                   "the store is damaged, or cannot be read: %s/store/durable.sqlite; nothing is written to it. Stop "
                   "privyseal and put back a backup of the folder %s/store, or move it away: then decisions and pins, "
                   "private keys of S/MIME among them, are gone, and mail is opened anew",
                   check->cli->config->state_dir, check->cli->config->state_dir);
    else if (err)
        check_note(check, CHECK_WARNING, account->address,
                   "how the store's keys are kept cannot be seen: %s; look again while `privyseal serve` runs",
                   err_sentence(err));
    else
        check_kept(check, account, &kept);
}

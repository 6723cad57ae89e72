#include "cli/key.h"
#include "cli/key_own.h"
#include "cli/vault.h"

#include <stdio.h>
#include <string.h>

static bool is_sure, with_secret;

static const struct cli_option options[] = {
    {"yes", NULL, "do not ask", &is_sure, NULL, NULL},
    {"secret", NULL, "delete the secret key too; mail sealed to it can never be read again", &with_secret, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* The certificate first: none says that its key is where it is not any more. */
static enum err delete_certificate(struct cli *cli, const struct keyring_certificate *certificate)
{
    struct keyring_certificate gone = *certificate;
    gone.certificate = NULL;
    enum err err = keyring_certificates_remove(cli->certificates, gone.fingerprint);
    return err || !gone.key_place[0] ? err : key_own_remove(cli, &gone);
}

/* The store's keys of the account would be lost with it. */
static enum err is_store_held(const struct cli *cli, const struct keyring_entry *key, bool *is_held_out)
{
    struct cli_vault vault;
    struct store_kept kept = {.wrap = STORE_WRAP_FILE};
    *is_held_out = false;
    enum err err = cli_vault_open(cli->config, false, &vault);
    if (!err) {
        err = cli_vault_kept(&vault, cli->account->address, &kept);
        cli_vault_close(&vault);
    }
    if (err)
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    *is_held_out = kept.wrap == STORE_WRAP_OPENPGP && strcspn(kept.holder, " ") == strlen(key->fingerprint) &&
                   strncmp(kept.holder, key->fingerprint, strlen(key->fingerprint)) == 0;
    return ERR_OK;
}

static bool may_go(const struct cli *cli, const struct keyring_entry *key)
{
    if (key->has_secret && !with_secret) {
        fprintf(stderr, "privyseal key delete: the secret key of %s is here; expected --secret to delete it too\n",
                key->fingerprint);
        return false;
    }
    bool is_held = false;
    enum err err = key->has_secret && key->format == KEYRING_OPENPGP ? is_store_held(cli, key, &is_held) : ERR_OK;
    /* What cannot be looked at may need it. */
    if (err) {
        (void)cli_fail(cli, err, "looking whether the store needs the key %s", key->fingerprint);
        return false;
    }
    if (is_held) {
        fprintf(stderr,
                "privyseal key delete: the keys of what is kept of the mail of %s are wrapped to %s; log in to IMAP "
                "once, and they are wrapped to your other key, if you have one, or give up what is kept with "
                "`privyseal store clear --all %s`\n",
                cli->account->address, key->fingerprint, cli->account->address);
        return false;
    }
    return true;
}

static int run(struct cli *cli, int argc, char **argv)
{
    if (argc != 1)
        return cli_usage(cli, "expected one fingerprint or address");
    const struct keyring_entry *key;
    enum err err = key_open(cli, argv[0], &key);
    if (err)
        return cli_exit_of(err);
    if (!may_go(cli, key))
        return CLI_REFUSED;
    char question[900];
    snprintf(question, sizeof question, "Delete the key %s of %s%s?", key->fingerprint, key->user_id,
             !key->has_secret ? ""
             : key->format == KEYRING_OPENPGP
                 ? ", with its SECRET part?\nMail sealed to it can never be read again, unless you have a backup "
                   "(`privyseal key backup` writes one). Delete it"
                 : ", with its SECRET part?\nMail sealed to it can never be read again, unless you have a backup "
                   "(`privyseal key export --secret` writes one). Delete it");
    if (!is_sure && !cli_confirm(question)) {
        fprintf(stderr, "privyseal key delete: nothing was deleted; expected \"yes\", or --yes\n");
        return CLI_REFUSED;
    }
    const struct keyring_certificate *certificate = key_certificate(cli, key);
    err = certificate ? delete_certificate(cli, certificate)
                      : keyring_gpg_delete(cli->gpg, key->fingerprint, with_secret);
    if (err)
        return cli_fail(cli, err, "deleting %s", key->fingerprint);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s}", "deleted", key->fingerprint));
    printf("deleted %s\n", key->fingerprint);
    return CLI_DONE;
}

const struct cli_command cli_key_delete = {
    .name = "key delete",
    .operands = "KEY",
    .summary = "deletes a key, after asking",
    .text = "Deletes one key from the account's key ring, after asking. KEY is a fingerprint, its last 16 or more\n"
            "digits, or an address that one key alone carries. A key of your own, or a\n"
            "certificate of which the private key is here, goes with its secret part, and only with --secret.",
    .example = "privyseal key delete bob@example.org",
    .options = options,
    .run = run};

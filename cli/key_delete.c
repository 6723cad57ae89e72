#include "cli/key.h"

#include <stdio.h>

static bool is_sure, with_secret;

static const struct cli_option options[] = {
    {"yes", NULL, "do not ask", &is_sure, NULL, NULL},
    {"secret", NULL, "delete the secret key too; mail sealed to it can never be read again", &with_secret, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static int run(struct cli *cli, int argc, char **argv)
{
    if (argc != 1)
        return cli_usage(cli, "expected one fingerprint or address");
    const struct keyring_entry *key;
    enum err err = key_open(cli, argv[0], &key);
    if (err)
        return cli_exit_of(err);
    if (key->has_secret && !with_secret) {
        fprintf(stderr, "privyseal key delete: the secret key of %s is here; expected --secret to delete it too\n",
                key->fingerprint);
        return CLI_REFUSED;
    }
    char question[600];
    snprintf(question, sizeof question, "Delete the key %s of %s%s?", key->fingerprint, key->user_id,
             key->has_secret ? ", with its SECRET part (mail sealed to it can never be read again)" : "");
    if (!is_sure && !cli_confirm(question)) {
        fprintf(stderr, "privyseal key delete: nothing was deleted; expected \"yes\", or --yes\n");
        return CLI_REFUSED;
    }
    err = key->format == KEYRING_SMIME ? keyring_certificates_remove(cli->certificates, key->fingerprint)
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
            "digits, or an address that one key alone carries.",
    .example = "privyseal key delete bob@example.org",
    .options = options,
    .run = run};

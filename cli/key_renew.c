#include "cli/key.h"
#include "cli/key_life.h"

#include "base/clock.h"
#include "keyring/gpg_life.h"

#include <stdio.h>

static const char *expires_text = "2y", *passphrase_fd;

static const struct cli_option options[] = {
    {"expires", "TIME", "30d, 6m, 2y (default) or never, from now on", NULL, &expires_text, NULL},
    {"passphrase-fd", "N", "read the key's passphrase from this descriptor; default: gpg-agent asks", NULL,
     &passphrase_fd, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static int say_failed(const struct cli *cli, enum err err, const char *fingerprint)
{
    switch (err) {
    case ERR_KEY_UNUSABLE:
        fprintf(stderr, "privyseal key renew: %s is revoked, for good; make another with `privyseal key make`\n",
                fingerprint);
        return CLI_REFUSED;
    case ERR_KEY_LOCKED:
        fprintf(stderr, "privyseal key renew: no passphrase was given that opens %s; nothing is changed\n",
                fingerprint);
        return CLI_REFUSED;
    default:
        return cli_fail(cli, err, "renewing %s", fingerprint);
    }
}

static int report(struct cli *cli, const char *fingerprint)
{
    char date[CLI_DATE_SIZE];
    enum err err = cli_list_ring(cli);
    const struct keyring_entry *key = err ? NULL : key_of_fingerprint(cli->keyring, fingerprint);
    if (!key)
        return cli_exit_of(err ? err : ERR_NOT_FOUND);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:I}", "fingerprint", fingerprint, "expires", (json_int_t)key->expires));
    cli_date(key->expires, date);
    printf("%s: expires %s\nOthers must hear of it before it had expired: give them the public part again "
           "(`privyseal key publish`, or `privyseal key export`)\n",
           fingerprint, date);
    return CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    const struct keyring_entry *key;
    char fingerprint[KEYRING_FPR_SIZE];
    struct secret held = {NULL, 0};
    const struct secret *passphrase;
    int64_t life_s;
    if (argc > 1)
        return cli_usage(cli, "expected one fingerprint or address at most");
    if (!key_read_life(expires_text, &life_s))
        return cli_usage(cli, "--expires %s; expected 30d, 6m, 2y or never", expires_text);
    enum err err = key_open_own(cli, argc ? argv[0] : NULL,
                                "only its issuer renews it: have another one issued, and import it with `privyseal "
                                "key import --own FILE`; mail that was sealed to the old one is still read with it",
                                &key);
    if (!err)
        err = key_take_passphrase(cli, passphrase_fd, &held, &passphrase);
    if (err)
        return cli_exit_of(err);
    snprintf(fingerprint, sizeof fingerprint, "%s", key->fingerprint);
    err = keyring_gpg_set_expiry(cli->gpg, fingerprint, life_s ? clock_now() + life_s : 0, passphrase);
    secret_fini(&held);
    return err ? say_failed(cli, err, fingerprint) : report(cli, fingerprint);
}

const struct cli_command cli_key_renew = {
    .name = "key renew",
    .operands = "[KEY]",
    .summary = "gives your own key a later end",
    .text =
        "Changes when an own OpenPGP key expires, and with it those of its subkeys that are in use; one that has\n"
        "expired is good again. KEY is a fingerprint or an address; default: the account's key. Others go on using\n"
        "the key once they have its public part again. A certificate is renewed by its issuer alone.",
    .example = "privyseal key renew --expires 2y",
    .options = options,
    .run = run};

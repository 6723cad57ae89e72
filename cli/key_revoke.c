#include "cli/key.h"
#include "cli/key_life.h"

#include "keyring/gpg_life.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CERTIFICATE_MAX ((size_t)1 << 20)

static const char *reason_name, *user_id_text, *certificate_path, *passphrase_fd;
static bool is_sure;

static const struct cli_option options[] = {
    {"reason", "compromised|superseded|retired", "why; others can read it", NULL, &reason_name, NULL},
    {"user-id", "UID", "revoke only this user ID, or the one with this address", NULL, &user_id_text, NULL},
    {"certificate", "FILE", "revoke by a revocation certificate; needs neither passphrase nor secret key", NULL,
     &certificate_path, NULL},
    {"passphrase-fd", "N", "read the key's passphrase from this descriptor; default: gpg-agent asks", NULL,
     &passphrase_fd, NULL},
    {"yes", NULL, "do not ask", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct {
    const char *name;
    enum keyring_gpg_reason reason;
} REASONS[] = {
    {"compromised", KEYRING_GPG_COMPROMISED}, {"superseded", KEYRING_GPG_SUPERSEDED}, {"retired", KEYRING_GPG_RETIRED}};

static bool read_reason(enum keyring_gpg_reason *reason_out)
{
    *reason_out = KEYRING_GPG_NO_REASON;
    for (size_t i = 0; reason_name && i < sizeof REASONS / sizeof *REASONS; i++)
        if (strcmp(reason_name, REASONS[i].name) == 0)
            *reason_out = REASONS[i].reason;
    return !reason_name || *reason_out != KEYRING_GPG_NO_REASON;
}

/* The key's user ID that is meant, which is not revoked yet; `*others_out`: how many more there are. */
static const struct keyring_entry *find_user_id(const struct cli *cli, const char *fingerprint, size_t *others_out)
{
    const struct keyring_entry *found = NULL;
    size_t len = 0;
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (strcmp(entry->fingerprint, fingerprint) != 0 || entry->is_revoked)
            continue;
        len++;
        if (strcmp(entry->user_id, user_id_text) == 0 ||
            (!found && entry->address[0] && mime_addr_is_same(entry->address, user_id_text)))
            found = entry;
    }
    *others_out = len - (found ? 1 : 0);
    return found;
}

static bool is_agreed(const struct keyring_entry *key)
{
    char grouped[KEY_GROUPED_SIZE], question[1200];
    key_group(key->fingerprint, grouped);
    snprintf(question, sizeof question,
             user_id_text ? "%s\n  %s\nRevoke this user ID of your key? It cannot be taken back once others know of it."
                          : "%s\n  %s\nRevoke this key of your own? It cannot be taken back once others know of it.",
             key->user_id, grouped);
    if (is_sure || cli_confirm(question))
        return true;
    fprintf(stderr, "privyseal key revoke: nothing was revoked; expected \"yes\", or --yes\n");
    return false;
}

static int say_failed(const struct cli *cli, enum err err, const char *fingerprint)
{
    char path[CONFIG_PATH_SIZE + 160];
    const bool has_path = !keyring_gpg_revocation_file(cli->gpg, fingerprint, path, sizeof path) && !access(path, F_OK);
    if (err == ERR_KEY_LOCKED && has_path && !user_id_text)
        fprintf(stderr,
                "privyseal key revoke: no passphrase was given that opens %s; nothing is changed. Without it, do "
                "`privyseal key revoke %s --certificate %s`\n",
                fingerprint, fingerprint, path);
    else if (err == ERR_KEY_LOCKED)
        fprintf(stderr, "privyseal key revoke: no passphrase was given that opens %s; nothing is changed\n",
                fingerprint);
    else if (err == ERR_REFUSED || err == ERR_MALFORMED)
        fprintf(stderr, "privyseal key revoke: %s holds no revocation certificate of %s\n", certificate_path,
                fingerprint);
    else
        return cli_fail(cli, err, "revoking %s", fingerprint);
    return CLI_REFUSED;
}

static int report(struct cli *cli, const char *fingerprint, const char *user_id)
{
    enum err err = cli_list_ring(cli);
    if (err)
        return cli_exit_of(err);
    if (cli->is_json)
        return cli_print_json(
            json_pack("{s:s, s:s?}", "revoked", fingerprint, "user_id", user_id_text ? user_id : NULL));
    printf(
        "revoked %s%s%s\nOthers use it until they hear of it: `privyseal key publish %s`, or send them what `privyseal "
        "key export %s` writes\n",
        fingerprint, user_id_text ? ", user ID " : "", user_id_text ? user_id : "", fingerprint, fingerprint);
    if (!cli_own_key(cli, KEYRING_OPENPGP, cli->account->address))
        printf("%s has no own key that can be used now: make one with `privyseal key make`\n", cli->account->address);
    return CLI_DONE;
}

static enum err revoke_by_certificate(struct cli *cli, const char *fingerprint)
{
    struct buf text;
    buf_init(&text, CERTIFICATE_MAX);
    enum err err = cli_read_file(certificate_path, &text);
    if (!err)
        err = keyring_gpg_revoke_by(cli->gpg, fingerprint, buf_span(&text));
    buf_fini(&text);
    return err;
}

static int revoke_key(struct cli *cli, const struct keyring_entry *key, enum keyring_gpg_reason reason)
{
    char fingerprint[KEYRING_FPR_SIZE], user_id[sizeof key->user_id];
    struct secret held = {NULL, 0};
    const struct secret *passphrase;
    snprintf(fingerprint, sizeof fingerprint, "%s", key->fingerprint);
    snprintf(user_id, sizeof user_id, "%s", key->user_id);
    enum err err = key_take_passphrase(cli, passphrase_fd, &held, &passphrase);
    if (err)
        return cli_exit_of(err);
    if (certificate_path)
        err = revoke_by_certificate(cli, fingerprint);
    else if (user_id_text)
        err = keyring_gpg_revoke_user_id(cli->gpg, fingerprint, user_id, passphrase);
    else
        err = keyring_gpg_revoke(cli->gpg, fingerprint, reason, "", passphrase);
    secret_fini(&held);
    return err ? say_failed(cli, err, fingerprint) : report(cli, fingerprint, user_id);
}

/* By a certificate any key may be revoked: whoever has it had the secret key. */
static enum err open_key(struct cli *cli, const char *name, const struct keyring_entry **key_out)
{
    if (certificate_path && name)
        return key_open(cli, name, key_out);
    return key_open_own(cli, name,
                        "only its issuer revokes it: ask whoever issued it to; to use it no more, `privyseal key "
                        "delete` it, or import another with `privyseal key import --own FILE`",
                        key_out);
}

static int run(struct cli *cli, int argc, char **argv)
{
    const struct keyring_entry *key;
    enum keyring_gpg_reason reason;
    size_t others = 1;
    if (argc > 1)
        return cli_usage(cli, "expected one fingerprint or address at most");
    if (!read_reason(&reason))
        return cli_usage(cli, "--reason %s; expected compromised, superseded or retired", reason_name);
    if ((user_id_text && (reason_name || certificate_path)) || (reason_name && certificate_path))
        return cli_usage(cli, "--reason, --user-id and --certificate; expected one of them");
    enum err err = open_key(cli, argc ? argv[0] : NULL, &key);
    if (err)
        return cli_exit_of(err);
    if (key->is_revoked && !user_id_text) {
        fprintf(stderr, "privyseal key revoke: %s is revoked already\n", key->fingerprint);
        return CLI_REFUSED;
    }
    const char *fingerprint = key->fingerprint;
    if (user_id_text && !(key = find_user_id(cli, fingerprint, &others))) {
        fprintf(stderr, "privyseal key revoke: %s has no user ID \"%s\" that is not revoked\n", fingerprint,
                user_id_text);
        return CLI_REFUSED;
    }
    if (others == 0) {
        fprintf(stderr, "privyseal key revoke: \"%s\" is the last user ID of %s; revoke the key instead\n",
                key->user_id, fingerprint);
        return CLI_REFUSED;
    }
    return is_agreed(key) ? revoke_key(cli, key, reason) : CLI_REFUSED;
}

const struct cli_command cli_key_revoke = {
    .name = "key revoke",
    .operands = "[KEY]",
    .summary = "revokes your own key, or a user ID of it, after asking",
    .text =
        "Revokes an own OpenPGP key, after asking: it is used no more, neither to sign nor to encrypt, by privyseal\n"
        "from now on and by others once they hear of it; mail that was sealed to it can still be read. With --user-id\n"
        "only one of its names is revoked, for an address that is no longer yours. KEY is a fingerprint or an\n"
        "address; default: the account's key. Whoever has lost passphrase or secret key revokes by the certificate\n"
        "that `key make` has kept. A certificate (S/MIME) is revoked by its issuer.",
    .example = "privyseal key revoke --reason compromised",
    .options = options,
    .run = run};

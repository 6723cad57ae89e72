#include "cli/key.h"
#include "cli/key_life.h"

#include "keyring/gpg_life.h"
#include "mime/utf8.h"

#include <stdio.h>
#include <string.h>

static const char *real_name, *address_given, *expires_text, *passphrase_fd, *backup_path, *backup_fd;
static bool is_unprotected, is_another;

static const struct cli_option options[] = {
    {"name", "NAME", "your name, as others will see it in the key", NULL, &real_name, NULL},
    {"address", "ADDRESS", "one of the account's addresses; default: the first", NULL, &address_given, NULL},
    {"expires", "TIME", "30d, 6m, 2y or never (default)", NULL, &expires_text, NULL},
    {"passphrase-fd", "N", "read the passphrase from this descriptor; default: gpg-agent asks", NULL, &passphrase_fd,
     NULL},
    {"no-passphrase", NULL, "protect the key by its file mode alone", &is_unprotected, NULL, NULL},
    {"backup", "FILE", "write a backup to this new file, protected by the passphrase of the key", NULL, &backup_path,
     NULL},
    {"backup-passphrase-fd", "N", "with --no-passphrase: read the passphrase of the backup from this descriptor", NULL,
     &backup_fd, NULL},
    {"another", NULL, "make one although the address has an own key", &is_another, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* What is known before the key is made, and asked for before: who declines is left with nothing half done. */
struct making {
    char address[MIME_ADDR_SIZE], user_id[700];
    int64_t life_s;
    struct secret passphrase;  /* empty: none */
    struct secret replacement; /* of the backup of a key without one */
    bool is_asked_by_agent;
    int backup; /* -1: none is wanted */
};

static void report(const struct making *making, const char *fingerprint, const char *revocation)
{
    char grouped[KEY_GROUPED_SIZE];
    key_group(fingerprint, grouped);
    printf("made a key for %s\n  %s\nrevocation certificate, for the day that you lose the key: %s\n", making->user_id,
           grouped, revocation);
    if (backup_path)
        printf("backup: %s; keep it and its passphrase apart, and away from this machine\n", backup_path);
    else
        printf("no backup was made: `privyseal key backup --output FILE` writes one\n");
    printf("Others get the public part with your next mail (Autocrypt), by `privyseal key publish`, or by what\n"
           "`privyseal key export %s` writes\n",
           fingerprint);
}

static int finish(struct cli *cli, struct making *making, const char *fingerprint)
{
    char revocation[CONFIG_PATH_SIZE + 160];
    const struct secret *passphrase = making->is_asked_by_agent ? NULL : &making->passphrase;
    enum err err = keyring_gpg_keep_revocation(cli->gpg, fingerprint, passphrase, revocation, sizeof revocation);
    if (err)
        (void)cli_fail(cli, err, "making the revocation certificate of %s; the key is made", fingerprint);
    if (!err && making->backup >= 0)
        err = cli_list_ring(cli);
    const struct keyring_entry *key = err || making->backup < 0 ? NULL : key_of_fingerprint(cli->keyring, fingerprint);
    if (key) {
        err = key_backup_write(cli, key, passphrase, &making->replacement, backup_path, making->backup);
        making->backup = -1;
        if (err)
            fprintf(stderr, "privyseal key make: the key %s is made; write its backup with `privyseal key backup`\n",
                    fingerprint);
    }
    if (err)
        return cli_exit_of(err);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s, s:s, s:s?}", "fingerprint", fingerprint, "user_id", making->user_id,
                                        "revocation", revocation, "backup", backup_path));
    report(making, fingerprint, revocation);
    return CLI_DONE;
}

static int name_it(const struct cli *cli, struct making *making)
{
    const char *format = real_name && real_name[0] ? "%s <%s>" : "%s%s";
    int count = snprintf(making->user_id, sizeof making->user_id, format, real_name ? real_name : "", making->address);
    char shown[sizeof making->user_id];
    mime_utf8_copy_shown(span_of(real_name ? real_name : ""), shown, sizeof shown);
    if (count < 0 || (size_t)count >= sizeof making->user_id || (real_name && strpbrk(real_name, "<>")))
        return cli_usage(cli, "--name is too long, or holds < or >");
    if (real_name && strcmp(shown, real_name) != 0)
        return cli_usage(cli, "--name holds a control character, or is no UTF-8");
    return CLI_DONE;
}

/* With a backup to be written gpg-agent would ask again for what it was told. */
static enum err ask(struct cli *cli, struct making *making)
{
    making->is_asked_by_agent = !passphrase_fd && !is_unprotected && !backup_path;
    enum err err = ERR_OK;
    if (backup_path)
        err = key_backup_check(cli, backup_path);
    if (!err && !is_unprotected && (passphrase_fd || backup_path))
        err = key_ask_new_passphrase(cli, passphrase_fd, "A passphrase for the new key, and for its backup",
                                     &making->passphrase);
    if (!err && is_unprotected && backup_path)
        err = key_ask_new_passphrase(cli, backup_fd, "A passphrase for the backup", &making->replacement);
    if (!err && backup_path)
        err = key_backup_open(cli, backup_path, &making->backup);
    return err;
}

static int make(struct cli *cli, struct making *making)
{
    char fingerprint[KEYRING_FPR_SIZE];
    int status = name_it(cli, making);
    if (status)
        return status;
    enum err err = ask(cli, making);
    if (err)
        return err == ERR_KEY_LOCKED ? CLI_REFUSED : cli_exit_of(err);
    err = keyring_gpg_make_key(cli->gpg, making->user_id, making->life_s,
                               making->is_asked_by_agent ? NULL : &making->passphrase, fingerprint);
    if (err && making->is_asked_by_agent && !cli_has_terminal())
        fprintf(stderr, "privyseal key make: gpg-agent asks for the passphrase; where it cannot, give it with "
                        "--passphrase-fd, or make the key with --no-passphrase\n");
    return err ? cli_fail(cli, err, "making a key for %s", making->address) : finish(cli, making, fingerprint);
}

int key_check_new(const struct cli *cli, const char *secret_fd, bool has_no_secret, const char *path,
                  const char *path_fd)
{
    if (secret_fd && has_no_secret)
        return cli_usage(cli, "--passphrase-fd and --no-passphrase; expected one of them");
    if (path_fd && !(has_no_secret && path))
        return cli_usage(cli, "--backup-passphrase-fd is for --backup with --no-passphrase; else the backup has the "
                              "passphrase of the key");
    if (path && strcmp(path, "-") == 0)
        return cli_usage(cli, "--backup -; expected the name of a new file");
    return CLI_DONE;
}

static int check_options(const struct cli *cli, struct making *making)
{
    if (expires_text && !key_read_life(expires_text, &making->life_s))
        return cli_usage(cli, "--expires %s; expected 30d, 6m, 2y or never", expires_text);
    return key_check_new(cli, passphrase_fd, is_unprotected, backup_path, backup_fd);
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct making making = {.backup = -1};
    (void)argc;
    (void)argv;
    int status = check_options(cli, &making);
    if (status)
        return status;
    enum err err = cli_open_account(cli, address_given);
    if (err)
        return cli_exit_of(err);
    snprintf(making.address, sizeof making.address, "%s", cli->account->address);
    if (address_given && (mime_addr_normalise(span_of(address_given), making.address) ||
                          config_account_of_address(cli->config, making.address) != cli->account))
        return cli_usage(cli, "--address %s; expected an address of account %s", address_given, cli->account->address);
    err = cli_open_ring(cli, false);
    const struct keyring_entry *own = err ? NULL : cli_own_key(cli, KEYRING_OPENPGP, making.address);
    status = cli_exit_of(err);
    if (own && !is_another) {
        fprintf(stderr,
                "privyseal key make: %s has the own key %s already; expected --another to make one more, or `privyseal "
                "key rotate` for one in its place\n",
                making.address, own->fingerprint);
        status = CLI_REFUSED;
    } else if (!err) {
        status = make(cli, &making);
    }
    if (making.backup >= 0)
        key_backup_drop(backup_path, making.backup);
    secret_fini(&making.passphrase);
    secret_fini(&making.replacement);
    return status;
}

const struct cli_command cli_key_make = {
    .name = "key make",
    .summary = "makes an own key for the account",
    .text =
        "Makes an OpenPGP key (ed25519, with cv25519 for encryption) for one of the account's addresses, trusted as\n"
        "your own. gpg-agent asks for a passphrase unless one is given by descriptor, or none is wanted.",
    .example = "privyseal key make --name \"Alice Liddell\"",
    .options = options,
    .run = run};

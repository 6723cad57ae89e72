/*
 * privyseal key rotate: a new own key takes the place of the old one, which stays for reading.
 *
 * Nothing needs to be told which of two own keys is in use: the later one is (keyring_choose). The two certify each
 * other, so that whoever trusts the old one has reason to trust the new one, and sign a statement that says so.
 */
#include "cli/key.h"
#include "cli/key_life.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyring/ask.h"
#include "keyring/gpg_life.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define USER_IDS_MAX 64
#define STATEMENT_MAX ((size_t)1 << 20)

static const char *expires_text = "2y", *passphrase_fd, *old_fd, *backup_path, *backup_fd, *statement_path;
static bool is_unprotected, is_revoking, is_sure;

static const struct cli_option options[] = {
    {"expires", "TIME", "when the new key expires: 30d, 6m, 2y (default) or never", NULL, &expires_text, NULL},
    {"passphrase-fd", "N", "read the new key's passphrase from this descriptor; default: it is asked for", NULL,
     &passphrase_fd, NULL},
    {"no-passphrase", NULL, "protect the new key by its file mode alone", &is_unprotected, NULL, NULL},
    {"old-passphrase-fd", "N", "read the old key's from this descriptor; default: gpg-agent asks", NULL, &old_fd, NULL},
    {"backup", "FILE", "write a backup of the new key to this new file", NULL, &backup_path, NULL},
    {"backup-passphrase-fd", "N", "with --no-passphrase: read the passphrase of the backup from this descriptor", NULL,
     &backup_fd, NULL},
    {"statement", "FILE", "write the statement to this new file instead of standard output", NULL, &statement_path,
     NULL},
    {"revoke-old", NULL, "revoke the old key as superseded, after asking", &is_revoking, NULL, NULL},
    {"yes", NULL, "do not ask", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

struct rotation {
    struct cli *cli;
    char old[KEYRING_FPR_SIZE], fresh[KEYRING_FPR_SIZE];
    char user_ids[USER_IDS_MAX][256]; /* the old key's for the account's addresses, the main one first */
    size_t user_ids_len;
    size_t left_len; /* user IDs for other addresses, which are not carried over */
    int64_t old_created, life_s;
    struct secret passphrase, old_passphrase, replacement;
    bool is_vouched, has_backup, has_statement; /* what is done */
    const struct secret *old_given;             /* NULL: gpg-agent asks */
    int backup, statement_file;                 /* -1: not open */
    char revocation[CONFIG_PATH_SIZE + 160];
    struct buf statement;
};

static bool is_accounts(const struct cli *cli, const struct keyring_entry *entry)
{
    return entry->address[0] && config_account_of_address(cli->config, entry->address) == cli->account;
}

static void collect_user_ids(struct rotation *rotation)
{
    const struct cli *cli = rotation->cli;
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (strcmp(entry->fingerprint, rotation->old) != 0 || entry->is_revoked)
            continue;
        if (!is_accounts(cli, entry) || rotation->user_ids_len == USER_IDS_MAX) {
            rotation->left_len++;
            continue;
        }
        size_t at = rotation->user_ids_len++;
        for (; entry->is_primary_uid && at > 0; at--)
            memcpy(rotation->user_ids[at], rotation->user_ids[at - 1], sizeof rotation->user_ids[at]);
        snprintf(rotation->user_ids[at], sizeof rotation->user_ids[at], "%s", entry->user_id);
    }
}

static bool is_agreed(const struct rotation *rotation)
{
    char grouped[KEY_GROUPED_SIZE], question[1000];
    key_group(rotation->old, grouped);
    snprintf(question, sizeof question,
             "%s\n  %s\nMake a new key and revoke this one? That cannot be taken back once others know of it.",
             rotation->user_ids[0], grouped);
    if (!is_revoking || is_sure || cli_confirm(question))
        return true;
    fprintf(stderr, "privyseal key rotate: nothing was changed; expected \"yes\", or --yes\n");
    return false;
}

/* A signature that is thrown away: the passphrase is that of the old key, and gpg-agent remembers it for a while. */
static enum err try_old(const struct rotation *rotation)
{
    struct buf ignored;
    buf_init(&ignored, STATEMENT_MAX);
    const enum err err = keyring_gpg_revocation(rotation->cli->gpg, rotation->old, KEYRING_GPG_NO_REASON, "",
                                                rotation->old_given, &ignored);
    buf_fini(&ignored);
    if (err == ERR_KEY_LOCKED)
        fprintf(stderr, "privyseal key rotate: no passphrase was given that opens %s; nothing is changed\n",
                rotation->old);
    else if (err == ERR_NO_SIGNING_KEY)
        fprintf(stderr, "privyseal key rotate: %s cannot sign here; nothing is changed\n", rotation->old);
    else if (err)
        (void)cli_fail(rotation->cli, err, "trying %s; nothing is changed", rotation->old);
    return err;
}

/* All that could be declined, and all files, before anything is made. */
static enum err prepare(struct rotation *rotation)
{
    struct cli *cli = rotation->cli;
    enum err err = ERR_OK;
    if (backup_path)
        err = key_backup_check(cli, backup_path);
    if (!err && statement_path)
        err = key_backup_check(cli, statement_path);
    if (!err && old_fd) {
        err = cli_read_passphrase(cli, "old-passphrase-fd", old_fd, KEYRING_ASK_SECRET_MAX, &rotation->old_passphrase);
        rotation->old_given = &rotation->old_passphrase;
    }
    if (!err)
        err = try_old(rotation);
    if (!err && !is_unprotected)
        err = key_ask_new_passphrase(cli, passphrase_fd, "A passphrase for the new key", &rotation->passphrase);
    if (!err && is_unprotected && backup_path)
        err = key_ask_new_passphrase(cli, backup_fd, "A passphrase for the backup", &rotation->replacement);
    if (!err && backup_path)
        err = key_backup_open(cli, backup_path, &rotation->backup);
    if (!err && statement_path)
        err = key_backup_open(cli, statement_path, &rotation->statement_file);
    return err;
}

static enum err make(struct rotation *rotation)
{
    struct keyring_gpg *gpg = rotation->cli->gpg;
    const struct secret *passphrase = &rotation->passphrase;
    enum err err = ERR_OK;
    /* Of two keys of one second nobody could tell which is the later. */
    if (!clock_wait_after(rotation->old_created))
        err = log_failure(ERR_KEY_UNUSABLE, "%s was made in the future: the clock is wrong", rotation->old);
    if (!err)
        err = keyring_gpg_make_key(gpg, rotation->user_ids[0], rotation->life_s, passphrase, rotation->fresh);
    for (size_t i = 1; !err && i < rotation->user_ids_len; i++)
        err = keyring_gpg_add_user_id(gpg, rotation->fresh, rotation->user_ids[i], passphrase);
    if (!err && rotation->user_ids_len > 1)
        err = keyring_gpg_set_primary(gpg, rotation->fresh, rotation->user_ids[0], passphrase);
    if (!err)
        err = keyring_gpg_vouch(gpg, rotation->fresh, rotation->old, rotation->old_given);
    if (!err)
        err = keyring_gpg_vouch(gpg, rotation->old, rotation->fresh, passphrase);
    rotation->is_vouched = !err;
    if (!err)
        err = keyring_gpg_keep_revocation(gpg, rotation->fresh, passphrase, rotation->revocation,
                                          sizeof rotation->revocation);
    return err;
}

/* Before the old key is revoked: it could sign no more. */
static enum err write_statement(struct rotation *rotation)
{
    char date[CLI_DATE_SIZE], old[KEY_GROUPED_SIZE], fresh[KEY_GROUPED_SIZE];
    const char *const signers[] = {rotation->old, rotation->fresh};
    struct buf text;
    cli_date(clock_now(), date);
    key_group(rotation->old, old);
    key_group(rotation->fresh, fresh);
    buf_init(&text, STATEMENT_MAX);
    enum err err =
        buf_addf(&text,
                 "OpenPGP key transition statement, %s\n\nI have a new OpenPGP key, in place of the old one. "
                 "Please use the new one from now on\nfor mail to me. %s\nThis is signed by both keys, and "
                 "each of them certifies the other.\n\nOld key: %s\nNew key: %s\n",
                 date, is_revoking ? "The old one is revoked." : "The old one is still good for what I signed with it.",
                 old, fresh);
    for (size_t i = 0; !err && i < rotation->user_ids_len; i++)
        err = buf_addf(&text, "  %s\n", rotation->user_ids[i]);
    if (!err)
        err = keyring_gpg_clearsign(rotation->cli->gpg, buf_span(&text), signers, 2, &rotation->statement);
    if (!err && rotation->statement_file >= 0)
        err = cli_write(rotation->statement_file, buf_span(&rotation->statement));
    if (!err && rotation->statement_file >= 0) {
        err = key_backup_close(statement_path, rotation->statement_file);
        rotation->statement_file = -1;
    }
    rotation->has_statement = !err;
    buf_fini(&text);
    return err;
}

static enum err revoke_old(const struct rotation *rotation)
{
    char text[KEYRING_FPR_SIZE + 32];
    snprintf(text, sizeof text, "superseded by %s", rotation->fresh);
    return keyring_gpg_revoke(rotation->cli->gpg, rotation->old, KEYRING_GPG_SUPERSEDED, text, rotation->old_given);
}

static enum err write_backup(struct rotation *rotation)
{
    enum err err = cli_list_ring(rotation->cli);
    const struct keyring_entry *key = err ? NULL : key_of_fingerprint(rotation->cli->keyring, rotation->fresh);
    if (err || !key || rotation->backup < 0)
        return err;
    err = key_backup_write(rotation->cli, key, &rotation->passphrase, &rotation->replacement, backup_path,
                           rotation->backup);
    rotation->backup = -1;
    rotation->has_backup = !err;
    return err;
}

/* Who was asked and declined, or what failed, leaves a new key behind that counts. */
static int say_stopped(const struct rotation *rotation, enum err err)
{
    const int status = cli_fail(rotation->cli, err, "putting another key in the place of %s", rotation->old);
    if (rotation->fresh[0] == '\0') {
        fprintf(stderr, "Nothing is changed\n");
        return status;
    }
    fprintf(stderr, "The new key %s is there, and in use. The old one stays as it was, for reading%s\n",
            rotation->fresh, is_revoking ? "; it is not revoked" : "");
    if (!rotation->is_vouched)
        fprintf(stderr, "The two do not certify each other\n");
    if (!rotation->has_statement)
        fprintf(stderr, "There is no statement that both have signed\n");
    if (rotation->has_backup)
        fprintf(stderr, "Its backup is in %s; keep that of the old one, too\n", backup_path);
    else
        fprintf(stderr, "It has no backup: `privyseal key backup --output FILE %s` writes one\n", rotation->fresh);
    fprintf(stderr, "To be rid of it: privyseal key delete --secret %s\n", rotation->fresh);
    return status;
}

static int report(const struct rotation *rotation)
{
    char grouped[KEY_GROUPED_SIZE];
    const char *shown = statement_path ? NULL : rotation->statement.data;
    if (rotation->cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s, s:b, s:s, s:s?, s:s?, s:s?}", "old", rotation->old, "new",
                                        rotation->fresh, "old_revoked", is_revoking, "revocation", rotation->revocation,
                                        "backup", backup_path, "statement_file", statement_path, "statement", shown));
    key_group(rotation->fresh, grouped);
    printf("made a new key for %s\n  %s\nthe old one, %s, %s\n", rotation->user_ids[0], grouped, rotation->old,
           is_revoking ? "is revoked; keep it: mail that was sealed to it is read with it"
                       : "stays for reading what was sealed to it");
    if (rotation->left_len)
        printf("names of the old key for other addresses than the account's are not on the new one\n");
    printf("revocation certificate, for the day that you lose the key: %s\n", rotation->revocation);
    if (backup_path)
        printf("backup: %s; keep it and its passphrase apart, and away from this machine\n", backup_path);
    else
        printf("no backup was made: `privyseal key backup --output FILE` writes one\n");
    printf(
        "Keep the backup of the old key, too: old mail is read with that key alone, and the new backup does not hold "
        "it\n");
    printf("Others get the new key with your next mail (Autocrypt), by `privyseal key publish`, or by what `privyseal "
           "key export %s` writes. Send this statement to those who compared fingerprints with you%s%s\n",
           rotation->fresh, statement_path ? ": " : "", statement_path ? statement_path : "");
    if (shown)
        printf("\n%s", shown);
    return CLI_DONE;
}

static int rotate(struct rotation *rotation)
{
    enum err err = prepare(rotation);
    if (err)
        return err == ERR_KEY_LOCKED ? CLI_REFUSED : cli_exit_of(err);
    /* The backup first: a person may decline to sign the statement. */
    err = make(rotation);
    if (!err)
        err = write_backup(rotation);
    if (!err)
        err = write_statement(rotation);
    if (!err && is_revoking)
        err = revoke_old(rotation);
    return err ? say_stopped(rotation, err) : report(rotation);
}

static int check_options(const struct cli *cli, struct rotation *rotation)
{
    if (!key_read_life(expires_text, &rotation->life_s))
        return cli_usage(cli, "--expires %s; expected 30d, 6m, 2y or never", expires_text);
    if (statement_path && strcmp(statement_path, "-") == 0)
        return cli_usage(cli, "--statement -; expected the name of a new file");
    return key_check_new(cli, passphrase_fd, is_unprotected, backup_path, backup_fd);
}

static int begin(struct rotation *rotation, const char *name)
{
    const struct keyring_entry *old;
    struct cli *cli = rotation->cli;
    enum err err = key_open_own(cli, name,
                                "have another one issued, and import it with `privyseal key import --own FILE`: the "
                                "later one is used, and the old one stays for reading",
                                &old);
    if (err)
        return cli_exit_of(err);
    if (old->is_revoked || (old->expires && old->expires <= clock_now())) {
        fprintf(stderr, "privyseal key rotate: %s is %s, and can speak for no other key; %s\n", old->fingerprint,
                old->is_revoked ? "revoked" : "expired",
                old->is_revoked ? "make one with `privyseal key make`"
                                : "renew it first with `privyseal key renew`, or make one with `privyseal key make`");
        return CLI_REFUSED;
    }
    snprintf(rotation->old, sizeof rotation->old, "%s", old->fingerprint);
    rotation->old_created = old->created;
    collect_user_ids(rotation);
    if (rotation->user_ids_len == 0) {
        fprintf(stderr, "privyseal key rotate: %s has no name with an address of account %s\n", rotation->old,
                cli->account->address);
        return CLI_REFUSED;
    }
    return is_agreed(rotation) ? rotate(rotation) : CLI_REFUSED;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct rotation rotation = {.cli = cli, .backup = -1, .statement_file = -1};
    if (argc > 1)
        return cli_usage(cli, "expected one fingerprint or address at most");
    int status = check_options(cli, &rotation);
    if (status)
        return status;
    buf_init(&rotation.statement, STATEMENT_MAX);
    status = begin(&rotation, argc ? argv[0] : NULL);
    key_backup_drop(backup_path, rotation.backup);
    key_backup_drop(statement_path, rotation.statement_file);
    buf_fini(&rotation.statement);
    secret_fini(&rotation.passphrase);
    secret_fini(&rotation.old_passphrase);
    secret_fini(&rotation.replacement);
    return status;
}

const struct cli_command cli_key_rotate = {
    .name = "key rotate",
    .operands = "[KEY]",
    .summary = "puts a new own key in the place of the old one, which stays for reading",
    .text =
        "Makes a new OpenPGP key with the names of an own one, which it takes the place of: from now on mail is\n"
        "signed with the new key and sealed to it. The old one stays, and reads what was sealed to it; with\n"
        "--revoke-old it is revoked as superseded, with the new key's fingerprint as the reason. The two keys certify\n"
        "each other, and both sign a statement for your correspondents. KEY is a fingerprint or an address; default:\n"
        "the account's key.",
    .example = "privyseal key rotate --backup alice.backup --statement transition.txt",
    .options = options,
    .run = run};

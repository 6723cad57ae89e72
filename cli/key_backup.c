/*
 * privyseal key backup: an own OpenPGP key in a file that is to be kept elsewhere; `key make` and `key rotate` write
 * the same.
 */
#include "cli/key_life.h"
#include "cli/key_own.h"

#include "keyring/backup.h"
#include "keyring/file.h"
#include "keyring/gpg_life.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)16 << 20)

static const char *output, *passphrase_fd;

static const struct cli_option options[] = {
    {"output", "FILE", "write a new file, readable by you alone, instead of standard output", NULL, &output, NULL},
    {"passphrase-fd", "N", "read the key's passphrase from this descriptor, or a new one for a key that has none", NULL,
     &passphrase_fd, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static bool is_standard(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

static enum err say_there(const struct cli *cli, const char *path)
{
    fprintf(stderr, "privyseal %s: %s is there already; expected the name of a new file\n", cli->command->name, path);
    return ERR_EXISTS;
}

enum err key_backup_check(const struct cli *cli, const char *path)
{
    return is_standard(path) || access(path, F_OK) ? ERR_OK : say_there(cli, path);
}

/* Without a name until it is whole, where the file system knows such files. */
static int open_nameless(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[CONFIG_PATH_SIZE];
    const int len = snprintf(folder, sizeof folder, "%.*s%s", slash ? (int)(slash - path) : 1, slash ? path : ".",
                             slash == path ? "/" : "");
    if (len < 0 || (size_t)len >= sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
}

enum err key_backup_open(const struct cli *cli, const char *path, int *fd_out)
{
    *fd_out = is_standard(path) ? STDOUT_FILENO : open_nameless(path);
    if (*fd_out < 0)
        *fd_out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd_out >= 0)
        return ERR_OK;
    if (errno == EEXIST)
        return say_there(cli, path);
    const enum err err = cli_file_failure(path);
    (void)cli_fail(cli, err, "making %s", path);
    return err;
}

static bool is_nameless(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_nlink == 0;
}

void key_backup_drop(const char *path, int fd)
{
    if (is_standard(path) || fd < 0)
        return;
    const bool has_name = !is_nameless(fd);
    close(fd);
    if (has_name)
        (void)unlink(path);
}

enum err key_backup_close(const char *path, int fd)
{
    char link[64];
    enum err err = ERR_OK;
    if (is_standard(path))
        return ERR_OK;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fsync(fd) || (is_nameless(fd) && linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW)))
        err = err_of_errno(errno);
    if (err)
        key_backup_drop(path, fd);
    else if (close(fd))
        err = err_of_errno(errno);
    return err;
}

/* Keys that were imported may have none. */
static enum err read_revocation(const struct keyring_gpg *gpg, const char *fingerprint, struct buf *out)
{
    char path[CONFIG_PATH_SIZE + 160];
    enum err err = keyring_gpg_revocation_file(gpg, fingerprint, path, sizeof path);
    return err || access(path, F_OK) ? err : keyring_file_read(path, out);
}

static enum err collect(struct cli *cli, const struct keyring_entry *key, const struct secret *passphrase,
                        const struct secret *replacement, struct buf *out)
{
    struct keyring_backup backup;
    keyring_backup_init(&backup);
    snprintf(backup.fingerprint, sizeof backup.fingerprint, "%s", key->fingerprint);
    snprintf(backup.user_id, sizeof backup.user_id, "%s", key->user_id);
    enum err err = keyring_gpg_ownertrust(cli->gpg, &backup.trust);
    if (!err)
        err = read_revocation(cli->gpg, key->fingerprint, &backup.revocation);
    if (!err)
        err = keyring_backup_write(&backup, out);
    if (!err)
        err = keyring_gpg_backup(cli->gpg, key->fingerprint, passphrase, replacement, out);
    keyring_backup_fini(&backup);
    return err;
}

static void say_failed(const struct cli *cli, enum err err, const struct keyring_entry *key, const char *path)
{
    if (err == ERR_KEY_LOCKED)
        fprintf(stderr, "privyseal %s: that is not the passphrase of %s; no backup was written\n", cli->command->name,
                key->fingerprint);
    else
        (void)cli_fail(cli, err, "writing the backup of %s to %s", key->fingerprint,
                       is_standard(path) ? "standard output" : path);
}

/* What would end us waits until the file is whole, or gone, and the key out of the folder where it was for a moment. */
static void hold_endings(sigset_t *before)
{
    static const int endings[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t held;
    sigemptyset(&held);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        (void)sigaddset(&held, endings[i]);
    (void)sigprocmask(SIG_BLOCK, &held, before);
}

enum err key_backup_write(struct cli *cli, const struct keyring_entry *key, const struct secret *passphrase,
                          const struct secret *replacement, const char *path, int fd)
{
    struct buf text;
    sigset_t before;
    buf_init_secret(&text, FILE_MAX);
    hold_endings(&before);
    enum err err = collect(cli, key, passphrase, replacement, &text);
    if (!err)
        err = cli_write(fd, buf_span(&text));
    buf_fini(&text);
    if (err)
        key_backup_drop(path, fd);
    else
        err = key_backup_close(path, fd);
    if (err)
        say_failed(cli, err, key, path);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return err;
}

/* The key's own passphrase, or a new one for a key that has none. */
static enum err ask(struct cli *cli, const struct keyring_entry *key, bool is_unprotected, struct secret *passphrase)
{
    char what[KEYRING_FPR_SIZE + 64];
    snprintf(what, sizeof what, is_unprotected ? "A passphrase for the backup of %s" : "The passphrase of the key %s",
             key->fingerprint);
    if (is_unprotected)
        return key_ask_new_passphrase(cli, passphrase_fd, what, passphrase);
    enum err err = key_ask_passphrase(cli, passphrase_fd, what, NULL, passphrase);
    if (err == ERR_KEY_LOCKED)
        fprintf(stderr, "privyseal key backup: no passphrase was given; no backup was written\n");
    return err;
}

static int run(struct cli *cli, int argc, char **argv)
{
    const struct keyring_entry *key;
    struct secret passphrase = {NULL, 0};
    bool is_unprotected;
    int fd;
    if (argc > 1)
        return cli_usage(cli, "expected one fingerprint or address at most");
    if (cli->is_json && is_standard(output))
        return cli_usage(cli, "--json needs --output FILE: else standard output is the backup's");
    enum err err =
        key_open_own(cli, argc ? argv[0] : NULL, "write it to a file with `privyseal key export --secret`", &key);
    if (err)
        return cli_exit_of(err);
    err = keyring_gpg_is_unprotected(cli->gpg, key->fingerprint, &is_unprotected);
    if (err)
        return cli_fail(cli, err, "looking at the key %s", key->fingerprint);
    err = key_backup_check(cli, output);
    if (err)
        return cli_exit_of(err);
    err = ask(cli, key, is_unprotected, &passphrase);
    if (!err)
        err = key_backup_open(cli, output, &fd);
    if (!err)
        err = key_backup_write(cli, key, &passphrase, &passphrase, output, fd);
    secret_fini(&passphrase);
    if (err)
        return err == ERR_KEY_LOCKED ? CLI_REFUSED : cli_exit_of(err);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s}", "fingerprint", key->fingerprint, "backup", output));
    fprintf(stderr, "%s: the backup is written%s%s; keep it and its passphrase apart, and away from this machine\n",
            key->fingerprint, is_standard(output) ? "" : " to ", is_standard(output) ? "" : output);
    return CLI_DONE;
}

const struct cli_command cli_key_backup = {
    .name = "key backup",
    .operands = "[KEY]",
    .summary = "writes a backup of your own key, protected by a passphrase",
    .text =
        "Writes an own OpenPGP key with its secret part, its revocation certificate and the ownertrust into a file\n"
        "that `privyseal key import` takes back whole, and any OpenPGP program as the key that it is. It is protected\n"
        "by the key's own passphrase; for a key that has none a new one is asked for, twice. KEY is a fingerprint or\n"
        "an address; default: the account's key.",
    .example = "privyseal key backup --output alice.backup",
    .options = options,
    .run = run};

/*
 * A GnuPG home as it lies on disk, and what can be mended in it and in its ring.
 */
#include "cli/check.h"

#include "keyring/gpg_life.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 10000

/* The first few words, the others counted: a home whose files others can read has many of them. */
struct open_files {
    const char *home;
    size_t len;
    char first[CONFIG_PATH_SIZE + 400];
};

typedef bool (*file_fn)(const char *path, struct stat *status, void *context);

/* Whether all went well with every plain file of a folder of the home; what is not there is well. */
static bool each_file(const char *home, const char *name, file_fn fn, void *context)
{
    char folder[CONFIG_PATH_SIZE + 64], path[CONFIG_PATH_SIZE + 400];
    struct stat status;
    bool is_well = true;
    snprintf(folder, sizeof folder, "%s/%s", home, name);
    /* What a link leads to is no part of the home: its files are not ours to mend. */
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        if (fd >= 0)
            close(fd);
        return true;
    }
    const struct dirent *entry = readdir(entries);
    for (size_t len = 0; entry && len < FILES_MAX; entry = readdir(entries), len++) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%.255s", folder, entry->d_name);
        if (lstat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 077))
            is_well = fn(path, &status, context) && is_well;
    }
    closedir(entries);
    return is_well;
}

static bool note_file(const char *path, struct stat *status, void *context)
{
    struct open_files *files = context;
    (void)status;
    if (files->len++ == 0)
        snprintf(files->first, sizeof files->first, "%s", path);
    return true;
}

static bool close_file(const char *path, struct stat *status, void *context)
{
    (void)context;
    return chmod(path, status->st_mode & 0700) == 0;
}

static const char *const SECRET_FOLDERS[] = {"private-keys-v1.d", "openpgp-revocs.d"};
#define SECRET_FOLDERS_LEN (sizeof SECRET_FOLDERS / sizeof *SECRET_FOLDERS)

static enum err close_files(void *context)
{
    const struct open_files *files = context;
    bool is_well = true;
    for (size_t i = 0; i < SECRET_FOLDERS_LEN; i++)
        is_well = each_file(files->home, SECRET_FOLDERS[i], close_file, NULL) && is_well;
    return is_well ? ERR_OK : ERR_IO;
}

static void check_secret_files(struct check *check, const struct config_account *account)
{
    struct open_files files = {.home = account->gnupghome};
    char path[CONFIG_PATH_SIZE + 64], what[sizeof files.first + 64];
    for (size_t i = 0; i < SECRET_FOLDERS_LEN; i++) {
        snprintf(path, sizeof path, "%s/%s", account->gnupghome, SECRET_FOLDERS[i]);
        (void)check_is_private(check, account->address, path);
        (void)each_file(account->gnupghome, SECRET_FOLDERS[i], note_file, &files);
    }
    snprintf(what, sizeof what, "%s%s can be read by others", files.first, files.len > 1 ? " and more" : "");
    if (files.len > 0)
        (void)check_mend(check, CHECK_BAD, account->address, what, "Make them readable for you alone", close_files,
                         &files);
}

static enum err drop_lock(void *context)
{
    return keyring_gpg_drop_lock(context);
}

static enum err note_lock(const char *path, const char *machine, bool is_elsewhere, void *context)
{
    struct check *check = context;
    char what[CONFIG_PATH_SIZE + 400], lock[CONFIG_PATH_SIZE + 260];
    snprintf(what, sizeof what, "%s is the lock of a process that is no more", path);
    snprintf(lock, sizeof lock, "%s", path);
    if (is_elsewhere)
        check_note(check, CHECK_WARNING, check->cli->account->address,
                   "%s is the lock of a process on the machine %.64s; remove it if nothing there uses this home", path,
                   machine);
    else
        (void)check_mend(check, CHECK_WARNING, check->cli->account->address, what, "Remove it", drop_lock, lock);
    return ERR_OK;
}

void check_home(struct check *check, const struct config_account *account)
{
    struct stat status;
    if (stat(account->gnupghome, &status)) {
        /* One of privyseal's own is made when it is first opened. */
        if (!account->is_own_home)
            check_note(check, CHECK_BAD, account->address,
                       "%s is not there; make it with mode 700, or leave `gnupghome` out", account->gnupghome);
        return;
    }
    if (check_is_private(check, account->address, account->gnupghome) && !(status.st_mode & 077))
        check_note(check, CHECK_OK, account->address, "keys in %s", account->gnupghome);
    check_secret_files(check, account);
    enum err err = keyring_gpg_stale_locks(account->gnupghome, note_lock, check);
    if (err)
        check_note(check, CHECK_WARNING, account->address, "the locks in %s cannot be looked at: %s",
                   account->gnupghome, err_sentence(err));
}

void check_damaged_ring(struct check *check, const struct config_account *account)
{
    const char *home = account->gnupghome;
    check_note(check, CHECK_BAD, account->address,
               "gpg cannot read the whole key ring in %s, which is damaged, or of another version of gpg; nothing is "
               "written to it. The secret keys are files of their own, and not concerned. Stop privyseal, move "
               "%s/pubring.kbx away, put back %s/pubring.kbx~ or one of your own backups of it, or begin anew with "
               "`privyseal key import` of your backup and of the keys of others",
               home, home, home);
}

static enum err bring_up_to_date(void *context)
{
    struct cli *cli = context;
    enum err err = keyring_gpg_check_trust(cli->gpg);
    return err ? err : cli_list_ring(cli);
}

struct aead {
    struct cli *cli;
    char fingerprint[KEYRING_FPR_SIZE];
};

static enum err drop_aead(void *context)
{
    struct aead *aead = context;
    return keyring_gpg_drop_aead(aead->cli->gpg, aead->fingerprint);
}

/* One key is mended at a time, since that changes the list. */
static void check_aead(struct check *check, const struct config_account *account)
{
    struct cli *cli = check->cli;
    char what[KEYRING_FPR_SIZE + 100], last[KEYRING_FPR_SIZE] = "";
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        struct aead aead = {.cli = cli};
        if (!entry->has_aead || !entry->has_secret || entry->trust != KEYRING_OWN || entry->is_revoked ||
            strcmp(entry->fingerprint, last) == 0)
            continue;
        snprintf(last, sizeof last, "%s", entry->fingerprint);
        snprintf(aead.fingerprint, sizeof aead.fingerprint, "%s", entry->fingerprint);
        snprintf(what, sizeof what, "the own key %s asks others for AEAD, and such mail is refused", last);
        (void)check_mend(check, CHECK_BAD, account->address, what,
                         "Re-issue it without, so that you give others its public part again", drop_aead, &aead);
    }
}

void check_ring(struct check *check, const struct config_account *account)
{
    bool is_stale;
    enum err err = keyring_gpg_is_trust_stale(check->cli->gpg, &is_stale);
    if (!err && is_stale)
        (void)check_mend(check, CHECK_WARNING, account->address, "gpg's trust database is older than the key ring",
                         "Bring it up to date", bring_up_to_date, check->cli);
    check_aead(check, account);
}

/*
 * What the commands for the life of one's own OpenPGP key share: make, renew, rotate, revoke, backup, delete.
 */
#ifndef CLI_KEY_LIFE_H
#define CLI_KEY_LIFE_H

#include "cli/cli.h"

/* "30d", "6m", "2y", "never" (0): seconds from now. */
bool key_read_life(const char *text, int64_t *seconds_out);

/* Opens account and ring, then finds the own OpenPGP key that `name` means (a fingerprint, or an address, of whose own
   keys it is the best); NULL: the account's. One that is expired counts, too. Says what is wrong: there is none, it is
   not one's own, or a certificate, of which `certificates` tells what to do. */
ERR_RETURN enum err key_open_own(struct cli *cli, const char *name, const char *certificates,
                                 const struct keyring_entry **entry_out);
/* The best own OpenPGP key for the address with its secret part, expired ones too, but none that is revoked; NULL. */
const struct keyring_entry *key_own_of(const struct cli *cli, const char *address);

/* ---- key_passphrase.c ---- */
/* Reads the passphrase that --passphrase-fd gives into `passphrase`; `*given_out` is it, or NULL if there is no such
   option: then gpg-agent asks. */
ERR_RETURN enum err key_take_passphrase(const struct cli *cli, const char *passphrase_fd, struct secret *passphrase,
                                        const struct secret **given_out);
/* A new passphrase: from the descriptor, else asked for twice. ERR_KEY_LOCKED: nobody gave one; said. */
ERR_RETURN enum err key_ask_new_passphrase(struct cli *cli, const char *passphrase_fd, const char *what,
                                           struct secret *passphrase);

/* ---- key_make.c ---- */
/* Whether the options by which a new key and its backup get their passphrases go together; what is wrong has been said.
 */
int key_check_new(const struct cli *cli, const char *passphrase_fd, bool is_unprotected, const char *backup_path,
                  const char *backup_fd);

/* ---- key_backup.c ---- */
/* Refuses a file that is there already: before anything is asked. The file itself is made when all has been asked, so
   that who gives up at a question leaves none behind. What is wrong has been said. */
ERR_RETURN enum err key_backup_check(const struct cli *cli, const char *path);
/* A new file that nobody but its owner can read, to be written later; "-" is standard output. It has its name only when
   it is closed, where that can be had. What is wrong has been said. */
ERR_RETURN enum err key_backup_open(const struct cli *cli, const char *path, int *fd_out);
/* Writes the backup of an own key. `passphrase` as for keyring_gpg_backup; one without protection is protected by
   `replacement`. Closes `fd` and, if it fails, removes the file. What is wrong has been said. */
ERR_RETURN enum err key_backup_write(struct cli *cli, const struct keyring_entry *key, const struct secret *passphrase,
                                     const struct secret *replacement, const char *path, int fd);
/* What was written is on the disk, and there under its name, but not in place of another file. Closes `fd`; if it
   fails, there is no file. */
ERR_RETURN enum err key_backup_close(const char *path, int fd);
/* Gives up a file that was opened. */
void key_backup_drop(const char *path, int fd);

#endif

/*
 * The file that holds a backup of an own OpenPGP key: lines that say what belongs to it, then the secret key in armour,
 * which any program of OpenPGP reads by itself.
 *
 *     privyseal backup of an OpenPGP key
 *     Key: FINGERPRINT
 *     User ID: Alice Liddell <alice@example.org>
 *     Ownertrust: FINGERPRINT:LEVEL:       any number of them
 *     Revocation: ...                      the lines of the file of its revocation certificate
 *
 *     -----BEGIN PGP PRIVATE KEY BLOCK-----
 *
 * Pure. Who made such a file is not known: what it says is never believed without a person's word.
 */
#ifndef KEYRING_BACKUP_H
#define KEYRING_BACKUP_H

#include "base/buf.h"
#include "keyring/index.h"

#define KEYRING_BACKUP_TEXT_MAX ((size_t)4 << 20) /* of the ownertrust, and of the certificate */

struct keyring_backup {
    char fingerprint[KEYRING_FPR_SIZE];
    char user_id[256];     /* printable UTF-8, one line */
    struct buf trust;      /* lines "FINGERPRINT:LEVEL:", as gpg takes them */
    struct buf revocation; /* the file; empty: there is none */
};

/* Empty; finish it in any case. */
void keyring_backup_init(struct keyring_backup *backup);
void keyring_backup_fini(struct keyring_backup *backup);
/* Whether the file begins as one. */
bool keyring_backup_is(struct span file);
/* Adds the lines before the armour, which is to follow. ERR_LIMIT. */
ERR_RETURN enum err keyring_backup_write(const struct keyring_backup *backup, struct buf *out);
/* Reads them into an empty `backup`. Of the ownertrust only what is less than ultimate is taken: whose key is one's own
   is not for a file to say. Line ends may be CRLF. ERR_MALFORMED, also without armour; ERR_LIMIT. */
ERR_RETURN enum err keyring_backup_read(struct span file, struct keyring_backup *backup);

#endif

/*
 * The life of an own OpenPGP key after it was made: another end, another name, a voucher, revocation, backup.
 *
 * Used by the command line; synchronous. `passphrase` is that of the key, and nobody is asked; NULL: gpg-agent asks by
 * pinentry where it must; empty: the key has none. What gpg-agent remembers is not asked for, nor looked at. A
 * passphrase that is wrong, and a person who declines, are ERR_KEY_LOCKED; a key whose secret part is not here is
 * ERR_NO_SIGNING_KEY. What could not be done is logged.
 */
#ifndef KEYRING_GPG_LIFE_H
#define KEYRING_GPG_LIFE_H

#include "keyring/gpg.h"

/* Reasons for revocation, as gpg numbers them (RFC 4880, 5.2.3.23, by other numbers). */
enum keyring_gpg_reason { KEYRING_GPG_NO_REASON, KEYRING_GPG_COMPROMISED, KEYRING_GPG_SUPERSEDED, KEYRING_GPG_RETIRED };

/* ---- gpg_life.c ---- */
/* Adds a revocation certificate in armour; nothing changes in the ring. `text`, one line of less than 1000 bytes that
   may be empty, says why in words that everybody can read. */
ERR_RETURN enum err keyring_gpg_revocation(struct keyring_gpg *gpg, const char *fingerprint,
                                           enum keyring_gpg_reason reason, const char *text,
                                           const struct secret *passphrase, struct buf *out);
/* Where the home keeps the revocation certificate of a key, whether there is one or not. */
ERR_RETURN enum err keyring_gpg_revocation_file(const struct keyring_gpg *gpg, const char *fingerprint, char *path_out,
                                                size_t path_size);
/* Sees to it that there is one, readable by its owner alone: gpg makes one with each key, imported keys have none. */
ERR_RETURN enum err keyring_gpg_keep_revocation(struct keyring_gpg *gpg, const char *fingerprint,
                                                const struct secret *passphrase, char *path_out, size_t path_size);
/* Puts `text`, which is such a file, there again, unless there is one. */
ERR_RETURN enum err keyring_gpg_put_revocation(const struct keyring_gpg *gpg, const char *fingerprint,
                                               struct span text);
ERR_RETURN enum err keyring_gpg_revoke(struct keyring_gpg *gpg, const char *fingerprint, enum keyring_gpg_reason reason,
                                       const char *text, const struct secret *passphrase);
/* The same by a certificate that was kept, with or without gpg's colon before it. ERR_MALFORMED: it is none;
   ERR_REFUSED: it is of another key, or more than that; nothing was changed. */
ERR_RETURN enum err keyring_gpg_revoke_by(struct keyring_gpg *gpg, const char *fingerprint, struct span certificate);
/* `user_id`: the whole of it. ERR_NOT_FOUND: the key has none such. */
ERR_RETURN enum err keyring_gpg_revoke_user_id(struct keyring_gpg *gpg, const char *fingerprint, const char *user_id,
                                               const struct secret *passphrase);
ERR_RETURN enum err keyring_gpg_add_user_id(struct keyring_gpg *gpg, const char *fingerprint, const char *user_id,
                                            const struct secret *passphrase);
/* The user ID becomes the main one. */
ERR_RETURN enum err keyring_gpg_set_primary(struct keyring_gpg *gpg, const char *fingerprint, const char *user_id,
                                            const struct secret *passphrase);
/* The key and those of its subkeys that are in use end at `expires` (seconds since 1970, later than now; 0: never).
   ERR_KEY_UNUSABLE: it is revoked. */
ERR_RETURN enum err keyring_gpg_set_expiry(struct keyring_gpg *gpg, const char *fingerprint, int64_t expires,
                                           const struct secret *passphrase);
/* Certifies all user IDs of a key with the own key `signer`, for everybody to see. */
ERR_RETURN enum err keyring_gpg_vouch(struct keyring_gpg *gpg, const char *fingerprint, const char *signer,
                                      const struct secret *passphrase);
/* Adds `text`, lines that end with LF, signed in the clear by each of the own keys; gpg-agent asks for those whose
   passphrase it does not remember. */
ERR_RETURN enum err keyring_gpg_clearsign(struct keyring_gpg *gpg, struct span text, const char *const *signers,
                                          size_t signers_len, struct buf *out);

/* ---- gpg_lock.c ---- */
/* Fires for each lock in a home that its process has left behind: that was on this machine, and is no more.
   `is_elsewhere`: it was on another, of which nothing is known. */
typedef enum err (*keyring_gpg_lock_fn)(const char *path, const char *machine, bool is_elsewhere, void *context);
ERR_RETURN enum err keyring_gpg_stale_locks(const char *home, keyring_gpg_lock_fn fn, void *context);
/* Takes such a lock away, if it is still one. ERR_REFUSED: it is held by now. */
ERR_RETURN enum err keyring_gpg_drop_lock(const char *path);

/* Whether gpg's trust database is older than the ring, so that what it says of keys may be wrong. */
ERR_RETURN enum err keyring_gpg_is_trust_stale(struct keyring_gpg *gpg, bool *is_stale_out);

/* ---- gpg_backup.c ---- */
/* Adds the secret key in armour. With a passphrase it is protected by the key's own (`passphrase`), else by
   `replacement`, which must not be empty then; in both ways as slowly as gpg can have it. */
ERR_RETURN enum err keyring_gpg_backup(struct keyring_gpg *gpg, const char *fingerprint,
                                       const struct secret *passphrase, const struct secret *replacement,
                                       struct buf *out);
/* Adds the home's ownertrust, a line "FINGERPRINT:LEVEL:" for each key that has one. */
ERR_RETURN enum err keyring_gpg_ownertrust(struct keyring_gpg *gpg, struct buf *out);
/* Takes such lines. */
ERR_RETURN enum err keyring_gpg_set_ownertrust(struct keyring_gpg *gpg, struct span lines);
/* Takes those of them that are of keys to which the home gives none so far. */
ERR_RETURN enum err keyring_gpg_add_ownertrust(struct keyring_gpg *gpg, struct span lines);
/* Whether gpg-agent holds all secret parts of the key without protection. ERR_NO_SIGNING_KEY. */
ERR_RETURN enum err keyring_gpg_is_unprotected(struct keyring_gpg *gpg, const char *fingerprint,
                                               bool *is_unprotected_out);

#endif

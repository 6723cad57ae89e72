/*
 * OpenPGP keys that are attached to a message (application/pgp-keys, RFC 3156 §7), as keyring_learn takes them: how a
 * correspondent's next key comes with mail that the key before has signed. Whether the message counts is for the caller
 * to know. Runs in keepers and the command line.
 */
#ifndef CRYPTO_ATTACHED_H
#define CRYPTO_ATTACHED_H

#include "keyring/found.h"
#include "mime/part.h"

#define CRYPTO_ATTACHED_KEYS_MAX 4 /* of one message; further ones are left out */
#define CRYPTO_ATTACHED_MAX (CRYPTO_ATTACHED_KEYS_MAX * (KEYRING_FOUND_PIECE_MAX + 256)) /* bytes of a saved form */

/* Adds (keyring_found_add, by the word of mail) those of `payload`, a part of `bytes`, itself or below multipart/mixed
   alone: nothing of what is forwarded in it. What is longer than KEYRING_FOUND_PIECE_MAX is left out. */
ERR_RETURN enum err crypto_attached_add(const struct mime_part *payload, struct span bytes, struct buf *out);

#endif

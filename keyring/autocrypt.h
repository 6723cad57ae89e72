/*
 * Autocrypt level 1 (autocrypt.org, version 1.1): the fields by which mail programs tell each other their keys, read
 * and written, and what is recommended of what was told.
 *
 * Reads what anybody may have written: bounded, and what is not wholly as the specification has it is no field. That
 * the key is any good is for gpg to say when it is first wanted. Runs in net (reading), keepers and on the command
 * line; pure.
 */
#ifndef KEYRING_AUTOCRYPT_H
#define KEYRING_AUTOCRYPT_H

#include "keyring/peer.h"
#include "mime/field.h"

#define KEYRING_AUTOCRYPT_NAME "Autocrypt"
#define KEYRING_AUTOCRYPT_GOSSIP_NAME "Autocrypt-Gossip"
#define KEYRING_AUTOCRYPT_FIELD_MAX ((size_t)10240)     /* bytes of a field with its name and line ends (2.1.1) */
#define KEYRING_AUTOCRYPT_GOSSIPS_MAX 64                /* fields of one message that are looked at, or written */
#define KEYRING_AUTOCRYPT_STALE_S ((int64_t)35 * 86400) /* mail without a field for so long: discouraged (2.4) */

/* What an account says of itself. */
enum keyring_preference { KEYRING_PREFERENCE_OFF, KEYRING_PREFERENCE_NONE, KEYRING_PREFERENCE_MUTUAL };

struct keyring_autocrypt_field {
    char address[MIME_ADDR_SIZE]; /* normal form */
    char fingerprint[KEYRING_FPR_SIZE];
    bool is_mutual;
    struct buf key; /* binary, of at least one user ID */
};

/* Reads an Autocrypt or Autocrypt-Gossip field. ERR_MALFORMED: it is not valid for level 1 (an attribute that is not
   known and has no underscore, keydata that is missing, not last, not base64 or no key of version 4, more than
   KEYRING_AUTOCRYPT_FIELD_MAX). The caller finishes `field_out` after ERR_OK. */
ERR_RETURN enum err keyring_autocrypt_parse(const struct mime_field *field, struct keyring_autocrypt_field *field_out);
void keyring_autocrypt_field_fini(struct keyring_autocrypt_field *field);
/* The one valid Autocrypt field in `header` that is for `from` (normal form). ERR_NOT_FOUND: there is none, or more
   than one (2.3). */
ERR_RETURN enum err keyring_autocrypt_pick(struct span header, const char *from,
                                           struct keyring_autocrypt_field *field_out);

/* Adds the field `name`, folded, with CRLF at its end. ERR_MALFORMED: the address cannot stand in one; ERR_LIMIT: it
   would be larger than a field may be. `out` is then as it was. */
ERR_RETURN enum err keyring_autocrypt_add(struct buf *out, const char *name, const char *address, bool is_mutual,
                                          struct span key);
/* Adds of a transferable public key what a field is to hold (2.1.1): primary key, the user ID of `address` (its first
   one if none has it) and its newest self-signature, the newest subkey that encrypts at `now` and its binding.
   ERR_NOT_FOUND: it has not all of these; ERR_MALFORMED. */
ERR_RETURN enum err keyring_autocrypt_reduce(struct span packets, const char *address, int64_t now, struct buf *out);

/* What is recommended of the key of the correspondent's own fields, or, if there is none, of gossip (2.4);
   KEYRING_ADVICE_NONE: there is neither. That a reply to encrypted mail is to be encrypted, and that MUTUAL takes two,
   is for the policy to see. */
enum keyring_advice keyring_autocrypt_advice(const struct keyring_peer *peer);

#endif

/*
 * What smime_decrypt.c, smime_recipient.c and smime_unwrap.c share. Nobody else includes this.
 */
#ifndef CRYPTO_SMIME_INTERNAL_H
#define CRYPTO_SMIME_INTERNAL_H

#include "crypto/ber.h"
#include "crypto/smime_decrypt.h"

#define SMIME_RECIPIENTS_MAX 5000
#define SMIME_KEY_MAX 32 /* octets of a key that content is encrypted with */

/* Takes one item off the front, and what it is as a whole. */
bool smime_take_whole(struct span *rest, struct crypto_ber *item_out, struct span *whole_out);
/* The octets of an OCTET STRING in one piece taken off the front, under its own tag or [0] IMPLICIT. */
bool smime_take_octets(struct span *rest, struct span *octets_out);

/* Whom one RecipientInfo, or one of those who share a KeyAgreeRecipientInfo, is for, and the key for it. Borrows. */
struct smime_recipient {
    bool is_agreed;                 /* ECDH; else RSA */
    struct span issuer, serial;     /* as they stand, in whole; or */
    struct span key_id;             /* if ptr is not NULL */
    struct span algorithm;          /* inside of the AlgorithmIdentifier: how the key is wrapped */
    struct span wrapped;            /* the key */
    struct span originator, keying; /* ECDH: a point, and UserKeyingMaterial (ptr NULL: none) */
};
typedef enum err (*smime_recipient_fn)(const struct smime_recipient *recipient, void *context);
/* Calls `each` for those in `recipients`, what a SET of RecipientInfo holds; ends with its error. ERR_DECRYPT: it is
   malformed or there are more than SMIME_RECIPIENTS_MAX. Those of another kind are passed over, except that
   `*has_password_out` says whether one is for a password or a key of the other kind. */
ERR_RETURN enum err smime_each_recipient(struct span recipients, smime_recipient_fn each, void *context,
                                         bool *has_password_out);
/* Whether `certificate` is the one that is named. */
bool smime_recipient_is(const struct smime_recipient *recipient, const X509 *certificate);

struct smime_key {
    unsigned char octets[SMIME_KEY_MAX];
    size_t len;
};
/* The key for the content, with one's own. ERR_DECRYPT. */
ERR_RETURN enum err smime_unwrap(EVP_PKEY *own, const struct smime_recipient *recipient, struct smime_key *key_out);

#endif

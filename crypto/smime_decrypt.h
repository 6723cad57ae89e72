/*
 * EnvelopedData and AuthEnvelopedData (RFC 5652 §6, RFC 5083) taken apart by hand, so that what a stranger may ask for
 * is a table, a large message costs its own size, and the key with which it was encrypted can be kept: OpenSSL's CMS
 * takes any cipher of its own and a tag of four octets, holds the message several times, and keeps that key to itself.
 *
 * Taken is (design 1.1.2): AES-GCM with a tag of sixteen octets in AuthEnvelopedData; in EnvelopedData CBC of AES, and
 * of 3DES and RC2, which count as weak. Recipients by RSA (PKCS#1 v1.5 and OAEP) and by ECDH (RFC 5753) that name one
 * of the account's own certificates; no key is tried for a recipient that does not name it. Runs in keepers and the
 * command line.
 */
#ifndef CRYPTO_SMIME_DECRYPT_H
#define CRYPTO_SMIME_DECRYPT_H

#include "crypto/decision.h"
#include "crypto/smime_account.h"

struct crypto_smime_how {
    const struct crypto_smime *smime; /* NULL: there is no private key */
    bool asks_person;                 /* a key that is locked may ask for its PIN; else it is ERR_KEY_LOCKED at once */
    bool takes_cbc;                   /* where a cipher that proves nothing would do harm: false */
    const char *session_key;          /* of an earlier opening: no private key is used; NULL or "": none */
};
struct crypto_smime_opened {
    bool is_authenticated; /* GCM: not a bit was changed; else CBC, of which that cannot be said */
    bool is_weak;
    char session_key[CRYPTO_SESSION_KEY_SIZE]; /* "smime:" and hexadecimal digits; wipe it */
};

/* Adds the text, once all that can be checked of it has been. ERR_DECRYPT: whatever there is about the message,
   including that it is for somebody else; ERR_LIMIT: it is larger than `out` takes; ERR_KEY_LOCKED. Nothing is added
   then. */
ERR_RETURN enum err crypto_smime_decrypt(struct span cms, const struct crypto_smime_how *how, struct buf *out,
                                         struct crypto_smime_opened *opened_out);
/* True if it can also be opened with a password or a key that was agreed upon otherwise. */
bool crypto_smime_has_password(struct span cms);

#endif

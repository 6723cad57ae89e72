/*
 * S/MIME through OpenSSL's CMS (RFC 8551, RFC 5652): signatures verified, their certificates judged; compressed text
 * (RFC 3274) through zlib, since Debian's OpenSSL leaves that out.
 *
 * Runs in keepers and the command line. Every failure that depends on the data is a verdict, not an error.
 */
#ifndef CRYPTO_SMIME_H
#define CRYPTO_SMIME_H

#include "crypto/learnt.h"
#include "crypto/smime_account.h"
#include "crypto/verdict.h"

#define CRYPTO_SMIME_SIGNERS_MAX 8

enum crypto_smime_kind { CRYPTO_SMIME_NONE, CRYPTO_SMIME_SIGNED, CRYPTO_SMIME_ENCRYPTED, CRYPTO_SMIME_COMPRESSED };
/* What `cms` (BER of a ContentInfo) says that it is. */
enum crypto_smime_kind crypto_smime_kind(struct span cms);

/* Adds the text that signed-data brings with it (RFC 8551 §3.5.2), unverified. ERR_MALFORMED: there is none; ERR_LIMIT.
 */
ERR_RETURN enum err crypto_smime_signed_text(struct span cms, struct buf *out);
/* Adds the text out of compressed-data (RFC 3274). ERR_MALFORMED, ERR_LIMIT if it expands beyond what `out` takes, or
   beyond 16 MiB to more than 200 times its size. */
ERR_RETURN enum err crypto_smime_expand(struct span cms, struct buf *out);

struct crypto_smime_verified {
    struct crypto_signature signatures[CRYPTO_SMIME_SIGNERS_MAX];
    size_t len;
    const char
        *reason; /* for a person: why one is not good, or what is not sure; static; NULL: there is nothing to say */
};

/* Verifies the signature `signature` (a ContentInfo) over `content` as of the time `at`, for an account that has
   anchors; `is_inside`: the content is what crypto_smime_signed_text gave, else the signature must be a detached one.
   Gives one signature for each signer, at least one: GOOD means that it verifies, that the certificate is valid, strong
   and for mail, and that nobody says it is revoked; UNTRUSTED that this must be learnt, and could not be. For which
   addresses, and how far it is trusted, is added to `certificates`: KEYRING_FULL if the signature is good in every
   respect and the chain leads to one of the anchors, else KEYRING_UNVERIFIED. Issuers and signers' certificates that
   are missing are taken from the account's folder. What can be kept of those that are good is added to `learnt`. More
   than CRYPTO_SMIME_SIGNERS_MAX signers are BAD. */
ERR_RETURN enum err crypto_smime_verify(const struct crypto_smime *smime, struct span signature, struct span content,
                                        bool is_inside, int64_t at, struct keyring *certificates,
                                        struct crypto_learnt *learnt, struct crypto_smime_verified *verified_out);

#endif

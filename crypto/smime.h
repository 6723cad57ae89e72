/*
 * S/MIME through OpenSSL's CMS (RFC 8551, RFC 5652): detached signatures verified, their certificates judged.
 *
 * Runs in keepers and the command line. Every failure that depends on the data is a verdict, not an error.
 */
#ifndef CRYPTO_SMIME_H
#define CRYPTO_SMIME_H

#include "crypto/verdict.h"
#include "keyring/x509.h"

#define CRYPTO_SMIME_SIGNERS_MAX 8

/* Verifies the detached signature `signature` (DER of a ContentInfo) over `content` as of the time `at`. Gives one
   signature for each signer, at least one: GOOD means that it verifies and that the certificate is valid, strong and
   for mail. For which addresses, and how far it is trusted, is added to `certificates`: KEYRING_FULL if it leads to one
   of the anchors, else KEYRING_UNVERIFIED. More than CRYPTO_SMIME_SIGNERS_MAX signers are BAD. */
ERR_RETURN enum err crypto_smime_verify(const struct keyring_anchors *anchors, struct span signature,
                                        struct span content, int64_t at, struct keyring *certificates,
                                        struct crypto_signature signatures_out[CRYPTO_SMIME_SIGNERS_MAX],
                                        size_t *len_out);

#endif

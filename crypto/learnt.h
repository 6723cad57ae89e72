/*
 * Certificates that came with signed mail: those of signers whose signature is good and whose chain leads to an anchor,
 * and the issuers in between. They are kept in the account's folder, so that mail can be encrypted to whoever has
 * written, and chains close where a later message leaves an issuer out.
 *
 * What is in the folder is believed no further than its chain shows. Runs in keepers and the command line.
 */
#ifndef CRYPTO_LEARNT_H
#define CRYPTO_LEARNT_H

#include "keyring/certificates.h"

#include <openssl/cms.h>

#define CRYPTO_LEARNT_MAX 32

struct crypto_learnt {
    struct crypto_learnt_item {
        X509 *certificate; /* owned */
        int64_t made;      /* when it was signed with, as the signature says; 0: an issuer, or not said */
        bool has_capabilities, takes_gcm; /* what its owner's programs can read (RFC 8551 §2.5.2) */
    } items[CRYPTO_LEARNT_MAX];
    size_t len;
};

/* Adds what the signature of `signer`, made at `made`, shows, whose certificate heads `path`, up to the anchor, which
   is left out. What is beyond CRYPTO_LEARNT_MAX is dropped. */
void crypto_learnt_add(struct crypto_learnt *learnt, STACK_OF(X509) * path, const CMS_SignerInfo *signer, int64_t made);
/* Puts what is not there yet into the folder. What is there stays as it is, except that a later word of what its
   owner's programs can read replaces an earlier one; `now`: nobody signs later than that. Failures are logged: mail is
   read without that, too. */
void crypto_learnt_keep(const struct crypto_learnt *learnt, struct keyring_certificates *certificates, int64_t now);
void crypto_learnt_fini(struct crypto_learnt *learnt);

#endif

/*
 * What the S/MIME engine is made of besides the CMS operations: whose certificates and keys are used, and compression.
 */
#ifndef CRYPTO_SMIME_SEAL_H
#define CRYPTO_SMIME_SEAL_H

#include "crypto/seal.h"
#include "crypto/smime_encrypt.h"
#include "crypto/smime_sign.h"

/* The certificate and key that `request` names as the signer; ends with crypto_smime_signer_fini. The certificate is
   judged again: one that is revoked, expired, weak or not for signing is ERR_NO_SIGNING_KEY, like one without a private
   key. ERR_KEY_LOCKED. */
ERR_RETURN enum err crypto_smime_signer_find(const struct crypto_seal_request *request,
                                             struct crypto_smime_signer *signer_out);
void crypto_smime_signer_fini(struct crypto_smime_signer *signer);

/* The certificates that `request` names as recipients, each judged again and asked about, as the account wants it; ends
   with crypto_smime_envelope_fini. ERR_NO_KEY: one is unknown, revoked, expired, weak or not for encryption;
   ERR_REVOKED: one turns out to be, which is noted in its folder; ERR_LOOKUP.

   AES-256-GCM is taken if the account says so, or leaves it open and all recipients are known to read it; and also
   where the message will not be signed though the account could sign, since AES-CBC alone protects no content from
   being changed (RFC 8551 §6). CBC without a signature is left to accounts that have no key to sign with. `is_own`: a
   copy for the account itself, to be read by any program that has its key. */
ERR_RETURN enum err crypto_smime_envelope_find(const struct crypto_seal_request *request, bool is_signed, bool is_own,
                                               struct crypto_smime_envelope *envelope_out);
void crypto_smime_envelope_fini(struct crypto_smime_envelope *envelope);

/* Has the issuers of somebody's certificate asked, if it leads to an anchor. ERR_REVOKED: it turns out to be, which is
   noted in its folder; ERR_LOOKUP: it could not be learnt, and must be. ERR_OK also for one that is not here, or is
   known to be revoked. */
ERR_RETURN enum err crypto_smime_ask_revocation(const struct crypto_smime *smime, const char *fingerprint);

/* Writes CompressedData over `content` (RFC 3274, zlib) to `out`. */
ERR_RETURN enum err crypto_smime_compress(const struct mime_pieces *content, BIO *out);

#endif

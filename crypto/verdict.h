/*
 * The verdict on a message: one summary, in the same words in the header field, in --json and in the log (design,
 * section 5).
 */
#ifndef CRYPTO_VERDICT_H
#define CRYPTO_VERDICT_H

#include "base/buf.h"
#include "keyring/index.h"

#define CRYPTO_VERDICT_FIELD "Privyseal-Verdict"
#define CRYPTO_REQUEST_FIELD "Privyseal"

/* From worst to best is not their order: each is a statement of its own. */
enum crypto_signature_state {
    CRYPTO_SIG_NONE = 0,
    CRYPTO_SIG_GOOD,
    CRYPTO_SIG_UNTRUSTED,
    CRYPTO_SIG_MISMATCH,
    CRYPTO_SIG_BAD,
    CRYPTO_SIG_EXPIRED,
    CRYPTO_SIG_REVOKED,
    CRYPTO_SIG_WEAK,
    CRYPTO_SIG_UNKNOWN_KEY,
    CRYPTO_SIG_PARTIAL
};
enum crypto_encryption_state {
    CRYPTO_ENC_NONE = 0,
    CRYPTO_ENC_OPENPGP,
    CRYPTO_ENC_SMIME,
    CRYPTO_ENC_PARTIAL,
    CRYPTO_ENC_FAILED
};

/* One signature as an engine found it, before the author is looked at. */
struct crypto_signature {
    enum crypto_signature_state state;  /* GOOD here means: cryptographically valid, key valid and strong at the time */
    char fingerprint[KEYRING_FPR_SIZE]; /* of the primary key; "" if unknown */
    int64_t made;
    enum keyring_format format; /* KEYRING_SMIME: fingerprint is that of a certificate */
    unsigned layer;             /* of those that were signed, from the outermost */
};

struct crypto_verdict {
    enum crypto_signature_state signature;
    enum crypto_encryption_state encryption;
    bool has_integrity;          /* "ok" or "none"; meaningful for encrypted messages, true otherwise */
    char signer[MIME_ADDR_SIZE]; /* the address that the signature vouches for; "" if none */
    char fingerprint[KEYRING_FPR_SIZE];
    enum keyring_trust trust;
    int64_t at;
};

const char *crypto_signature_name(enum crypto_signature_state state);
const char *crypto_encryption_name(enum crypto_encryption_state state);
/* Adds the field's value: "signature=good; signer=...; trust=...; encryption=...; integrity=...; at=...". signer and
   trust are left out when there is no signature. */
ERR_RETURN enum err crypto_verdict_format(const struct crypto_verdict *verdict, struct buf *out);
/* Judges `signature` for a message whose one From address is `author` ("" if there is not exactly one), by the user ID
   that carries it in `keyring` (design 1.1.4): sets signature, signer, fingerprint and trust of `verdict_out`. */
void crypto_verdict_judge(const struct crypto_signature *signature, const char *author, const struct keyring *keyring,
                          enum keyring_trust least, struct crypto_verdict *verdict_out);

#endif

/*
 * What policy must know of an outgoing message before it can plan, read out of the message in a keeper.
 */
#ifndef CRYPTO_INSPECT_H
#define CRYPTO_INSPECT_H

#include "base/err.h"
#include "base/span.h"
#include "crypto/message_ids.h"
#include "mime/addr.h"
#include "mime/part.h"

#define CRYPTO_DIGEST_SIZE 32
#define CRYPTO_MESSAGE_ID_SIZE 256
#define CRYPTO_RECIPIENTS_MAX 1000

enum crypto_sealed { CRYPTO_NOT_SEALED = 0, CRYPTO_SEALED_OPENPGP, CRYPTO_SEALED_SMIME };

struct crypto_facts {
    size_t from_len;           /* mailboxes in all From fields together */
    char from[MIME_ADDR_SIZE]; /* the one From address; "" unless there is exactly one field with one mailbox */
    char message_id[CRYPTO_MESSAGE_ID_SIZE]; /* "" if absent or too long */
    uint8_t digest[CRYPTO_DIGEST_SIZE]; /* of the content without Date, Message-ID, trace fields and boundaries: equal
                                           for a retry */
    struct crypto_message_ids answered; /* of In-Reply-To and References: what this is a reply to */
    enum crypto_sealed sealed;          /* already encrypted in the strict sense of design 1.1.1 */
    bool wants_encryption; /* Privyseal: encrypt=required, the subject tag, or Sensitivity: Company-Confidential */
    bool wants_plain;      /* Privyseal: encrypt=never (only if the rule allows) */
    bool is_8bit;          /* the message holds bytes over 127 */
    bool has_8bit_header;
};

struct crypto_inspect_options {
    const char *subject_tag;       /* "[encrypt]"; NULL or "": none */
    const char *const *recipients; /* envelope recipients, normal form */
    size_t recipients_len;
};

/* Reads `message`. is_visible_out[i] says whether recipient i stands in To, Cc, Resent-To or Resent-Cc. ERR_MALFORMED
   if the header cannot be read at all, ERR_LIMIT if the message passes the limits of mime/part.h. */
ERR_RETURN enum err crypto_inspect(struct span message, const struct crypto_inspect_options *options,
                                   struct crypto_facts *facts_out, bool *is_visible_out);

/* Whether `message` is, as a whole and at its outermost layer, really encrypted: multipart/encrypted of two proper
   parts whose second holds session key packets (at least one PKESK) followed by one SEIPD packet that ends the data; or
   S/MIME EnvelopedData or AuthEnvelopedData of a cipher that is known, with nothing more in clear than keys for
   recipients. Anything beside it, signed-only data or a type without the substance is
   CRYPTO_NOT_SEALED. */
enum crypto_sealed crypto_sealed_kind(struct span message, const struct mime_tree *tree);
/* Whether it is, as a whole, S/MIME signed-data with its text inside (RFC 8551 §3.5.2). */
bool crypto_is_smime_signed(struct span message, const struct mime_tree *tree);
/* The cheap check of net before upstream DATA: the header says what the plan says (design, section 3). */
bool crypto_looks_sealed(struct span message, enum crypto_sealed kind);

#endif

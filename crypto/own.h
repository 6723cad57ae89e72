/*
 * Sealing to oneself: what a mail program saves to Sent, Drafts or any other mailbox, so that it comes back exactly as
 * it was (design 1.2.7).
 *
 * The payload is signed by the account's own key and encrypted to it. It is the message with its header under
 * protection where unwrapping that gives the message byte for byte (tried before it is sealed), so that other programs
 * show it as an ordinary PGP/MIME message; else it is the message as message/rfc822. A mark inside says that it is an
 * own copy and which of the two; it counts only under a good signature by a key whose secret half this account has. The
 * outer header shows what a server needs (Date, From, To, Cc, Message-ID, ...; the subject obscured), never Bcc or X-
 * fields.
 */
#ifndef CRYPTO_OWN_H
#define CRYPTO_OWN_H

#include "crypto/seal.h"
#include "mime/pieces.h"

#define CRYPTO_OWN_FIELD "Privyseal-Own"

/* Seals `message` to the keys of `request` (action SIGN_ENCRYPT, signer and recipients set; other fields as for
   crypto_seal) into `fd`. Verdict fields that the message carries are left out. A message that is already encrypted as
   a whole (crypto_sealed_kind) is kept as it is. Any bytes will do, also a header that cannot be read. */
ERR_RETURN enum err crypto_seal_own(struct keyring_gpg *gpg, const struct crypto_seal_request *request,
                                    struct span message, int fd, struct crypto_seal_result *result_out);
/* The payload that crypto_seal_own seals. `outer` gets the outer header without structural fields. */
ERR_RETURN enum err crypto_own_wrap(struct span message, struct mime_pieces *payload, struct buf *outer);
/* True if `payload` begins with the mark. */
bool crypto_own_has_mark(struct span payload);
/* The message back out of such a payload. ERR_NOT_FOUND: it carries no mark; ERR_MALFORMED: it does not hold what the
   mark says. */
ERR_RETURN enum err crypto_own_unwrap(struct span payload, struct buf *out);

#endif

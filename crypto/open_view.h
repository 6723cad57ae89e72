/*
 * Putting a view together once everything has been checked.
 */
#ifndef CRYPTO_OPEN_VIEW_H
#define CRYPTO_OPEN_VIEW_H

#include "crypto/open.h"
#include "crypto/open_header.h"

/* Adds privyseal's verdict fields, and with `authserv_id` Authentication-Results (RFC 8601). */
ERR_RETURN enum err crypto_view_add_verdict(const struct crypto_verdict *verdict, const char *authserv_id,
                                            struct buf *out);
/* Adds `text` with CRLF for every line end and without NUL, which IMAP cannot carry. */
ERR_RETURN enum err crypto_view_add_clean(struct span text, struct buf *out);
/* Adds the body of `part`; if `is_payload`, without the part or lines that repeat the protected header for programs
   that know nothing of it (RFC 9788 §4.5.3 and the older multipart/mixed form). */
ERR_RETURN enum err crypto_view_add_body(const struct mime_part *part, struct span bytes, bool is_payload,
                                         struct buf *out);
/* Adds structural header, empty line and body of a view of which a person reads text/plain alone: that and, as
   attachments without a type, all else of the tree that `part` belongs to (open_text.c). */
ERR_RETURN enum err crypto_view_add_text_alone(const struct mime_part *part, struct span bytes, struct buf *out);
/* Adds the structural header, empty line and body of a view whose text came out of inline PGP; `part_header` is that of
   the part which held the armour. */
ERR_RETURN enum err crypto_view_add_inline(struct span part_header, struct span text, struct buf *out);

#endif

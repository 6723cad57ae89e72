/*
 * The header of a message on its way out: what stays outside, what goes inside under protection, and what goes nowhere
 * (RFC 9788, with the older "protected-headers" mark for Thunderbird and others that know only that).
 */
#ifndef CRYPTO_PROTECT_H
#define CRYPTO_PROTECT_H

#include "mime/field.h"
#include "mime/part.h"

/* The longest header that is built: the message's own twice (HP-Outer repeats what is outside) and some. */
#define CRYPTO_HEADER_MAX (4u * 1048576u)

enum crypto_protection {
    CRYPTO_PROTECT_CLEAR, /* signed only: the outer fields are as inside */
    CRYPTO_PROTECT_CIPHER /* encrypted: the subject is obscured outside, Comments and Keywords are left out
                           * (hcp_baseline)
                           */
};

/* Adds the header as it leaves unprotected: byte for byte, without Bcc, privyseal's own fields and the subject tag
   (NULL: none). With `encoding` other than that of `root` Content-Transfer-Encoding is replaced. No empty line at the
   end. */
ERR_RETURN enum err crypto_protect_plain(struct span header, const struct mime_part *root, enum mime_encoding encoding,
                                         const char *subject_tag, struct buf *out);
/* Adds the outer fields but the structural ones. */
ERR_RETURN enum err crypto_protect_outer(struct span header, enum crypto_protection protection, const char *subject_tag,
                                         struct buf *out);
/* Adds the whole header of the payload: the protected fields, HP-Outer if they differ outside, the structural fields
   with the hp mark, and the empty line. `root` is the message's, `encoding` that of the payload's body. */
ERR_RETURN enum err crypto_protect_inner(struct span header, const struct mime_part *root, enum mime_encoding encoding,
                                         enum crypto_protection protection, const char *subject_tag, struct buf *out);

#endif

/*
 * The header of a view: outer fields that came on the way, protected fields from the inside (RFC 9788 §4).
 */
#ifndef CRYPTO_OPEN_HEADER_H
#define CRYPTO_OPEN_HEADER_H

#include "base/buf.h"

enum crypto_header_protection {
    CRYPTO_HEADER_UNPROTECTED = 0,
    CRYPTO_HEADER_LEGACY, /* protected-headers="v1": what is inside replaces what is outside */
    CRYPTO_HEADER_RFC9788 /* hp=: and what a person sees comes from the inside alone */
};

/* What the Content-Type of a payload says of its header. Out of memory is an error, never "unprotected". */
ERR_RETURN enum err crypto_header_protection(struct span payload_header, enum crypto_header_protection *protection_out);

struct crypto_header_merge {
    struct span outer; /* the message's header */
    struct span inner; /* the payload's header; not looked at if unprotected */
    enum crypto_header_protection protection;
    bool keeps_outer_from;   /* the inner From is not to be believed (RFC 9788 §4.4) */
    const char *authserv_id; /* see crypto_remove_verdicts */
};

/* Adds all fields of the view but the structural ones, each line of them ended by CRLF and without CR or NUL inside. */
ERR_RETURN enum err crypto_header_merge(const struct crypto_header_merge *merge, struct buf *out);
/* Whether merging would change nothing: each protected field stands outside, too, and nothing is added there. */
ERR_RETURN enum err crypto_header_is_same(const struct crypto_header_merge *merge, bool *is_same_out);
/* Adds the structural fields of `header`, and MIME-Version whether it stands there or not; with `without_marks` the
   Content-Type without the parameters of header protection. */
ERR_RETURN enum err crypto_header_add_structural(struct span header, bool without_marks, struct buf *out);

#endif

/*
 * ASN.1 items one after the other, in BER as mail has it (X.690): just enough to tell what a CMS message is, and to
 * take out what OpenSSL of Debian cannot. Copies nothing; nesting of indefinite lengths is bounded.
 */
#ifndef CRYPTO_BER_H
#define CRYPTO_BER_H

#include "base/buf.h"

struct crypto_ber {
    int tag, class;
    bool is_constructed, is_indefinite;
    struct span content; /* without the end-of-contents octets */
};

/* Takes one whole item off the front of `*rest`; false if there is none. */
bool crypto_ber_take(struct span *rest, struct crypto_ber *item_out);
/* The same, if it is of this class and tag. */
bool crypto_ber_expect(struct span *rest, int class, int tag, struct crypto_ber *item_out);
/* The NID of an OBJECT IDENTIFIER taken off the front; NID_undef if it is unknown or something else stands there. */
int crypto_ber_take_oid(struct span *rest);
/* Hands the octets of an OCTET STRING, which may be in pieces, to `take`, in order; ends with its error. ERR_MALFORMED.
 */
typedef enum err (*crypto_ber_fn)(struct span octets, void *context);
ERR_RETURN enum err crypto_ber_each_octets(const struct crypto_ber *item, crypto_ber_fn take, void *context);
/* Adds them. */
ERR_RETURN enum err crypto_ber_add_octets(const struct crypto_ber *item, struct buf *out);

/* ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY } (RFC 5652 §3): the NID of its
   type, and what stands in the content. NID_undef if it is none, or if anything comes after it. */
int crypto_cms_content(struct span cms, struct span *content_out);

#endif

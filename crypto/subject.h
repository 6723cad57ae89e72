/*
 * The tag in a subject by which a person asks for encryption ("[encrypt]"): found, and taken out again.
 */
#ifndef CRYPTO_SUBJECT_H
#define CRYPTO_SUBJECT_H

#include "base/buf.h"

#define CRYPTO_SUBJECT_MAX 1048576 /* bytes of one subject, raw or decoded */

/* True if the decoded raw `value` holds `tag` (ASCII case ignored). NULL or "" is in no subject. A subject that cannot
   be decoded for lack of memory counts as tagged. */
bool crypto_subject_has_tag(struct span value, const char *tag);
/* Adds the raw value without the tag, wherever it stands. A tag in clear is cut out of the raw bytes with the blank
   after it; one that only decoding brings to light makes the whole value be encoded anew. */
ERR_RETURN enum err crypto_subject_strip(struct span value, const char *tag, struct buf *out);

#endif

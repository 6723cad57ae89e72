/*
 * Content-Type, Content-Disposition and other structured values with parameters (RFC 2045 §5.1, RFC 2183, RFC 2231).
 *
 * Lenient in what mail in the wild gets wrong (blanks, missing quotes, unencoded 8bit), strict in what could be read in
 * two ways: of two parameters with one name the first counts, as in Dovecot.
 */
#ifndef MIME_PARAM_H
#define MIME_PARAM_H

#include "base/buf.h"

#define MIME_PARAM_MAX 4096 /* bytes of one decoded parameter */

/* Reads "type/subtype" off the front of a raw Content-Type value, in lower case; false if it is malformed. */
bool mime_type_parse(struct span value, char *type_out, char *subtype_out, size_t each_size);
/* Adds the value of parameter `name`, unquoted, RFC 2231 continuations joined, charset converted to UTF-8 where it is
   UTF-8, US-ASCII or ISO-8859-1 (others as they are). ERR_NOT_FOUND if absent. */
ERR_RETURN enum err mime_param_get(struct span value, const char *name, struct buf *out);
/* Adds `; name="text"`, quoted as needed; text that is not ASCII becomes RFC 2231 `name*=utf-8''...`. */
ERR_RETURN enum err mime_param_add(struct buf *out, const char *name, struct span text);
/* Copies a raw structured value to `out` without the parameters in `names` (NULL-terminated), everything else byte for
   byte. */
ERR_RETURN enum err mime_param_remove(struct span value, const char *const *names, struct buf *out);

#endif

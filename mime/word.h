/*
 * Encoded words in header fields (RFC 2047, RFC 2231 §5).
 */
#ifndef MIME_WORD_H
#define MIME_WORD_H

#include "base/buf.h"

/* Adds the unfolded `value` with its encoded words decoded to UTF-8 (charsets through iconv); adjacent words are joined
   without the blanks between them; a word that cannot be decoded stays as it is. Bytes that are no UTF-8 become U+FFFD.
   CR, LF and NUL that a word decodes to become blanks. */
ERR_RETURN enum err mime_word_decode(struct span value, struct buf *out);
/* Adds UTF-8 `text` as it must stand in an unstructured field: as it is if it is printable ASCII without "=?", else as
   encoded words of at most 75 bytes that never split a character, separated by CRLF and a blank. */
ERR_RETURN enum err mime_word_encode(struct span text, struct buf *out);

#endif

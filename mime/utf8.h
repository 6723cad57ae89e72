/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef MIME_UTF8_H
#define MIME_UTF8_H

#include "base/span.h"

#define MIME_UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Length in bytes (1 to 4) of the character that begins at byte `at`, or 0 if none does. */
size_t mime_utf8_length(struct span text, size_t at);
bool mime_utf8_is_valid(struct span text);

#endif

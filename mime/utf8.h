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
/* Whether what begins at byte `at` shows as one character and does nothing else to a terminal or to its neighbours:
   false for the controls (C0, DEL, C1: U+0080 to U+009F), for what has the text behind it shown in another order than
   it stands (U+202A to U+202E, U+2066 to U+2069), and for a byte that begins no character. Its bytes, 1 to 4, go to
   `*len_out`. */
bool mime_utf8_is_shown(struct span text, size_t at, size_t *len_out);
/* For people: each of what is not shown becomes "?". Cut at a character where `target` is too small, and ended;
   `target` may be where `text` is. */
void mime_utf8_copy_shown(struct span text, char *target, size_t target_size);

#endif

/*
 * Charsets by name, through iconv.
 *
 * iconv loads a library for each charset that it is asked for: only those that mail is written in are known here, so
 * that nobody reaches the rare ones by mail. A process that may open no files any more knows only what it has loaded
 * before.
 */
#ifndef MIME_CHARSET_H
#define MIME_CHARSET_H

#include "base/span.h"

#include <iconv.h>

/* True for the names of UTF-8 and of its part US-ASCII, and for none at all. */
bool mime_charset_is_utf8(struct span name);
/* True if the name may be asked for; ASCII case ignored. */
bool mime_charset_is_known(struct span name);
/* A converter to UTF-8, to be closed by the caller; (iconv_t)-1 if it is not known or cannot be loaded (errno ENOMEM:
   for want of memory). */
iconv_t mime_charset_open(struct span name);
/* Loads what mail programs search in, for the life of the process. */
void mime_charset_keep(void);

#endif

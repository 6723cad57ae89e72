/* What keyring/web.c, wkd.c and hkp.c share. */
#ifndef KEYRING_WEB_INTERNAL_H
#define KEYRING_WEB_INTERNAL_H

#include "base/buf.h"

/* Adds `value` for a URL's query: all but unreserved bytes as %XX (RFC 3986 §2.1, §2.3). */
ERR_RETURN enum err web_add_escaped(struct span value, struct buf *out);

#endif

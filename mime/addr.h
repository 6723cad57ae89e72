/*
 * Addresses in header fields (RFC 5322 §3.4, with groups, comments, quoted strings, obsolete forms and UTF-8 of RFC
 * 6532) and the one form in which privyseal compares them.
 */
#ifndef MIME_ADDR_H
#define MIME_ADDR_H

#include "base/buf.h"

#define MIME_ADDR_SIZE 321 /* 64 + "@" + 255 + NUL (RFC 5321 §4.5.3.1) */

struct mime_addr {
    struct span display;          /* raw display name (may hold encoded words and quotes), or none */
    char address[MIME_ADDR_SIZE]; /* normal form, see mime_addr_normalise */
};

/* Called for each mailbox in order; returning anything but ERR_OK ends the walk with that value. */
typedef enum err (*mime_addr_fn)(const struct mime_addr *addr, void *context);

/* Walks the mailboxes of a raw address-list value; group members count, empty groups give nothing. ERR_MALFORMED at the
   first thing that is no address (what came before has been reported). At most 10,000 mailboxes (ERR_LIMIT). */
ERR_RETURN enum err mime_addr_walk(struct span value, mime_addr_fn fn, void *context);

/* One bare addr-spec (no display name, no angle brackets) in the form used for comparing: local part unquoted where the
   quotes are not needed and otherwise as it stands, domain in lower case, IDN as A-labels (libidn2). The local part
   keeps its case. ERR_ADDRESS_SYNTAX for anything with CR, LF, NUL, no "@", an empty side, or a side that is too long.
 */
ERR_RETURN enum err mime_addr_normalise(struct span addr_spec, char address_out[MIME_ADDR_SIZE]);
/* True if two normal forms name the same mailbox as keys and rules see it: ASCII case ignored on both sides (OpenPGP
   user IDs and certificates are compared so by every mail program). */
bool mime_addr_is_same(const char *a, const char *b);
/* The part after the last "@" of a normal form. */
const char *mime_addr_domain(const char *address);
/* True if `address` matches `pattern`: an address, "*@domain", "*@*.domain" or "*"; ASCII case ignored. */
bool mime_addr_matches(const char *address, const char *pattern);

#endif

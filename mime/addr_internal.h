/*
 * What the files of the address reader share: a place in a field's value, and the words of the grammar (RFC 5322 §3.2).
 *
 * A function that gives false has met something that the grammar does not know; the scan is then of no more use.
 */
#ifndef MIME_ADDR_INTERNAL_H
#define MIME_ADDR_INTERNAL_H

#include "mime/addr.h"

struct mime_scan {
    struct span text;
    size_t at;
};

/* The next byte, or NUL at the end. A NUL in the text itself is legal nowhere, so the two need no telling apart. */
static inline char mime_scan_peek(const struct mime_scan *scan)
{
    return scan->at < scan->text.len ? scan->text.ptr[scan->at] : '\0';
}

static inline bool mime_scan_is_end(const struct mime_scan *scan)
{
    return scan->at >= scan->text.len;
}

/* Steps over `byte` if it is the next one. */
static inline bool mime_scan_take(struct mime_scan *scan, char byte)
{
    if (mime_scan_is_end(scan) || mime_scan_peek(scan) != byte)
        return false;
    scan->at++;
    return true;
}

bool mime_is_digit_or_letter(char byte);
/* atext (RFC 5322 §3.2.3), widened by UTF8-non-ascii (RFC 6532 §3.2). */
bool mime_is_atext(char byte);
/* dtext, as far as RFC 5321 §4.1.3 puts it into literals: addresses and tags. */
bool mime_is_dtext(char byte);

/* [CFWS]; false if a comment does not end or a line end is no folding. */
bool mime_scan_skip_cfws(struct mime_scan *scan);
/* quoted-string (RFC 5322 §3.2.4), the scan standing at its first quote. */
bool mime_scan_skip_quoted(struct mime_scan *scan);
void mime_scan_skip_atom(struct mime_scan *scan);
/* A domain with the comments and blanks around it. */
bool mime_scan_skip_domain(struct mime_scan *scan);

/* addr-spec = local-part "@" domain (RFC 5322 §3.4.1), brought to normal form; comments and blanks only where
   `has_cfws`. ERR_ADDRESS_SYNTAX (and an empty address) if it is none. What follows it is for the caller to judge. */
ERR_RETURN enum err mime_scan_read_addr_spec(struct mime_scan *scan, bool has_cfws, char address_out[MIME_ADDR_SIZE]);

#endif

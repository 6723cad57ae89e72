/*
 * The bytes between DATA and its end (RFC 5321 §4.5.2), with one end only: CRLF . CRLF.
 *
 * The decoder is where SMTP smuggling is stopped (design 1.1.9): a bare CR, a bare LF or a NUL is never passed on. In
 * strict mode it is remembered and the message is refused once its end has come; in repair mode a bare CR or LF becomes
 * CRLF and a NUL is dropped, and the repaired bytes are looked at anew: a dot line that only repair would make is
 * stuffed content, never an end. BDAT chunks go through the same checks without dots.
 */
#ifndef SMTP_DATA_H
#define SMTP_DATA_H

#include "base/buf.h"

struct smtp_data_decoder {
    int state; /* private to data.c */
    bool is_repairing;
    bool is_chunked;     /* BDAT: no dot-stuffing, the end comes from outside */
    bool has_bare_cr_lf; /* seen so far */
    bool has_nul;
    bool is_ended;
};

void smtp_data_begin(struct smtp_data_decoder *decoder, bool is_repairing, bool is_chunked);
/* Decodes from the front of `bytes` to `out`; `*used_out` says how many bytes were taken: all, unless the end came. */
ERR_RETURN enum err smtp_data_feed(struct smtp_data_decoder *decoder, struct span bytes, struct buf *out,
                                   size_t *used_out);
/* Ends a BDAT message: a CR that is still held back is decided on. */
ERR_RETURN enum err smtp_data_end(struct smtp_data_decoder *decoder, struct buf *out);
/* ERR_OK, ERR_BARE_CR_LF or ERR_NUL: whether what was decoded may be used. */
ERR_RETURN enum err smtp_data_judge(const struct smtp_data_decoder *decoder);

/* Adds at most about `piece_max` bytes of `message` from `*at` on, dot-stuffed, and moves `*at`. When `*at` has reached
   the end, adds CRLF if the last line lacks it, and ".CRLF"; then ERR_END. The message must hold no bare CR, bare LF
   or NUL (ERR_BARE_CR_LF, ERR_NUL: nothing that could be read in two ways is ever sent). After ERR_END it must not be
   called again for this message. */
ERR_RETURN enum err smtp_data_encode(struct span message, size_t *at, size_t piece_max, struct buf *out);

#endif

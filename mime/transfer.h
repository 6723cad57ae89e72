/*
 * Making an entity fit to be signed or sent: 7bit-safe where it must be (RFC 3156 §3 and §5, RFC 6152).
 *
 * Only leaves that need it are encoded anew (text as quoted-printable, all else as base64) with their
 * Content-Transfer-Encoding field replaced; every other byte is borrowed from the source. Leaves and containers
 * lose a Content-Transfer-Encoding of 8bit or binary when nothing in them needs it any more. multipart/signed,
 * multipart/encrypted and leaves that are already encoded are never touched; what remains 8bit because of them is
 * reported.
 */
#ifndef MIME_TRANSFER_H
#define MIME_TRANSFER_H

#include "mime/part.h"
#include "mime/pieces.h"

enum mime_safety {
    MIME_SAFE_7BIT, /* no 8bit, no NUL, no line over 998: fit for a server without 8BITMIME */
    MIME_SAFE_SIGN  /* and no trailing blanks and no "From " lines in what is not encoded: fit to be signed */
};

/* Adds the body of `part` (not its header) to `pieces`, converted as `safety` asks. `*encoding_out` is what the part's
   own Content-Transfer-Encoding must now be (equal to part->encoding if nothing changed), so that the caller who writes
   the header can say so. `*flags_out`: enum mime_flag of what could not be made safe. */
ERR_RETURN enum err mime_transfer_body(const struct mime_part *part, struct span message, enum mime_safety safety,
                                       struct mime_pieces *pieces, enum mime_encoding *encoding_out,
                                       unsigned *flags_out);
/* A fresh boundary: 128 random bits, never contained in base64 or quoted-printable text. */
#define MIME_BOUNDARY_SIZE 40
ERR_RETURN enum err mime_boundary_make(char boundary_out[MIME_BOUNDARY_SIZE]);

#endif

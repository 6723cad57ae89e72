/*
 * What the files behind mime/text.h share: bringing text into the form for searching, piece by piece, and the saved
 * form of a message's text.
 *
 * The saved form is MIME_TEXT_MAGIC, the size (u64), the day sent (i64), and then records, each of a kind (one byte),
 * a length (u32) and that many bytes:
 *
 *   MIME_TEXT_PART     length of the header's text (u32), header's text, body's text; the message's own comes first
 *   MIME_TEXT_FIELD    from (u32), to (u32), name: the value of a field of the message, as offsets in the first part
 *   MIME_TEXT_FORM     length of the name (u32), name, value: of from, to, cc, bcc, subject, in their other form
 *
 * Numbers have their lowest byte first. Names are in lower case.
 */
#ifndef MIME_TEXT_INTERNAL_H
#define MIME_TEXT_INTERNAL_H

#include "mime/text.h"

#include <iconv.h>

#define MIME_TEXT_MAGIC "pst1"
enum mime_text_record { MIME_TEXT_PART = 'P', MIME_TEXT_FIELD = 'F', MIME_TEXT_FORM = 'A' };

/* Text on its way into the form for searching. */
struct mime_text_reader {
    struct buf *out;
    iconv_t handle; /* (iconv_t)-1: UTF-8 */
    char held[32];  /* the beginning of a character whose end has not come */
    size_t held_len;
};
/* An empty charset is UTF-8. ERR_NOT_FOUND if it is not known: the bytes are then taken as UTF-8; ERR_MEMORY. The
   reader is to be finished in any case. */
ERR_RETURN enum err mime_text_reader_init(struct mime_text_reader *reader, struct span charset, struct buf *out);
ERR_RETURN enum err mime_text_reader_feed(struct mime_text_reader *reader, struct span bytes);
/* A character that was never completed is dropped. */
ERR_RETURN enum err mime_text_reader_end(struct mime_text_reader *reader);
void mime_text_reader_fini(struct mime_text_reader *reader);

/* As mime_text_normalise, but ERR_NOT_FOUND if the charset is not known. */
ERR_RETURN enum err mime_text_add_known(struct span text, struct span charset, struct buf *out);

/* Adds the form for searching of a field's value whose lines have been joined: encoded words decoded. */
ERR_RETURN enum err mime_text_add_value(struct span value, struct buf *out);
/* Adds the addresses of a field's value (lines joined) written anew, encoded words as they are: `name <a@b>, c@d`. */
ERR_RETURN enum err mime_text_add_addresses(struct span value, struct buf *out);

#endif

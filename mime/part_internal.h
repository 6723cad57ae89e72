/*
 * What the files of the part parser share: the line being read, and the meaning of a header.
 */
#ifndef MIME_PART_INTERNAL_H
#define MIME_PART_INTERNAL_H

#include "mime/part.h"

/* The longest line that can be a boundary: "--" boundary "--"; blanks after it are not kept. */
#define MIME_LINE_HEAD (2 + MIME_BOUNDARY_MAX + 2)

/* One line of the message, put together from the pieces in which it arrives. Only its beginning is kept. */
struct mime_line {
    size_t at;          /* offset of its first byte */
    size_t len;         /* without the line end */
    size_t text_len;    /* without trailing blanks */
    size_t end_len;     /* 2: CRLF, 1: bare LF, 0: the message ends here */
    unsigned flags;     /* enum mime_flag of its text */
    unsigned end_flags; /* enum mime_flag of its line end */
    bool has_cr;        /* the last byte was a CR, which `len` does not count yet: it may begin the line end */
    char head[MIME_LINE_HEAD];
};

void mime_line_begin(struct mime_line *line, size_t at);
/* Adds the next bytes, which hold no LF. */
void mime_line_add(struct mime_line *line, struct span bytes);
/* Ends the line, with its LF or with the message. */
void mime_line_end(struct mime_line *line, bool has_lf);
/* True if the line is a delimiter of `boundary`: "--" boundary ["--"] *(SP / HTAB). The whole line must match: RFC 2046
   §5.1.1 asks for the beginning alone, but mail programs do not read it so, and what they would show is what counts. */
bool mime_line_is_boundary(const struct mime_line *line, const char *boundary, bool *is_closing_out);

/* True if the line begins with the delimiter of a boundary of `boundary_len` bytes; `*is_all_out`: and holds nothing
   else. */
bool mime_line_begins_with(const struct mime_line *line, const char *boundary, size_t boundary_len,
                           bool *is_closing_out, bool *is_all_out);

/* Fills in type, encoding, kind and boundary of a part from its header. */
ERR_RETURN enum err mime_part_read_header(struct mime_part *part, struct span header);

#endif

/*
 * The map of a message: a tree of offsets into bytes that never change (RFC 5322, RFC 2045-2049).
 *
 * The parser is incremental: it may be fed one byte at a time and gives the same map. It copies nothing out of the
 * message but a few words (types, boundaries) and never fails because of what a message says: what is not a proper
 * multipart is a leaf, as a mail program would show it. It stops with ERR_LIMIT at the limits below, which hold before
 * the interface:
 *
 *   parts                       parts_max       (10,000)
 *   nesting                     depth_max       (100)
 *   one header, in bytes        header_max      (1 MiB)
 *   a boundary                  70 bytes are legal (RFC 2046 §5.1.1); up to MIME_BOUNDARY_MAX are understood
 *
 * Invariants: header_at <= body_at <= body_end; children lie within their parent's body, in order, without overlap; the
 * CRLF before a boundary line belongs to the boundary (RFC 2046 §5.1.1). Lines end at CRLF or at a bare LF, as IMAP
 * servers see them; flags tell where a message has bare ones. Used in keepers and in net (on sealed results); no I/O.
 */
#ifndef MIME_PART_H
#define MIME_PART_H

#include "base/err.h"
#include "base/span.h"

#define MIME_BOUNDARY_MAX 200
#define MIME_TYPE_MAX 128

struct mime_limits {
    size_t parts_max;
    size_t depth_max;
    size_t header_max;
};
#define MIME_LIMITS_DEFAULT ((struct mime_limits){10000, 100, 1048576})

enum mime_kind {
    MIME_LEAF,
    MIME_MULTIPART,
    MIME_MESSAGE /* message/rfc822 and message/global: one child, the enclosed */
};

enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QUOTED_PRINTABLE, MIME_BASE64, MIME_ENCODING_UNKNOWN };

/* What the bytes of a part's header or body (with all that is nested in it) contain. */
enum mime_flag {
    MIME_HAS_8BIT = 1 << 0,
    MIME_HAS_NUL = 1 << 1,
    MIME_HAS_BARE_CR = 1 << 2,
    MIME_HAS_BARE_LF = 1 << 3,
    MIME_HAS_LONG_LINE = 1 << 4,      /* over 998 bytes without the line end */
    MIME_HAS_TRAILING_BLANK = 1 << 5, /* a space or tab before a line end */
    MIME_HAS_FROM_LINE = 1 << 6,      /* a line that begins with "From " */
    MIME_HAS_NO_FINAL_CRLF = 1 << 7
};

struct mime_part {
    struct mime_part *parent, *first_child, *next; /* next: the following sibling */
    enum mime_kind kind;
    enum mime_encoding encoding;
    char type[MIME_TYPE_MAX]; /* lower case, "text"; defaults applied (RFC 2045 §5.2, message/rfc822 in digests) */
    char subtype[MIME_TYPE_MAX];
    char boundary[MIME_BOUNDARY_MAX + 1];
    size_t header_at; /* first byte of the header */
    size_t body_at;   /* first byte after the header's empty line */
    size_t body_end;
    size_t header_lines, body_lines;   /* line ends in each; the header's empty line counts */
    unsigned header_flags, body_flags; /* enum mime_flag */
    unsigned depth;                    /* 0 for the message itself */
    bool is_closed;                    /* multiparts: the closing boundary was seen */
    bool has_preamble, has_epilogue; /* multiparts: other text than line ends before the first or after the last part */
};

struct mime_tree {
    struct mime_part *root;
    size_t parts_len;
    size_t size; /* bytes fed */
};

struct mime_parser;

ERR_RETURN enum err mime_parser_new(struct mime_limits limits, struct mime_parser **parser_out);
/* Takes the next bytes; they need not stay. ERR_LIMIT or ERR_MEMORY end the parse: only mime_parser_free may follow. */
ERR_RETURN enum err mime_parser_feed(struct mime_parser *parser, struct span bytes);
/* Ends the message and hands over the tree (freed with mime_tree_free). */
ERR_RETURN enum err mime_parser_end(struct mime_parser *parser, struct mime_tree **tree_out);
void mime_parser_free(struct mime_parser **parser);

/* All of the above for a message that is wholly in memory. */
ERR_RETURN enum err mime_parse(struct span message, struct mime_limits limits, struct mime_tree **tree_out);

/* Says what a part is, from its header: type, subtype, encoding and kind; the boundary, cut off where it is longer than
   a reader looks at, if the part is a multipart and `*has_boundary_out`. */
typedef enum err (*mime_header_fn)(struct mime_part *part, struct span header, bool *has_boundary_out);
/* The same map as servers see it, whose word on parts counts in IMAP. They fail at nothing (but ERR_MEMORY): what is
   beyond the limits is not taken apart. A line is a boundary if it begins so (RFC 2046 §5.1.1); of several the longest
   counts. A header that a boundary breaks off gives its last line end to it. A multipart that has no parts stays one.
 */
ERR_RETURN enum err mime_parse_as_server(struct span message, struct mime_limits limits, mime_header_fn read_header,
                                         struct mime_tree **tree_out);
void mime_tree_free(struct mime_tree **tree);

/* Slices of `message`, which must be what the tree was made from. The header includes its empty line. */
struct span mime_part_header(const struct mime_part *part, struct span message);
struct span mime_part_body(const struct mime_part *part, struct span message);
struct span mime_part_whole(const struct mime_part *part, struct span message);
/* True if the part's type is `type`/`subtype` (lower case); a NULL subtype matches all. */
bool mime_part_is(const struct mime_part *part, const char *type, const char *subtype);
/* The part after `part` in document order (children before siblings), or NULL. */
struct mime_part *mime_part_after(const struct mime_part *part);

#endif

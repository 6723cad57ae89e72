/*
 * One direction of an IMAP connection cut into units: a command or a response as a whole, which is text up to CRLF with
 * literals in between (RFC 3501 §2.2 and §4.3, RFC 7888, `~{n}` of RFC 3516).
 *
 * Two halves: the splitter takes fragments of text off an evbuffer and announces literals, whose bytes the owner takes
 * itself (so that they can be moved on without being held); the unit keeps what was taken, so that it can be parsed
 * with imap/token.h. Bounded: a fragment by `line_max`, the text of a unit by `text_max`, the literals in one unit by
 * IMAP_LITERALS_MAX. A NUL or a bare LF or CR in text is ERR_MALFORMED: the session ends. Used in net on both legs.
 */
#ifndef IMAP_UNIT_H
#define IMAP_UNIT_H

#include "base/buf.h"

#include <event2/buffer.h>

#define IMAP_LITERALS_MAX 20000

/* What ends a fragment. */
struct imap_literal_mark {
    bool is_there;  /* the fragment ends with {n}, {n+}, {n-} or ~ before any of them */
    bool is_sync;   /* {n}: the sender of a command waits for a continuation */
    bool is_binary; /* ~{n}: may hold NUL */
    uint64_t len;   /* at most UINT32_MAX unless 64 bit numbers are allowed: at most INT64_MAX */
};

struct imap_splitter {
    struct buf line;       /* the fragment; valid until the next call; a secret buffer on the client's leg */
    size_t scanned;        /* of the input, without a line end */
    uint64_t literal_left; /* bytes of the announced literal that the owner still has to take */
};

void imap_splitter_init(struct imap_splitter *splitter, size_t line_max, bool is_secret);
void imap_splitter_fini(struct imap_splitter *splitter);
/* Takes the next fragment, with its CRLF, off `input` (a secret is wiped there). ERR_AGAIN: not complete yet.
   ERR_LINE_TOO_LONG, ERR_MALFORMED. Must not be called while literal_left is not 0. With a mark literal_left is set. */
ERR_RETURN enum err imap_splitter_text(struct imap_splitter *splitter, struct evbuffer *input, struct span *text_out,
                                       struct imap_literal_mark *mark_out);
/* The owner has taken `count` bytes of the literal off the input. */
void imap_splitter_took(struct imap_splitter *splitter, size_t count);
/* Reads the literal mark at the end of a fragment that ends with CRLF; ERR_MALFORMED for one whose number is none. */
ERR_RETURN enum err imap_literal_mark(struct span fragment, struct imap_literal_mark *mark_out);

/* Where a literal's content is. */
enum imap_literal_place {
    IMAP_LITERAL_HERE, /* in the unit's text, right after its mark's CRLF, as on the wire */
    IMAP_LITERAL_FILE, /* in a memfd */
    IMAP_LITERAL_GONE  /* passed on, or thrown away */
};

struct imap_literal {
    size_t at; /* offset in the text of the byte after the mark's CRLF */
    uint64_t len;
    enum imap_literal_place place;
    int fd; /* IMAP_LITERAL_FILE: owned by the unit until taken; else -1 */
};

struct imap_unit {
    struct buf text;               /* fragments joined, with their CRLFs, and the literals that are HERE */
    struct imap_literal *literals; /* at most IMAP_LITERALS_MAX; more are ERR_LIMIT */
    size_t literals_len, literals_capacity;
};

void imap_unit_init(struct imap_unit *unit, size_t text_max, bool is_secret);
/* Empties for the next unit; closes files nobody took. */
void imap_unit_clear(struct imap_unit *unit);
void imap_unit_fini(struct imap_unit *unit);
ERR_RETURN enum err imap_unit_text(struct imap_unit *unit, struct span fragment);
/* Notes that the literal announced by the last fragment is HERE (its content follows by imap_unit_literal_bytes), in
   `fd` (taken over) or GONE. ERR_LIMIT when there are too many. */
ERR_RETURN enum err imap_unit_literal(struct imap_unit *unit, enum imap_literal_place place, uint64_t len, int fd);
ERR_RETURN enum err imap_unit_literal_bytes(struct imap_unit *unit, struct span bytes);
/* False if a literal's content is elsewhere: the text then cannot go on as it stands, its marks would promise what does
   not come. */
bool imap_unit_is_whole(const struct imap_unit *unit);
/* Hands the file of literal `index` over; -1 if it is not in a file. */
int imap_unit_take_file(struct imap_unit *unit, size_t index);

#endif

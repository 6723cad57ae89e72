/*
 * The items of FETCH: as a client asks for them and as a server answers (RFC 3501 §6.4.5 and §7.4.2).
 */
#ifndef IMAP_FETCH_H
#define IMAP_FETCH_H

#include "imap/token.h"

#define IMAP_FETCH_ITEMS_MAX 128
#define IMAP_SECTION_DEPTH_MAX 100

enum imap_item_kind {
    /* the server's word stands, whatever the view is */
    IMAP_ITEM_UID,
    IMAP_ITEM_FLAGS,
    IMAP_ITEM_INTERNALDATE,
    IMAP_ITEM_MODSEQ,
    IMAP_ITEM_OTHER, /* X-GM-MSGID, X-GM-THRID, X-GM-LABELS, EMAILID, THREADID, SAVEDATE: `name` */
    /* answered for the view */
    IMAP_ITEM_SIZE, /* RFC822.SIZE */
    IMAP_ITEM_ENVELOPE,
    IMAP_ITEM_BODY, /* BODY without a section */
    IMAP_ITEM_BODYSTRUCTURE,
    IMAP_ITEM_SECTION,       /* BODY[...], BODY.PEEK[...] */
    IMAP_ITEM_RFC822,        /* as BODY[], under its own name */
    IMAP_ITEM_RFC822_HEADER, /* as BODY.PEEK[HEADER] */
    IMAP_ITEM_RFC822_TEXT,   /* as BODY[TEXT] */
    IMAP_ITEM_KIND_COUNT
};

enum imap_section_text {
    IMAP_TEXT_ALL, /* nothing after the numbers */
    IMAP_TEXT_HEADER,
    IMAP_TEXT_FIELDS,
    IMAP_TEXT_FIELDS_NOT,
    IMAP_TEXT_TEXT,
    IMAP_TEXT_MIME
};

struct imap_section {
    uint32_t numbers[IMAP_SECTION_DEPTH_MAX];
    size_t numbers_len;
    enum imap_section_text text;
    struct imap_string *fields; /* FIELDS, FIELDS_NOT: owned array; the strings point into the command */
    size_t fields_len;
    bool is_partial;
    uint64_t offset, count; /* <offset.count> of a command; of a response <offset> alone */
};

struct imap_item {
    enum imap_item_kind kind;
    bool is_peek;
    struct span name;  /* as the client wrote it, up to a "[" */
    struct span raw;   /* the whole item as the client wrote it */
    struct span label; /* as it must stand in the answer: "BODY[HEADER.FIELDS (From To)]<0>" but the count; points into
                          fetch->labels */
    struct imap_section section;
};

struct imap_fetch {
    struct imap_item items[IMAP_FETCH_ITEMS_MAX];
    size_t len;
    struct buf labels;
    bool has_uid;          /* among the items */
    bool needs_view;       /* any item is answered for the view */
    bool sets_seen;        /* any item that is no PEEK */
    bool needs_body;       /* any item that the header alone cannot answer */
    struct span modifiers; /* "(CHANGEDSINCE 12 VANISHED)", raw, or none */
    bool has_changedsince, has_vanished;
    uint64_t changedsince;
};

/* Parses what follows the set of a FETCH command: items or a macro (ALL, FAST, FULL) and modifiers, up to the end.
   Points into the cursor's text. ERR_COMMAND_SYNTAX; ERR_COMMAND_UNKNOWN for an item that is hidden or not known
   (BINARY[], PREVIEW, ...). */
ERR_RETURN enum err imap_fetch_parse(struct imap_cursor *cursor, struct imap_fetch *fetch_out);
void imap_fetch_fini(struct imap_fetch *fetch);

/* One item of a FETCH response: its name (with section and offset, raw) and its raw value. */
struct imap_answer {
    struct span label;
    struct span value;
};
#define IMAP_ANSWERS_MAX 160 /* more than the items that one may ask for */
/* Reads a whole FETCH response of a server. */
ERR_RETURN enum err imap_fetch_response(const struct imap_unit *unit, uint32_t *number_out,
                                        struct imap_answer *answers_out, size_t *len_out);
/* "* n FETCH (...)" of a server: the cursor stands after "FETCH ". Splits the list. ERR_MALFORMED, ERR_LIMIT. */
ERR_RETURN enum err imap_fetch_answers(struct imap_cursor *cursor, struct imap_answer *answers_out, size_t *len_out);
/* Puts the answers of one more response to those of `list` ("(UID 4 FLAGS ())", or empty), of which those with the same
   labels give way; literals must be wholly there. On failure (ERR_LIMIT beyond the buffer's maximum, ERR_MALFORMED,
   ERR_MEMORY) the list is as it was. */
ERR_RETURN enum err imap_answers_gather(struct buf *list, const struct imap_answer *answers, size_t len);
/* The value of the answer with this label (ASCII case ignored), or SPAN_NONE. */
struct span imap_answer_find(const struct imap_answer *answers, size_t len, const char *label);
/* True for labels that speak of the message's content: BODY..., RFC822..., ENVELOPE, BINARY..., PREVIEW, SNIPPET. */
bool imap_answer_is_content(const struct imap_answer *answer);

#endif

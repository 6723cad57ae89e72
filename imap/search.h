/*
 * The search program of SEARCH as a tree (RFC 3501 §6.4.4, RFC 4731 ESEARCH, RFC 5032 WITHIN, RFC 5182 SEARCHRES, RFC
 * 7162 MODSEQ, RFC 8514 SAVEDATE, RFC 8474 EMAILID).
 *
 * Leaves are of two kinds: the server's (flags, dates, sets, ...), kept as raw text to be asked upstream, and the
 * view's (header, body, text, size, sent date), which name what to look for in UTF-8. Answers are bit sets over a list
 * of messages that the caller made; combining them is pure.
 */
#ifndef IMAP_SEARCH_H
#define IMAP_SEARCH_H

#include "imap/set.h"
#include "imap/token.h"
#include "mime/text.h"

#define IMAP_SEARCH_NODES_MAX 1000
#define IMAP_SEARCH_DEPTH_MAX 100

enum imap_search_kind {
    IMAP_SEARCH_AND, /* of all children; none: true */
    IMAP_SEARCH_OR,
    IMAP_SEARCH_NOT,
    IMAP_SEARCH_SERVER, /* a leaf, or a whole subtree, that no view changes: `raw` */
    IMAP_SEARCH_VIEW    /* `leaf` */
};

struct imap_search_node {
    enum imap_search_kind kind;
    size_t first_child, next; /* indices; 0: none (0 is the root) */
    struct span raw;          /* as the client wrote it */
    size_t leaf;              /* VIEW: index into search->leaves */
    size_t server;            /* SERVER: its number among those, in document order */
};

struct imap_search {
    struct imap_search_node nodes[IMAP_SEARCH_NODES_MAX]; /* [0] is an AND over the program's keys */
    size_t nodes_len;
    struct mime_text_leaf *leaves; /* owned; see mime/text.h */
    size_t leaves_len;
    size_t servers_len;
    /* RETURN (...) */
    bool is_extended; /* RETURN was there: the answer is ESEARCH */
    bool wants_min, wants_max, wants_all, wants_count, wants_save;
    bool has_modseq;     /* a MODSEQ key: the answer carries the highest mod-sequence */
    bool has_saved_set;  /* "$" is named */
    struct span charset; /* as given, or none */
    struct span program; /* raw: all after RETURN (...), with CHARSET */
    struct span keys;    /* raw: the keys alone */
};

/* Parses what follows "SEARCH " (or "UID SEARCH "). Points into the cursor's text; strings of view leaves are converted
   from the charset and normalised. Subtrees without view leaves become one SERVER node each. ERR_COMMAND_SYNTAX;
   ERR_NOT_FOUND: the charset is not known (NO [BADCHARSET]); ERR_REFUSED: a key that cannot be answered for views
   (X-GM-RAW, FUZZY; NO [CANNOT]); ERR_LIMIT. */
ERR_RETURN enum err imap_search_parse(struct imap_cursor *cursor, struct imap_search *search_out);
void imap_search_fini(struct imap_search *search);
/* True if no answer depends on views: the server may answer all. */
bool imap_search_is_server(const struct imap_search *search);

/* Bits over a list of `len` messages. `servers[i]` is what SERVER node number i is true for, `leaves[i]` likewise for
   view leaves; `result_out` has room for (len + 7) / 8 bytes. */
void imap_search_combine(const struct imap_search *search, const uint8_t *const *servers, const uint8_t *const *leaves,
                         size_t len, uint8_t *result_out);

/* Adds "* SEARCH 1 2 3" CRLF or "* ESEARCH (TAG "a") [UID] ..." CRLF for `found` (numbers or UIDs). modseq 0: none. */
ERR_RETURN enum err imap_search_answer(const struct imap_search *search, struct span tag, bool is_uid,
                                       const struct imap_set *found, uint64_t modseq, struct buf *out);

#endif

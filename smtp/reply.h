/*
 * SMTP replies (RFC 5321 §4.2, RFC 2034): read line by line from a server, written to a client.
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "base/buf.h"

#define SMTP_REPLY_TEXT_MAX 16384 /* text of one reply, all lines */
#define SMTP_REPLY_LINE_MAX 2048

struct smtp_reply {
    int code;          /* 200-599 */
    char enhanced[12]; /* "2.1.5", or "" if the reply has none */
    struct buf text;   /* the lines without code and enhanced code, separated by LF */
};

void smtp_reply_init(struct smtp_reply *reply);
void smtp_reply_fini(struct smtp_reply *reply);
/* Sets code, enhanced code (NULL: none) and text. LF in the text separates lines, other control
   bytes become blanks. ERR_INTERNAL if code and enhanced code do not go together. */
ERR_RETURN enum err smtp_reply_set(struct smtp_reply *reply, int code, const char *enhanced, const char *text);
/* The reply that the table of base/err.h gives for `err`, with ": detail" appended if `detail` is not NULL. */
ERR_RETURN enum err smtp_reply_of_err(struct smtp_reply *reply, enum err err, const char *detail);
ERR_RETURN enum err smtp_reply_copy(const struct smtp_reply *from, struct smtp_reply *to);

/* Takes one line (without CRLF) of a reply under way: ERR_AGAIN after "250-...", ERR_OK after the last line,
   ERR_UPSTREAM_PROTOCOL if the line is no reply line, its code differs from the lines before, or a limit is passed. A
   reply must have been initialised (or cleared) before its first line. */
ERR_RETURN enum err smtp_reply_feed(struct smtp_reply *reply, struct span line);
void smtp_reply_clear(struct smtp_reply *reply);
/* Adds the reply as it goes over the wire, CRLF and all; lines beyond 512 octets are folded, but for 334 challenges. */
ERR_RETURN enum err smtp_reply_format(const struct smtp_reply *reply, struct buf *out);

static inline bool smtp_reply_is_ok(const struct smtp_reply *reply)
{
    return reply->code / 100 == 2;
}

#endif

/*
 * The last look at what streams through: no message that was taken for plain shows a verdict of privyseal's (design
 * 1.1.5), whatever the server said of it before.
 *
 * It watches the header of a message (BODY[], BODY[HEADER...], RFC822, RFC822.HEADER, from its beginning on) go by,
 * piece by piece, and makes the last letter of the name of a verdict field another one: sizes stay, and no reader of
 * verdicts finds it. Nothing is held back for that.
 */
#ifndef PROXY_IMAP_GUARD_H
#define PROXY_IMAP_GUARD_H

#include "base/buf.h"

struct imap_guard {
    bool is_watching; /* the bytes that come belong to a message's header */
    bool is_line_empty;
    size_t matched; /* of the field's name, at the beginning of a line */
    bool is_matching;
};

/* A fragment of a FETCH response goes by: whether the literal after it, if there is one, begins with a message's
   header. If the fragment itself holds a verdict, as a quoted string, `changed_out` gets it without; else nothing is
   added. */
ERR_RETURN enum err imap_guard_text(struct imap_guard *guard, struct span text, struct buf *changed_out);
/* The next bytes of the literal, which are changed where they stand. */
void imap_guard_bytes(struct imap_guard *guard, char *bytes, size_t len);

#endif

/*
 * Address lists as mail servers read them for ENVELOPE and SEARCH: whatever stands in a field gives some addresses
 * (RFC 5322 §3.4 and §4.4, and all that is none). For deciding who a message is from or goes to there is mime/addr.h.
 */
#ifndef MIME_MAILBOX_H
#define MIME_MAILBOX_H

#include "base/buf.h"

enum mime_mailbox_kind {
    MIME_MAILBOX,     /* what is missing in it reads MISSING_MAILBOX or MISSING_DOMAIN */
    MIME_GROUP_BEGIN, /* `local` is the group's name */
    MIME_GROUP_END
};

/* Each may be none (NULL). Quotes, escapes and folding are taken away; encoded words stay. */
struct mime_mailbox {
    enum mime_mailbox_kind kind;
    struct span name; /* display name, or the last comment if there is no other */
    struct span route;
    struct span local;
    struct span domain;
};

/* Returning anything but ERR_OK ends the walk with that value. The spans are valid during the call. */
typedef enum err (*mime_mailbox_fn)(const struct mime_mailbox *mailbox, void *context);

/* Calls `fn` for each mailbox, and where groups begin and end, in order; what cannot be read ends the list. At most
   100,000 (the rest is left out). ERR_MEMORY, or what `fn` gave. */
ERR_RETURN enum err mime_mailbox_walk(struct span value, mime_mailbox_fn fn, void *context);

#endif

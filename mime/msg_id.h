/*
 * Message IDs in Message-ID, In-Reply-To and References (RFC 5322 §3.6.4), read as tolerantly as mail programs do that
 * copy them from one message to the next.
 */
#ifndef MIME_MSG_ID_H
#define MIME_MSG_ID_H

#include "base/span.h"

/* Called for each ID in order: what stands between "<" and ">", which may be folded and hold blanks. */
typedef void (*mime_msg_id_fn)(struct span id, void *context);

/* Walks the IDs of a raw value. A "<" or the end of the value ends an ID as ">" does; empty ones are left out, and so
   are the words around them (RFC 5322 §4.5.4). In a value without any "<" each word is an ID, and so is the whole. */
void mime_msg_id_walk(struct span value, mime_msg_id_fn fn, void *context);

/* True for what may stand inside an ID and is no part of it: blanks and line ends. */
bool mime_msg_id_is_blank(char byte);

#endif

/*
 * Questions to the finder process, without waiting for it: net's end of the line.
 *
 * A question has an answer within its time, or fails with ERR_LOOKUP: also when there is no finder, or when it ends
 * meanwhile. Answers come in any order. An answer that is malformed ends the line.
 */
#ifndef PROXY_FINDERLINK_H
#define PROXY_FINDERLINK_H

#include "base/ipc.h"

#include <event2/event.h>

struct proxy_finderlink;
struct proxy_finder_request;

/* The line is lost: another is wanted (proxy_finderlink_connect). */
typedef void (*proxy_finder_lost_fn)(void *context);

ERR_RETURN enum err proxy_finderlink_new(struct event_base *base, proxy_finder_lost_fn on_lost, void *context,
                                         struct proxy_finderlink **link_out);
/* Questions that are open are forgotten; their functions do not fire. */
void proxy_finderlink_free(struct proxy_finderlink **link);
/* Takes a new socket to the finder over. */
void proxy_finderlink_connect(struct proxy_finderlink *link, int socket);

struct proxy_finder_answer {
    uint32_t seconds;    /* how long it counts */
    uint32_t pieces_len; /* how many certificates and keys were found */
    bool is_partial;     /* something could not be asked, and may have known more */
    int file;            /* what was said (keyring/found.h), a sealed memfd, borrowed during the call; -1: nothing */
};
/* Fires once, later, unless cancelled; with another `err` than ERR_OK `answer` is NULL. */
typedef void (*proxy_finder_fn)(enum err err, const struct proxy_finder_answer *answer, void *context);

/* Asks the sources of one stage (proxy/config.h) for the keys of `address`. `fingerprint`: of a key of it that is
   known; sources that can be are asked for this one alone. "": of none, but what has become of the address's keys is
   asked anew, as it is with one, whatever was answered before. NULL: any key is wanted, and an answer that counts still
   will do. */
ERR_RETURN enum err proxy_finder_find(struct proxy_finderlink *link, const char *address, size_t stage,
                                      const char *fingerprint, uint32_t timeout_ms, proxy_finder_fn fn, void *context,
                                      struct proxy_finder_request **request_out);
/* `fn` will not fire. Clears the caller's pointer; NULL is nothing to cancel. */
void proxy_finder_cancel(struct proxy_finder_request **request);

#endif

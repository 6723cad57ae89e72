/*
 * From a whole message to its delivery, all or an honest failure (design 1.3):
 *
 *   inspect (keeper) -> what a former try has delivered, and whether it answers encrypted mail (vault) -> plan
 *   -> seal every group (keepers) -> send group by group
 *
 * Nothing is sent before every group is sealed. A record is durable before a second group starts. From the first 250 of
 * the upstream on the remaining groups are finished even if the client has gone.
 */
#ifndef PROXY_SUBMIT_H
#define PROXY_SUBMIT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct proxy_session;
struct proxy_submit;

/* Begins with the message in the sealed memfd `fd`, which it takes over. The client is answered in every case. */
void proxy_submit_begin(struct proxy_session *session, int fd, size_t size);
/* The session's upstream is gone (and freed). */
void proxy_submit_lost(struct proxy_submit *submit, enum err why, bool is_in_doubt);
/* The session's client is gone (and freed): ends the submission unless it has to be finished. May end the session. */
void proxy_submit_client_gone(struct proxy_submit *submit);
/* Forgets everything at once. */
void proxy_submit_free(struct proxy_submit **submit);

#endif

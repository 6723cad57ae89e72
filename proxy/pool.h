/*
 * Keepers and the jobs that wait for them, seen from net.
 *
 * A job goes to an idle keeper of its account; if there is none and the bounds allow, the master is asked for another;
 * else it waits its turn. Opening, of which there may be thousands, waits behind all else and leaves one place free, so
 * that sending never waits for a mailbox to be read. A keeper that dies or takes too long fails the one job it had
 * (ERR_WORKER), which is not tried again; only unlocking, which waits for a person, takes as long as it takes, in a
 * keeper beside the others. A keeper that is idle for a minute is let go.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "base/ipc.h"
#include "proxy/config.h"

#include <event2/event.h>

struct proxy_pool;
struct proxy_job;

/* Gets the keeper's answer after its error, or `err` alone (then `answer` is NULL). What it does not take of the
   answer's files is closed afterwards. */
typedef void (*proxy_job_fn)(enum err err, struct ipc_in *answer, void *context);

ERR_RETURN enum err proxy_pool_new(struct event_base *base, const struct config *config, int master,
                                   struct proxy_pool **pool_out);
void proxy_pool_free(struct proxy_pool **pool);

/* Submits a job; takes `request` over (sent or finished in any case). With ERR_OK `fn` fires exactly once, later,
   unless the job is cancelled. */
ERR_RETURN enum err proxy_pool_submit(struct proxy_pool *pool, size_t account, struct ipc_out *request, proxy_job_fn fn,
                                      void *context, struct proxy_job **job_out);
/* `fn` will not fire; a job that has begun runs to its end and its answer is dropped. Clears `*job`. */
void proxy_pool_cancel(struct proxy_job **job);

/* What the master says. The pool owns `socket` from here on. */
void proxy_pool_keeper(struct proxy_pool *pool, size_t account, uint32_t pid, int socket);
void proxy_pool_no_keeper(struct proxy_pool *pool, size_t account);
/* There is a new vault or a new finder, to which the keepers that are there have no line: they finish what they do and
   are let go. */
void proxy_pool_renew(struct proxy_pool *pool);

#endif

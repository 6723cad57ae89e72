/*
 * One client session of the SMTP proxy: the server side towards the mail program, the client side towards the account's
 * upstream, and what joins them.
 *
 * Lives in net. A session is bound to an account when the upstream has accepted the login, and never to another
 * afterwards. It frees itself when the client is gone and nothing of it is under way.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "proxy/config.h"

struct proxy_net;
struct proxy_session;

#define PROXY_HOST_SIZE 64

/* Takes the accepted socket over (also on failure); `host` is the client's address as text. */
ERR_RETURN enum err proxy_session_new(struct proxy_net *net, const struct config_listener *listener, int fd,
                                      const char *host);
const char *proxy_session_host(const struct proxy_session *session);
/* The net process drains: a session without a transaction ends now, others when theirs is done. */
void proxy_session_drain(struct proxy_session *session);
/* The session after this one in the net process's list, or NULL. */
struct proxy_session *proxy_session_next(struct proxy_session *session);
/* Ends everything at once, for the end of the process. */
void proxy_session_free(struct proxy_session *session);

#endif

/*
 * The master process: reads the configuration, binds sockets, starts the agents and the other processes, restarts what
 * dies, and never looks at mail (design, section 3).
 */
#ifndef PROXY_MASTER_H
#define PROXY_MASTER_H

#include "proxy/config.h"

/* Runs the proxy in the foreground until SIGTERM or SIGINT has drained it. When it is ready, one line "ready NAME
   HOST:PORT" for each listening address and then "ready" go to standard output, and READY=1 to $NOTIFY_SOCKET. SIGHUP
   reads `config_file` again (NULL: the place it was found) and hands new sessions to a new net process; a configuration
   with an error changes nothing. Takes `config` over. ERR_OK after an orderly end. */
ERR_RETURN enum err proxy_serve(struct config *config, const char *config_file);

#endif

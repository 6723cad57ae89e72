/*
 * The listening sockets: bound by the master (which may be root), served by net processes.
 */
#ifndef PROXY_LISTEN_H
#define PROXY_LISTEN_H

#include "proxy/config.h"

struct proxy_socket {
    int fd;
    size_t listener; /* index into config.listeners */
    char host[64];
    int port; /* as configured; 0 when the kernel chose */
    int bound_port;
};

struct proxy_sockets {
    struct proxy_socket *items;
    size_t len;
};

/* Binds every address of `config`. Sockets of `old` (may be NULL) with the same address and configured port are taken
   over; `old` is empty afterwards only on success. */
ERR_RETURN enum err proxy_listen(const struct config *config, struct proxy_sockets *old,
                                 struct proxy_sockets *sockets_out);
/* Closes and frees. */
void proxy_listen_close(struct proxy_sockets *sockets);

#endif

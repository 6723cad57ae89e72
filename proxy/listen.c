#include "proxy/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool to_address(const char *host, int port, union address *address, socklen_t *len)
{
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons((uint16_t)port);
        *len = sizeof(address->v4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)port);
        *len = sizeof(address->v6);
        return true;
    }
    return false;
}

static int port_of(int fd)
{
    union address address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, &address.any, &len) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

static enum err bind_one(struct proxy_socket *item)
{
    union address address;
    socklen_t len;
    const int yes = 1;
    if (!to_address(item->host, item->port, &address, &len))
        return ERR_CONFIG;
    item->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (item->fd < 0)
        return log_failure(err_of_errno(errno), "a socket for %s", item->host);
    setsockopt(item->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (address.any.sa_family == AF_INET6)
        setsockopt(item->fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    if (bind(item->fd, &address.any, len) != 0 || listen(item->fd, SOMAXCONN) != 0) {
        log_error("cannot listen at %s port %d: %s", item->host, item->port, strerror(errno));
        return ERR_IO;
    }
    item->bound_port = port_of(item->fd);
    return ERR_OK;
}

/* Takes the socket for the same address out of `old`, if there is one. */
static bool take_over(struct proxy_sockets *old, struct proxy_socket *item)
{
    for (size_t i = 0; old != NULL && i < old->len; i++) {
        struct proxy_socket *candidate = &old->items[i];
        if (candidate->fd >= 0 && candidate->port == item->port && strcmp(candidate->host, item->host) == 0) {
            item->fd = fcntl(candidate->fd, F_DUPFD_CLOEXEC, 0);
            item->bound_port = candidate->bound_port;
            return item->fd >= 0;
        }
    }
    return false;
}

enum err proxy_listen(const struct config *config, struct proxy_sockets *old, struct proxy_sockets *sockets_out)
{
    size_t len = 0;
    for (size_t i = 0; i < config->listeners_len; i++)
        len += config->listeners[i].at_len;
    struct proxy_sockets sockets = {.items = calloc(len + 1, sizeof(*sockets.items))};
    if (sockets.items == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < config->listeners_len; i++) {
        for (size_t j = 0; j < config->listeners[i].at_len; j++) {
            struct proxy_socket *item = &sockets.items[sockets.len++];
            *item = (struct proxy_socket){.fd = -1, .listener = i, .port = config->listeners[i].at[j].port};
            memcpy(item->host, config->listeners[i].at[j].host, sizeof(item->host));
            enum err err = take_over(old, item) ? ERR_OK : bind_one(item);
            if (err != ERR_OK) {
                proxy_listen_close(&sockets);
                return err;
            }
        }
    }
    if (old != NULL)
        proxy_listen_close(old);
    *sockets_out = sockets;
    return ERR_OK;
}

void proxy_listen_close(struct proxy_sockets *sockets)
{
    for (size_t i = 0; i < sockets->len; i++)
        if (sockets->items[i].fd >= 0)
            close(sockets->items[i].fd);
    free(sockets->items);
    *sockets = (struct proxy_sockets){NULL, 0};
}

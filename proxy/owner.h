/*
 * Whose socket is at the other end of a loopback connection (design 1.1.7).
 *
 * An upstream's OK does not open keys by itself: on loopback the client's socket must belong to privyseal's own user or
 * to root. The kernel is asked through NETLINK_SOCK_DIAG on a socket that is opened before the sandbox closes.
 */
#ifndef PROXY_OWNER_H
#define PROXY_OWNER_H

#include "base/conn.h"

#include <sys/types.h>

/* Opens the socket to the kernel; the caller closes it. */
ERR_RETURN enum err proxy_owner_open(int *diag_out);
/* The user that owns the peer's end of the connected loopback socket `fd`. ERR_NOT_FOUND if the kernel knows of none
   (it has closed already). */
ERR_RETURN enum err proxy_owner_of(int diag, int fd, uid_t *uid_out);
/* ERR_OK if the client may log in: its socket is on loopback and belongs to privyseal's own user or to root. Else
   ERR_NOT_OWNER, with a line in the log. */
ERR_RETURN enum err proxy_owner_check(int diag, struct conn *client);

#endif

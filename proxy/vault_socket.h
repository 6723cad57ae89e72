/*
 * The command line's way to a running vault: a socket below the state directory, open to our own user and root alone.
 *
 * The master listens and hands each accepted connection to the vault, which serves it like one of net's.
 */
#ifndef PROXY_VAULT_SOCKET_H
#define PROXY_VAULT_SOCKET_H

#include "proxy/config.h"

/* Listens at <state>/run/vault (0600), non-blocking. ERR_BUSY: somebody answers there already. */
ERR_RETURN enum err proxy_vault_socket_listen(const struct config *config, int *listener_out);
/* Closes it and takes its name away. */
void proxy_vault_socket_close(const struct config *config, int *listener);
/* Accepts a connection of our own user, of the configured one or of root; ERR_NOT_OWNER for others, who are turned
   away. ERR_AGAIN: there is none. A client that does not read its answers holds the vault up for a few seconds only. */
ERR_RETURN enum err proxy_vault_socket_accept(const struct config *config, int listener, int *fd_out);

/* Connects to the vault of a `serve` that runs; ERR_NOT_FOUND: none runs. */
ERR_RETURN enum err proxy_vault_socket_connect(const struct config *config, int *fd_out);

#endif

/*
 * The command line's way to a running vault: a socket below the state directory, open to our own user and root alone.
 *
 * The master listens and hands each accepted connection to the vault. Our own processes run as our own user, too, and
 * a keeper may connect to sockets, as gpg must: so who comes shows first what stands in a file beside the socket, made
 * anew by each `serve`. A keeper's sandbox opens no such file (Landlock). Where the kernel lacks that, an account's
 * keeper is kept away only if there are others, by the mount namespace that hides the folder.
 */
#ifndef PROXY_VAULT_SOCKET_H
#define PROXY_VAULT_SOCKET_H

#include "base/secret.h"
#include "proxy/config.h"

#define PROXY_VAULT_PROOF_SIZE 32

/* Listens at <state>/run/vault (0600), non-blocking, and makes <state>/run/vault.proof (0600). ERR_BUSY: somebody
   answers there already. */
ERR_RETURN enum err proxy_vault_socket_listen(const struct config *config, int *listener_out);
/* Closes it and takes its name away, and the file. */
void proxy_vault_socket_close(const struct config *config, int *listener);
/* Accepts a connection of our own user, of the configured one or of root; ERR_NOT_OWNER for others, who are turned
   away. ERR_AGAIN: there is none. A client that does not read its answers holds the vault up for a few seconds only. */
ERR_RETURN enum err proxy_vault_socket_accept(const struct config *config, int listener, int *fd_out);

/* What they must show, for the vault that gets them. */
ERR_RETURN enum err proxy_vault_socket_proof(const struct config *config, struct secret *proof_out);

/* Connects to the vault of a `serve` that runs, and shows it what stands in the file; ERR_NOT_FOUND: none runs;
   ERR_NOT_OWNER: the file cannot be read. */
ERR_RETURN enum err proxy_vault_socket_connect(const struct config *config, int *fd_out);

#endif

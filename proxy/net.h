/*
 * The net process: the event loop with every client and upstream connection. It never blocks, starts no program, opens
 * no file and touches no private key of mail; all it has was handed to it (design, section 3).
 *
 * Invariants: what it knows of the world outside the loop comes through three kinds of sockets: the master (keepers,
 * drain), the vault (delivery records) and the keepers (jobs).
 */
#ifndef PROXY_NET_H
#define PROXY_NET_H

#include "proxy/listen.h"

/* Runs in a child of the master until drained or the master is gone; returns the exit status. */
int proxy_net_main(const struct config *config, const struct proxy_sockets *sockets, int master);

#endif

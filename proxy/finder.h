/*
 * The finder process: asks others for keys, and issuers for what they have revoked, over the network. What they say is
 * judged by who asked the finder.
 *
 * Net asks it for an address; it asks the directories whose configuration says that they may be asked for that address,
 * and no other. Answers are kept in memory for as long as the configuration says, questions for the same address are
 * joined. Keepers ask it about chains, which it verifies itself before it asks anybody: a keeper that somebody else has
 * taken over cannot make it connect where no issuer that the account trusts has said so.
 * It has no key, no mail and no file; passwords of directories are known to it alone. It ends when the master's
 * socket and those of all its clients have closed: after a reload the net processes that drain keep the finder that
 * they have.
 */
#ifndef PROXY_FINDER_H
#define PROXY_FINDER_H

#include "proxy/config.h"

/* Runs in a child of the master; serves each client that arrives over `control`. Returns the exit status. */
int proxy_finder_main(const struct config *config, int control);

#endif

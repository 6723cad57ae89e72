/*
 * The vault process: sole opener of the store's files while `serve` runs.
 *
 * It answers requests from net processes in the order in which they came; what it says is done is on disk. No network,
 * no other program, no mail is parsed here. It ends when the master's socket closes.
 */
#ifndef PROXY_VAULT_H
#define PROXY_VAULT_H

#include "proxy/config.h"

/* Runs in a child of the master: opens the store, enters the sandbox, serves `control` (from the master) and each
   client that arrives over it. Returns the exit status. */
int proxy_vault_main(const struct config *config, int control);

#endif

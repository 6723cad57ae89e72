/*
 * The vault process: sole opener of the store's files while `serve` runs.
 *
 * It answers requests from net processes in the order in which they came; what it says is done is on disk. No network,
 * no other program, no mail is parsed here. It ends when the master's socket closes.
 *
 * A keeper's line is for the keys of its account alone (vault_keys.c). What was unwrapped stays in memory until the
 * vault ends. A systemd credential "privyseal.store" is read before the sandbox closes.
 */
#ifndef PROXY_VAULT_H
#define PROXY_VAULT_H

#include "proxy/config.h"

/* Runs in a child of the master: opens the store, enters the sandbox, serves `control` (from the master) and each
   client that arrives over it. Returns the exit status. */
int proxy_vault_main(const struct config *config, int control);

#endif

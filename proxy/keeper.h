/*
 * The keeper process: one account's GnuPG home, one job at a time, no network.
 *
 * It is re-executed by the master (so that it is small: gpg is forked for every job), takes its set-up and its jobs
 * from descriptor 3, and ends when that closes. It trusts no request: a malformed one ends it. A job that takes too
 * long is ended from outside together with its gpg children, which share its process group.
 */
#ifndef PROXY_KEEPER_H
#define PROXY_KEEPER_H

#include <stdint.h>

/* The word on the command line that turns privyseal into a keeper. */
#define PROXY_KEEPER_COMMAND "keeper"

/* Runs until its socket closes; returns the exit status. */
int proxy_keeper_main(void);

#endif

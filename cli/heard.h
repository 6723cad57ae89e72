/*
 * Keys that mail has told by Autocrypt and that stand in a correspondent's record alone.
 */
#ifndef CLI_HEARD_H
#define CLI_HEARD_H

#include "cli/cli.h"
#include "keyring/peer.h"

/* Imports those of the record that are not in the open ring, and lists it again, if there are such. */
ERR_RETURN enum err cli_learn_heard(struct cli *cli, const struct keyring_peer *peer);

#endif

/*
 * key export --paper: an OpenPGP key as lines of text (keyring/paper.h).
 */
#ifndef CLI_KEY_PAPER_H
#define CLI_KEY_PAPER_H

#include "cli/cli.h"

/* Adds the text for the public key, or with `is_secret` the secret key under its own passphrase, which is asked for as
   key_ask_passphrase says. ERR_REFUSED: the secret key has none; ERR_KEY_LOCKED: nobody gave it. What is wrong has been
   said. */
ERR_RETURN enum err key_paper_export(struct cli *cli, const struct keyring_entry *key, bool is_secret,
                                     const char *passphrase_fd, struct buf *out);

#endif

/*
 * What the key commands share: finding the key that a person names, and saying what is known of it.
 */
#ifndef CLI_KEY_H
#define CLI_KEY_H

#include "cli/cli.h"

#define KEY_GROUPED_SIZE 96 /* a fingerprint in groups of four */

/* Opens account and ring, then finds the one key that `name` means: a fingerprint, its last 16 or more digits, or an
   address that a single key carries. Says what is wrong if there is none, or more than one. */
ERR_RETURN enum err key_open(struct cli *cli, const char *name, const struct keyring_entry **entry_out);
/* The first entry of the key with this fingerprint, or NULL. */
const struct keyring_entry *key_of_fingerprint(const struct keyring *keyring, const char *fingerprint);
/* "ABCD EF01 ...", for comparing by eye or over the telephone. */
void key_group(const char *fingerprint, char grouped_out[KEY_GROUPED_SIZE]);
/* "own", "revoked", "expired", "disabled", or "" if nothing is remarkable. */
const char *key_state(const struct keyring_entry *entry);
/* All that the index knows of one entry; NULL when memory is short. */
json_t *key_json(const struct keyring_entry *entry);

#endif

/*
 * The web of trust for people: who certified whom, in words, as JSON, and as a picture.
 */
#ifndef CLI_WOT_H
#define CLI_WOT_H

#include "cli/cli.h"
#include "cli/table.h"

#define CLI_WOT_NAME_SIZE 320
#define CLI_WOT_LINE_SIZE 1024

/* Reads the web of trust of the account's ring, which is open, and judges it as of now; it has been said what is wrong.
   The caller frees it. */
ERR_RETURN enum err cli_wot_open(const struct cli *cli, struct keyring_wot **wot_out);

/* What a person calls the key: an address, else a user ID, else the end of its fingerprint. */
void cli_wot_name(const struct keyring_wot *wot, size_t key, char name_out[CLI_WOT_NAME_SIZE]);
/* "alice@example.org (you) signed 2026-01-02, level 3 → bob@example.org" */
void cli_wot_line(const struct keyring_wot *wot, size_t certification, char line_out[CLI_WOT_LINE_SIZE]);
/* "full", "marginal", ..., "revoked", "expired" */
const char *cli_wot_validity(const struct keyring_wot *wot, size_t user_id);
/* The user ID of an index's entry; KEYRING_WOT_NONE: the web knows nothing of it. */
size_t cli_wot_find(const struct keyring_wot *wot, const struct keyring_entry *entry);

/* Rows "path": the steps to this user ID; where there are none, who certified it and whose word is missing; and what
   was left out. No row where nobody here certified it. */
ERR_RETURN enum err cli_wot_add_path(const struct keyring_wot *wot, size_t user_id, struct table *table);
/* The steps, an empty list where there are none; NULL when memory is short. */
json_t *cli_wot_path_json(const struct keyring_wot *wot, size_t user_id);
/* One key with its user IDs, their validity, paths and certifications. */
json_t *cli_wot_key_json(const struct keyring_wot *wot, size_t key);

/* ---- cli_wot_graph.c ---- */
/* Adds the graph in Graphviz' language: of everything, or of what leads to `key` (KEYRING_WOT_NONE: everything). At
   most CLI_WOT_GRAPH_MAX keys; a picture with fewer than there are says so. */
#define CLI_WOT_GRAPH_MAX 300
ERR_RETURN enum err cli_wot_graph(const struct keyring_wot *wot, size_t key, struct buf *out);

/* The rows about the path to an entry, and the same as JSON, for commands that show a key: the web is read if it can
   have a word to say. */
ERR_RETURN enum err cli_wot_add_entry(const struct cli *cli, const struct keyring_entry *entry, struct table *table);
json_t *cli_wot_entry_json(const struct cli *cli, const struct keyring_entry *entry);
/* Whether the key `signer` has certified `entry`, good as of now, whatever its word counts. False where the web cannot
   be read, which has been said. */
bool cli_wot_is_certified_by(const struct cli *cli, const struct keyring_entry *entry,
                             const struct keyring_entry *signer);

#endif

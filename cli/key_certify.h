/*
 * Certifications made with the account's own key, for the commands that make or withdraw them.
 */
#ifndef CLI_KEY_CERTIFY_H
#define CLI_KEY_CERTIFY_H

#include "cli/cli.h"

/* Opens account and ring and withdraws what the account's own key certified of `name`, all user IDs or those with
   these texts or addresses, after asking unless `is_sure`. Gives the exit status; all has been said. */
int key_certify_revoke(struct cli *cli, const char *name, const struct cli_list *user_ids, bool is_sure);

#endif

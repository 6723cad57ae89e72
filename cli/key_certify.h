/*
 * Certifications made with the account's own key, for the commands that make or withdraw them.
 */
#ifndef CLI_KEY_CERTIFY_H
#define CLI_KEY_CERTIFY_H

#include "cli/cli.h"

#define KEY_CERTIFY_MAX 64

/* User IDs of a key, as the ring's list has them: borrowed until that is made anew. */
struct key_certify_names {
    const char *names[KEY_CERTIFY_MAX];
    size_t len;
};

/* Those of the key that are not revoked: all, or with these texts or addresses. Says so if there are none. */
ERR_RETURN enum err key_certify_choose(const struct cli *cli, const char *fingerprint, const struct cli_list *texts,
                                       struct key_certify_names *names_out);
/* Shows them all with the fingerprint, and asks. */
bool key_certify_ask(const struct key_certify_names *names, const char *fingerprint, const char *question);

/* Opens account and ring and withdraws what the account's own key certified of `name`, all user IDs or those with
   these texts or addresses, after asking unless `is_sure`. Gives the exit status; all has been said. */
int key_certify_revoke(struct cli *cli, const char *name, const struct cli_list *user_ids, bool is_sure);

#endif

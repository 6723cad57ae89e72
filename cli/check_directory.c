#include "cli/check.h"

#include "cli/directory.h"

#include <string.h>

static const char *advice(const struct cli_directory *directory)
{
    const struct keyring_ldap_options *ldap = &directory->config->ldap;
    if (strncmp(directory->problem, "logging in", 10) == 0)
        return ldap->is_external ? "see whom its sasl-regexp or authz rules let in"
                                 : "see bind_dn and password_command";
    if (strncmp(directory->problem, "StartTLS", 8) == 0)
        return "it must offer StartTLS; or use ldaps://";
    if (strncmp(directory->problem, "searching", 9) == 0)
        return "see base, and whether the login may read it";
    return ldap->security == KEYRING_LDAP_LOCAL ? "see whether it runs, and listens at that socket"
                                                : "see url and ca_file, and whether it runs";
}

void check_directories(struct check *check)
{
    const struct config *config = check->cli->config;
    struct cli_directory *directories;
    if (config->directories_len == 0)
        return;
    enum err err = cli_ask_directories(config, NULL, &directories);
    if (err)
        check_note(check, CHECK_BAD, "directories", "could not be asked: %s", err_sentence(err));
    for (size_t i = 0; !err && i < config->directories_len; i++) {
        const struct cli_directory *directory = &directories[i];
        const struct keyring_ldap_options *ldap = &directory->config->ldap;
        if (directory->err)
            check_note(check, CHECK_BAD, ldap->name, "directory: %s; %s", directory->problem, advice(directory));
        else
            check_note(check, CHECK_OK, ldap->name, "directory answers, and has \"%s\"%s", ldap->base,
                       directory->config->domains_len > 0 ? "" : "; no domains: nothing it says counts as found");
    }
    cli_directories_free(config, &directories);
}

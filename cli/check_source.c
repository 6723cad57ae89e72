#include "cli/check.h"

#include "cli/source.h"

#include <stdio.h>
#include <string.h>

static const char *directory_advice(const struct keyring_ldap_options *ldap, const char *problem)
{
    if (strncmp(problem, "logging in", 10) == 0)
        return ldap->is_external ? "see whom its sasl-regexp or authz rules let in"
                                 : "see bind_dn and password_command";
    if (strncmp(problem, "StartTLS", 8) == 0)
        return "it must offer StartTLS; or use ldaps://";
    if (strncmp(problem, "searching", 9) == 0)
        return "see base, and whether the login may read it";
    return ldap->security == KEYRING_LDAP_LOCAL ? "see whether it runs, and listens at that socket"
                                                : "see url and ca_file, and whether it runs";
}

static void note_directory(struct check *check, const struct cli_source *source)
{
    const struct keyring_ldap_options *ldap = &PROXY_SECTION(struct config_directory, source->config)->ldap;
    if (source->err)
        check_note(check, CHECK_BAD, ldap->name, "directory: %s; %s", source->problem,
                   directory_advice(ldap, source->problem));
    else
        check_note(check, CHECK_OK, ldap->name, "directory answers, and has \"%s\"%s", ldap->base,
                   source->config->domains_len > 0 ? "" : "; no domains: nothing it says counts as found");
}

static void note_other(struct check *check, const struct cli_source *source)
{
    const char *kind = keyring_source_name(source->config->kind);
    const char *name = source->config->name[0] ? source->config->name : kind;
    if (source->err && source->config->kind == KEYRING_SOURCE_DANE)
        check_note(check, CHECK_BAD, name, "%s: %s; see anchor, and whether its servers pass on signatures", kind,
                   source->problem);
    else if (source->err)
        check_note(check, CHECK_BAD, name, "%s: %s; see its section, and whether it runs", kind, source->problem);
    else if (!source->is_asked)
        check_note(check, CHECK_OK, name, "%s is asked for keys%s", kind,
                   source->config->domains_len > 0 ? " of its domains" : "");
    else
        check_note(check, CHECK_OK, name, "%s answers", kind);
}

void check_sources(struct check *check)
{
    const struct config *config = check->cli->config;
    const struct cli_question question = {.address = NULL};
    struct cli_source *sources;
    if (config->sources_len == 0)
        return;
    enum err err = cli_ask_sources(config, &question, &sources);
    if (err)
        check_note(check, CHECK_BAD, "sources", "could not be asked: %s", err_sentence(err));
    for (size_t i = 0; !err && i < config->sources_len; i++)
        if (sources[i].config->kind == KEYRING_SOURCE_DIRECTORY)
            note_directory(check, &sources[i]);
        else
            note_other(check, &sources[i]);
    cli_sources_free(config, &sources);
}

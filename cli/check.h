/*
 * What the parts of `privyseal check` share: one line for each thing looked at.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "cli/cli.h"

enum check_state { CHECK_OK, CHECK_WARNING, CHECK_BAD };

struct check {
    struct cli *cli;
    struct table *table;
    json_t *list;
    bool is_bad;
    enum err err; /* memory ran short while reporting */
};

/* Notes that `subject` is in this state; `format` says what was found and, unless it is well, what to do. */
void check_note(struct check *check, enum check_state state, const char *subject, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Key ring, agent, own keys, home. */
void check_keys(struct check *check, const struct config_account *account);
/* How the account's keys in the store are kept; its key ring is open. */
void check_store(struct check *check, const struct config_account *account);
/* Connects, does TLS as configured and asks what the server offers, for at most ten seconds. */
void check_server(struct check *check, const struct config_account *account, enum config_protocol protocol);
/* Connects to each directory as configured, logs in and looks for the base, within its timeout. */
void check_sources(struct check *check);

#endif

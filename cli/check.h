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
    bool is_repairing, is_sure; /* --repair, --yes */
    bool is_bad;
    enum err err; /* memory ran short while reporting */
};

/* Notes that `subject` is in this state; `format` says what was found and, unless it is well, what to do. */
void check_note(struct check *check, enum check_state state, const char *subject, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Mends what was found; `context` is as it was given. */
typedef enum err (*check_mend_fn)(void *context);
/* Notes what can be mended: `how` is a question without its "?", "Make it readable for you alone". Unless `check` is to
   repair that is all; else the person is asked, and it is mended and noted so. `what` stands in the sentence. True if
   it was. */
bool check_mend(struct check *check, enum check_state state, const char *subject, const char *what, const char *how,
                check_mend_fn mend, void *context);
/* Notes whether others can read a file or a folder, which is then mended. True if it is as it should be. */
bool check_is_private(struct check *check, const char *subject, const char *path);

/* ---- check_home.c ---- */
/* What may be wrong with the account's GnuPG home as it lies on disk: modes, and locks that were left behind. */
void check_home(struct check *check, const struct config_account *account);
/* Says of a ring that gpg cannot read what can be done. */
void check_damaged_ring(struct check *check, const struct config_account *account);
/* What the open ring lacks, and can be mended: the trust database, own keys that ask for AEAD. */
void check_ring(struct check *check, const struct config_account *account);

/* Key ring, agent, own keys, home. */
void check_keys(struct check *check, const struct config_account *account);
/* How the account's keys in the store are kept; its key ring is open. */
void check_store(struct check *check, const struct config_account *account);
/* Connects, does TLS as configured and asks what the server offers, for at most ten seconds. */
void check_server(struct check *check, const struct config_account *account, enum config_protocol protocol);
/* Connects to each directory as configured, logs in and looks for the base, within its timeout. */
void check_sources(struct check *check);

#endif

/*
 * Sources of keys asked by a command, all at once, each within its own timeout; and keyservers told.
 */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include "cli/cli.h"
#include "proxy/source.h"

/* What is asked, or told. */
struct cli_question {
    const char *address; /* normal form: its keys are asked for; NULL: whether the sources are there */
    /* This OpenPGP key is known: sources that can be are asked for it, and not for the address; and the others' answers
       end with whether they are all that they have (KEYRING_FOUND_ALL). "": the same for a certificate, and nobody is
       asked for it alone. NULL: neither. */
    const char *fingerprint;
    struct span key;     /* a public key, binary, that is told to those that take one; nothing is asked then */
    const bool *is_left; /* one for each of config->sources: left alone; NULL: none is */
};

struct cli_source {
    const struct config_source *config;
    bool is_asked;     /* its configuration lets it be asked, and there is something to ask */
    bool is_by_key;    /* it was asked for one key */
    enum err err;      /* with something in `found`: the rest could not be asked */
    char problem[300]; /* why it could not be asked */
    struct buf found;  /* what it has (keyring/found.h) */
    struct proxy_source source;
    const struct cli_question *question;
    size_t *open, *asked; /* of all together: still asked, and ever */
    struct event_base *base;
};

/* Asks all sources that serve the question's address. One for each of config->sources goes to `*sources_out`, to be
   freed with cli_sources_free. */
ERR_RETURN enum err cli_ask_sources(const struct config *config, const struct cli_question *question,
                                    struct cli_source **sources_out);
void cli_sources_free(const struct config *config, struct cli_source **sources);

/* Keeps whose word the OpenPGP keys are there by (keyring_learner.words) in the correspondent's record. */
ERR_RETURN enum err cli_keep_words(const struct cli *cli, struct span said);

#endif

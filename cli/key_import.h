/*
 * Kinds of files that `key import` takes, each in a file of its own.
 */
#ifndef CLI_KEY_IMPORT_H
#define CLI_KEY_IMPORT_H

#include "cli/cli.h"

/* One kind. `name` is the file's, for people. The exit status; what is wrong has been said. */
struct key_import_kind {
    bool (*is_it)(struct span bytes);
    int (*import_all)(struct cli *cli, const char *name, struct span bytes);
};

/* With --json: adds what was done with one file to what is printed in the end; numbers are summed up, lists joined.
   Takes the object; CLI_FAILED without memory. */
int key_import_report(json_t *one);

/* Certificates: PEM, DER, PKCS#7. */
bool key_import_is_certificates(struct span bytes);
int key_import_certificates(struct cli *cli, const char *name, struct span bytes);

#endif

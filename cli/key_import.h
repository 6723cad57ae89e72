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

/* ---- key_import_setup.c ---- */
/* Asks for the code of an Autocrypt setup message and adds the secret key, in armour. Unless `is_own`, a person is
   asked whether they made it where the key has no valid user ID with an address of the account, or another own key is
   there. The ring is open. What is wrong has been said; ERR_REFUSED: it is not theirs. */
ERR_RETURN enum err key_import_open_setup(struct cli *cli, const char *name, struct span message,
                                          const char *passphrase_fd, bool is_own, struct buf *key_out);

#endif

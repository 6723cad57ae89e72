/*
 * One's own S/MIME certificates and their private keys: taken out of files into the certificates' folder and the store,
 * given back as PKCS#12, and removed.
 */
#ifndef CLI_KEY_OWN_H
#define CLI_KEY_OWN_H

#include "cli/cli.h"
#include "keyring/certificates.h"
#include "keyring/x509_key.h"

#include <stdio.h>

/* Whether these bytes are certificates or keys of X.509 (PEM or DER) rather than of OpenPGP. */
bool key_is_x509(struct span bytes);

/* A passphrase: from the descriptor that --passphrase-fd names (NULL: it was not given), else from the terminal, else
   by gpg-agent's pinentry. `error` says why it is asked again, or is NULL. ERR_KEY_LOCKED: nobody gave one. */
ERR_RETURN enum err key_ask_passphrase(struct cli *cli, const char *passphrase_fd, const char *what, const char *error,
                                       struct secret *passphrase);

/* Asks a person once. */
typedef enum err (*key_ask_fn)(void *context, const char *what, const char *error, struct secret *passphrase);
/* Asks twice, so that it is what the person means, and anew where it was empty or not the same. ERR_KEY_LOCKED: it
   never was. */
ERR_RETURN enum err key_ask_twice(key_ask_fn ask, void *context, const char *what, const char *again,
                                  struct secret *passphrase);

/* Adds what is in one file, called `name` for people, after asking for its passphrase if it has one. What is wrong has
   been said. */
ERR_RETURN enum err key_own_read(struct cli *cli, const char *name, struct span bytes, const char *passphrase_fd,
                                 struct keyring_key_files *files);
/* Keeps all that was read: private keys in the store, certificates in the folder. Words go to `words`; entries for
   --json are added to `list`. What is wrong has been said. */
ERR_RETURN enum err key_own_keep(struct cli *cli, struct keyring_key_files *files, FILE *words, json_t *list);

/* Takes the certificate that a PKCS#11 URI names from the account's token into the folder, and notes that its private
   key is there. What is wrong has been said. */
ERR_RETURN enum err key_own_token(struct cli *cli, const char *uri, FILE *words, json_t *list);

/* Removes the private key of a certificate of the account from the store; one that is not there, or on a token, is as
   good as removed. What is wrong has been said. */
ERR_RETURN enum err key_own_remove(struct cli *cli, const struct keyring_certificate *certificate);
/* Adds a PKCS#12 file of the certificate with its private key and the issuers that are known, under a passphrase that
   is asked for. What is wrong has been said. */
ERR_RETURN enum err key_own_export(struct cli *cli, struct keyring_certificates *certificates,
                                   const struct keyring_certificate *certificate, const char *passphrase_fd,
                                   struct buf *out);

#endif

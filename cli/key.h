/*
 * What the key commands share: finding the key that a person names, and saying what is known of it.
 */
#ifndef CLI_KEY_H
#define CLI_KEY_H

#include "cli/cli.h"

#define KEY_TEXT_SIZE 1200  /* the sentences about a certificate */
#define KEY_GROUPED_SIZE 96 /* a fingerprint in groups of four */

/* Opens account and ring, then finds the one key that `name` means: a fingerprint, its last 16 or more digits, or an
   address that a single key carries. Says what is wrong if there is none, or more than one. */
ERR_RETURN enum err key_open(struct cli *cli, const char *name, const struct keyring_entry **entry_out);
/* The same in a ring that is open. */
ERR_RETURN enum err key_find_named(const struct cli *cli, const char *name, const struct keyring_entry **entry_out);
/* The first entry of the key with this fingerprint, or NULL. */
const struct keyring_entry *key_of_fingerprint(const struct keyring *keyring, const char *fingerprint);
/* "ABCD EF01 ...", for comparing by eye or over the telephone. */
void key_group(const char *fingerprint, char grouped_out[KEY_GROUPED_SIZE]);
/* "own", "revoked", "expired", "disabled", or "" if nothing is remarkable. */
const char *key_state(const struct keyring_entry *entry);
/* What Autocrypt's key is used for; for people. */
const char *key_advice_text(enum keyring_advice advice);
/* All that the index knows of one entry; NULL when memory is short. */
json_t *key_json(const struct keyring_entry *entry);
/* A certificate that issues others: it has no address, and no use for mail. */
bool key_is_issuer(const struct keyring_entry *entry);

/* ---- key_certificate.c ---- */
/* The certificate of an entry; NULL: it is no certificate. Borrowed until the ring is listed again. */
const struct keyring_certificate *key_certificate(const struct cli *cli, const struct keyring_entry *entry);
/* As RFC 4514 writes it. */
void key_name(const X509_NAME *name, char *out, size_t size);
void key_certificate_source(const struct keyring_certificate *certificate, char out[KEY_TEXT_SIZE]);
/* Where its chain leads, or why not, as of now. */
ERR_RETURN enum err key_certificate_chain(const struct cli *cli, const struct keyring_certificate *certificate,
                                          enum keyring_purpose purpose, enum keyring_chain *chain_out,
                                          char out[KEY_TEXT_SIZE]);
/* Adds rows, the first of them called "chain": the path with each certificate of it, and how it stands with its issuer
   where the account has them asked. */
struct table;
ERR_RETURN enum err key_certificate_explain(const struct cli *cli, const struct keyring_certificate *certificate,
                                            enum keyring_purpose purpose, struct table *table);
/* Asks the issuers whether it is revoked, where the account has them asked, its chain is good, and it names a place to
   ask; else it is not known, without a reason. */
ERR_RETURN enum err key_certificate_revocation(const struct cli *cli, const struct keyring_certificate *certificate,
                                               struct keyring_revocation *revocation_out);
/* Issuer, serial number, source, chain, and revocation where the account asks; NULL: it is no certificate. */
json_t *key_certificate_json(const struct cli *cli, const struct keyring_entry *entry);
#define KEY_SERIAL_SIZE 64
void key_serial(const X509 *certificate, char out[KEY_SERIAL_SIZE]);
/* Whether it is marked as one that issues others (CA:TRUE) though it names an address, which is then given: no mail
   program's doing, but that of `openssl req -x509`. It is of no use for mail. ERR_MEMORY. */
ERR_RETURN enum err key_certificate_is_marked(const X509 *certificate, bool *is_marked_out,
                                              char address_out[MIME_ADDR_SIZE]);
/* "good", "untrusted", ... */
const char *key_chain_name(enum keyring_chain chain);

#endif

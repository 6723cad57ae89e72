/*
 * X.509 certificates of correspondents, judged (RFC 5280, RFC 8550): the chain to one of the account's trust anchors,
 * what the certificate may be used for, its strength, its validity at a given time, and the addresses that it names.
 *
 * Runs in keepers and the command line. Asks nobody over the network; revocation is not looked up here.
 */
#ifndef KEYRING_X509_H
#define KEYRING_X509_H

#include "keyring/index.h"

#include <openssl/x509.h>

/* Longer chains are not looked at, nor more intermediates than this many that might be part of one by their names. */
#define KEYRING_CHAIN_MAX 10
#define KEYRING_OTHERS_MAX 64

/* What `smime_ca` names. */
struct keyring_anchors;

/* Reads certificates, PEM or DER, from the file `path`, or from every file of the folder `path`; "system": those of the
   machine; "": none. A file that holds no certificate is an error when named, and passed over (logged) in a folder.
   ERR_IO, ERR_MALFORMED. Reads all at once: a sandbox may close afterwards. */
ERR_RETURN enum err keyring_anchors_open(const char *path, struct keyring_anchors **anchors_out);
void keyring_anchors_close(struct keyring_anchors **anchors);

/* What can be said of a chain; the first that applies, in the order in which chains are checked. */
enum keyring_chain {
    KEYRING_CHAIN_UNTRUSTED = 0, /* it ends at no anchor, or a rule of its own forbids it (RFC 5280 §6.1) */
    KEYRING_CHAIN_UNFIT,         /* the certificate is not for mail, or not for this purpose (RFC 8550 §4.4) */
    KEYRING_CHAIN_WEAK,          /* a key or a hash of less than 112 bits of strength */
    KEYRING_CHAIN_EXPIRED,       /* or not valid yet */
    KEYRING_CHAIN_GOOD
};

/* Judges `certificate` at the time `at` (seconds), with the certificates `others` (may be NULL) as intermediates, which
   are believed nothing but what their chain shows. Where there are several paths (cross-signed issuers, anchors of one
   name) and one is good, that one counts; else what is said is of the best. `*reason_out` is a sentence of OpenSSL's
   for people, static. */
ERR_RETURN enum err keyring_x509_judge(const struct keyring_anchors *anchors, X509 *certificate,
                                       STACK_OF(X509) * others, enum keyring_purpose purpose, int64_t at,
                                       enum keyring_chain *chain_out, const char **reason_out);

/* The same, and gives the path that counts, leaf first, up to the anchor: with KEYRING_CHAIN_UNTRUSTED and UNFIT how
   far it went. The caller frees it (sk_X509_pop_free, X509_free); NULL after an error. */
ERR_RETURN enum err keyring_x509_chain(const struct keyring_anchors *anchors, X509 *certificate,
                                       STACK_OF(X509) * others, enum keyring_purpose purpose, int64_t at,
                                       enum keyring_chain *chain_out, const char **reason_out,
                                       STACK_OF(X509) * *path_out);

/* All certificates of a file: PEM, several one after the other, or DER; also bundles in PKCS#7 (RFC 2315, RFC 5652).
   `*wrong_out`: how many more could not be read. The caller frees them (sk_X509_pop_free, X509_free). ERR_MALFORMED:
   there are none. */
ERR_RETURN enum err keyring_x509_read(struct span bytes, STACK_OF(X509) * *certificates_out, size_t *wrong_out);

/* SHA-256 over the certificate, upper-case hexadecimal. */
ERR_RETURN enum err keyring_x509_fingerprint(const X509 *certificate, char fingerprint_out[KEYRING_FPR_SIZE]);

/* Adds an entry for each address that the certificate names: rfc822Name and SmtpUTF8Mailbox (RFC 9598) of its
   subjectAltName; only if that has neither, the emailAddress of its subject (RFC 8550 §3). Addresses that are none are
   left out; a certificate without any gets one entry without an address. */
ERR_RETURN enum err keyring_x509_add(const X509 *certificate, enum keyring_trust trust, struct keyring *keyring);

#endif

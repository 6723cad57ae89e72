/*
 * The X.509 certificates of an account, own and others', with what is known of each: a folder that holds one file for
 * each certificate, named by its fingerprint.
 *
 * A file is PEM, with a few lines before it that say where the certificate came from, when, and what its owner's mail
 * program is known to take; `openssl x509 -in` reads it. Files are written whole and moved into place, so that keepers
 * and the command line share the folder without a lock, and whoever watches it hears of every change. No private key
 * lies here: a line says where it is. What is in a file is trusted no further than its chain shows: the folder is a
 * cache of certificates, not of verdicts. Used in keepers and by the command line; synchronous.
 */
#ifndef KEYRING_CERTIFICATES_H
#define KEYRING_CERTIFICATES_H

#include "keyring/source.h"
#include "keyring/x509.h"

#define KEYRING_CERTIFICATES_MAX 200000
#define KEYRING_CERTIFICATE_SIZE_MAX ((size_t)65536) /* bytes of DER */

#define KEYRING_KEY_PLACE_SIZE 512

struct keyring_certificate {
    X509 *certificate; /* owned by the folder */
    char fingerprint[KEYRING_FPR_SIZE];
    enum keyring_source source;
    char directory[64];                     /* the title of its section, where a source has one */
    bool is_found;                          /* its source's word for its addresses counts as `found` */
    bool takes_gcm;                         /* its owner's programs are known to read AuthEnvelopedData (RFC 5083) */
    char key_place[KEYRING_KEY_PLACE_SIZE]; /* where the private key is: "" none here, "store", or a PKCS#11 URI */
    int64_t seen;                           /* when it was put here */
    int64_t until;                          /* how long its source's word counts; 0: for ever */
    int64_t revoked;                        /* known to be revoked since; 0: not known */
};

struct keyring_certificates;

/* Reads the folder, which is made (0700) if it is missing. A file that is damaged is logged and passed over;
   one that cannot be read just now is an error. */
ERR_RETURN enum err keyring_certificates_open(const char *dir, struct keyring_certificates **certificates_out);
void keyring_certificates_close(struct keyring_certificates **certificates);
/* Reads again what has changed since; cheap if nothing has. */
ERR_RETURN enum err keyring_certificates_refresh(struct keyring_certificates *certificates);

/* In the order of fingerprints. Borrowed until the next refresh, put or remove. */
size_t keyring_certificates_len(const struct keyring_certificates *certificates);
const struct keyring_certificate *keyring_certificates_at(const struct keyring_certificates *certificates,
                                                          size_t index);
const struct keyring_certificate *keyring_certificates_find(const struct keyring_certificates *certificates,
                                                            const char *fingerprint);
/* Those that may issue others (basicConstraints CA), as intermediates for keyring_x509_judge. Borrowed, as above. */
STACK_OF(X509) * keyring_certificates_issuers(struct keyring_certificates *certificates);

/* keyring_x509_chain of one that is in the folder, with the folder's issuers; a good path is judged once, and again
   when anchors, issuers or the time have left what it stood for. ERR_NOT_FOUND. The caller frees `*path_out`, which is
   NULL unless the chain is good. */
ERR_RETURN enum err keyring_certificates_judge(struct keyring_certificates *certificates,
                                               const struct keyring_anchors *anchors, const char *fingerprint,
                                               enum keyring_purpose purpose, int64_t at, enum keyring_chain *chain_out,
                                               const char **reason_out, STACK_OF(X509) * *path_out);

/* Writes the file of `entry` (its certificate is copied, its fingerprint computed), in place of an earlier one. */
ERR_RETURN enum err keyring_certificates_put(struct keyring_certificates *certificates,
                                             const struct keyring_certificate *entry);
/* ERR_NOT_FOUND. */
ERR_RETURN enum err keyring_certificates_remove(struct keyring_certificates *certificates, const char *fingerprint);

/* Adds an index entry for each address of each certificate, CAs left out, judged at the time `at`: OWN if its private
   key is here and one of its addresses is in `own` (the account's, normal form); else FULL if it leads to an anchor;
   else FOUND where a directory's word counts (which may be stale: keyring_is_stale); else UNVERIFIED. What a
   certificate may be used for, until when, and whether it is revoked stands in encrypt_until, sign_until and
   is_revoked; one that is too weak is listed without a use. `anchors` may be NULL: no chain leads anywhere. */
ERR_RETURN enum err keyring_certificates_list(struct keyring_certificates *certificates,
                                              const struct keyring_anchors *anchors, const char *const *own,
                                              size_t own_len, int64_t at, struct keyring *keyring);
/* Adds an index entry for each CA, without an address and of no use, so that people see it. */
ERR_RETURN enum err keyring_certificates_list_issuers(struct keyring_certificates *certificates,
                                                      const struct keyring_anchors *anchors, int64_t at,
                                                      struct keyring *keyring);

#endif

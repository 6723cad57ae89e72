/*
 * What the files that make up keyring/certificates.h share. Nobody else includes this.
 */
#ifndef KEYRING_CERTIFICATES_INTERNAL_H
#define KEYRING_CERTIFICATES_INTERNAL_H

#include "keyring/certificates.h"

#include <sys/stat.h>

#define CERTIFICATES_PATH_SIZE 4096
#define CERTIFICATES_FILE_MAX ((size_t)(98304 + 4096)) /* PEM takes 4/3 */

/* A file (or the folder) that has the same is the same. */
struct certificates_stamp {
    ino_t inode;
    off_t size;
    struct timespec changed, modified;
};

/* What a chain has shown. Checking signatures is what makes listing slow, and chains seldom change. */
struct certificates_judged {
    uint64_t anchors; /* serial of those that judged; 0: not judged */
    uint64_t issuers; /* which state of the folder's */
    enum keyring_chain chain;
    int64_t from, until;   /* when this holds */
    STACK_OF(X509) * path; /* of a good one, where somebody wanted it; else NULL */
};

struct certificates_item {
    struct keyring_certificate entry;
    struct certificates_stamp stamp;
    struct certificates_judged judged[KEYRING_PURPOSE_COUNT];
    bool is_there; /* while the folder is read */
};

struct keyring_certificates {
    char *dir;
    struct certificates_item **items;
    size_t len, capacity;
    size_t sorted;            /* as many are in the order of fingerprints; while nothing is under way: all */
    STACK_OF(X509) * issuers; /* borrowed from items; NULL: to be gathered again */
    uint64_t issuers_serial;  /* which ones they are */
    struct certificates_stamp stamp;
    bool is_settled; /* no change can hide behind the folder's stamp */
};

bool certificates_is_issuer(const X509 *certificate);
/* NULL: it is not there. Borrowed, as with keyring_certificates_find. */
struct certificates_item *certificates_find(const struct keyring_certificates *certificates, const char *fingerprint);

/* The text of a file; `entry_out` owns the certificate. ERR_MALFORMED: it is not what certificates_print writes. */
ERR_RETURN enum err certificates_parse(struct span file, struct keyring_certificate *entry_out);
/* ERR_MALFORMED: a value that no line can hold; ERR_TOO_BIG. */
ERR_RETURN enum err certificates_print(const struct keyring_certificate *entry, struct buf *out);

#endif

/*
 * What the files that make up keyring/x509.h share. Nobody else includes this.
 */
#ifndef KEYRING_X509_INTERNAL_H
#define KEYRING_X509_INTERNAL_H

#include "keyring/x509.h"

#include <openssl/x509_vfy.h>

#define X509_ADDRESSES_MAX 32

struct keyring_anchors {
    X509_STORE *store;
    uint64_t serial; /* no two of a process have the same: what was judged by one says nothing of the other */
};

struct x509_addresses {
    char items[X509_ADDRESSES_MAX][MIME_ADDR_SIZE];
    size_t len;
    bool has_any; /* also one that is none */
};

/* The addresses that a certificate names, see keyring_x509_add. */
void x509_find_addresses(const X509 *certificate, struct x509_addresses *addresses_out);
/* Fills in what the certificate itself says, apart from addresses: its times (also as the end of both uses), its
   algorithm, its subject. */
void x509_describe(const X509 *certificate, struct keyring_entry *entry);
/* Adds `entry` once for each address, or without one. */
ERR_RETURN enum err x509_add_each(struct keyring_entry *entry, const struct x509_addresses *addresses,
                                  struct keyring *keyring);
/* keyring_x509_judge, and for how long its word stays KEYRING_CHAIN_GOOD: as long as all certificates of the chain are
   valid, seconds from `*from_out` to `*until_out`. */
ERR_RETURN enum err x509_judge(const struct keyring_anchors *anchors, X509 *certificate, STACK_OF(X509) * others,
                               enum keyring_purpose purpose, int64_t at, enum keyring_chain *chain_out,
                               const char **reason_out, int64_t *from_out, int64_t *until_out);

#endif

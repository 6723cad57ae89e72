/*
 * What the files that make up keyring/x509.h share. Nobody else includes this.
 */
#ifndef KEYRING_X509_INTERNAL_H
#define KEYRING_X509_INTERNAL_H

#include "keyring/x509.h"

#include <openssl/x509_vfy.h>

/* OpenSSL's level of 112 bits: RSA 2048, SHA-224 and the like. */
#define KEYRING_X509_LEVEL 2
#define X509_ADDRESSES_MAX 33 /* one more than are taken */

struct keyring_anchors {
    STACK_OF(X509) * certificates;
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
/* Whether its key usage and extended key usage permit this to the owner's key (`is_leaf`), or to issue certificates for
   mail (RFC 8550 §4.4). */
bool x509_is_fit(X509 *certificate, enum keyring_purpose purpose, bool is_leaf);
/* When all certificates of the chain are valid: from `*from_out` until before `*until_out`, seconds. */
void x509_validity(STACK_OF(X509) * chain, int64_t *from_out, int64_t *until_out);

#endif

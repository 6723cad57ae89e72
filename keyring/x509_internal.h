/*
 * What the files that make up keyring/x509.h share. Nobody else includes this.
 */
#ifndef KEYRING_X509_INTERNAL_H
#define KEYRING_X509_INTERNAL_H

#include "keyring/x509.h"

#include <openssl/x509_vfy.h>

struct keyring_anchors {
    STACK_OF(X509) * certificates;
};

/* OpenSSL's level of 112 bits: RSA 2048, SHA-224 and the like. */
#define KEYRING_X509_LEVEL 2

#endif

/*
 * What the files that make up keyring/x509.h share. Nobody else includes this.
 */
#ifndef KEYRING_X509_INTERNAL_H
#define KEYRING_X509_INTERNAL_H

#include "keyring/x509.h"

#include <openssl/x509_vfy.h>

struct keyring_anchors {
    X509_STORE *store;
};

#endif

/*
 * What the files that make up keyring/revocation.h share. Nobody else includes this.
 */
#ifndef KEYRING_REVOCATION_INTERNAL_H
#define KEYRING_REVOCATION_INTERNAL_H

#include "keyring/revocation.h"

/* What an answer says of one certificate, once it is known to be the issuer's word. */
struct revocation_news {
    int64_t made, next; /* thisUpdate, nextUpdate; 0: not said */
    int64_t since;      /* 0: not revoked */
    int reason;         /* CRLReason; -1: not said */
};

/* Each says in `news_out` what is said, or gives why nothing is (static), NULL if there is something. */
const char *revocation_read_list(struct span answer, X509 *certificate, X509 *issuer, struct revocation_news *news_out);
const char *revocation_read_ocsp(struct span answer, X509 *certificate, X509 *issuer, int64_t now,
                                 struct revocation_news *news_out);

/* Seconds since 1970; 0 for none and for what is no time. */
int64_t revocation_seconds(const ASN1_TIME *time);
/* Whether a signature by this algorithm is worth something: not by MD5 or SHA-1. */
bool revocation_is_strong(const X509_ALGOR *algorithm);

#endif

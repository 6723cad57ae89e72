/*
 * What keyring/dane*.c share: dane.c has the questions and libunbound, dane_answer.c what is read out of its answers,
 * dane_name.c names and printed records.
 */
#ifndef KEYRING_DANE_INTERNAL_H
#define KEYRING_DANE_INTERNAL_H

#include "keyring/dane.h"

#define DANE_RECORDS_MAX 16 /* of one type that are looked at; further ones are left out */
#define DANE_PIECES_MAX (2 * DANE_RECORDS_MAX)
#define DANE_RCODE_NONE 3 /* NXDOMAIN, RFC 1035 §4.1.1 */

/* What has been read for one address. */
struct dane_answer {
    struct buf bytes; /* at most 2 * KEYRING_DANE_RDATA_MAX: as much as two messages can hold */
    struct dane_piece {
        enum keyring_found_kind kind;
        size_t at, len;
    } pieces[DANE_PIECES_MAX];
    size_t pieces_len;
    size_t records;   /* of the type that was asked for */
    size_t malformed; /* of them, that are no such record, or hold no certificate or key */
    size_t digests;   /* of them, that only name a certificate or key (RFC 6698 §2.1.2, §2.1.3) */
    size_t surplus;   /* of them, that were too many */
};

/* Reads a DNS message (RFC 1035 §4.1) that answers a question for `type`, and takes what its answer section has of it.
   `*rcode_out` is the message's. ERR_MALFORMED: it is no message (what came before that was taken); ERR_LIMIT: more
   than an answer may hold. */
ERR_RETURN enum err dane_answer_read(struct dane_answer *answer, struct span message, enum keyring_dane_type type,
                                     unsigned *rcode_out);

#endif

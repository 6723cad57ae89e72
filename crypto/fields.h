/*
 * What privyseal does with each kind of header field, in one table: for inspection, sealing and opening alike.
 */
#ifndef CRYPTO_FIELDS_H
#define CRYPTO_FIELDS_H

#include "mime/field.h"

enum crypto_field_class {
    CRYPTO_FIELD_VERDICT = 1 << 0, /* privyseal's verdict: removed from whatever leaves and from every view */
    CRYPTO_FIELD_REQUEST = 1 << 1, /* the sender's request to privyseal: removed from whatever leaves */
    CRYPTO_FIELD_BLIND = 1 << 2,   /* Bcc: removed from whatever leaves */
    CRYPTO_FIELD_TRACE = 1 << 3,   /* added on the way: stays outside, never believed inside */
    CRYPTO_FIELD_LIST = 1 << 4,    /* added by list software: kept outside */
    CRYPTO_FIELD_STRUCTURAL = 1 << 5,
    CRYPTO_FIELD_SUBJECT = 1 << 6,
    CRYPTO_FIELD_HIDDEN = 1 << 7, /* not outside an encrypted message (RFC 9788 §3.2.1 and what repeats the subject) */
    CRYPTO_FIELD_HP_OUTER = 1 << 8, /* RFC 9788 §2.2: ours alone to write */
    CRYPTO_FIELD_FACING = 1 << 9,   /* shown to a person: with header protection only from the inside */
    CRYPTO_FIELD_FROM = 1 << 10
};

/* The classes of `field` (set of enum crypto_field_class); 0 for an ordinary field. */
unsigned crypto_field_classes(const struct mime_field *field);
/* Whether the Content-Type in `header` has this parameter with the value `wanted` (ASCII case ignored; NULL: whatever
   it is). What is too long to be read is not it; the only errors are the machine's. */
ERR_RETURN enum err crypto_param_is(struct span header, const char *name, const char *wanted, bool *is_it_out);

#endif

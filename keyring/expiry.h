/*
 * When one's own keys and certificates end, and what a person is told of it, in `check` and in the log alike. Pure.
 */
#ifndef KEYRING_EXPIRY_H
#define KEYRING_EXPIRY_H

#include "keyring/index.h"

#define KEYRING_EXPIRY_SOON_S ((int64_t)30 * 86400) /* so long ahead it is told */
#define KEYRING_EXPIRY_TEXT_SIZE 400

enum keyring_expiry {
    KEYRING_LASTS,
    KEYRING_ENDS_SOON,
    KEYRING_HAS_ENDED /* it, or a part that signs or encrypts */
};

/* The own key (or certificate) for the address: the one in use; without one, that which ended last, if it was not
   revoked. NULL: there is none. `*end_out`: when the first of what is needed of it ends; 0: never. */
const struct keyring_entry *keyring_expiry_own(const struct keyring *keyring, const char *address,
                                               enum keyring_format format, int64_t now, enum keyring_expiry *expiry_out,
                                               int64_t *end_out);
/* A sentence that says what to do about it; "" if it lasts. */
void keyring_expiry_text(const struct keyring_entry *entry, enum keyring_expiry expiry, int64_t end,
                         char text_out[KEYRING_EXPIRY_TEXT_SIZE]);

#endif

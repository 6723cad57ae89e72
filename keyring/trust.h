/*
 * How far a key is trusted for one address, strongest last, always of the user ID or certificate name that carries the
 * address (design, section 4). The order is the meaning: compare with < and >=.
 */
#ifndef KEYRING_TRUST_H
#define KEYRING_TRUST_H

#include "base/err.h"
#include "base/span.h"

enum keyring_trust {
    KEYRING_NEVER = 0,  /* known to be wrong, or nothing known at all */
    KEYRING_UNVERIFIED, /* somebody put it there */
    KEYRING_SEEN,
    KEYRING_FOUND,
    KEYRING_MARGINAL,
    KEYRING_FULL,
    KEYRING_PINNED,
    KEYRING_OWN,
    KEYRING_TRUST_COUNT
};

const char *keyring_trust_name(enum keyring_trust trust);
/* By its name ("found"); ERR_CONFIG if there is none such. "never" is no trust that a rule could name. */
ERR_RETURN enum err keyring_trust_parse(struct span name, enum keyring_trust *trust_out);

enum keyring_format { KEYRING_OPENPGP = 1, KEYRING_SMIME = 2 };

#endif

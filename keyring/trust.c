#include "keyring/trust.h"

#include <stddef.h>

static const char *const names[] = {
    [KEYRING_NEVER] = "never",       [KEYRING_UNVERIFIED] = "unverified",
    [KEYRING_SEEN] = "seen",         [KEYRING_FOUND] = "found",
    [KEYRING_MARGINAL] = "marginal", [KEYRING_FULL] = "full",
    [KEYRING_PINNED] = "pinned",     [KEYRING_OWN] = "own",
};
_Static_assert(sizeof names / sizeof *names == KEYRING_TRUST_COUNT, "each trust needs a name");

const char *keyring_trust_name(enum keyring_trust trust)
{
    return (size_t)trust < KEYRING_TRUST_COUNT ? names[trust] : names[KEYRING_NEVER];
}

enum err keyring_trust_parse(struct span name, enum keyring_trust *trust_out)
{
    for (size_t i = KEYRING_UNVERIFIED; i < KEYRING_TRUST_COUNT; i++)
        if (span_is_equal(name, span_of(names[i]))) {
            *trust_out = (enum keyring_trust)i;
            return ERR_OK;
        }
    return ERR_CONFIG;
}

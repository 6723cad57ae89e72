#include "crypto/engine.h"
static bool can_seal(const struct keyring_gpg *gpg, const struct crypto_seal_request *request)
{
    (void)gpg;
    (void)request;
    return false;
}
const struct crypto_engine crypto_engine_smime = {.name = "OpenSSL", .format = KEYRING_SMIME, .can_seal = can_seal};

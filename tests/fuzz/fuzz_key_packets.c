/* Key packets: any bytes end in an answer, and what is reported has a whole fingerprint. */
#include "keyring/key_packets.h"

#include <stdlib.h>
#include <string.h>

static enum err check(const struct key_packets_key *key, void *context)
{
    (void)context;
    if (strlen(key->fingerprint) != 40 || strspn(key->fingerprint, "0123456789ABCDEF") != 40)
        abort();
    return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum err err = key_packets_walk((struct span){(const char *)data, size}, check, NULL);
    if (err != ERR_OK && err != ERR_MALFORMED)
        abort();
    return 0;
}

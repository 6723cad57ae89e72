/* S/MIME signatures: whatever the bytes are, there is a verdict; and no signer is trusted where there is no anchor. */
#include "crypto/smime.h"

#include <stdlib.h>

#define AT ((int64_t)1800000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct keyring_anchors *none;
    static const struct span text = {"Content-Type: text/plain\r\n\r\nxyzzy\r\n", 35};
    struct crypto_signature signatures[CRYPTO_SMIME_SIGNERS_MAX];
    struct keyring *certificates;
    size_t len = 0;

    if ((none == NULL && keyring_anchors_open("", &none) != ERR_OK) || keyring_new(&certificates) != ERR_OK)
        abort();
    if (crypto_smime_verify(none, (struct span){(const char *)data, size}, text, AT, certificates, signatures, &len) !=
            ERR_OK ||
        len < 1 || len > CRYPTO_SMIME_SIGNERS_MAX)
        abort();
    for (size_t i = 0; i < keyring_len(certificates); i++)
        if (keyring_at(certificates, i)->trust != KEYRING_UNVERIFIED)
            abort();
    keyring_free(&certificates);
    return 0;
}

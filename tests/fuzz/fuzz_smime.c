/* CMS: whatever the bytes are, there is a verdict, and no signer is trusted where there is no anchor; text that is not
   encrypted comes out whole or not at all. */
#include "crypto/smime.h"

#include <stdlib.h>

#define AT ((int64_t)1800000000)

#define TEXT_MAX 100000

/* Text comes out whole or not at all. */
static void check_texts(struct span cms)
{
    static enum err (*const takers[])(struct span, struct buf *) = {crypto_smime_signed_text, crypto_smime_expand};
    struct buf text;

    for (size_t i = 0; i < 2; i++) {
        buf_init(&text, TEXT_MAX);
        if (takers[i](cms, &text) != ERR_OK && text.len != 0)
            abort();
        buf_fini(&text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct keyring_anchors *none;
    static const struct span text = {"Content-Type: text/plain\r\n\r\nxyzzy\r\n", 35};
    struct crypto_smime smime = {.certificates = NULL};
    struct crypto_smime_verified verified;
    struct crypto_learnt learnt = {.len = 0};
    struct keyring *certificates;

    check_texts((struct span){(const char *)data, size});
    if ((none == NULL && keyring_anchors_open("", &none) != ERR_OK) || keyring_new(&certificates) != ERR_OK)
        abort();
    smime.anchors = none;
    if (crypto_smime_verify(&smime, (struct span){(const char *)data, size}, text, false, AT, certificates, &learnt,
                            &verified) != ERR_OK ||
        verified.len < 1 || verified.len > CRYPTO_SMIME_SIGNERS_MAX || learnt.len != 0)
        abort();
    for (size_t i = 0; i < keyring_len(certificates); i++)
        if (keyring_at(certificates, i)->trust != KEYRING_UNVERIFIED)
            abort();
    keyring_free(&certificates);
    return 0;
}

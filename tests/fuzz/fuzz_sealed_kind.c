/* The strict eye for encryption: whole messages, armour, and packets cut at any place. */
#include "crypto/inspect.h"
#include "crypto/packets.h"

#include <stdlib.h>

static void check_packets(struct span bytes)
{
    struct crypto_packets whole = {0}, trickled = {0};

    crypto_packets_feed(&whole, bytes);
    for (size_t i = 0; i < bytes.len; i++)
        crypto_packets_feed(&trickled, span_slice(bytes, i, i + 1));
    if (crypto_packets_is_encrypted(&whole) != crypto_packets_is_encrypted(&trickled))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = {(const char *)data, size};
    struct mime_tree *tree = NULL;

    if (mime_parse(message, MIME_LIMITS_DEFAULT, &tree) == ERR_OK) {
        enum crypto_sealed kind = crypto_sealed_kind(message, tree);

        /* What net would refuse must not be taken for sealed here. */
        if (kind != CRYPTO_NOT_SEALED && !crypto_looks_sealed(message, kind))
            abort();
        mime_tree_free(&tree);
    }
    if (crypto_armour_is_encrypted(message) && !crypto_armour_find(message, "MESSAGE", NULL))
        abort();
    check_packets(message);
    return 0;
}

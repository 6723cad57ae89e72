/* A message that may be an Autocrypt setup message: what is taken out of it is armour of one block without headers. */
#include "crypto/autocrypt_setup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct span begin = SPAN_LIT("-----BEGIN PGP MESSAGE-----\n\n"),
                             end = SPAN_LIT("-----END PGP MESSAGE-----\n");
    struct span message = {(const char *)data, size};
    struct crypto_setup setup;
    struct secret code = {NULL, 0};
    enum err err = crypto_setup_read(message, &setup);
    if (err == ERR_OK) {
        if (!span_has_prefix(buf_span(&setup.armour), begin) ||
            !span_is_equal(span_skip(buf_span(&setup.armour), setup.armour.len - end.len), end) ||
            strspn(setup.begin, "0123456789") != strlen(setup.begin))
            abort();
        crypto_setup_fini(&setup);
    }
    if (crypto_setup_normalise(message, &code) == ERR_OK && secret_span(&code).len > size + CRYPTO_SETUP_CODE_LEN)
        abort();
    secret_fini(&code);
    return 0;
}

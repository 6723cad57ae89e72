/* What directories said, on its way to a keeper: what is read is written alike. */
#include "keyring/found.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span whole = {(const char *)data, size};
    struct span rest = whole;
    struct keyring_found found;
    struct buf again;
    enum err err;
    buf_init(&again, KEYRING_FOUND_SIZE_MAX);
    while ((err = keyring_found_take(&rest, &found)) == ERR_OK)
        if (keyring_found_add(&again, &found) != ERR_OK)
            abort();
    if (err == ERR_END && !span_is_equal(buf_span(&again), whole))
        abort();
    buf_fini(&again);
    return 0;
}

/* Saved decisions and session keys: refused, or saved again as the same bytes. */
#include "crypto/decision.h"

#include <stdlib.h>

static void check_decision(struct span saved)
{
    struct crypto_decision decision;
    struct buf again;

    if (crypto_decision_load(saved, &decision) != ERR_OK)
        return;
    buf_init(&again, 8192);
    if (crypto_decision_save(&decision, &again) != ERR_OK || !span_is_equal(buf_span(&again), saved))
        abort();
    buf_fini(&again);
}

static void check_keys(struct span saved)
{
    struct crypto_session_keys keys;
    struct buf again;

    if (crypto_session_keys_load(saved, &keys) != ERR_OK)
        return;
    buf_init_secret(&again, 8192);
    if (crypto_session_keys_save(&keys, &again) != ERR_OK || !span_is_equal(buf_span(&again), saved))
        abort();
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_decision((struct span){(const char *)data, size});
    check_keys((struct span){(const char *)data, size});
    return 0;
}

/* The header of a view: two headers (split at the first NUL) merged in each way; no verdict but ours, one view of it.
 */
#include "crypto/fields.h"
#include "crypto/open.h"
#include "crypto/open_header.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX (4u * 1048576u)

static void check_merge(const struct crypto_header_merge *merge)
{
    struct mime_field field;
    struct buf out, again;
    bool is_same;

    buf_init(&out, OUT_MAX);
    buf_init(&again, OUT_MAX);
    if (crypto_header_merge(merge, &out) != ERR_OK)
        abort();
    for (size_t at = 0; mime_field_next(buf_span(&out), &at, &field);)
        if ((crypto_field_classes(&field) & (CRYPTO_FIELD_VERDICT | CRYPTO_FIELD_STRUCTURAL | CRYPTO_FIELD_HP_OUTER)) !=
            0)
            abort();
    if (crypto_remove_verdicts(buf_span(&out), merge->authserv_id, &again) != ERR_OK || again.len != out.len)
        abort();
    if (crypto_header_is_same(merge, &is_same) != ERR_OK)
        abort();
    buf_fini(&out);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span all = {(const char *)data, size};
    size_t split = span_find_byte(all, 0, '\0');
    struct crypto_header_merge merge = {
        .outer = span_slice(all, 0, split), .inner = span_skip(all, split + 1), .authserv_id = "me.example"};
    enum crypto_header_protection protection;
    struct buf out;

    for (int i = 0; i < 6; i++) {
        merge.protection = (enum crypto_header_protection)(i % 3);
        merge.keeps_outer_from = i >= 3;
        check_merge(&merge);
    }
    buf_init(&out, OUT_MAX);
    if (crypto_remove_verdicts(all, NULL, &out) != ERR_OK)
        abort();
    buf_clear(&out);
    if (crypto_header_protection(all, &protection) != ERR_OK ||
        crypto_header_add_structural(all, protection != CRYPTO_HEADER_UNPROTECTED, &out) != ERR_OK)
        abort();
    buf_fini(&out);
    return 0;
}

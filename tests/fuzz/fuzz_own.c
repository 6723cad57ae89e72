/* Own copies: whatever is wrapped comes back byte for byte less verdict fields; unwrapping anything else does no harm;
   nothing blind or hidden stands outside. */
#include "crypto/own.h"

#include "crypto/fields.h"
#include "crypto/open.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX (8u * 1048576u)

static void check_outer(struct span outer)
{
    struct mime_field field;
    size_t at = 0;

    while (mime_field_next(outer, &at, &field)) {
        unsigned bad = CRYPTO_FIELD_BLIND | CRYPTO_FIELD_VERDICT | CRYPTO_FIELD_REQUEST | CRYPTO_FIELD_HIDDEN |
                       CRYPTO_FIELD_STRUCTURAL | CRYPTO_FIELD_TRACE;

        if (field.name.len == 0 || (crypto_field_classes(&field) & bad) != 0)
            abort();
        if (mime_field_is(&field, "Subject") && !span_is_equal(span_trim(field.value), SPAN_LIT("[...]")))
            abort();
    }
    if (at != outer.len)
        abort();
}

/* The message less its verdict fields, wherever its header ends. */
static void clean(struct span message, struct buf *out)
{
    struct mime_field field;
    size_t at = 0;

    while (mime_field_next(message, &at, &field))
        continue;
    if (crypto_remove_verdicts(span_slice(message, 0, at), NULL, out) != ERR_OK ||
        buf_add_span(out, span_skip(message, at)) != ERR_OK)
        abort();
}

static void check_wrap(struct span message)
{
    struct buf outer, whole, back, wanted;
    struct mime_pieces payload;

    mime_pieces_init(&payload);
    buf_init(&outer, OUT_MAX);
    buf_init(&whole, OUT_MAX);
    buf_init(&back, OUT_MAX);
    buf_init(&wanted, OUT_MAX);
    if (crypto_own_wrap(message, &payload, &outer) != ERR_OK)
        abort();
    for (size_t i = 0; i < payload.len; i++)
        if (buf_add_span(&whole, payload.items[i].bytes) != ERR_OK)
            abort();
    clean(message, &wanted);
    if (crypto_own_unwrap(buf_span(&whole), &back) != ERR_OK || !span_is_equal(buf_span(&back), buf_span(&wanted)))
        abort();
    check_outer(buf_span(&outer));
    mime_pieces_fini(&payload);
    buf_fini(&outer);
    buf_fini(&whole);
    buf_fini(&back);
    buf_fini(&wanted);
}

static void check_unwrap(struct span payload)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    enum err err = crypto_own_unwrap(payload, &out);
    if ((err == ERR_NOT_FOUND) == crypto_own_has_mark(payload) || (err != ERR_OK && out.len != 0) ||
        out.len > payload.len)
        abort();
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = {(const char *)data, size};

    check_unwrap(bytes);
    check_wrap(bytes);
    return 0;
}

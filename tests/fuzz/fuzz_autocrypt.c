/*
 * A header with Autocrypt fields in it: any bytes end in an answer, a field that is valid has a whole key and is
 * written and read again as it was, and cutting its key down stays within it.
 */
#include "keyring/autocrypt.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct keyring_autocrypt_field *field)
{
    struct buf out;
    struct mime_field written;
    struct keyring_autocrypt_field again;
    buf_init(&out, KEYRING_AUTOCRYPT_FIELD_MAX * 2);
    /* A field may be as large as it is by its key alone, without our folds. */
    if (keyring_autocrypt_add(&out, KEYRING_AUTOCRYPT_NAME, field->address, field->is_mutual, buf_span(&field->key)) ==
        ERR_OK) {
        if (!mime_field_find(buf_span(&out), KEYRING_AUTOCRYPT_NAME, &written) || written.whole.len != out.len ||
            keyring_autocrypt_parse(&written, &again) != ERR_OK)
            abort();
        if (again.is_mutual != field->is_mutual || strcmp(again.address, field->address) != 0 ||
            !span_is_equal(buf_span(&again.key), buf_span(&field->key)))
            abort();
        keyring_autocrypt_field_fini(&again);
    }
    buf_clear(&out);
    if (keyring_autocrypt_reduce(buf_span(&field->key), field->address, 1700000000, &out) == ERR_OK &&
        out.len > field->key.len)
        abort();
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span header = {(const char *)data, size};
    struct keyring_autocrypt_field parsed;
    struct mime_field field;
    for (size_t at = 0; mime_field_next(header, &at, &field);) {
        if (keyring_autocrypt_parse(&field, &parsed) != ERR_OK)
            continue;
        if (strlen(parsed.fingerprint) != 40 || parsed.key.len == 0 || parsed.address[0] == '\0')
            abort();
        check_again(&parsed);
        keyring_autocrypt_field_fini(&parsed);
    }
    if (keyring_autocrypt_pick(header, "bob@example.org", &parsed) == ERR_OK)
        keyring_autocrypt_field_fini(&parsed);
    return 0;
}

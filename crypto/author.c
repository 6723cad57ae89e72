#include "crypto/author.h"

#include "mime/field.h"

#include <string.h>

struct authors {
    char *address;
    size_t len;
};

static enum err take(const struct mime_addr *addr, void *context)
{
    struct authors *authors = context;

    authors->len++;
    memcpy(authors->address, addr->address, MIME_ADDR_SIZE);
    return ERR_OK;
}

size_t crypto_author(struct span header, char address_out[MIME_ADDR_SIZE])
{
    struct authors authors = {address_out, 0};
    struct mime_field field;
    size_t fields_len = 0;
    bool is_readable = true;

    address_out[0] = '\0';
    for (size_t at = 0; mime_field_next(header, &at, &field);) {
        if (!mime_field_is(&field, "From"))
            continue;
        fields_len++;
        is_readable = mime_addr_walk(field.value, take, &authors) == ERR_OK && is_readable;
    }
    if (fields_len != 1 || authors.len != 1 || !is_readable)
        address_out[0] = '\0';
    return authors.len;
}

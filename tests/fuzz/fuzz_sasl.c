/* The first byte chooses the mechanism, the rest is the response. */
#include "base/sasl.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char login[64];
    if (size == 0)
        return 0;
    enum sasl_mechanism mechanism = (enum sasl_mechanism)(data[0] % (SASL_COUNT + 1));
    struct span response = {(const char *)data + 1, size - 1};
    enum err err = sasl_login(mechanism, 0, response, login, sizeof login);
    if (err != ERR_OK) {
        if (err != ERR_AUTH_FAILED || login[0] != '\0')
            abort();
        return 0;
    }
    size_t len = strnlen(login, sizeof login);
    if (len == 0 || len == sizeof login || strpbrk(login, "\r\n"))
        abort();
    /* A name that was accepted can be sent on as PLAIN and is the same there. */
    struct buf plain;
    char again[sizeof login];
    buf_init(&plain, 1000);
    if (sasl_plain_response(span_of(login), SPAN_LIT("password"), &plain) != ERR_OK ||
        sasl_login(SASL_PLAIN, 0, buf_span(&plain), again, sizeof again) != ERR_OK || strcmp(login, again) != 0)
        abort();
    buf_fini(&plain);
    return 0;
}

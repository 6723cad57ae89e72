/* Any address in a URL: what stands behind the last "=" is unreserved or escaped, and unescaped it is the address. */
#include "keyring/web.h"

#include <stdlib.h>
#include <string.h>

static unsigned digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return (unsigned)(byte - '0');
    if (byte < 'A' || byte > 'F')
        abort();
    return (unsigned)(byte - 'A') + 10;
}

static void check(const char *url, struct span value)
{
    const char *at = strrchr(url, '=');
    if (at == NULL || strlen(url) >= KEYRING_WEB_URL_SIZE)
        abort();
    at++;
    for (size_t i = 0; i < value.len; i++) {
        unsigned byte = (unsigned char)*at++;
        if (byte == '%') {
            byte = digit(at[0]) << 4 | digit(at[1]);
            at += 2;
        } else if (byte == '\0' || strchr("@/?#&=+ \"<>\\^`{|}:;,!$'()*[]", (int)byte) != NULL || byte >= 0x7f ||
                   byte < 0x21) {
            abort();
        }
        if (byte != (unsigned char)value.ptr[i])
            abort();
    }
    if (*at != '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct keyring_web_options options = {.is_keyserver = true, .host = "keys.example", .port = 443};
    char address[MIME_ADDR_SIZE], url[KEYRING_WEB_URL_SIZE];
    if (mime_addr_normalise((struct span){(const char *)data, size}, address) != ERR_OK)
        return 0;
    if (keyring_hkp_url(&options, address, url) != ERR_OK)
        abort();
    check(url, span_of(address));
    const size_t local = (size_t)(mime_addr_domain(address) - address) - 1;
    for (int is_direct = 0; is_direct <= 1; is_direct++)
        if (keyring_wkd_url(address, is_direct, url) == ERR_OK)
            check(url, (struct span){address, local});
    return 0;
}

/* draft-gallagher-openpgp-hkp §3; where exact is not known it is ignored, and what comes is looked at anyway. */
#include "keyring/web.h"

#include "keyring/web_internal.h"

#include <stdio.h>
#include <string.h>

enum err keyring_hkp_url(const struct keyring_web_options *options, const char *address, char url[KEYRING_WEB_URL_SIZE])
{
    const bool is_ipv6 = strchr(options->host, ':') != NULL;
    struct buf text;
    buf_init(&text, KEYRING_WEB_URL_SIZE - 1);
    enum err err = buf_addf(&text, "%s://%s%s%s:%d/", options->is_clear ? "http" : "https", is_ipv6 ? "[" : "",
                            options->host, is_ipv6 ? "]" : "", options->port);
    if (err == ERR_OK && address != NULL)
        err = buf_add_string(&text, "pks/lookup?op=get&options=mr&exact=on&search=");
    if (err == ERR_OK && address != NULL)
        err = web_add_escaped(span_of(address), &text);
    if (err == ERR_OK && !span_copy(buf_span(&text), url, KEYRING_WEB_URL_SIZE))
        err = ERR_LIMIT;
    buf_fini(&text);
    return err;
}

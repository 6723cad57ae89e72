/* draft-gallagher-openpgp-hkp §3, §4; where exact is not known it is ignored, and what comes is looked at anyway. */
#include "keyring/web.h"

#include "base/base64.h"
#include "keyring/key_packets.h"
#include "keyring/paper.h"
#include "keyring/web_internal.h"

#include <stdio.h>
#include <string.h>

#define ARMOUR_LINE 64

static enum err add_host(const struct keyring_web_options *options, struct buf *text)
{
    const bool is_ipv6 = strchr(options->host, ':') != NULL;
    return buf_addf(text, "%s://%s%s%s:%d/", options->is_clear ? "http" : "https", is_ipv6 ? "[" : "", options->host,
                    is_ipv6 ? "]" : "", options->port);
}

enum err keyring_hkp_url(const struct keyring_web_options *options, const char *search, char url[KEYRING_WEB_URL_SIZE])
{
    struct buf text;
    buf_init(&text, KEYRING_WEB_URL_SIZE - 1);
    enum err err = add_host(options, &text);
    if (err == ERR_OK && search != NULL)
        err = buf_add_string(&text, "pks/lookup?op=get&options=mr&exact=on&search=");
    if (err == ERR_OK && search != NULL)
        err = web_add_escaped(span_of(search), &text);
    if (err == ERR_OK && !span_copy(buf_span(&text), url, KEYRING_WEB_URL_SIZE))
        err = ERR_LIMIT;
    buf_fini(&text);
    return err;
}

enum err keyring_hkp_add_url(const struct keyring_web_options *options, char url[KEYRING_WEB_URL_SIZE])
{
    struct buf text;
    buf_init(&text, KEYRING_WEB_URL_SIZE - 1);
    enum err err = add_host(options, &text);
    if (err == ERR_OK)
        err = buf_add_string(&text, "pks/add");
    if (err == ERR_OK && !span_copy(buf_span(&text), url, KEYRING_WEB_URL_SIZE))
        err = ERR_LIMIT;
    buf_fini(&text);
    return err;
}

/* One public key, from its beginning to its end: no secret part has a tag that is listed here. */
static bool is_public_key(struct span key)
{
    bool is_first = true;
    while (key.len > 0) {
        unsigned tag;
        struct span body;
        if (!key_packets_take(&key, &tag, &body) || is_first != (tag == KEY_PACKETS_PUBLIC_KEY))
            return false;
        if (tag != KEY_PACKETS_PUBLIC_KEY && tag != KEY_PACKETS_SIGNATURE && tag != KEY_PACKETS_USER_ID &&
            tag != KEY_PACKETS_SUBKEY && tag != KEY_PACKETS_ATTRIBUTE)
            return false;
        is_first = false;
    }
    return !is_first;
}

/* RFC 9580 §6.2 */
static enum err add_armour(struct span key, struct buf *out)
{
    const uint32_t crc = keyring_crc24(KEYRING_CRC24_BEGIN, key);
    const char check[3] = {(char)(crc >> 16), (char)(crc >> 8), (char)crc};
    struct buf encoded;
    buf_init(&encoded, KEYRING_HKP_SENT_MAX);
    enum err err = base64_encode(key, &encoded);
    if (err == ERR_OK)
        err = buf_add_string(out, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n");
    for (size_t at = 0; err == ERR_OK && at < encoded.len; at += ARMOUR_LINE) {
        err = buf_add_span(
            out, span_slice(buf_span(&encoded), at, at + ARMOUR_LINE < encoded.len ? at + ARMOUR_LINE : encoded.len));
        if (err == ERR_OK)
            err = buf_add_byte(out, '\n');
    }
    if (err == ERR_OK)
        err = buf_add_byte(out, '=');
    if (err == ERR_OK)
        err = base64_encode((struct span){check, sizeof check}, out);
    if (err == ERR_OK)
        err = buf_add_string(out, "\n-----END PGP PUBLIC KEY BLOCK-----\n");
    buf_fini(&encoded);
    return err;
}

enum err keyring_hkp_add_body(struct span key, struct buf *out)
{
    struct buf armour;
    if (!is_public_key(key))
        return ERR_REFUSED;
    buf_init(&armour, KEYRING_HKP_SENT_MAX);
    enum err err = add_armour(key, &armour);
    if (err == ERR_OK)
        err = buf_add_string(out, "keytext=");
    if (err == ERR_OK)
        err = web_add_escaped(buf_span(&armour), out);
    buf_fini(&armour);
    return err;
}

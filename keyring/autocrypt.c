#include "keyring/autocrypt.h"

#include "keyring/key_packets.h"
#include "mime/encoding.h"

#include <string.h>

/* Attributes of a field so far. */
struct attributes {
    struct span address, keydata;
    bool is_mutual, has_preference;
};

/* BASE64 of RFC 4648 §4 as a whole, but for blanks and line ends. */
static enum err decode(struct span text, struct buf *out)
{
    static const struct span alphabet = SPAN_LIT("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t digits = 0, padding = 0;

    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];

        if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n')
            continue;
        if (byte != '=' && (padding > 0 || span_find_byte(alphabet, 0, byte) == alphabet.len))
            return ERR_MALFORMED;
        padding += byte == '=';
        digits++;
    }
    if (digits == 0 || digits % 4 != 0 || padding > 2)
        return ERR_MALFORMED;
    return mime_decode(MIME_BASE64, text, out);
}

/* attribute = name "=" value; a name that begins with an underscore may be passed over. False: the field is not for us.
   Each may stand there once, and keydata is the last (2.1.1). */
static bool take_attribute(struct span item, struct attributes *attributes)
{
    struct span name;

    if (attributes->keydata.ptr || !span_take_until(&item, '=', &name))
        return false;
    name = span_trim(name);
    item = span_trim(item);
    if (span_is_case_equal(name, SPAN_LIT("addr")) && !attributes->address.ptr) {
        attributes->address = item;
    } else if (span_is_case_equal(name, SPAN_LIT("prefer-encrypt")) && !attributes->has_preference) {
        attributes->has_preference = true;
        attributes->is_mutual = span_is_case_equal(item, SPAN_LIT("mutual"));
    } else if (span_is_case_equal(name, SPAN_LIT("keydata"))) {
        attributes->keydata = item;
    } else {
        return name.len > 0 && name.ptr[0] == '_';
    }
    return item.len > 0;
}

enum err keyring_autocrypt_parse(const struct mime_field *field, struct keyring_autocrypt_field *field_out)
{
    struct attributes attributes = {.is_mutual = false};
    struct span rest = field->value, item;
    enum err err;

    if (field->whole.len > KEYRING_AUTOCRYPT_FIELD_MAX)
        return ERR_MALFORMED;
    while (span_take_until(&rest, ';', &item)) {
        item = span_trim(item);
        if (item.len > 0 && !take_attribute(item, &attributes))
            return ERR_MALFORMED;
    }
    if (!attributes.address.ptr || !attributes.keydata.ptr ||
        mime_addr_normalise(attributes.address, field_out->address) != ERR_OK)
        return ERR_MALFORMED;
    field_out->is_mutual = attributes.is_mutual;
    buf_init(&field_out->key, KEYRING_PEER_KEY_MAX);
    err = decode(attributes.keydata, &field_out->key);
    if (err == ERR_OK)
        err = key_packets_single(buf_span(&field_out->key), field_out->fingerprint);
    if (err != ERR_OK)
        keyring_autocrypt_field_fini(field_out);
    return err;
}

void keyring_autocrypt_field_fini(struct keyring_autocrypt_field *field)
{
    buf_fini(&field->key);
}

enum err keyring_autocrypt_pick(struct span header, const char *from, struct keyring_autocrypt_field *field_out)
{
    struct keyring_autocrypt_field parsed;
    struct mime_field field;
    size_t valid = 0;
    enum err err = ERR_OK;

    for (size_t at = 0; err == ERR_OK && mime_field_next(header, &at, &field);) {
        if (!mime_field_is(&field, KEYRING_AUTOCRYPT_NAME))
            continue;
        err = keyring_autocrypt_parse(&field, &parsed);
        if (err == ERR_OK && mime_addr_is_same(parsed.address, from) && valid++ == 0)
            *field_out = parsed;
        else if (err == ERR_OK)
            keyring_autocrypt_field_fini(&parsed);
        if (err == ERR_MALFORMED)
            err = ERR_OK;
    }
    if (valid > 0 && (valid > 1 || err != ERR_OK))
        keyring_autocrypt_field_fini(field_out);
    return err == ERR_OK && valid != 1 ? ERR_NOT_FOUND : err;
}

/* An address that every reader of the attribute sees as one. */
static bool can_stand(const char *address)
{
    for (const char *at = address; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~' || *at == ';')
            return false;
    return address[0] != '\0';
}

static enum err add_keydata(struct buf *out, struct span key)
{
    struct mime_coder coder = {.encoding = MIME_BASE64};
    struct buf encoded;
    struct span rest, line;
    enum err err;

    buf_init(&encoded, KEYRING_AUTOCRYPT_FIELD_MAX);
    err = mime_encode_feed(&coder, key, &encoded);
    if (err == ERR_OK)
        err = mime_encode_end(&coder, &encoded);
    rest = buf_span(&encoded);
    while (err == ERR_OK && rest.len > 0 && span_take_until(&rest, '\n', &line)) {
        line = span_trim(line);
        if (line.len > 0)
            err = buf_addf(out, " %.*s\r\n", (int)line.len, line.ptr);
    }
    buf_fini(&encoded);
    return err;
}

enum err keyring_autocrypt_add(struct buf *out, const char *name, const char *address, bool is_mutual, struct span key)
{
    size_t before = out->len;
    enum err err;

    if (!can_stand(address))
        return ERR_MALFORMED;
    err = buf_addf(out, "%s: addr=%s;%s\r\n keydata=\r\n", name, address, is_mutual ? " prefer-encrypt=mutual;" : "");
    if (err == ERR_OK)
        err = add_keydata(out, key);
    if (err == ERR_OK && out->len - before > KEYRING_AUTOCRYPT_FIELD_MAX)
        err = ERR_LIMIT;
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

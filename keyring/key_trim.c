#include "keyring/key_trim.h"

#include "keyring/key_packets.h"
#include "mime/addr.h"
#include "mime/encoding.h"

#include <string.h>

enum {
    TAG_SIGNATURE = 2,
    TAG_SECRET_KEY = 5,
    TAG_PUBLIC_KEY = 6,
    TAG_SECRET_SUBKEY = 7,
    TAG_USER_ID = 13,
    TAG_PUBLIC_SUBKEY = 14,
    TAG_ATTRIBUTE = 17
};
#define SIGNATURE_REVOKES_KEY 0x20

enum { SUBPACKET_ISSUER = 16, SUBPACKET_ISSUER_FINGERPRINT = 33 };

#define ID_HEX 16 /* a key ID: the end of a fingerprint, in hexadecimal */

struct trim {
    const struct key_trim_want *want;
    key_trim_fn fn;
    void *context;
    struct buf key; /* what is kept of the one that is being read */
    char fingerprint[KEYRING_FPR_SIZE];
    bool is_kept;   /* what signatures follow belongs to what is kept */
    bool is_wanted; /* the key, by its user IDs or its fingerprint */
    bool is_too_large;
    size_t signatures, subkeys; /* of what is being read; of the key */
    size_t keys;                /* handed up */
};

/* ---- armour (RFC 9580 §6.2) ---- */

static struct span take_line(struct span *rest)
{
    const size_t end = span_find_byte(*rest, 0, '\n');
    struct span line = span_slice(*rest, 0, end);
    *rest = span_skip(*rest, end < rest->len ? end + 1 : end);
    while (line.len > 0 && (unsigned char)line.ptr[line.len - 1] <= ' ')
        line.len--;
    return line;
}

/* The lines after the head's fields; its checksum is no protection, and left out. */
static enum err take_block(struct span *rest, struct buf *out)
{
    struct mime_coder coder = {.encoding = MIME_BASE64};
    bool is_in_head = true, is_in_data = true;
    enum err err = ERR_OK;
    while (err == ERR_OK && rest->len > 0) {
        const struct span line = take_line(rest);
        if (span_has_prefix(line, SPAN_LIT("-----END ")))
            return mime_decode_end(&coder, out);
        if (line.len > 0 && line.ptr[0] == '=')
            is_in_data = false;
        if (!is_in_head && is_in_data)
            err = mime_decode_feed(&coder, line, out);
        is_in_head = is_in_head && line.len > 0;
    }
    return err == ERR_OK ? ERR_MALFORMED : err;
}

static enum err take_armour(struct span text, bool is_secret, struct buf *out)
{
    const struct span head = is_secret ? SPAN_LIT("-----BEGIN PGP PRIVATE KEY BLOCK-----")
                                       : SPAN_LIT("-----BEGIN PGP PUBLIC KEY BLOCK-----");
    size_t blocks = 0;
    enum err err = ERR_OK;
    while (err == ERR_OK && text.len > 0)
        if (span_has_prefix(take_line(&text), head)) {
            err = take_block(&text, out);
            blocks++;
        }
    return err == ERR_OK && blocks == 0 ? ERR_MALFORMED : err;
}

/* ---- packets ---- */

/* As gpg reads a user ID: what stands between the last angle brackets, or all of it. */
static bool has_address(struct span user_id, const char *address)
{
    char normal[MIME_ADDR_SIZE];
    struct span mailbox = user_id;
    if (user_id.len > 0 && user_id.ptr[user_id.len - 1] == '>')
        for (size_t i = user_id.len; i-- > 0;)
            if (user_id.ptr[i] == '<') {
                mailbox = span_slice(user_id, i + 1, user_id.len - 1);
                break;
            }
    return mime_addr_normalise(mailbox, normal) == ERR_OK && mime_addr_is_same(normal, address);
}

static bool is_hex_end(struct span bytes, const char *fingerprint)
{
    static const char digits[] = "0123456789ABCDEF";
    const size_t len = strlen(fingerprint);
    if (bytes.len * 2 > len)
        return false;
    const char *at = fingerprint + len - bytes.len * 2;
    for (size_t i = 0; i < bytes.len; i++, at += 2)
        if (at[0] != digits[(unsigned char)bytes.ptr[i] >> 4] || at[1] != digits[(unsigned char)bytes.ptr[i] & 15])
            return false;
    return true;
}

static bool names_issuer(struct span subpackets, const char *fingerprint)
{
    struct span body;
    unsigned type;
    while (key_packets_subpacket(&subpackets, &type, &body)) {
        /* A fingerprint stands behind the key's version. */
        if ((type == SUBPACKET_ISSUER && body.len == ID_HEX / 2 && is_hex_end(body, fingerprint)) ||
            (type == SUBPACKET_ISSUER_FINGERPRINT && body.len == 1 + strlen(fingerprint) / 2 &&
             is_hex_end(span_skip(body, 1), fingerprint)))
            return true;
    }
    return false;
}

static bool take_area(struct span *rest, struct span *area_out)
{
    if (rest->len < 2)
        return false;
    const size_t len = (size_t)(unsigned char)rest->ptr[0] << 8 | (unsigned char)rest->ptr[1];
    if (len > rest->len - 2)
        return false;
    *area_out = span_slice(*rest, 2, 2 + len);
    *rest = span_skip(*rest, 2 + len);
    return true;
}

/* RFC 4880 §5.2.3: version, type, two algorithms, then hashed and unhashed subpackets. */
static bool is_own(struct span signature, const char *fingerprint)
{
    struct span rest = span_skip(signature, 4), hashed, unhashed;
    if (signature.len < 4 || signature.ptr[0] != 4 || !take_area(&rest, &hashed) || !take_area(&rest, &unhashed))
        return false;
    return names_issuer(hashed, fingerprint) || names_issuer(unhashed, fingerprint);
}

static enum err add(struct trim *trim, struct span packet)
{
    enum err err = buf_add_span(&trim->key, packet);
    trim->is_too_large = trim->is_too_large || err == ERR_LIMIT;
    return err == ERR_LIMIT ? ERR_OK : err;
}

static enum err end_key(struct trim *trim)
{
    enum err err = ERR_OK;
    if (trim->key.len > 0 && trim->is_wanted && !trim->is_too_large && trim->keys < KEY_TRIM_KEYS_MAX) {
        trim->keys++;
        err = trim->fn(buf_span(&trim->key), trim->context);
    }
    buf_clear(&trim->key);
    trim->is_kept = trim->is_wanted = trim->is_too_large = false;
    trim->signatures = trim->subkeys = 0;
    return err;
}

/* Other versions have other fingerprints, and gpg 2.2 does not read them. */
static enum err begin_key(struct trim *trim, struct span body, struct span packet)
{
    enum err err = end_key(trim);
    if (err != ERR_OK)
        return err;
    const char *wanted = trim->want->fingerprint;
    /* That of a secret key's packet is of its public part alone. */
    if (trim->want->is_secret)
        err = span_copy(span_of(wanted), trim->fingerprint, sizeof trim->fingerprint) ? ERR_OK : ERR_NOT_FOUND;
    else
        err = key_packets_fingerprint(body, trim->fingerprint);
    if (err == ERR_OK && wanted != NULL && strcmp(wanted, trim->fingerprint) != 0)
        err = ERR_NOT_FOUND;
    trim->is_kept = err == ERR_OK;
    trim->is_wanted = trim->is_kept && wanted != NULL;
    return err == ERR_NOT_FOUND ? ERR_OK : err == ERR_OK ? add(trim, packet) : err;
}

static enum err take_packet(struct trim *trim, unsigned tag, struct span body, struct span packet)
{
    const bool is_in_key = trim->key.len > 0, is_secret = trim->want->is_secret;
    switch (tag) {
    case TAG_PUBLIC_KEY:
    case TAG_SECRET_KEY:
        return is_secret == (tag == TAG_SECRET_KEY) ? begin_key(trim, body, packet) : ERR_MALFORMED;
    case TAG_USER_ID:
    case TAG_ATTRIBUTE:
        trim->signatures = 0;
        trim->is_kept = is_in_key && tag == TAG_USER_ID &&
                        (trim->want->address == NULL || has_address(body, trim->want->address));
        trim->is_wanted = trim->is_wanted || trim->is_kept;
        return trim->is_kept ? add(trim, packet) : ERR_OK;
    case TAG_PUBLIC_SUBKEY:
    case TAG_SECRET_SUBKEY:
        if (is_secret != (tag == TAG_SECRET_SUBKEY))
            return ERR_MALFORMED;
        trim->signatures = 0;
        trim->is_kept = is_in_key && trim->subkeys++ < KEY_TRIM_SUBKEYS_MAX;
        return trim->is_kept ? add(trim, packet) : ERR_OK;
    case TAG_SIGNATURE:
        if (!trim->is_kept || !is_own(body, trim->fingerprint) || trim->signatures >= KEY_TRIM_SIGNATURES_MAX)
            return ERR_OK;
        trim->signatures++;
        return add(trim, packet);
    default: /* trust, marker, padding, and what is not known */
        return ERR_OK;
    }
}

static enum err walk(struct trim *trim, struct span packets)
{
    enum err err = packets.len == 0 ? ERR_MALFORMED : ERR_OK;
    while (err == ERR_OK && packets.len > 0) {
        const struct span before = packets;
        struct span body;
        unsigned tag;
        if (!key_packets_take(&packets, &tag, &body))
            return ERR_MALFORMED;
        err = take_packet(trim, tag, body, span_slice(before, 0, before.len - packets.len));
    }
    return err == ERR_OK ? end_key(trim) : err;
}

enum err key_trim(struct span answer, const struct key_trim_want *want, key_trim_fn fn, void *context)
{
    struct trim trim = {.want = want, .fn = fn, .context = context};
    struct buf packets;
    if (want->is_secret && want->fingerprint == NULL)
        return ERR_USAGE;
    buf_init_secret(&trim.key, want->key_max);
    buf_init_secret(&packets, answer.len);
    const bool is_binary = answer.len > 0 && ((unsigned char)answer.ptr[0] & 0x80) != 0;
    enum err err = is_binary ? ERR_OK : take_armour(answer, want->is_secret, &packets);
    if (err == ERR_OK)
        err = walk(&trim, is_binary ? answer : buf_span(&packets));
    buf_fini(&packets);
    buf_fini(&trim.key);
    return err;
}

bool key_trim_is_revocation(struct span armour, const char *fingerprint)
{
    struct buf packets;
    struct span rest, body;
    unsigned tag;
    buf_init(&packets, armour.len);
    rest = take_armour(armour, false, &packets) == ERR_OK ? buf_span(&packets) : SPAN_NONE;
    const bool is_it = key_packets_take(&rest, &tag, &body) && tag == TAG_SIGNATURE && rest.len == 0 && body.len > 1 &&
                       body.ptr[1] == SIGNATURE_REVOKES_KEY && is_own(body, fingerprint);
    buf_fini(&packets);
    return is_it;
}

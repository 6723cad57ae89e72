#include "keyring/key_packets.h"

#include <openssl/evp.h>
#include <stdio.h>

enum { TAG_SIGNATURE = 2, TAG_PUBLIC_KEY = 6, TAG_USER_ID = 13, TAG_SUBKEY = 14, TAG_ATTRIBUTE = 17 };
enum { SUBPACKET_FEATURES = 30, SUBPACKET_AEAD = 34, SUBPACKET_AEAD_SUITES = 39 };

/* Feature bits: OCB packets of LibrePGP, and version 2 of the protected data packet (RFC 9580 §5.2.3.32). */
#define FEATURES_AEAD (0x02 | 0x08)

static bool take(struct span *rest, size_t count, struct span *piece_out)
{
    if (rest->len < count)
        return false;
    *piece_out = span_slice(*rest, 0, count);
    *rest = span_skip(*rest, count);
    return true;
}

static bool take_number(struct span *rest, size_t bytes, size_t *number_out)
{
    struct span piece;
    if (!take(rest, bytes, &piece))
        return false;
    *number_out = 0;
    for (size_t i = 0; i < bytes; i++)
        *number_out = *number_out << 8 | (unsigned char)piece.ptr[i];
    return true;
}

/* RFC 4880 §4.2.2 and §5.2.3.1: one byte below 192; two up to 8,383; 255 and four. 224 to 254 is a partial length in a
   packet (which no packet of a key may have), two bytes in a subpacket. */
static bool take_length(struct span *rest, bool is_subpacket, size_t *length_out)
{
    size_t first, second;
    if (!take_number(rest, 1, &first))
        return false;
    if (first < 192) {
        *length_out = first;
        return true;
    }
    if (first == 255)
        return take_number(rest, 4, length_out);
    if ((!is_subpacket && first >= 224) || !take_number(rest, 1, &second))
        return false;
    *length_out = ((first - 192) << 8) + second + 192;
    return true;
}

/* Bit 7 is always set; bit 6 tells new from old. */
bool key_packets_take(struct span *rest, unsigned *tag_out, struct span *body_out)
{
    size_t head, length;
    if (!take_number(rest, 1, &head) || (head & 0x80) == 0)
        return false;
    if ((head & 0x40) != 0) {
        *tag_out = head & 0x3f;
        return take_length(rest, false, &length) && take(rest, length, body_out);
    }
    *tag_out = (head >> 2) & 0x0f;
    /* Length type 3 is "until the end", which no packet of a key has. */
    return (head & 3) != 3 && take_number(rest, (size_t)1 << (head & 3), &length) && take(rest, length, body_out);
}

bool key_packets_take_subpacket(struct span *rest, struct span *body_out)
{
    size_t length;
    return rest->len > 0 && take_length(rest, true, &length) && take(rest, length, body_out);
}

static bool subpacket_asks_for_aead(struct span body)
{
    if (body.len < 2)
        return false;
    switch ((unsigned char)body.ptr[0] & 0x7f) { /* bit 7: critical */
    case SUBPACKET_FEATURES:
        return ((unsigned char)body.ptr[1] & FEATURES_AEAD) != 0;
    case SUBPACKET_AEAD:
    case SUBPACKET_AEAD_SUITES:
        return true;
    default:
        return false;
    }
}

/* RFC 4880 §5.2.3: version, type, public key algorithm, hash algorithm, length and bytes of the hashed subpackets.
   Certifications (0x10 to 0x13) and direct signatures (0x1f) carry preferences. */
static bool signature_asks_for_aead(struct span body)
{
    size_t version, type, algorithms, length;
    struct span hashed;
    if (!take_number(&body, 1, &version) || version != 4 || !take_number(&body, 1, &type) ||
        !take_number(&body, 2, &algorithms) || !take_number(&body, 2, &length) || !take(&body, length, &hashed))
        return false;
    if ((type < 0x10 || type > 0x13) && type != 0x1f)
        return false;
    struct span subpacket;
    while (key_packets_take_subpacket(&hashed, &subpacket))
        if (subpacket_asks_for_aead(subpacket))
            return true;
    return false;
}

/* SHA-1 over 0x99, the two-byte length and the packet's body. */
enum err key_packets_fingerprint(struct span body, char fingerprint[KEYRING_FPR_SIZE])
{
    fingerprint[0] = '\0';
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    const unsigned char head[3] = {0x99, (unsigned char)(body.len >> 8), (unsigned char)body.len};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (hash == NULL)
        return ERR_MEMORY;
    bool is_done = EVP_DigestInit_ex(hash, EVP_sha1(), NULL) == 1 && EVP_DigestUpdate(hash, head, sizeof head) == 1 &&
                   EVP_DigestUpdate(hash, body.ptr, body.len) == 1 &&
                   EVP_DigestFinal_ex(hash, digest, &digest_len) == 1;
    EVP_MD_CTX_free(hash);
    if (!is_done)
        return ERR_ENGINE;
    for (unsigned i = 0; i < digest_len && 2 * i + 3 <= KEYRING_FPR_SIZE; i++)
        (void)snprintf(fingerprint + 2 * i, 3, "%02X", digest[i]);
    return ERR_OK;
}

enum err key_packets_walk(struct span packets, key_packets_fn fn, void *context)
{
    struct key_packets_key key = {.has_aead = false};
    bool is_in_key = false;
    enum err err = ERR_OK;
    while (err == ERR_OK && packets.len > 0) {
        unsigned tag;
        struct span body;
        if (!key_packets_take(&packets, &tag, &body))
            return ERR_MALFORMED;
        if (tag == TAG_PUBLIC_KEY) {
            if (is_in_key)
                err = fn(&key, context);
            key = (struct key_packets_key){.has_aead = false};
            /* Other versions have other fingerprints, and gpg 2.2 does not read them. */
            is_in_key = body.len > 0 && body.len <= 0xffff && body.ptr[0] == 4;
            if (err == ERR_OK && is_in_key)
                err = key_packets_fingerprint(body, key.fingerprint);
        } else if (tag == TAG_SIGNATURE && is_in_key) {
            key.has_aead = key.has_aead || signature_asks_for_aead(body);
        }
    }
    return err == ERR_OK && is_in_key ? fn(&key, context) : err;
}
static enum err take_fingerprint(const struct key_packets_key *key, void *context)
{
    (void)span_copy(span_of(key->fingerprint), context, KEYRING_FPR_SIZE);
    return ERR_OK;
}

enum err key_packets_single(struct span packets, char fingerprint_out[KEYRING_FPR_SIZE])
{
    size_t keys = 0, user_ids = 0;
    struct span body;
    unsigned tag;
    for (struct span rest = packets; rest.len > 0;) {
        if (!key_packets_take(&rest, &tag, &body) || (keys == 0) != (tag == TAG_PUBLIC_KEY))
            return ERR_MALFORMED;
        keys += tag == TAG_PUBLIC_KEY;
        user_ids += tag == TAG_USER_ID;
        if (tag != TAG_PUBLIC_KEY && tag != TAG_SIGNATURE && tag != TAG_USER_ID && tag != TAG_SUBKEY &&
            tag != TAG_ATTRIBUTE)
            return ERR_MALFORMED;
    }
    fingerprint_out[0] = '\0';
    if (user_ids == 0)
        return ERR_MALFORMED;
    enum err err = key_packets_walk(packets, take_fingerprint, fingerprint_out);
    return err == ERR_OK && fingerprint_out[0] == '\0' ? ERR_MALFORMED : err;
}

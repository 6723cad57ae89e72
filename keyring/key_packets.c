#include "keyring/key_packets_internal.h"

#include <openssl/evp.h>
#include <stdio.h>

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

bool key_packets_take_number(struct span *rest, size_t bytes, size_t *number_out)
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
    if (!key_packets_take_number(rest, 1, &first))
        return false;
    if (first < 192) {
        *length_out = first;
        return true;
    }
    if (first == 255)
        return key_packets_take_number(rest, 4, length_out);
    if ((!is_subpacket && first >= 224) || !key_packets_take_number(rest, 1, &second))
        return false;
    *length_out = ((first - 192) << 8) + second + 192;
    return true;
}

/* Bit 7 is always set; bit 6 tells new from old. */
static bool take_body(struct span *rest, unsigned *tag_out, struct span *body_out)
{
    size_t head, length;
    if (!key_packets_take_number(rest, 1, &head) || (head & 0x80) == 0)
        return false;
    if ((head & 0x40) != 0) {
        *tag_out = head & 0x3f;
        return take_length(rest, false, &length) && take(rest, length, body_out);
    }
    *tag_out = (head >> 2) & 0x0f;
    /* Length type 3 is "until the end", which no packet of a key has. */
    return (head & 3) != 3 && key_packets_take_number(rest, (size_t)1 << (head & 3), &length) &&
           take(rest, length, body_out);
}

bool key_packets_take(struct span *rest, struct key_packets_packet *packet_out)
{
    struct span before = *rest;
    if (!take_body(rest, &packet_out->tag, &packet_out->body))
        return false;
    packet_out->whole = span_slice(before, 0, before.len - rest->len);
    return true;
}

static bool subpacket_asks_for_aead(unsigned type, struct span value)
{
    if (value.len < 1)
        return false;
    switch (type) {
    case SUBPACKET_FEATURES:
        return ((unsigned char)value.ptr[0] & FEATURES_AEAD) != 0;
    case SUBPACKET_AEAD:
    case SUBPACKET_AEAD_SUITES:
        return true;
    default:
        return false;
    }
}

/* Version, type, public key algorithm, hash algorithm, length and bytes of the hashed subpackets. */
bool key_packets_read_signature(struct span body, struct key_packets_signature *signature_out)
{
    size_t version, algorithms, length;
    return key_packets_take_number(&body, 1, &version) && version == 4 &&
           key_packets_take_number(&body, 1, &signature_out->type) && key_packets_take_number(&body, 2, &algorithms) &&
           key_packets_take_number(&body, 2, &length) && take(&body, length, &signature_out->hashed);
}

bool key_packets_take_subpacket(struct span *hashed, unsigned *type_out, struct span *value_out)
{
    size_t length;
    struct span subpacket;
    if (!take_length(hashed, true, &length) || !take(hashed, length, &subpacket))
        return false;
    *type_out = length > 0 ? (unsigned char)subpacket.ptr[0] & 0x7f : 0; /* bit 7: critical; an empty one is none */
    *value_out = span_skip(subpacket, 1);
    return true;
}

/* Certifications (0x10 to 0x13) and direct signatures (0x1f) carry preferences. */
static bool signature_asks_for_aead(struct span body)
{
    struct key_packets_signature signature;
    unsigned type;
    struct span value;
    if (!key_packets_read_signature(body, &signature) ||
        ((signature.type < 0x10 || signature.type > 0x13) && signature.type != 0x1f))
        return false;
    while (key_packets_take_subpacket(&signature.hashed, &type, &value))
        if (subpacket_asks_for_aead(type, value))
            return true;
    return false;
}

/* RFC 4880 §12.2: SHA-1 over 0x99, the two-byte length and the packet's body. */
static enum err note_fingerprint(struct span body, struct key_packets_key *key)
{
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
    for (unsigned i = 0; i < digest_len && 2 * i + 3 <= sizeof key->fingerprint; i++)
        (void)snprintf(key->fingerprint + 2 * i, 3, "%02X", digest[i]);
    return ERR_OK;
}

enum err key_packets_walk(struct span packets, key_packets_fn fn, void *context)
{
    struct key_packets_key key = {.has_aead = false};
    bool is_in_key = false;
    enum err err = ERR_OK;
    while (err == ERR_OK && packets.len > 0) {
        struct key_packets_packet packet;
        if (!key_packets_take(&packets, &packet))
            return ERR_MALFORMED;
        struct span body = packet.body;
        if (packet.tag == KEY_PACKETS_KEY) {
            if (is_in_key)
                err = fn(&key, context);
            key = (struct key_packets_key){.has_aead = false};
            /* Other versions have other fingerprints, and gpg 2.2 does not read them. */
            is_in_key = body.len > 0 && body.len <= 0xffff && body.ptr[0] == 4;
            if (err == ERR_OK && is_in_key)
                err = note_fingerprint(body, &key);
        } else if (packet.tag == KEY_PACKETS_SIGNATURE && is_in_key) {
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
    struct key_packets_packet packet;
    for (struct span rest = packets; rest.len > 0;) {
        if (!key_packets_take(&rest, &packet) || (keys == 0) != (packet.tag == KEY_PACKETS_KEY))
            return ERR_MALFORMED;
        keys += packet.tag == KEY_PACKETS_KEY;
        user_ids += packet.tag == KEY_PACKETS_USER_ID;
        if (packet.tag != KEY_PACKETS_KEY && packet.tag != KEY_PACKETS_SIGNATURE && packet.tag != KEY_PACKETS_USER_ID &&
            packet.tag != KEY_PACKETS_SUBKEY && packet.tag != KEY_PACKETS_ATTRIBUTE)
            return ERR_MALFORMED;
    }
    fingerprint_out[0] = '\0';
    if (user_ids == 0)
        return ERR_MALFORMED;
    enum err err = key_packets_walk(packets, take_fingerprint, fingerprint_out);
    return err == ERR_OK && fingerprint_out[0] == '\0' ? ERR_MALFORMED : err;
}

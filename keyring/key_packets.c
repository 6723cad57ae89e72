#include "keyring/key_packets.h"

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
static enum err take_length(struct span *rest, bool is_subpacket, size_t *length_out)
{
    size_t first, second;
    if (!take_number(rest, 1, &first))
        return ERR_AGAIN;
    if (first < 192) {
        *length_out = first;
        return ERR_OK;
    }
    if (first == 255)
        return take_number(rest, 4, length_out) ? ERR_OK : ERR_AGAIN;
    if (!is_subpacket && first >= 224)
        return ERR_MALFORMED;
    if (!take_number(rest, 1, &second))
        return ERR_AGAIN;
    *length_out = ((first - 192) << 8) + second + 192;
    return ERR_OK;
}

enum err key_packets_head(struct span bytes, struct key_packets_head *head_out)
{
    struct span rest = bytes;
    size_t head;
    enum err err = ERR_OK;
    if (!take_number(&rest, 1, &head))
        return ERR_AGAIN;
    /* RFC 4880 §4.2: bit 7 is always set; bit 6 tells new from old. */
    if ((head & 0x80) == 0)
        return ERR_MALFORMED;
    if ((head & 0x40) != 0) {
        head_out->tag = head & 0x3f;
        err = take_length(&rest, false, &head_out->body_len);
    } else {
        head_out->tag = (head >> 2) & 0x0f;
        /* Length type 3 is "until the end", which no packet of a key has. */
        if ((head & 3) == 3)
            return ERR_MALFORMED;
        err = take_number(&rest, (size_t)1 << (head & 3), &head_out->body_len) ? ERR_OK : ERR_AGAIN;
    }
    head_out->head_len = bytes.len - rest.len;
    return err;
}

bool key_packets_take(struct span *rest, unsigned *tag_out, struct span *body_out)
{
    struct key_packets_head head;
    if (key_packets_head(*rest, &head) != ERR_OK)
        return false;
    *tag_out = (unsigned)head.tag;
    *rest = span_skip(*rest, head.head_len);
    return take(rest, head.body_len, body_out);
}

bool key_packets_subpacket(struct span *rest, unsigned *type_out, struct span *body_out)
{
    size_t length = 0;
    struct span subpacket;
    /* An empty one has not even a type. */
    while (length == 0)
        if (take_length(rest, true, &length) != ERR_OK)
            return false;
    if (!take(rest, length, &subpacket))
        return false;
    *type_out = (unsigned char)subpacket.ptr[0] & 0x7f; /* bit 7: critical */
    *body_out = span_skip(subpacket, 1);
    return true;
}

bool key_packets_signature(struct span body, struct key_packets_signature *signature_out)
{
    size_t type, algorithms, length;
    *signature_out = (struct key_packets_signature){.type = 0};
    if (!take_number(&body, 1, &signature_out->version) || signature_out->version != 4 ||
        !take_number(&body, 1, &type) || !take_number(&body, 2, &algorithms) || !take_number(&body, 2, &length) ||
        !take(&body, length, &signature_out->hashed))
        return false;
    /* Nobody has signed what follows: without it, the rest counts. */
    if (!take_number(&body, 2, &length) || !take(&body, length, &signature_out->unhashed))
        signature_out->unhashed = SPAN_NONE;
    signature_out->type = (unsigned)type;
    return true;
}

static bool subpacket_asks_for_aead(unsigned type, struct span body)
{
    switch (type) {
    case SUBPACKET_FEATURES:
        return body.len > 0 && ((unsigned char)body.ptr[0] & FEATURES_AEAD) != 0;
    case SUBPACKET_AEAD:
    case SUBPACKET_AEAD_SUITES:
        return body.len > 0;
    default:
        return false;
    }
}

/* Certifications (0x10 to 0x13) and direct signatures (0x1f) carry preferences. */
static bool signature_asks_for_aead(struct span body)
{
    struct key_packets_signature signature;
    unsigned type;
    if (!key_packets_signature(body, &signature) ||
        ((signature.type < 0x10 || signature.type > 0x13) && signature.type != 0x1f))
        return false;
    while (key_packets_subpacket(&signature.hashed, &type, &body))
        if (subpacket_asks_for_aead(type, body))
            return true;
    return false;
}

enum err key_packets_fingerprint(struct span body, char fingerprint_out[KEYRING_FPR_SIZE])
{
    fingerprint_out[0] = '\0';
    /* Other versions have other fingerprints, and gpg 2.2 does not read them. */
    if (body.len == 0 || body.len > 0xffff || body.ptr[0] != 4)
        return ERR_NOT_FOUND;
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
        (void)snprintf(fingerprint_out + 2 * i, 3, "%02X", digest[i]);
    return ERR_OK;
}

enum err key_packets_walk(struct span packets, key_packets_fn fn, void *context)
{
    struct key_packets_key key = {.has_aead = false};
    bool is_in_key = false;
    enum err err = ERR_OK;
    while (err == ERR_OK && packets.len > 0) {
        struct key_packets_head head;
        struct span body;
        if (key_packets_head(packets, &head) != ERR_OK)
            return ERR_MALFORMED;
        packets = span_skip(packets, head.head_len);
        if (!take(&packets, head.body_len, &body))
            return ERR_MALFORMED;
        if (head.tag == KEY_PACKETS_PUBLIC_KEY) {
            if (is_in_key)
                err = fn(&key, context);
            if (err != ERR_OK)
                return err;
            key.has_aead = false;
            err = key_packets_fingerprint(body, key.fingerprint);
            is_in_key = err == ERR_OK;
            err = err == ERR_NOT_FOUND ? ERR_OK : err;
        } else if (head.tag == KEY_PACKETS_SIGNATURE && is_in_key) {
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
        if (!key_packets_take(&rest, &tag, &body) || (keys == 0) != (tag == KEY_PACKETS_PUBLIC_KEY))
            return ERR_MALFORMED;
        keys += tag == KEY_PACKETS_PUBLIC_KEY;
        user_ids += tag == KEY_PACKETS_USER_ID;
        if (tag != KEY_PACKETS_PUBLIC_KEY && tag != KEY_PACKETS_SIGNATURE && tag != KEY_PACKETS_USER_ID &&
            tag != KEY_PACKETS_SUBKEY && tag != KEY_PACKETS_ATTRIBUTE)
            return ERR_MALFORMED;
    }
    fingerprint_out[0] = '\0';
    if (user_ids == 0)
        return ERR_MALFORMED;
    enum err err = key_packets_walk(packets, take_fingerprint, fingerprint_out);
    return err == ERR_OK && fingerprint_out[0] == '\0' ? ERR_MALFORMED : err;
}

/*
 * A key cut down to the five packets that an Autocrypt field holds (level 1, 2.1.1). No signature is checked: the bytes
 * come out of the ring, and whoever reads the field checks them.
 */
#include "keyring/autocrypt.h"
#include "keyring/key_packets.h"

enum { CREATED = 2, KEY_EXPIRES = 9, KEY_FLAGS = 27 };
enum { BINDING = 0x18, SUBKEY_REVOCATION = 0x28, CERTIFICATION_REVOCATION = 0x30 };
#define ENCRYPTS (0x04 | 0x08) /* communications, storage (RFC 4880 §5.2.3.21) */

struct packet {
    unsigned tag;
    struct span whole, body;
};

/* A user ID or subkey, and the newest signature that makes it one. */
struct piece {
    struct span whole, signature;
    size_t created; /* of a user ID its signature's, of a subkey its own */
    size_t signed_at;
    bool is_subkey, is_theirs, is_revoked, is_able;
};

/* The best of each so far. */
struct picked {
    struct piece user_id, subkey;
};

static bool take_packet(struct span *rest, struct packet *packet)
{
    const struct span before = *rest;

    if (!key_packets_take(rest, &packet->tag, &packet->body))
        return false;
    packet->whole = span_slice(before, 0, before.len - rest->len);
    return true;
}

/* The big-endian number of `len` bytes at `at`; 0 where there are fewer. */
static size_t number_at(struct span bytes, size_t at, size_t len)
{
    size_t number = 0;

    for (size_t i = at; bytes.len >= at + len && i < at + len; i++)
        number = number << 8 | (unsigned char)bytes.ptr[i];
    return number;
}

/* The address in a user ID: what stands in its last angle brackets, or the whole of it. */
static bool has_address(struct span user_id, const char *address)
{
    char normal[MIME_ADDR_SIZE];
    size_t end = user_id.len;

    if (end > 0 && user_id.ptr[end - 1] == '>') {
        size_t at = end;

        while (at > 0 && user_id.ptr[at - 1] != '<')
            at--;
        if (at > 0)
            user_id = span_slice(user_id, at, end - 1);
    }
    return mime_addr_normalise(user_id, normal) == ERR_OK && mime_addr_is_same(normal, address);
}

static void finish(struct picked *picked, const struct piece *piece)
{
    struct piece *best = piece->is_subkey ? &picked->subkey : &picked->user_id;

    if (!piece->whole.ptr || !piece->signature.ptr || piece->is_revoked || (piece->is_subkey && !piece->is_able))
        return;
    if (!best->whole.ptr || (piece->is_subkey ? piece->created > best->created : piece->is_theirs > best->is_theirs))
        *best = *piece;
}

static struct piece begin(const struct packet *packet, const char *address)
{
    struct piece piece = {.whole = packet->whole, .is_subkey = packet->tag == KEY_PACKETS_SUBKEY};

    if (packet->tag == KEY_PACKETS_ATTRIBUTE)
        return (struct piece){.whole = SPAN_NONE};
    if (!piece.is_subkey)
        piece.is_theirs = has_address(packet->body, address);
    else
        piece.created = number_at(packet->body, 1, 4);
    return piece;
}

static void take_signature(struct piece *piece, const struct packet *packet, int64_t now)
{
    struct key_packets_signature signature;
    size_t signed_at = 0, expires = 0, flags = 0;
    struct span value;
    unsigned kind;

    if (!key_packets_signature(packet->body, &signature))
        return;
    piece->is_revoked |= signature.type == (piece->is_subkey ? SUBKEY_REVOCATION : CERTIFICATION_REVOCATION);
    if (piece->is_subkey ? signature.type != BINDING : signature.type < 0x10 || signature.type > 0x13)
        return;
    while (key_packets_subpacket(&signature.hashed, &kind, &value)) {
        if (kind == CREATED)
            signed_at = number_at(value, 0, 4);
        else if (kind == KEY_EXPIRES)
            expires = number_at(value, 0, 4);
        else if (kind == KEY_FLAGS)
            flags = number_at(value, 0, 1);
    }
    if (piece->signature.ptr && signed_at < piece->signed_at)
        return;
    piece->signature = packet->whole;
    piece->signed_at = signed_at;
    piece->is_able = (flags & ENCRYPTS) != 0 && (expires == 0 || (int64_t)(piece->created + expires) > now);
}

enum err keyring_autocrypt_reduce(struct span packets, const char *address, int64_t now, struct buf *out)
{
    struct picked picked = {.user_id = {.is_subkey = false}};
    struct piece piece = {.is_subkey = false};
    struct span primary = SPAN_NONE;
    struct packet packet;
    size_t before = out->len;
    enum err err;

    while (packets.len > 0) {
        if (!take_packet(&packets, &packet) || (primary.ptr == NULL) != (packet.tag == KEY_PACKETS_PUBLIC_KEY))
            return ERR_MALFORMED;
        if (packet.tag == KEY_PACKETS_PUBLIC_KEY) {
            primary = packet.whole;
        } else if (packet.tag == KEY_PACKETS_SIGNATURE) {
            take_signature(&piece, &packet, now);
        } else {
            finish(&picked, &piece);
            piece = begin(&packet, address);
        }
    }
    finish(&picked, &piece);
    if (!picked.user_id.whole.ptr || !picked.subkey.whole.ptr)
        return ERR_NOT_FOUND;
    err = buf_add_span(out, primary);
    if (err == ERR_OK)
        err = buf_add_span(out, picked.user_id.whole);
    if (err == ERR_OK)
        err = buf_add_span(out, picked.user_id.signature);
    if (err == ERR_OK)
        err = buf_add_span(out, picked.subkey.whole);
    if (err == ERR_OK)
        err = buf_add_span(out, picked.subkey.signature);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

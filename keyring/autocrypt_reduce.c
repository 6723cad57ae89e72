/*
 * A key cut down to the five packets that an Autocrypt field holds (level 1, 2.1.1). No signature is checked: the bytes
 * come out of the ring, and whoever reads the field checks them.
 */
#include "keyring/autocrypt.h"
#include "keyring/key_packets_internal.h"

enum { CREATED = 2, KEY_EXPIRES = 9, KEY_FLAGS = 27 };
enum { BINDING = 0x18, SUBKEY_REVOCATION = 0x28, CERTIFICATION_REVOCATION = 0x30 };
#define ENCRYPTS (0x04 | 0x08) /* communications, storage (RFC 4880 §5.2.3.21) */

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

static struct piece begin(const struct key_packets_packet *packet, const char *address)
{
    struct piece piece = {.whole = packet->whole, .is_subkey = packet->tag == KEY_PACKETS_SUBKEY};
    struct span body = packet->body;
    size_t version;

    if (packet->tag == KEY_PACKETS_ATTRIBUTE)
        return (struct piece){.whole = SPAN_NONE};
    if (!piece.is_subkey)
        piece.is_theirs = has_address(body, address);
    else if (!key_packets_take_number(&body, 1, &version) || !key_packets_take_number(&body, 4, &piece.created))
        piece.whole = SPAN_NONE;
    return piece;
}

static void take_signature(struct piece *piece, const struct key_packets_packet *packet, int64_t now)
{
    struct key_packets_signature signature;
    size_t signed_at = 0, expires = 0, flags = 0;
    struct span value;
    unsigned type;

    if (!key_packets_read_signature(packet->body, &signature))
        return;
    piece->is_revoked |= signature.type == (piece->is_subkey ? SUBKEY_REVOCATION : CERTIFICATION_REVOCATION);
    if (piece->is_subkey ? signature.type != BINDING : signature.type < 0x10 || signature.type > 0x13)
        return;
    while (key_packets_take_subpacket(&signature.hashed, &type, &value)) {
        if (type == CREATED)
            (void)key_packets_take_number(&value, 4, &signed_at);
        else if (type == KEY_EXPIRES)
            (void)key_packets_take_number(&value, 4, &expires);
        else if (type == KEY_FLAGS)
            (void)key_packets_take_number(&value, 1, &flags);
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
    struct key_packets_packet packet;
    size_t before = out->len;
    enum err err;

    while (packets.len > 0) {
        if (!key_packets_take(&packets, &packet) || (primary.ptr == NULL) != (packet.tag == KEY_PACKETS_KEY))
            return ERR_MALFORMED;
        if (packet.tag == KEY_PACKETS_KEY) {
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

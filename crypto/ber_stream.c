#include "crypto/ber_stream.h"

#include "base/base64.h"
#include "crypto/ber.h"
#include "crypto/packets.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <string.h>

#define DEPTH_MAX 32
#define OID_MAX 64
#define GROUPS (CRYPTO_BER_BLOCK / 3 * 4) /* characters of one block */

static bool fail(struct crypto_ber_stream *stream)
{
    stream->is_wrong = true;
    return false;
}

/* Each line holds whole groups; the last one of all may end with padding. */
static bool fill_base64(struct crypto_ber_stream *stream)
{
    struct buf decoded;
    struct span piece;
    enum err result;

    while (stream->line.len == 0) {
        if (!crypto_line_take(&stream->text, &stream->line))
            return false;
        stream->line = span_trim(stream->line);
    }
    if (stream->is_ended)
        return fail(stream);
    piece = span_slice(stream->line, 0, GROUPS);
    stream->line = span_skip(stream->line, piece.len);
    stream->is_ended = piece.ptr[piece.len - 1] == '=';
    if (stream->is_ended && stream->line.len > 0)
        return fail(stream);
    buf_init(&decoded, CRYPTO_BER_BLOCK);
    result = base64_decode(piece, &decoded);
    if (result == ERR_OK)
        memcpy(stream->bytes, decoded.data, decoded.len);
    stream->at = 0;
    stream->len = decoded.len;
    buf_fini(&decoded);
    return result == ERR_OK || fail(stream);
}

static bool fill(struct crypto_ber_stream *stream)
{
    struct span piece;

    if (stream->is_wrong || stream->at < stream->len)
        return !stream->is_wrong;
    if (stream->is_base64)
        return fill_base64(stream);
    piece = span_slice(stream->text, 0, CRYPTO_BER_BLOCK);
    stream->text = span_skip(stream->text, piece.len);
    if (piece.len > 0)
        memcpy(stream->bytes, piece.ptr, piece.len);
    stream->at = 0;
    stream->len = piece.len;
    return piece.len > 0;
}

/* The next byte before `end`; -1 if there is none, which is wrong where an item is still open. */
static int take_byte(struct crypto_ber_stream *stream, uint64_t end)
{
    if (stream->taken >= end || !fill(stream)) {
        stream->is_wrong = true;
        return -1;
    }
    stream->taken++;
    return (unsigned char)stream->bytes[stream->at++];
}

static bool skip_bytes(struct crypto_ber_stream *stream, uint64_t count)
{
    while (count > 0) {
        if (!fill(stream))
            return fail(stream);
        const size_t piece = stream->len - stream->at < count ? stream->len - stream->at : (size_t)count;
        stream->at += piece;
        stream->taken += piece;
        count -= piece;
    }
    return true;
}

void crypto_ber_stream_begin(struct span text, bool is_base64, struct crypto_ber_stream *stream,
                             struct crypto_ber_item *whole)
{
    memset(stream, 0, sizeof(*stream));
    stream->text = text;
    stream->is_base64 = is_base64;
    *whole = (struct crypto_ber_item){.is_constructed = true, .end = UINT64_MAX};
}

/* The rest of a tag number above 30 (X.690 §8.1.2.4). */
static bool take_long_tag(struct crypto_ber_stream *stream, uint64_t end, int *tag)
{
    int byte;

    *tag = 0;
    do {
        byte = take_byte(stream, end);
        if (byte < 0 || *tag > INT_MAX >> 8)
            return fail(stream);
        *tag = *tag << 7 | (byte & 0x7f);
    } while ((byte & 0x80) != 0);
    return true;
}

/* X.690 §8.1.3; the indefinite form is for constructed items. */
static bool take_length(struct crypto_ber_stream *stream, int first, uint64_t bound, struct crypto_ber_item *item)
{
    uint64_t length = (uint64_t)first;

    item->is_indefinite = first == 0x80;
    if (item->is_indefinite && !item->is_constructed)
        return fail(stream);
    if (first > 0x80)
        for (length = 0; first > 0x80; first--) {
            const int byte = take_byte(stream, bound);
            if (byte < 0 || length > UINT64_MAX >> 16)
                return fail(stream);
            length = length << 8 | (unsigned)byte;
        }
    item->begin = stream->taken;
    item->end = bound;
    if (item->is_indefinite)
        return true;
    if (length > bound - stream->taken)
        return fail(stream);
    item->end = stream->taken + length;
    return true;
}

bool crypto_ber_next(struct crypto_ber_stream *stream, struct crypto_ber_item *parent, struct crypto_ber_item *item)
{
    const uint64_t bound = parent->end;
    int head, first;

    if (stream->is_wrong || parent->is_over || !parent->is_constructed ||
        (!parent->is_indefinite && (stream->taken >= bound || (bound == UINT64_MAX && !fill(stream)))))
        return false;
    head = take_byte(stream, bound);
    *item = (struct crypto_ber_item){.tag = head & V_ASN1_PRIMITIVE_TAG,
                                     .class = head & V_ASN1_PRIVATE,
                                     .is_constructed = (head & V_ASN1_CONSTRUCTED) != 0};
    if (head < 0 || (item->tag == V_ASN1_PRIMITIVE_TAG && !take_long_tag(stream, bound, &item->tag)))
        return fail(stream);
    first = take_byte(stream, bound);
    if (first < 0)
        return fail(stream);
    if (parent->is_indefinite && head == 0 && first == 0) {
        parent->is_over = true;
        return false;
    }
    return take_length(stream, first, bound, item);
}

bool crypto_ber_next_is(struct crypto_ber_stream *stream, struct crypto_ber_item *parent, int class, int tag,
                        struct crypto_ber_item *item)
{
    if (!crypto_ber_next(stream, parent, item) || item->class != class || item->tag != tag)
        return fail(stream);
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as DEPTH_MAX
static bool skip_item(struct crypto_ber_stream *stream, struct crypto_ber_item *item, unsigned depth)
{
    struct crypto_ber_item inner;

    if (!item->is_indefinite)
        return skip_bytes(stream, item->end - stream->taken);
    if (depth > DEPTH_MAX)
        return fail(stream);
    while (crypto_ber_next(stream, item, &inner))
        if (!skip_item(stream, &inner, depth + 1))
            return false;
    return item->is_over || fail(stream);
}

bool crypto_ber_skip(struct crypto_ber_stream *stream, struct crypto_ber_item *item, uint64_t max)
{
    if (stream->is_wrong || !skip_item(stream, item, 0))
        return false;
    return crypto_ber_read(stream, item) <= max || fail(stream);
}

bool crypto_ber_is_over(struct crypto_ber_stream *stream, struct crypto_ber_item *item)
{
    struct crypto_ber_item more;

    return !crypto_ber_next(stream, item, &more) && !stream->is_wrong;
}

int crypto_ber_next_oid(struct crypto_ber_stream *stream, struct crypto_ber_item *parent)
{
    char bytes[2 + OID_MAX] = {V_ASN1_OBJECT};
    struct crypto_ber_item item;
    struct span rest;

    if (!crypto_ber_next_is(stream, parent, V_ASN1_UNIVERSAL, V_ASN1_OBJECT, &item) || item.is_constructed ||
        item.end - item.begin > OID_MAX) {
        stream->is_wrong = true;
        return NID_undef;
    }
    rest = (struct span){bytes, (size_t)(item.end - item.begin) + 2};
    bytes[1] = (char)(rest.len - 2);
    for (size_t i = 2; i < rest.len; i++)
        bytes[i] = (char)take_byte(stream, item.end);
    return stream->is_wrong ? NID_undef : crypto_ber_take_oid(&rest);
}

uint64_t crypto_ber_read(const struct crypto_ber_stream *stream, const struct crypto_ber_item *item)
{
    return stream->taken - item->begin - (item->is_over ? 2 : 0);
}

#include "crypto/packets.h"

#include "base/base64.h"
#include "mime/encoding.h"

#include <stdio.h>

#define TAG_PKESK 1
#define TAG_SKESK 3
#define TAG_MARKER 10
#define TAG_SEIPD 18

#define PARTIAL_FIRST_MIN 512 /* RFC 9580 §4.2.1.4 */
#define SESSION_KEY_MAX 65536 /* octets of a session key packet; real ones have a few hundred */
#define PUBLIC_KEY_MIN 40     /* octets of a PKESK: version, key ID, algorithm, and what no algorithm makes shorter */
#define DATA_MIN 33           /* SEIPD version 1: version, prefix of the smallest block, MDC packet */
#define ARMOUR_LINE_MAX 998   /* RFC 5322 §2.1.1; RFC 9580 §6.2.3 says 76 */
/* Room for the name of a program, not for a letter in comments. */
#define ARMOUR_HEADERS_MAX 4
#define ARMOUR_HEADER_MAX 100

static bool is_allowed_tag(const struct crypto_packets *packets, unsigned tag)
{
    if (packets->has_data)
        return false;
    return tag == TAG_PKESK || tag == TAG_SKESK || tag == TAG_MARKER || (tag == TAG_SEIPD && packets->keys_len > 0);
}

/* RFC 9580 §4.2: bit 7 is always set; bit 6 tells the new format. An old-format packet of indeterminate length cannot
   be one of ours: tag 18 does not fit into four bits. */
static bool take_tag(struct crypto_packets *packets, uint8_t octet)
{
    static const unsigned octets_of_type[] = {1, 2, 4, 0};
    bool is_new = (octet & 0x40) != 0;

    packets->tag = is_new ? octet & 0x3fu : (octet >> 2) & 0x0fu;
    packets->length = 0;
    packets->body_seen = 0;
    packets->is_partial = false;
    packets->is_two_octet = false;
    packets->length_left = is_new ? 1 : octets_of_type[octet & 3];
    packets->state = is_new ? CRYPTO_PACKETS_LENGTH : CRYPTO_PACKETS_LENGTH_MORE;
    if ((octet & 0x80) == 0 || packets->length_left == 0 || !is_allowed_tag(packets, packets->tag))
        return false;
    packets->has_password = packets->has_password || packets->tag == TAG_SKESK;
    packets->has_data = packets->tag == TAG_SEIPD;
    return true;
}

static bool end_packet(struct crypto_packets *packets)
{
    packets->state = CRYPTO_PACKETS_TAG;
    switch (packets->tag) {
    case TAG_PKESK:
        packets->keys_len++;
        return packets->body_seen >= PUBLIC_KEY_MIN && packets->body_seen <= SESSION_KEY_MAX;
    case TAG_SKESK:
        return packets->body_seen > 1 && packets->body_seen <= SESSION_KEY_MAX;
    case TAG_MARKER:
        return packets->body_seen == 3;
    default:
        return packets->body_seen >= DATA_MIN;
    }
}

static bool begin_chunk(struct crypto_packets *packets)
{
    packets->state = CRYPTO_PACKETS_BODY;
    if (packets->length > 0)
        return true;
    return !packets->is_partial && end_packet(packets);
}

/* RFC 9580 §4.2.1: one octet below 192, two below 224, partial below 255, else four more. Partial lengths belong to
   data packets alone. */
static bool take_length(struct crypto_packets *packets, uint8_t octet)
{
    packets->is_partial = false;
    if (octet < 192) {
        packets->length = octet;
        return begin_chunk(packets);
    }
    if (octet >= 224 && octet < 255) {
        packets->length = (uint64_t)1 << (octet & 0x1f);
        packets->is_partial = true;
        if (packets->tag != TAG_SEIPD || (packets->body_seen == 0 && packets->length < PARTIAL_FIRST_MIN))
            return false;
        return begin_chunk(packets);
    }
    packets->is_two_octet = octet < 224;
    packets->length = packets->is_two_octet ? octet - 192u : 0;
    packets->length_left = packets->is_two_octet ? 1 : 4;
    packets->state = CRYPTO_PACKETS_LENGTH_MORE;
    return true;
}

static bool take_length_more(struct crypto_packets *packets, uint8_t octet)
{
    packets->length = packets->length << 8 | octet;
    if (--packets->length_left > 0)
        return true;
    if (packets->is_two_octet)
        packets->length += 192;
    packets->is_two_octet = false;
    return begin_chunk(packets);
}

/* The first octet of every packet that counts is its version. */
static bool is_known_version(unsigned tag, uint8_t version)
{
    switch (tag) {
    case TAG_PKESK:
        return version == 3 || version == 6;
    case TAG_SKESK:
        return version >= 4 && version <= 6;
    case TAG_SEIPD:
        return version == 1 || version == 2;
    default:
        return true;
    }
}

/* RFC 9580 §5.8: a marker is "PGP" and nothing else, or many of them could spell out a text. */
static bool is_marker(size_t at, struct span bytes)
{
    struct span rest = span_skip(SPAN_LIT("PGP"), at);

    return bytes.len <= rest.len && span_is_equal(bytes, span_slice(rest, 0, bytes.len));
}

/* Takes as much of `bytes` as belongs to the chunk; gives how much that was, 0 if the packet is wrong. */
static size_t take_body(struct crypto_packets *packets, struct span bytes)
{
    size_t count = bytes.len < packets->length ? bytes.len : (size_t)packets->length;

    if (packets->body_seen == 0 && !is_known_version(packets->tag, (uint8_t)bytes.ptr[0]))
        return 0;
    if (packets->tag == TAG_MARKER && !is_marker((size_t)packets->body_seen, span_slice(bytes, 0, count)))
        return 0;
    packets->body_seen += count;
    packets->length -= count;
    if (packets->length > 0)
        return count;
    if (packets->is_partial) {
        packets->state = CRYPTO_PACKETS_LENGTH;
        return count;
    }
    return end_packet(packets) ? count : 0;
}

bool crypto_packets_feed(struct crypto_packets *packets, struct span bytes)
{
    while (bytes.len > 0 && packets->state != CRYPTO_PACKETS_WRONG) {
        size_t taken = 1;
        bool is_fine = true;

        switch (packets->state) {
        case CRYPTO_PACKETS_TAG:
            is_fine = take_tag(packets, (uint8_t)bytes.ptr[0]);
            break;
        case CRYPTO_PACKETS_LENGTH:
            is_fine = take_length(packets, (uint8_t)bytes.ptr[0]);
            break;
        case CRYPTO_PACKETS_LENGTH_MORE:
            is_fine = take_length_more(packets, (uint8_t)bytes.ptr[0]);
            break;
        default:
            taken = take_body(packets, bytes);
            is_fine = taken > 0;
            break;
        }
        if (!is_fine)
            packets->state = CRYPTO_PACKETS_WRONG;
        bytes = span_skip(bytes, taken);
    }
    return packets->state != CRYPTO_PACKETS_WRONG;
}

bool crypto_packets_is_encrypted(const struct crypto_packets *packets)
{
    return packets->state == CRYPTO_PACKETS_TAG && packets->has_data;
}

bool crypto_line_take(struct span *rest, struct span *line_out)
{
    if (!span_take_until(rest, '\n', line_out))
        return false;
    if (line_out->len > 0 && line_out->ptr[line_out->len - 1] == '\r')
        line_out->len--;
    return true;
}

static struct span trim_end(struct span line)
{
    while (line.len > 0 && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t'))
        line.len--;
    return line;
}

/* armour = BEGIN line, header lines, empty line, base64 lines, ["=" CRC], END line (RFC 9580 §6.2) */
bool crypto_armour_find(struct span text, const char *label, struct span *inside_out)
{
    char begin[64], end[64];
    int begin_len = snprintf(begin, sizeof(begin), "-----BEGIN PGP %s-----", label);
    int end_len = snprintf(end, sizeof(end), "-----END PGP %s-----", label);
    struct span whole = span_trim(text), first, inside;

    if (begin_len < 0 || (size_t)begin_len >= sizeof(begin) || end_len < 0 || (size_t)end_len >= sizeof(end))
        return false;
    inside = whole;
    if (!crypto_line_take(&inside, &first) || !span_is_equal(trim_end(first), span_of(begin)))
        return false;
    if (inside.len <= (size_t)end_len ||
        !span_is_equal(span_skip(inside, inside.len - (size_t)end_len), span_of(end)) ||
        inside.ptr[inside.len - (size_t)end_len - 1] != '\n')
        return false;
    inside.len -= (size_t)end_len;
    if (span_find(inside, 0, SPAN_LIT("-----")) != SIZE_MAX)
        return false;
    if (inside_out != NULL)
        *inside_out = inside;
    return true;
}

/* Steps over the armour headers and the empty line after them. Only the names that exist: a line of some other kind
   would be text beside the encryption. */
static bool skip_armour_headers(struct span *rest)
{
    static const char *const names[] = {"Version: ", "Comment: ", "MessageID: ", "Hash: ", "Charset: "};
    struct span line;

    for (unsigned count = 0; count <= ARMOUR_HEADERS_MAX && crypto_line_take(rest, &line); count++) {
        bool is_known = false;

        line = trim_end(line);
        if (line.len == 0)
            return true;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            is_known = is_known || span_has_case_prefix(line, span_of(names[i]));
        if (!is_known || line.len > ARMOUR_HEADER_MAX)
            return false;
    }
    return false;
}

/* The checksum's form only: RFC 9580 §6.1 forbids to rely on its value. */
static bool is_checksum(struct span line, struct buf *scratch)
{
    buf_clear(scratch);
    return line.len == 5 && line.ptr[0] == '=' && base64_decode(span_skip(line, 1), scratch) == ERR_OK;
}

bool crypto_armour_is_encrypted(struct span text)
{
    struct crypto_packets packets = {0};
    struct span rest, line;
    struct buf decoded;
    bool is_ended = false, is_fine = true;

    if (!crypto_armour_find(text, "MESSAGE", &rest) || !skip_armour_headers(&rest))
        return false;
    buf_init(&decoded, ARMOUR_LINE_MAX);
    while (is_fine && crypto_line_take(&rest, &line)) {
        line = trim_end(line);
        if (line.len == 0) {
            is_fine = rest.len == 0 || is_ended;
        } else if (line.ptr[0] == '=') {
            is_fine = is_checksum(line, &decoded) && span_trim(rest).len == 0;
            is_ended = true;
        } else {
            buf_clear(&decoded);
            is_fine = !is_ended && line.len <= ARMOUR_LINE_MAX && base64_decode(line, &decoded) == ERR_OK &&
                      crypto_packets_feed(&packets, buf_span(&decoded));
            is_ended = line.ptr[line.len - 1] == '=';
        }
    }
    buf_fini(&decoded);
    return is_fine && crypto_packets_is_encrypted(&packets);
}

/* Feeds lenient base64 until the data packet begins. */
static void feed_base64(struct crypto_packets *packets, struct span text)
{
    struct mime_coder coder = {.encoding = MIME_BASE64};
    struct span line;
    struct buf decoded;
    bool is_fine = true;

    buf_init(&decoded, SESSION_KEY_MAX);
    while (is_fine && !packets->has_data && crypto_line_take(&text, &line)) {
        buf_clear(&decoded);
        is_fine =
            mime_decode_feed(&coder, line, &decoded) == ERR_OK && crypto_packets_feed(packets, buf_span(&decoded));
    }
    buf_fini(&decoded);
}

bool crypto_cipher_has_password(struct span cipher)
{
    struct crypto_packets packets = {0};
    size_t begin = span_find(cipher, 0, SPAN_LIT("-----BEGIN PGP "));
    struct span rest, line;

    if (begin == SIZE_MAX) {
        crypto_packets_feed(&packets, cipher);
        return packets.has_password;
    }
    for (rest = span_skip(cipher, begin); crypto_line_take(&rest, &line) && trim_end(line).len > 0;)
        continue;
    feed_base64(&packets, rest);
    return packets.has_password;
}

#include "keyring/key_trim.h"

#include "keyring/key_packets.h"
#include "mime/addr.h"
#include "mime/encoding.h"

#include <stdlib.h>
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
/* RFC 4880 §5.2.1 */
enum { SIGNATURE_REVOKES_KEY = 0x20, SIGNATURE_REVOKES_SUBKEY = 0x28, SIGNATURE_REVOKES_CERTIFICATION = 0x30 };

enum { SUBPACKET_CREATED = 2, SUBPACKET_ISSUER = 16, SUBPACKET_ISSUER_FINGERPRINT = 33 };

#define ID_HEX 16 /* a key ID: the end of a fingerprint, in hexadecimal */
/* So many of what is kept of one row are revocations: the newest others have the rest. */
#define REVOCATIONS_MAX (KEY_TRIM_SIGNATURES_MAX - 8)

struct candidate {
    struct span packet;
    uint32_t created;
};

/* The signatures on what is being read, that are its best so far. */
struct row {
    struct candidate revocations[REVOCATIONS_MAX];    /* as they come */
    struct candidate newest[KEY_TRIM_SIGNATURES_MAX]; /* of the others, the newest first */
    size_t revocations_len, newest_len;
};

struct trim {
    const struct key_trim_want *want;
    key_trim_fn fn;
    void *context;
    struct buf key;  /* what is kept of the one that is being read */
    size_t head_len; /* of it, the key itself and the signatures on it; 0: they are not all there yet */
    char fingerprint[KEYRING_FPR_SIZE];
    bool is_kept;   /* what signatures follow belongs to what is kept */
    bool is_wanted; /* the key, by its user IDs or its fingerprint */
    bool is_too_large;
    size_t subkeys; /* of the key */
    size_t keys;    /* handed up */
    struct row row;
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

static bool is_own(const struct key_packets_signature *signature, const char *fingerprint)
{
    return names_issuer(signature->hashed, fingerprint) || names_issuer(signature->unhashed, fingerprint);
}

static bool is_revocation(unsigned type)
{
    return type == SIGNATURE_REVOKES_KEY || type == SIGNATURE_REVOKES_SUBKEY || type == SIGNATURE_REVOKES_CERTIFICATION;
}

/* 0 where it does not say. */
static uint32_t created_of(struct span hashed)
{
    struct span body;
    unsigned type;
    while (key_packets_subpacket(&hashed, &type, &body))
        if (type == SUBPACKET_CREATED && body.len == 4) {
            uint32_t created = 0;
            for (size_t i = 0; i < body.len; i++)
                created = created << 8 | (unsigned char)body.ptr[i];
            return created;
        }
    return 0;
}

static size_t keys_max(const struct trim *trim)
{
    return trim->want->keys_max > 0 ? trim->want->keys_max : KEY_TRIM_KEYS_MAX;
}

static enum err add(struct trim *trim, struct span packet)
{
    enum err err = buf_add_span(&trim->key, packet);
    trim->is_too_large = trim->is_too_large || err == ERR_LIMIT;
    return err == ERR_LIMIT ? ERR_OK : err;
}

/* ---- signatures on one thing ---- */

static void note_signature(struct row *row, struct span body, struct span packet, const char *fingerprint)
{
    struct key_packets_signature signature;
    if (!key_packets_signature(body, &signature) || !is_own(&signature, fingerprint))
        return;
    const struct candidate candidate = {packet, created_of(signature.hashed)};
    if (is_revocation(signature.type)) {
        if (row->revocations_len < REVOCATIONS_MAX)
            row->revocations[row->revocations_len++] = candidate;
        return;
    }
    size_t at = row->newest_len;
    while (at > 0 && row->newest[at - 1].created < candidate.created)
        at--;
    if (at == KEY_TRIM_SIGNATURES_MAX)
        return;
    row->newest_len += row->newest_len < KEY_TRIM_SIGNATURES_MAX;
    memmove(row->newest + at + 1, row->newest + at, (row->newest_len - at - 1) * sizeof(*row->newest));
    row->newest[at] = candidate;
}

static int compare_places(const void *left, const void *right)
{
    const char *one = ((const struct span *)left)->ptr, *other = ((const struct span *)right)->ptr;
    return one < other ? -1 : one > other;
}

/* Takes those whose turn it is, by count and bytes. */
static size_t choose(const struct candidate *candidates, size_t len, size_t max, size_t *bytes, struct span *chosen)
{
    size_t taken = 0;
    for (size_t i = 0; i < len && taken < max; i++)
        if (candidates[i].packet.len <= *bytes) {
            *bytes -= candidates[i].packet.len;
            chosen[taken++] = candidates[i].packet;
        }
    return taken;
}

/* What is kept of the row stays in the order in which it came. The newest of the others, by which the key says what
   it is now, has its room before the revocations. */
static enum err end_row(struct trim *trim)
{
    struct row *row = &trim->row;
    struct span chosen[KEY_TRIM_SIGNATURES_MAX];
    size_t bytes = KEY_TRIM_ROW_MAX;
    enum err err = ERR_OK;
    size_t len = choose(row->newest, row->newest_len, 1, &bytes, chosen);
    len += choose(row->revocations, row->revocations_len, REVOCATIONS_MAX, &bytes, chosen + len);
    if (row->newest_len > 1)
        len += choose(row->newest + 1, row->newest_len - 1, KEY_TRIM_SIGNATURES_MAX - len, &bytes, chosen + len);
    qsort(chosen, len, sizeof(*chosen), compare_places);
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        err = add(trim, chosen[i]);
    row->revocations_len = row->newest_len = 0;
    if (trim->head_len == 0 && !trim->is_too_large)
        trim->head_len = trim->key.len;
    return err;
}

static void cut_to_head(struct trim *trim)
{
    if (!trim->is_too_large || !trim->want->is_head_enough || trim->head_len == 0)
        return;
    buf_truncate(&trim->key, trim->head_len);
    trim->is_too_large = false;
}

static enum err end_key(struct trim *trim)
{
    enum err err = end_row(trim);
    cut_to_head(trim);
    if (err == ERR_OK && trim->key.len > 0 && trim->is_wanted && !trim->is_too_large && trim->keys < keys_max(trim)) {
        trim->keys++;
        err = trim->fn(buf_span(&trim->key), trim->context);
    }
    buf_clear(&trim->key);
    trim->is_kept = trim->is_wanted = trim->is_too_large = false;
    trim->head_len = trim->subkeys = 0;
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
    trim->is_wanted = trim->is_kept && (wanted != NULL || trim->want->address == NULL);
    return err == ERR_NOT_FOUND ? ERR_OK : err == ERR_OK ? add(trim, packet) : err;
}

/* What signatures may follow; its own row begins. */
static enum err begin_row(struct trim *trim, bool is_kept, struct span packet)
{
    const bool is_in_key = trim->key.len > 0;
    enum err err = end_row(trim);
    trim->is_kept = is_in_key && is_kept;
    return err == ERR_OK && trim->is_kept ? add(trim, packet) : err;
}

static enum err take_packet(struct trim *trim, unsigned tag, struct span body, struct span packet)
{
    const bool is_secret = trim->want->is_secret;
    enum err err;
    switch (tag) {
    case TAG_PUBLIC_KEY:
    case TAG_SECRET_KEY:
        return is_secret == (tag == TAG_SECRET_KEY) ? begin_key(trim, body, packet) : ERR_MALFORMED;
    case TAG_USER_ID:
    case TAG_ATTRIBUTE:
        err = begin_row(trim,
                        tag == TAG_USER_ID && (trim->want->address == NULL || has_address(body, trim->want->address)),
                        packet);
        trim->is_wanted = trim->is_wanted || trim->is_kept;
        return err;
    case TAG_PUBLIC_SUBKEY:
    case TAG_SECRET_SUBKEY:
        if (is_secret != (tag == TAG_SECRET_SUBKEY))
            return ERR_MALFORMED;
        return begin_row(trim, trim->subkeys++ < KEY_TRIM_SUBKEYS_MAX, packet);
    case TAG_SIGNATURE:
        if (trim->is_kept)
            note_signature(&trim->row, body, packet, trim->fingerprint);
        return ERR_OK;
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
    struct buf packets;
    if ((want->is_secret || want->is_head_enough) && want->fingerprint == NULL)
        return ERR_USAGE;
    struct trim *trim = calloc(1, sizeof(*trim));
    if (trim == NULL)
        return ERR_MEMORY;
    *trim = (struct trim){.want = want, .fn = fn, .context = context};
    buf_init_secret(&trim->key, want->key_max);
    buf_init_secret(&packets, answer.len);
    const bool is_binary = answer.len > 0 && ((unsigned char)answer.ptr[0] & 0x80) != 0;
    enum err err = is_binary ? ERR_OK : take_armour(answer, want->is_secret, &packets);
    if (err == ERR_OK)
        err = walk(trim, is_binary ? answer : buf_span(&packets));
    buf_fini(&packets);
    buf_fini(&trim->key);
    free(trim);
    return err;
}

bool key_trim_is_revocation(struct span armour, const char *fingerprint)
{
    struct key_packets_signature signature;
    struct buf packets;
    struct span rest, body;
    unsigned tag;
    buf_init(&packets, armour.len);
    rest = take_armour(armour, false, &packets) == ERR_OK ? buf_span(&packets) : SPAN_NONE;
    const bool is_it = key_packets_take(&rest, &tag, &body) && tag == TAG_SIGNATURE && rest.len == 0 &&
                       key_packets_signature(body, &signature) && signature.type == SIGNATURE_REVOKES_KEY &&
                       is_own(&signature, fingerprint);
    buf_fini(&packets);
    return is_it;
}

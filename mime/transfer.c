#include "mime/transfer.h"

#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/part_internal.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* What a server without 8BITMIME cannot carry (RFC 5321 §4.5.3.1.6, §2.3.8) ... */
#define FLAGS_7BIT (MIME_HAS_8BIT | MIME_HAS_NUL | MIME_HAS_BARE_CR | MIME_HAS_BARE_LF | MIME_HAS_LONG_LINE)
/* ... and what else servers and gateways like to change, which breaks signatures (RFC 3156 §5). */
#define FLAGS_SIGN (FLAGS_7BIT | MIME_HAS_TRAILING_BLANK | MIME_HAS_FROM_LINE)

static const char encoding_field[] = "Content-Transfer-Encoding";

/* What becomes of one part. Parts are planned in document order; nothing is planned below an opaque one. */
struct plan {
    const struct mime_part *part;
    size_t parent;  /* index of the plan one level up */
    bool is_opaque; /* the body is one borrowed piece */
    bool must_encode;
    bool needs_label; /* there is still something in it that is not 7bit, or is said not to be */
};

struct transfer {
    struct span message;
    unsigned unsafe; /* the flags that are not wanted */
    struct plan *plans;
    size_t len;
    struct mime_pieces *pieces;
    unsigned flags; /* what is unsafe and stays so */
};

/* ---- planning ---- */

static bool is_sealed(const struct mime_part *part)
{
    return mime_part_is(part, "multipart", "signed") || mime_part_is(part, "multipart", "encrypted");
}

/* The next part in document order within `root`, without what is inside `part` if asked so. */
static const struct mime_part *next_part(const struct mime_part *root, const struct mime_part *part, bool skip_inside)
{
    if (!skip_inside && part->first_child != NULL)
        return part->first_child;
    while (part != root && part->next == NULL)
        part = part->parent;
    return part == root ? NULL : part->next;
}

/* Signed and encrypted entities, and messages that hold one: an enclosed message is evidence as a whole. */
static bool is_untouchable(const struct mime_part *part)
{
    if (is_sealed(part))
        return true;
    if (part->kind != MIME_MESSAGE)
        return false;
    for (const struct mime_part *inner = part; inner != NULL; inner = next_part(part, inner, false))
        if (is_sealed(inner))
            return true;
    return false;
}

/* RFC 2045 §6.4 forbids other encodings than 7bit, 8bit and binary for multipart and message, RFC 6532 §3.7 allows them
   for message/global and its kin. A leaf of such a type (a multipart without boundary, a delivery status) stays what it
   is. */
static bool may_encode(const struct mime_part *part)
{
    if (part->kind != MIME_LEAF || part->encoding == MIME_QUOTED_PRINTABLE || part->encoding == MIME_BASE64)
        return false;
    if (mime_part_is(part, "message", NULL))
        return span_has_prefix(span_of(part->subtype), SPAN_LIT("global"));
    return !mime_part_is(part, "multipart", NULL);
}

static bool is_label(enum mime_encoding encoding)
{
    return encoding == MIME_8BIT || encoding == MIME_BINARY;
}

static unsigned flags_of(struct span bytes)
{
    unsigned flags = 0;
    size_t from = 0;
    while (from < bytes.len) {
        struct mime_line line;
        size_t end = span_find_byte(bytes, from, '\n');
        mime_line_begin(&line, from);
        mime_line_add(&line, span_slice(bytes, from, end));
        mime_line_end(&line, end < bytes.len);
        flags |= line.flags | line.end_flags;
        from = end < bytes.len ? end + 1 : end;
    }
    return flags;
}

/* Flags of a container's own bytes: preamble, boundaries, epilogue. */
static unsigned flags_between(const struct mime_part *part, struct span message)
{
    unsigned flags = 0;
    size_t from = part->body_at;
    for (const struct mime_part *child = part->first_child; child != NULL; child = child->next) {
        flags |= flags_of(span_slice(message, from, child->header_at));
        from = child->body_end;
    }
    return flags | flags_of(span_slice(message, from, part->body_end));
}

static void plan_part(struct transfer *transfer, const struct mime_part *part, size_t parent)
{
    struct plan plan = {.part = part, .parent = parent};
    plan.is_opaque = part->kind == MIME_LEAF || is_untouchable(part);
    unsigned flags = plan.is_opaque ? part->body_flags : flags_between(part, transfer->message);
    flags &= transfer->unsafe;
    if (may_encode(part) && flags != 0) {
        plan.must_encode = true;
        flags = 0;
    }
    plan.needs_label = (flags & FLAGS_7BIT) != 0 || (is_untouchable(part) && is_label(part->encoding));
    transfer->flags |= flags;
    transfer->plans[transfer->len++] = plan;
}

static size_t count_parts(const struct mime_part *root)
{
    size_t count = 0;
    for (const struct mime_part *part = root; part != NULL; part = next_part(root, part, false))
        count++;
    return count;
}

static enum err make_plans(struct transfer *transfer, const struct mime_part *root)
{
    transfer->plans = calloc(count_parts(root), sizeof *transfer->plans);
    if (transfer->plans == NULL)
        return ERR_MEMORY;
    size_t parent = 0;
    bool skip_inside = false;
    for (const struct mime_part *part = root; part != NULL; part = next_part(root, part, skip_inside)) {
        while (part != root && transfer->plans[parent].part != part->parent)
            parent = transfer->plans[parent].parent;
        plan_part(transfer, part, parent);
        skip_inside = transfer->plans[transfer->len - 1].is_opaque;
        if (!skip_inside)
            parent = transfer->len - 1;
    }
    /* Children come after their parents, so backwards every plan is complete when it is handed up. */
    for (size_t i = transfer->len - 1; i > 0; i--) {
        const struct plan *plan = &transfer->plans[i];
        if (plan->needs_label || (plan->part->header_flags & FLAGS_7BIT) != 0)
            transfer->plans[plan->parent].needs_label = true;
    }
    return ERR_OK;
}

/* ---- encoding a leaf ---- */

/* Text is to stay readable: quoted-printable, unless that would be the longer one of a text of which more than a sixth
   is not ASCII. */
static enum mime_encoding choose_encoding(const struct mime_part *part, struct span body)
{
    if (!mime_part_is(part, "text", NULL))
        return MIME_BASE64;
    size_t escapes = 0;
    for (size_t i = 0; i < body.len; i++) {
        unsigned char byte = (unsigned char)body.ptr[i];
        escapes += byte >= 0x7F || (byte < ' ' && byte != '\t' && byte != '\r' && byte != '\n');
    }
    size_t quoted_size = body.len + 2 * escapes;
    quoted_size += quoted_size / 75 * 3;
    size_t base64_size = (body.len + 2) / 3 * 4 + (body.len + 56) / 57 * 2;
    return escapes > body.len / 6 && base64_size < quoted_size ? MIME_BASE64 : MIME_QUOTED_PRINTABLE;
}

/* True if a line of `text` begins like a delimiter of a multipart around `part`: a soft line break may move what stood
   within a line to its start. */
static bool has_boundary(const struct mime_part *part, struct span text)
{
    size_t at = 0;
    while (at < text.len) {
        struct span line = span_skip(text, at);
        if (span_has_prefix(line, SPAN_LIT("--")))
            for (const struct mime_part *above = part->parent; above != NULL; above = above->parent)
                if (above->kind == MIME_MULTIPART && span_has_prefix(span_skip(line, 2), span_of(above->boundary)))
                    return true;
        at = span_find_byte(text, at, '\n') + 1;
    }
    return false;
}

static enum err encode(enum mime_encoding encoding, bool is_text, struct span body, struct buf *out)
{
    struct mime_coder coder = {.encoding = encoding, .is_text = is_text};
    enum err err = mime_encode_feed(&coder, body, out);
    return err == ERR_OK ? mime_encode_end(&coder, out) : err;
}

static enum err encode_leaf(const struct mime_part *part, struct span body, struct buf *out,
                            enum mime_encoding *encoding_out)
{
    *encoding_out = choose_encoding(part, body);
    enum err err = encode(*encoding_out, mime_part_is(part, "text", NULL), body, out);
    if (err == ERR_OK && *encoding_out == MIME_QUOTED_PRINTABLE && has_boundary(part, buf_span(out))) {
        buf_clear(out);
        *encoding_out = MIME_BASE64;
        err = encode(MIME_BASE64, true, body, out);
    }
    return err;
}

/* ---- writing ---- */

static enum err borrow_header(struct transfer *transfer, struct span bytes)
{
    transfer->flags |= flags_of(bytes) & transfer->unsafe;
    return mime_pieces_borrow(transfer->pieces, bytes);
}

static enum err add_label(struct transfer *transfer, enum mime_encoding encoding)
{
    struct buf field;
    buf_init(&field, 100);
    enum err err = buf_addf(&field, "%s: %s\r\n", encoding_field, mime_encoding_name(encoding));
    if (err == ERR_OK)
        err = mime_pieces_take(transfer->pieces, &field);
    buf_fini(&field);
    return err;
}

/* The label goes to the end of the header. An enclosed message that is no MIME yet must become so, or its label means
   nothing (RFC 2045 §4). */
static enum err insert_label(struct transfer *transfer, const struct mime_part *part, struct span header,
                             enum mime_encoding encoding)
{
    enum err err = ERR_OK;
    bool is_message = part->parent != NULL && part->parent->kind == MIME_MESSAGE;
    if (is_message && mime_field_count(header, "MIME-Version") == 0)
        err = mime_pieces_copy(transfer->pieces, SPAN_LIT("MIME-Version: 1.0\r\n"));
    return err == ERR_OK ? add_label(transfer, encoding) : err;
}

/* Writes the header with another Content-Transfer-Encoding; MIME_7BIT needs no field. Where there are several, none of
   the others stays: they would be for the next reader to choose from. */
static enum err write_header(struct transfer *transfer, const struct mime_part *part, enum mime_encoding encoding)
{
    struct span header = mime_part_header(part, transfer->message);
    struct mime_field field;
    size_t at = 0;
    bool has_label = encoding == MIME_7BIT;
    enum err err = ERR_OK;
    if (encoding == part->encoding) {
        transfer->flags |= part->header_flags & transfer->unsafe;
        return mime_pieces_borrow(transfer->pieces, header);
    }
    while (err == ERR_OK && mime_field_next(header, &at, &field)) {
        if (!mime_field_is(&field, encoding_field)) {
            err = borrow_header(transfer, field.whole);
        } else if (!has_label) {
            err = add_label(transfer, encoding);
            has_label = true;
        }
    }
    if (err == ERR_OK && !has_label)
        err = insert_label(transfer, part, header, encoding);
    return err == ERR_OK ? borrow_header(transfer, span_skip(header, at)) : err;
}

/* Writes one planned part: its header (not of the first one: that is the caller's) and, if nothing is planned below it,
   its body. `*at` is how far the message has been written. */
static enum err write_part(struct transfer *transfer, const struct plan *plan, bool has_header, size_t *at,
                           enum mime_encoding *encoding_out)
{
    const struct mime_part *part = plan->part;
    struct span body = mime_part_body(part, transfer->message);
    enum mime_encoding encoding = part->encoding;
    struct buf encoded;
    enum err err = ERR_OK;
    buf_init(&encoded, body.len > SIZE_MAX / 8 ? SIZE_MAX : body.len * 4 + 16);
    if (plan->must_encode)
        err = encode_leaf(part, body, &encoded, &encoding);
    else if (is_label(encoding) && !plan->needs_label)
        encoding = MIME_7BIT; /* a relay that converts what is called 8bit would break the signature over it */
    if (err == ERR_OK && has_header) {
        err = mime_pieces_borrow(transfer->pieces, span_slice(transfer->message, *at, part->header_at));
        if (err == ERR_OK)
            err = write_header(transfer, part, encoding);
    }
    if (err == ERR_OK && plan->must_encode)
        err = mime_pieces_take(transfer->pieces, &encoded);
    else if (err == ERR_OK && plan->is_opaque)
        err = mime_pieces_borrow(transfer->pieces, body);
    *at = plan->is_opaque ? part->body_end : part->body_at;
    *encoding_out = encoding;
    buf_fini(&encoded);
    return err;
}

enum err mime_transfer_body(const struct mime_part *part, struct span message, enum mime_safety safety,
                            struct mime_pieces *pieces, enum mime_encoding *encoding_out, unsigned *flags_out)
{
    struct transfer transfer = {
        .message = message, .unsafe = safety == MIME_SAFE_7BIT ? FLAGS_7BIT : FLAGS_SIGN, .pieces = pieces};
    size_t at = part->body_at;
    *encoding_out = part->encoding;
    *flags_out = 0;
    enum err err = make_plans(&transfer, part);
    for (size_t i = 0; err == ERR_OK && i < transfer.len; i++) {
        enum mime_encoding encoding;
        err = write_part(&transfer, &transfer.plans[i], i > 0, &at, &encoding);
        if (i == 0)
            *encoding_out = encoding;
    }
    if (err == ERR_OK)
        err = mime_pieces_borrow(pieces, span_slice(message, at, part->body_end));
    *flags_out = transfer.flags;
    free(transfer.plans);
    return err;
}

/* "=_" is no escape of quoted-printable and "_" no digit of base64 (RFC 2045 §6.7). */
enum err mime_boundary_make(char boundary_out[MIME_BOUNDARY_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[16];
    boundary_out[0] = '\0';
    if (RAND_bytes(random, sizeof random) != 1)
        return ERR_INTERNAL;
    char *to = boundary_out;
    *to++ = '=';
    *to++ = '_';
    for (size_t i = 0; i < sizeof random; i++) {
        *to++ = digits[random[i] >> 4];
        *to++ = digits[random[i] & 15];
    }
    *to = '\0';
    return ERR_OK;
}

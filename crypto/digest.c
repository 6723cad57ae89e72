#include "crypto/digest.h"

#include "mime/field.h"
#include "mime/param.h"

#include <openssl/evp.h>

/* Everything hashed goes in as a kind, a length and the bytes, so that no two messages give the same input. */
enum kind { KIND_FIELD_NAME = 1, KIND_FIELD_VALUE, KIND_LINE, KIND_BODY, KIND_GAP, KIND_PART_BEGIN, KIND_PART_END };

struct digester {
    EVP_MD_CTX *context;
    struct span message;
    struct buf value, scratch;
};

static enum err add(struct digester *digester, enum kind kind, struct span bytes)
{
    uint8_t prefix[9] = {(uint8_t)kind};
    uint64_t len = bytes.len;

    for (size_t i = 0; i < 8; i++)
        prefix[i + 1] = (uint8_t)(len >> (8 * i));
    if (EVP_DigestUpdate(digester->context, prefix, sizeof(prefix)) != 1 ||
        (bytes.len > 0 && EVP_DigestUpdate(digester->context, bytes.ptr, bytes.len) != 1))
        return ERR_INTERNAL;
    return ERR_OK;
}

/* One blank for each run of blanks and line ends; none at either side. */
static void even_blanks(struct buf *text)
{
    size_t len = 0;
    bool is_pending = false;

    for (size_t i = 0; i < text->len; i++) {
        char byte = text->data[i];

        if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n') {
            is_pending = len > 0;
            continue;
        }
        if (is_pending)
            text->data[len++] = ' ';
        is_pending = false;
        text->data[len++] = byte;
    }
    buf_truncate(text, len);
}

static bool is_left_out(const struct mime_field *field)
{
    static const char *const names[] = {"Date", "Message-ID", "Received", "Return-Path"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (mime_field_is(field, names[i]))
            return true;
    return false;
}

static enum err add_field(struct digester *digester, const struct mime_field *field)
{
    static const char *const boundary[] = {"boundary", NULL};
    enum err result;

    if (field->name.len == 0)
        return add(digester, KIND_LINE, span_trim(field->whole));
    buf_clear(&digester->value);
    buf_clear(&digester->scratch);
    result = buf_add_span(&digester->scratch, field->name);
    for (size_t i = 0; i < digester->scratch.len; i++)
        digester->scratch.data[i] = span_lower(digester->scratch.data[i]);
    if (result == ERR_OK)
        result = add(digester, KIND_FIELD_NAME, buf_span(&digester->scratch));
    if (result == ERR_OK && mime_field_is(field, "Content-Type"))
        result = mime_param_remove(field->value, boundary, &digester->value);
    else if (result == ERR_OK)
        result = buf_add_span(&digester->value, field->value);
    if (result != ERR_OK)
        return result;
    even_blanks(&digester->value);
    return add(digester, KIND_FIELD_VALUE, buf_span(&digester->value));
}

static enum err add_header(struct digester *digester, const struct mime_part *part)
{
    struct span header = mime_part_header(part, digester->message);
    struct mime_field field;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);)
        if (part->parent != NULL || !is_left_out(&field))
            result = add_field(digester, &field);
    return result;
}

/* What stands between the parts: preamble, delimiter lines, epilogue; the boundary itself is passed over. */
static enum err add_gap(struct digester *digester, const struct mime_part *part, size_t from, size_t to)
{
    struct span gap = span_slice(digester->message, from, to), boundary = span_of(part->boundary);
    size_t at = 0, found;
    enum err result = ERR_OK;

    while (result == ERR_OK && boundary.len > 0 && (found = span_find(gap, at, boundary)) != SIZE_MAX) {
        result = add(digester, KIND_GAP, span_slice(gap, at, found));
        at = found + boundary.len;
    }
    return result == ERR_OK ? add(digester, KIND_GAP, span_skip(gap, at)) : result;
}

/* Recursion is bounded by the depth limit of mime/part.h. */
static enum err add_part(struct digester *digester, const struct mime_part *part)
{
    size_t at = part->body_at;
    enum err result = add(digester, KIND_PART_BEGIN, SPAN_NONE);

    if (result == ERR_OK)
        result = add_header(digester, part);
    if (result == ERR_OK && part->first_child == NULL && part->kind == MIME_LEAF)
        result = add(digester, KIND_BODY, mime_part_body(part, digester->message));
    for (const struct mime_part *child = part->first_child; result == ERR_OK && child != NULL; child = child->next) {
        result = add_gap(digester, part, at, child->header_at);
        if (result == ERR_OK)
            result = add_part(digester, child);
        at = child->body_end;
    }
    if (result == ERR_OK && part->kind != MIME_LEAF)
        result = add_gap(digester, part, at, part->body_end);
    return result == ERR_OK ? add(digester, KIND_PART_END, SPAN_NONE) : result;
}

enum err crypto_digest(struct span message, const struct mime_tree *tree, uint8_t digest_out[CRYPTO_DIGEST_SIZE])
{
    struct digester digester = {.context = EVP_MD_CTX_new(), .message = message};
    size_t header_max = MIME_LIMITS_DEFAULT.header_max + 16;
    enum err result = ERR_MEMORY;

    buf_init(&digester.value, header_max);
    buf_init(&digester.scratch, header_max);
    if (digester.context != NULL)
        result = EVP_DigestInit_ex(digester.context, EVP_sha256(), NULL) == 1 ? ERR_OK : ERR_INTERNAL;
    if (result == ERR_OK)
        result = add_part(&digester, tree->root);
    if (result == ERR_OK && EVP_DigestFinal_ex(digester.context, digest_out, NULL) != 1)
        result = ERR_INTERNAL;
    EVP_MD_CTX_free(digester.context);
    buf_fini(&digester.value);
    buf_fini(&digester.scratch);
    return result;
}

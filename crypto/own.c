#include "crypto/own.h"

#include "base/log.h"
#include "base/memfd.h"
#include "crypto/fields.h"
#include "crypto/open.h"
#include "crypto/protect.h"
#include "crypto/seal_internal.h"
#include "mime/param.h"

#include <string.h>

/* The mark is the first line of the payload and one of these, byte for byte. */
#define MARK_HEADER CRYPTO_OWN_FIELD ": header\r\n" /* what follows HP-Outer is the message; its type is marked */
#define MARK_TYPE_ADDED CRYPTO_OWN_FIELD ": header, type\r\n" /* the same, after a Content-Type that it had not */
#define MARK_MESSAGE CRYPTO_OWN_FIELD ": message\r\n"         /* the body is the message */

#define TYPE_MARKS "; protected-headers=\"v1\"; hp=\"cipher\""
#define OUTER_SUBJECT "Subject: [...]\r\n"

/* A message in two, wherever its header may end. */
struct halves {
    struct buf header; /* without verdict fields; with the empty line if there is one */
    struct span body;
};

static enum err split(struct span message, struct halves *halves)
{
    struct mime_field field;
    size_t at = 0;
    enum err result;

    while (mime_field_next(message, &at, &field))
        continue;
    if (span_has_prefix(span_skip(message, at), SPAN_LIT("\r\n")))
        at += 2;
    buf_init_secret(&halves->header, at + 1);
    result = crypto_remove_verdicts(span_slice(message, 0, at), NULL, &halves->header);
    halves->body = span_skip(message, at);
    return result;
}

/* True if the field stands on lines that every reader sees the same way. */
static bool is_clean(const struct mime_field *field)
{
    struct span whole = field->whole;

    for (size_t i = 0; i < whole.len; i++) {
        bool is_line_end = whole.ptr[i] == '\r' && i + 1 < whole.len && whole.ptr[i + 1] == '\n';

        if (is_line_end)
            i++;
        else if (whole.ptr[i] == '\r' || whole.ptr[i] == '\n' || whole.ptr[i] == '\0')
            return false;
    }
    return field->name.len > 0 && whole.len > 2 && whole.ptr[whole.len - 1] == '\n';
}

/* What a server needs to sort and to show in its own lists. Neither Bcc nor fields of the program stand here. */
static bool is_for_server(const struct mime_field *field)
{
    static const char *const names[] = {"Date", "From",    "Sender",     "Reply-To",    "To",
                                        "Cc",   "Subject", "Message-ID", "In-Reply-To", "References"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (mime_field_is(field, names[i]))
            return is_clean(field);
    return false;
}

/* Adds what stands outside; with `prefix` "HP-Outer: " the record of it for the inside (RFC 9788 §2.2). */
static enum err add_outer(struct span header, const char *prefix, struct buf *out)
{
    bool has_subject = false;
    struct mime_field field;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        bool is_subject = mime_field_is(&field, "Subject");

        if (!is_for_server(&field) || (is_subject && has_subject))
            continue;
        has_subject = has_subject || is_subject;
        result = buf_add_string(out, prefix);
        if (result == ERR_OK)
            result = is_subject ? buf_add_string(out, OUTER_SUBJECT) : buf_add_span(out, field.whole);
    }
    return result;
}

/* The offset in `value` after "type/subtype": before it could be a comment or a quoted string, after it a mark stands
   in nobody's way. */
static bool find_type_end(struct span value, size_t *end_out)
{
    char type[MIME_TYPE_MAX], subtype[MIME_TYPE_MAX];
    size_t at = 0;

    if (!mime_type_parse(value, type, subtype, sizeof(type)))
        return false;
    while (at < value.len && span_find_byte(SPAN_LIT(" \t\r\n"), 0, value.ptr[at]) < 4)
        at++;
    while (at < value.len && span_find_byte(SPAN_LIT(" \t\r\n;("), 0, value.ptr[at]) == 6)
        at++;
    *end_out = at;
    return span_find_byte(span_slice(value, 0, at), 0, '/') < at;
}

/* Adds a Content-Type field with the marks of header protection. */
static enum err add_marked_type(const struct mime_field *field, struct buf *out)
{
    size_t value_at = (size_t)(field->value.ptr - field->whole.ptr), end;
    enum err result;

    if (!find_type_end(field->value, &end))
        return ERR_MALFORMED;
    result = buf_add_span(out, span_slice(field->whole, 0, value_at + end));
    if (result == ERR_OK)
        result = buf_add_string(out, TYPE_MARKS);
    return result == ERR_OK ? buf_add_span(out, span_skip(field->whole, value_at + end)) : result;
}

static enum err add_missing_type(struct span body, struct buf *out)
{
    bool is_8bit = false;

    for (size_t i = 0; i < body.len && !is_8bit; i++)
        is_8bit = (body.ptr[i] & 0x80) != 0;
    return buf_addf(out, "Content-Type: text/plain; charset=%s" TYPE_MARKS "\r\n",
                    is_8bit ? "unknown-8bit" : "us-ascii");
}

/* The header under protection. ERR_MALFORMED: this message is none for it. */
static enum err wrap_header(const struct halves *halves, struct buf *out)
{
    struct span header = buf_span(&halves->header);
    size_t types = mime_field_count(header, "Content-Type"), at = 0;
    struct mime_field field;
    enum err result;

    if (types > 1 || mime_field_count(header, "HP-Outer") > 0 || mime_field_count(header, CRYPTO_OWN_FIELD) > 0)
        return ERR_MALFORMED;
    result = buf_add_string(out, types == 1 ? MARK_HEADER : MARK_TYPE_ADDED);
    if (result == ERR_OK)
        result = add_outer(header, "HP-Outer: ", out);
    if (result == ERR_OK && types == 0)
        result = add_missing_type(halves->body, out);
    while (result == ERR_OK && mime_field_next(header, &at, &field)) {
        if (!is_clean(&field))
            result = ERR_MALFORMED;
        else
            result =
                mime_field_is(&field, "Content-Type") ? add_marked_type(&field, out) : buf_add_span(out, field.whole);
    }
    if (result == ERR_OK && !span_is_equal(span_skip(header, at), SPAN_LIT("\r\n")))
        result = ERR_MALFORMED;
    return result == ERR_OK ? buf_add_string(out, "\r\n") : result;
}

/* The header that wraps the message as a whole. */
static enum err wrap_message(const struct halves *halves, const struct mime_part *root, struct buf *out)
{
    unsigned flags = root->header_flags | root->body_flags;
    const char *encoding = "";
    struct mime_field field;
    enum err result = buf_add_string(out, MARK_MESSAGE);

    if ((flags & MIME_HAS_8BIT) != 0)
        encoding = "Content-Transfer-Encoding: 8bit\r\n";
    if ((flags & (MIME_HAS_NUL | MIME_HAS_BARE_CR | MIME_HAS_BARE_LF)) != 0)
        encoding = "Content-Transfer-Encoding: binary\r\n";
    for (size_t at = 0; result == ERR_OK && mime_field_next(buf_span(&halves->header), &at, &field);)
        if (is_for_server(&field))
            result = buf_add_span(out, field.whole);
    if (result == ERR_OK)
        result = add_outer(buf_span(&halves->header), "HP-Outer: ", out);
    return result == ERR_OK ? buf_addf(out, "Content-Type: message/rfc822" TYPE_MARKS "\r\n%s\r\n", encoding) : result;
}

/* True if unwrapping gives the message back. What comes after the header is taken as it is in either form. */
static bool unwraps_to(struct span wrapped, struct span expected)
{
    struct buf out;
    bool is_same;

    buf_init_secret(&out, expected.len + wrapped.len);
    is_same = crypto_own_unwrap(wrapped, &out) == ERR_OK && span_is_equal(buf_span(&out), expected);
    buf_fini(&out);
    return is_same;
}

static enum err wrap(const struct mime_part *root, const struct halves *halves, struct mime_pieces *payload)
{
    struct buf header;
    enum err result;

    buf_init_secret(&header, CRYPTO_HEADER_MAX);
    result = wrap_header(halves, &header);
    if (result == ERR_OK && unwraps_to(buf_span(&header), buf_span(&halves->header))) {
        result = mime_pieces_take(payload, &header);
    } else if (result == ERR_OK || result == ERR_MALFORMED) {
        buf_clear(&header);
        result = wrap_message(halves, root, &header);
        if (result == ERR_OK && !unwraps_to(buf_span(&header), SPAN_NONE))
            result = log_failure(ERR_INTERNAL, "wrapping an own copy");
        if (result == ERR_OK)
            result = mime_pieces_take(payload, &header);
        if (result == ERR_OK)
            result = mime_pieces_copy(payload, buf_span(&halves->header));
    }
    if (result == ERR_OK)
        result = mime_pieces_borrow(payload, halves->body);
    buf_fini(&header);
    return result;
}

enum err crypto_own_wrap(struct span message, struct mime_pieces *payload, struct buf *outer)
{
    struct halves halves = {.body = SPAN_NONE};
    struct mime_tree *tree = NULL;
    enum err result = mime_parse(message, MIME_LIMITS_DEFAULT, &tree);

    buf_init(&halves.header, 0);
    if (result == ERR_OK)
        result = split(message, &halves);
    if (result == ERR_OK)
        result = wrap(tree->root, &halves, payload);
    if (result == ERR_OK)
        result = add_outer(buf_span(&halves.header), "", outer);
    mime_tree_free(&tree);
    buf_fini(&halves.header);
    return result;
}

bool crypto_own_has_mark(struct span payload)
{
    return span_has_prefix(payload, SPAN_LIT(MARK_HEADER)) || span_has_prefix(payload, SPAN_LIT(MARK_TYPE_ADDED)) ||
           span_has_prefix(payload, SPAN_LIT(MARK_MESSAGE));
}

/* Adds a Content-Type field without the marks; ERR_MALFORMED if it has none. */
static enum err add_type_without_marks(struct span whole, struct buf *out)
{
    struct span marks = SPAN_LIT(TYPE_MARKS);
    size_t at = span_find(whole, 0, marks);
    enum err result;

    if (at == SIZE_MAX)
        return ERR_MALFORMED;
    result = buf_add_span(out, span_slice(whole, 0, at));
    return result == ERR_OK ? buf_add_span(out, span_skip(whole, at + marks.len)) : result;
}

static enum err unwrap_header(struct span payload, bool is_type_added, struct buf *out)
{
    bool is_leading = true, has_type = false;
    struct mime_field field;
    size_t at = 0;
    enum err result = mime_field_next(payload, &at, &field) ? ERR_OK : ERR_MALFORMED; /* the mark */

    while (result == ERR_OK && mime_field_next(payload, &at, &field)) {
        bool is_type = mime_field_is(&field, "Content-Type");

        if (is_leading && mime_field_is(&field, "HP-Outer"))
            continue;
        if (is_leading && is_type_added && !is_type)
            return ERR_MALFORMED;
        if (is_type && !has_type)
            result = is_type_added ? ERR_OK : add_type_without_marks(field.whole, out);
        else
            result = buf_add_span(out, field.whole);
        has_type = has_type || is_type;
        is_leading = false;
    }
    if (result == ERR_OK && !has_type)
        return ERR_MALFORMED;
    return result == ERR_OK ? buf_add_span(out, span_skip(payload, at)) : result;
}

static enum err unwrap_message(struct span payload, struct buf *out)
{
    struct mime_field field;
    size_t at = 0;

    while (mime_field_next(payload, &at, &field))
        continue;
    if (!span_has_prefix(span_skip(payload, at), SPAN_LIT("\r\n")))
        return ERR_MALFORMED;
    return buf_add_span(out, span_skip(payload, at + 2));
}

enum err crypto_own_unwrap(struct span payload, struct buf *out)
{
    size_t len_before = out->len;
    enum err result;

    if (!crypto_own_has_mark(payload))
        return ERR_NOT_FOUND;
    if (span_has_prefix(payload, SPAN_LIT(MARK_MESSAGE)))
        result = unwrap_message(payload, out);
    else
        result = unwrap_header(payload, span_has_prefix(payload, SPAN_LIT(MARK_TYPE_ADDED)), out);
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    return result;
}

/* What somebody encrypted already stays as it is. */
static enum err keep_as_it_is(const struct crypto_seal_request *request, struct span message, int fd,
                              struct crypto_seal_result *result_out)
{
    struct halves halves = {.body = SPAN_NONE};
    enum err result = split(message, &halves);

    if (result == ERR_OK)
        result = memfd_add(fd, buf_span(&halves.header), seal_output_max(request));
    if (result == ERR_OK)
        result = memfd_add(fd, halves.body, seal_output_max(request));
    buf_fini(&halves.header);
    return result == ERR_OK ? seal_check_file(NULL, CRYPTO_SEAL_PASS, fd, result_out) : result;
}

/* The payload must be readable when it comes back. */
static enum err check_payload(const struct mime_pieces *payload)
{
    struct mime_parser *parser = NULL;
    struct mime_tree *tree = NULL;
    enum err result = mime_parser_new(MIME_LIMITS_DEFAULT, &parser);

    for (size_t i = 0; result == ERR_OK && i < payload->len; i++)
        result = mime_parser_feed(parser, payload->items[i].bytes);
    if (result == ERR_OK)
        result = mime_parser_end(parser, &tree);
    mime_parser_free(&parser);
    mime_tree_free(&tree);
    return result;
}

static enum err seal_wrapped(const struct crypto_engine *engine, struct keyring_gpg *gpg,
                             const struct crypto_seal_request *request, struct span message, int fd,
                             struct crypto_seal_result *result_out)
{
    struct mime_pieces payload;
    struct buf outer;
    enum err result;

    mime_pieces_init(&payload);
    buf_init(&outer, CRYPTO_HEADER_MAX);
    result = crypto_own_wrap(message, &payload, &outer);
    if (result == ERR_OK)
        result = check_payload(&payload);
    if (result == ERR_OK) {
        struct crypto_engine_job job = {.gpg = gpg,
                                        .request = request,
                                        .outer = buf_span(&outer),
                                        .payload = &payload,
                                        .is_signed = true,
                                        .is_own = true,
                                        .fd = fd,
                                        .output_max = seal_output_max(request)};
        result = engine->write_encrypted(&job);
    }
    if (result == ERR_LIMIT)
        result = ERR_TOO_BIG;
    if (result == ERR_OK)
        result = seal_check_file(engine, CRYPTO_SEAL_SIGN_ENCRYPT, fd, result_out);
    if (result == ERR_OK)
        memcpy(result_out->signed_by, request->signer, sizeof(result_out->signed_by));
    mime_pieces_fini(&payload);
    buf_fini(&outer);
    return result;
}

enum err crypto_seal_own(struct keyring_gpg *gpg, const struct crypto_seal_request *request, struct span message,
                         int fd, struct crypto_seal_result *result_out)
{
    const struct crypto_engine *engine = crypto_engine_find(gpg, request);
    struct mime_tree *tree = NULL;
    enum err result;

    memset(result_out, 0, sizeof(*result_out));
    if (engine == NULL || request->action != CRYPTO_SEAL_SIGN_ENCRYPT)
        return log_failure(ERR_REFUSED, "sealing an own copy in a way that is not known");
    if (request->signer[0] == '\0')
        return log_failure(ERR_NO_SIGNING_KEY, "sealing an own copy");
    if (request->recipients_len == 0)
        return log_failure(ERR_NO_RECIPIENTS, "sealing an own copy");
    result = mime_parse(message, MIME_LIMITS_DEFAULT, &tree);
    if (result != ERR_OK)
        return result;
    result = crypto_sealed_kind(message, tree) != CRYPTO_NOT_SEALED
                 ? keep_as_it_is(request, message, fd, result_out)
                 : seal_wrapped(engine, gpg, request, message, fd, result_out);
    mime_tree_free(&tree);
    return result;
}

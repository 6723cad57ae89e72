#include "crypto/open_header.h"

#include "crypto/fields.h"
#include "crypto/open.h"
#include "crypto/packets.h"
#include "mime/param.h"

#define VALUE_MAX 1048576
#define TRANSPORT (CRYPTO_FIELD_TRACE | CRYPTO_FIELD_LIST)
/* What the inside has no say in: how the message came here, and what privyseal says of it. */
#define NOT_FROM_INSIDE (TRANSPORT | CRYPTO_FIELD_VERDICT | CRYPTO_FIELD_STRUCTURAL | CRYPTO_FIELD_HP_OUTER)

enum err crypto_header_protection(struct span payload_header, enum crypto_header_protection *protection_out)
{
    bool has_hp, is_cipher = false, is_clear = false, is_legacy = false;
    enum err result = crypto_param_is(payload_header, "hp", NULL, &has_hp);

    *protection_out = CRYPTO_HEADER_UNPROTECTED;
    if (result == ERR_OK && has_hp)
        result = crypto_param_is(payload_header, "hp", "cipher", &is_cipher);
    if (result == ERR_OK && has_hp)
        result = crypto_param_is(payload_header, "hp", "clear", &is_clear);
    if (result == ERR_OK && !has_hp)
        result = crypto_param_is(payload_header, "protected-headers", NULL, &is_legacy);
    if (result == ERR_OK && (is_cipher || is_clear))
        *protection_out = CRYPTO_HEADER_RFC9788;
    else if (result == ERR_OK && is_legacy)
        *protection_out = CRYPTO_HEADER_LEGACY;
    return result;
}

/* authserv-id = value = token / quoted-string, with CFWS before it (RFC 8601 §2.2). */
static bool is_from_server(struct span value, const char *authserv_id)
{
    struct span text = span_trim(value), id = span_of(authserv_id);
    size_t depth = 0, at = 0;

    while (at < text.len && (depth > 0 || text.ptr[at] == '(' || text.ptr[at] <= ' ')) {
        bool is_quoted = text.ptr[at] == '\\' && at + 1 < text.len;

        depth += text.ptr[at] == '(';
        depth -= text.ptr[at] == ')' && depth > 0;
        at += is_quoted ? 2 : 1;
    }
    text = span_skip(text, at);
    if (text.len > 0 && text.ptr[0] == '"')
        text = span_skip(text, 1);
    if (!span_has_case_prefix(text, id))
        return false;
    text = span_skip(text, id.len);
    return text.len == 0 || text.ptr[0] <= ' ' || span_find_byte(SPAN_LIT(";\"("), 0, text.ptr[0]) < 3;
}

/* A bare CR is no line end here, but it is one for some mail programs, which would see a field begin there. */
static bool hides_verdict(struct span whole)
{
    size_t at = 0;

    while ((at = span_find_byte(whole, at, '\r') + 1) < whole.len)
        if (span_has_case_prefix(span_skip(whole, at), SPAN_LIT(CRYPTO_VERDICT_FIELD)))
            return true;
    return false;
}

static bool is_verdict(const struct mime_field *field, const char *authserv_id)
{
    if ((crypto_field_classes(field) & CRYPTO_FIELD_VERDICT) != 0 || hides_verdict(field->whole))
        return true;
    return authserv_id != NULL && mime_field_is(field, "Authentication-Results") &&
           is_from_server(field->value, authserv_id);
}

enum err crypto_remove_verdicts(struct span header, const char *authserv_id, struct buf *out)
{
    struct mime_field field;
    size_t at = 0;
    enum err result = ERR_OK;

    while (result == ERR_OK && mime_field_next(header, &at, &field))
        if (!is_verdict(&field, authserv_id))
            result = buf_add_span(out, field.whole);
    return result == ERR_OK ? buf_add_span(out, span_skip(header, at)) : result; /* the empty line */
}

/* Adds a field with CRLF at each line's end. A bare CR or NUL within it becomes a blank, so that no reader sees a line,
   and with it a field, begin there; lines of blanks alone are left out, as for some they would end the header. */
static enum err add_field(struct span whole, struct buf *out)
{
    struct span line;
    enum err result = ERR_OK;

    while (result == ERR_OK && crypto_line_take(&whole, &line)) {
        size_t at = out->len;

        if (span_trim(line).len == 0)
            continue;
        result = buf_add_span(out, line);
        for (; at < out->len; at++)
            if (out->data[at] == '\r' || out->data[at] == '\0')
                out->data[at] = ' ';
        if (result == ERR_OK)
            result = buf_add_string(out, "\r\n");
    }
    return result;
}

/* True if `header` has a field of this name. */
static bool has_name(struct span header, struct span name)
{
    struct mime_field field;

    for (size_t at = 0; mime_field_next(header, &at, &field);)
        if (field.name.len > 0 && span_is_case_equal(field.name, name))
            return true;
    return false;
}

static bool is_outer_kept(const struct crypto_header_merge *merge, const struct mime_field *field)
{
    unsigned classes = crypto_field_classes(field);

    if (field->name.len == 0 || (classes & (CRYPTO_FIELD_STRUCTURAL | CRYPTO_FIELD_HP_OUTER)) != 0 ||
        is_verdict(field, merge->authserv_id))
        return false;
    if (merge->protection == CRYPTO_HEADER_UNPROTECTED || (classes & TRANSPORT) != 0)
        return true;
    if ((classes & CRYPTO_FIELD_FROM) != 0 && merge->keeps_outer_from)
        return true;
    if (has_name(merge->inner, field->name))
        return false;
    /* A field for people that the sender did not protect was put there by somebody else; a missing From would leave
       the message without any. */
    return merge->protection == CRYPTO_HEADER_LEGACY || (classes & CRYPTO_FIELD_FACING) == 0 ||
           (classes & CRYPTO_FIELD_FROM) != 0;
}

static bool is_inner_taken(const struct crypto_header_merge *merge, const struct mime_field *field)
{
    unsigned classes = crypto_field_classes(field);

    if (merge->protection == CRYPTO_HEADER_UNPROTECTED || field->name.len == 0 || (classes & NOT_FROM_INSIDE) != 0)
        return false;
    return (classes & CRYPTO_FIELD_FROM) == 0 || !merge->keeps_outer_from;
}

enum err crypto_header_merge(const struct crypto_header_merge *merge, struct buf *out)
{
    struct mime_field field;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(merge->outer, &at, &field);)
        if (is_outer_kept(merge, &field))
            result = add_field(field.whole, out);
    for (size_t at = 0; result == ERR_OK && mime_field_next(merge->inner, &at, &field);)
        if (is_inner_taken(merge, &field))
            result = add_field(field.whole, out);
    return result;
}

/* Adds the value as it means: one blank for each run of blanks and folds. */
static enum err add_meaning(struct span value, struct buf *out)
{
    struct span text = span_trim(value);
    enum err result = ERR_OK;

    for (size_t i = 0; result == ERR_OK && i < text.len; i++) {
        bool is_blank = span_find_byte(SPAN_LIT(" \t\r\n"), 0, text.ptr[i]) < 4;

        if (!is_blank)
            result = buf_add_byte(out, text.ptr[i]);
        else if (out->data[out->len - 1] != ' ')
            result = buf_add_byte(out, ' ');
    }
    return result;
}

static enum err compare_meaning(struct span a, struct span b, bool *is_same_out)
{
    struct buf first, second;
    enum err result;

    *is_same_out = span_is_equal(a, b);
    if (*is_same_out)
        return ERR_OK;
    buf_init(&first, VALUE_MAX);
    buf_init(&second, VALUE_MAX);
    result = add_meaning(a, &first);
    if (result == ERR_OK)
        result = add_meaning(b, &second);
    if (result == ERR_OK)
        *is_same_out = span_is_equal(buf_span(&first), buf_span(&second));
    buf_fini(&first);
    buf_fini(&second);
    return result == ERR_LIMIT ? ERR_OK : result; /* what is that long is not compared */
}

/* Whether the outer header has as many fields of this name as the inner one, and one of them says the same. */
static enum err find_outside(const struct crypto_header_merge *merge, const struct mime_field *inner,
                             bool *stands_outside_out)
{
    struct mime_field field;
    size_t outer_len = 0, inner_len = 0;
    bool is_found = false;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(merge->outer, &at, &field);) {
        if (!span_is_case_equal(field.name, inner->name))
            continue;
        outer_len++;
        if (!is_found)
            result = compare_meaning(field.value, inner->value, &is_found);
    }
    for (size_t at = 0; mime_field_next(merge->inner, &at, &field);)
        inner_len += span_is_case_equal(field.name, inner->name);
    *stands_outside_out = is_found && outer_len == inner_len;
    return result;
}

enum err crypto_header_is_same(const struct crypto_header_merge *merge, bool *is_same_out)
{
    struct mime_field field;
    enum err result = ERR_OK;

    *is_same_out = true;
    for (size_t at = 0; result == ERR_OK && *is_same_out && mime_field_next(merge->inner, &at, &field);)
        if (is_inner_taken(merge, &field))
            result = find_outside(merge, &field, is_same_out);
    for (size_t at = 0; result == ERR_OK && *is_same_out && mime_field_next(merge->outer, &at, &field);)
        if ((crypto_field_classes(&field) & (CRYPTO_FIELD_FACING | CRYPTO_FIELD_HP_OUTER)) != 0 &&
            !is_outer_kept(merge, &field) && !has_name(merge->inner, field.name))
            *is_same_out = false;
    return result;
}

/* Adds the Content-Type without the parameters of header protection. */
static enum err add_type_without_marks(const struct mime_field *field, struct buf *out)
{
    static const char *const marks[] = {"hp", "protected-headers", "hp-legacy-display", NULL};
    struct buf text;
    enum err result;

    buf_init_secret(&text, VALUE_MAX + 64);
    result = buf_add_span(&text, span_slice(field->whole, 0, (size_t)(field->value.ptr - field->whole.ptr)));
    if (result == ERR_OK)
        result = mime_param_remove(field->value, marks, &text);
    if (result == ERR_OK)
        result = add_field(buf_span(&text), out);
    buf_fini(&text);
    return result;
}

enum err crypto_header_add_structural(struct span header, bool without_marks, struct buf *out)
{
    bool has_version = false;
    struct mime_field field;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        if (!mime_field_is_structural(&field))
            continue;
        has_version = has_version || mime_field_is(&field, "MIME-Version");
        if (without_marks && mime_field_is(&field, "Content-Type"))
            result = add_type_without_marks(&field, out);
        else
            result = add_field(field.whole, out);
    }
    return result == ERR_OK && !has_version ? buf_add_string(out, "MIME-Version: 1.0\r\n") : result;
}

#include "crypto/protect.h"

#include "crypto/fields.h"
#include "crypto/packets.h"
#include "crypto/subject.h"
#include "mime/encoding.h"
#include "mime/param.h"

#define OBSCURED "[...]" /* RFC 9788 §3.2.1 */

/* What no copy carries. HP-Outer is nobody's but ours to write, and only inside. */
#define GOES_NOWHERE (CRYPTO_FIELD_VERDICT | CRYPTO_FIELD_REQUEST | CRYPTO_FIELD_BLIND)

static enum err end_line(struct buf *out)
{
    return out->len > 0 && out->data[out->len - 1] == '\n' ? ERR_OK : buf_add_string(out, "\r\n");
}

/* Adds a field as it stands, a subject without its tag, and its line end even if the header broke off before it. */
static enum err add_field(const struct mime_field *field, unsigned classes, const char *subject_tag, struct buf *out)
{
    size_t value_at = (size_t)(field->value.ptr - field->whole.ptr);
    enum err result;

    if ((classes & CRYPTO_FIELD_SUBJECT) == 0) {
        result = buf_add_span(out, field->whole);
    } else {
        result = buf_add_span(out, span_slice(field->whole, 0, value_at));
        if (result == ERR_OK)
            result = crypto_subject_strip(field->value, subject_tag, out);
        if (result == ERR_OK)
            result = buf_add_span(out, span_skip(field->whole, value_at + field->value.len));
    }
    return result == ERR_OK ? end_line(out) : result;
}

static enum err add_encoding(enum mime_encoding encoding, struct buf *out)
{
    return buf_addf(out, "Content-Transfer-Encoding: %s\r\n", mime_encoding_name(encoding));
}

enum err crypto_protect_plain(struct span header, const struct mime_part *root, enum mime_encoding encoding,
                              const char *subject_tag, struct buf *out)
{
    bool is_changed = encoding != root->encoding, is_removed = false;
    struct mime_field field;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        unsigned classes = crypto_field_classes(&field);

        /* A line that is no field may be the rest of a Bcc that was folded badly. */
        is_removed = (classes & (GOES_NOWHERE | CRYPTO_FIELD_HP_OUTER)) != 0 || (is_removed && field.name.len == 0);
        if (is_removed)
            continue;
        if (is_changed && mime_field_is(&field, "Content-Transfer-Encoding"))
            continue;
        result = add_field(&field, classes, subject_tag, out);
    }
    if (result == ERR_OK && is_changed && mime_field_count(header, "MIME-Version") == 0)
        result = buf_add_string(out, "MIME-Version: 1.0\r\n");
    return result == ERR_OK && is_changed ? add_encoding(encoding, out) : result;
}

/* A subject outside: under encryption one that says nothing, however many there are. */
static enum err add_outer_subject(const struct mime_field *field, enum crypto_protection protection,
                                  const char *subject_tag, bool *has_subject, struct buf *out)
{
    bool is_first = !*has_subject;

    *has_subject = true;
    if (protection == CRYPTO_PROTECT_CLEAR)
        return add_field(field, CRYPTO_FIELD_SUBJECT, subject_tag, out);
    return is_first ? buf_add_string(out, "Subject: " OBSCURED "\r\n") : ERR_OK;
}

/* Adds the outer fields, or with `prefix` "HP-Outer: " the record of those that are ours (trace fields come and go on
   the way). A line that is no field is dropped: outside it might tell something, inside it might end the header. */
static enum err add_outer(struct span header, enum crypto_protection protection, const char *subject_tag,
                          const char *prefix, struct buf *out)
{
    unsigned dropped = GOES_NOWHERE | CRYPTO_FIELD_HP_OUTER | CRYPTO_FIELD_STRUCTURAL;
    bool has_subject = false;
    struct mime_field field;
    enum err result = ERR_OK;

    if (protection == CRYPTO_PROTECT_CIPHER)
        dropped |= CRYPTO_FIELD_HIDDEN;
    if (prefix[0] != '\0')
        dropped |= CRYPTO_FIELD_TRACE;
    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        unsigned classes = crypto_field_classes(&field);

        if (field.name.len == 0 || (classes & dropped) != 0)
            continue;
        if (has_subject && protection == CRYPTO_PROTECT_CIPHER && (classes & CRYPTO_FIELD_SUBJECT) != 0)
            continue;
        result = buf_add_string(out, prefix);
        if (result == ERR_OK && (classes & CRYPTO_FIELD_SUBJECT) != 0)
            result = add_outer_subject(&field, protection, subject_tag, &has_subject, out);
        else if (result == ERR_OK)
            result = add_field(&field, classes, subject_tag, out);
    }
    return result;
}

enum err crypto_protect_outer(struct span header, enum crypto_protection protection, const char *subject_tag,
                              struct buf *out)
{
    return add_outer(header, protection, subject_tag, "", out);
}

/* Blanks at line ends do not survive every server, and the signature covers them: RFC 3156 §5 has them removed, and
   lines of blanks alone with them. */
static enum err add_tidy(struct span fields, struct buf *out)
{
    struct span line;
    enum err result = ERR_OK;

    while (result == ERR_OK && crypto_line_take(&fields, &line)) {
        while (line.len > 0 && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t'))
            line.len--;
        if (line.len == 0)
            continue;
        result = buf_add_span(out, line);
        if (result == ERR_OK)
            result = buf_add_string(out, "\r\n");
    }
    return result;
}

/* The offset of the first ";" that is not within a comment. */
static size_t find_parameters(struct span value)
{
    size_t depth = 0, at = 0;

    while (at < value.len && (depth > 0 || value.ptr[at] != ';')) {
        bool is_quoted = depth > 0 && value.ptr[at] == '\\' && at + 1 < value.len;

        depth += value.ptr[at] == '(';
        depth -= value.ptr[at] == ')' && depth > 0;
        at += is_quoted ? 2 : 1;
    }
    return at;
}

/* Adds the Content-Type with the marks. They stand right after type/subtype, before any parameter whose quotes may not
   be closed; taking them out again gives back the value as it was. */
static enum err add_type(struct span value, enum crypto_protection protection, struct buf *out)
{
    static const char *const ours[] = {"hp", "protected-headers", NULL};
    static const char *const marks[] = {"; protected-headers=\"v1\"; hp=\"clear\"",
                                        "; protected-headers=\"v1\"; hp=\"cipher\""};
    char type[MIME_TYPE_MAX], subtype[MIME_TYPE_MAX];
    struct buf clean;
    struct span head;
    size_t at;
    enum err result;

    if (!mime_type_parse(value, type, subtype, sizeof(type)))
        value = SPAN_LIT(" text/plain; charset=us-ascii"); /* what readers take it for (RFC 2045 §5.2) */
    buf_init(&clean, CRYPTO_HEADER_MAX);
    result = mime_param_remove(value, ours, &clean);
    at = find_parameters(buf_span(&clean));
    head = span_slice(buf_span(&clean), 0, at);
    while (head.len > 0 && span_find_byte(SPAN_LIT(" \t\r\n"), 0, head.ptr[head.len - 1]) < 4)
        head.len--;
    if (result == ERR_OK)
        result = buf_add_string(out, "Content-Type:");
    if (result == ERR_OK)
        result = buf_add_span(out, head);
    if (result == ERR_OK)
        result = buf_add_string(out, marks[protection]);
    if (result == ERR_OK)
        result = buf_add_span(out, span_skip(buf_span(&clean), at));
    buf_fini(&clean);
    return result == ERR_OK ? end_line(out) : result;
}

static enum err add_missing_type(const struct mime_part *root, enum crypto_protection protection, struct buf *out)
{
    bool is_8bit = (root->body_flags & MIME_HAS_8BIT) != 0;

    return add_type(is_8bit ? SPAN_LIT(" text/plain; charset=unknown-8bit") : SPAN_LIT(" text/plain; charset=us-ascii"),
                    protection, out);
}

/* The fields that describe the body go inside with it, each Content-Type and Content-Transfer-Encoding once. */
static enum err add_structural(struct span header, const struct mime_part *root, enum mime_encoding encoding,
                               enum crypto_protection protection, struct buf *out)
{
    bool has_type = false, has_encoding = encoding != root->encoding;
    struct mime_field field;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        if (!mime_field_is_structural(&field) || mime_field_is(&field, "MIME-Version"))
            continue;
        if (mime_field_is(&field, "Content-Type")) {
            result = has_type ? ERR_OK : add_type(field.value, protection, out);
            has_type = true;
        } else if (mime_field_is(&field, "Content-Transfer-Encoding")) {
            result = has_encoding ? ERR_OK : add_field(&field, 0, NULL, out);
            has_encoding = true;
        } else {
            result = add_field(&field, 0, NULL, out);
        }
    }
    if (result == ERR_OK && !has_type)
        result = add_missing_type(root, protection, out);
    if (result == ERR_OK && encoding != root->encoding)
        result = add_encoding(encoding, out);
    return result;
}

static enum err add_protected(struct span header, const char *subject_tag, struct buf *out)
{
    unsigned dropped = GOES_NOWHERE | CRYPTO_FIELD_HP_OUTER | CRYPTO_FIELD_STRUCTURAL | CRYPTO_FIELD_TRACE;
    struct mime_field field;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        unsigned classes = crypto_field_classes(&field);

        if (field.name.len > 0 && (classes & dropped) == 0)
            result = add_field(&field, classes, subject_tag, out);
    }
    return result;
}

enum err crypto_protect_inner(struct span header, const struct mime_part *root, enum mime_encoding encoding,
                              enum crypto_protection protection, const char *subject_tag, struct buf *out)
{
    struct buf fields;
    enum err result;

    buf_init(&fields, CRYPTO_HEADER_MAX);
    result = add_protected(header, subject_tag, &fields);
    if (result == ERR_OK && protection == CRYPTO_PROTECT_CIPHER)
        result = add_outer(header, protection, subject_tag, "HP-Outer: ", &fields);
    if (result == ERR_OK)
        result = add_structural(header, root, encoding, protection, &fields);
    if (result == ERR_OK)
        result = protection == CRYPTO_PROTECT_CLEAR ? add_tidy(buf_span(&fields), out)
                                                    : buf_add_span(out, buf_span(&fields));
    buf_fini(&fields);
    return result == ERR_OK ? buf_add_string(out, "\r\n") : result;
}

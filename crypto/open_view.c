#include "crypto/open_view.h"

#include "crypto/fields.h"
#include "mime/utf8.h"

#define FIELD_MAX 4096

/* Adds `text` as a quoted-string. */
static enum err add_quoted(struct span text, struct buf *out)
{
    enum err result = buf_add_byte(out, '"');

    for (size_t i = 0; result == ERR_OK && i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            result = buf_add_byte(out, '\\');
        if (result == ERR_OK)
            result = buf_add_byte(out, text.ptr[i]);
    }
    return result == ERR_OK ? buf_add_byte(out, '"') : result;
}

/* resinfo = method "=" result reasonspec; the method is no registered one, hence x- (RFC 8601 §2.7.7). */
static enum err add_results(const struct crypto_verdict *verdict, const char *authserv_id, struct span value,
                            struct buf *out)
{
    static const char *const results[] = {
        [CRYPTO_SIG_NONE] = "none",       [CRYPTO_SIG_GOOD] = "pass",   [CRYPTO_SIG_UNTRUSTED] = "policy",
        [CRYPTO_SIG_MISMATCH] = "fail",   [CRYPTO_SIG_BAD] = "fail",    [CRYPTO_SIG_EXPIRED] = "fail",
        [CRYPTO_SIG_REVOKED] = "fail",    [CRYPTO_SIG_WEAK] = "policy", [CRYPTO_SIG_UNKNOWN_KEY] = "temperror",
        [CRYPTO_SIG_PARTIAL] = "neutral",
    };
    struct buf text;
    enum err result;

    buf_init(&text, FIELD_MAX);
    result = buf_addf(&text, "%s; x-privyseal=%s reason=", authserv_id, results[verdict->signature]);
    if (result == ERR_OK)
        result = add_quoted(value, &text);
    if (result == ERR_OK)
        result = mime_field_add(out, "Authentication-Results", buf_span(&text));
    buf_fini(&text);
    return result;
}

enum err crypto_view_add_verdict(const struct crypto_verdict *verdict, const char *authserv_id, struct buf *out)
{
    struct buf value;
    enum err result;

    buf_init(&value, FIELD_MAX);
    result = crypto_verdict_format(verdict, &value);
    if (result == ERR_OK)
        result = mime_field_add(out, CRYPTO_VERDICT_FIELD, buf_span(&value));
    if (result == ERR_OK && authserv_id != NULL)
        result = add_results(verdict, authserv_id, buf_span(&value), out);
    buf_fini(&value);
    return result;
}

enum err crypto_view_add_clean(struct span text, struct buf *out)
{
    size_t from = 0;
    enum err result = ERR_OK;

    for (size_t i = 0; result == ERR_OK && i < text.len; i++) {
        bool is_cr = text.ptr[i] == '\r', is_lf = text.ptr[i] == '\n';

        if (!is_cr && !is_lf && text.ptr[i] != '\0')
            continue;
        result = buf_add_span(out, span_slice(text, from, i));
        if (result == ERR_OK)
            result = buf_add_string(out, is_cr || is_lf ? "\r\n" : "?");
        if (is_cr && i + 1 < text.len && text.ptr[i + 1] == '\n')
            i++;
        from = i + 1;
    }
    return result == ERR_OK ? buf_add_span(out, span_skip(text, from)) : result;
}

/* Whether `part` says of itself that it repeats the header for programs that know nothing of protection. */
static enum err test_legacy(const struct mime_part *part, struct span bytes, bool *is_legacy_out)
{
    return crypto_param_is(mime_part_header(part, bytes), "hp-legacy-display", "1", is_legacy_out);
}

/* A piece of a body to leave out; none if it is empty. */
struct legacy {
    size_t from, to;
};

/* Legacy display lines end at the first empty line (RFC 9788 §4.5.3.1). Encoded bodies whose lines are not those of
   the text keep them. */
static enum err find_legacy_lines(const struct mime_part *part, struct span bytes, struct legacy *legacy)
{
    struct span body = mime_part_body(part, bytes);
    size_t end = span_find(body, 0, SPAN_LIT("\r\n\r\n"));
    bool is_legacy;
    enum err result;

    if (!mime_part_is(part, "text", "plain") || part->encoding == MIME_BASE64 || end == SIZE_MAX)
        return ERR_OK;
    result = test_legacy(part, bytes, &is_legacy);
    if (is_legacy)
        *legacy = (struct legacy){part->body_at, part->body_at + end + 4};
    return result;
}

/* The same in HTML: the first <div class="header-protection-legacy-display"> of the body (§4.5.3.2). */
static enum err find_legacy_html(const struct mime_part *part, struct span bytes, struct legacy *legacy)
{
    struct span body = mime_part_body(part, bytes);
    size_t from, end;
    bool is_legacy;
    enum err result;

    if (!mime_part_is(part, "text", "html") || part->encoding == MIME_BASE64 || part->encoding == MIME_QUOTED_PRINTABLE)
        return ERR_OK;
    result = test_legacy(part, bytes, &is_legacy);
    if (!is_legacy)
        return result;
    from = span_find_case(body, 0, SPAN_LIT("<div class=\"header-protection-legacy-display\">"));
    end = from == SIZE_MAX ? SIZE_MAX : span_find_case(body, from, SPAN_LIT("</div>"));
    if (end != SIZE_MAX && span_find_case(span_slice(body, from + 4, end), 0, SPAN_LIT("<div")) == SIZE_MAX)
        *legacy = (struct legacy){part->body_at + from, part->body_at + end + 6};
    return result;
}

/* The older form: multipart/mixed whose first part holds nothing but the header fields for display. */
static enum err find_legacy_part(const struct mime_part *part, struct span bytes, struct legacy *legacy)
{
    const struct mime_part *first = part->first_child;
    bool is_legacy;
    enum err result;

    if (!mime_part_is(part, "multipart", "mixed") || first == NULL || first->next == NULL || first->kind != MIME_LEAF ||
        (!mime_part_is(first, "text", "rfc822-headers") && !mime_part_is(first, "text", "plain")))
        return ERR_OK;
    result = crypto_param_is(mime_part_header(first, bytes), "protected-headers", "v1", &is_legacy);
    if (is_legacy)
        *legacy = (struct legacy){first->header_at, first->next->header_at};
    return result;
}

/* What to leave out in `part`, the first of these that it has. */
static enum err find_legacy(const struct mime_part *part, struct span bytes, struct legacy *legacy_out)
{
    enum err result;

    *legacy_out = (struct legacy){0, 0};
    result = find_legacy_part(part, bytes, legacy_out);
    if (result == ERR_OK && legacy_out->to == 0)
        result = find_legacy_lines(part, bytes, legacy_out);
    if (result == ERR_OK && legacy_out->to == 0)
        result = find_legacy_html(part, bytes, legacy_out);
    return result;
}

enum err crypto_view_add_body(const struct mime_part *part, struct span bytes, bool is_payload, struct buf *out)
{
    size_t at = part->body_at;
    struct legacy legacy;
    enum err result = ERR_OK;

    for (const struct mime_part *inner = part; is_payload && result == ERR_OK && inner != NULL;
         inner = mime_part_after(inner)) {
        bool is_left_out = inner != part && inner->header_at < at;

        /* Signed parts and enclosed messages keep every byte, and so does what comes after one. */
        if (mime_part_is(inner, "multipart", "signed") || inner->kind == MIME_MESSAGE)
            break;
        if (is_left_out)
            continue;
        result = find_legacy(inner, bytes, &legacy);
        if (result == ERR_OK && legacy.to > 0) {
            result = crypto_view_add_clean(span_slice(bytes, at, legacy.from), out);
            at = legacy.to;
        }
    }
    return result == ERR_OK ? crypto_view_add_clean(span_slice(bytes, at, part->body_end), out) : result;
}

enum err crypto_view_add_inline(struct span part_header, struct span text, struct buf *out)
{
    struct mime_field type;
    enum err result;

    /* Armour yields UTF-8 unless it says otherwise (RFC 9580 §6.2.2); what is none is as the message says. */
    if (mime_utf8_is_valid(text))
        result = buf_add_string(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
    else if (mime_field_find(part_header, "Content-Type", &type))
        result = crypto_header_add_structural(type.whole, true, out);
    else
        result = buf_add_string(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n");
    if (result == ERR_OK)
        result = buf_add_string(out, "Content-Transfer-Encoding: 8bit\r\n\r\n");
    return result == ERR_OK ? crypto_view_add_clean(text, out) : result;
}

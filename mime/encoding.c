#include "mime/encoding_internal.h"

static const char *const names[] = {
    [MIME_7BIT] = "7bit",     [MIME_8BIT] = "8bit",
    [MIME_BINARY] = "binary", [MIME_QUOTED_PRINTABLE] = "quoted-printable",
    [MIME_BASE64] = "base64", [MIME_ENCODING_UNKNOWN] = "unknown",
};

const char *mime_encoding_name(enum mime_encoding encoding)
{
    return (unsigned)encoding <= MIME_ENCODING_UNKNOWN ? names[encoding] : names[MIME_ENCODING_UNKNOWN];
}

/* mechanism := "7bit" / "8bit" / "binary" / "quoted-printable" / "base64" / ietf-token / x-token (RFC 2045 §6.1), with
   comments before or after it. An empty value says as much as none. */
enum mime_encoding mime_encoding_parse(struct span value)
{
    struct span rest = span_trim(value);
    size_t len = 0;

    while (rest.len > 0 && rest.ptr[0] == '(') {
        size_t depth = 0, at = 0;

        do {
            depth += rest.ptr[at] == '(';
            depth -= rest.ptr[at] == ')';
            at += rest.ptr[at] == '\\' ? 2 : 1;
        } while (depth > 0 && at < rest.len);
        rest = span_trim(span_skip(rest, at));
    }
    while (len < rest.len && rest.ptr[len] > ' ' && rest.ptr[len] != ';' && rest.ptr[len] != '(')
        len++;
    if (rest.len == 0)
        return MIME_7BIT;
    rest = span_slice(rest, 0, len);
    for (unsigned i = 0; i < MIME_ENCODING_UNKNOWN; i++) {
        if (span_is_case_equal(rest, span_of(names[i])))
            return (enum mime_encoding)i;
    }
    return MIME_ENCODING_UNKNOWN;
}

enum err mime_decode_feed(struct mime_coder *coder, struct span bytes, struct buf *out)
{
    if (coder->encoding == MIME_BASE64)
        return mime_base64_decode(coder, bytes, out);
    if (coder->encoding == MIME_QUOTED_PRINTABLE)
        return mime_qp_decode(coder, bytes, out);
    return buf_add_span(out, bytes);
}

enum err mime_decode_end(struct mime_coder *coder, struct buf *out)
{
    if (coder->encoding == MIME_BASE64)
        return mime_base64_decode_end(coder, out);
    if (coder->encoding == MIME_QUOTED_PRINTABLE)
        return mime_qp_decode_end(coder, out);
    return ERR_OK;
}

enum err mime_encode_feed(struct mime_coder *coder, struct span bytes, struct buf *out)
{
    if (coder->encoding == MIME_BASE64)
        return mime_base64_encode(coder, bytes, out);
    if (coder->encoding == MIME_QUOTED_PRINTABLE)
        return mime_qp_encode(coder, bytes, out);
    return buf_add_span(out, bytes);
}

enum err mime_encode_end(struct mime_coder *coder, struct buf *out)
{
    if (coder->encoding == MIME_BASE64)
        return mime_base64_encode_end(coder, out);
    if (coder->encoding == MIME_QUOTED_PRINTABLE)
        return mime_qp_encode_end(coder, out);
    return ERR_OK;
}

enum err mime_decode(enum mime_encoding encoding, struct span body, struct buf *out)
{
    struct mime_coder coder = {.encoding = encoding};
    enum err result = mime_decode_feed(&coder, body, out);

    return result == ERR_OK ? mime_decode_end(&coder, out) : result;
}

#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/param.h"
#include "mime/text_internal.h"

#include <string.h>

/* Bodies are decoded in pieces of this size, so that little is held besides the result. */
#define PIECE ((size_t)32 << 10)

/* A message whose text is being saved. */
struct saving {
    struct span message;
    struct buf *out;
    struct buf fields; /* records of the message's own fields, which stand after its part */
    struct buf value;  /* one field's value, its lines joined */
    struct buf form;
};

static enum err add_number(struct buf *out, size_t size, uint64_t number)
{
    char bytes[8];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(number >> (8 * i) & 0xFF);
    return buf_add(out, bytes, size);
}

/* Writes the length of what has been added since `at`, where room for it was left. */
static enum err fill_length(struct buf *out, size_t at)
{
    size_t len = out->len - at - 4;

    if (len > UINT32_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < 4; i++)
        out->data[at + i] = (char)(len >> (8 * i) & 0xFF);
    return ERR_OK;
}

static enum err begin_record(struct buf *out, enum mime_text_record kind, size_t *at_out)
{
    enum err result = buf_add_byte(out, (char)kind);

    *at_out = out->len;
    return result == ERR_OK ? add_number(out, 4, 0) : result;
}

/* ---- header ---- */

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Joins the lines of a value without its first blank; each further line begins with a space (RFC 5322 §2.2.3 keeps the
   blank as it is; a tab and a space are the same to whoever searches). */
static enum err join_lines(struct span value, struct buf *out)
{
    enum err result = ERR_OK;
    struct span line;
    bool is_first = true;

    buf_clear(out);
    while (result == ERR_OK && span_take_until(&value, '\n', &line)) {
        if (value.ptr != NULL && line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (!is_first && line.len > 0 && *line.ptr == '\t') {
            result = buf_add_byte(out, ' ');
            line = span_skip(line, 1);
        }
        if (result == ERR_OK)
            result = buf_add_span(out, line);
        is_first = false;
    }
    return result;
}

/* Runs of blanks become one space; none is left at the beginning. */
static enum err add_compressed(struct span value, struct buf *out)
{
    enum err result = ERR_OK;
    bool was_blank = true;

    for (size_t i = 0; i < value.len && result == ERR_OK; i++) {
        bool is_one = is_blank(value.ptr[i]);

        if (!is_one || !was_blank)
            result = buf_add_byte(out, is_one ? ' ' : value.ptr[i]);
        was_blank = is_one;
    }
    return result;
}

static enum err add_lower(struct span name, struct buf *out)
{
    enum err result = ERR_OK;

    for (size_t i = 0; i < name.len && result == ERR_OK; i++)
        result = buf_add_byte(out, span_lower(name.ptr[i]));
    return result;
}

/* The other form of a field that FROM, TO, CC, BCC and SUBJECT look into. */
static enum err add_form(struct saving *saving, const struct mime_field *field)
{
    static const char *const addresses[] = {"from", "to", "cc", "bcc"};
    bool is_subject = mime_field_is(field, "subject"), is_address = false;
    size_t at, name_at;
    enum err result;

    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        is_address = is_address || mime_field_is(field, addresses[i]);
    if (!is_subject && !is_address)
        return ERR_OK;
    buf_clear(&saving->form);
    result = is_subject ? add_compressed(buf_span(&saving->value), &saving->form)
                        : mime_text_add_addresses(buf_span(&saving->value), &saving->form);
    if (result == ERR_OK)
        result = begin_record(&saving->fields, MIME_TEXT_FORM, &at);
    name_at = saving->fields.len;
    if (result == ERR_OK)
        result = add_number(&saving->fields, 4, 0);
    if (result == ERR_OK)
        result = add_lower(field->name, &saving->fields);
    if (result == ERR_OK)
        result = fill_length(&saving->fields, name_at);
    if (result == ERR_OK)
        result = mime_text_add_value(buf_span(&saving->form), &saving->fields);
    if (result == ERR_OK)
        result = buf_add_string(&saving->fields, "\r\n");
    return result == ERR_OK ? fill_length(&saving->fields, at) : result;
}

static enum err add_field_record(struct saving *saving, const struct mime_field *field, size_t from, size_t to)
{
    size_t at;
    enum err result = begin_record(&saving->fields, MIME_TEXT_FIELD, &at);

    if (from > UINT32_MAX || to > UINT32_MAX)
        return ERR_LIMIT;
    if (result == ERR_OK)
        result = add_number(&saving->fields, 4, from);
    if (result == ERR_OK)
        result = add_number(&saving->fields, 4, to);
    if (result == ERR_OK)
        result = add_lower(field->name, &saving->fields);
    if (result == ERR_OK)
        result = fill_length(&saving->fields, at);
    return result == ERR_OK ? add_form(saving, field) : result;
}

/* Adds "NAME: value" CRLF; what stands between name and value is kept. `text_at` is where the part's text begins. */
static enum err add_field(struct saving *saving, const struct mime_field *field, bool is_message, size_t text_at)
{
    struct span value = field->value, between;
    struct buf *out = saving->out;
    enum err result = mime_text_normalise(field->name, SPAN_NONE, out);
    size_t value_at;

    if (field->name.len > 0) {
        if (value.len > 0 && is_blank(*value.ptr))
            value = span_skip(value, 1);
        between = span_slice(field->whole, field->name.len, (size_t)(value.ptr - field->whole.ptr));
        if (result == ERR_OK)
            result = buf_add_span(out, between);
    }
    value_at = out->len;
    if (result == ERR_OK)
        result = join_lines(value, &saving->value);
    if (result == ERR_OK)
        result = mime_text_add_value(buf_span(&saving->value), out);
    if (result == ERR_OK)
        result = buf_add_string(out, "\r\n");
    if (result == ERR_OK && is_message && field->name.len > 0)
        result = add_field_record(saving, field, value_at - text_at, out->len - text_at);
    return result;
}

/* Adds the header's text with its length before it. */
static enum err add_header(struct saving *saving, const struct mime_part *part)
{
    struct span header = mime_part_header(part, saving->message);
    size_t length_at = saving->out->len, at = 0;
    struct mime_field field;
    enum err result = add_number(saving->out, 4, 0);

    while (result == ERR_OK && mime_field_next(header, &at, &field))
        result = add_field(saving, &field, part->parent == NULL, length_at + 4);
    if (result == ERR_OK && at < header.len)
        result = buf_add_string(saving->out, "\r\n");
    return result == ERR_OK ? fill_length(saving->out, length_at) : result;
}

/* ---- body ---- */

/* Text, and what is enclosed as message/... (delivery reports and the like), can be read by a person. A type that
   cannot be read is not taken for text, although it is shown as such. */
static bool has_text(const struct mime_part *part, struct span header)
{
    char type[MIME_TYPE_MAX], subtype[MIME_TYPE_MAX];
    struct mime_field field;

    if (part->kind != MIME_LEAF || part->encoding == MIME_ENCODING_UNKNOWN)
        return false;
    if (mime_field_find(header, "Content-Type", &field) && !mime_type_parse(field.value, type, subtype, MIME_TYPE_MAX))
        return false;
    return mime_part_is(part, "text", NULL) || mime_part_is(part, "message", NULL);
}

static bool is_base64_digit(char byte)
{
    char lower = span_lower(byte);

    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || byte == '+' || byte == '/';
}

/* Base64 is read up to the first byte that has nothing to do there: after that the groups may be out of step. */
static struct span readable(const struct mime_part *part, struct span body)
{
    size_t len = 0, digits = 0;

    if (part->encoding != MIME_BASE64)
        return body;
    while (len < body.len) {
        char byte = body.ptr[len];
        bool is_padding = byte == '=' && digits % 4 >= 2;
        bool is_blank_or_end = is_blank(byte) || byte == '\r' || byte == '\n';

        if (!is_base64_digit(byte) && !is_padding && !is_blank_or_end)
            break;
        digits += is_base64_digit(byte);
        len++;
    }
    return span_slice(body, 0, len);
}

static enum err find_charset(struct span header, struct buf *charset_out)
{
    struct mime_field field;
    enum err result = ERR_NOT_FOUND;

    if (mime_field_find(header, "Content-Type", &field))
        result = mime_param_get(field.value, "charset", charset_out);
    return result == ERR_MEMORY ? ERR_MEMORY : ERR_OK;
}

static enum err feed_body(struct mime_text_reader *reader, const struct mime_part *part, struct span body,
                          struct buf *decoded)
{
    struct mime_coder coder = {.encoding = part->encoding};
    enum err result = ERR_OK;

    while (result == ERR_OK && body.len > 0) {
        buf_clear(decoded);
        result = mime_decode_feed(&coder, span_slice(body, 0, PIECE), decoded);
        body = span_skip(body, PIECE);
        if (result == ERR_OK)
            result = mime_text_reader_feed(reader, buf_span(decoded));
    }
    buf_clear(decoded);
    if (result == ERR_OK)
        result = mime_decode_end(&coder, decoded);
    if (result == ERR_OK)
        result = mime_text_reader_feed(reader, buf_span(decoded));
    return result == ERR_OK ? mime_text_reader_end(reader) : result;
}

static enum err add_body(struct saving *saving, const struct mime_part *part)
{
    struct span header = mime_part_header(part, saving->message);
    struct mime_text_reader reader;
    struct buf charset, decoded;
    enum err result;

    if (!has_text(part, header))
        return ERR_OK;
    buf_init(&charset, MIME_PARAM_MAX);
    buf_init(&decoded, 2 * PIECE);
    result = find_charset(header, &charset);
    if (mime_text_reader_init(&reader, buf_span(&charset), saving->out) == ERR_MEMORY)
        result = ERR_MEMORY;
    if (result == ERR_OK)
        result = feed_body(&reader, part, readable(part, mime_part_body(part, saving->message)), &decoded);
    mime_text_reader_fini(&reader);
    buf_fini(&decoded);
    buf_fini(&charset);
    return result;
}

/* ---- the whole ---- */

static enum err add_part(struct saving *saving, const struct mime_part *part)
{
    size_t at;
    enum err result = begin_record(saving->out, MIME_TEXT_PART, &at);

    if (result == ERR_OK)
        result = add_header(saving, part);
    if (result == ERR_OK)
        result = add_body(saving, part);
    if (result == ERR_OK)
        result = fill_length(saving->out, at);
    if (result == ERR_OK && part->parent == NULL)
        result = buf_add_span(saving->out, buf_span(&saving->fields));
    return result;
}

/* A message without a date, or with one that is none, was sent on the first day of 1970. */
static int64_t day_sent(const struct saving *saving, const struct mime_part *root)
{
    struct mime_field field;
    int64_t day;

    if (!mime_field_find(mime_part_header(root, saving->message), "Date", &field) || !mime_text_day(field.value, &day))
        return 0;
    return day;
}

enum err mime_text_save(const struct mime_part *root, struct span message, struct buf *out)
{
    struct saving saving = {.message = message, .out = out};
    size_t len_before = out->len;
    enum err result = buf_add_string(out, MIME_TEXT_MAGIC);

    buf_init(&saving.fields, out->len_max);
    buf_init(&saving.value, message.len);
    buf_init(&saving.form, 40 * message.len + 64); /* an address that is missing is written as one of 30 bytes */
    if (result == ERR_OK)
        result = add_number(out, 8, message.len);
    if (result == ERR_OK)
        result = add_number(out, 8, (uint64_t)day_sent(&saving, root));
    for (const struct mime_part *part = root; part != NULL && result == ERR_OK; part = mime_part_after(part))
        result = add_part(&saving, part);
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    buf_fini(&saving.fields);
    buf_fini(&saving.value);
    buf_fini(&saving.form);
    return result;
}

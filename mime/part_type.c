#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/param.h"
#include "mime/part_internal.h"

#include <string.h>

/* RFC 2045 §5.2: without a Content-Type, or with one that cannot be read, an entity is text/plain; RFC 2046 §5.1.5:
   without one it is message/rfc822 in a digest. */
static void read_type(struct mime_part *part, const struct span *value)
{
    const char *type = "text", *subtype = "plain";

    if (value != NULL && mime_type_parse(*value, part->type, part->subtype, MIME_TYPE_MAX))
        return;
    if (value == NULL && part->parent != NULL && mime_part_is(part->parent, "multipart", "digest")) {
        type = "message";
        subtype = "rfc822";
    }
    (void)span_copy(span_of(type), part->type, sizeof part->type);
    (void)span_copy(span_of(subtype), part->subtype, sizeof part->subtype);
}

/* A multipart needs a boundary that can stand in a line; without one it is a leaf. RFC 2046 §5.1.1: a boundary does not
   end in a blank, and blanks after it in the text are padding. */
static enum err read_boundary(struct mime_part *part, struct span value)
{
    struct buf text;
    enum err result;

    buf_init(&text, MIME_PARAM_MAX);
    result = mime_param_get(value, "boundary", &text);
    if (result == ERR_OK) {
        size_t len = text.len;

        while (len > 0 && (text.data[len - 1] == ' ' || text.data[len - 1] == '\t'))
            len--;
        if (len > 0 && span_copy(span_slice(buf_span(&text), 0, len), part->boundary, sizeof part->boundary))
            part->kind = MIME_MULTIPART;
    }
    buf_fini(&text);
    return result == ERR_MEMORY ? ERR_MEMORY : ERR_OK;
}

enum err mime_part_read_header(struct mime_part *part, struct span header)
{
    struct mime_field field, type = {0};
    bool has_type = false, has_encoding = false;

    /* Of two fields with one name the first counts. */
    for (size_t at = 0; mime_field_next(header, &at, &field);) {
        if (!has_type && mime_field_is(&field, "Content-Type")) {
            type = field;
            has_type = true;
        } else if (!has_encoding && mime_field_is(&field, "Content-Transfer-Encoding")) {
            part->encoding = mime_encoding_parse(field.value);
            has_encoding = true;
        }
    }
    read_type(part, has_type ? &type.value : NULL);
    if (has_type && mime_part_is(part, "multipart", NULL))
        return read_boundary(part, type.value);
    /* RFC 2046 §5.2.1 forbids encoding message/rfc822, RFC 6532 §3.7 allows it for message/global. The offsets of an
       encoded message would be those of no bytes in the file: it is a leaf. */
    if ((mime_part_is(part, "message", "rfc822") || mime_part_is(part, "message", "global")) &&
        part->encoding != MIME_BASE64 && part->encoding != MIME_QUOTED_PRINTABLE)
        part->kind = MIME_MESSAGE;
    return ERR_OK;
}

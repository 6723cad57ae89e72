#include "mime/msg_id.h"

bool mime_msg_id_is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static void tell(struct span id, mime_msg_id_fn fn, void *context)
{
    id = span_trim(id);
    if (id.len > 0)
        fn(id, context);
}

static void walk_words(struct span value, mime_msg_id_fn fn, void *context)
{
    size_t begin = 0;
    value = span_trim(value);
    for (size_t at = 0; at < value.len; at++)
        if (mime_msg_id_is_blank(value.ptr[at])) {
            tell(span_slice(value, begin, at), fn, context);
            begin = at + 1;
        }
    tell(span_skip(value, begin), fn, context);
    if (begin > 0)
        tell(value, fn, context);
}

void mime_msg_id_walk(struct span value, mime_msg_id_fn fn, void *context)
{
    size_t begin = span_find_byte(value, 0, '<');
    if (begin == value.len) {
        walk_words(value, fn, context);
        return;
    }
    bool is_inside = false;
    for (size_t at = begin; at < value.len; at++) {
        const char byte = value.ptr[at];
        if (byte != '<' && byte != '>')
            continue;
        if (is_inside)
            tell(span_slice(value, begin, at), fn, context);
        is_inside = byte == '<';
        begin = at + 1;
    }
    if (is_inside)
        tell(span_skip(value, begin), fn, context);
}

#include "mime/text_internal.h"
enum err mime_text_add_addresses(struct span value, struct buf *out)
{
    return buf_add_span(out, value);
}

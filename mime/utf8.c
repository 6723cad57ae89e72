#include "mime/utf8.h"

#include <string.h>

/* RFC 3629 §4: what the second byte may be depends on the first; all later ones are 80..BF. */
static const struct utf8_row {
    unsigned char first_low, first_high, second_low, second_high;
    size_t length;
} utf8_rows[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3},
    {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

static size_t match_row(const struct utf8_row *row, const unsigned char *bytes, size_t count)
{
    if (count < row->length || bytes[1] < row->second_low || bytes[1] > row->second_high)
        return 0;
    for (size_t i = 2; i < row->length; i++)
        if (bytes[i] < 0x80 || bytes[i] > 0xBF)
            return 0;
    return row->length;
}

size_t mime_utf8_length(struct span text, size_t at)
{
    if (at >= text.len)
        return 0;
    const unsigned char *bytes = (const unsigned char *)text.ptr + at;
    if (bytes[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof utf8_rows / sizeof utf8_rows[0]; i++)
        if (bytes[0] >= utf8_rows[i].first_low && bytes[0] <= utf8_rows[i].first_high)
            return match_row(&utf8_rows[i], bytes, text.len - at);
    return 0;
}

bool mime_utf8_is_valid(struct span text)
{
    size_t length;
    for (size_t at = 0; at < text.len; at += length) {
        length = mime_utf8_length(text, at);
        if (length == 0)
            return false;
    }
    return true;
}

bool mime_utf8_is_shown(struct span text, size_t at, size_t *len_out)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr + at;
    const size_t length = mime_utf8_length(text, at);
    *len_out = length ? length : 1;
    if (length <= 1)
        return length == 1 && bytes[0] >= 0x20 && bytes[0] != 0x7F;
    if (length == 2)
        return bytes[0] != 0xC2 || bytes[1] >= 0xA0;
    const bool is_embedding = bytes[1] == 0x80 && bytes[2] >= 0xAA && bytes[2] <= 0xAE;
    const bool is_isolate = bytes[1] == 0x81 && bytes[2] >= 0xA6 && bytes[2] <= 0xA9;
    return length != 3 || bytes[0] != 0xE2 || !(is_embedding || is_isolate);
}

void mime_utf8_copy_shown(struct span text, char *target, size_t target_size)
{
    size_t len = 0, step;
    for (size_t at = 0; at < text.len; at += step) {
        const bool is_shown = mime_utf8_is_shown(text, at, &step);
        const size_t take = is_shown ? step : 1;
        if (len + take >= target_size)
            break;
        memmove(target + len, is_shown ? text.ptr + at : "?", take);
        len += take;
    }
    target[len] = '\0';
}

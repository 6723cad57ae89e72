#include "mime/part_internal.h"

#include <string.h>

/* RFC 5322 §2.1.1: a line must not be longer, without its CRLF. */
#define LINE_MAX_LEN 998

/* A 64-bit word with every byte set to `byte`. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The flags that a single byte can raise. Eight bytes at a time: a byte of `word` is zero if and only if some top bit
   of (word - 0x01..) & ~word is set. */
static unsigned scan(const char *bytes, size_t count)
{
    uint64_t high = 0, nul = 0, cr = 0;

    for (size_t at = 0; at < count;) {
        uint64_t word = EACH(' '), other;

        if (count >= sizeof word) {
            /* The last word overlaps the one before it, so that no odd bytes are left over. */
            size_t from = at + sizeof word <= count ? at : count - sizeof word;

            memcpy(&word, bytes + from, sizeof word);
            at = from + sizeof word;
        } else {
            memcpy(&word, bytes, count);
            at = count;
        }
        high |= word;
        nul |= (word - EACH(1)) & ~word;
        other = word ^ EACH('\r');
        cr |= (other - EACH(1)) & ~other;
    }
    return (high & EACH(0x80) ? MIME_HAS_8BIT : 0u) | (nul & EACH(0x80) ? MIME_HAS_NUL : 0u) |
           (cr & EACH(0x80) ? MIME_HAS_BARE_CR : 0u);
}

void mime_line_begin(struct mime_line *line, size_t at)
{
    line->at = at;
    line->len = line->text_len = line->end_len = 0;
    line->flags = line->end_flags = 0;
    line->has_cr = false;
}

static void add_text(struct mime_line *line, const char *bytes, size_t count)
{
    size_t text = count;

    line->flags |= scan(bytes, count);
    if (line->len < sizeof line->head) {
        size_t room = sizeof line->head - line->len;

        memcpy(line->head + line->len, bytes, count < room ? count : room);
    }
    while (text > 0 && (bytes[text - 1] == ' ' || bytes[text - 1] == '\t'))
        text--;
    if (text > 0)
        line->text_len = line->len + text;
    line->len += count;
}

void mime_line_add(struct mime_line *line, struct span bytes)
{
    if (bytes.len == 0)
        return;
    if (line->has_cr)
        add_text(line, "\r", 1);
    line->has_cr = bytes.ptr[bytes.len - 1] == '\r';
    add_text(line, bytes.ptr, bytes.len - line->has_cr);
}

void mime_line_end(struct mime_line *line, bool has_lf)
{
    if (has_lf) {
        line->end_len = line->has_cr ? 2 : 1;
        line->end_flags = line->has_cr ? 0 : MIME_HAS_BARE_LF;
    } else if (line->has_cr) {
        add_text(line, "\r", 1);
    }
    if (line->len > LINE_MAX_LEN)
        line->flags |= MIME_HAS_LONG_LINE;
    if (line->text_len < line->len)
        line->flags |= MIME_HAS_TRAILING_BLANK;
    if (line->len >= 5 && memcmp(line->head, "From ", 5) == 0)
        line->flags |= MIME_HAS_FROM_LINE;
}

bool mime_line_is_boundary(const struct mime_line *line, const char *boundary, bool *is_closing_out)
{
    const char *text = line->head + 2;
    size_t len;

    /* Without NULs in the line, the zeros that fill up the boundary's array can match nothing. */
    if (line->text_len < 3 || line->text_len > MIME_LINE_HEAD || (line->flags & MIME_HAS_NUL) != 0)
        return false;
    if (line->head[0] != '-' || line->head[1] != '-')
        return false;
    len = line->text_len - 2;
    if (len <= MIME_BOUNDARY_MAX && boundary[len] == '\0' && memcmp(text, boundary, len) == 0) {
        *is_closing_out = false;
        return true;
    }
    if (len < 3 || text[len - 1] != '-' || text[len - 2] != '-')
        return false;
    len -= 2;
    if (boundary[len] != '\0' || memcmp(text, boundary, len) != 0)
        return false;
    *is_closing_out = true;
    return true;
}

bool mime_line_begins_with(const struct mime_line *line, const char *boundary, size_t boundary_len,
                           bool *is_closing_out, bool *is_all_out)
{
    const char *text = line->head + 2;
    size_t len, kept;

    if (line->len < 2 || line->head[0] != '-' || line->head[1] != '-')
        return false;
    len = line->len - 2;
    kept = len < sizeof line->head - 2 ? len : sizeof line->head - 2;
    if (boundary_len > kept || memcmp(text, boundary, boundary_len) != 0)
        return false;
    *is_closing_out = kept >= boundary_len + 2 && text[boundary_len] == '-' && text[boundary_len + 1] == '-';
    *is_all_out = len == boundary_len + (*is_closing_out ? 2 : 0);
    return true;
}

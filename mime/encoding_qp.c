#include "mime/encoding_internal.h"

#include <string.h>

/* RFC 2045 §6.7 (5): 76 columns with the "=" of a soft line break. */
#define TEXT_WIDTH 75

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = span_lower(byte);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static void put_held(struct mime_coder *coder, struct mime_sink *sink)
{
    for (size_t i = 0; i < coder->held_len; i++)
        mime_sink_put(sink, coder->held[i]);
    coder->held_len = 0;
}

/*
 * What is held while decoding, its meaning not yet known:
 *   1*WSP [CR]        blanks that a line end would take away (RFC 2045 §6.7 (3)); a CR that may begin a line end
 *   "=" *WSP [CR]     a soft line break, if LF follows
 *   "=" HEXDIG        half an escape
 * What turns out to be none of these is given out as it came. True if `byte` goes on with what is held.
 */
static bool decode_held(struct mime_coder *coder, char byte, struct mime_sink *sink)
{
    char *held = coder->held;
    char last = held[coder->held_len - 1];
    bool is_escape = held[0] == '=';

    if (byte == '\n') {
        if (!is_escape && last == '\r')
            mime_sink_put(sink, '\r');
        if (!is_escape)
            mime_sink_put(sink, '\n');
        /* "=" HEXDIG LF is no soft break. */
        if (is_escape && hex_value(last) >= 0) {
            put_held(coder, sink);
            mime_sink_put(sink, '\n');
        }
        coder->held_len = 0;
        return true;
    }
    if (is_escape && coder->held_len == 2 && hex_value(last) >= 0 && hex_value(byte) >= 0) {
        mime_sink_put(sink, (char)(hex_value(last) << 4 | hex_value(byte)));
        coder->held_len = 0;
        return true;
    }
    /* Blanks that fill the array pass the 76 columns that a line may have: they are kept. */
    if (coder->held_len < sizeof coder->held && last != '\r' && hex_value(last) < 0 &&
        (is_blank(byte) || byte == '\r' || (coder->held_len == 1 && is_escape && hex_value(byte) >= 0))) {
        held[coder->held_len++] = byte;
        return true;
    }
    put_held(coder, sink);
    return false;
}

enum err mime_qp_decode(struct mime_coder *coder, struct span bytes, struct buf *out)
{
    struct mime_sink sink = {.out = out};

    for (size_t i = 0; i < bytes.len; i++) {
        char byte = bytes.ptr[i];

        if (coder->held_len > 0 && decode_held(coder, byte, &sink))
            continue;
        if (byte == '=' || byte == '\r' || is_blank(byte))
            coder->held[coder->held_len++] = byte;
        else
            mime_sink_put(&sink, byte);
    }
    mime_sink_flush(&sink);
    return sink.result;
}

/* The end of the data is a line end, since the CRLF before a boundary is not part of the body. */
enum err mime_qp_decode_end(struct mime_coder *coder, struct buf *out)
{
    struct mime_sink sink = {.out = out};
    char last = coder->held_len > 0 ? coder->held[coder->held_len - 1] : '\0';

    if (last == '\r' || hex_value(last) >= 0)
        put_held(coder, &sink);
    coder->held_len = 0;
    mime_sink_flush(&sink);
    return sink.result;
}

static void put_line_end(struct mime_coder *coder, struct mime_sink *sink)
{
    mime_sink_put(sink, '\r');
    mime_sink_put(sink, '\n');
    coder->column = 0;
}

/* Writes a byte as it is or as =XX, after a soft line break if the line has no room. */
static void put_encoded(struct mime_coder *coder, struct mime_sink *sink, char byte, bool is_literal)
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned width = is_literal ? 1 : 3;

    if (coder->column + width > TEXT_WIDTH) {
        mime_sink_put(sink, '=');
        put_line_end(coder, sink);
    }
    if (is_literal) {
        mime_sink_put(sink, byte);
    } else {
        mime_sink_put(sink, '=');
        mime_sink_put(sink, digits[(unsigned char)byte >> 4]);
        mime_sink_put(sink, digits[(unsigned char)byte & 15]);
    }
    coder->column += width;
}

static void drop_held(struct mime_coder *coder, size_t count)
{
    coder->held_len -= count;
    memmove(coder->held, coder->held + count, coder->held_len);
}

/* What to do with the first byte that is held. */
enum choice { CHOOSE_LATER, CHOOSE_LITERAL, CHOOSE_ESCAPE, CHOOSE_LINE_END };

static enum choice choose(const struct mime_coder *coder, bool is_end)
{
    static const char from[] = "From ";
    const char *held = coder->held;
    size_t len = coder->held_len;
    char byte = held[0];

    if (byte == '\r' && coder->is_text) {
        if (len == 1)
            return is_end ? CHOOSE_ESCAPE : CHOOSE_LATER;
        return held[1] == '\n' ? CHOOSE_LINE_END : CHOOSE_ESCAPE;
    }
    if (is_blank(byte)) {
        bool is_cr_next = len > 1 && coder->is_text && held[1] == '\r';

        if (len == 1 || (is_cr_next && len == 2))
            return !is_end ? CHOOSE_LATER : len == 1 ? CHOOSE_ESCAPE : CHOOSE_LITERAL;
        return is_cr_next && held[2] == '\n' ? CHOOSE_ESCAPE : CHOOSE_LITERAL;
    }
    /* A soft line break, if one is due, makes this the first byte of a line. */
    if (byte == 'F' && (coder->column == 0 || coder->column == TEXT_WIDTH)) {
        size_t known = len < sizeof from - 1 ? len : sizeof from - 1;

        if (memcmp(held, from, known) != 0)
            return CHOOSE_LITERAL;
        return known == sizeof from - 1 ? CHOOSE_ESCAPE : is_end ? CHOOSE_LITERAL : CHOOSE_LATER;
    }
    if (byte == '.' && (coder->column == 0 || coder->column == TEXT_WIDTH))
        return CHOOSE_ESCAPE;
    return byte > ' ' && byte < 127 && byte != '=' ? CHOOSE_LITERAL : CHOOSE_ESCAPE;
}

static void encode_held(struct mime_coder *coder, struct mime_sink *sink, bool is_end)
{
    while (coder->held_len > 0) {
        enum choice choice = choose(coder, is_end);

        if (choice == CHOOSE_LATER)
            return;
        if (choice == CHOOSE_LINE_END)
            put_line_end(coder, sink);
        else
            put_encoded(coder, sink, coder->held[0], choice == CHOOSE_LITERAL);
        drop_held(coder, choice == CHOOSE_LINE_END ? 2 : 1);
    }
}

enum err mime_qp_encode(struct mime_coder *coder, struct span bytes, struct buf *out)
{
    struct mime_sink sink = {.out = out};

    for (size_t i = 0; i < bytes.len; i++) {
        char byte = bytes.ptr[i];

        /* Most bytes are printable ones within a line, of which nothing else depends. */
        if (coder->held_len == 0 && byte > ' ' && byte < 127 && byte != '=' && coder->column > 0 &&
            coder->column < TEXT_WIDTH) {
            mime_sink_put(&sink, byte);
            coder->column++;
            continue;
        }
        coder->held[coder->held_len++] = byte;
        encode_held(coder, &sink, false);
    }
    mime_sink_flush(&sink);
    return sink.result;
}

enum err mime_qp_encode_end(struct mime_coder *coder, struct buf *out)
{
    struct mime_sink sink = {.out = out};

    encode_held(coder, &sink, true);
    mime_sink_flush(&sink);
    return sink.result;
}

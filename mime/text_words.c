#include "mime/encoding.h"
#include "mime/text_internal.h"

/* encoded-word = "=?" charset "?" encoding "?" encoded-text "?=" (RFC 2047 §2), read more leniently than by
   mime_word_decode, since what cannot be found is missed more than what can: blanks may stand in the text. */
struct word {
    struct span charset, text;
    bool is_base64;
    size_t len; /* of the whole */
};

static bool read_word(struct span value, size_t at, struct word *word_out)
{
    struct span rest = span_skip(value, at);
    size_t charset_end, text_end;
    char encoding;

    if (!span_has_prefix(rest, SPAN_LIT("=?")))
        return false;
    charset_end = span_find_byte(rest, 2, '?');
    if (charset_end + 2 >= rest.len)
        return false;
    encoding = span_lower(rest.ptr[charset_end + 1]);
    if ((encoding != 'b' && encoding != 'q') || rest.ptr[charset_end + 2] != '?')
        return false;
    text_end = span_find_byte(rest, charset_end + 3, '?');
    if (text_end + 1 >= rest.len || rest.ptr[text_end + 1] != '=')
        return false;
    word_out->charset = span_slice(rest, 2, charset_end);
    word_out->text = span_slice(rest, charset_end + 3, text_end);
    word_out->is_base64 = encoding == 'b';
    word_out->len = text_end + 2;
    return true;
}

static int hex_value(char byte)
{
    byte = span_lower(byte);
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The "Q" encoding (RFC 2047 §4.2); a bad escape stands for itself. */
static enum err decode_q(struct span text, struct buf *out)
{
    enum err result = ERR_OK;

    for (size_t at = 0; at < text.len && result == ERR_OK; at++) {
        char byte = text.ptr[at] == '_' ? ' ' : text.ptr[at];

        if (byte == '=' && at + 2 < text.len && hex_value(text.ptr[at + 1]) >= 0 && hex_value(text.ptr[at + 2]) >= 0) {
            byte = (char)(hex_value(text.ptr[at + 1]) << 4 | hex_value(text.ptr[at + 2]));
            at += 2;
        }
        result = buf_add_byte(out, byte);
    }
    return result;
}

static enum err add_word(const struct word *word, struct buf *out)
{
    struct buf bytes;
    enum err result;

    /* Nothing that is decoded is longer than what it was. */
    buf_init(&bytes, word->text.len);
    result = word->is_base64 ? mime_decode(MIME_BASE64, word->text, &bytes) : decode_q(word->text, &bytes);
    if (result == ERR_OK)
        result = mime_text_add_known(buf_span(&bytes), word->charset, out);
    /* Bytes in a charset that nobody knows are no letters: they stay as they are. */
    if (result == ERR_NOT_FOUND)
        result = buf_add_span(out, buf_span(&bytes));
    buf_fini(&bytes);
    return result;
}

/* Blanks between two words, and those before the first, are not part of the text; nor are they before what only looks
   like a word, as servers read it. */
static enum err add_between(struct span text, struct buf *out)
{
    return span_trim(text).len == 0 ? ERR_OK : mime_text_normalise(text, SPAN_NONE, out);
}

enum err mime_text_add_value(struct span value, struct buf *out)
{
    enum err result = ERR_OK;
    size_t text_at = 0, at = 0;
    struct word word;

    while (result == ERR_OK && (at = span_find(value, at, SPAN_LIT("=?"))) != SIZE_MAX) {
        result = add_between(span_slice(value, text_at, at), out);
        text_at = at;
        if (result == ERR_OK && read_word(value, at, &word)) {
            result = add_word(&word, out);
            at += word.len;
            text_at = at;
        } else {
            at += 2;
        }
    }
    if (result == ERR_OK && text_at < value.len)
        result = mime_text_normalise(span_skip(value, text_at), SPAN_NONE, out);
    return result;
}

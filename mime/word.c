#include "mime/word.h"

#include "base/base64.h"
#include "mime/charset.h"
#include "mime/encoding.h"
#include "mime/utf8.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#define CHARSET_MAX 40
#define WORD_MAX 75       /* RFC 2047 §2 */
#define FIRST_WORD_MAX 60 /* leaves room for the name of the field in the 76 columns of its line */
#define WORD_HEAD "=?utf-8?Q?"
#define WORD_TAIL "?="

/* ---- decoding ---- */

/* encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?=" (RFC 2047 §2, RFC 2231 §5) */
struct word {
    char charset[CHARSET_MAX];
    bool is_base64;
    struct span text;
    size_t len; /* of the whole */
};

/* Opening a charset costs far more than converting a word; a field that names more of them is not written by a person.
 */
#define CONVERTERS_MAX 8

struct converter {
    char charset[CHARSET_MAX];
    iconv_t handle; /* (iconv_t)-1: this system cannot */
};

/* A decoding in progress. Neighbouring words of one charset are converted together, since many programs split
   characters between words. */
struct decoder {
    struct buf *out;
    struct buf bytes;                  /* decoded, not yet converted */
    const struct converter *converter; /* of the bytes */
    struct converter converters[CONVERTERS_MAX];
    size_t converters_len;
};

/* Reads the charset in lower case without its language. */
static bool read_charset(struct span name, char charset_out[CHARSET_MAX])
{
    name = span_slice(name, 0, span_find_byte(name, 0, '*'));
    if (!mime_charset_is_known(name) || !span_copy(name, charset_out, CHARSET_MAX))
        return false;
    for (char *at = charset_out; *at != '\0'; at++)
        *at = span_lower(*at);
    return true;
}

/* encoded-text = 1*<printable ASCII but "?" and SPACE>; one that is empty is common and harmless. */
static bool read_word(struct span value, size_t at, struct word *word_out)
{
    struct span rest = span_skip(value, at);
    if (!span_has_prefix(rest, SPAN_LIT("=?")))
        return false;
    size_t charset_end = span_find_byte(rest, 2, '?');
    if (charset_end + 3 > rest.len || rest.ptr[charset_end + 2] != '?')
        return false;
    char encoding = span_lower(rest.ptr[charset_end + 1]);
    if ((encoding != 'b' && encoding != 'q') || !read_charset(span_slice(rest, 2, charset_end), word_out->charset))
        return false;
    size_t from = charset_end + 3, end = from;
    while (end < rest.len && rest.ptr[end] > ' ' && rest.ptr[end] < 0x7F && rest.ptr[end] != '?')
        end++;
    if (end + 2 > rest.len || rest.ptr[end] != '?' || rest.ptr[end + 1] != '=')
        return false;
    word_out->is_base64 = encoding == 'b';
    word_out->text = span_slice(rest, from, end);
    word_out->len = end + 2;
    return true;
}

static int hex_value(char byte)
{
    byte = span_lower(byte);
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The "Q" encoding (RFC 2047 §4.2): "_" is a blank, "=XX" a byte; a bad escape stands for itself. */
static enum err decode_q(struct span text, struct buf *out)
{
    enum err err = ERR_OK;
    for (size_t at = 0; err == ERR_OK && at < text.len; at++) {
        char byte = text.ptr[at] == '_' ? ' ' : text.ptr[at];
        if (byte == '=' && at + 2 < text.len && hex_value(text.ptr[at + 1]) >= 0 && hex_value(text.ptr[at + 2]) >= 0) {
            byte = (char)(hex_value(text.ptr[at + 1]) << 4 | hex_value(text.ptr[at + 2]));
            at += 2;
        }
        err = buf_add_byte(out, byte);
    }
    return err;
}

static enum err decode_text(const struct word *word, struct buf *out)
{
    return word->is_base64 ? mime_decode(MIME_BASE64, word->text, out) : decode_q(word->text, out);
}

/* Adds what should be UTF-8: what is not becomes U+FFFD, and what would end a line or a string a blank. */
static enum err add_utf8(struct span text, struct buf *out)
{
    enum err err = ERR_OK;
    for (size_t at = 0; err == ERR_OK && at < text.len;) {
        size_t length = mime_utf8_length(text, at);
        char byte = text.ptr[at];
        if (length == 0)
            err = buf_add_string(out, MIME_UTF8_REPLACEMENT);
        else if (byte == '\r' || byte == '\n' || byte == '\0')
            err = buf_add_byte(out, ' ');
        else
            err = buf_add(out, text.ptr + at, length);
        at += length == 0 ? 1 : length;
    }
    return err;
}

/* Converts piece by piece; bytes that are none in the charset become U+FFFD one at a time. */
static enum err convert(iconv_t handle, struct span bytes, struct buf *out)
{
    char *from = (char *)(uintptr_t)bytes.ptr; /* iconv writes nothing there, whatever its prototype says */
    size_t left = bytes.len;
    enum err err = ERR_OK;
    bool is_flushed = false;
    (void)iconv(handle, NULL, NULL, NULL, NULL);
    while (err == ERR_OK && !is_flushed) {
        char piece[512], *to = piece;
        size_t room = sizeof piece;
        is_flushed = left == 0;
        size_t status = iconv(handle, is_flushed ? NULL : &from, is_flushed ? NULL : &left, &to, &room);
        bool is_bad = status == (size_t)-1 && errno != E2BIG && left > 0;
        err = add_utf8((struct span){piece, sizeof piece - room}, out);
        if (err == ERR_OK && is_bad) {
            err = buf_add_string(out, MIME_UTF8_REPLACEMENT);
            from++;
            left--;
        }
    }
    return err;
}

static bool is_utf8(const char *charset)
{
    return mime_charset_is_utf8(span_of(charset));
}

/* The converter for a charset, opened when it is first asked for; NULL if there is none. */
static const struct converter *find_converter(struct decoder *decoder, const char *charset)
{
    struct converter *converter = decoder->converters;
    for (size_t i = 0; i < decoder->converters_len; i++, converter++)
        if (strcmp(converter->charset, charset) == 0)
            return is_utf8(charset) || converter->handle != (iconv_t)-1 ? converter : NULL;
    if (decoder->converters_len == CONVERTERS_MAX)
        return NULL;
    decoder->converters_len++;
    memcpy(converter->charset, charset, sizeof converter->charset);
    converter->handle = is_utf8(charset) ? (iconv_t)-1 : mime_charset_open(span_of(charset));
    return is_utf8(charset) || converter->handle != (iconv_t)-1 ? converter : NULL;
}

static void close_converters(struct decoder *decoder)
{
    for (size_t i = 0; i < decoder->converters_len; i++)
        if (decoder->converters[i].handle != (iconv_t)-1)
            iconv_close(decoder->converters[i].handle);
}

/* Gives out the words that have been gathered. */
static enum err flush_words(struct decoder *decoder)
{
    struct span bytes = buf_span(&decoder->bytes);
    enum err err = ERR_OK;
    if (bytes.len > 0 && is_utf8(decoder->converter->charset))
        err = add_utf8(bytes, decoder->out);
    else if (bytes.len > 0)
        err = convert(decoder->converter->handle, bytes, decoder->out);
    buf_clear(&decoder->bytes);
    return err;
}

static enum err take_word(struct decoder *decoder, const struct word *word, const struct converter *converter)
{
    enum err err = converter == decoder->converter ? ERR_OK : flush_words(decoder);
    decoder->converter = converter;
    return err == ERR_OK ? decode_text(word, &decoder->bytes) : err;
}

/* Reads the word at `at`, if there is one that can be decoded: the converter for it, or NULL. */
static const struct converter *find_word(struct decoder *decoder, struct span value, size_t at, struct word *word_out)
{
    return read_word(value, at, word_out) ? find_converter(decoder, word_out->charset) : NULL;
}

static size_t skip_blanks(struct span value, size_t at)
{
    while (at < value.len &&
           (value.ptr[at] == ' ' || value.ptr[at] == '\t' || value.ptr[at] == '\r' || value.ptr[at] == '\n'))
        at++;
    return at;
}

static enum err decode_words(struct decoder *decoder, struct span value)
{
    enum err err = ERR_OK;
    size_t text_at = 0, at = 0;
    while (err == ERR_OK && (at = span_find(value, at, SPAN_LIT("=?"))) != SIZE_MAX) {
        struct word word;
        const struct converter *converter = find_word(decoder, value, at, &word);
        if (converter == NULL) {
            at += 2;
            continue;
        }
        err = add_utf8(span_slice(value, text_at, at), decoder->out);
        while (err == ERR_OK && converter != NULL) {
            err = take_word(decoder, &word, converter);
            text_at = at + word.len;
            at = skip_blanks(value, text_at);
            converter = find_word(decoder, value, at, &word);
        }
        if (err == ERR_OK)
            err = flush_words(decoder);
        at = text_at;
    }
    return err == ERR_OK ? add_utf8(span_skip(value, text_at), decoder->out) : err;
}

enum err mime_word_decode(struct span value, struct buf *out)
{
    struct decoder decoder = {.out = out};
    size_t len_before = out->len;
    /* Nothing that is decoded is longer than what it was. */
    buf_init(&decoder.bytes, value.len);
    enum err err = decode_words(&decoder, value);
    if (err != ERR_OK)
        buf_truncate(out, len_before);
    close_converters(&decoder);
    buf_fini(&decoder.bytes);
    return err;
}

/* ---- encoding ---- */

/* The words being written: each is opened when the first character that goes into it is known. */
struct encoder {
    struct buf *out;
    bool is_base64;
    bool has_words;
    char pending[WORD_MAX]; /* bytes of the current word before they are encoded */
    size_t pending_len;
    size_t width; /* of them when encoded as "Q" */
};

/* What may stand for itself in a word, wherever the word stands (RFC 2047 §5 (3), the strictest place). */
static bool is_literal(char byte)
{
    char lower = span_lower(byte);
    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') ||
           (byte != '\0' && strchr("!*+-/", byte) != NULL);
}

static size_t q_width(struct span text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.len; i++)
        width += is_literal(text.ptr[i]) || text.ptr[i] == ' ' ? 1 : 3;
    return width;
}

static enum err encode_q(struct span text, struct buf *out)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < text.len; i++) {
        if (text.ptr[i] == ' ')
            err = buf_add_byte(out, '_');
        else if (is_literal(text.ptr[i]))
            err = buf_add_byte(out, text.ptr[i]);
        else
            err = buf_addf(out, "=%02X", (unsigned char)text.ptr[i]);
    }
    return err;
}

static enum err end_word(struct encoder *encoder)
{
    struct span text = {encoder->pending, encoder->pending_len};
    if (text.len == 0)
        return ERR_OK;
    enum err err = buf_add_string(encoder->out, encoder->has_words ? "\r\n " : "");
    if (err == ERR_OK)
        err = buf_add_string(encoder->out, encoder->is_base64 ? "=?utf-8?B?" : WORD_HEAD);
    if (err == ERR_OK)
        err = encoder->is_base64 ? base64_encode(text, encoder->out) : encode_q(text, encoder->out);
    if (err == ERR_OK)
        err = buf_add_string(encoder->out, WORD_TAIL);
    encoder->has_words = true;
    encoder->pending_len = 0;
    encoder->width = 0;
    return err;
}

static enum err add_character(struct encoder *encoder, struct span character)
{
    size_t most = (encoder->has_words ? WORD_MAX : FIRST_WORD_MAX) - (sizeof WORD_HEAD - 1) - (sizeof WORD_TAIL - 1);
    size_t width =
        encoder->is_base64 ? (encoder->pending_len + character.len + 2) / 3 * 4 : encoder->width + q_width(character);
    enum err err = width > most ? end_word(encoder) : ERR_OK;
    memcpy(encoder->pending + encoder->pending_len, character.ptr, character.len);
    encoder->pending_len += character.len;
    encoder->width += q_width(character);
    return err;
}

/* A text with "=?" in it could be read as an encoded word that nobody wrote. */
static bool needs_words(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return true;
    return span_find(text, 0, SPAN_LIT("=?")) != SIZE_MAX;
}

enum err mime_word_encode(struct span text, struct buf *out)
{
    if (!needs_words(text))
        return buf_add_span(out, text);
    struct encoder encoder = {.out = out, .is_base64 = (text.len + 2) / 3 * 4 < q_width(text)};
    size_t len_before = out->len;
    enum err err = ERR_OK;
    for (size_t at = 0; err == ERR_OK && at < text.len;) {
        size_t length = mime_utf8_length(text, at);
        err =
            add_character(&encoder, length == 0 ? SPAN_LIT(MIME_UTF8_REPLACEMENT) : span_slice(text, at, at + length));
        at += length == 0 ? 1 : length;
    }
    if (err == ERR_OK)
        err = end_word(&encoder);
    if (err != ERR_OK)
        buf_truncate(out, len_before);
    return err;
}

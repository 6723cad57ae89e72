#include "mime/text_internal.h"

#include "mime/charset.h"
#include "mime/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>

void mime_text_leaf_fini(struct mime_text_leaf *leaf)
{
    free(leaf->name);
    free(leaf->needle);
    *leaf = (struct mime_text_leaf){0};
}

/* ---- one form for all that is the same ---- */

static enum err add_character(ucs4_t character, struct buf *out)
{
    uint8_t bytes[6];
    int len = u8_uctomb(bytes, character, sizeof bytes);

    return len > 0 ? buf_add(out, bytes, (size_t)len) : ERR_OK;
}

#define HANGUL_FIRST 0xAC00 /* Unicode 3.12: syllables, which are put together by arithmetic */
#define HANGUL_LAST 0xD7A3

/* "ǅ", "ǈ", "ǋ", "ǲ" */
static bool is_digraph(ucs4_t character)
{
    return character == 0x01C5 || character == 0x01C8 || character == 0x01CB || character == 0x01F2;
}

/* Simple title case, then one step of decomposition, compatible ones included: no more than that, as Dovecot does it.
   So the letter in "ấ" is "â", and "a" stands in "â" but not in "ấ". Hangul syllables fall into all their letters; the
   four letters that have a title case of their own stay whole. */
static enum err add_folded(ucs4_t character, struct buf *out)
{
    ucs4_t parts[UC_DECOMPOSITION_MAX_LENGTH + 1];
    int tag;
    int len;
    enum err result = ERR_OK;

    character = uc_totitle(character);
    len = is_digraph(character) ? 0 : uc_decomposition(character, &tag, parts);
    if (len <= 0)
        return add_character(character, out);
    if (len == 2 && parts[0] >= HANGUL_FIRST && parts[0] <= HANGUL_LAST) {
        parts[2] = parts[1];
        len = uc_decomposition(parts[0], &tag, parts) + 1;
    }
    for (int i = 0; i < len && result == ERR_OK; i++)
        result = add_character(parts[i], out);
    return result;
}

/* One for any number of bytes in a row that are no UTF-8. */
static enum err add_replacement(struct buf *out)
{
    static const char bytes[] = MIME_UTF8_REPLACEMENT;
    size_t len = sizeof bytes - 1;

    if (out->len >= len && memcmp(out->data + out->len - len, bytes, len) == 0)
        return ERR_OK;
    return buf_add(out, bytes, len);
}

/* How much of `text` from `at` on is ASCII; it is added in upper case. */
static enum err add_ascii(struct span text, size_t *at, struct buf *out)
{
    char piece[1024];
    size_t len = 0;

    while (*at < text.len && len < sizeof piece && (unsigned char)text.ptr[*at] < 0x80) {
        char byte = text.ptr[(*at)++];

        piece[len++] = byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
    }
    return len > 0 ? buf_add(out, piece, len) : ERR_OK;
}

/* True if the bytes from `at` on are the beginning of a character, and no more. */
static bool is_incomplete(struct span text, size_t at)
{
    unsigned char first = (unsigned char)text.ptr[at];
    size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;

    if (first < 0xC2 || first > 0xF4 || at + wanted <= text.len)
        return false;
    while (++at < text.len)
        if (((unsigned char)text.ptr[at] & 0xC0) != 0x80)
            return false;
    return true;
}

/* Adds UTF-8; gives back how many bytes at the end are the beginning of a character. */
static enum err add_utf8(struct span text, struct buf *out, size_t *left_out)
{
    enum err result = ERR_OK;
    size_t at = 0;

    *left_out = 0;
    while (result == ERR_OK && at < text.len && *left_out == 0) {
        size_t length = mime_utf8_length(text, at);
        ucs4_t character;

        if (length == 1) {
            result = add_ascii(text, &at, out);
        } else if (length > 1) {
            (void)u8_mbtouc(&character, (const uint8_t *)text.ptr + at, length);
            result = add_folded(character, out);
            at += length;
        } else if (is_incomplete(text, at)) {
            *left_out = text.len - at;
        } else {
            result = add_replacement(out);
            at++;
        }
    }
    return result;
}

/* ---- charsets ---- */

bool mime_text_has_charset(struct span charset)
{
    struct mime_text_reader reader;
    bool is_known = mime_text_reader_init(&reader, charset, NULL) == ERR_OK;

    mime_text_reader_fini(&reader);
    return is_known;
}

enum err mime_text_reader_init(struct mime_text_reader *reader, struct span charset, struct buf *out)
{
    *reader = (struct mime_text_reader){.out = out, .handle = (iconv_t)-1};
    if (mime_charset_is_utf8(charset))
        return ERR_OK;
    reader->handle = mime_charset_open(charset);
    if (reader->handle != (iconv_t)-1)
        return ERR_OK;
    return errno == ENOMEM ? ERR_MEMORY : ERR_NOT_FOUND;
}

void mime_text_reader_fini(struct mime_text_reader *reader)
{
    if (reader->handle != (iconv_t)-1)
        iconv_close(reader->handle);
    reader->handle = (iconv_t)-1;
}

/* Converts what it can; gives back how many bytes at the end are the beginning of a character. Bytes that are none in
   the charset become U+FFFD. */
static enum err convert(struct mime_text_reader *reader, struct span bytes, size_t *left_out)
{
    char *from = (char *)(uintptr_t)bytes.ptr; /* iconv writes nothing there, whatever its prototype says */
    size_t left = bytes.len;
    enum err result = ERR_OK;
    bool is_incomplete_end = false;

    while (left > 0 && result == ERR_OK && !is_incomplete_end) {
        char piece[4096], *to = piece;
        size_t room = sizeof piece, none;
        size_t status = iconv(reader->handle, &from, &left, &to, &room);
        int why = status == (size_t)-1 ? errno : 0;

        result = add_utf8((struct span){piece, sizeof piece - room}, reader->out, &none);
        is_incomplete_end = why == EINVAL;
        if (why == EILSEQ && left > 0 && result == ERR_OK) {
            result = add_replacement(reader->out);
            from++;
            left--;
        }
    }
    *left_out = left;
    return result;
}

static enum err add_bytes(struct mime_text_reader *reader, struct span bytes, size_t *left_out)
{
    if (reader->handle == (iconv_t)-1)
        return add_utf8(bytes, reader->out, left_out);
    return convert(reader, bytes, left_out);
}

/* Completes what is held, byte by byte. */
static enum err feed_held(struct mime_text_reader *reader, struct span *bytes)
{
    enum err result = ERR_OK;

    while (reader->held_len > 0 && bytes->len > 0 && result == ERR_OK) {
        size_t left;

        if (reader->held_len == sizeof reader->held)
            reader->held_len = 0; /* no charset has such characters */
        reader->held[reader->held_len++] = *bytes->ptr;
        *bytes = span_skip(*bytes, 1);
        result = add_bytes(reader, (struct span){reader->held, reader->held_len}, &left);
        memmove(reader->held, reader->held + reader->held_len - left, left);
        reader->held_len = left;
    }
    return result;
}

enum err mime_text_reader_feed(struct mime_text_reader *reader, struct span bytes)
{
    enum err result = feed_held(reader, &bytes);
    size_t left;

    if (result != ERR_OK || bytes.len == 0)
        return result;
    result = add_bytes(reader, bytes, &left);
    if (left > sizeof reader->held)
        left = 0;
    memcpy(reader->held, bytes.ptr + bytes.len - left, left);
    reader->held_len = left;
    return result;
}

/* Some charsets give out their last character only when there is no other. */
enum err mime_text_reader_end(struct mime_text_reader *reader)
{
    char piece[64], *to = piece;
    size_t room = sizeof piece, none;

    reader->held_len = 0;
    if (reader->handle == (iconv_t)-1 || iconv(reader->handle, NULL, NULL, &to, &room) == (size_t)-1)
        return ERR_OK;
    return add_utf8((struct span){piece, sizeof piece - room}, reader->out, &none);
}

enum err mime_text_add_known(struct span text, struct span charset, struct buf *out)
{
    struct mime_text_reader reader;
    size_t len_before = out->len;
    enum err result = mime_text_reader_init(&reader, charset, out);

    if (result == ERR_OK)
        result = mime_text_reader_feed(&reader, text);
    if (result == ERR_OK && reader.held_len > 0 && reader.handle == (iconv_t)-1)
        result = add_replacement(out);
    if (result == ERR_OK)
        result = mime_text_reader_end(&reader);
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    mime_text_reader_fini(&reader);
    return result;
}

enum err mime_text_normalise(struct span text, struct span charset, struct buf *out)
{
    enum err result = mime_text_add_known(text, charset, out);

    return result == ERR_NOT_FOUND ? mime_text_add_known(text, SPAN_NONE, out) : result;
}

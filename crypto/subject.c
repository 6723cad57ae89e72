#include "crypto/subject.h"

#include "mime/field.h"
#include "mime/word.h"

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static enum err decode(struct span value, struct buf *out)
{
    struct buf unfolded;
    enum err result;

    buf_init(&unfolded, CRYPTO_SUBJECT_MAX);
    result = mime_field_unfold(value, &unfolded);
    if (result == ERR_OK)
        result = mime_word_decode(buf_span(&unfolded), out);
    buf_fini(&unfolded);
    return result;
}

bool crypto_subject_has_tag(struct span value, const char *tag)
{
    struct buf decoded;
    bool has_tag;

    if (tag == NULL || tag[0] == '\0')
        return false;
    buf_init(&decoded, CRYPTO_SUBJECT_MAX);
    has_tag = decode(value, &decoded) != ERR_OK || span_find_case(buf_span(&decoded), 0, span_of(tag)) != SIZE_MAX;
    buf_fini(&decoded);
    return has_tag;
}

/* True if the word that holds offset `at` is an encoded word: there the tag's letters are part of its coding. */
static bool is_in_encoded_word(struct span value, size_t at)
{
    size_t start = at;

    while (start > 0 && !is_blank(value.ptr[start - 1]) && value.ptr[start - 1] != '\n')
        start--;
    return span_find(span_slice(value, start, at), 0, SPAN_LIT("=?")) != SIZE_MAX;
}

/* Adds `text` without the occurrences of `tag` for which `is_kept` (or NULL) says no. With each goes the blank after
   it, or at the end of the text those before it. */
static enum err cut(struct span text, struct span tag, bool (*is_kept)(struct span, size_t), struct buf *out)
{
    size_t from = 0, search = 0, at;
    enum err result = ERR_OK;

    while (result == ERR_OK && (at = span_find_case(text, search, tag)) != SIZE_MAX) {
        search = at + tag.len;
        if (is_kept != NULL && is_kept(text, at))
            continue;
        result = buf_add_span(out, span_slice(text, from, at));
        if (search < text.len && is_blank(text.ptr[search]))
            search++;
        else if (search == text.len)
            while (out->len > 0 && is_blank(out->data[out->len - 1]))
                buf_truncate(out, out->len - 1);
        from = search;
    }
    return result == ERR_OK ? buf_add_span(out, span_skip(text, from)) : result;
}

/* Cutting may bring two halves of another tag together; each round shortens the text, so this ends. */
static enum err cut_all(struct span text, struct span tag, bool (*is_kept)(struct span, size_t), struct buf *out)
{
    struct buf before;
    enum err result = cut(text, tag, is_kept, out);
    size_t len = text.len;

    buf_init(&before, CRYPTO_SUBJECT_MAX);
    while (result == ERR_OK && out->len < len) {
        len = out->len;
        buf_clear(&before);
        result = buf_add_span(&before, buf_span(out));
        buf_clear(out);
        if (result == ERR_OK)
            result = cut(buf_span(&before), tag, is_kept, out);
    }
    buf_fini(&before);
    return result;
}

static enum err encode_anew(struct span raw, struct span tag, struct buf *out)
{
    struct buf decoded, cleaned;
    enum err result;

    buf_init(&decoded, CRYPTO_SUBJECT_MAX);
    buf_init(&cleaned, CRYPTO_SUBJECT_MAX);
    result = decode(raw, &decoded);
    if (result == ERR_OK)
        result = cut_all(buf_span(&decoded), tag, NULL, &cleaned);
    if (result == ERR_OK)
        result = buf_add_byte(out, ' ');
    if (result == ERR_OK)
        result = mime_word_encode(span_trim(buf_span(&cleaned)), out);
    buf_fini(&decoded);
    buf_fini(&cleaned);
    return result;
}

/* A line of a folded value that is left with blanks alone would end the header for some readers. */
static bool has_blank_line(struct span value)
{
    struct span line;
    bool is_first = true;

    while (span_take_until(&value, '\n', &line)) {
        if (!is_first && span_trim(line).len == 0)
            return true;
        is_first = false;
    }
    return false;
}

enum err crypto_subject_strip(struct span value, const char *tag, struct buf *out)
{
    struct buf cleaned;
    enum err result;

    if (!crypto_subject_has_tag(value, tag))
        return buf_add_span(out, value);
    buf_init(&cleaned, CRYPTO_SUBJECT_MAX);
    result = cut_all(value, span_of(tag), is_in_encoded_word, &cleaned);
    if (result == ERR_OK && (crypto_subject_has_tag(buf_span(&cleaned), tag) || has_blank_line(buf_span(&cleaned))))
        result = encode_anew(value, span_of(tag), out);
    else if (result == ERR_OK)
        result = buf_add_span(out, buf_span(&cleaned));
    buf_fini(&cleaned);
    return result;
}

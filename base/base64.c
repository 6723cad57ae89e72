#include "base/base64.h"

#include <limits.h>
#include <openssl/evp.h>

enum err base64_encode(struct span bytes, struct buf *out)
{
    /* OpenSSL counts in int; the result is a third longer. */
    if (bytes.len > INT_MAX / 2)
        return ERR_LIMIT;
    size_t len = (bytes.len + 2) / 3 * 4;
    enum err err = buf_reserve(out, len);
    if (err != ERR_OK || len == 0)
        return err;
    /* The coder ends its output with a NUL, for which the buffer always has room. */
    (void)EVP_EncodeBlock((unsigned char *)out->data + out->len, (const unsigned char *)bytes.ptr, (int)bytes.len);
    out->len += len;
    return ERR_OK;
}

/* OpenSSL would skip blanks and stop at a minus sign. */
static const bool is_in_alphabet[UCHAR_MAX + 1] = {
    ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['+'] = true, ['/'] = true};

/* The value of a character of the alphabet, -1 for all others. */
static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    return character == '+' ? 62 : character == '/' ? 63 : -1;
}

/* RFC 4648 §3.5 and §4: whole groups of four, at most two "=" at the very end, and the bits they leave over are zero.
 */
static bool is_canonical(struct span text, size_t *padding_out)
{
    *padding_out = 0;
    if (text.len == 0 || text.len % 4 != 0)
        return text.len == 0;
    size_t padding = text.ptr[text.len - 1] != '=' ? 0 : text.ptr[text.len - 2] != '=' ? 1 : 2;
    for (size_t i = 0; i < text.len - padding; i++)
        if (!is_in_alphabet[(unsigned char)text.ptr[i]])
            return false;
    int last = value_of(text.ptr[text.len - padding - 1]);
    *padding_out = padding;
    return padding == 0 || (last & (padding == 1 ? 0x3 : 0xf)) == 0;
}

enum err base64_decode(struct span text, struct buf *out)
{
    size_t padding;
    if (text.len > INT_MAX)
        return ERR_LIMIT;
    if (!is_canonical(text, &padding))
        return ERR_MALFORMED;
    if (text.len == 0)
        return ERR_OK;
    size_t len = text.len / 4 * 3 - padding;
    enum err err = buf_reserve(out, len);
    if (err != ERR_OK)
        return err;

    /* The last group apart: the coder writes three bytes for it whatever its padding, and there may be no room. */
    unsigned char last[3];
    int head = (int)text.len - 4;
    unsigned char *target = (unsigned char *)out->data + out->len;
    const unsigned char *source = (const unsigned char *)text.ptr;
    if ((head > 0 && EVP_DecodeBlock(target, source, head) != head / 4 * 3) ||
        EVP_DecodeBlock(last, source + head, 4) != (int)sizeof last) {
        out->data[out->len] = '\0';
        return ERR_MALFORMED;
    }
    out->len += (size_t)head / 4 * 3;
    return buf_add(out, last, sizeof last - padding);
}

#include "base/packed.h"

#define LENGTH_BYTES 4

enum err packed_add_number(struct buf *out, uint64_t number, size_t bytes)
{
    unsigned char encoded[8];
    for (size_t i = 0; i < bytes && i < sizeof(encoded); i++)
        encoded[i] = (unsigned char)(number >> (8 * i));
    return bytes <= sizeof(encoded) ? buf_add(out, encoded, bytes) : ERR_INTERNAL;
}

enum err packed_add_bytes(struct buf *out, struct span bytes)
{
    enum err err = bytes.len > UINT32_MAX ? ERR_LIMIT : packed_add_number(out, bytes.len, LENGTH_BYTES);
    return err == ERR_OK ? buf_add_span(out, bytes) : err;
}

bool packed_take_number(struct span *rest, size_t bytes, uint64_t *number_out)
{
    *number_out = 0;
    if (rest->len < bytes || bytes > sizeof(*number_out))
        return false;
    for (size_t i = 0; i < bytes; i++)
        *number_out |= (uint64_t)(unsigned char)rest->ptr[i] << (8 * i);
    *rest = span_skip(*rest, bytes);
    return true;
}

bool packed_take_bytes(struct span *rest, struct span *bytes_out)
{
    uint64_t len;
    *bytes_out = SPAN_NONE;
    if (!packed_take_number(rest, LENGTH_BYTES, &len) || rest->len < len)
        return false;
    *bytes_out = span_slice(*rest, 0, (size_t)len);
    *rest = span_skip(*rest, (size_t)len);
    return true;
}

bool packed_take_text(struct span *rest, char *target, size_t target_size)
{
    struct span bytes;
    return packed_take_bytes(rest, &bytes) && span_copy(bytes, target, target_size);
}

bool packed_take_small(struct span *rest, unsigned max, unsigned *number_out)
{
    uint64_t number;
    bool is_there = packed_take_number(rest, 1, &number) && number <= max;
    *number_out = is_there ? (unsigned)number : 0;
    return is_there;
}

#include "base/span.h"

#include <stdlib.h>
#include <string.h>

struct span span_of(const char *string)
{
    return string ? (struct span){string, strlen(string)} : SPAN_NONE;
}

struct span span_slice(struct span whole, size_t from, size_t to)
{
    if (to > whole.len)
        to = whole.len;
    if (from > to)
        from = to;
    /* Arithmetic on a null pointer is undefined, even by 0. */
    return (struct span){whole.ptr ? whole.ptr + from : NULL, to - from};
}

struct span span_skip(struct span whole, size_t count)
{
    return span_slice(whole, count, whole.len);
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

struct span span_trim(struct span span)
{
    size_t from = 0;
    size_t to = span.len;
    while (from < to && is_blank(span.ptr[from]))
        from++;
    while (to > from && is_blank(span.ptr[to - 1]))
        to--;
    return span_slice(span, from, to);
}

char span_lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

/* memcmp wants valid pointers even for no bytes, which SPAN_NONE has not. */
static bool is_same(const char *a, const char *b, size_t len)
{
    return len == 0 || memcmp(a, b, len) == 0;
}

static bool is_case_same(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (span_lower(a[i]) != span_lower(b[i]))
            return false;
    }
    return true;
}

bool span_is_equal(struct span a, struct span b)
{
    return a.len == b.len && is_same(a.ptr, b.ptr, a.len);
}

bool span_is_case_equal(struct span a, struct span b)
{
    return a.len == b.len && is_case_same(a.ptr, b.ptr, a.len);
}

bool span_has_prefix(struct span span, struct span prefix)
{
    return span_is_equal(span_slice(span, 0, prefix.len), prefix);
}

bool span_has_case_prefix(struct span span, struct span prefix)
{
    return span_is_case_equal(span_slice(span, 0, prefix.len), prefix);
}

bool span_has_case_suffix(struct span span, struct span suffix)
{
    return span.len >= suffix.len && span_is_case_equal(span_skip(span, span.len - suffix.len), suffix);
}

size_t span_find_byte(struct span span, size_t from, char byte)
{
    if (from >= span.len)
        return span.len;
    const char *found = memchr(span.ptr + from, byte, span.len - from);
    return found ? (size_t)(found - span.ptr) : span.len;
}

size_t span_find(struct span span, size_t from, struct span needle)
{
    if (from > span.len || needle.len > span.len - from)
        return SIZE_MAX;
    if (needle.len == 0)
        return from;
    const char *found = memmem(span.ptr + from, span.len - from, needle.ptr, needle.len);
    return found ? (size_t)(found - span.ptr) : SIZE_MAX;
}

size_t span_find_case(struct span span, size_t from, struct span needle)
{
    if (from > span.len || needle.len > span.len - from)
        return SIZE_MAX;
    if (needle.len == 0)
        return from;
    for (size_t at = from; at <= span.len - needle.len; at++) {
        if (is_case_same(span.ptr + at, needle.ptr, needle.len))
            return at;
    }
    return SIZE_MAX;
}

bool span_take_until(struct span *rest, char separator, struct span *piece_out)
{
    if (!rest->ptr) {
        *piece_out = SPAN_NONE;
        return false;
    }
    size_t at = span_find_byte(*rest, 0, separator);
    *piece_out = span_slice(*rest, 0, at);
    /* After a final separator one empty piece is still to come; only then is there none. */
    *rest = at < rest->len ? span_skip(*rest, at + 1) : SPAN_NONE;
    return true;
}

bool span_to_u64(struct span span, uint64_t max, uint64_t *number_out)
{
    uint64_t number = 0;
    *number_out = 0;
    if (span.len == 0)
        return false;
    for (size_t i = 0; i < span.len; i++) {
        char byte = span.ptr[i];
        if (byte < '0' || byte > '9')
            return false;
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(byte - '0'), &number) || number > max)
            return false;
    }
    *number_out = number;
    return true;
}

uint32_t span_hash(struct span span)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < span.len; i++)
        hash = (hash ^ (unsigned char)span.ptr[i]) * 16777619u;
    return hash;
}

char *span_dup(struct span span)
{
    if (span_find_byte(span, 0, '\0') != span.len)
        return NULL;
    char *copy = malloc(span.len + 1);
    if (!copy)
        return NULL;
    if (span.len > 0)
        memcpy(copy, span.ptr, span.len);
    copy[span.len] = '\0';
    return copy;
}

bool span_copy(struct span span, char *target, size_t target_size)
{
    if (target_size == 0)
        return false;
    target[0] = '\0';
    if (span.len >= target_size || span_find_byte(span, 0, '\0') != span.len)
        return false;
    if (span.len > 0)
        memcpy(target, span.ptr, span.len);
    target[span.len] = '\0';
    return true;
}

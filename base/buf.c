#include "base/buf.h"

#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_LEAST 64

/* Stands in for the content before the first addition; `capacity == 0` marks it, and nothing ever writes to it. */
static char nothing[1];

void buf_init(struct buf *buf, size_t len_max)
{
    *buf = (struct buf){.data = nothing, .len_max = len_max};
}

void buf_init_secret(struct buf *buf, size_t len_max)
{
    buf_init(buf, len_max);
    buf->is_secret = true;
}

static void free_block(struct buf *buf)
{
    if (buf->capacity == 0)
        return;
    if (buf->is_secret)
        secret_wipe(buf->data, buf->capacity);
    free(buf->data);
}

void buf_fini(struct buf *buf)
{
    free_block(buf);
    buf->data = nothing;
    buf->len = 0;
    buf->capacity = 0;
}

/* Sets the length to `len`, which is not above the present one. */
static void shorten(struct buf *buf, size_t len)
{
    if (buf->capacity == 0)
        return;
    if (buf->is_secret)
        secret_wipe(buf->data + len, buf->len - len);
    buf->len = len;
    buf->data[len] = '\0';
}

void buf_clear(struct buf *buf)
{
    shorten(buf, 0);
}

/* Doubles until `needed` bytes fit, but never beyond what the maximum can use. */
static size_t grown_capacity(const struct buf *buf, size_t needed)
{
    size_t capacity = buf->capacity > CAPACITY_LEAST ? buf->capacity : CAPACITY_LEAST;
    while (capacity < needed) {
        if (__builtin_mul_overflow(capacity, 2u, &capacity))
            return needed;
    }
    return capacity - 1 > buf->len_max ? buf->len_max + 1 : capacity;
}

enum err buf_reserve(struct buf *buf, size_t count)
{
    size_t len, needed;
    if (__builtin_add_overflow(buf->len, count, &len) || len > buf->len_max || __builtin_add_overflow(len, 1u, &needed))
        return ERR_LIMIT;
    if (needed <= buf->capacity)
        return ERR_OK;

    /* Not realloc: it would leave the old block of a secret unwiped. */
    size_t capacity = grown_capacity(buf, needed);
    char *data = malloc(capacity);
    if (!data)
        return ERR_MEMORY;
    memcpy(data, buf->data, buf->len + 1);
    free_block(buf);
    buf->data = data;
    buf->capacity = capacity;
    return ERR_OK;
}

enum err buf_add(struct buf *buf, const void *bytes, size_t count)
{
    enum err err = buf_reserve(buf, count);
    if (err != ERR_OK)
        return err;
    if (count > 0)
        memcpy(buf->data + buf->len, bytes, count);
    buf->len += count;
    buf->data[buf->len] = '\0';
    return ERR_OK;
}

enum err buf_add_span(struct buf *buf, struct span span)
{
    return buf_add(buf, span.ptr, span.len);
}

enum err buf_add_string(struct buf *buf, const char *string)
{
    return buf_add_span(buf, span_of(string));
}

enum err buf_add_byte(struct buf *buf, char byte)
{
    return buf_add(buf, &byte, 1);
}

enum err buf_addv(struct buf *buf, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int measured = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (measured < 0)
        return ERR_INTERNAL;

    size_t count = (size_t)measured;
    enum err err = buf_reserve(buf, count);
    if (err != ERR_OK)
        return err;
    (void)vsnprintf(buf->data + buf->len, count + 1, format, arguments);
    buf->len += count;
    return ERR_OK;
}

enum err buf_addf(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum err err = buf_addv(buf, format, arguments);
    va_end(arguments);
    return err;
}

void buf_drop(struct buf *buf, size_t count)
{
    if (count >= buf->len) {
        buf_clear(buf);
        return;
    }
    memmove(buf->data, buf->data + count, buf->len - count);
    shorten(buf, buf->len - count);
}

void buf_truncate(struct buf *buf, size_t len)
{
    if (len < buf->len)
        shorten(buf, len);
}

struct span buf_span(const struct buf *buf)
{
    return (struct span){buf->data, buf->len};
}

char *buf_take(struct buf *buf)
{
    /* The caller frees what it gets, so even no content must be a block of its own. */
    if (buf_reserve(buf, 0) != ERR_OK)
        return NULL;
    char *data = buf->data;
    buf->data = nothing;
    buf->len = 0;
    buf->capacity = 0;
    return data;
}

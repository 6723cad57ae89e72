/*
 * A growing byte buffer that cannot grow without bound.
 *
 * Invariants: the maximum is given at birth and never exceeded; `data[len]` is always a NUL that is not counted, so the
 * content can be read as a string; a failed addition leaves the content as it was. An addition that would pass the
 * maximum gives ERR_LIMIT, one that finds no memory ERR_MEMORY. A buffer made with buf_init_secret wipes every block it
 * gives back, also the ones it outgrows.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"
#include "base/span.h"

#include <stdarg.h>

struct buf {
    char *data; /* never NULL after buf_init; an empty static string before the first addition */
    size_t len; /* bytes in use, without the NUL */
    size_t capacity;
    size_t len_max;
    bool is_secret;
};

/* An empty buffer that may hold up to `len_max` bytes; allocates nothing yet. */
void buf_init(struct buf *buf, size_t len_max);
void buf_init_secret(struct buf *buf, size_t len_max);
/* Frees (and for secrets wipes) the content; the buffer is empty and may be used again. */
void buf_fini(struct buf *buf);
/* Empties without giving memory back; wipes secrets. */
void buf_clear(struct buf *buf);

ERR_RETURN enum err buf_add(struct buf *buf, const void *bytes, size_t count);
ERR_RETURN enum err buf_add_span(struct buf *buf, struct span span);
ERR_RETURN enum err buf_add_string(struct buf *buf, const char *string);
ERR_RETURN enum err buf_add_byte(struct buf *buf, char byte);
ERR_RETURN enum err buf_addf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
ERR_RETURN enum err buf_addv(struct buf *buf, const char *format, va_list arguments);
/* Makes room for `count` more bytes without adding any. */
ERR_RETURN enum err buf_reserve(struct buf *buf, size_t count);

/* Drops the first `count` bytes (all, if there are fewer). */
void buf_drop(struct buf *buf, size_t count);
/* Shortens to `len` bytes; longer values change nothing. */
void buf_truncate(struct buf *buf, size_t len);

/* Borrows the content; valid until the next change. */
struct span buf_span(const struct buf *buf);
/* Hands the NUL-terminated content over (to be freed by the caller) and empties the buffer; NULL when memory is short.
 */
char *buf_take(struct buf *buf);

#endif

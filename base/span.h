/*
 * A borrowed piece of bytes: pointer and length, no terminator, no ownership.
 *
 * Everything that was received is looked at through spans, so no parser copies or relies on a final NUL. A span with
 * `ptr == NULL` and `len == 0` is "none"; the bytes belong to whoever the span was taken from.
 */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const char *ptr;
    size_t len;
};

#define SPAN_NONE ((struct span){NULL, 0})
/* A span of a string literal, usable in initialisers. */
#define SPAN_LIT(literal) ((struct span){(literal), sizeof(literal) - 1})

/* A span over a NUL-terminated string; NULL gives SPAN_NONE. */
struct span span_of(const char *string);
/* Bytes [from, to) of `whole`, both clamped to its length. */
struct span span_slice(struct span whole, size_t from, size_t to);
/* `whole` without its first `count` bytes (all of it if it is shorter). */
struct span span_skip(struct span whole, size_t count);
/* Without leading and trailing blanks, tabs, CR and LF. */
struct span span_trim(struct span span);

bool span_is_equal(struct span a, struct span b);
/* ASCII case-insensitive comparisons; other bytes must be equal. */
bool span_is_case_equal(struct span a, struct span b);
bool span_has_prefix(struct span span, struct span prefix);
bool span_has_case_prefix(struct span span, struct span prefix);
bool span_has_case_suffix(struct span span, struct span suffix);

/* Offset of the first `byte` at or after `from`, or `span.len` if there is none. */
size_t span_find_byte(struct span span, size_t from, char byte);
/* Offset of the first occurrence of `needle` at or after `from`, or SIZE_MAX. An empty needle is found at `from`. */
size_t span_find(struct span span, size_t from, struct span needle);
/* The same, ignoring ASCII case. */
size_t span_find_case(struct span span, size_t from, struct span needle);

/* Takes the text up to the first `separator` off the front of `*rest` (and the separator); false when `*rest` is none.
 */
bool span_take_until(struct span *rest, char separator, struct span *piece_out);

/* The whole span as a decimal number: digits only, at least one, at most `max`; false otherwise. */
bool span_to_u64(struct span span, uint64_t max, uint64_t *number_out);

/* For tables of what comes from our own configuration and people (FNV-1a): whoever chooses the texts can have them
   collide. */
uint32_t span_hash(struct span span);

/* A fresh NUL-terminated copy, to be freed by the caller; NULL when memory is short or the span holds a NUL. */
char *span_dup(struct span span);
/* Copies into `target` with a NUL; false (and an empty target) if it does not fit or the span holds a NUL. */
bool span_copy(struct span span, char *target, size_t target_size);

/* ASCII lower case of one byte. */
char span_lower(char byte);

#endif

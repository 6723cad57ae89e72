/*
 * Memory for passwords, key material and plain text that must not outlive its use.
 *
 * Blocks are kept out of core dumps where the kernel allows it and wiped when freed, on every path.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/err.h"
#include "base/span.h"

struct secret {
    char *data; /* NUL-terminated; NULL when empty */
    size_t len;
};

/* Copies `bytes` (at most `len_max`, else ERR_LIMIT) into a wiped-on-free block; what `secret` held before is wiped. */
ERR_RETURN enum err secret_set(struct secret *secret, struct span bytes, size_t len_max);
/* Borrows the content. */
struct span secret_span(const struct secret *secret);
/* Wipes and frees; may be called on an empty or already finished secret. */
void secret_fini(struct secret *secret);
/* Overwrites `count` bytes in a way the compiler does not drop. */
void secret_wipe(void *bytes, size_t count);
/* True if both have the same length and bytes; the time taken depends on the length alone. */
bool secret_is_equal(struct span a, struct span b);

#endif

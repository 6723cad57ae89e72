#include "base/secret.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whole pages of its own hold a secret, since the kernel excludes only whole pages from core dumps and from swap. */
static size_t block_size(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (len + page) / page * page;
}

enum err secret_set(struct secret *secret, struct span bytes, size_t len_max)
{
    if (bytes.len > len_max || bytes.len > SIZE_MAX / 2)
        return ERR_LIMIT;
    size_t size = block_size(bytes.len);
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return ERR_MEMORY;
    /* Both are best effort: the lock has a small limit, and a filter may forbid it. */
    (void)madvise(block, size, MADV_DONTDUMP);
    (void)mlock(block, size);
    if (bytes.len > 0)
        memcpy(block, bytes.ptr, bytes.len);
    /* Only now, as `bytes` may be a part of the old content. */
    secret_fini(secret);
    *secret = (struct secret){block, bytes.len};
    return ERR_OK;
}

struct span secret_span(const struct secret *secret)
{
    return (struct span){secret->data, secret->len};
}

void secret_fini(struct secret *secret)
{
    if (secret->data) {
        size_t size = block_size(secret->len);
        secret_wipe(secret->data, size);
        (void)munmap(secret->data, size);
    }
    *secret = (struct secret){NULL, 0};
}

void secret_wipe(void *bytes, size_t count)
{
    if (count > 0)
        explicit_bzero(bytes, count);
}

bool secret_is_equal(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    return a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0;
}

#include "crypto/memory.h"

#include "base/log.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static bool has_failed;

static void *allocate(size_t size, const char *file, int line)
{
    void *block = size == 0 ? NULL : malloc(size);

    (void)file;
    (void)line;
    has_failed = has_failed || (block == NULL && size != 0);
    return block;
}

static void release(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    free(block);
}

static void *resize(void *block, size_t size, const char *file, int line)
{
    void *moved;

    if (size == 0) {
        release(block, file, line);
        return NULL;
    }
    moved = realloc(block, size);
    has_failed = has_failed || moved == NULL;
    return moved;
}

void crypto_memory_watch(void)
{
    if (CRYPTO_set_mem_functions(allocate, resize, release) != 1)
        log_warning("whether OpenSSL has memory enough will not be noticed");
}

bool crypto_memory_has_failed(void)
{
    return has_failed;
}

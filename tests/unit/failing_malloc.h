/*
 * Allocations that fail to order, and a count of those that are not given back. To be included by one file of a test
 * program; it takes the place of malloc for the whole of it. Sanitizers bring their own malloc: there nothing fails.
 */
#ifndef TESTS_UNIT_FAILING_MALLOC_H
#define TESTS_UNIT_FAILING_MALLOC_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FAILING_MALLOC_IS_OFF
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define FAILING_MALLOC_IS_OFF
#endif

static size_t failing_malloc_left = SIZE_MAX; /* successes still to come; SIZE_MAX: no end of them */
static bool failing_malloc_has_failed;
static long failing_malloc_live;

#ifndef FAILING_MALLOC_IS_OFF

/* glibc's own, under the names that it keeps for those who replace them. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static bool failing_malloc_is_due(void)
{
    if (failing_malloc_left == SIZE_MAX)
        return false;
    if (failing_malloc_left > 0) {
        failing_malloc_left--;
        return false;
    }
    failing_malloc_has_failed = true;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    void *block = failing_malloc_is_due() ? NULL : __libc_malloc(size);
    failing_malloc_live += block != NULL;
    return block;
}

void *calloc(size_t count, size_t size)
{
    void *block = failing_malloc_is_due() ? NULL : __libc_calloc(count, size);
    failing_malloc_live += block != NULL;
    return block;
}

void *realloc(void *block, size_t size)
{
    void *moved = failing_malloc_is_due() ? NULL : __libc_realloc(block, size);
    failing_malloc_live += block == NULL && moved != NULL;
    return moved;
}

void free(void *block)
{
    failing_malloc_live -= block != NULL;
    __libc_free(block);
}

#endif

/* Calls `fn` again and again, with the first, the second ... allocation failing and all after it, until none does.
   `fn` gives back all that it took, says whether its result was the right one, and may not say so of a wrong one; what
   it must not do under any circumstances it asserts itself. */
__attribute__((unused)) static void failing_malloc_run(bool (*fn)(void *context), void *context)
{
    bool is_right = false;

    assert_true(fn(context)); /* what libraries make once and keep is made here */
    for (size_t count = 0; !is_right; count++) {
        long live = failing_malloc_live;

        failing_malloc_has_failed = false;
        failing_malloc_left = count;
        is_right = fn(context);
        failing_malloc_left = SIZE_MAX;
        assert_int_equal(failing_malloc_live, live);
        assert_true(is_right || failing_malloc_has_failed);
        is_right = is_right && !failing_malloc_has_failed;
    }
}

#endif

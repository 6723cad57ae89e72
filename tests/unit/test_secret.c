#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_set_copies_and_ends_with_nul(void **state)
{
    (void)state;
    struct secret secret = {NULL, 0};
    char password[] = "password";
    assert_int_equal(secret_set(&secret, span_of(password), 8), ERR_OK);
    memset(password, 'x', 8);
    assert_string_equal(secret.data, "password");
    assert_int_equal(secret_span(&secret).len, 8);
    secret_fini(&secret);
    assert_null(secret.data);
    assert_int_equal(secret.len, 0);
    secret_fini(&secret);
}

static void test_set_beyond_the_limit_keeps_the_old_content(void **state)
{
    (void)state;
    struct secret secret = {NULL, 0};
    assert_int_equal(secret_set(&secret, SPAN_LIT("old"), 10), ERR_OK);
    assert_int_equal(secret_set(&secret, SPAN_LIT("much longer"), 10), ERR_LIMIT);
    assert_string_equal(secret.data, "old");
    assert_int_equal(secret_set(&secret, SPAN_NONE, 10), ERR_OK);
    assert_string_equal(secret.data, "");
    secret_fini(&secret);
}

static void test_set_to_a_part_of_itself(void **state)
{
    (void)state;
    struct secret secret = {NULL, 0};
    assert_int_equal(secret_set(&secret, SPAN_LIT("user:password"), 100), ERR_OK);
    assert_int_equal(secret_set(&secret, span_skip(secret_span(&secret), 5), 100), ERR_OK);
    assert_string_equal(secret.data, "password");
    secret_fini(&secret);
}

/* Lengths around the size of a page, where the NUL needs a page of its own. */
static void test_sizes_around_a_page(void **state)
{
    (void)state;
    static char bytes[3 * 4096];
    memset(bytes, 'x', sizeof bytes);
    for (size_t len = 4090; len < 4100; len++) {
        struct secret secret = {NULL, 0};
        assert_int_equal(secret_set(&secret, (struct span){bytes, len}, sizeof bytes), ERR_OK);
        assert_int_equal(strlen(secret.data), len);
        secret_fini(&secret);
    }
}

/* "dd" among the flags of its mapping: do not dump (proc(5), smaps). */
static void test_is_kept_out_of_core_dumps(void **state)
{
    (void)state;
    struct secret secret = {NULL, 0};
    char line[512];
    bool is_inside = false;
    bool is_dumped = true;
    assert_int_equal(secret_set(&secret, SPAN_LIT("password"), 100), ERR_OK);
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            is_inside = from <= (uintptr_t)secret.data && (uintptr_t)secret.data < to;
        else if (is_inside && strncmp(line, "VmFlags:", 8) == 0)
            is_dumped = strstr(line, " dd") == NULL;
    }
    fclose(maps);
    assert_false(is_dumped);
    secret_fini(&secret);
}

static void test_wipe(void **state)
{
    (void)state;
    char bytes[] = "secret";
    secret_wipe(bytes, 3);
    assert_memory_equal(bytes, "\0\0\0ret", 6);
    secret_wipe(NULL, 0);
}

static void test_comparison(void **state)
{
    (void)state;
    assert_true(secret_is_equal(SPAN_LIT("abc"), SPAN_LIT("abc")));
    assert_true(secret_is_equal(SPAN_NONE, SPAN_LIT("")));
    assert_false(secret_is_equal(SPAN_LIT("abc"), SPAN_LIT("abd")));
    assert_false(secret_is_equal(SPAN_LIT("abc"), SPAN_LIT("ab")));
    assert_false(secret_is_equal(SPAN_LIT(""), SPAN_LIT("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_copies_and_ends_with_nul),
        cmocka_unit_test(test_set_beyond_the_limit_keeps_the_old_content),
        cmocka_unit_test(test_set_to_a_part_of_itself),
        cmocka_unit_test(test_sizes_around_a_page),
        cmocka_unit_test(test_is_kept_out_of_core_dumps),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "base/buf.h"
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S(literal) SPAN_LIT(literal)

/* One test asks for more memory than there is; that shall fail under the sanitizer as it does without. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void assert_span(struct span span, const char *expected)
{
    assert_int_equal(span.len, strlen(expected));
    if (span.len > 0)
        assert_memory_equal(span.ptr, expected, span.len);
}

static void test_span_of_nothing(void **state)
{
    (void)state;
    struct span none = span_of(NULL);
    uint64_t number;
    assert_null(none.ptr);
    assert_true(span_is_equal(none, S("")));
    assert_true(span_is_equal(none, SPAN_NONE));
    assert_true(span_is_case_equal(none, S("")));
    assert_int_equal(span_trim(none).len, 0);
    assert_int_equal(span_skip(none, 3).len, 0);
    assert_int_equal(span_find_byte(none, 0, 'x'), 0);
    assert_int_equal(span_find(none, 0, S("")), 0);
    assert_true(span_find(none, 0, S("x")) == SIZE_MAX);
    assert_true(span_find_case(none, 1, S("")) == SIZE_MAX);
    assert_true(span_has_prefix(none, none));
    assert_false(span_to_u64(none, 10, &number));
}

static void test_span_slices_are_clamped(void **state)
{
    (void)state;
    assert_span(span_slice(S("abcdef"), 2, 4), "cd");
    assert_span(span_slice(S("abcdef"), 2, SIZE_MAX), "cdef");
    assert_span(span_slice(S("abcdef"), 9, 12), "");
    assert_span(span_slice(S("abcdef"), 4, 2), "");
    assert_span(span_skip(S("abcdef"), 4), "ef");
    assert_span(span_skip(S("abcdef"), SIZE_MAX), "");
    assert_span(span_trim(S(" \t\r\n a b\r\n")), "a b");
    assert_span(span_trim(S(" \t\r\n")), "");
}

static void test_span_comparisons(void **state)
{
    (void)state;
    assert_true(span_is_equal(S("abc"), S("abc")));
    assert_false(span_is_equal(S("abc"), S("abC")));
    assert_false(span_is_equal(S("abc"), S("abcd")));
    assert_true(span_is_case_equal(S("aBc1"), S("AbC1")));
    /* Only letters have two cases: '@' and '`', '[' and '{' differ by the same bit. */
    assert_false(span_is_case_equal(S("@["), S("`{")));
    assert_false(span_is_case_equal(S("\xc4"), S("\xe4")));
    assert_true(span_has_prefix(S("From: x"), S("From:")));
    assert_false(span_has_prefix(S("From"), S("From:")));
    assert_true(span_has_case_prefix(S("FROM: x"), S("from:")));
    assert_true(span_has_case_suffix(S("a@Example.ORG"), S("@example.org")));
    assert_false(span_has_case_suffix(S("org"), S("example.org")));
    assert_int_equal(span_lower('Z'), 'z');
    assert_int_equal(span_lower('['), '[');
    assert_int_equal(span_lower('\xc4'), '\xc4');
}

static void test_span_find(void **state)
{
    (void)state;
    assert_int_equal(span_find_byte(S("a:b:c"), 2, ':'), 3);
    assert_int_equal(span_find_byte(S("abc"), 0, ':'), 3);
    assert_int_equal(span_find_byte(S("abc"), 99, 'a'), 3);
    assert_int_equal(span_find(S("ababac"), 0, S("abac")), 2);
    assert_int_equal(span_find(S("ababab"), 1, S("ab")), 2);
    assert_true(span_find(S("ab"), 0, S("abc")) == SIZE_MAX);
    assert_true(span_find(S("ab"), 3, S("")) == SIZE_MAX);
    assert_int_equal(span_find(S("ab"), 2, S("")), 2);
    assert_int_equal(span_find(S("a\0b\0c"), 0, (struct span){"\0c", 2}), 3);
    assert_int_equal(span_find_case(S("xxBOUNDARY"), 0, S("boundary")), 2);
    assert_true(span_find_case(S("xxBOUNDAR"), 0, S("boundary")) == SIZE_MAX);
}

static void test_span_take_until_gives_every_piece_once(void **state)
{
    (void)state;
    struct span rest = S("a,,b,");
    struct span piece;
    static const char *const expected[] = {"a", "", "b", ""};
    for (size_t i = 0; i < 4; i++) {
        assert_true(span_take_until(&rest, ',', &piece));
        assert_span(piece, expected[i]);
    }
    assert_false(span_take_until(&rest, ',', &piece));
    assert_null(piece.ptr);
}

static void test_span_numbers(void **state)
{
    (void)state;
    uint64_t number;
    assert_true(span_to_u64(S("0"), 0, &number));
    assert_int_equal(number, 0);
    assert_true(span_to_u64(S("0042"), 42, &number));
    assert_int_equal(number, 42);
    assert_true(span_to_u64(S("18446744073709551615"), UINT64_MAX, &number));
    assert_true(number == UINT64_MAX);
    static const char *const bad[] = {
        "18446744073709551616", "99999999999999999999", "43", "", "-1", "+1", " 1", "1 ", "0x1", "1a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(span_to_u64(span_of(bad[i]), i < 2 ? UINT64_MAX : 42, &number));
        assert_int_equal(number, 0);
    }
}

static void test_span_copies(void **state)
{
    (void)state;
    char target[4];
    char *copy = span_dup(S("abc"));
    assert_string_equal(copy, "abc");
    free(copy);
    copy = span_dup(SPAN_NONE);
    assert_string_equal(copy, "");
    free(copy);
    assert_null(span_dup(S("a\0b")));
    assert_true(span_copy(S("abc"), target, sizeof target));
    assert_string_equal(target, "abc");
    assert_false(span_copy(S("abcd"), target, sizeof target));
    assert_string_equal(target, "");
    assert_false(span_copy(S("a\0b"), target, sizeof target));
    assert_string_equal(target, "");
    assert_false(span_copy(S(""), target, 0));
}

static void test_buf_is_a_string_at_all_times(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 100);
    assert_string_equal(buf.data, "");
    assert_int_equal(buf_add_string(&buf, "abc"), ERR_OK);
    assert_int_equal(buf_add_byte(&buf, 'd'), ERR_OK);
    assert_int_equal(buf_add_span(&buf, SPAN_NONE), ERR_OK);
    assert_int_equal(buf_addf(&buf, "-%d-%s", 42, "x"), ERR_OK);
    assert_string_equal(buf.data, "abcd-42-x");
    buf_drop(&buf, 4);
    assert_string_equal(buf.data, "-42-x");
    buf_truncate(&buf, 99);
    assert_string_equal(buf.data, "-42-x");
    buf_truncate(&buf, 3);
    assert_string_equal(buf.data, "-42");
    buf_drop(&buf, 99);
    assert_string_equal(buf.data, "");
    buf_clear(&buf);
    buf_fini(&buf);
    assert_string_equal(buf.data, "");
    buf_fini(&buf);
}

static void test_buf_untouched_may_be_used_in_every_way(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 0);
    buf_clear(&buf);
    buf_drop(&buf, 1);
    buf_truncate(&buf, 0);
    assert_int_equal(buf_add(&buf, NULL, 0), ERR_OK);
    assert_int_equal(buf_addf(&buf, "%s", ""), ERR_OK);
    assert_int_equal(buf_add_byte(&buf, 'x'), ERR_LIMIT);
    char *content = buf_take(&buf);
    assert_string_equal(content, "");
    free(content);
    buf_fini(&buf);
}

static void test_buf_never_passes_its_maximum(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_add_byte(&buf, (char)('a' + i % 26)), ERR_OK);
    assert_int_equal(buf_add_byte(&buf, 'x'), ERR_LIMIT);
    assert_int_equal(buf_addf(&buf, "%d", 1), ERR_LIMIT);
    assert_int_equal(buf_add(&buf, "x", SIZE_MAX), ERR_LIMIT);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX - 500), ERR_LIMIT);
    assert_int_equal(buf.len, 1000);
    assert_true(buf.capacity <= 1001);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf.data[i], 'a' + i % 26);
    buf_fini(&buf);
}

static void test_buf_a_failed_addition_changes_nothing(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    assert_int_equal(buf_add_string(&buf, "abc"), ERR_OK);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX - 3), ERR_LIMIT);
    assert_int_equal(buf_reserve(&buf, (size_t)PTRDIFF_MAX), ERR_MEMORY);
    assert_string_equal(buf.data, "abc");
    buf_fini(&buf);
}

static void test_buf_take(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    assert_int_equal(buf_add_string(&buf, "abc"), ERR_OK);
    char *content = buf_take(&buf);
    assert_string_equal(content, "abc");
    free(content);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf_add_string(&buf, "0123456789"), ERR_OK);
    assert_string_equal(buf.data, "0123456789");
    buf_fini(&buf);
}

static void test_buf_secret_leaves_nothing_behind(void **state)
{
    (void)state;
    struct buf buf;
    buf_init_secret(&buf, 100);
    assert_int_equal(buf_add_string(&buf, "top secret"), ERR_OK);
    buf_drop(&buf, 4);
    assert_string_equal(buf.data, "secret");
    assert_memory_equal(buf.data + 6, "\0\0\0\0", 4);
    buf_truncate(&buf, 2);
    assert_memory_equal(buf.data, "se\0\0\0\0", 6);
    assert_int_equal(buf_add_string(&buf, "cret"), ERR_OK);
    buf_clear(&buf);
    assert_memory_equal(buf.data, "\0\0\0\0\0\0", 6);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span_of_nothing),
        cmocka_unit_test(test_span_slices_are_clamped),
        cmocka_unit_test(test_span_comparisons),
        cmocka_unit_test(test_span_find),
        cmocka_unit_test(test_span_take_until_gives_every_piece_once),
        cmocka_unit_test(test_span_numbers),
        cmocka_unit_test(test_span_copies),
        cmocka_unit_test(test_buf_is_a_string_at_all_times),
        cmocka_unit_test(test_buf_untouched_may_be_used_in_every_way),
        cmocka_unit_test(test_buf_never_passes_its_maximum),
        cmocka_unit_test(test_buf_a_failed_addition_changes_nothing),
        cmocka_unit_test(test_buf_take),
        cmocka_unit_test(test_buf_secret_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

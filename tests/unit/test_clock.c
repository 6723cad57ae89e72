#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static const struct {
    const char *text;
    int64_t seconds;
} times[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"1969-12-31T23:59:59Z", -1},
    {"2026-11-20T12:00:00Z", 1795176000},
    {"2024-02-29T00:00:00Z", 1709164800},
    {"2000-02-29T23:59:59Z", 951868799},
    {"2038-01-19T03:14:08Z", 2147483648},
    {"0000-01-01T00:00:00Z", -62167219200},
    {"0999-12-31T23:59:59Z", -30610224001},
    {"9999-12-31T23:59:59Z", 253402300799},
};

static void test_times_in_both_directions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char text[CLOCK_TEXT_SIZE];
        int64_t seconds;
        clock_format(times[i].seconds, text);
        assert_string_equal(text, times[i].text);
        assert_int_equal(clock_parse(times[i].text, &seconds), ERR_OK);
        assert_true(seconds == times[i].seconds);
    }
}

static void test_other_forms(void **state)
{
    (void)state;
    int64_t seconds;
    assert_int_equal(clock_parse("2026-11-20", &seconds), ERR_OK);
    assert_true(seconds == 1795132800);
    assert_int_equal(clock_parse("@0", &seconds), ERR_OK);
    assert_true(seconds == 0);
    assert_int_equal(clock_parse("@1795176000", &seconds), ERR_OK);
    assert_true(seconds == 1795176000);
}

static void test_everything_else_is_wrong_usage(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "@",
        "@-1",
        "@1x",
        "@253402300800",
        "now",
        "2026",
        "2026-11",
        "2026-1-20",
        "2026-11-2",
        "26-11-20",
        "2026-02-29",
        "2023-02-30",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-11-31",
        "2026-11-20T",
        "2026/11/20",
        "2026-11-20 12:00:00Z",
        "2026-11-20T12:00:00",
        "2026-11-20T12:00:00+00:00",
        "2026-11-20T24:00:00Z",
        "2026-11-20T12:60:00Z",
        "2026-11-20T23:59:60Z",
        "2026-11-20T12:00:00Zx",
        "2026-11-20T12:00:00.5Z",
        "+026-11-20",
        " 2026-11-20",
        "2026-11-20 ",
        "1900-02-29",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t seconds = 77;
        assert_int_equal(clock_parse(bad[i], &seconds), ERR_USAGE);
        assert_true(seconds == 0);
    }
    int64_t seconds;
    assert_int_equal(clock_parse(NULL, &seconds), ERR_USAGE);
}

static void test_times_out_of_range_are_clamped(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    clock_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    clock_format(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00Z");
}

static void test_monotonic(void **state)
{
    (void)state;
    uint64_t before = clock_monotonic_ms();
    (void)nanosleep(&(struct timespec){0, 20000000}, NULL);
    uint64_t after = clock_monotonic_ms();
    assert_true(after >= before + 20 && after < before + 20000);
}

/* The last test: a clock that was fixed stays so. */
static void test_fixed(void **state)
{
    (void)state;
    assert_false(clock_is_fixed());
    int64_t difference = clock_now() - time(NULL);
    assert_true(difference >= -1 && difference <= 1);
    clock_fix(1000);
    assert_true(clock_is_fixed());
    assert_true(clock_now() == 1000);
    assert_true(clock_monotonic_ms() > 0);
}

static void test_waits_for_a_later_second(void **state)
{
    (void)state;
    const int64_t now = clock_real();
    assert_true(clock_wait_after(now));
    assert_true(clock_real() > now);
    assert_true(clock_wait_after(-1));
    assert_false(clock_wait_after(clock_real() + 600));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_in_both_directions),
        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_everything_else_is_wrong_usage),
        cmocka_unit_test(test_times_out_of_range_are_clamped),
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_waits_for_a_later_second),
        cmocka_unit_test(test_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "mime/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect_shown(const char *text, const char *wanted)
{
    char out[64], same[64];
    mime_utf8_copy_shown(span_of(text), out, sizeof out);
    assert_string_equal(out, wanted);
    memcpy(same, text, strlen(text) + 1);
    mime_utf8_copy_shown(span_of(same), same, sizeof same);
    assert_string_equal(same, wanted);
}

static void test_text_is_shown_as_it_is(void **state)
{
    (void)state;
    expect_shown("", "");
    expect_shown("Bob <bob@example.net>", "Bob <bob@example.net>");
    expect_shown("J\xc3\xb6rg \xe6\x97\xa5 \xf0\x9f\x90\xa2 \xc2\xa0",
                 "J\xc3\xb6rg \xe6\x97\xa5 \xf0\x9f\x90\xa2 \xc2\xa0");
    /* Next to those that are not. */
    expect_shown("\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
                 "\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa");
}

static void test_what_steers_a_terminal_is_not_shown(void **state)
{
    (void)state;
    expect_shown("a\x1b[2J\r\n\t\x7f", "a?[2J????");
    expect_shown("a\xc2\x80\xc2\x9b\xc2\x9f", "a???");
    expect_shown("\xff\xc2 \xe2\x80", "?? ??");
}

static void test_what_reorders_text_is_not_shown(void **state)
{
    (void)state;
    expect_shown("\xe2\x80\xaamoc\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae", "?moc????");
    expect_shown("\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9", "????");
}

static void test_a_text_is_cut_at_a_character(void **state)
{
    static const char text[] = "a\xe6\x97\xa5"
                               "b";
    char out[8];
    (void)state;
    for (size_t size = 1; size <= sizeof text; size++) {
        memset(out, 'x', sizeof out);
        mime_utf8_copy_shown(span_of(text), out, size);
        assert_string_equal(out, size == 1 ? "" : size < 5 ? "a" : size == 5 ? "a\xe6\x97\xa5" : text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_shown_as_it_is), cmocka_unit_test(test_what_steers_a_terminal_is_not_shown),
        cmocka_unit_test(test_what_reorders_text_is_not_shown), cmocka_unit_test(test_a_text_is_cut_at_a_character)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

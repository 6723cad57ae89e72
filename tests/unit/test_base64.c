#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OUT_MAX 4096

/* RFC 4648 §10, and bytes that use the last two characters of the alphabet. */
static const struct {
    struct span bytes;
    const char *text;
} pairs[] = {
    {SPAN_LIT(""), ""},
    {SPAN_LIT("f"), "Zg=="},
    {SPAN_LIT("fo"), "Zm8="},
    {SPAN_LIT("foo"), "Zm9v"},
    {SPAN_LIT("foob"), "Zm9vYg=="},
    {SPAN_LIT("fooba"), "Zm9vYmE="},
    {SPAN_LIT("foobar"), "Zm9vYmFy"},
    {SPAN_LIT("\0\0\0"), "AAAA"},
    {SPAN_LIT("\xfb\xff\xbf"), "+/+/"},
    {SPAN_LIT("\xff\xff\xff\xff"), "/////w=="},
    {SPAN_LIT("\0alice\0secret"), "AGFsaWNlAHNlY3JldA=="},
};

static void test_pairs_in_both_directions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        assert_int_equal(buf_add_string(&out, "before"), ERR_OK);
        assert_int_equal(base64_encode(pairs[i].bytes, &out), ERR_OK);
        assert_string_equal(out.data + 6, pairs[i].text);
        buf_truncate(&out, 6);
        assert_int_equal(base64_decode(span_of(pairs[i].text), &out), ERR_OK);
        assert_true(span_is_equal(span_skip(buf_span(&out), 6), pairs[i].bytes));
        assert_int_equal(out.data[out.len], '\0');
        buf_fini(&out);
    }
}

static void test_what_is_not_canonical_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",        "Zg",         "Zg=",      "Zg===",    "=",        "==",       "====",  "Z===",     "Zm9v=",
        "Zm9vYg",   " Zg==",      "Zg== ",    "Zg==\n",   "Zm9v\r\n", "Zm 9",     "Zm9\n", "Zm9\tv",   "Zm-_",
        "Zm=v",     "Z=9v",       "=m9v",     "Zg==Zg==", "Zm8=Zm8=", "Zh==",     "Zm9=",  "Zm9v----", "----",
        "Zm9vY===", "\xc3\xa4zz", "Zm9v!AAA", "Zm9v.AAA", "AAAA    ", "    AAAA", "AAA,",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        assert_int_equal(buf_add_string(&out, "before"), ERR_OK);
        assert_int_equal(base64_decode(span_of(bad[i]), &out), ERR_MALFORMED);
        assert_string_equal(out.data, "before");
        assert_int_equal(out.len, 6);
        buf_fini(&out);
    }
    struct buf out;
    buf_init(&out, OUT_MAX);
    assert_int_equal(base64_decode(SPAN_LIT("AA\0A"), &out), ERR_MALFORMED);
    buf_fini(&out);
}

/* Every byte in every place of a group, so that all that is accepted is what encoding gives. */
static void test_each_byte_in_each_place(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4 * 256; i++) {
        char text[] = "AAAAAAAA";
        struct buf out, again;
        text[4 + i / 256] = (char)(i % 256);
        buf_init(&out, OUT_MAX);
        buf_init(&again, OUT_MAX);
        if (base64_decode((struct span){text, 8}, &out) == ERR_OK) {
            assert_int_equal(base64_encode(buf_span(&out), &again), ERR_OK);
            assert_string_equal(again.data, text);
        } else {
            assert_null(i % 256 == 0 ? NULL
                                     : strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                                              (int)(i % 256)));
        }
        buf_fini(&out);
        buf_fini(&again);
    }
}

static void test_all_lengths_come_back(void **state)
{
    (void)state;
    char bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37 + 11);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        struct buf text, back;
        buf_init(&text, OUT_MAX);
        buf_init(&back, len); /* exactly as much as is needed */
        assert_int_equal(base64_encode((struct span){bytes, len}, &text), ERR_OK);
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        assert_int_equal(base64_decode(buf_span(&text), &back), ERR_OK);
        assert_true(span_is_equal(buf_span(&back), (struct span){bytes, len}));
        buf_fini(&text);
        buf_fini(&back);
    }
}

static void test_limits_leave_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 3);
    assert_int_equal(base64_encode(SPAN_LIT("a"), &out), ERR_LIMIT);
    assert_int_equal(base64_decode(SPAN_LIT("AAAAAA=="), &out), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    assert_int_equal(base64_decode(SPAN_LIT("Zm9v"), &out), ERR_OK);
    assert_string_equal(out.data, "foo");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_in_both_directions),
        cmocka_unit_test(test_what_is_not_canonical_is_malformed),
        cmocka_unit_test(test_each_byte_in_each_place),
        cmocka_unit_test(test_all_lengths_come_back),
        cmocka_unit_test(test_limits_leave_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

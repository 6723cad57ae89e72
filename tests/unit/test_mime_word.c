#include "mime/word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_decoded_span(struct span value, const char *text)
{
    struct buf out;
    char *exact = malloc(value.len + 1);
    assert_non_null(exact);
    memcpy(exact, value.ptr, value.len);
    buf_init(&out, 1 << 20);
    assert_int_equal(buf_add_string(&out, "<"), ERR_OK);
    assert_int_equal(mime_word_decode((struct span){exact, value.len}, &out), ERR_OK);
    assert_string_equal(out.data + 1, text);
    assert_int_equal(out.len, strlen(text) + 1);
    buf_fini(&out);
    free(exact);
}

static void expect_decoded(const char *value, const char *text)
{
    expect_decoded_span(span_of(value), text);
}

static void test_decode(void **state)
{
    (void)state;
    expect_decoded("", "");
    expect_decoded("plain text", "plain text");
    expect_decoded("=?utf-8?Q?J=C3=BCrgen?=", "Jürgen");
    expect_decoded("=?UTF-8?q?a_b=20c?=", "a b c");
    expect_decoded("=?utf-8?B?SsO8cmdlbg==?=", "Jürgen");
    expect_decoded("=?utf-8?b?SsO8cmdlbg?=", "Jürgen");
    expect_decoded("=?utf-8*de?Q?J=C3=BCrgen?=", "Jürgen");
    expect_decoded("=?iso-8859-1?Q?J=FCrgen?=", "Jürgen");
    expect_decoded("=?ISO-8859-15?Q?=A4?=", "€");
    expect_decoded("=?windows-1252?Q?=80?=", "€");
    expect_decoded("=?koi8-r?B?79TXxdQ=?=", "Ответ");
    expect_decoded("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本");
    expect_decoded("=?shift_jis?B?k/qWew==?=", "日本");
    expect_decoded("=?us-ascii?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>");
    expect_decoded("Re: =?utf-8?Q?=C3=BC?= x", "Re: ü x");
}

/* RFC 2047 §8 */
static void test_blanks_between_words(void **state)
{
    (void)state;
    expect_decoded("(=?ISO-8859-1?Q?a?=)", "(a)");
    expect_decoded("=?ISO-8859-1?Q?a?= b", "a b");
    expect_decoded("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab");
    expect_decoded("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab");
    expect_decoded("=?ISO-8859-1?Q?a?=\r\n =?ISO-8859-1?Q?b?=", "ab");
    expect_decoded("=?ISO-8859-1?Q?a_b?=", "a b");
    expect_decoded("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b");
    expect_decoded("=?utf-8?Q?a?= \t =?utf-8?Q?b?= c", "ab c");
    expect_decoded("=?utf-8?Q?a?==?utf-8?Q?b?=", "ab");
    expect_decoded("=?utf-8?Q?"
                   "?= =?utf-8?Q?b?=",
                   "b");
    expect_decoded("=?utf-8?Q?a?= =?none?Q?b?=", "a =?none?Q?b?=");
}

static void test_characters_split_between_words(void **state)
{
    (void)state;
    expect_decoded("=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=", "ü");
    expect_decoded("=?utf-8?Q?=E2=82?=\r\n\t=?utf-8?B?rA==?=", "€");
    expect_decoded("=?utf-8?Q?=C3?= =?iso-8859-1?Q?=BC?=", "\xEF\xBF\xBD¼");
}

static void test_what_is_no_word_stays(void **state)
{
    (void)state;
    static const char *const same[] = {
        "=?",
        "=?=",
        "=?utf-8",
        "=?utf-8?",
        "=?utf-8?Q",
        "=?utf-8?Q?",
        "=?utf-8?Q?x",
        "=?utf-8?Q?x?",
        "=?utf-8?X?x?=",
        "=?utf-8?QQ?x?=",
        "=??Q?x?=",
        "=?utf-8?Q?a b?=",
        "=?unheard-of?Q?x?=",
        "=?utf-7?Q?+AGE-?=",
        "=?utf-8//TRANSLIT?Q?x?=",
        "=?iso-8859-99?Q?x?=",
        "=?iso-2022-cn-ext?B?AAAA?=",
        "a =? b ?= c",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        expect_decoded(same[i], same[i]);
    expect_decoded("=?=?utf-8?Q?x?=", "=?x");
    expect_decoded("=?utf-8?Q?=3D=3F?=", "=?");
    expect_decoded("=?utf-8?Q?=G0=1?=", "=G0=1");
}

/* Decoded words end up in header lines of views and in terminals: none may add a line. */
static void test_line_ends_become_blanks(void **state)
{
    (void)state;
    expect_decoded("=?utf-8?Q?a=0D=0ABcc:_x=00y?=", "a  Bcc: x y");
    expect_decoded("=?utf-8?B?YQ0KYg==?=", "a  b");
    expect_decoded("=?iso-8859-1?Q?a=0Ab?=", "a b");
    expect_decoded_span(SPAN_LIT("a\0b\rc"), "a b c");
}

static void test_bad_bytes_are_replaced(void **state)
{
    (void)state;
    expect_decoded("a\xFF"
                   "b",
                   "a\xEF\xBF\xBD"
                   "b");
    expect_decoded("\xC3", "\xEF\xBF\xBD");
    expect_decoded("=?utf-8?Q?=FF=C0=AF?=", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    expect_decoded("=?us-ascii?Q?=FF?=", "\xEF\xBF\xBD");
    expect_decoded("=?euc-jp?Q?a=FFb=C6?=", "a\xEF\xBF\xBD"
                                            "b\xEF\xBF\xBD");
    expect_decoded("grün", "grün");
}

static void test_number_of_charsets_is_bounded(void **state)
{
    (void)state;
    struct buf value;
    buf_init(&value, 10000);
    for (int i = 1; i <= 9; i++)
        assert_int_equal(buf_addf(&value, "=?iso-8859-%d?Q?x?=", i), ERR_OK);
    expect_decoded(value.data, "xxxxxxxx=?iso-8859-9?Q?x?=");
    buf_fini(&value);
}

static void test_long_output_is_converted_in_pieces(void **state)
{
    (void)state;
    struct buf value, want;
    buf_init(&value, 100000);
    buf_init(&want, 100000);
    assert_int_equal(buf_add_string(&value, "=?iso-8859-1?Q?"), ERR_OK);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(buf_add_string(&value, "=E4x"), ERR_OK);
        assert_int_equal(buf_add_string(&want, "äx"), ERR_OK);
    }
    assert_int_equal(buf_add_string(&value, "?="), ERR_OK);
    expect_decoded(value.data, want.data);
    buf_fini(&value);
    buf_fini(&want);
}

static void test_a_full_buffer_stays_as_it_was(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4);
    assert_int_equal(mime_word_decode(span_of("ab =?utf-8?Q?cd?="), &out), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    assert_int_equal(mime_word_encode(span_of("ü"), &out), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void expect_encoded(const char *text, const char *encoded)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(mime_word_encode(span_of(text), &out), ERR_OK);
    assert_string_equal(out.data, encoded);
    buf_fini(&out);
}

static void test_encode(void **state)
{
    (void)state;
    expect_encoded("", "");
    expect_encoded("plain, (text)", "plain, (text)");
    expect_encoded("Jürgen Liddell", "=?utf-8?Q?J=C3=BCrgen_Liddell?=");
    expect_encoded("日本", "=?utf-8?B?5pel5pys?=");
    expect_encoded("a\r\nBcc: x", "=?utf-8?B?YQ0KQmNjOiB4?=");
    expect_encoded("\xFFggg", "=?utf-8?Q?=EF=BF=BDggg?=");
    expect_encoded("=?utf-8?Q?x?=", "=?utf-8?B?PT91dGYtOD9RP3g/PQ==?=");
}

/* Words must not be longer than 75 bytes, and each must be whole UTF-8 when it is decoded alone. */
static void test_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const texts[] = {"ä", "€", "😀", "a\xCC\x88", "xyzzy ü "};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buf text, encoded;
        buf_init(&text, 100000);
        buf_init(&encoded, 1 << 20);
        for (int n = 0; n < 200; n++)
            assert_int_equal(buf_add_string(&text, texts[i]), ERR_OK);
        assert_int_equal(mime_word_encode(buf_span(&text), &encoded), ERR_OK);
        expect_decoded(encoded.data, text.data);
        struct span rest = buf_span(&encoded), line;
        while (span_take_until(&rest, '\n', &line)) {
            struct buf alone;
            line = span_trim(line);
            assert_in_range(line.len, 1, 75);
            buf_init(&alone, 1000);
            assert_int_equal(mime_word_decode(line, &alone), ERR_OK);
            assert_int_equal(span_find(buf_span(&alone), 0, SPAN_LIT("\xEF\xBF\xBD")), SIZE_MAX);
            buf_fini(&alone);
        }
        buf_fini(&text);
        buf_fini(&encoded);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_blanks_between_words),
        cmocka_unit_test(test_characters_split_between_words),
        cmocka_unit_test(test_what_is_no_word_stays),
        cmocka_unit_test(test_line_ends_become_blanks),
        cmocka_unit_test(test_bad_bytes_are_replaced),
        cmocka_unit_test(test_number_of_charsets_is_bounded),
        cmocka_unit_test(test_long_output_is_converted_in_pieces),
        cmocka_unit_test(test_a_full_buffer_stays_as_it_was),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_long_text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

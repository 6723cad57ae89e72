/* SMTP replies, read and written. */
#include "smtp/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_format(const struct smtp_reply *reply, const char *expected)
{
    struct buf out;
    buf_init(&out, 65536);
    assert_int_equal(smtp_reply_format(reply, &out), ERR_OK);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
}

static void one_line(void **state)
{
    (void)state;
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("250 2.1.5 fine")), ERR_OK);
    assert_int_equal(reply.code, 250);
    assert_string_equal(reply.enhanced, "2.1.5");
    assert_string_equal(reply.text.data, "fine");
    assert_true(smtp_reply_is_ok(&reply));
    check_format(&reply, "250 2.1.5 fine\r\n");
    smtp_reply_clear(&reply);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("354")), ERR_OK);
    assert_int_equal(reply.code, 354);
    assert_string_equal(reply.text.data, "");
    assert_false(smtp_reply_is_ok(&reply));
    check_format(&reply, "354 \r\n");
    smtp_reply_fini(&reply);
}

static void several_lines(void **state)
{
    (void)state;
    struct smtp_reply reply, copy;
    smtp_reply_init(&reply);
    smtp_reply_init(&copy);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550-5.1.1 no")), ERR_AGAIN);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550-5.1.1 such")), ERR_AGAIN);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550-")), ERR_AGAIN);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550-5.1.2 other code")), ERR_AGAIN);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550 user")), ERR_OK);
    assert_string_equal(reply.enhanced, "5.1.1");
    assert_string_equal(reply.text.data, "no\nsuch\n\n5.1.2 other code\nuser");
    assert_int_equal(smtp_reply_copy(&reply, &copy), ERR_OK);
    check_format(&copy, "550-5.1.1 no\r\n550-5.1.1 such\r\n550-5.1.1 \r\n550-5.1.1 5.1.2 other code\r\n"
                        "550 5.1.1 user\r\n");
    smtp_reply_fini(&reply);
    smtp_reply_fini(&copy);
}

static void enhanced_codes_that_are_none(void **state)
{
    (void)state;
    static const char *const lines[] = {"250 5.1.1 x", "250 2.1 x",      "250 2.1.1234 x", "250 2.1.1x",
                                        "250 2..1 x",  "250 2.1. x",     "250 3.1.1 x",    "354 3.1.1 x",
                                        "250 2",       "250 2.1234.1 x", "220 2.0.0.1 x",  "250 2.1.\t x"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct smtp_reply reply;
        smtp_reply_init(&reply);
        assert_int_equal(smtp_reply_feed(&reply, span_of(lines[i])), ERR_OK);
        assert_string_equal(reply.enhanced, "");
        assert_int_equal(reply.text.len, strlen(lines[i]) - 4);
        smtp_reply_fini(&reply);
    }
}

static void lines_that_are_none(void **state)
{
    (void)state;
    static const char *const lines[] = {"",      "2",      "25",     "250_x", "25x x",  "150 x",  "600 x",
                                        "000 x", " 250 x", "+250 x", "-25 x", "2500 x", "250\tx", "\r250 x"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct smtp_reply reply;
        smtp_reply_init(&reply);
        assert_int_equal(smtp_reply_feed(&reply, span_of(lines[i])), ERR_UPSTREAM_PROTOCOL);
        smtp_reply_fini(&reply);
    }
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("250-a")), ERR_AGAIN);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("251 b")), ERR_UPSTREAM_PROTOCOL);
    smtp_reply_fini(&reply);
}

/* A reply line that grows byte by byte is refused until its code stands, and has the same code from then on. */
static void a_line_that_grows(void **state)
{
    (void)state;
    struct span line = SPAN_LIT("452-4.5.3 too many");
    for (size_t len = 0; len <= line.len; len++) {
        struct smtp_reply reply;
        smtp_reply_init(&reply);
        enum err expected = len < 3 ? ERR_UPSTREAM_PROTOCOL : len == 3 ? ERR_OK : ERR_AGAIN;
        assert_int_equal(smtp_reply_feed(&reply, span_slice(line, 0, len)), expected);
        assert_int_equal(reply.code, len < 3 ? 0 : 452);
        assert_string_equal(reply.enhanced, len < 9 ? "" : "4.5.3");
        smtp_reply_fini(&reply);
    }
}

static void control_bytes_become_blanks(void **state)
{
    (void)state;
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("250 a\rb\nc\0d\x1b"
                                                      "e\x7f")),
                     ERR_OK);
    assert_string_equal(reply.text.data, "a b c d e ");
    assert_int_equal(smtp_reply_set(&reply, 550, "5.0.0", "x\r\n250 forged"), ERR_OK);
    check_format(&reply, "550-5.0.0 x \r\n550 5.0.0 250 forged\r\n");
    smtp_reply_fini(&reply);
}

static void limits(void **state)
{
    (void)state;
    char line[SMTP_REPLY_LINE_MAX + 1];
    memset(line, 'x', sizeof line);
    memcpy(line, "250-", 4);
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    assert_int_equal(smtp_reply_feed(&reply, (struct span){line, sizeof line}), ERR_UPSTREAM_PROTOCOL);
    size_t count = 0;
    while (smtp_reply_feed(&reply, (struct span){line, sizeof line - 1}) == ERR_AGAIN)
        count++;
    assert_int_equal(count, SMTP_REPLY_TEXT_MAX / (SMTP_REPLY_LINE_MAX - 3));
    smtp_reply_clear(&reply);
    count = 0;
    while (smtp_reply_feed(&reply, SPAN_LIT("250-")) == ERR_AGAIN) /* empty lines count, too */
        count++;
    assert_int_equal(count, SMTP_REPLY_TEXT_MAX + 1);
    smtp_reply_fini(&reply);
}

static void long_text_is_folded(void **state)
{
    (void)state;
    struct smtp_reply reply, back;
    struct buf out, text;
    smtp_reply_init(&reply);
    smtp_reply_init(&back);
    buf_init(&out, 65536);
    buf_init(&text, 65536);
    for (int i = 0; i < 200; i++)
        assert_int_equal(buf_add_string(&text, i == 100 ? "word\nline" : "wordy "), ERR_OK);
    for (int i = 0; i < 1200; i++)
        assert_int_equal(buf_add_byte(&text, 'x'), ERR_OK);
    assert_int_equal(smtp_reply_set(&reply, 550, "5.7.1", text.data), ERR_OK);
    assert_int_equal(smtp_reply_format(&reply, &out), ERR_OK);
    struct span rest = buf_span(&out);
    enum err err = ERR_AGAIN;
    while (rest.len > 0) {
        size_t len = span_find(rest, 0, SPAN_LIT("\r\n"));
        assert_true(len + 2 <= 512);
        assert_int_equal(err, ERR_AGAIN);
        err = smtp_reply_feed(&back, span_slice(rest, 0, len));
        rest = span_skip(rest, len + 2);
    }
    assert_int_equal(err, ERR_OK);
    size_t words = 0, letters = 0;
    for (size_t i = 0; i < back.text.len; i++) {
        words += back.text.data[i] == 'w';
        letters += back.text.data[i] == 'x';
    }
    assert_int_equal(words, 200);
    assert_int_equal(letters, 1200);
    /* A challenge is never cut. */
    buf_clear(&out);
    assert_int_equal(smtp_reply_set(&reply, 334, NULL, text.data + 1208), ERR_OK);
    assert_int_equal(smtp_reply_format(&reply, &out), ERR_OK);
    assert_int_equal(span_find(buf_span(&out), 0, SPAN_LIT("\r\n")), out.len - 2);
    smtp_reply_fini(&reply);
    smtp_reply_fini(&back);
    buf_fini(&out);
    buf_fini(&text);
}

static void the_table_of_errors_makes_replies(void **state)
{
    (void)state;
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    for (int err = 0; err < ERR_COUNT; err++) {
        assert_int_equal(smtp_reply_of_err(&reply, (enum err)err, NULL), ERR_OK);
        assert_int_equal(reply.code, err_entry((enum err)err)->smtp_code);
        assert_string_equal(reply.text.data, err_sentence((enum err)err));
    }
    assert_int_equal(smtp_reply_of_err(&reply, ERR_NO_KEY, "bob@example.org"), ERR_OK);
    assert_non_null(strstr(reply.text.data, ": bob@example.org"));
    assert_int_equal(smtp_reply_set(&reply, 199, NULL, "x"), ERR_INTERNAL);
    assert_int_equal(smtp_reply_set(&reply, 600, NULL, "x"), ERR_INTERNAL);
    assert_int_equal(smtp_reply_set(&reply, 250, "5.0.0", "x"), ERR_INTERNAL);
    assert_int_equal(smtp_reply_set(&reply, 250, "2.0.0\r\n", "x"), ERR_INTERNAL);
    smtp_reply_fini(&reply);
}

static void test_8bit_text_is_utf8(void **state)
{
    struct smtp_reply reply;
    (void)state;
    smtp_reply_init(&reply);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550-Empf\xc3\xa4nger")), ERR_AGAIN);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550 Empf\xe4nger \xc3")), ERR_OK);
    assert_string_equal(reply.text.data, "Empf\xc3\xa4nger\nEmpf?nger ?");
    smtp_reply_fini(&reply);
}

/* The longest reply an upstream can make is still relayed as it is. */
static void test_most_lines(void **state)
{
    struct smtp_reply reply;
    struct buf wire;
    (void)state;
    smtp_reply_init(&reply);
    buf_init(&wire, 327680);
    for (int i = 0; i < SMTP_REPLY_TEXT_MAX; i++)
        assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550-5.999.999")), ERR_AGAIN);
    assert_int_equal(smtp_reply_feed(&reply, SPAN_LIT("550 5.999.999")), ERR_OK);
    assert_int_equal(smtp_reply_format(&reply, &wire), ERR_OK);
    buf_fini(&wire);
    smtp_reply_fini(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_line),
                                       cmocka_unit_test(several_lines),
                                       cmocka_unit_test(enhanced_codes_that_are_none),
                                       cmocka_unit_test(lines_that_are_none),
                                       cmocka_unit_test(a_line_that_grows),
                                       cmocka_unit_test(control_bytes_become_blanks),
                                       cmocka_unit_test(limits),
                                       cmocka_unit_test(long_text_is_folded),
                                       cmocka_unit_test(the_table_of_errors_makes_replies),
                                       cmocka_unit_test(test_8bit_text_is_utf8),
                                       cmocka_unit_test(test_most_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

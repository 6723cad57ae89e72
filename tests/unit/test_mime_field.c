#include "mime/field.h"
#include "tests/unit/trickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* Every field as "name|value" and a final ";" for each; what is no field has an empty name. */
static enum err list(struct span header, void *context)
{
    struct buf *out = context;
    struct mime_field field;
    size_t at = 0, sum = 0;

    while (mime_field_next(header, &at, &field)) {
        assert_ptr_equal(field.whole.ptr, header.ptr + sum);
        sum += field.whole.len;
        assert_int_equal(at, sum);
        assert_int_equal(buf_add_span(out, field.name), ERR_OK);
        assert_int_equal(buf_add_byte(out, '|'), ERR_OK);
        assert_int_equal(buf_add_span(out, field.value), ERR_OK);
        assert_int_equal(buf_add_byte(out, ';'), ERR_OK);
    }
    return ERR_OK;
}

static void assert_fields(struct span header, const char *expected)
{
    struct buf text;

    buf_init(&text, 10000);
    /* A step of the whole length: the copy is exact, so that a look beyond it is seen. */
    if (header.len > 0)
        assert_int_equal(trickle(header, header.len, list, &text), ERR_OK);
    assert_string_equal(text.data, expected);
    /* Every beginning of the header must be walked without a look beyond it. */
    for (size_t len = 1; len < header.len; len++) {
        buf_clear(&text);
        assert_int_equal(trickle(span_slice(header, 0, len), len, list, &text), ERR_OK);
    }
    buf_fini(&text);
}

static void steps_through_fields(void **state)
{
    (void)state;
    assert_fields(SPAN_LIT(""), "");
    assert_fields(SPAN_LIT("\r\n"), "");
    assert_fields(SPAN_LIT("\n"), "");
    assert_fields(SPAN_LIT("A: b\r\nC:d\r\n\r\n"), "A| b;C|d;");
    assert_fields(SPAN_LIT("A: b\nC:d\n\nE: f\n"), "A| b;C|d;");
    assert_fields(SPAN_LIT("A: b"), "A| b;");
    assert_fields(SPAN_LIT("A: b\r"), "A| b\r;");
    assert_fields(SPAN_LIT("A:\r\n"), "A|;");
    assert_fields(SPAN_LIT("A: b\r\n c\r\n\td\r\nE: f\r\n"), "A| b\r\n c\r\n\td;E| f;");
    assert_fields(SPAN_LIT("A: b\r\n \r\nE: f\r\n"), "A| b\r\n ;E| f;");
    assert_fields(SPAN_LIT("A \t: b\r\n"), "A| b;");
    assert_fields(SPAN_LIT("A: b: c\r\n"), "A| b: c;");
}

static void gives_back_what_is_no_field(void **state)
{
    (void)state;
    assert_fields(SPAN_LIT("From x@example.org Mon\r\nA: b\r\n"), "|From x@example.org Mon;A| b;");
    assert_fields(SPAN_LIT("no colon\r\n more\r\nA: b\r\n"), "|no colon\r\n more;A| b;");
    assert_fields(SPAN_LIT(" blank\r\nA: b\r\n"), "| blank;A| b;");
    assert_fields(SPAN_LIT(": b\r\nA: b\r\n"), "|: b;A| b;");
    assert_fields(SPAN_LIT("A B: c\r\n"), "|A B: c;");
    assert_fields(SPAN_LIT("\xC3\xA9: c\r\n"), "|\xC3\xA9: c;");
    assert_fields(SPAN_LIT("A\x7F: c\r\n\r\r\nB: d\r\n"), "|A\x7F: c;|\r;B| d;");
}

static void finds_fields(void **state)
{
    const struct span header =
        SPAN_LIT("Subject: one\r\nX-Subject: no\r\nsubject : two\r\nSubjects: no\r\n\r\nSubject: body\r\n");
    struct mime_field field;

    (void)state;
    assert_true(mime_field_find(header, "SUBJECT", &field));
    assert_true(span_is_equal(field.value, SPAN_LIT(" one")));
    assert_true(span_is_equal(field.whole, SPAN_LIT("Subject: one\r\n")));
    assert_true(mime_field_is(&field, "subject"));
    assert_false(mime_field_is(&field, "subjec"));
    assert_int_equal(mime_field_count(header, "Subject"), 2);
    assert_int_equal(mime_field_count(header, "To"), 0);
    assert_false(mime_field_find(header, "To", &field));
    assert_false(mime_field_find(SPAN_LIT("no field\r\n"), "", &field));
}

static void knows_structural_fields(void **state)
{
    static const struct {
        struct span header;
        bool is_structural;
    } rows[] = {
        {SPAN_LIT("MIME-Version: 1.0\r\n"), true},  {SPAN_LIT("mime-version: 1.0\r\n"), true},
        {SPAN_LIT("Content-Type: x\r\n"), true},    {SPAN_LIT("CONTENT-X-Other: x\r\n"), true},
        {SPAN_LIT("Content: x\r\n"), false},        {SPAN_LIT("Subject: x\r\n"), false},
        {SPAN_LIT("X-Content-Type: x\r\n"), false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mime_field field;
        size_t at = 0;

        assert_true(mime_field_next(rows[i].header, &at, &field));
        assert_int_equal(mime_field_is_structural(&field), rows[i].is_structural);
    }
}

static void unfolds(void **state)
{
    static const struct {
        struct span value;
        const char *expected;
    } rows[] = {
        {SPAN_LIT(""), ""},         {SPAN_LIT(" \t\r\n "), ""},
        {SPAN_LIT(" a"), "a"},      {SPAN_LIT(" a\r\n b\r\n\tc  d \r\n "), "a b\tc  d"},
        {SPAN_LIT("a\n b"), "a b"}, {SPAN_LIT("\r\n a\rb"), "ab"},
    };
    struct buf text;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_init(&text, 100);
        assert_int_equal(mime_field_unfold(rows[i].value, &text), ERR_OK);
        assert_string_equal(text.data, rows[i].expected);
        buf_fini(&text);
    }
    buf_init(&text, 4);
    assert_int_equal(buf_add_byte(&text, 'x'), ERR_OK);
    assert_int_equal(mime_field_unfold(SPAN_LIT("ab\r\n cd"), &text), ERR_LIMIT);
    assert_string_equal(text.data, "x");
    buf_fini(&text);
}

static void assert_added(const char *name, struct span value, const char *expected)
{
    struct buf text, unfolded;
    struct mime_field field;
    size_t at = 0;

    buf_init(&text, 10000);
    buf_init(&unfolded, 10000);
    assert_int_equal(mime_field_add(&text, name, value), ERR_OK);
    assert_string_equal(text.data, expected);
    assert_true(mime_field_next(buf_span(&text), &at, &field));
    assert_int_equal(at, text.len);
    assert_true(mime_field_is(&field, name));
    assert_int_equal(mime_field_unfold(field.value, &unfolded), ERR_OK);
    assert_true(span_is_equal(buf_span(&unfolded), span_trim(value)));
    buf_fini(&text);
    buf_fini(&unfolded);
}

#define TEN "123456789 "
#define SIXTY TEN TEN TEN TEN TEN TEN

static void adds_folded(void **state)
{
    (void)state;
    assert_added("A", SPAN_LIT("b"), "A: b\r\n");
    assert_added("A", SPAN_LIT(""), "A:\r\n");
    assert_added("A", SPAN_LIT(" b "), "A: b\r\n");
    /* 78 columns stay in one line, 79 do not. */
    assert_added("Name123", SPAN_LIT(SIXTY "123456789"), "Name123: " SIXTY "123456789\r\n");
    assert_added("Name1234", SPAN_LIT(SIXTY "123456789"),
                 "Name1234: " TEN TEN TEN TEN TEN "123456789\r\n 123456789\r\n");
    assert_added("A", SPAN_LIT(SIXTY SIXTY "end"),
                 "A: " TEN TEN TEN TEN TEN TEN "123456789\r\n " TEN TEN TEN TEN "123456789 end\r\n");
    /* More blanks than fit are not torn apart. */
    assert_added("A", SPAN_LIT(SIXTY "                         b"),
                 "A: 123456789 " TEN TEN TEN TEN "123456789\r\n"
                 "                          b\r\n");
    assert_added("Message-ID", SPAN_LIT("<0123456789012345678901234567890123456789012345678901234567890123456@x>"),
                 "Message-ID:\r\n <0123456789012345678901234567890123456789012345678901234567890123456@x>\r\n");
}

static void refuses_line_ends(void **state)
{
    const struct span values[] = {SPAN_LIT("a\rb"), SPAN_LIT("a\nb"), SPAN_LIT("a\0b"), SPAN_LIT("a\r\n")};
    struct buf text;

    (void)state;
    buf_init(&text, 10);
    assert_int_equal(buf_add_byte(&text, 'x'), ERR_OK);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(mime_field_add(&text, "A", values[i]), ERR_MALFORMED);
    assert_int_equal(mime_field_add(&text, "A", SPAN_LIT("0123456789")), ERR_LIMIT);
    assert_string_equal(text.data, "x");
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_through_fields),
        cmocka_unit_test(gives_back_what_is_no_field),
        cmocka_unit_test(finds_fields),
        cmocka_unit_test(knows_structural_fields),
        cmocka_unit_test(unfolds),
        cmocka_unit_test(adds_folded),
        cmocka_unit_test(refuses_line_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

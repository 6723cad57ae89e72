#include "imap/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct imap_cursor cursor_of(const char *text)
{
    struct imap_cursor cursor;
    imap_cursor_init_text(&cursor, span_of(text));
    return cursor;
}

static void assert_span(struct span span, const char *expected)
{
    assert_int_equal(span.len, strlen(expected));
    assert_memory_equal(span.ptr, expected, span.len);
}

static void test_words(void **state)
{
    (void)state;
    struct imap_cursor cursor = cursor_of("FETCH 12 (\\Seen BODY[TEXT]) [x]\r\n");
    struct span atom;
    uint64_t number;
    assert_int_equal(imap_peek(&cursor), 'F');
    assert_false(imap_take_word(&cursor, "FET"));
    assert_false(imap_take_word(&cursor, "FETCHING"));
    assert_true(imap_take_word(&cursor, "fetch"));
    assert_false(imap_take_char(&cursor, '1'));
    assert_true(imap_take_space(&cursor));
    assert_false(imap_take_space(&cursor));
    assert_false(imap_take_number(&cursor, 11, &number));
    assert_true(imap_take_number(&cursor, 12, &number));
    assert_int_equal(number, 12);
    assert_false(imap_take_number(&cursor, 12, &number));
    assert_true(imap_take_space(&cursor));
    assert_false(imap_take_atom(&cursor, &atom));
    assert_true(imap_take_char(&cursor, '('));
    assert_true(imap_take_atom(&cursor, &atom));
    assert_span(atom, "\\Seen");
    assert_true(imap_take_space(&cursor));
    assert_true(imap_take_name(&cursor, &atom));
    assert_span(atom, "BODY");
    assert_false(imap_take_name(&cursor, &atom));
    assert_true(imap_take_atom(&cursor, &atom));
    assert_span(atom, "[TEXT]");
    assert_true(imap_take_char(&cursor, ')'));
    assert_true(imap_take_space(&cursor));
    assert_span(imap_rest(&cursor), "[x]\r\n");
    assert_false(imap_at_end(&cursor));
    assert_true(imap_take_atom(&cursor, &atom));
    assert_true(imap_at_end(&cursor));
    assert_int_equal(imap_peek(&cursor), '\r');
    cursor.at += 2;
    assert_true(imap_at_end(&cursor));
    assert_int_equal(imap_peek(&cursor), '\0');
    assert_false(imap_take_atom(&cursor, &atom));
}

struct string_row {
    const char *text;
    int kind;          /* as an nstring; -1: none */
    const char *value; /* decoded; NULL: cannot be */
    const char *rest;
};

static const struct string_row string_rows[] = {
    {"abc def", IMAP_ATOM, "abc", " def"},
    {"nil)", IMAP_NIL, NULL, ")"},
    {"NILS", IMAP_ATOM, "NILS", ""},
    {"\"\"", IMAP_QUOTED, "", ""},
    {"\"NIL\"", IMAP_QUOTED, "NIL", ""},
    {"\"a \\\"b\\\\\" x", IMAP_QUOTED, "a \"b\\", " x"},
    {"\"a\\x\"", IMAP_QUOTED, "ax", ""},
    {"\"a", -1, NULL, NULL},
    {"\"a\\\"", -1, NULL, NULL},
    {"\"a\\", -1, NULL, NULL},
    {"\"a\r\n\"", -1, NULL, NULL},
    {"\"a\\\r\n\"", -1, NULL, NULL},
    {"{3}\r\na\"c)", IMAP_LITERAL, "a\"c", ")"},
    {"{3+}\r\nabc", IMAP_LITERAL, "abc", ""},
    {"~{3}\r\nabc", IMAP_LITERAL, "abc", ""},
    {"{0}\r\n", IMAP_LITERAL, "", ""},
    {"{4}\r\nabc", -1, NULL, NULL},
    {"{9223372036854775807}\r\nabc", -1, NULL, NULL},
    {"{3}abc", -1, NULL, NULL},
    {"{3", -1, NULL, NULL},
    {"{x}\r\nabc", -1, NULL, NULL},
    {"{3}}\r\nabc", -1, NULL, NULL},
    {"(", -1, NULL, NULL},
    {"", -1, NULL, NULL},
    {"\r\n", -1, NULL, NULL},
};

static void test_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof string_rows / sizeof string_rows[0]; i++) {
        const struct string_row *row = &string_rows[i];
        struct imap_cursor cursor = cursor_of(row->text);
        struct imap_string string;
        assert_int_equal(imap_take_nstring(&cursor, &string), row->kind >= 0);
        if (row->kind < 0) {
            assert_int_equal(cursor.at, 0);
            continue;
        }
        assert_int_equal((int)string.kind, row->kind);
        assert_span(imap_rest(&cursor), row->rest);

        struct buf out;
        char copy[32], small[3];
        buf_init(&out, 100);
        assert_int_equal(imap_string_add(&string, &out), row->value ? ERR_OK : ERR_MALFORMED);
        assert_string_equal(out.data, row->value ? row->value : "");
        assert_true(imap_string_copy(&string, copy, sizeof copy));
        assert_string_equal(copy, out.data);
        assert_int_equal(imap_string_copy(&string, small, sizeof small), out.len < sizeof small);
        buf_fini(&out);

        cursor.at = 0;
        assert_int_equal(imap_take_string(&cursor, &string), row->kind >= IMAP_QUOTED);
    }
}

static void test_string_bounds(void **state)
{
    (void)state;
    struct imap_cursor cursor = cursor_of("\"a\\\\b\"");
    struct imap_string string;
    struct buf out;
    buf_init(&out, 4);
    assert_true(imap_take_astring(&cursor, &string));
    assert_int_equal(buf_add_string(&out, "12"), ERR_OK);
    assert_int_equal(imap_string_add(&string, &out), ERR_LIMIT);
    assert_string_equal(out.data, "12");
    assert_false(imap_string_copy(&string, NULL, 0));
    buf_fini(&out);

    char copy[8];
    struct imap_string nul = {.kind = IMAP_LITERAL, .raw = SPAN_LIT("a\0b"), .len = 3};
    assert_false(imap_string_copy(&nul, copy, sizeof copy));
}

static void test_literals_elsewhere(void **state)
{
    (void)state;
    struct imap_unit unit;
    struct imap_cursor cursor;
    struct imap_string string;
    struct span raw;
    struct buf out;
    char copy[8];
    buf_init(&out, 100);
    imap_unit_init(&unit, 1000, false);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT("({2}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(&unit, IMAP_LITERAL_HERE, 2, -1), ERR_OK);
    assert_int_equal(imap_unit_literal_bytes(&unit, SPAN_LIT("ab")), ERR_OK);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT(" {900}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(&unit, IMAP_LITERAL_GONE, 900, -1), ERR_OK);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT(" x)\r\n")), ERR_OK);

    imap_cursor_init(&cursor, &unit);
    assert_true(imap_take_value(&cursor, &raw));
    assert_span(raw, "({2}\r\nab {900}\r\n x)");
    assert_true(imap_at_end(&cursor));

    imap_cursor_init(&cursor, &unit);
    assert_true(imap_take_char(&cursor, '('));
    assert_true(imap_take_string(&cursor, &string));
    assert_span(string.raw, "ab");
    assert_int_equal(string.literal, 0);
    assert_true(imap_take_space(&cursor));
    assert_true(imap_take_string(&cursor, &string));
    assert_int_equal(string.literal, 1);
    assert_int_equal(string.len, 900);
    assert_null(string.raw.ptr);
    assert_int_equal(imap_string_add(&string, &out), ERR_MALFORMED);
    assert_false(imap_string_copy(&string, copy, sizeof copy));
    assert_true(imap_take_space(&cursor));
    assert_true(imap_take_word(&cursor, "X"));

    /* A mark that no literal belongs to is not taken for one. */
    unit.literals_len = 1;
    imap_cursor_init(&cursor, &unit);
    assert_false(imap_take_value(&cursor, &raw));
    unit.literals_len = 2;
    unit.literals[1].len = 901;
    assert_false(imap_take_value(&cursor, &raw));
    imap_unit_fini(&unit);
    buf_fini(&out);
}

struct value_row {
    const char *text;
    const char *value; /* NULL: none */
    const char *rest;
};

static const struct value_row value_rows[] = {
    {"abc def", "abc", " def"},
    {"\"a b\")", "\"a b\"", ")"},
    {"() x", "()", " x"},
    {"(a (b c) \"d)\" {2}\r\n)) e)(f)", "(a (b c) \"d)\" {2}\r\n)) e)", "(f)"},
    {"((\"text\" \"plain\")(\"text\" \"html\") \"mixed\")", "((\"text\" \"plain\")(\"text\" \"html\") \"mixed\")", ""},
    {"BODY[HEADER.FIELDS (From \"To]\")]<0> {1}\r\nx", "BODY[HEADER.FIELDS (From \"To]\")]<0>", " {1}\r\nx"},
    {"BODY[HEADER.FIELDS ({2}\r\n](] x", "BODY[HEADER.FIELDS ({2}\r\n](]", " x"},
    {"(x[(a) b) c]", "(x[(a) b)", " c]"},
    {"(foo[x) BODY[]", "(foo[x)", " BODY[]"},
    {"foo[x y", "foo[x", " y"},
    {"[Gmail]/Sent x", "[Gmail]/Sent", " x"},
    {"([\"] [a] b)", NULL, NULL},         /* a quote inside an atom is none of its bytes */
    {"([{1}\r\n]) ", "([{1}\r\n])", " "}, /* the literal's bracket closes nothing */
    {"(a", NULL, NULL},
    {"(a\r\n)", NULL, NULL},
    {"", NULL, NULL},
    {")", NULL, NULL},
    {" a", NULL, NULL},
    {"(\"a)", NULL, NULL},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof value_rows / sizeof value_rows[0]; i++) {
        const struct value_row *row = &value_rows[i];
        struct imap_cursor cursor = cursor_of(row->text);
        struct span raw;
        assert_int_equal(imap_take_value(&cursor, &raw), row->value != NULL);
        if (!row->value) {
            assert_int_equal(cursor.at, 0);
            continue;
        }
        assert_span(raw, row->value);
        assert_span(imap_rest(&cursor), row->rest);
    }
}

static bool takes_nested(size_t depth)
{
    char text[4 * IMAP_NESTING_MAX];
    struct imap_cursor cursor;
    struct span raw;
    memset(text, '(', depth);
    memset(text + depth, ')', depth);
    imap_cursor_init_text(&cursor, (struct span){text, 2 * depth});
    return imap_take_value(&cursor, &raw);
}

static void test_nesting(void **state)
{
    (void)state;
    assert_true(takes_nested(1));
    assert_true(takes_nested(IMAP_NESTING_MAX));
    assert_false(takes_nested(IMAP_NESTING_MAX + 1));
}

/* What a hostile server could send; each was quadratic in its length when looked at naively. */
static void test_long_nonsense(void **state)
{
    (void)state;
    static const char *const patterns[] = {"[", "[ ", "a[ ", "{", "\"\\", "[\"\\", "{1}[", "[(", "[{"};
    size_t len = 4000000;
    char *text = malloc(len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        size_t step = strlen(patterns[i]);
        text[0] = '(';
        for (size_t at = 1; at < len; at++)
            text[at] = patterns[i][(at - 1) % step];
        struct imap_cursor cursor;
        struct span raw;
        imap_cursor_init_text(&cursor, (struct span){text, len});
        assert_false(imap_take_value(&cursor, &raw));
        text[0] = '[';
        assert_false(imap_take_code(&cursor, &raw));
    }
    free(text);
}

static const struct value_row code_rows[] = {
    {"[ALERT] text", "ALERT", " text"},
    {"[UIDNEXT 5]\r\n", "UIDNEXT 5", "\r\n"},
    {"[PERMANENTFLAGS (\\Seen \\*)] x", "PERMANENTFLAGS (\\Seen \\*)", " x"},
    {"[INPROGRESS (\"a]\\\"1\" 2 3)] x", "INPROGRESS (\"a]\\\"1\" 2 3)", " x"},
    {"[a\"b] c", "a\"b", " c"},
    {"[] c", "", " c"},
    {"[ALERT text\r\n]", NULL, NULL},
    {"ALERT]", NULL, NULL},
    {"", NULL, NULL},
};

static void test_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof code_rows / sizeof code_rows[0]; i++) {
        const struct value_row *row = &code_rows[i];
        struct imap_cursor cursor = cursor_of(row->text);
        struct span code;
        assert_int_equal(imap_take_code(&cursor, &code), row->value != NULL);
        assert_span(imap_rest(&cursor), row->value ? row->rest : row->text);
        if (row->value)
            assert_span(code, row->value);
    }
}

struct write_row {
    struct span text;
    const char *astring;
    const char *nstring;
};

static const struct write_row write_rows[] = {
    {SPAN_LIT("INBOX"), "INBOX", "\"INBOX\""},
    {SPAN_LIT(""), "\"\"", "\"\""},
    {SPAN_LIT("nil"), "\"nil\"", "\"nil\""},
    {SPAN_LIT("123"), "\"123\"", "\"123\""},
    {SPAN_LIT("12a"), "12a", "\"12a\""},
    {SPAN_LIT("a b"), "\"a b\"", "\"a b\""},
    {SPAN_LIT("a%"), "\"a%\"", "\"a%\""},
    {SPAN_LIT("[Gmail]/All"), "\"[Gmail]/All\"", "\"[Gmail]/All\""},
    {SPAN_LIT("a\"b\\"), "\"a\\\"b\\\\\"", "\"a\\\"b\\\\\""},
    {SPAN_LIT("\"\"\"\""), "\"\\\"\\\"\\\"\\\"\"", "\"\\\"\\\"\\\"\\\"\""},
    {SPAN_LIT("\"\"\"\"\\"), "\"\\\"\\\"\\\"\\\"\\\\\"", "{5}\r\n\"\"\"\"\\"},
    {SPAN_LIT("a\r\nb"), "{4+}\r\na\r\nb", "{4}\r\na\r\nb"},
    {SPAN_LIT("j\xc3\xbcrgen"), "{7+}\r\nj\xc3\xbcrgen", "{7}\r\nj\xc3\xbcrgen"},
    {SPAN_LIT("tab\there"), "\"tab\there\"", "\"tab\there\""},
};

static void test_writing(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    for (size_t i = 0; i < sizeof write_rows / sizeof write_rows[0]; i++) {
        const struct write_row *row = &write_rows[i];
        buf_clear(&out);
        assert_int_equal(imap_add_astring(&out, row->text, false), ERR_OK);
        assert_string_equal(out.data, row->astring);

        struct imap_cursor cursor = cursor_of(out.data);
        struct imap_string string;
        struct buf back;
        buf_init(&back, 100);
        assert_true(imap_take_astring(&cursor, &string));
        assert_int_equal(imap_string_add(&string, &back), ERR_OK);
        assert_true(span_is_equal(buf_span(&back), row->text));
        buf_fini(&back);

        buf_clear(&out);
        assert_int_equal(imap_add_nstring(&out, row->text), ERR_OK);
        assert_string_equal(out.data, row->nstring);
    }
    buf_clear(&out);
    assert_int_equal(imap_add_nstring(&out, SPAN_NONE), ERR_OK);
    assert_string_equal(out.data, "NIL");
    buf_clear(&out);
    assert_int_equal(imap_add_astring(&out, SPAN_LIT("\xff"), true), ERR_OK);
    assert_string_equal(out.data, "{1}\r\n\xff");
    buf_clear(&out);
    assert_int_equal(imap_add_nstring(&out, SPAN_LIT("a\0b")), ERR_OK);
    assert_true(span_is_equal(buf_span(&out), SPAN_LIT("{3}\r\na\0b")));
    buf_fini(&out);
}

static void test_writing_bounded(void **state)
{
    (void)state;
    for (size_t max = 0; max < 8; max++) {
        struct buf out;
        buf_init(&out, max);
        assert_int_equal(imap_add_nstring(&out, SPAN_LIT("abcdef")), ERR_LIMIT * (max < 8));
        assert_int_equal(out.len, 0);
        assert_int_equal(imap_add_nstring(&out, SPAN_LIT("\xff\xff\xff")), ERR_LIMIT);
        assert_int_equal(out.len, 0);
        buf_fini(&out);
    }
}

static void test_mailbox(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(imap_mailbox_normalise(SPAN_LIT("iNbOx"), &out), ERR_OK);
    assert_int_equal(imap_mailbox_normalise(SPAN_LIT("/Inbox"), &out), ERR_OK);
    assert_string_equal(out.data, "INBOX/Inbox");
    buf_fini(&out);
}

static void test_mailbox_encode(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"INBOX", "INBOX"},
                                           {"", ""},
                                           {"a&b", "a&-b"},
                                           {"Entw\xc3\xbcrfe", "Entw&APw-rfe"},
                                           {"Gr\xc3\xbc\xc3\x9f/x\xc3\xbc", "Gr&APwA3w-/x&APw-"},
                                           /* RFC 3501 §5.1.3 */
                                           {"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
                                            "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
                                           {"\xf0\x9f\x98\x80\x7f", "&2D3eAAB,-"},
                                           {"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", "&IKwgrCCs-"},
                                           {"bad\xff&", "bad\xff&"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf out;
        buf_init(&out, 100);
        assert_int_equal(imap_mailbox_encode(span_of(names[i][0]), &out), ERR_OK);
        assert_true(span_is_equal(buf_span(&out), span_of(names[i][1])));
        buf_fini(&out);
        buf_init(&out, 2);
        if (strlen(names[i][1]) > 2)
            assert_int_equal(imap_mailbox_encode(span_of(names[i][0]), &out), ERR_LIMIT);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mailbox_encode),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_string_bounds),
        cmocka_unit_test(test_literals_elsewhere),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_long_nonsense),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_writing_bounded),
        cmocka_unit_test(test_mailbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

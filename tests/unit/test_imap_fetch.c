#include "imap/fetch.h"

#include "tests/unit/failing_malloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_span(struct span span, const char *expected)
{
    assert_int_equal(span.len, strlen(expected));
    if (span.len > 0)
        assert_memory_equal(span.ptr, expected, span.len);
}

static enum err parse(const char *text, struct imap_fetch *fetch)
{
    struct imap_cursor cursor;
    imap_cursor_init_text(&cursor, span_of(text));
    return imap_fetch_parse(&cursor, fetch);
}

/* Labels and plain forms of all items, with "|" between them. */
static void assert_items(const char *text, const char *labels, const char *raws)
{
    struct imap_fetch fetch;
    struct buf seen;
    buf_init(&seen, 10000);
    assert_int_equal(parse(text, &fetch), ERR_OK);
    for (size_t i = 0; i < fetch.len; i++)
        assert_int_equal(
            buf_addf(&seen, "%s%.*s", i > 0 ? "|" : "", (int)fetch.items[i].label.len, fetch.items[i].label.ptr),
            ERR_OK);
    assert_string_equal(seen.data, labels);
    buf_clear(&seen);
    for (size_t i = 0; i < fetch.len; i++)
        assert_int_equal(
            buf_addf(&seen, "%s%.*s", i > 0 ? "|" : "", (int)fetch.items[i].raw.len, fetch.items[i].raw.ptr), ERR_OK);
    assert_string_equal(seen.data, raws);
    buf_fini(&seen);
    imap_fetch_fini(&fetch);
}

/* The labels are those of Dovecot 2.3.19's answers. */
static void test_labels(void **state)
{
    (void)state;
    assert_items("FLAGS\r\n", "FLAGS", "FLAGS");
    assert_items("(UID flags rfc822.Size)\r\n", "UID|FLAGS|RFC822.SIZE", "UID|flags|rfc822.Size");
    assert_items("( FLAGS  UID )\r\n", "FLAGS|UID", "FLAGS|UID");
    assert_items("(FLAGS flags ENVELOPE FLAGS)\r\n", "FLAGS|ENVELOPE", "FLAGS|ENVELOPE");
    assert_items("(EMAILID THREADID emailid)\r\n", "EMAILID|THREADID", "EMAILID|THREADID");
    assert_items("(BODY BODY[] BODY[])\r\n", "BODY|BODY[]|BODY[]", "BODY|BODY[]|BODY[]");
    assert_items("fast\r\n", "FLAGS|INTERNALDATE|RFC822.SIZE", "FLAGS|INTERNALDATE|RFC822.SIZE");
    assert_items("ALL\r\n", "FLAGS|INTERNALDATE|RFC822.SIZE|ENVELOPE", "FLAGS|INTERNALDATE|RFC822.SIZE|ENVELOPE");
    assert_items("FULL (CHANGEDSINCE 1)\r\n", "FLAGS|INTERNALDATE|RFC822.SIZE|ENVELOPE|BODY",
                 "FLAGS|INTERNALDATE|RFC822.SIZE|ENVELOPE|BODY");
    assert_items("body.peek[header]<2.5>\r\n", "BODY[HEADER]<2>", "body.peek[header]<2.5>");
    assert_items("BODY[1.2.Mime]<2>\r\n", "BODY[1.2.MIME]<2>", "BODY[1.2.Mime]<2>");
    assert_items("BODY.PEEK[HEADER.FIELDS (From \"To\" x-a from)]\r\n", "BODY[HEADER.FIELDS (FROM \"TO\" X-A FROM)]",
                 "BODY.PEEK[HEADER.FIELDS (From \"To\" x-a from)]");
    assert_items("(BODY.PEEK[1.header.fields.not  (a  b )]<0.9> UID)\r\n", "BODY[1.HEADER.FIELDS.NOT (A B)]<0>|UID",
                 "BODY.PEEK[1.header.fields.not  (a  b )]<0.9>|UID");
    assert_items("BODY.PEEK[HEADER.FIELDS (\"a\\\"b\" \"x y\" \"\")]\r\n",
                 "BODY[HEADER.FIELDS (\"A\\\"B\" \"X Y\" \"\")]", "BODY.PEEK[HEADER.FIELDS (\"a\\\"b\" \"x y\" \"\")]");
    assert_items("(UID BODY.PEEK[HEADER.FIELDS ({4+}\r\nFrom b)]<1.7> FLAGS)\r\n",
                 "UID|BODY[HEADER.FIELDS (\"FROM\" B)]<1>|FLAGS",
                 "UID|BODY.PEEK[HEADER.FIELDS (\"FROM\" B)]<1.7>|FLAGS");
    assert_items("BODY[HEADER.FIELDS ({5}\r\na\r\n\xff\")]<1>\r\n", "BODY[HEADER.FIELDS (\"A\\\"\")]<1>",
                 "BODY[HEADER.FIELDS (\"A\\\"\")]<1>");
}

struct need_row {
    const char *text;
    bool has_uid, needs_view, sets_seen, needs_body;
};

static const struct need_row need_rows[] = {
    {"(FLAGS INTERNALDATE MODSEQ X-GM-LABELS)", false, false, false, false},
    {"UID", true, false, false, false},
    {"RFC822.SIZE", false, true, false, false},
    {"ENVELOPE", false, true, false, false},
    {"BODY", false, true, false, false},
    {"BODYSTRUCTURE", false, true, false, false},
    {"BODY[]", false, true, true, true},
    {"BODY.PEEK[]", false, true, false, true},
    {"BODY.PEEK[1]", false, true, false, true},
    {"BODY[HEADER]", false, true, true, false},
    {"BODY.PEEK[HEADER.FIELDS (a)]", false, true, false, false},
    {"BODY.PEEK[HEADER.FIELDS.NOT (a)]", false, true, false, false},
    {"BODY.PEEK[1.HEADER]", false, true, false, true},
    {"BODY.PEEK[TEXT]", false, true, false, true},
    {"RFC822", false, true, true, true},
    {"RFC822.HEADER", false, true, false, false},
    {"RFC822.TEXT", false, true, true, true},
    {"FULL", false, true, false, false},
};

static void test_needs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof need_rows / sizeof need_rows[0]; i++) {
        const struct need_row *row = &need_rows[i];
        struct imap_fetch fetch;
        assert_int_equal(parse(row->text, &fetch), ERR_OK);
        assert_int_equal(fetch.has_uid, row->has_uid);
        assert_int_equal(fetch.needs_view, row->needs_view);
        assert_int_equal(fetch.sets_seen, row->sets_seen);
        assert_int_equal(fetch.needs_body, row->needs_body);
        imap_fetch_fini(&fetch);
    }
}

static void test_sections(void **state)
{
    (void)state;
    struct imap_fetch fetch;
    assert_int_equal(parse("(BODY.PEEK[1.22.3.TEXT]<5.6> BODY[]<7> BODY[HEADER.FIELDS (a \"b\")])", &fetch), ERR_OK);
    assert_int_equal(fetch.len, 3);
    const struct imap_section *section = &fetch.items[0].section;
    assert_true(fetch.items[0].is_peek);
    assert_int_equal(section->numbers_len, 3);
    assert_int_equal(section->numbers[1], 22);
    assert_int_equal(section->text, IMAP_TEXT_TEXT);
    assert_true(section->is_partial);
    assert_int_equal(section->offset, 5);
    assert_int_equal(section->count, 6);
    section = &fetch.items[1].section;
    assert_false(fetch.items[1].is_peek);
    assert_int_equal(section->text, IMAP_TEXT_ALL);
    assert_int_equal(section->offset, 7);
    assert_true(section->count == UINT64_MAX);
    section = &fetch.items[2].section;
    assert_false(section->is_partial);
    assert_int_equal(section->fields_len, 2);
    assert_span(section->fields[0].raw, "a");
    assert_int_equal(section->fields[1].kind, IMAP_QUOTED);
    imap_fetch_fini(&fetch);
}

struct wrong_row {
    const char *text;
    enum err err;
};

static const struct wrong_row wrong_rows[] = {
    {"", ERR_COMMAND_SYNTAX},
    {"()", ERR_COMMAND_SYNTAX},
    {"(FLAGS", ERR_COMMAND_SYNTAX},
    {"(FLAGS))", ERR_COMMAND_SYNTAX},
    {"FLAGS UID", ERR_COMMAND_SYNTAX},
    {"\"FLAGS\"", ERR_COMMAND_SYNTAX},
    {"((FLAGS))", ERR_COMMAND_SYNTAX},
    {"(FLAGS)x", ERR_COMMAND_SYNTAX},
    {"(BODY[]BODY[])", ERR_COMMAND_SYNTAX},
    {"(FLAGS ALL)", ERR_COMMAND_UNKNOWN},
    {"(FAST)", ERR_COMMAND_UNKNOWN},
    {"BINARY.PEEK[1]", ERR_COMMAND_UNKNOWN},
    {"BINARY.SIZE[1]", ERR_COMMAND_UNKNOWN},
    {"(UID PREVIEW)", ERR_COMMAND_UNKNOWN},
    {"(PREVIEW (LAZY))", ERR_COMMAND_UNKNOWN},
    {"SNIPPET", ERR_COMMAND_UNKNOWN},
    {"X-GUID", ERR_COMMAND_UNKNOWN},
    {"RFC822.PEEK", ERR_COMMAND_UNKNOWN},
    {"RFC822[1]", ERR_COMMAND_SYNTAX},
    {"UID[1]", ERR_COMMAND_SYNTAX},
    {"BODY.PEEK", ERR_COMMAND_SYNTAX},
    {"BODYSTRUCTURE[1]", ERR_COMMAND_SYNTAX},
    {"BODY[", ERR_COMMAND_SYNTAX},
    {"BODY[1", ERR_COMMAND_SYNTAX},
    {"BODY[1.]", ERR_COMMAND_SYNTAX},
    {"BODY[.1]", ERR_COMMAND_SYNTAX},
    {"BODY[1..2]", ERR_COMMAND_SYNTAX},
    {"BODY[MIME]", ERR_COMMAND_SYNTAX},
    {"BODY[TEXT.1]", ERR_COMMAND_SYNTAX},
    {"BODY[1.TEXT.MIME]", ERR_COMMAND_SYNTAX},
    {"BODY[4294967296]", ERR_COMMAND_SYNTAX},
    {"BODY[HEADER.FIELDS]", ERR_COMMAND_SYNTAX},
    {"BODY[HEADER.FIELDS ()]", ERR_COMMAND_SYNTAX},
    {"BODY[HEADER.FIELDS (a (b))]", ERR_COMMAND_SYNTAX},
    {"BODY[HEADER (a)]", ERR_COMMAND_SYNTAX},
    {"BODY[HEADER.FIELDS (a)", ERR_COMMAND_SYNTAX},
    {"BODY[HEADER.FIELDS (a]", ERR_COMMAND_SYNTAX},
    {"BODY[HEADER.FIELDS (a) ]", ERR_COMMAND_SYNTAX},
    {"BODY[]<>", ERR_COMMAND_SYNTAX},
    {"BODY[]<1", ERR_COMMAND_SYNTAX},
    {"BODY[]<1.>", ERR_COMMAND_SYNTAX},
    {"BODY[]<1.2>x", ERR_COMMAND_SYNTAX},
    {"BODY[]<99999999999999999999.1>", ERR_COMMAND_SYNTAX},
    {"FLAGS (CHANGEDSINCE)", ERR_COMMAND_SYNTAX},
    {"FLAGS (CHANGEDSINCE x)", ERR_COMMAND_SYNTAX},
    {"FLAGS (PARTIAL 1:2)", ERR_COMMAND_SYNTAX},
    {"FLAGS (CHANGEDSINCE 1) x", ERR_COMMAND_SYNTAX},
    {"FLAGS CHANGEDSINCE", ERR_COMMAND_SYNTAX},
    {"FLAGS (CHANGEDSINCE 1", ERR_COMMAND_SYNTAX},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_rows / sizeof wrong_rows[0]; i++) {
        struct imap_fetch fetch;
        assert_int_equal(parse(wrong_rows[i].text, &fetch), wrong_rows[i].err);
        assert_int_equal(fetch.len, 0);
    }
}

static void test_modifiers(void **state)
{
    (void)state;
    struct imap_fetch fetch;
    assert_int_equal(parse("FLAGS", &fetch), ERR_OK);
    assert_null(fetch.modifiers.ptr);
    imap_fetch_fini(&fetch);
    assert_int_equal(parse("(FLAGS)  (CHANGEDSINCE 12 vanished)\r\n", &fetch), ERR_OK);
    assert_span(fetch.modifiers, "(CHANGEDSINCE 12 vanished)");
    assert_true(fetch.has_changedsince && fetch.has_vanished);
    assert_int_equal(fetch.changedsince, 12);
    imap_fetch_fini(&fetch);
    assert_int_equal(parse("FLAGS ()", &fetch), ERR_OK);
    assert_false(fetch.has_changedsince || fetch.has_vanished);
    imap_fetch_fini(&fetch);
}

static void test_limits(void **state)
{
    (void)state;
    struct imap_fetch fetch;
    struct buf text;
    buf_init(&text, 100000);
    for (size_t i = 0; i <= IMAP_FETCH_ITEMS_MAX; i++)
        assert_int_equal(buf_add_string(&text, i > 0 ? " BODY[1]" : "(BODY[1]"), ERR_OK);
    assert_int_equal(buf_add_string(&text, ")"), ERR_OK);
    assert_int_equal(parse(text.data, &fetch), ERR_LIMIT);
    memcpy(text.data + text.len - 9, ")        ", 9);
    assert_int_equal(parse(text.data, &fetch), ERR_OK);
    assert_int_equal(fetch.len, IMAP_FETCH_ITEMS_MAX);
    imap_fetch_fini(&fetch);

    buf_clear(&text);
    for (size_t i = 0; i <= IMAP_SECTION_DEPTH_MAX; i++)
        assert_int_equal(buf_add_string(&text, i > 0 ? ".1" : "BODY[1"), ERR_OK);
    assert_int_equal(buf_add_string(&text, "]"), ERR_OK);
    assert_int_equal(parse(text.data, &fetch), ERR_LIMIT);

    buf_clear(&text);
    for (size_t i = 0; i <= 1000; i++)
        assert_int_equal(buf_add_string(&text, i > 0 ? " a" : "BODY[HEADER.FIELDS (a"), ERR_OK);
    assert_int_equal(buf_add_string(&text, ")]"), ERR_OK);
    assert_int_equal(parse(text.data, &fetch), ERR_LIMIT);
    buf_fini(&text);
}

/* ---- answers ---- */

static enum err answers_of(const char *text, struct imap_answer *answers, size_t *len)
{
    struct imap_cursor cursor;
    imap_cursor_init_text(&cursor, span_of(text));
    return imap_fetch_answers(&cursor, answers, len);
}

static void test_answers(void **state)
{
    (void)state;
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    size_t len;
    assert_int_equal(
        answers_of("(UID 3 FLAGS (\\Seen $x) BODY[HEADER.FIELDS (\"A ]\" B)]<0> {3}\r\nx)y X-GM-LABELS ())\r\n",
                   answers, &len),
        ERR_OK);
    assert_int_equal(len, 4);
    assert_span(answers[0].label, "UID");
    assert_span(answers[0].value, "3");
    assert_span(answers[1].value, "(\\Seen $x)");
    assert_span(answers[2].label, "BODY[HEADER.FIELDS (\"A ]\" B)]<0>");
    assert_span(answers[2].value, "{3}\r\nx)y");
    assert_span(answers[3].value, "()");
    assert_span(imap_answer_find(answers, len, "flags"), "(\\Seen $x)");
    assert_null(imap_answer_find(answers, len, "FLAG").ptr);
    assert_int_equal(answers_of("()\r\n", answers, &len), ERR_OK);
    assert_int_equal(len, 0);
}

static void test_wrong_answers(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "UID 3\r\n",
        "(UID)\r\n",
        "(UID 3\r\n",
        "(UID 3))\r\n",
        "(UID 3) x\r\n",
        "((UID) 3)\r\n",
        "(\"UID\" 3)\r\n",
        "({3}\r\nUID 3)\r\n",
        "(UID  3)\r\n",
        "(UID 3 FLAGS (a)\r\n",
    };
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    size_t len;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(answers_of(wrong[i], answers, &len), ERR_MALFORMED);

    struct buf text;
    buf_init(&text, 10000);
    for (size_t i = 0; i <= IMAP_ANSWERS_MAX; i++)
        assert_int_equal(buf_add_string(&text, i > 0 ? " A 1" : "(A 1"), ERR_OK);
    assert_int_equal(buf_add_string(&text, ")"), ERR_OK);
    assert_int_equal(answers_of(text.data, answers, &len), ERR_LIMIT);
    buf_fini(&text);
}

static enum err gather(struct buf *list, const char *text)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    size_t len;
    assert_int_equal(answers_of(text, answers, &len), ERR_OK);
    return imap_answers_gather(list, answers, len);
}

/* What came last stands, in whatever case it is named; what fails leaves all as it was. */
static void test_gathered(void **state)
{
    (void)state;
    struct buf list;
    buf_init(&list, 80);
    assert_int_equal(gather(&list, "()"), ERR_OK);
    assert_int_equal(list.len, 0);
    assert_int_equal(gather(&list, "(UID 3)"), ERR_OK);
    assert_string_equal(list.data, "(UID 3)");
    assert_int_equal(gather(&list, "()"), ERR_OK);
    assert_string_equal(list.data, "(UID 3)");
    assert_int_equal(gather(&list, "(BODY[1]<0> {5}\r\n)(\"\r\n FLAGS ())"), ERR_OK);
    assert_int_equal(gather(&list, "(flags (\\Seen))"), ERR_OK);
    assert_string_equal(list.data, "(UID 3 BODY[1]<0> {5}\r\n)(\"\r\n flags (\\Seen))");
    assert_int_equal(gather(&list, "(X 1234567890123456789012345678901234567890)"), ERR_LIMIT);
    assert_string_equal(list.data, "(UID 3 BODY[1]<0> {5}\r\n)(\"\r\n flags (\\Seen))");
    buf_clear(&list);
    assert_int_equal(buf_add_string(&list, "(UID"), ERR_OK);
    assert_int_equal(gather(&list, "(UID 4)"), ERR_MALFORMED);
    assert_string_equal(list.data, "(UID");
    buf_fini(&list);
}

static bool gather_short_of_memory(void *context)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct buf list;
    size_t len;
    buf_init(&list, 80);
    assert_int_equal(answers_of(context, answers, &len), ERR_OK);
    enum err err = imap_answers_gather(&list, answers, len);
    assert_true(err == ERR_OK || (err == ERR_MEMORY && list.len == 0));
    buf_fini(&list);
    return err == ERR_OK;
}

static void test_content(void **state)
{
    (void)state;
    static const char *const content[] = {"BODY[]<0>", "body",      "BODYSTRUCTURE", "RFC822", "RFC822.size",
                                          "ENVELOPE",  "BINARY[1]", "PREVIEW",       "SNIPPET"};
    static const char *const other[] = {"UID", "FLAGS", "MODSEQ", "INTERNALDATE", "X-GM-LABELS", "EMAILID"};
    for (size_t i = 0; i < sizeof content / sizeof content[0]; i++)
        assert_true(imap_answer_is_content(&(struct imap_answer){.label = span_of(content[i])}));
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        assert_false(imap_answer_is_content(&(struct imap_answer){.label = span_of(other[i])}));
}

static bool parse_short_of_memory(void *context)
{
    struct imap_fetch fetch;
    enum err err = parse(context, &fetch);
    if (err != ERR_OK) {
        assert_int_equal(err, ERR_MEMORY);
        assert_int_equal(fetch.len, 0);
        return false;
    }
    assert_int_equal(fetch.len, 3);
    imap_fetch_fini(&fetch);
    return true;
}

static void test_short_of_memory(void **state)
{
    (void)state;
    static char text[] = "(BODY[HEADER.FIELDS (a \"b\" c d e)] BODY.PEEK[1.HEADER.FIELDS ({1+}\r\na)]<0.1> UID)\r\n";
    failing_malloc_run(parse_short_of_memory, text);
    static char answers[] = "(UID 3 FLAGS (a))";
    failing_malloc_run(gather_short_of_memory, answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),   cmocka_unit_test(test_needs),           cmocka_unit_test(test_sections),
        cmocka_unit_test(test_wrong),    cmocka_unit_test(test_modifiers),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_answers),  cmocka_unit_test(test_wrong_answers),   cmocka_unit_test(test_content),
        cmocka_unit_test(test_gathered), cmocka_unit_test(test_short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "mime/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Collects "display|address" lines, so that a case is a value and the text it must give. */
struct found {
    struct buf lines;
    size_t count, stop_at;
};

static enum err note(const struct mime_addr *addr, void *context)
{
    struct found *found = context;
    if (++found->count == found->stop_at)
        return ERR_ADDRESS_SYNTAX;
    if (addr->display.ptr != NULL) {
        assert_int_equal(buf_add_span(&found->lines, addr->display), ERR_OK);
        assert_int_equal(buf_add_byte(&found->lines, '|'), ERR_OK);
    }
    assert_int_equal(buf_add_string(&found->lines, addr->address), ERR_OK);
    return buf_add_byte(&found->lines, '\n');
}

static void expect_span(struct span value, enum err err, const char *lines)
{
    struct found found = {.count = 0};
    /* A copy of the exact size lets the sanitizer see any reading past the end. */
    char *exact = malloc(value.len == 0 ? 1 : value.len);
    assert_non_null(exact);
    memcpy(exact, value.ptr, value.len);
    buf_init(&found.lines, 1 << 20);
    enum err got = mime_addr_walk((struct span){exact, value.len}, note, &found);
    if (got != err || strcmp(found.lines.data, lines) != 0)
        print_error("value: %.*s\n", (int)value.len, value.ptr);
    assert_string_equal(found.lines.data, lines);
    assert_int_equal(got, err);
    buf_fini(&found.lines);
    free(exact);
}

struct address_case {
    const char *value, *lines;
};

static void expect_all(const struct address_case *cases, size_t count, enum err err)
{
    for (size_t i = 0; i < count; i++)
        expect_span(span_of(cases[i].value), err, cases[i].lines);
}

#define EXPECT_ALL(cases, err) expect_all(cases, sizeof(cases) / sizeof *(cases), err)

static void test_plain_mailboxes(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"", ""},
        {" \t ", ""},
        {"a@b", "a@b\n"},
        {"alice@Example.ORG", "alice@example.org\n"},
        {"Alice.Liddell@example.org", "Alice.Liddell@example.org\n"},
        {"<a@b>", "a@b\n"},
        {" < a@b > ", "a@b\n"},
        {"Alice <a@b>", "Alice|a@b\n"},
        {"Alice Liddell <a@b>", "Alice Liddell|a@b\n"},
        {"Alice<a@b>", "Alice|a@b\n"},
        {"A. L. Liddell <a@b>", "A. L. Liddell|a@b\n"},
        {"\"Liddell, Alice\" <a@b>", "\"Liddell, Alice\"|a@b\n"},
        {"\"Liddell; Alice: <x@y>\" <a@b>", "\"Liddell; Alice: <x@y>\"|a@b\n"},
        {"\"q\\\"uo, te\" <a@b>", "\"q\\\"uo, te\"|a@b\n"},
        {"=?utf-8?Q?J=C3=BCrgen=2C?= <j@b>", "=?utf-8?Q?J=C3=BCrgen=2C?=|j@b\n"},
        {"o'neil+tag=x/y@b.example", "o'neil+tag=x/y@b.example\n"},
        {"a_b@under_score.example", "a_b@under_score.example\n"},
        {"Jürgen Müller <j@b>", "Jürgen Müller|j@b\n"},
        {"Foo [Bar] <a@b>", "Foo [Bar]|a@b\n"},
    };
    EXPECT_ALL(cases, ERR_OK);
}

static void test_lists_and_groups(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"a@b, c@d", "a@b\nc@d\n"},
        {"a@b,c@d,<e@f>,G <g@h>", "a@b\nc@d\ne@f\nG|g@h\n"},
        {",, a@b, ,c@d,", "a@b\nc@d\n"},
        {"a@b,\r\n c@d,\r\n\te@f", "a@b\nc@d\ne@f\n"},
        {"a@b,\n c@d", "a@b\nc@d\n"},
        {"friends: a@b, C <c@d>;", "a@b\nC|c@d\n"},
        {"friends: a@b;, e@f", "a@b\ne@f\n"},
        {"x@y, g1: a@b; , \"g, 2\": c@d;, z@z", "x@y\na@b\nc@d\nz@z\n"},
        {"undisclosed-recipients:;", ""},
        {"undisclosed-recipients: ;", ""},
        {"undisclosed-recipients:", ""},
        {"Undisclosed recipients:;", ""},
        {"g: (nobody) ,, ;", ""},
        {"g: a@b", "a@b\n"},
        {"g: a@b; (the end)", "a@b\n"},
    };
    EXPECT_ALL(cases, ERR_OK);
}

static void test_comments(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"a@b (Alice)", "a@b\n"},
        {"(x) a@b", "a@b\n"},
        {"a (one) @ (two (nested (deep))) b", "a@b\n"},
        {"a@b (<c@d>)", "a@b\n"},
        {"a@b (, c@d)", "a@b\n"},
        {"(c@d) Alice (e@f) <a@b> (g@h)", "Alice|a@b\n"},
        {"Al (c) ice <a@b>", "Al (c) ice|a@b\n"},
        {"a@b (par\\)en, x@y), c@d", "a@b\nc@d\n"},
        {"a@b (\"), c@d, (\")", "a@b\nc@d\n"},
        {"a@b (folded\r\n comment), c@d", "a@b\nc@d\n"},
        {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|pete@silly.test\n"},
    };
    EXPECT_ALL(cases, ERR_OK);
}

static void test_local_parts(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"\"alice\"@b", "alice@b\n"},
        {"\"al\\ice\"@b", "alice@b\n"},
        {"\"al ice\"@b", "\"al ice\"@b\n"},
        {"\"a@c\"@b", "\"a@c\"@b\n"},
        {"\"a\\\"c\"@b", "\"a\\\"c\"@b\n"},
        {"\"a\\\\c\"@b", "\"a\\\\c\"@b\n"},
        {"\"a,b\"@c, d@e", "\"a,b\"@c\nd@e\n"},
        {"a.\"b\".c@d", "a.b.c@d\n"},
        {"a . b @ c . d", "a.b@c.d\n"},
        {"a..b@c", "\"a..b\"@c\n"},
        {"a.@c", "\"a.\"@c\n"},
        {"\"a..b\"@c", "\"a..b\"@c\n"},
        {"δοκιμή@b", "δοκιμή@b\n"},
        {"\"δοκιμή\"@b", "δοκιμή@b\n"},
    };
    EXPECT_ALL(cases, ERR_OK);
}

static void test_domains(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"a@BÜCHER.example", "a@xn--bcher-kva.example\n"},
        {"a@bücher.example", "a@xn--bcher-kva.example\n"},
        {"a@bu\xCC\x88"
         "cher.example",
         "a@xn--bcher-kva.example\n"},
        {"a@XN--BCHER-KVA.Example", "a@xn--bcher-kva.example\n"},
        {"a@straße.example", "a@xn--strae-oqa.example\n"},
        {"a@例え.テスト", "a@xn--r8jz45g.xn--zckzah\n"},
        {"a@[127.0.0.1]", "a@[127.0.0.1]\n"},
        {"<a@[IPv6:2001:DB8::1]>", "a@[ipv6:2001:db8::1]\n"},
        {"a@[IPv6:2001:DB8::1], c@d", "a@[ipv6:2001:db8::1]\nc@d\n"},
        {"a@[IPv6:::1] <c@d>", "a@[IPv6:::1]|c@d\n"},
        {"g [1]: a@b;", "a@b\n"},
        {"g [1: a@b;", "a@b\n"},
    };
    EXPECT_ALL(cases, ERR_OK);
}

static void test_obsolete_routes(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"<@r1.example:a@b>", "a@b\n"},
        {"Mary <@r1.example,@r2.example:a@b>", "Mary|a@b\n"},
        {"<@r1, @r2 (x) , : a@b>, c@d", "a@b\nc@d\n"},
    };
    static const struct address_case bad[] = {{"<@r1 a@b>", ""}, {"<@r1,a@b>", ""}, {"<@:a@b>", ""}, {"@r1:a@b", ""}};
    EXPECT_ALL(cases, ERR_OK);
    EXPECT_ALL(bad, ERR_MALFORMED);
}

/* Whatever stands before angle brackets is a name, never a second sender. */
static void test_forged_names_are_no_addresses(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"a@b <c@d>", "a@b|c@d\n"},
        {"boss@example.org <thief@example.net>", "boss@example.org|thief@example.net\n"},
        {"\"boss@example.org\" <thief@example.net>", "\"boss@example.org\"|thief@example.net\n"},
        {"\"<boss@example.org>\" <thief@example.net>", "\"<boss@example.org>\"|thief@example.net\n"},
        {"\"boss@example.org,\" <thief@example.net>", "\"boss@example.org,\"|thief@example.net\n"},
        {"boss@example.org (<) <thief@example.net>", "boss@example.org|thief@example.net\n"},
        {"x@y (a) z@w <c@d>", "x@y (a) z@w|c@d\n"},
    };
    EXPECT_ALL(cases, ERR_OK);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"alice", ""},
        {"@b", ""},
        {"a@", ""},
        {"<>", ""},
        {"<a>", ""},
        {"Alice <>", ""},
        {"<a@b", ""},
        {"a@b>", ""},
        {"<<a@b>>", ""},
        {"<a@b> <c@d>", ""},
        {"<a@b> c@d", ""},
        {"<a@b>c", ""},
        {"a@b c@d", ""},
        {"a b@c", ""},
        {"\"a\"b@c", ""},
        {"a@b@c", ""},
        {"a@b..c", ""},
        {"a@b.", ""},
        {"a@.b", ""},
        {"a@b!c", ""},
        {"a@[", ""},
        {"a@[]", ""},
        {"a@[x@y]", ""},
        {"a@[1.2.3.4]x", ""},
        {"\"\"@b", ""},
        {"\"a@b", ""},
        {"\"a\\", ""},
        {"(", ""},
        {"a@b (", ""},
        {"a@b ((x)", ""},
        {")a@b", ""},
        {"a\\b <c@d>", ""},
        {"x@y: a@b;", ""},
        {": a@b;", ""},
        {";", ""},
        {"a@b\r\n", ""},
        {"a\tb@c", ""},
        {"a@b ok, c", ""},
        {"a@\xFF", ""},
        {"\xC3@b", ""},
        {"\xC0\xAF@b", ""},
        {"\xED\xA0\x80@b", ""},
        {"a@b\xEF\xBC\xA0"
         "c",
         ""},
        {"a@\xE3\x80\x82", ""},
    };
    static const struct address_case after_some[] = {
        {"a@b, c", "a@b\n"},         {"a@b, c@d e@f", "a@b\n"},     {"a@b; c@d", ""},
        {"g: a@b; c@d", "a@b\n"},    {"g: a@b, h: c@d;;", "a@b\n"}, {"g: a@b;;", "a@b\n"},
        {"a@b, (unclosed", "a@b\n"},
    };
    EXPECT_ALL(cases, ERR_MALFORMED);
    EXPECT_ALL(after_some, ERR_MALFORMED);
}

/* A header must not grow a line, or end a C string, through an address. */
static void test_control_bytes(void **state)
{
    (void)state;
    static const struct span values[] = {
        SPAN_LIT("a\0b@c"),
        SPAN_LIT("a@b\0"),
        SPAN_LIT("a@b\0.example"),
        SPAN_LIT("\"a\0\"@b"),
        SPAN_LIT("x\0y <a@b>"),
        SPAN_LIT("\"x\0y\" <a@b>"),
        SPAN_LIT("(x\0y) a@b"),
        SPAN_LIT("\0"),
        SPAN_LIT("\"a\r\nb\" <a@b>"),
        SPAN_LIT("a\r\n@b"),
        SPAN_LIT("\"a\rb\"@c"),
        SPAN_LIT("\"a\nb\" <a@b>"),
        SPAN_LIT("\"a\\\r\n b\" <a@b>"),
        SPAN_LIT("(a\rb) a@b"),
        SPAN_LIT("a\r b@c"),
        SPAN_LIT("<a@b\r\nBcc: c@d>"),
        SPAN_LIT("a@[1\0]"),
        SPAN_LIT("\"a\\\0\"@b"),
        SPAN_LIT("\"a\r\n b\"@c"),
        SPAN_LIT("\"a\x1b\"@c"),
        SPAN_LIT("a@b\x7f"),
        SPAN_LIT("\"a\x7f\"@b"),
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        expect_span(values[i], ERR_MALFORMED, "");
    expect_span(span_of("\"folded\r\n name\" <a@b>"), ERR_OK, "\"folded\r\n name\"|a@b\n");
}

static void test_the_caller_can_stop(void **state)
{
    (void)state;
    struct found found = {.stop_at = 2};
    buf_init(&found.lines, 1000);
    assert_int_equal(mime_addr_walk(span_of("a@b, c@d, e@f"), note, &found), ERR_ADDRESS_SYNTAX);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.lines.data, "a@b\n");
    buf_fini(&found.lines);
}

static enum err count_only(const struct mime_addr *addr, void *context)
{
    (void)addr;
    ++*(size_t *)context;
    return ERR_OK;
}

static void test_number_is_bounded(void **state)
{
    (void)state;
    struct buf value;
    size_t count = 0;
    buf_init(&value, 1 << 20);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_add_string(&value, "a@b,"), ERR_OK);
    assert_int_equal(mime_addr_walk(buf_span(&value), count_only, &count), ERR_OK);
    assert_int_equal(count, 10000);
    assert_int_equal(buf_add_string(&value, "a@b"), ERR_OK);
    count = 0;
    assert_int_equal(mime_addr_walk(buf_span(&value), count_only, &count), ERR_LIMIT);
    assert_int_equal(count, 10000);
    buf_fini(&value);
}

static void test_depth_of_comments_costs_no_stack(void **state)
{
    (void)state;
    size_t depth = 500000, count = 0;
    char *value = malloc(2 * depth + 3);
    assert_non_null(value);
    memset(value, '(', depth);
    memset(value + depth, ')', depth);
    memcpy(value + 2 * depth, "a@b", 3);
    assert_int_equal(mime_addr_walk((struct span){value, 2 * depth + 3}, count_only, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(mime_addr_walk((struct span){value, 2 * depth - 1}, count_only, &count), ERR_MALFORMED);
    free(value);
}

/* No prefix of a value is read as something that the whole is not: each gives the same addresses, fewer, or cut short
 * ones. */
static void test_every_prefix_is_safe(void **state)
{
    (void)state;
    static const char whole[] =
        "g: \"a, b\" <@r:c@d.example>, (x (y)) \"q\\\"\"@[1.2.3.4];, =?utf-8?q?x?= <j@b\xC3\xBC.example>";
    for (size_t len = 0; len < sizeof whole; len++) {
        char *prefix = malloc(len + 1);
        size_t count = 0;
        assert_non_null(prefix);
        memcpy(prefix, whole, len);
        enum err err = mime_addr_walk((struct span){prefix, len}, count_only, &count);
        assert_true(err == ERR_OK || err == ERR_MALFORMED);
        assert_true(count <= 3);
        free(prefix);
    }
}

static void expect_normal(struct span addr_spec, const char *normal)
{
    char address[MIME_ADDR_SIZE];
    enum err err = mime_addr_normalise(addr_spec, address);
    if (err != (normal == NULL ? ERR_ADDRESS_SYNTAX : ERR_OK))
        print_error("address: %.*s\n", (int)addr_spec.len, addr_spec.ptr);
    assert_int_equal(err, normal == NULL ? ERR_ADDRESS_SYNTAX : ERR_OK);
    assert_string_equal(address, normal == NULL ? "" : normal);
}

static void test_normalise(void **state)
{
    (void)state;
    expect_normal(span_of("Alice@Example.ORG"), "Alice@example.org");
    expect_normal(span_of("\"Alice\"@Example.ORG"), "Alice@example.org");
    expect_normal(span_of("\"a b\"@x"), "\"a b\"@x");
    expect_normal(span_of("a@bücher.example"), "a@xn--bcher-kva.example");
    static const struct span bad[] = {
        SPAN_LIT(""),
        SPAN_LIT("a"),
        SPAN_LIT("@"),
        SPAN_LIT("a@"),
        SPAN_LIT("@b"),
        SPAN_LIT(" a@b"),
        SPAN_LIT("a@b "),
        SPAN_LIT("<a@b>"),
        SPAN_LIT("a@b,c@d"),
        SPAN_LIT("a(x)@b"),
        SPAN_LIT("a @b"),
        SPAN_LIT("a@b\r\n"),
        SPAN_LIT("a@b\r\n c"),
        SPAN_LIT("a\0@b"),
        SPAN_LIT("a@b\0"),
        SPAN_LIT("A <a@b>"),
        SPAN_LIT("a@b>"),
        SPAN_LIT("a@b@c"),
        SPAN_LIT("\"a\r\n b\"@c"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_normal(bad[i], NULL);
}

static void test_lengths(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'x', sizeof text);
    text[64] = '@';
    char address[MIME_ADDR_SIZE];
    assert_int_equal(mime_addr_normalise((struct span){text, 65 + 255}, address), ERR_OK);
    assert_int_equal(strlen(address), 320);
    assert_int_equal(mime_addr_normalise((struct span){text, 65 + 256}, address), ERR_ADDRESS_SYNTAX);
    text[64] = 'x';
    text[65] = '@';
    assert_int_equal(mime_addr_normalise((struct span){text, 67}, address), ERR_ADDRESS_SYNTAX);
    /* 62 bytes that need quotes fill the 64; the quotes count. */
    memset(text, 'x', sizeof text);
    memcpy(text, "\" ", 2);
    memcpy(text + 63, "\"@b", 3);
    assert_int_equal(mime_addr_normalise((struct span){text, 66}, address), ERR_OK);
    memcpy(text + 63, "x\"@b", 4);
    assert_int_equal(mime_addr_normalise((struct span){text, 67}, address), ERR_ADDRESS_SYNTAX);
}

static void test_compare(void **state)
{
    (void)state;
    assert_true(mime_addr_is_same("Alice@example.org", "alice@EXAMPLE.org"));
    assert_false(mime_addr_is_same("alice@example.org", "alice@example.or"));
    assert_false(mime_addr_is_same("\xC3\xA4@b", "\xC3\x84@b"));
    assert_string_equal(mime_addr_domain("a@b"), "b");
    assert_string_equal(mime_addr_domain("\"a@c\"@b"), "b");
    assert_string_equal(mime_addr_domain("nothing"), "");
}

static void test_patterns(void **state)
{
    (void)state;
    assert_true(mime_addr_matches("a@b", "*"));
    assert_true(mime_addr_matches("a@example.org", "A@Example.org"));
    assert_false(mime_addr_matches("a@example.org", "b@example.org"));
    assert_true(mime_addr_matches("a@example.org", "*@example.ORG"));
    assert_false(mime_addr_matches("a@sub.example.org", "*@example.org"));
    assert_false(mime_addr_matches("a@notexample.org", "*@example.org"));
    assert_true(mime_addr_matches("a@sub.example.org", "*@*.example.org"));
    assert_true(mime_addr_matches("a@x.sub.example.org", "*@*.example.org"));
    assert_false(mime_addr_matches("a@example.org", "*@*.example.org"));
    assert_false(mime_addr_matches("a@notexample.org", "*@*.example.org"));
    assert_false(mime_addr_matches("a@.example.org", "*@*.example.org"));
    assert_true(mime_addr_matches("\"x@y\"@example.org", "*@example.org"));
    assert_false(mime_addr_matches("\"a@example.org\"@evil.example", "*@example.org"));
    assert_false(mime_addr_matches("a@b", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_mailboxes),
        cmocka_unit_test(test_lists_and_groups),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_local_parts),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_obsolete_routes),
        cmocka_unit_test(test_forged_names_are_no_addresses),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_control_bytes),
        cmocka_unit_test(test_the_caller_can_stop),
        cmocka_unit_test(test_number_is_bounded),
        cmocka_unit_test(test_depth_of_comments_costs_no_stack),
        cmocka_unit_test(test_every_prefix_is_safe),
        cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

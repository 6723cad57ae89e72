#include "base/buf.h"
#include "mime/part.h"
#include "tests/unit/mime_tree.h"
#include "tests/unit/trickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static enum err feed(struct span piece, void *context)
{
    return mime_parser_feed(context, piece);
}

static enum err parse_in_steps(struct span message, size_t step, struct mime_limits limits, struct mime_tree **tree_out)
{
    struct mime_parser *parser;
    enum err result;

    *tree_out = NULL;
    assert_int_equal(mime_parser_new(limits, &parser), ERR_OK);
    result = trickle(message, step, feed, parser);
    if (result == ERR_OK)
        result = mime_parser_end(parser, tree_out);
    mime_parser_free(&parser);
    assert_null(parser);
    return result;
}

/* Parses whole, byte by byte and in odd pieces; all must agree with each other and with the invariants. */
static struct mime_tree *parse(struct span message)
{
    struct mime_tree *whole, *pieces;
    const char *wrong;

    assert_int_equal(mime_parse(message, MIME_LIMITS_DEFAULT, &whole), ERR_OK);
    wrong = tree_check(whole, message);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    for (size_t step = 1; step <= 7; step += 2) {
        assert_int_equal(parse_in_steps(message, step, MIME_LIMITS_DEFAULT, &pieces), ERR_OK);
        assert_true(tree_is_same(whole, pieces));
        mime_tree_free(&pieces);
        assert_null(pieces);
    }
    return whole;
}

/* type/subtype, then [body] of a leaf, {children} of a multipart, <child> of a message; "!" unclosed, "^" preamble, "$"
   epilogue. */
static void describe(const struct mime_part *part, struct span message, struct buf *out)
{
    struct span body = mime_part_body(part, message);

    assert_int_equal(buf_addf(out, "%s/%s", part->type, part->subtype), ERR_OK);
    if (part->kind == MIME_LEAF) {
        assert_int_equal(buf_addf(out, "[%.*s]", (int)body.len, body.ptr), ERR_OK);
        return;
    }
    assert_int_equal(buf_addf(out, "%s%s%s%s", part->kind == MIME_MESSAGE ? "<" : "{", part->has_preamble ? "^" : "",
                              part->has_epilogue ? "$" : "",
                              part->kind == MIME_MULTIPART && !part->is_closed ? "!" : ""),
                     ERR_OK);
    for (const struct mime_part *child = part->first_child; child != NULL; child = child->next) {
        if (child != part->first_child)
            assert_int_equal(buf_add_byte(out, ' '), ERR_OK);
        describe(child, message, out);
    }
    assert_int_equal(buf_add_byte(out, part->kind == MIME_MESSAGE ? '>' : '}'), ERR_OK);
}

static void assert_tree(const char *hazard, struct span message, const char *expected)
{
    struct mime_tree *tree = parse(message);
    struct buf text;

    buf_init(&text, 1 << 20);
    describe(tree->root, message, &text);
    if (strcmp(text.data, expected) != 0)
        fail_msg("%s: read as %s, not %s", hazard, text.data, expected);
    buf_fini(&text);
    mime_tree_free(&tree);
}

#define MULTIPART(kind, boundary) "Content-Type: multipart/" kind "; boundary=" boundary "\r\n\r\n"
#define MIXED MULTIPART("mixed", "b")

/* One row: a hazard, and how it is read. */
struct reading {
    const char *hazard;
    struct span message;
    const char *expected;
};

static const struct reading readings[] = {
    {"nothing", SPAN_LIT(""), "text/plain[]"},
    {"no header", SPAN_LIT("\r\nbody\r\n"), "text/plain[body\r\n]"},
    {"header without body", SPAN_LIT("Subject: x\r\n"), "text/plain[]"},
    {"header without line end", SPAN_LIT("Content-Type: text/html"), "text/html[]"},
    {"no MIME at all", SPAN_LIT("Subject: x\r\n\r\nhello\r\n"), "text/plain[hello\r\n]"},
    {"LF only", SPAN_LIT("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n"),
     "multipart/mixed{text/plain[one] text/plain[two]}"},
    {"LF and CRLF mixed", SPAN_LIT("Content-Type: multipart/mixed; boundary=b\n\r\n--b\r\n\none\r\n--b--\n"),
     "multipart/mixed{text/plain[one]}"},
    {"two parts", SPAN_LIT(MIXED "--b\r\n\r\none\r\n\r\n--b\r\nContent-Type: Text/HTML\r\n\r\ntwo\r\n--b--\r\n"),
     "multipart/mixed{text/plain[one\r\n] text/html[two]}"},
    {"preamble and epilogue", SPAN_LIT(MIXED "pre\r\n--b\r\n\r\none\r\n--b--\r\npost\r\n"),
     "multipart/mixed{^$text/plain[one]}"},
    {"line ends are no preamble", SPAN_LIT(MIXED "\r\n\r\n--b\r\n\r\none\r\n--b--\r\n\r\n\r\n"),
     "multipart/mixed{text/plain[one]}"},
    {"boundary in the epilogue", SPAN_LIT(MIXED "--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n"),
     "multipart/mixed{$text/plain[one]}"},
    {"missing closing boundary", SPAN_LIT(MIXED "--b\r\n\r\none\r\n"), "multipart/mixed{!text/plain[one\r\n]}"},
    {"closing boundary without line end", SPAN_LIT(MIXED "--b\r\n\r\none\r\n--b--"),
     "multipart/mixed{text/plain[one]}"},
    {"cut in the boundary", SPAN_LIT(MIXED "--b\r\n\r\none\r\n--"), "multipart/mixed{!text/plain[one\r\n--]}"},
    {"cut after the boundary", SPAN_LIT(MIXED "--b"), "multipart/mixed{!text/plain[]}"},
    {"blanks after the boundary", SPAN_LIT(MIXED "--b \t \r\n\r\none\r\n--b-- \t\r\n"),
     "multipart/mixed{text/plain[one]}"},
    {"blank before the boundary", SPAN_LIT(MIXED "--b\r\n\r\none\r\n --b\r\n--b--\r\n"),
     "multipart/mixed{text/plain[one\r\n --b]}"},
    {"blanks within the closing boundary", SPAN_LIT(MIXED "--b\r\n\r\none\r\n--b --\r\n--b--\r\n"),
     "multipart/mixed{text/plain[one\r\n--b --]}"},
    {"CR CR LF after the boundary", SPAN_LIT(MIXED "--b\r\n\r\none\r\n--b\r\r\n--b--\r\n"),
     "multipart/mixed{text/plain[one\r\n--b\r]}"},
    {"line that begins like the boundary", SPAN_LIT(MIXED "--b\r\n\r\none\r\n--bc\r\n--b-\r\n--b---\r\n--b--\r\n"),
     "multipart/mixed{text/plain[one\r\n--bc\r\n--b-\r\n--b---]}"},
    {"NUL after the boundary", SPAN_LIT(MIXED "--b\r\n\r\none\r\n--b\0\r\n--b--\r\n"),
     "multipart/mixed{text/plain[one\r\n--b]}" /* the NUL ends the text at hand */},
    {"empty parts", SPAN_LIT(MIXED "--b\r\n--b\r\n\r\n--b\r\n\r\n\r\n--b\r\nX: y\r\n--b--\r\n"),
     "multipart/mixed{text/plain[] text/plain[] text/plain[] text/plain[]}"},
    {"header broken off by the boundary", SPAN_LIT(MIXED "--b\r\nContent-Type: text/html\r\n--b--\r\n"),
     "multipart/mixed{text/html[]}"},
    {"no boundary parameter", SPAN_LIT("Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\none\r\n--b--\r\n"),
     "multipart/mixed[--b\r\n\r\none\r\n--b--\r\n]"},
    {"empty boundary", SPAN_LIT(MULTIPART("mixed", "\"\"") "--\r\n\r\none\r\n----\r\n"),
     "multipart/mixed[--\r\n\r\none\r\n----\r\n]"},
    {"boundary that never comes", SPAN_LIT(MIXED "text\r\n"), "multipart/mixed[text\r\n]"},
    {"closing boundary alone", SPAN_LIT(MIXED "--b--\r\ntext"), "multipart/mixed[--b--\r\ntext]"},
    {"boundary that ends in blanks", SPAN_LIT(MULTIPART("mixed", "\"b  \"") "--b\r\n\r\none\r\n--b  --\r\n--b--\r\n"),
     "multipart/mixed{text/plain[one\r\n--b  --]}"},
    {"first of two boundaries", SPAN_LIT(MULTIPART("mixed", "b; boundary=c") "--c\r\n\r\n--b\r\n\r\none\r\n--b--\r\n"),
     "multipart/mixed{^text/plain[one]}"},
    {"first of two types", SPAN_LIT("Content-Type: text/html\r\nContent-Type: text/css\r\n\r\nx"), "text/html[x]"},
    {"type that cannot be read", SPAN_LIT("Content-Type: text\r\n\r\nx"), "text/plain[x]"},
    {"8bit boundary", SPAN_LIT(MULTIPART("mixed", "\"\xC3\xA9\"") "--\xC3\xA9\r\n\r\none\r\n--\xC3\xA9--\r\n"),
     "multipart/mixed{text/plain[one]}"},
};

#define NESTED(outer, inner)                                                                                           \
    MULTIPART("mixed", outer) "--" outer "\r\n" MULTIPART("alternative", inner) "--" inner "\r\n\r\n1"

static const struct reading nested[] = {
    {"nested", SPAN_LIT(NESTED("b", "c") "\r\n--c\r\n\r\n2\r\n--c--\r\n\r\n--b\r\n\r\n3\r\n--b--\r\n"),
     "multipart/mixed{multipart/alternative{text/plain[1] text/plain[2]} text/plain[3]}"},
    {"closing boundary right before the outer one", SPAN_LIT(NESTED("b", "c") "\r\n--c--\r\n--b--\r\n"),
     "multipart/mixed{multipart/alternative{text/plain[1]}}"},
    {"inner one never closed", SPAN_LIT(NESTED("b", "c") "\r\n--b\r\n\r\n2\r\n--b--\r\n"),
     "multipart/mixed{multipart/alternative{!text/plain[1]} text/plain[2]}"},
    {"inner boundary begins like the outer",
     SPAN_LIT(NESTED("b", "bc") "\r\n--bc\r\n\r\n2\r\n--bc--\r\n--b\r\n\r\n3\r\n--b--"),
     "multipart/mixed{multipart/alternative{text/plain[1] text/plain[2]} text/plain[3]}"},
    {"outer boundary begins like the inner",
     SPAN_LIT(NESTED("bc", "b") "\r\n--b\r\n\r\n2\r\n--b--\r\n--bc\r\n\r\n3\r\n--bc--"),
     "multipart/mixed{multipart/alternative{text/plain[1] text/plain[2]} text/plain[3]}"},
    {"inner boundary is the outer's closing one", SPAN_LIT(NESTED("b", "b--") "\r\n--b----\r\n--b--\r\n"),
     "multipart/mixed{multipart/alternative{text/plain[1]}}"},
    {"the same boundary twice", SPAN_LIT(NESTED("b", "b") "\r\n--b--\r\n--b\r\n\r\n2\r\n--b--\r\n"),
     "multipart/mixed{multipart/alternative{text/plain[1]} text/plain[2]}"},
    {"outer boundary before any inner one",
     SPAN_LIT(MIXED "--b\r\n" MULTIPART("alternative", "c") "\r\n--b\r\n\r\n2\r\n--b--\r\n"),
     "multipart/mixed{multipart/alternative[] text/plain[2]}"},
    {"outer boundary right after an inner one",
     SPAN_LIT(MIXED "--b\r\n" MULTIPART("alternative", "c") "--c\r\n--b--\r\n"),
     "multipart/mixed{multipart/alternative{!text/plain[]}}"},
    {"message", SPAN_LIT("Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nhello\r\n"),
     "message/rfc822<text/plain[hello\r\n]>"},
    {"message/global", SPAN_LIT("Content-Type: message/global\r\n\r\nSubject: x\r\n\r\nhello\r\n"),
     "message/global<text/plain[hello\r\n]>"},
    {"message in message", SPAN_LIT("Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n\r\nhi"),
     "message/rfc822<message/rfc822<text/plain[hi]>>"},
    {"empty message", SPAN_LIT("Content-Type: message/rfc822\r\n\r\n"), "message/rfc822<text/plain[]>"},
    {"message cut in its header", SPAN_LIT("Content-Type: message/rfc822"), "message/rfc822<text/plain[]>"},
    {"encoded message", SPAN_LIT("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"),
     "message/rfc822[AAAA]"},
    {"multipart in message in multipart",
     SPAN_LIT(MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n" MULTIPART("mixed", "c") "--c\r\n\r\n1\r\n--b--\r\n"),
     "multipart/mixed{message/rfc822<multipart/mixed{!text/plain[1]}>}"},
    {"message whose header the boundary breaks off",
     SPAN_LIT(MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n--b--\r\n"),
     "multipart/mixed{message/rfc822<text/plain[]>}"},
    {"message that the boundary breaks off before its header",
     SPAN_LIT(MIXED "--b\r\nContent-Type: message/rfc822\r\n--b--"), "multipart/mixed{message/rfc822<text/plain[]>}"},
    {"digest",
     SPAN_LIT(MULTIPART("digest", "b") "--b\r\n\r\nSubject: 1\r\n\r\none\r\n--b\r\n\r\n\r\ntwo\r\n--b\r\n--b--\r\n"),
     "multipart/digest{message/rfc822<text/plain[one]> message/rfc822<text/plain[two]> "
     "message/rfc822<text/plain[]>}"},
    {"digest with types",
     SPAN_LIT(MULTIPART("digest", "b") "--b\r\nContent-Type: text/html\r\n\r\n1\r\n--b\r\nContent-Type: "
                                       "nonsense\r\n\r\n2\r\n--b--\r\n"),
     "multipart/digest{text/html[1] text/plain[2]}"},
};

static void assert_readings(const struct reading *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_tree(rows[i].hazard, rows[i].message, rows[i].expected);
}

static void reads_single_level(void **state)
{
    (void)state;
    assert_readings(readings, sizeof readings / sizeof *readings);
}

static void reads_nested(void **state)
{
    (void)state;
    assert_readings(nested, sizeof nested / sizeof *nested);
}

/* The whole of a small message, offset by offset. */
static void gives_offsets(void **state)
{
    const struct span message = SPAN_LIT("Content-Type: multipart/mixed; boundary=b\r\n\r\n" /* 45 */
                                         "--b\r\n"                                           /* 50 */
                                         "Content-Transfer-Encoding: Base64\r\n\r\n"         /* 87 */
                                         "AAAA\r\n\r\n--b--\r\n");                           /* 102 */
    struct mime_tree *tree = parse(message);
    const struct mime_part *root = tree->root, *leaf = root->first_child;

    (void)state;
    assert_int_equal(tree->parts_len, 2);
    assert_int_equal(root->body_at, 45);
    assert_int_equal(root->body_end, 102);
    assert_int_equal(root->header_lines, 2);
    assert_int_equal(root->body_lines, 6);
    assert_string_equal(root->boundary, "b");
    assert_int_equal(leaf->header_at, 50);
    assert_int_equal(leaf->body_at, 87);
    assert_int_equal(leaf->body_end, 93);
    assert_int_equal(leaf->body_lines, 1);
    assert_int_equal(leaf->encoding, MIME_BASE64);
    assert_int_equal(leaf->body_flags, 0);
    assert_true(mime_part_is(leaf, "text", "plain"));
    assert_true(mime_part_is(leaf, "text", NULL));
    assert_false(mime_part_is(leaf, "text", "html"));
    assert_true(span_is_equal(mime_part_body(leaf, message), SPAN_LIT("AAAA\r\n")));
    assert_true(span_is_equal(mime_part_whole(root, message), message));
    assert_ptr_equal(mime_part_after(root), leaf);
    assert_null(mime_part_after(leaf));
    mime_tree_free(&tree);
}

static void flags_what_bytes_hold(void **state)
{
    static const struct {
        struct span body;
        unsigned flags;
    } rows[] = {
        {SPAN_LIT(""), 0},
        {SPAN_LIT("text\r\n"), 0},
        {SPAN_LIT("text"), MIME_HAS_NO_FINAL_CRLF},
        {SPAN_LIT("0123456\xFF"
                  "890123456789\r\n"),
         MIME_HAS_8BIT},
        {SPAN_LIT("0123456789012345\0\r\n"), MIME_HAS_NUL},
        {SPAN_LIT("\0\r\n"), MIME_HAS_NUL},
        {SPAN_LIT("a\rb\r\n"), MIME_HAS_BARE_CR},
        {SPAN_LIT("a\r\r\n"), MIME_HAS_BARE_CR},
        {SPAN_LIT("a\r"), MIME_HAS_BARE_CR | MIME_HAS_NO_FINAL_CRLF},
        {SPAN_LIT("a\r\n\r"), MIME_HAS_BARE_CR | MIME_HAS_NO_FINAL_CRLF},
        {SPAN_LIT("a\nb\r\n"), MIME_HAS_BARE_LF},
        {SPAN_LIT("a \r\n"), MIME_HAS_TRAILING_BLANK},
        {SPAN_LIT("a\t\n"), MIME_HAS_TRAILING_BLANK | MIME_HAS_BARE_LF},
        {SPAN_LIT("a "), MIME_HAS_TRAILING_BLANK | MIME_HAS_NO_FINAL_CRLF},
        {SPAN_LIT("a\r\nFrom here\r\n"), MIME_HAS_FROM_LINE},
        {SPAN_LIT("From: here\r\n From there\r\nfrom here\r\n"), 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf message;
        struct mime_tree *tree;

        buf_init(&message, 1000);
        assert_int_equal(buf_add_string(&message, "A: b\r\n\r\n"), ERR_OK);
        assert_int_equal(buf_add_span(&message, rows[i].body), ERR_OK);
        tree = parse(buf_span(&message));
        assert_int_equal(tree->root->header_flags, 0);
        assert_int_equal(tree->root->body_flags, rows[i].flags);
        mime_tree_free(&tree);
        buf_fini(&message);
    }
}

static void flags_long_lines(void **state)
{
    (void)state;
    for (size_t len = 997; len <= 1000; len++) {
        struct buf message;
        struct mime_tree *tree;

        buf_init(&message, 10000);
        assert_int_equal(buf_add_string(&message, MIXED "--b\r\n\r\n"), ERR_OK);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(buf_add_byte(&message, 'x'), ERR_OK);
        assert_int_equal(buf_add_string(&message, "\r\n--b--\r\n"), ERR_OK);
        tree = parse(buf_span(&message));
        assert_int_equal((tree->root->first_child->body_flags & MIME_HAS_LONG_LINE) != 0, len > 998);
        assert_int_equal((tree->root->body_flags & MIME_HAS_LONG_LINE) != 0, len > 998);
        mime_tree_free(&tree);
        buf_fini(&message);
    }
}

/* The line end before a boundary is the boundary's, and so are its faults. */
static void line_end_of_boundary_belongs_to_parent(void **state)
{
    const struct span message = SPAN_LIT(MIXED "--b\r\n\r\none\n--b--\r\n");
    struct mime_tree *tree = parse(message);

    (void)state;
    assert_int_equal(tree->root->first_child->body_flags, MIME_HAS_NO_FINAL_CRLF);
    assert_int_equal(tree->root->body_flags, MIME_HAS_BARE_LF);
    mime_tree_free(&tree);
}

/* A boundary of every length around the longest, also after more blanks than are kept. */
static void reads_long_boundaries(void **state)
{
    (void)state;
    for (size_t len = MIME_BOUNDARY_MAX - 2; len <= MIME_BOUNDARY_MAX + 2; len++) {
        char boundary[MIME_BOUNDARY_MAX + 3];
        struct buf message;
        struct mime_tree *tree;

        memset(boundary, 'b', len);
        boundary[len] = '\0';
        buf_init(&message, 10000);
        assert_int_equal(buf_addf(&message, MULTIPART("mixed", "%s") "--%s%300s\r\n\r\none\r\n--%sb\r\n--%s--%300s\r\n",
                                  boundary, boundary, "", boundary, boundary, ""),
                         ERR_OK);
        tree = parse(buf_span(&message));
        assert_int_equal(tree->root->kind, len <= MIME_BOUNDARY_MAX ? MIME_MULTIPART : MIME_LEAF);
        assert_int_equal(tree->root->is_closed, len <= MIME_BOUNDARY_MAX);
        mime_tree_free(&tree);
        buf_fini(&message);
    }
}

static void assert_limit(struct span message, struct mime_limits limits, enum err expected)
{
    struct mime_tree *tree;

    assert_int_equal(mime_parse(message, limits, &tree), expected);
    mime_tree_free(&tree);
    assert_int_equal(parse_in_steps(message, 1, limits, &tree), expected);
    mime_tree_free(&tree);
}

static void holds_limits(void **state)
{
    const struct span three = SPAN_LIT(MIXED "--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--\r\n");
    const struct span deep = SPAN_LIT("Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n\r\nhi");
    const struct span header = SPAN_LIT("Subject: 12345\r\n\r\n");
    const struct span endless = SPAN_LIT("Subject: 1234567890");
    const struct span boundary = SPAN_LIT(MIXED "--b\r\n--b--                                             \r\n");

    (void)state;
    assert_limit(three, (struct mime_limits){3, 9, 999}, ERR_OK);
    assert_limit(three, (struct mime_limits){2, 9, 999}, ERR_LIMIT);
    assert_limit(deep, (struct mime_limits){9, 2, 999}, ERR_OK);
    assert_limit(deep, (struct mime_limits){9, 1, 999}, ERR_LIMIT);
    assert_limit(header, (struct mime_limits){9, 9, 18}, ERR_OK);
    assert_limit(header, (struct mime_limits){9, 9, 17}, ERR_LIMIT);
    assert_limit(endless, (struct mime_limits){9, 9, 18}, ERR_LIMIT);
    assert_limit(boundary, (struct mime_limits){9, 9, 48}, ERR_LIMIT);
}

/* What was made before a limit was met is given back (seen by the leak sanitizer). */
static void gives_up_in_the_middle(void **state)
{
    struct mime_parser *parser;

    (void)state;
    assert_int_equal(mime_parser_new(MIME_LIMITS_DEFAULT, &parser), ERR_OK);
    assert_int_equal(mime_parser_feed(parser, SPAN_LIT(NESTED("b", "c") "\r\n--c\r\nSubj")), ERR_OK);
    mime_parser_free(&parser);
    assert_null(parser);
    mime_parser_free(&parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_single_level),     cmocka_unit_test(reads_nested),
        cmocka_unit_test(gives_offsets),          cmocka_unit_test(flags_what_bytes_hold),
        cmocka_unit_test(flags_long_lines),       cmocka_unit_test(line_end_of_boundary_belongs_to_parent),
        cmocka_unit_test(reads_long_boundaries),  cmocka_unit_test(holds_limits),
        cmocka_unit_test(gives_up_in_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

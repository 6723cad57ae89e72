/*
 * The answers are Dovecot 2.3.19's; tests/interop/content_dovecot.py compares many more.
 */
#include "imap/content.h"

#include "failing_malloc.h"

#include <stdio.h>
#include <string.h>

#define OUT_MAX ((size_t)1 << 20)

struct row {
    const char *text, *expected;
};

static void assert_envelope(const char *header, const char *expected)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(imap_envelope_add(span_of(header), &out), ERR_OK);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
}

/* Rows with one address field as To. */
static void assert_addresses(const struct row *rows, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char header[512], expected[1024];

        (void)snprintf(header, sizeof header, "To: %s\r\n\r\n", rows[i].text);
        (void)snprintf(expected, sizeof expected, "(NIL NIL NIL NIL NIL %s NIL NIL NIL NIL)", rows[i].expected);
        assert_envelope(header, expected);
    }
}
#define ASSERT_ADDRESSES(rows) assert_addresses(rows, sizeof(rows) / sizeof *(rows))

static void envelope_has_ten_places(void **state)
{
    (void)state;
    assert_envelope("", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    assert_envelope("Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nSUBJECT: hello\r\nfrom: Alice <a@example.org>\r\n"
                    "Sender: s@example.org\r\nReply-To: r@example.org\r\nTo: b@example.net\r\nCc: c@example.net\r\n"
                    "Bcc: d@example.net\r\nIn-Reply-To: <1@x>\r\nMessage-ID: <2@x>\r\n\r\nTo: nobody@x\r\n",
                    "(\"Fri, 20 Nov 2026 12:00:00 +0000\" \"hello\" ((\"Alice\" NIL \"a\" \"example.org\")) "
                    "((NIL NIL \"s\" \"example.org\")) ((NIL NIL \"r\" \"example.org\")) "
                    "((NIL NIL \"b\" \"example.net\")) ((NIL NIL \"c\" \"example.net\")) "
                    "((NIL NIL \"d\" \"example.net\")) \"<1@x>\" \"<2@x>\")");
}

static void sender_and_reply_to_default_to_from(void **state)
{
    (void)state;
    assert_envelope("From: a@b\r\nSender: \r\n\r\n", "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
                                                     "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)");
}

static void fields_that_come_twice(void **state)
{
    (void)state;
    assert_envelope("Subject: a\r\nSubject: b\r\nTo: a@b\r\nTo: c@d\r\nDate: x\r\nDate: y\r\n\r\n",
                    "(\"y\" \"b\" NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)");
}

static void folds_and_blanks(void **state)
{
    (void)state;
    assert_envelope("Subject:  a \t b  \r\nDate:  x \r\nIn-Reply-To: a\r\n b\r\n\tc\r\nMessage-ID:\r\n <1@x>\r\n\r\n",
                    "(\"x \" {3}\r\na b NIL NIL NIL NIL NIL NIL \"a b\tc\" \" <1@x>\")");
    assert_envelope("Subject: \r\nDate:  \r\nMessage-ID:\r\nIn-Reply-To: \r\n  \r\n\r\n",
                    "(\" \" \"\" NIL NIL NIL NIL NIL NIL \"  \" \"\")");
    assert_envelope("Subject: (\r)\r\nDate: a\rb\r\n\r\n", "(\"a b\" {3}\r\n( ) NIL NIL NIL NIL NIL NIL NIL NIL)");
    assert_envelope("Subject: a\n b\nDate: c\n\n", "(\"c\" {3}\r\na b NIL NIL NIL NIL NIL NIL NIL NIL)");
}

static void strings_are_quoted_or_literal(void **state)
{
    (void)state;
    assert_envelope("Subject: a \"b\" c\r\nDate: a \"b\" \\c\r\nMessage-ID: \"a\" \"b\" \"c\"\r\n"
                    "In-Reply-To: h\xC3\xA9\r\n\r\n",
                    "(\"a \\\"b\\\" \\\\c\" {7}\r\na \"b\" c NIL NIL NIL NIL NIL NIL {3}\r\nh\xC3\xA9 {11}\r\n"
                    "\"a\" \"b\" \"c\")");
}

static void addresses_in_order(void **state)
{
    static const struct row rows[] = {
        {"a@b", "((NIL NIL \"a\" \"b\"))"},
        {"Alice <a@b>", "((\"Alice\" NIL \"a\" \"b\"))"},
        {"<a@b>", "((NIL NIL \"a\" \"b\"))"},
        {"\"Liddell, Alice\" <a@b>, c@d", "((\"Liddell, Alice\" NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},
        {"=?utf-8?q?a?= =?utf-8?q?b?= <a@b>", "((\"=?utf-8?q?a?= =?utf-8?q?b?=\" NIL \"a\" \"b\"))"},
        {"\"a \\\"b\\\"\" <x@y>", "(({5}\r\na \"b\" NIL \"x\" \"y\"))"},
        {"h\xC3\xA9 <a@h\xC3\xA9>", "(({3}\r\nh\xC3\xA9 NIL \"a\" {3}\r\nh\xC3\xA9))"},
        {"a@b (c (d) e), (c) a@b, <a@b> (c)",
         "((\"c (d) e\" NIL \"a\" \"b\")(NIL NIL \"a\" \"b\")(NIL NIL \"a\" \"b\"))"},
        {"<@r1,@r2:a@b>", "((NIL \"@r1,@r2\" \"a\" \"b\"))"},
        {"a@[1.2.3.4], \"a b\"@c", "((NIL NIL \"a\" \"[1.2.3.4]\")(NIL NIL \"a b\" \"c\"))"},
        {"a@b . c, x..y@d, .x@d, x.@d",
         "((NIL NIL \"a\" \"b.c\")(NIL NIL \"x..y\" \"d\")(NIL NIL \".x\" \"d\")(NIL NIL \"x.\" \"d\"))"},
    };

    (void)state;
    ASSERT_ADDRESSES(rows);
}

static void groups_have_a_mark_on_either_side(void **state)
{
    static const struct row rows[] = {
        {"g: a@b, c@d;, x@y", "((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")(NIL NIL NIL NIL)"
                              "(NIL NIL \"x\" \"y\"))"},
        {"undisclosed-recipients:;", "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL))"},
        {"\"a b\" c: ;", "((NIL NIL \"a b c\" NIL)(NIL NIL NIL NIL))"},
        {"g: a@b", "((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))"},
        {"g: a b;, c@d", "((NIL NIL \"g\" NIL)(\"a b\" NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")(NIL NIL NIL NIL)"
                         "(NIL NIL \"c\" \"d\"))"},
    };

    (void)state;
    ASSERT_ADDRESSES(rows);
}

static void broken_addresses_stay(void **state)
{
    static const struct row rows[] = {
        {"", "NIL"},
        {"(c)", "NIL"},
        {",", "((NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\"))"},
        {"<>", "((NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\"))"},
        {"foo", "((NIL NIL \"foo\" \"MISSING_DOMAIN\"))"},
        {"\"foo\"", "((\"foo\" NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\"))"},
        {"a b@c, x@y", "((\"a b\" NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\"))"},
        {"a@b,,c@d", "((NIL NIL \"a\" \"b\")(NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")(NIL NIL \"c\" \"d\"))"},
        {"x <a@b", "((\"x\" NIL \"a\" \"SYNTAX_ERROR\"))"},
        {"x <@:a@b>", "((\"x\" \"INVALID_ROUTE\" \"MISSING_MAILBOX\" \"SYNTAX_ERROR\"))"},
        {"a.b@c.d <e@f>", "((NIL NIL \"a.b\" \"c.d\"))"},
        {"a@b..c", "((NIL NIL \"a\" \"MISSING_DOMAIN\"))"},
        {"a@[x", "((NIL NIL \"a\" \"MISSING_DOMAIN\"))"},
        {"\"open", "((NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\"))"},
        {"a \"b\r\n c", "((\"a b\" NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\"))"},
        {"a \"b\r\n ", "((NIL NIL \"a\" \"MISSING_DOMAIN\"))"},
        {"a (b\r\n c", "((\"b\" NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\"))"},
        {"a@b \\", "((NIL NIL \"a\" \"b\"))"},
    };

    (void)state;
    ASSERT_ADDRESSES(rows);
}

/* ---- BODY and BODYSTRUCTURE ---- */

static void assert_structure(const char *message, const char *body, const char *extended)
{
    struct mime_tree *tree;
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(imap_content_parse(span_of(message), &tree), ERR_OK);
    assert_int_equal(imap_structure_add(tree->root, span_of(message), true, &out), ERR_OK);
    assert_string_equal(out.data, extended);
    buf_clear(&out);
    assert_int_equal(imap_structure_add(tree->root, span_of(message), false, &out), ERR_OK);
    if (body != NULL)
        assert_string_equal(out.data, body);
    mime_tree_free(&tree);
    buf_fini(&out);
}

static void plain_text(void **state)
{
    const char *empty = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)";

    (void)state;
    assert_structure("", NULL, empty);
    assert_structure("Subject: x", NULL, empty);
    assert_structure("\r\n", NULL, empty);
    assert_structure("Subject: x\r\n\r\na\r\nb", NULL,
                     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1 NIL NIL NIL NIL)");
    /* Dovecot keeps nothing of such a message but that it is one. */
    assert_structure("Content-Type: TEXT/Plain; CHARSET=US-ascii\r\nContent-Transfer-Encoding: 7BIT\r\n\r\n", NULL,
                     empty);
    /* Nothing says that this is MIME. */
    assert_structure("Content-Transfer-Encoding: base64\r\nContent-ID: <x>\r\n\r\n", NULL, empty);
}

static void fields_of_a_part(void **state)
{
    (void)state;
    assert_structure(
        "MIME-Version: 1.0\r\nContent-ID: <a>\r\n\t<b>\r\nContent-Description: h\xC3\xA9\r\n foo\r\n"
        "Content-Transfer-Encoding: (c) BASE64 (d)\r\nContent-MD5: abc==\r\nContent-Location: http://x/\r\n y\r\n"
        "Content-Disposition: attachment; filename=\"a\\\"b\"; size=1\r\nContent-Language: (c) de, en\r\n"
        "Content-Type: Text/x-Html; Foo=\"a b\"\r\nContent-Type: image/png\r\n\r\nx\r\n",
        "(\"Text\" \"x-Html\" (\"Foo\" \"a b\" \"charset\" \"us-ascii\") \"<a>\t<b>\" {7}\r\nh\xC3\xA9 foo \"BASE64\" "
        "3 1)",
        "(\"Text\" \"x-Html\" (\"Foo\" \"a b\" \"charset\" \"us-ascii\") \"<a>\t<b>\" {7}\r\nh\xC3\xA9 foo \"BASE64\" "
        "3 1 "
        "\"abc==\" (\"attachment\" (\"filename\" \"a\\\"b\" \"size\" \"1\")) (\"de\" \"en\") \"http://x/ y\")");
    assert_structure("MIME-Version: 1.0\r\nContent-Disposition: inline\r\nContent-Disposition: x; a=b\r\n"
                     "Content-Language: ,\r\nContent-Language: d.e\r\nContent-Transfer-Encoding: a b\r\n"
                     "Content-MD5:\r\nContent-Type: application/pdf\r\n\r\n",
                     NULL, "(\"application\" \"pdf\" NIL NIL NIL \"7bit\" 0 \"\" (\"x\" (\"a\" \"b\")) (\"d\") NIL)");
}

/* Rows of a Content-Type and what stands before the identifier. */
static void types_as_they_are(void **state)
{
    static const struct row rows[] = {
        {"text", "\"text\" \"\" (\"charset\" \"us-ascii\")"},
        {"nonsense", "\"nonsense\" \"\" NIL"},
        {"text/", "\"\" \"\" NIL"},
        {"/plain", "\"\" \"\" NIL"},
        {"", "\"\" \"\" NIL"},
        {"text/plain foo; charset=x", "\"\" \"\" NIL"},
        {"text(c)/(d)html(e);a=b", "\"text\" \"html\" (\"a\" \"b\" \"charset\" \"us-ascii\")"},
        {"multipart", "\"application\" \"octet-stream\" NIL"},
        {"multipart/mixed foo; boundary=b", "\"\" \"\" NIL"},
        {"message/global", "\"message\" \"global\" NIL"},
        {"x-a.b/c+d.e; f.g=h.i", "\"x-a.b\" \"c+d.e\" (\"f.g\" \"h.i\")"},
        {"x/y; a=b c; d=e", "\"x\" \"y\" (\"a\" \"b\" \"d\" \"e\")"},
        {"x/y; a; =b; c=; d==?x; e=\"f", "\"x\" \"y\" (\"c\" \"\" \"d\" \"=?x\")"},
        {"x/y; a=b; A=c; a=d", "\"x\" \"y\" (\"a\" \"b\" \"A\" \"c\" \"a\" \"d\")"},
        {"x/y; name=\"x\r\n\ty\"", "\"x\" \"y\" (\"name\" \"x\ty\")"},
        {"x/y; a*=us-ascii'en'b%20; b*1=x; b*0=y; c*0=a; c*2=b; d*x=1; e*0*=a%; e*1=b%; f*0=c%; f*1*=d;B*0=z",
         "\"x\" \"y\" (\"d*x\" \"1\" \"B\" \"z\" \"a*\" \"us-ascii'en'b%20\" \"b\" \"yx\" \"c*0\" \"a\" \"c*2\" \"b\" "
         "\"e*\" \"a%b%25\" \"f*\" \"''c%25d\")"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char message[512], expected[512];
        bool is_text = strncmp(rows[i].expected, "\"text\"", 6) == 0;

        (void)snprintf(message, sizeof message, "Content-Type: %s\r\n\r\n--b\r\n", rows[i].text);
        (void)snprintf(expected, sizeof expected, "(%s NIL NIL \"7bit\" 5%s NIL NIL NIL NIL)", rows[i].expected,
                       is_text ? " 1" : "");
        assert_structure(message, NULL, expected);
    }
}

static void parts_of_parts(void **state)
{
    (void)state;
    assert_structure("Content-Type: multipart/digest; boundary=a\r\nContent-Language: de\r\n\r\nbefore\r\n--a\r\n\r\n"
                     "Subject: x\r\n\r\ny\r\n--a\r\nContent-Type: text/html\r\n\r\nz\r\n--a--\r\nafter\r\n",
                     "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 15 (NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL) "
                     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 2)"
                     "(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"digest\")",
                     "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 15 (NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL) "
                     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) 2 NIL NIL "
                     "NIL NIL)(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) "
                     "\"digest\" (\"boundary\" \"a\") NIL (\"de\") NIL)");
    assert_structure("Content-Type: multipart/mixed\r\n\r\nx\r\n",
                     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")",
                     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"mixed\" "
                     "NIL NIL NIL NIL)");
}

/* ---- the map as servers make it ---- */

static void assert_body(const char *message, const char *body)
{
    struct mime_tree *tree;
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(imap_content_parse(span_of(message), &tree), ERR_OK);
    assert_int_equal(imap_structure_add(tree->root, span_of(message), false, &out), ERR_OK);
    assert_string_equal(out.data, body);
    mime_tree_free(&tree);
    buf_fini(&out);
}

#define TEXT(size) "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" " size ")"
#define MULTIPART(boundary) "Content-Type: multipart/x; boundary=\"" boundary "\"\r\n\r\n"

static void boundaries_are_beginnings_of_lines(void **state)
{
    (void)state;
    assert_body(MULTIPART("a") "--ab\r\n\r\ny\r\n--a-- \r\n--a\r\n\r\n", "(" TEXT("1 0") " \"x\")");
    assert_body(MULTIPART("") "--\r\n\r\nyy\r\n----\r\n", "(" TEXT("2 0") " \"x\")");
    /* The longest counts, unless a line is wholly that of a shorter one. */
    assert_body(MULTIPART("ab") "--ab\r\n" MULTIPART("a") "--a\r\n\r\nx\r\n--ab\r\n\r\ny\r\n--ab--\r\n",
                "((" TEXT("1 0") " \"x\")" TEXT("1 0") " \"x\")");
    assert_body(MULTIPART("a--") "--a--\r\n" MULTIPART("a") "--a\r\n\r\nx\r\n--a--\r\n\r\ny\r\n--a--x\r\n",
                "((" TEXT("1 0") " \"x\")" TEXT("0 0") " \"x\")");
    /* At the end, where its line has no end, nothing begins. */
    assert_body(MULTIPART("a") "--a\r\n\r\nx\r\n--a", "(" TEXT("1 0") " \"x\")");
    assert_body("Content-Type: multipart/x; boundary*0=a; boundary*1=b\r\n\r\n--ab\r\n\r\nx\r\n--ab--\r\n",
                "(" TEXT("1 0") " \"x\")");
}

static void line_ends_before_boundaries(void **state)
{
    (void)state;
    /* After a closing delimiter the line end stays. */
    assert_body("Content-Type: message/rfc822\r\n\r\n" MULTIPART("a") "--a\r\n" MULTIPART("b") "--b--\r\n--a--\r\n",
                "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 105 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
                "((" TEXT("0 0") " \"x\") \"x\") 7)");
    /* A header gives its last line end away. */
    assert_body(MULTIPART("a") "--a\r\nContent-Type: message/rfc822\r\n\r\nX: y\r\nZ: z\r\n--a--\r\n",
                "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 12 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) " TEXT(
                    "0 0") " 2) \"x\")");
}

/* Structures of what is over the limits are whole, and have no type that must have parts where it has none. */
static void assert_limited(const char *head, size_t count, const char *end, size_t depth)
{
    struct mime_tree *tree;
    struct buf message, out;
    size_t open = 0, deepest = 0;

    buf_init(&message, OUT_MAX);
    buf_init(&out, 8 * OUT_MAX);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_add_string(&message, head), ERR_OK);
    assert_int_equal(buf_add_string(&message, end), ERR_OK);
    assert_int_equal(imap_content_parse(buf_span(&message), &tree), ERR_OK);
    assert_int_equal(imap_structure_add(tree->root, buf_span(&message), true, &out), ERR_OK);
    for (size_t i = 0; i < out.len; i++) {
        open += out.data[i] == '(';
        open -= out.data[i] == ')';
        deepest = open > deepest ? open : deepest;
    }
    assert_int_equal(open, 0);
    assert_true(deepest <= depth + 2);
    assert_null(strstr(out.data, "\"rfc822\" NIL NIL NIL \"7bit\" 0 NIL"));
    mime_tree_free(&tree);
    buf_fini(&out);
    buf_fini(&message);
}

static void limits_leave_a_leaf(void **state)
{
    (void)state;
    assert_limited("Content-Type: message/rfc822\r\n\r\n", 300, "end\r\n", 100);
    assert_limited("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 300, "\r\nend\r\n", 100);
    assert_limited("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n", 300, "\r\nend\r\n", 100);
    assert_limited("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n", 12000,
                   "--b--\r\n", 3);
}

/* ---- sections ---- */

static struct span copy_slices(const struct imap_slices *slices, char *target, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < slices->len; i++) {
        assert_true(slices->items[i].len < size - len);
        memcpy(target + len, slices->items[i].ptr, slices->items[i].len);
        len += slices->items[i].len;
    }
    assert_int_equal(len, slices->size);
    target[len] = '\0';
    return (struct span){target, len};
}

/* `expected`: NULL if there is no such part. */
static void assert_section(const char *message, const char *item, const char *expected)
{
    struct imap_fetch fetch = {.len = 0};
    struct imap_cursor cursor;
    struct imap_slices slices;
    struct mime_tree *tree;
    const struct imap_section *section = &fetch.items[0].section;
    char text[1024];

    imap_cursor_init_text(&cursor, span_of(item));
    assert_int_equal(imap_fetch_parse(&cursor, &fetch), ERR_OK);
    assert_int_equal(imap_content_parse(span_of(message), &tree), ERR_OK);
    assert_int_equal(imap_section_find(section, tree->root, span_of(message),
                                       mime_part_header(tree->root, span_of(message)), &slices),
                     ERR_OK);
    if (section->is_partial)
        imap_slices_cut(&slices, section->offset, section->count);
    assert_int_equal(slices.exists, expected != NULL);
    (void)copy_slices(&slices, text, sizeof text);
    assert_string_equal(text, expected != NULL ? expected : "");
    imap_slices_fini(&slices);
    mime_tree_free(&tree);
    imap_fetch_fini(&fetch);
}

#define SIMPLE "From: a@b\r\nSubject: x\r\n y\r\nno field\r\nTO : c\r\n\r\nline\r\n"
#define INNER "Subject: in\r\nContent-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n"
#define OUTER                                                                                                          \
    "Content-Type: multipart/x; boundary=a\r\n\r\n--a\r\nX: 1\r\n\r\ntext\r\n--a\r\nContent-Type: message/rfc822\r\n"  \
    "\r\n" INNER "\r\n--a--\r\n"

static void sections_of_a_simple_message(void **state)
{
    static const struct row rows[] = {
        {"BODY[]", SIMPLE},
        {"BODY[HEADER]", "From: a@b\r\nSubject: x\r\n y\r\nno field\r\nTO : c\r\n\r\n"},
        {"BODY[TEXT]", "line\r\n"},
        {"BODY[1]", "line\r\n"},
        {"BODY[1.MIME]", "From: a@b\r\nSubject: x\r\n y\r\nno field\r\nTO : c\r\n\r\n"},
        {"BODY[HEADER.FIELDS (to SUBJECT)]", "Subject: x\r\n y\r\nTO : c\r\n\r\n"},
        {"BODY[HEADER.FIELDS (\"T\\o\")]", "TO : c\r\n\r\n"},
        {"BODY[HEADER.FIELDS (X)]", "\r\n"},
        {"BODY[HEADER.FIELDS.NOT (to SUBJECT)]", "From: a@b\r\nno field\r\n\r\n"},
        {"BODY[HEADER.FIELDS.NOT (X)]", "From: a@b\r\nSubject: x\r\n y\r\nno field\r\nTO : c\r\n\r\n"},
        {"BODY[2]", NULL},
        {"BODY[1.1]", NULL},
        {"BODY[1.TEXT]", NULL},
        {"BODY[1.HEADER]", NULL},
        {"BODY[1.HEADER.FIELDS (to)]", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_section(SIMPLE, rows[i].text, rows[i].expected);
}

static void sections_of_nested_parts(void **state)
{
    static const struct row rows[] = {
        {"BODY[1]", "text"},
        {"BODY[1.MIME]", "X: 1\r\n\r\n"},
        {"BODY[2]", INNER},
        {"BODY[2.MIME]", "Content-Type: message/rfc822\r\n\r\n"},
        {"BODY[2.HEADER]", "Subject: in\r\nContent-Type: multipart/x; boundary=b\r\n\r\n"},
        {"BODY[2.HEADER.FIELDS (subject)]", "Subject: in\r\n\r\n"},
        {"BODY[2.HEADER.FIELDS.NOT (subject)]", "Content-Type: multipart/x; boundary=b\r\n\r\n"},
        {"BODY[2.TEXT]", "--b\r\n\r\none\r\n--b--\r\n"},
        {"BODY[2.1]", "one"},
        {"BODY[2.1.MIME]", "\r\n"},
        {"BODY[2.1.1]", "one"}, /* what has no parts is its own first */
        {"BODY[2.1.1.1]", NULL},
        {"BODY[2.2]", NULL},
        {"BODY[3]", NULL},
        {"BODY[1.HEADER]", NULL},
        {"BODY[2.1.TEXT]", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_section(OUTER, rows[i].text, rows[i].expected);
    assert_section("Content-Type: message/rfc822\r\n\r\n" SIMPLE, "BODY[1.1]", "line\r\n");
    assert_section("Content-Type: message/rfc822\r\n\r\n" SIMPLE, "BODY[1.HEADER.FIELDS (From)]", "From: a@b\r\n\r\n");
}

static void headers_without_an_end(void **state)
{
    (void)state;
    assert_section("Subject: x\r\nTo: y\r\n", "BODY[HEADER.FIELDS (To)]", "To: y\r\n\r\n");
    assert_section("Subject: x\r\nTo: y\r\n", "BODY[HEADER.FIELDS.NOT (To)]", "Subject: x\r\n");
    assert_section("Subject: x", "BODY[HEADER]", "Subject: x");
    assert_section("Subject: x", "BODY[TEXT]", "");
}

static void pieces(void **state)
{
    (void)state;
    assert_section(SIMPLE, "BODY[]<0.4>", "From");
    assert_section(SIMPLE, "BODY[TEXT]<2.100>", "ne\r\n");
    assert_section(SIMPLE, "BODY[TEXT]<6.1>", "");
    assert_section(SIMPLE, "BODY[TEXT]<4294967295.1>", "");
    /* Across slices. */
    assert_section(SIMPLE, "BODY[HEADER.FIELDS (From To)]<8.6>", "b\r\nTO ");
    assert_section(SIMPLE, "BODY[HEADER.FIELDS (From To)]<11.2>", "TO");
    assert_section(SIMPLE, "BODY[7]<0.5>", NULL);
}

static void only_the_message_has_a_header_alone(void **state)
{
    struct imap_section section = {.text = IMAP_TEXT_HEADER};
    struct imap_slices slices;

    (void)state;
    assert_true(imap_section_is_header(&section));
    assert_int_equal(imap_section_find(&section, NULL, SPAN_NONE, SPAN_LIT("X: y\r\n\r\n"), &slices), ERR_OK);
    assert_int_equal(slices.size, 8);
    imap_slices_fini(&slices);
    section.numbers[section.numbers_len++] = 1;
    assert_false(imap_section_is_header(&section));
    section = (struct imap_section){.text = IMAP_TEXT_TEXT};
    assert_false(imap_section_is_header(&section));
}

/* ---- when memory or room is short ---- */

static enum err say_all(struct span message, struct buf *out)
{
    struct imap_section section = {.numbers = {2}, .numbers_len = 1};
    struct imap_slices slices = {0};
    struct mime_tree *tree = NULL;
    enum err result = imap_content_parse(message, &tree);

    if (result == ERR_OK)
        result = imap_envelope_add(mime_part_header(tree->root, message), out);
    if (result == ERR_OK)
        result = imap_structure_add(tree->root, message, true, out);
    if (result == ERR_OK)
        result = imap_section_find(&section, tree->root, message, SPAN_NONE, &slices);
    imap_slices_fini(&slices);
    mime_tree_free(&tree);
    return result;
}

static bool say_all_or_fail(void *context)
{
    struct buf out;
    enum err result;

    buf_init(&out, OUT_MAX);
    result = say_all(*(const struct span *)context, &out);
    assert_true(result == ERR_OK || result == ERR_MEMORY);
    buf_fini(&out);
    return result == ERR_OK;
}

static void short_memory_is_said(void **state)
{
    struct span message =
        SPAN_LIT("From: a\tb (c) <@r:a@b>, g:x@y;\r\nSubject: a\r\n b\r\nContent-Language: de\r\nContent-MD5: x\r\n"
                 "Content-Disposition: x; a*0=b; a*1*=c\r\n" OUTER);

    (void)state;
    failing_malloc_run(say_all_or_fail, &message);
}

static void room_that_is_short_is_left_as_it_was(void **state)
{
    struct mime_tree *tree;
    struct buf out;

    (void)state;
    assert_int_equal(imap_content_parse(SPAN_LIT(OUTER), &tree), ERR_OK);
    for (size_t room = 1; room < 300; room += 7) {
        buf_init(&out, room);
        assert_int_equal(buf_add_byte(&out, '*'), ERR_OK);
        assert_int_equal(imap_structure_add(tree->root, SPAN_LIT(OUTER), true, &out), ERR_LIMIT);
        assert_string_equal(out.data, "*");
        buf_fini(&out);
        buf_init(&out, room < 40 ? room : 40);
        assert_int_equal(imap_envelope_add(SPAN_LIT("Subject: something\r\n"), &out), ERR_LIMIT);
        assert_int_equal(out.len, 0);
        buf_fini(&out);
    }
    mime_tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelope_has_ten_places),
        cmocka_unit_test(sender_and_reply_to_default_to_from),
        cmocka_unit_test(fields_that_come_twice),
        cmocka_unit_test(folds_and_blanks),
        cmocka_unit_test(strings_are_quoted_or_literal),
        cmocka_unit_test(addresses_in_order),
        cmocka_unit_test(groups_have_a_mark_on_either_side),
        cmocka_unit_test(broken_addresses_stay),
        cmocka_unit_test(plain_text),
        cmocka_unit_test(fields_of_a_part),
        cmocka_unit_test(types_as_they_are),
        cmocka_unit_test(parts_of_parts),
        cmocka_unit_test(boundaries_are_beginnings_of_lines),
        cmocka_unit_test(line_ends_before_boundaries),
        cmocka_unit_test(limits_leave_a_leaf),
        cmocka_unit_test(sections_of_a_simple_message),
        cmocka_unit_test(sections_of_nested_parts),
        cmocka_unit_test(headers_without_an_end),
        cmocka_unit_test(pieces),
        cmocka_unit_test(only_the_message_has_a_header_alone),
        cmocka_unit_test(short_memory_is_said),
        cmocka_unit_test(room_that_is_short_is_left_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

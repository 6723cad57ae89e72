#include "failing_malloc.h"
#include "mime/charset.h"
#include "mime/text_internal.h"
#include "trickle.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX ((size_t)1 << 20)

/* ---- one form ---- */

static void expect_normal(const char *charset, const char *text, const char *wanted)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(buf_add_string(&out, "<"), ERR_OK);
    assert_int_equal(mime_text_normalise(span_of(text), span_of(charset), &out), ERR_OK);
    assert_string_equal(out.data + 1, wanted);
    buf_fini(&out);
}

static void test_case_and_forms(void **state)
{
    (void)state;
    expect_normal("", "", "");
    expect_normal("", "Hello, World 19\r\n\t~", "HELLO, WORLD 19\r\n\t~");
    expect_normal("utf-8", "Grüße",
                  "GRU\xCC\x88\xC3\x9F"
                  "E");
    expect_normal("", "GRÜ", "GRU\xCC\x88");
    expect_normal("", "gru\xCC\x88", "GRU\xCC\x88");
    /* One step, no more: what is left of "ấ" is "Â" and an acute accent. */
    expect_normal("", "ấ", "Â\xCC\x81");
    expect_normal("", "ﬁ ½ ㎏ Ⅷ",
                  "fi 1\xE2\x81\x84"
                  "2 kg VIII");
    expect_normal("", "ı I i İ", "I I I I\xCC\x87");
    expect_normal("", "σς", "ΣΣ");
    expect_normal("", "Ǆ ǅ ǆ", "ǅ ǅ ǅ");
    expect_normal("", "가 각", "\xE1\x84\x80\xE1\x85\xA1 \xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");
    expect_normal("", "😀", "😀");
}

static void test_charsets(void **state)
{
    (void)state;
    expect_normal("iso-8859-1", "caf\xE9", "CAFE\xCC\x81");
    expect_normal("ISO-8859-15", "\xA4", "€");
    expect_normal("koi8-r", "\xD0\xD2\xC9\xD7\xC5\xD4", "ПРИВЕТ");
    expect_normal("iso-2022-jp", "\x1B$BF|K\\\x1B(B.", "日本.");
    expect_normal("us-ascii", "gr\xC3\xBC", "GRU\xCC\x88");
    expect_normal("x-unheard-of", "gr\xC3\xBC", "GRU\xCC\x88");
    expect_normal("iso-8859-1//translit", "a", "A");
    assert_true(mime_text_has_charset(SPAN_NONE));
    assert_true(mime_text_has_charset(SPAN_LIT("utf-8")));
    assert_true(mime_text_has_charset(SPAN_LIT("US-ASCII")));
    assert_true(mime_text_has_charset(SPAN_LIT("Windows-1252")));
    assert_false(mime_text_has_charset(SPAN_LIT("x-unheard-of")));
    assert_false(mime_text_has_charset(SPAN_LIT("iso-8859-1//ignore")));
    assert_false(mime_text_has_charset(SPAN_LIT("iso-8859-99")));
    mime_charset_keep();
    mime_charset_keep();
}

#define BAD "\xEF\xBF\xBD"

static void test_what_is_no_text(void **state)
{
    (void)state;
    expect_normal("",
                  "a\xFF"
                  "b",
                  "A" BAD "B");
    expect_normal("", "a\xFF\xFE\xC3(", "A" BAD "(");
    expect_normal("", "a\xC3", "A" BAD);
    expect_normal("", "\xED\xA0\x80", BAD);
    expect_normal("shift_jis", "a\x81", "A");
    expect_normal("euc-jp",
                  "a\xFF"
                  "b",
                  "A" BAD "B");
}

struct feeding {
    struct mime_text_reader reader;
};

static enum err feed(struct span piece, void *context)
{
    return mime_text_reader_feed(&((struct feeding *)context)->reader, piece);
}

/* However the bytes are cut, the text is the same. */
static void expect_same_in_pieces(const char *charset, struct span bytes)
{
    struct buf whole, pieces;

    buf_init(&whole, OUT_MAX);
    buf_init(&pieces, OUT_MAX);
    for (size_t step = 1; step < 8; step++) {
        struct feeding one, many;

        buf_clear(&whole);
        buf_clear(&pieces);
        assert_int_equal(mime_text_reader_init(&one.reader, span_of(charset), &whole), ERR_OK);
        assert_int_equal(mime_text_reader_init(&many.reader, span_of(charset), &pieces), ERR_OK);
        assert_int_equal(mime_text_reader_feed(&one.reader, bytes), ERR_OK);
        assert_int_equal(mime_text_reader_end(&one.reader), ERR_OK);
        assert_int_equal(trickle(bytes, step, feed, &many), ERR_OK);
        assert_int_equal(mime_text_reader_end(&many.reader), ERR_OK);
        assert_true(whole.len > 0);
        assert_string_equal(whole.data, pieces.data);
        mime_text_reader_fini(&one.reader);
        mime_text_reader_fini(&many.reader);
    }
    buf_fini(&whole);
    buf_fini(&pieces);
}

static void test_pieces(void **state)
{
    (void)state;
    expect_same_in_pieces("utf-8", SPAN_LIT("Grüße, ấn 日本語 😀 \xFF\xC3 x 각"));
    expect_same_in_pieces("iso-2022-jp", SPAN_LIT("a \x1B$BF|K\\\x1B(B b \x1B$BF|\x1B(B"));
    expect_same_in_pieces("gb18030", SPAN_LIT("\xC4\xE3\xBA\xC3 \x81\x30\x9E\x37 z"));
    expect_same_in_pieces("shift_jis", SPAN_LIT("\x93\xFA\x96{ x"));
    expect_same_in_pieces("utf-16", SPAN_LIT("\xFF\xFEg\0r\0\xFC\0"));
}

/* ---- field values ---- */

static void expect_field(const char *value, const char *wanted)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(mime_text_add_value(span_of(value), &out), ERR_OK);
    assert_string_equal(out.data, wanted);
    buf_fini(&out);
}

static void test_values(void **state)
{
    (void)state;
    expect_field("plain text", "PLAIN TEXT");
    expect_field("=?utf-8?Q?J=C3=BCrgen?= x", "JU\xCC\x88RGEN X");
    expect_field("a =?utf-8?B?w7w=?= =?iso-8859-1?q?=FC_b?= c", "A U\xCC\x88U\xCC\x88 B C");
    expect_field("=?utf-8?Q?a b?=", "A B");
    expect_field("x  =?utf-8?X?abc?=", "X  =?UTF-8?X?ABC?=");
    expect_field("   =?utf-8?X?abc?=", "=?UTF-8?X?ABC?=");
    expect_field("=?", "=?");
    expect_field("=?a?q?b", "=?A?Q?B");
    expect_field("=?a?q?", "=?A?Q?");
    expect_field("=?a?q", "=?A?Q");
    expect_field("=?x-none?q?Mixed?= y", "Mixed Y");
    expect_field("=?utf-8?q?=4?= =?utf-8?q?=zz?=", "=4=ZZ");
}

static void expect_addresses(const char *value, const char *wanted)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(mime_text_add_addresses(span_of(value), &out), ERR_OK);
    assert_string_equal(out.data, wanted);
    buf_fini(&out);
}

/* As Dovecot 2.3.19 writes them; found by asking it. */
static void test_addresses(void **state)
{
    (void)state;
    expect_addresses("", "");
    expect_addresses("a@b", "<a@b>");
    expect_addresses("Alice <a@b>, c@d (Carol)", "Alice <a@b>, Carol <c@d>");
    expect_addresses("\"Smith, Bob\" <b@x>", "\"Smith, Bob\" <b@x>");
    expect_addresses("\"quo\\\"te\" <b@x>", "\"quo\\\"te\" <b@x>");
    expect_addresses("O'Brien <b@x>", "O'Brien <b@x>");
    expect_addresses("a.b <b@x>", "\"a.b\" <b@x>");
    expect_addresses("=?utf-8?q?a?= =?utf-8?q?b?= <b@x>", "=?utf-8?q?a?= =?utf-8?q?b?= <b@x>");
    expect_addresses("\"quoted local\"@x", "<\"quoted local\"@x>");
    expect_addresses("<@r,@b:x@y>", "<@r,@b:x@y>");
    expect_addresses("<\"\"@x>", "<\"\"@x>");
    expect_addresses("Team: a@b, c@d;", "Team: <a@b>, <c@d>;");
    expect_addresses("Team: ;, x@y", "Team:;, <x@y>");
    expect_addresses(":", "\"\":;");
    expect_addresses("nodomain", "<nodomain@MISSING_DOMAIN>");
    expect_addresses("a b c", "\"a b c\" <MISSING_MAILBOX@MISSING_DOMAIN>");
    expect_addresses("<>", "<MISSING_MAILBOX@MISSING_DOMAIN>");
    expect_addresses("Team: \"open, \"x\" <a@b>;", "Team: \"open,  x \" <MISSING_MAILBOX@MISSING_DOMAIN>;");
    expect_addresses("broken <x@", "broken <x@SYNTAX_ERROR>");
}

/* ---- dates ---- */

static void expect_day(const char *value, int64_t wanted)
{
    int64_t day = -1;

    assert_true(mime_text_day(span_of(value), &day));
    assert_int_equal(day, wanted);
}

static void expect_no_day(const char *value)
{
    int64_t day;

    assert_false(mime_text_day(span_of(value), &day));
}

static void test_days(void **state)
{
    (void)state;
    expect_day("Thu, 1 Jan 1970 00:00:00 +0000", 0);
    expect_day(" Fri, 21 Nov 1997 09:55:06 -0600", 10186);
    /* The day that is written, whatever its zone. */
    expect_day("21 Nov 1997 23:59:59 -1200", 10186);
    expect_day("21 Nov 1997 00:00:00 +1400", 10186);
    expect_day("21 Nov 97 0:00", 10186);
    expect_day("21 (day) November 1997 (year) 09.55 GMT (zone)", 10186);
    expect_day("29 Feb 2000 00:00", 11016);
    expect_day("1 Mar 2000 00:00", 11017);
    expect_day("31 Dec 1999 23:59:60 +0000", 10956);
    expect_day("1 Jan 1960 00:00 Z", -3653);
    expect_day("31 Dec 9999 00:00", 2932896);
    expect_no_day("");
    expect_no_day("yesterday");
    expect_no_day("29 Feb 1999 00:00");
    expect_no_day("0 Jan 1999 00:00");
    expect_no_day("1 Jan 1899 00:00");
    expect_no_day("1 Jan 199 00:00");
    expect_no_day("1 Jan 1999");
    expect_no_day("1 Jan 1999 10");
    expect_no_day("1 Jan 1999 24:00");
    expect_no_day("1 Jan 1999 1:60");
    expect_no_day("1 Jan 1999 10:00:");
    expect_no_day("Mon 1 Jan 1999 10:00");
    expect_no_day("1 Foo 1999 10:00");
    expect_no_day("1 Jan 1999 10:00 (open");
}

/* ---- whole messages ---- */

static const char MESSAGE[] = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\n"
                              "To : group: a@b, c@d;\r\n"
                              "Subject:   one\r\n\ttwo  three\r\n"
                              "Date: Fri, 21 Nov 1997 23:55:06 -0600\r\n"
                              "X-Empty:\r\n"
                              "Received: first\r\nReceived: second\r\n"
                              "no field\r\n"
                              "Content-Type: multipart/mixed; boundary=b\r\n"
                              "\r\n"
                              "preamble\r\n"
                              "--b\r\n"
                              "Content-Type: text/html; charset=iso-8859-1\r\n"
                              "Content-Transfer-Encoding: quoted-printable\r\n"
                              "\r\n"
                              "<b>caf=E9</b> soft=\r\nbreak\r\n"
                              "--b\r\n"
                              "Content-Type: image/png\r\nContent-Description: picture\r\n"
                              "\r\n"
                              "pixels\r\n"
                              "--b\r\n"
                              "Content-Type: message/rfc822\r\n"
                              "\r\n"
                              "Subject: inner\r\n"
                              "Content-Transfer-Encoding: base64\r\n"
                              "\r\n"
                              "aGlkZGVuIHdvcmQ=\r\n"
                              "--b--\r\n"
                              "epilogue\r\n";

static enum err save(struct span message, struct buf *out)
{
    struct mime_tree *tree = NULL;
    enum err result = mime_parse(message, MIME_LIMITS_DEFAULT, &tree);

    if (result == ERR_OK)
        result = mime_text_save(tree->root, message, out);
    mime_tree_free(&tree);
    return result;
}

static bool find(struct span saved, enum mime_text_kind kind, const char *name, const char *needle, uint64_t number)
{
    struct mime_text_leaf leaf = {.kind = kind, .number = number};
    struct buf normal;
    bool is_found = false;

    buf_init(&normal, OUT_MAX);
    assert_int_equal(mime_text_normalise(span_of(needle), SPAN_NONE, &normal), ERR_OK);
    leaf.name = name == NULL ? NULL : strdup(name);
    leaf.needle = buf_take(&normal);
    assert_int_equal(mime_text_match(saved, &leaf, 1, &is_found), ERR_OK);
    mime_text_leaf_fini(&leaf);
    buf_fini(&normal);
    return is_found;
}

static void test_header(void **state)
{
    struct buf saved;

    (void)state;
    buf_init(&saved, OUT_MAX);
    assert_int_equal(save(span_of(MESSAGE), &saved), ERR_OK);
    struct span text = buf_span(&saved);
    assert_true(find(text, MIME_TEXT_HEADER, "from", "jürgen <J@", 0));
    assert_true(find(text, MIME_TEXT_ADDRESS, "from", "JÜRGEN <j@EXAMPLE", 0));
    assert_false(find(text, MIME_TEXT_ADDRESS, "to", "group: a@b", 0));
    assert_true(find(text, MIME_TEXT_ADDRESS, "to", "group: <a@b>, <c@d>;", 0));
    assert_true(find(text, MIME_TEXT_HEADER, "to", "group: a@b, c", 0));
    assert_false(find(text, MIME_TEXT_ADDRESS, "cc", "", 0));
    assert_true(find(text, MIME_TEXT_ADDRESS, "to", "", 0));
    assert_true(find(text, MIME_TEXT_SUBJECT, "subject", "one two three", 0));
    assert_false(find(text, MIME_TEXT_HEADER, "subject", "one two three", 0));
    assert_true(find(text, MIME_TEXT_HEADER, "subject", "one two  three", 0));
    assert_true(find(text, MIME_TEXT_HEADER, "x-empty", "", 0));
    assert_false(find(text, MIME_TEXT_HEADER, "x-empty", "x", 0));
    assert_false(find(text, MIME_TEXT_HEADER, "x-none", "", 0));
    assert_true(find(text, MIME_TEXT_HEADER, "received", "second", 0));
    assert_false(find(text, MIME_TEXT_HEADER, "subject", "second", 0));
    /* The parts' own fields and an enclosed message's are not the message's. */
    assert_false(find(text, MIME_TEXT_HEADER, "content-description", "", 0));
    assert_false(find(text, MIME_TEXT_HEADER, "subject", "inner", 0));
    assert_true(find(text, MIME_TEXT_ANY, NULL, "subject: inner\r\n", 0));
    assert_true(find(text, MIME_TEXT_ANY, NULL, "to : group", 0));
    assert_true(find(text, MIME_TEXT_ANY, NULL, "no field\r\ncontent-type", 0));
    buf_fini(&saved);
}

static void test_body(void **state)
{
    struct buf saved;

    (void)state;
    buf_init(&saved, OUT_MAX);
    assert_int_equal(save(span_of(MESSAGE), &saved), ERR_OK);
    struct span text = buf_span(&saved);
    assert_true(find(text, MIME_TEXT_BODY, NULL, "<B>CAFÉ</b> softbreak", 0));
    assert_true(find(text, MIME_TEXT_BODY, NULL, "hidden word", 0));
    assert_false(find(text, MIME_TEXT_BODY, NULL, "pixels", 0));
    assert_false(find(text, MIME_TEXT_BODY, NULL, "picture", 0));
    assert_true(find(text, MIME_TEXT_ANY, NULL, "picture", 0));
    assert_false(find(text, MIME_TEXT_ANY, NULL, "preamble", 0));
    assert_false(find(text, MIME_TEXT_ANY, NULL, "epilogue", 0));
    assert_true(find(text, MIME_TEXT_BODY, NULL, "", 0));
    /* A header and its body are one text, two parts are not. */
    assert_true(find(text, MIME_TEXT_ANY, NULL, "base64\r\n\r\nhidden", 0));
    assert_false(find(text, MIME_TEXT_ANY, NULL, "word\r\n", 0));
    assert_false(find(text, MIME_TEXT_BODY, NULL, "base64\r\n\r\nhidden", 0));
    buf_fini(&saved);
}

static void test_numbers(void **state)
{
    const uint64_t size = sizeof MESSAGE - 1;
    struct buf saved;

    (void)state;
    buf_init(&saved, OUT_MAX);
    assert_int_equal(save(span_of(MESSAGE), &saved), ERR_OK);
    struct span text = buf_span(&saved);
    assert_true(find(text, MIME_TEXT_LARGER, NULL, "", size - 1));
    assert_false(find(text, MIME_TEXT_LARGER, NULL, "", size));
    assert_true(find(text, MIME_TEXT_SMALLER, NULL, "", size + 1));
    assert_false(find(text, MIME_TEXT_SMALLER, NULL, "", size));
    assert_true(find(text, MIME_TEXT_SENT_ON, NULL, "", 10186));
    assert_false(find(text, MIME_TEXT_SENT_ON, NULL, "", 10187));
    assert_true(find(text, MIME_TEXT_SENT_BEFORE, NULL, "", 10187));
    assert_false(find(text, MIME_TEXT_SENT_BEFORE, NULL, "", 10186));
    assert_true(find(text, MIME_TEXT_SENT_SINCE, NULL, "", 10186));
    assert_false(find(text, MIME_TEXT_SENT_SINCE, NULL, "", 10187));
    assert_true(find(text, MIME_TEXT_SENT_SINCE, NULL, "", (uint64_t)INT64_MIN));
    assert_false(find(text, MIME_TEXT_SENT_BEFORE, NULL, "", (uint64_t)INT64_MIN));
    buf_clear(&saved);
    assert_int_equal(save(SPAN_LIT("Subject: x\r\n\r\n"), &saved), ERR_OK);
    assert_true(find(buf_span(&saved), MIME_TEXT_SENT_ON, NULL, "", 0));
    buf_fini(&saved);
}

static void expect_in_body(const char *header, const char *body, const char *needle, bool wanted)
{
    struct buf message, saved;

    buf_init(&message, OUT_MAX);
    buf_init(&saved, OUT_MAX);
    assert_int_equal(buf_addf(&message, "%s\r\n%s", header, body), ERR_OK);
    assert_int_equal(save(buf_span(&message), &saved), ERR_OK);
    assert_int_equal(find(buf_span(&saved), MIME_TEXT_BODY, NULL, needle, 0), wanted);
    buf_fini(&message);
    buf_fini(&saved);
}

static void test_broken_bodies(void **state)
{
    (void)state;
    expect_in_body("Content-Type: text\r\n", "word", "word", false);
    expect_in_body("Content-Type: text/\r\n", "word", "word", false);
    expect_in_body("Content-Type: application/x\r\n", "word", "word", false);
    expect_in_body("Content-Type: message/delivery-status\r\n", "word", "word", true);
    expect_in_body("Content-Transfer-Encoding: x-uuencode\r\n", "word", "word", false);
    expect_in_body("Content-Transfer-Encoding: base64\r\n", "d29y\r\nZA==", "word", true);
    expect_in_body("Content-Transfer-Encoding: base64\r\n", "d29y!ZA==", "wor", true);
    expect_in_body("Content-Transfer-Encoding: base64\r\n", "d29y!ZA==", "word", false);
    expect_in_body("Content-Transfer-Encoding: base64\r\n", "d29y=ZA==", "word", false);
    expect_in_body("Content-Type: text/plain; charset=x-unheard-of\r\n", "gr\xC3\xBC", "GRÜ", true);
    expect_in_body("Content-Type: text/plain; charset=\"utf-16//x\"\r\n", "word", "word", true);
    expect_in_body("", "word", "word", true);
}

/* Many pieces, and characters that stand across them. */
static void test_long_bodies(void **state)
{
    struct buf message, saved;

    (void)state;
    buf_init(&message, OUT_MAX);
    buf_init(&saved, 8 * OUT_MAX);
    assert_int_equal(buf_add_string(&message, "Content-Type: text/plain; charset=utf-8\r\n\r\n"), ERR_OK);
    for (int i = 0; i < 40000; i++)
        assert_int_equal(buf_add_string(&message, i % 7 == 0 ? "日本 " : "ü😀"), ERR_OK);
    assert_int_equal(buf_add_string(&message, "the end"), ERR_OK);
    assert_int_equal(save(buf_span(&message), &saved), ERR_OK);
    assert_true(find(buf_span(&saved), MIME_TEXT_BODY, NULL, "ü😀ü😀日本 ü😀", 0));
    assert_true(find(buf_span(&saved), MIME_TEXT_BODY, NULL, "ü😀the end", 0));
    assert_false(find(buf_span(&saved), MIME_TEXT_BODY, NULL, BAD, 0));
    buf_fini(&message);
    buf_fini(&saved);
}

/* ---- hostile saved texts, memory ---- */

static struct mime_text_leaf every_leaf[] = {
    {.kind = MIME_TEXT_HEADER, .name = (char *)"from", .needle = (char *)"ZZ"},
    {.kind = MIME_TEXT_ADDRESS, .name = (char *)"to", .needle = (char *)"ZZ"},
    {.kind = MIME_TEXT_SUBJECT, .name = (char *)"subject", .needle = (char *)"ZZ"},
    {.kind = MIME_TEXT_BODY, .needle = (char *)"ZZ"},
    {.kind = MIME_TEXT_ANY, .needle = (char *)"ZZ"},
    {.kind = MIME_TEXT_LARGER, .number = 7},
};
#define LEAVES (sizeof every_leaf / sizeof *every_leaf)

static enum err match_exactly(struct span saved)
{
    char *exact = malloc(saved.len == 0 ? 1 : saved.len);
    bool is_found[LEAVES];
    enum err result;

    assert_non_null(exact);
    if (saved.len > 0)
        memcpy(exact, saved.ptr, saved.len);
    result = mime_text_match((struct span){exact, saved.len}, every_leaf, LEAVES, is_found);
    free(exact);
    return result;
}

static void test_damaged_texts(void **state)
{
    struct buf saved;
    size_t good = 0;

    (void)state;
    buf_init(&saved, OUT_MAX);
    assert_int_equal(save(span_of(MESSAGE), &saved), ERR_OK);
    assert_int_equal(match_exactly(buf_span(&saved)), ERR_OK);
    for (size_t len = 0; len < saved.len; len++) {
        enum err result = match_exactly(span_slice(buf_span(&saved), 0, len));

        assert_true(result == ERR_OK || result == ERR_PEER_PROTOCOL);
        good += result == ERR_OK;
    }
    /* It may end between records alone. */
    assert_true(good < 40);
    for (size_t at = 0; at < saved.len; at++) {
        char before = saved.data[at];

        saved.data[at] = (char)(before ^ 0x81);
        (void)match_exactly(buf_span(&saved));
        saved.data[at] = before;
    }
    assert_int_equal(match_exactly(SPAN_LIT("pst0aaaaaaaabbbbbbbb")), ERR_PEER_PROTOCOL);
    assert_int_equal(match_exactly(SPAN_NONE), ERR_PEER_PROTOCOL);
    buf_fini(&saved);
}

static void test_bounds(void **state)
{
    struct buf saved, small;

    (void)state;
    buf_init(&saved, OUT_MAX);
    assert_int_equal(save(span_of(MESSAGE), &saved), ERR_OK);
    for (size_t max = 0; max < saved.len; max += 7) {
        buf_init(&small, max);
        assert_int_equal(save(span_of(MESSAGE), &small), ERR_LIMIT);
        assert_int_equal(small.len, 0);
        buf_fini(&small);
    }
    buf_init(&small, saved.len);
    assert_int_equal(save(span_of(MESSAGE), &small), ERR_OK);
    buf_fini(&small);
    buf_fini(&saved);
}

static bool save_once(void *context)
{
    struct buf *wanted = context;
    struct buf saved;
    bool is_right;

    buf_init(&saved, OUT_MAX);
    enum err result = save(span_of(MESSAGE), &saved);
    assert_true(result == ERR_OK || result == ERR_MEMORY);
    is_right = result == ERR_OK && (wanted->len == 0 || span_is_equal(buf_span(&saved), buf_span(wanted)));
    assert_true(is_right || result != ERR_OK || wanted->len > 0);
    buf_fini(&saved);
    return is_right;
}

/* A charset that could not be opened for want of memory would make other text of the message: that may not be. */
static void test_failing_allocations(void **state)
{
    struct buf wanted;

    (void)state;
    buf_init(&wanted, OUT_MAX);
    assert_int_equal(save(span_of(MESSAGE), &wanted), ERR_OK);
    failing_malloc_run(save_once, &wanted);
    buf_fini(&wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_and_forms),
        cmocka_unit_test(test_charsets),
        cmocka_unit_test(test_what_is_no_text),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_broken_bodies),
        cmocka_unit_test(test_long_bodies),
        cmocka_unit_test(test_damaged_texts),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

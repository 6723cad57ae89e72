#include "mime/encoding.h"
#include "tests/unit/trickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct job {
    struct mime_coder coder;
    struct buf *out;
};

static enum err decode_piece(struct span piece, void *context)
{
    struct job *job = context;

    return mime_decode_feed(&job->coder, piece, job->out);
}

static enum err encode_piece(struct span piece, void *context)
{
    struct job *job = context;

    return mime_encode_feed(&job->coder, piece, job->out);
}

static void assert_decoded(enum mime_encoding encoding, struct span body, struct span expected)
{
    struct buf out;

    buf_init(&out, 10000);
    assert_int_equal(mime_decode(encoding, body, &out), ERR_OK);
    assert_int_equal(out.len, expected.len);
    assert_memory_equal(out.data, expected.ptr, expected.len);
    for (size_t step = 1; step < 4; step++) {
        struct job job = {.coder = {.encoding = encoding}, .out = &out};

        buf_clear(&out);
        assert_int_equal(trickle(body, step, decode_piece, &job), ERR_OK);
        assert_int_equal(mime_decode_end(&job.coder, &out), ERR_OK);
        assert_true(span_is_equal(buf_span(&out), expected));
    }
    buf_fini(&out);
}

static void encode(enum mime_encoding encoding, bool is_text, struct span body, size_t step, struct buf *out)
{
    struct job job = {.coder = {.encoding = encoding, .is_text = is_text}, .out = out};

    assert_int_equal(trickle(body, step, encode_piece, &job), ERR_OK);
    assert_int_equal(mime_encode_end(&job.coder, out), ERR_OK);
}

/* No line over 76 columns, no trailing blank, no "From ", no leading dot, nothing but CRLF and printable ASCII. */
static void assert_fit_to_sign(struct span text)
{
    size_t column = 0;

    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];

        if (byte == '\r') {
            assert_true(i + 1 < text.len && text.ptr[i + 1] == '\n');
            assert_true(column == 0 || (text.ptr[i - 1] != ' ' && text.ptr[i - 1] != '\t'));
            i++;
            column = 0;
            continue;
        }
        assert_true(byte == '\t' || (byte >= ' ' && byte < 127));
        assert_false(column == 0 && byte == '.');
        assert_false(column == 0 && span_has_prefix(span_skip(text, i), SPAN_LIT("From ")));
        assert_true(++column <= 76);
    }
    assert_true(column == 0 || (text.ptr[text.len - 1] != ' ' && text.ptr[text.len - 1] != '\t'));
}

static void assert_encoded(enum mime_encoding encoding, bool is_text, struct span body, const char *expected)
{
    struct buf out, pieces;

    buf_init(&out, 100000);
    buf_init(&pieces, 100000);
    encode(encoding, is_text, body, 1000000, &out);
    if (expected != NULL)
        assert_string_equal(out.data, expected);
    assert_fit_to_sign(buf_span(&out));
    for (size_t step = 1; step < 4; step++) {
        buf_clear(&pieces);
        encode(encoding, is_text, body, step, &pieces);
        assert_true(span_is_equal(buf_span(&out), buf_span(&pieces)));
    }
    buf_clear(&pieces);
    assert_int_equal(mime_decode(encoding, buf_span(&out), &pieces), ERR_OK);
    assert_true(span_is_equal(buf_span(&pieces), body));
    buf_fini(&out);
    buf_fini(&pieces);
}

static void decodes_base64(void **state)
{
    static const struct {
        struct span body, expected;
    } rows[] = {
        {SPAN_LIT(""), SPAN_LIT("")},
        {SPAN_LIT("Zm9vYmFy"), SPAN_LIT("foobar")},
        {SPAN_LIT("Zm9vYg==\r\n"), SPAN_LIT("foob")},
        {SPAN_LIT("Zm9vYmE="), SPAN_LIT("fooba")},
        {SPAN_LIT("Zm9vYg"), SPAN_LIT("foob")},
        {SPAN_LIT("Zm9vYmE"), SPAN_LIT("fooba")},
        {SPAN_LIT("Zm9vY"), SPAN_LIT("foo")},
        {SPAN_LIT("Z!m\r\n9 v\0Y\xFFmFy"), SPAN_LIT("foobar")},
        {SPAN_LIT("=Zm9v=Y=mFy"), SPAN_LIT("foobar")},
        {SPAN_LIT("Zm9vYg==Zm9v"), SPAN_LIT("foob")},
        {SPAN_LIT("+/+/AAAA"), SPAN_LIT("\xFB\xFF\xBF\0\0\0")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_decoded(MIME_BASE64, rows[i].body, rows[i].expected);
}

#define BLANKS39 "                                       "
#define BLANKS40 BLANKS39 " "

static void decodes_quoted_printable(void **state)
{
    static const struct {
        struct span body, expected;
    } rows[] = {
        {SPAN_LIT(""), SPAN_LIT("")},
        {SPAN_LIT("a=3Db=c3=A9"), SPAN_LIT("a=b\xC3\xA9")},
        {SPAN_LIT("one\r\ntwo\nthree"), SPAN_LIT("one\r\ntwo\nthree")},
        {SPAN_LIT("so=\r\nft=\nly"), SPAN_LIT("softly")},
        {SPAN_LIT("so= \t \r\nft=  \nly"), SPAN_LIT("softly")},
        {SPAN_LIT("a b  c\td"), SPAN_LIT("a b  c\td")},
        {SPAN_LIT("a \t \r\nb  \nc  "), SPAN_LIT("a\r\nb\nc")},
        {SPAN_LIT("a=20\r\nb =\r\n c"), SPAN_LIT("a \r\nb  c")},
        {SPAN_LIT("a\rb \r c\r\r\n"), SPAN_LIT("a\rb \r c\r\r\n")},
        {SPAN_LIT("a=zz=4x=\tb=\rc==41"), SPAN_LIT("a=zz=4x=\tb=\rc=A")},
        {SPAN_LIT("a=4\r\nb=4\nc"), SPAN_LIT("a=4\r\nb=4\nc")},
        {SPAN_LIT("end="), SPAN_LIT("end")},
        {SPAN_LIT("end=  "), SPAN_LIT("end")},
        {SPAN_LIT("end=4"), SPAN_LIT("end=4")},
        {SPAN_LIT("end=\r"), SPAN_LIT("end=\r")},
        {SPAN_LIT("end \r"), SPAN_LIT("end \r")},
        {SPAN_LIT("\0\xFF"), SPAN_LIT("\0\xFF")},
        /* 80 blanks are more than a line may have. */
        {SPAN_LIT("a" BLANKS40 BLANKS39 "\r\n"), SPAN_LIT("a\r\n")},
        {SPAN_LIT("a" BLANKS40 BLANKS40 "\r\n"), SPAN_LIT("a" BLANKS40 BLANKS40 "\r\n")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_decoded(MIME_QUOTED_PRINTABLE, rows[i].body, rows[i].expected);
}

static void copies_what_is_not_encoded(void **state)
{
    const enum mime_encoding encodings[] = {MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_ENCODING_UNKNOWN};
    const struct span body = SPAN_LIT("a=3D \r\n\0\xFF.\n");

    (void)state;
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        struct buf out;

        assert_decoded(encodings[i], body, body);
        buf_init(&out, 100);
        encode(encodings[i], true, body, 1, &out);
        assert_true(span_is_equal(buf_span(&out), body));
        buf_fini(&out);
    }
}

static void encodes_base64(void **state)
{
    char bytes[200];

    (void)state;
    assert_encoded(MIME_BASE64, false, SPAN_LIT(""), "");
    assert_encoded(MIME_BASE64, false, SPAN_LIT("f"), "Zg==\r\n");
    assert_encoded(MIME_BASE64, false, SPAN_LIT("fo"), "Zm8=\r\n");
    assert_encoded(MIME_BASE64, false, SPAN_LIT("foo"), "Zm9v\r\n");
    assert_encoded(MIME_BASE64, true, SPAN_LIT("a\r\n"), "YQ0K\r\n");
    for (size_t len = 0; len < sizeof bytes; len++) {
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)(i * 7 + len);
        assert_encoded(MIME_BASE64, false, (struct span){bytes, len}, NULL);
    }
}

#define A75 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void encodes_quoted_printable(void **state)
{
    static const struct {
        struct span body;
        const char *expected;
    } rows[] = {
        {SPAN_LIT(""), ""},
        {SPAN_LIT("one two\r\nthree\r\n"), "one two\r\nthree\r\n"},
        {SPAN_LIT("a=b\xC3\xA9\0"), "a=3Db=C3=A9=00"},
        {SPAN_LIT("a \r\nb\t\r\n \r\nc "), "a=20\r\nb=09\r\n=20\r\nc=20"},
        {SPAN_LIT("a\rb\nc\r\r\n\r"), "a=0Db=0Ac=0D\r\n=0D"},
        {SPAN_LIT("a \rb \r"), "a =0Db =0D"},
        {SPAN_LIT("From me\r\n>From x\r\nFrom\r\nFro"), "=46rom me\r\n>From x\r\nFrom\r\nFro"},
        {SPAN_LIT("FromFrom F\r\nF"), "FromFrom F\r\nF"},
        {SPAN_LIT(".\r\n..\r\na.\r\n"), "=2E\r\n=2E.\r\na.\r\n"},
        {SPAN_LIT(A75), A75},
        {SPAN_LIT(A75 "\r\n"), A75 "\r\n"},
        {SPAN_LIT(A75 "b"), A75 "=\r\nb"},
        {SPAN_LIT(A75 "From x"), A75 "=\r\n=46rom x"},
        {SPAN_LIT(A75 "."), A75 "=\r\n=2E"},
        {SPAN_LIT(A75 " "), A75 "=\r\n=20"},
        {SPAN_LIT(A75 " b"), A75 "=\r\n b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_encoded(MIME_QUOTED_PRINTABLE, true, rows[i].body, rows[i].expected);
    assert_encoded(MIME_QUOTED_PRINTABLE, false, SPAN_LIT("a \r\n"), "a =0D=0A");
}

/* Bytes from a small alphabet of troublesome ones, in every mode. */
static void keeps_random_bytes(void **state)
{
    static const char alphabet[] = "From .=\r\n\t  aF\xE9";
    uint32_t random = 1;
    char bytes[300];

    (void)state;
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            random = random * 1664525 + 1013904223;
            bytes[i] = alphabet[(random >> 16) % (sizeof alphabet - 1)];
        }
        assert_encoded(MIME_QUOTED_PRINTABLE, true, (struct span){bytes, sizeof bytes}, NULL);
        assert_encoded(MIME_QUOTED_PRINTABLE, false, (struct span){bytes, sizeof bytes}, NULL);
        assert_encoded(MIME_BASE64, false, (struct span){bytes, sizeof bytes}, NULL);
    }
}

static void holds_the_limit_of_the_buffer(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 5);
    assert_int_equal(mime_decode(MIME_BASE64, SPAN_LIT("Zm9vYmFy"), &out), ERR_LIMIT);
    buf_clear(&out);
    assert_int_equal(mime_decode(MIME_QUOTED_PRINTABLE, SPAN_LIT("123456"), &out), ERR_LIMIT);
    buf_clear(&out);
    assert_int_equal(mime_decode(MIME_7BIT, SPAN_LIT("123456"), &out), ERR_LIMIT);
    buf_fini(&out);
}

static void names_encodings(void **state)
{
    static const struct {
        struct span value;
        enum mime_encoding encoding;
    } rows[] = {
        {SPAN_LIT("7bit"), MIME_7BIT},
        {SPAN_LIT(" 8BIT\r\n"), MIME_8BIT},
        {SPAN_LIT("binary;"), MIME_BINARY},
        {SPAN_LIT("Quoted-Printable (x)"), MIME_QUOTED_PRINTABLE},
        {SPAN_LIT("(a (b\\)) c)base64"), MIME_BASE64},
        {SPAN_LIT(""), MIME_7BIT},
        {SPAN_LIT("x-uuencode"), MIME_ENCODING_UNKNOWN},
        {SPAN_LIT("base64x"), MIME_ENCODING_UNKNOWN},
        {SPAN_LIT("(open base64"), MIME_7BIT},
        {SPAN_LIT("(\\"), MIME_7BIT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(mime_encoding_parse(rows[i].value), rows[i].encoding);
    for (unsigned i = 0; i < MIME_ENCODING_UNKNOWN; i++)
        assert_int_equal(mime_encoding_parse(span_of(mime_encoding_name((enum mime_encoding)i))), i);
    assert_string_equal(mime_encoding_name((enum mime_encoding)77), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_base64),
        cmocka_unit_test(decodes_quoted_printable),
        cmocka_unit_test(copies_what_is_not_encoded),
        cmocka_unit_test(encodes_base64),
        cmocka_unit_test(encodes_quoted_printable),
        cmocka_unit_test(keeps_random_bytes),
        cmocka_unit_test(holds_the_limit_of_the_buffer),
        cmocka_unit_test(names_encodings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

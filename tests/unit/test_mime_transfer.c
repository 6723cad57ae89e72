#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/transfer.h"
#include "tests/unit/mime_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FLAGS_7BIT (MIME_HAS_8BIT | MIME_HAS_NUL | MIME_HAS_BARE_CR | MIME_HAS_BARE_LF | MIME_HAS_LONG_LINE)
#define FLAGS_SIGN (FLAGS_7BIT | MIME_HAS_TRAILING_BLANK | MIME_HAS_FROM_LINE)

/* What mime_transfer_body makes of a message: its header, with the encoding it asks for, and the new body. */
struct result {
    struct buf text;
    enum mime_encoding encoding;
    unsigned flags;
};

static void write_header(const struct mime_part *root, struct span message, const struct result *result,
                         struct buf *out)
{
    struct mime_field field;
    size_t at = 0;
    struct span header = mime_part_header(root, message);
    bool is_changed = result->encoding != root->encoding;
    while (mime_field_next(header, &at, &field))
        if (!is_changed || !mime_field_is(&field, "Content-Transfer-Encoding"))
            assert_int_equal(buf_add_span(out, field.whole), ERR_OK);
    if (is_changed)
        assert_int_equal(buf_addf(out, "Content-Transfer-Encoding: %s\r\n", mime_encoding_name(result->encoding)),
                         ERR_OK);
    assert_int_equal(buf_add_span(out, span_skip(header, at)), ERR_OK);
}

static void expect_same_leaf(const struct mime_part *old, struct span message, const struct mime_part *new,
                             struct span text)
{
    struct buf before, after;
    buf_init(&before, 1 << 24);
    buf_init(&after, 1 << 24);
    assert_int_equal(mime_decode(old->encoding, mime_part_body(old, message), &before), ERR_OK);
    assert_int_equal(mime_decode(new->encoding, mime_part_body(new, text), &after), ERR_OK);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    buf_fini(&before);
    buf_fini(&after);
}

/* Parses the result: the same parts, the same content, and clean of all that the flags do not own up to. */
static void expect_same_content(const struct mime_tree *tree, struct span message, const struct result *result,
                                unsigned unsafe)
{
    struct mime_tree *again;
    struct span text = buf_span(&result->text);
    assert_int_equal(mime_parse(text, MIME_LIMITS_DEFAULT, &again), ERR_OK);
    assert_null(tree_check(again, text));
    const struct mime_part *old = tree->root, *new = again->root;
    for (; old != NULL && new != NULL; old = mime_part_after(old), new = mime_part_after(new)) {
        assert_int_equal(old->kind, new->kind);
        assert_int_equal(old->depth, new->depth);
        assert_string_equal(old->type, new->type);
        assert_string_equal(old->subtype, new->subtype);
        if (old->kind == MIME_LEAF)
            expect_same_leaf(old, message, new, text);
    }
    assert_null(old);
    assert_null(new);
    assert_int_equal(again->root->body_flags & unsafe, result->flags);
    mime_tree_free(&again);
}

static void convert_span(struct span message, enum mime_safety safety, struct result *result)
{
    struct mime_tree *tree;
    struct mime_pieces pieces;
    size_t hint = 0;
    assert_int_equal(mime_parse(message, MIME_LIMITS_DEFAULT, &tree), ERR_OK);
    mime_pieces_init(&pieces);
    assert_int_equal(mime_transfer_body(tree->root, message, safety, &pieces, &result->encoding, &result->flags),
                     ERR_OK);
    buf_init(&result->text, 1 << 24);
    write_header(tree->root, message, result, &result->text);
    char *body = malloc(pieces.size + 1);
    assert_non_null(body);
    assert_int_equal(mime_pieces_read(&pieces, 0, body, pieces.size, &hint), pieces.size);
    assert_int_equal(buf_add(&result->text, body, pieces.size), ERR_OK);
    free(body);
    expect_same_content(tree, message, result, safety == MIME_SAFE_7BIT ? FLAGS_7BIT : FLAGS_SIGN);
    mime_pieces_fini(&pieces);
    mime_tree_free(&tree);
}

static void expect(const char *message, enum mime_safety safety, const char *text, enum mime_encoding encoding,
                   unsigned flags)
{
    struct result result;
    convert_span(span_of(message), safety, &result);
    assert_string_equal(result.text.data, text);
    assert_int_equal(result.encoding, encoding);
    assert_int_equal(result.flags, flags);
    buf_fini(&result.text);
}

/* For a message that must come out byte for byte. */
static void expect_untouched(const char *message, enum mime_safety safety, unsigned flags)
{
    struct result result;
    convert_span(span_of(message), safety, &result);
    assert_string_equal(result.text.data, message);
    assert_int_equal(result.flags, flags);
    buf_fini(&result.text);
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n"

static void test_clean_messages_are_untouched(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "",
        "Subject: x\r\n\r\n",
        "Subject: x\r\n\r\nhello\r\n",
        "Content-Transfer-Encoding: x-odd\r\n\r\nhello\r\n",
        MIXED "\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\nepilogue\r\n",
        MIXED "\r\n--b\r\n\r\nunclosed",
    };
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        expect_untouched(messages[i], MIME_SAFE_7BIT, 0);
        expect_untouched(messages[i], MIME_SAFE_SIGN, 0);
    }
}

static void test_text_becomes_quoted_printable(void **state)
{
    (void)state;
    expect("Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xC3\xBC\xC3\x9F"
           "e aus London\r\nund = Oxford\r\n",
           MIME_SAFE_7BIT,
           "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9F"
           "e aus London\r\n"
           "und =3D Oxford\r\n",
           MIME_QUOTED_PRINTABLE, 0);
}

static void test_text_that_is_not_ascii_becomes_base64(void **state)
{
    (void)state;
    expect("Content-Transfer-Encoding: 8bit\r\n\r\n日本日本日本日本日本日本\r\n", MIME_SAFE_7BIT,
           "Content-Transfer-Encoding: base64\r\n\r\n5pel5pys5pel5pys5pel5pys5pel5pys5pel5pys5pel5pysDQo=\r\n",
           MIME_BASE64, 0);
}

static void test_other_leaves_become_base64(void **state)
{
    (void)state;
    expect("Content-Type: image/x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xFF", MIME_SAFE_7BIT,
           "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n/w==\r\n", MIME_BASE64, 0);
}

/* What 7bit transport does not mind may still break a signature. */
static void test_signing_is_stricter(void **state)
{
    (void)state;
    static const char message[] = "Subject: x\r\n\r\nblank \r\nFrom me\r\n";
    expect_untouched(message, MIME_SAFE_7BIT, 0);
    expect(message, MIME_SAFE_SIGN,
           "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nblank=20\r\n=46rom me\r\n",
           MIME_QUOTED_PRINTABLE, 0);
    expect(MIXED "\r\n--b\r\n\r\nends in blank \r\n--b--\r\n", MIME_SAFE_SIGN,
           MIXED "\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nends in blank=20\r\n--b--\r\n",
           MIME_7BIT, 0);
}

static void test_every_unsafe_byte_is_encoded(void **state)
{
    (void)state;
    static const struct span bodies[] = {
        SPAN_LIT("Subject: x\r\n\r\na\0b\r\n"), SPAN_LIT("Subject: x\r\n\r\na\rb\r\n"),
        SPAN_LIT("Subject: x\r\n\r\na\nb\r\n"), SPAN_LIT("Subject: x\r\n\r\na\xFF\r\n"),
        SPAN_LIT("Subject: x\r\n\r\n\r"),       SPAN_LIT("Subject: x\r\n\r\n\n"),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct result result;
        convert_span(bodies[i], MIME_SAFE_7BIT, &result);
        assert_int_equal(result.encoding, MIME_QUOTED_PRINTABLE);
        assert_int_equal(result.flags, 0);
        buf_fini(&result.text);
    }
}

static void test_long_lines(void **state)
{
    (void)state;
    struct buf message;
    struct result result;
    buf_init(&message, 10000);
    assert_int_equal(buf_add_string(&message, "Subject: x\r\n\r\n"), ERR_OK);
    for (int i = 0; i < 998; i++)
        assert_int_equal(buf_add_byte(&message, 'x'), ERR_OK);
    convert_span(buf_span(&message), MIME_SAFE_7BIT, &result);
    assert_int_equal(result.encoding, MIME_7BIT);
    buf_fini(&result.text);
    assert_int_equal(buf_add_byte(&message, 'x'), ERR_OK);
    convert_span(buf_span(&message), MIME_SAFE_7BIT, &result);
    assert_int_equal(result.encoding, MIME_QUOTED_PRINTABLE);
    assert_int_equal(result.flags, 0);
    buf_fini(&result.text);
    buf_fini(&message);
}

static void test_only_the_leaf_that_needs_it(void **state)
{
    (void)state;
    expect(
        MIXED
        "Content-Transfer-Encoding: 8bit\r\n\r\npre\r\n--b  \r\nX-Odd : kept\r\n\tfolded \r\nno field\r\n\r\none\r\n"
        "--b\r\nContent-Transfer-Encoding:\r\n 8bit\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nz\xC3\xBC"
        "abcdefghij\r\n"
        "--b\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--\r\npost",
        MIME_SAFE_7BIT,
        MIXED
        "Content-Transfer-Encoding: 7bit\r\n\r\npre\r\n--b  \r\nX-Odd : kept\r\n\tfolded \r\nno field\r\n\r\none\r\n"
        "--b\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nz=C3=BC"
        "abcdefghij\r\n"
        "--b\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--\r\npost",
        MIME_7BIT, 0);
}

static void test_a_missing_label_is_inserted(void **state)
{
    (void)state;
    expect(MIXED "\r\n--b\r\nX: y\r\n\r\nlondon oxford z\xC3\xBC\r\n--b\r\n\r\nlondon oxford z\xC3\xBC\r\n--b--\r\n",
           MIME_SAFE_7BIT,
           MIXED "\r\n--b\r\nX: y\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nlondon oxford z=C3=BC\r\n"
                 "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nlondon oxford z=C3=BC\r\n--b--\r\n",
           MIME_7BIT, 0);
}

/* Of several labels the first counts here, another may count elsewhere. */
static void test_one_label_remains(void **state)
{
    (void)state;
    expect(MIXED "\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\nX: y\r\ncontent-transfer-encoding: "
                 "base64\r\n\r\nlondon oxford z\xC3\xBC\r\n--b--",
           MIME_SAFE_7BIT,
           MIXED "\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\nX: y\r\n\r\nlondon oxford z=C3=BC\r\n--b--",
           MIME_7BIT, 0);
}

static void test_encoded_leaves_are_never_touched(void **state)
{
    (void)state;
    expect_untouched(MIXED "\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nodd \r\nFrom \r\n--b--\r\n",
                     MIME_SAFE_SIGN, MIME_HAS_TRAILING_BLANK | MIME_HAS_FROM_LINE);
    expect_untouched("Content-Transfer-Encoding: base64\r\n\r\n\xFF\r\n", MIME_SAFE_7BIT, MIME_HAS_8BIT);
}

static void test_signed_and_encrypted_parts_are_never_touched(void **state)
{
    (void)state;
    expect_untouched("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xFF \r\n--b--\r\n", MIME_SAFE_7BIT,
                     MIME_HAS_8BIT);
    expect(MIXED
           "Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: multipart/encrypted; boundary=c\r\n"
           "Content-Transfer-Encoding: 8bit\r\n\r\n--c\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xC3\xBC\r\n--c--\r\n"
           "--b\r\n\r\nlondon oxford z\xC3\xBC\r\n--b--\r\n",
           MIME_SAFE_7BIT,
           MIXED
           "Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: multipart/encrypted; boundary=c\r\n"
           "Content-Transfer-Encoding: 8bit\r\n\r\n--c\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xC3\xBC\r\n--c--\r\n"
           "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nlondon oxford z=C3=BC\r\n--b--\r\n",
           MIME_8BIT, MIME_HAS_8BIT);
}

#define FORWARD "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
#define FORWARDED "--b\r\nContent-Type: message/rfc822\r\n\r\n"

static void test_enclosed_messages(void **state)
{
    (void)state;
    expect(MIXED "\r\n" FORWARD "Subject: y\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\nlondon "
                 "oxford z\xC3\xBC\r\n--b--\r\n",
           MIME_SAFE_7BIT,
           MIXED "\r\n" FORWARDED "Subject: y\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: "
                 "quoted-printable\r\n\r\nlondon oxford z=C3=BC\r\n--b--\r\n",
           MIME_7BIT, 0);
    /* No MIME yet: its label would count for nothing. */
    expect(MIXED "\r\n" FORWARD "Subject: y\r\n\r\nlondon oxford z\xC3\xBC\r\n--b--\r\n", MIME_SAFE_7BIT,
           MIXED "\r\n" FORWARDED "Subject: y\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: "
                 "quoted-printable\r\n\r\nlondon oxford z=C3=BC\r\n--b--\r\n",
           MIME_7BIT, 0);
}

/* A forwarded message with a signature in it, however deep, is kept as evidence, wholly. */
static void test_enclosed_signed_messages_stay(void **state)
{
    (void)state;
    expect_untouched(
        MIXED
        "\r\n" FORWARD
        "Subject: y\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nz\xC3\xBC\r\n--s--\r\n--b--\r\n",
        MIME_SAFE_7BIT, MIME_HAS_8BIT);
    expect_untouched(MIXED
                     "\r\n" FORWARD "Subject: y\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"
                     "--m\r\n\r\nz\xC3\xBC\r\n--m\r\nContent-Type: message/rfc822\r\n\r\n"
                     "Content-Type: multipart/encrypted; boundary=s\r\n\r\n--s\r\n\r\nx\r\n--s--\r\n--m--\r\n--b--\r\n",
                     MIME_SAFE_7BIT, MIME_HAS_8BIT);
}

/* RFC 2045 §6.4 */
static void test_composite_types_are_not_encoded(void **state)
{
    (void)state;
    expect_untouched("Content-Type: message/delivery-status\r\n\r\nz\xC3\xBC\r\n", MIME_SAFE_7BIT, MIME_HAS_8BIT);
    expect_untouched("Content-Type: multipart/mixed\r\n\r\nz\xC3\xBC\r\n", MIME_SAFE_7BIT, MIME_HAS_8BIT);
    expect("Content-Type: message/global-headers\r\n\r\n\xC3\xBC", MIME_SAFE_7BIT,
           "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: base64\r\n\r\nw7w=\r\n", MIME_BASE64, 0);
}

static void test_headers_and_what_is_between_parts_are_reported(void **state)
{
    (void)state;
    expect_untouched(MIXED "\r\n--b\r\nX: \xC3\xBC\r\n\r\nx\r\n--b--\r\n", MIME_SAFE_7BIT, MIME_HAS_8BIT);
    expect_untouched(MIXED "\r\n\xC3\xBC\r\n--b\r\n\r\nx\r\n--b--\r\n", MIME_SAFE_7BIT, MIME_HAS_8BIT);
    expect_untouched(MIXED "\r\n--b\r\n\r\nx\r\n--b--\r\na\rb", MIME_SAFE_7BIT, MIME_HAS_BARE_CR);
    expect_untouched(MIXED "\r\n--b\r\nX: y;\t\r\n z\r\n\r\nx\r\n--b-- \r\n", MIME_SAFE_7BIT, 0);
    expect_untouched(MIXED "\r\n--b\r\nX: y;\t\r\n z\r\n\r\nx\r\n--b--\r\n", MIME_SAFE_SIGN, MIME_HAS_TRAILING_BLANK);
    expect_untouched(MIXED "\r\n--b\r\n\r\nx\r\n--b-- \r\n", MIME_SAFE_SIGN, MIME_HAS_TRAILING_BLANK);
    /* The caller writes the root's header, which is not reported. */
    expect_untouched("Subject: \xC3\xBC\r\n\r\nx\r\n", MIME_SAFE_7BIT, 0);
    /* A label that goes takes its own flaws with it. */
    expect(MIXED "\r\n--b\r\nContent-Transfer-Encoding: 8bit \r\n\r\nlondon oxford z\xC3\xBC\r\n--b--", MIME_SAFE_SIGN,
           MIXED "\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nlondon oxford z=C3=BC\r\n--b--",
           MIME_7BIT, 0);
}

/* A leaf that says 8bit needs a container that says so, whatever its bytes are. */
static void test_containers_keep_a_label_that_is_needed(void **state)
{
    (void)state;
    expect_untouched(MIXED
                     "Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n"
                     "Content-Transfer-Encoding: 8bit\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n",
                     MIME_SAFE_7BIT, 0);
}

/* A relay that goes by the label would encode such a leaf and break the signature over it. */
static void test_a_label_that_claims_too_much_goes(void **state)
{
    (void)state;
    expect("Content-Transfer-Encoding: 8bit\r\n\r\nhello\r\n", MIME_SAFE_SIGN,
           "Content-Transfer-Encoding: 7bit\r\n\r\nhello\r\n", MIME_7BIT, 0);
    expect(MIXED
           "Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\nx\r\n--b--\r\n",
           MIME_SAFE_7BIT, MIXED "Content-Transfer-Encoding: 7bit\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", MIME_7BIT, 0);
}

/* Soft line breaks must not move text to where it is a delimiter. */
static void test_no_boundary_is_made(void **state)
{
    (void)state;
    struct buf message;
    struct result result;
    for (int lead = 70; lead < 80; lead++) {
        buf_init(&message, 10000);
        assert_int_equal(buf_add_string(&message, MIXED "\r\n--b\r\n\r\n"), ERR_OK);
        for (int i = 0; i < lead; i++)
            assert_int_equal(buf_add_byte(&message, 'x'), ERR_OK);
        assert_int_equal(buf_add_string(&message, "--b\r\n\xFF london\r\n--b--\r\n"), ERR_OK);
        convert_span(buf_span(&message), MIME_SAFE_7BIT, &result);
        assert_int_equal(result.flags, 0);
        buf_fini(&result.text);
        buf_fini(&message);
    }
}

static void test_part_of_a_message(void **state)
{
    (void)state;
    static const char message[] = MIXED "\r\n--b\r\nX: y\r\n\r\nlondon oxford z\xC3\xBC\r\n--b--\r\n";
    struct mime_tree *tree;
    struct mime_pieces pieces;
    enum mime_encoding encoding;
    unsigned flags;
    char text[100] = "";
    size_t hint = 0;
    assert_int_equal(mime_parse(span_of(message), MIME_LIMITS_DEFAULT, &tree), ERR_OK);
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_copy(&pieces, SPAN_LIT("before:")), ERR_OK);
    assert_int_equal(
        mime_transfer_body(tree->root->first_child, span_of(message), MIME_SAFE_7BIT, &pieces, &encoding, &flags),
        ERR_OK);
    (void)mime_pieces_read(&pieces, 0, text, sizeof text - 1, &hint);
    assert_string_equal(text, "before:london oxford z=C3=BC");
    assert_int_equal(encoding, MIME_QUOTED_PRINTABLE);
    mime_pieces_fini(&pieces);
    mime_tree_free(&tree);
}

static void test_boundaries(void **state)
{
    (void)state;
    char a[MIME_BOUNDARY_SIZE], b[MIME_BOUNDARY_SIZE];
    assert_int_equal(mime_boundary_make(a), ERR_OK);
    assert_int_equal(mime_boundary_make(b), ERR_OK);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 34);
    assert_memory_equal(a, "=_", 2);
    assert_int_equal(strspn(a + 2, "0123456789abcdef"), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean_messages_are_untouched),
        cmocka_unit_test(test_text_becomes_quoted_printable),
        cmocka_unit_test(test_text_that_is_not_ascii_becomes_base64),
        cmocka_unit_test(test_other_leaves_become_base64),
        cmocka_unit_test(test_signing_is_stricter),
        cmocka_unit_test(test_every_unsafe_byte_is_encoded),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_only_the_leaf_that_needs_it),
        cmocka_unit_test(test_a_missing_label_is_inserted),
        cmocka_unit_test(test_one_label_remains),
        cmocka_unit_test(test_encoded_leaves_are_never_touched),
        cmocka_unit_test(test_signed_and_encrypted_parts_are_never_touched),
        cmocka_unit_test(test_enclosed_messages),
        cmocka_unit_test(test_enclosed_signed_messages_stay),
        cmocka_unit_test(test_composite_types_are_not_encoded),
        cmocka_unit_test(test_headers_and_what_is_between_parts_are_reported),
        cmocka_unit_test(test_containers_keep_a_label_that_is_needed),
        cmocka_unit_test(test_a_label_that_claims_too_much_goes),
        cmocka_unit_test(test_no_boundary_is_made),
        cmocka_unit_test(test_part_of_a_message),
        cmocka_unit_test(test_boundaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

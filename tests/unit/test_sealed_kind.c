/* What counts as encrypted, and the many things that only look so. */
#include "base/base64.h"
#include "crypto/inspect.h"
#include "crypto/packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX 65536

/* Packets, put together by hand (RFC 9580 §4.2). */
struct packets {
    char bytes[4096];
    size_t len;
};

static void add_byte(struct packets *packets, unsigned byte)
{
    assert_true(packets->len < sizeof(packets->bytes));
    packets->bytes[packets->len++] = (char)byte;
}

static void add_body(struct packets *packets, unsigned version, size_t len)
{
    add_byte(packets, version);
    for (size_t i = 1; i < len; i++)
        add_byte(packets, (unsigned)(i * 7) & 0xff);
}

static void add_packet(struct packets *packets, unsigned tag, unsigned version, size_t len)
{
    add_byte(packets, 0xc0 | tag);
    assert_true(len < 192);
    add_byte(packets, (unsigned)len);
    add_body(packets, version, len);
}

static void add_armour(struct buf *out, const struct packets *packets, const char *label)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    assert_int_equal(base64_encode((struct span){packets->bytes, packets->len}, &text), ERR_OK);
    assert_int_equal(buf_addf(out, "-----BEGIN PGP %s-----\r\nComment: test\r\n\r\n", label), ERR_OK);
    for (size_t at = 0; at < text.len; at += 64) {
        assert_int_equal(buf_add_span(out, span_slice(buf_span(&text), at, at + 64)), ERR_OK);
        assert_int_equal(buf_add_string(out, "\r\n"), ERR_OK);
    }
    assert_int_equal(buf_addf(out, "=AAAA\r\n-----END PGP %s-----\r\n", label), ERR_OK);
    buf_fini(&text);
}

static struct packets good_packets(void)
{
    struct packets packets = {.len = 0};

    add_packet(&packets, 1, 3, 94);
    add_packet(&packets, 18, 1, 120);
    return packets;
}

static enum crypto_sealed kind_of(struct span message)
{
    struct mime_tree *tree = NULL;
    enum crypto_sealed kind;
    char *copy = malloc(message.len + 1); /* so that the sanitizer sees reads beyond the end */

    assert_non_null(copy);
    memcpy(copy, message.ptr, message.len);
    assert_int_equal(mime_parse((struct span){copy, message.len}, MIME_LIMITS_DEFAULT, &tree), ERR_OK);
    kind = crypto_sealed_kind((struct span){copy, message.len}, tree);
    mime_tree_free(&tree);
    free(copy);
    return kind;
}

static enum crypto_sealed kind_of_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static enum crypto_sealed kind_of_text(const char *format, ...)
{
    struct buf message;
    enum crypto_sealed kind;
    va_list arguments;

    buf_init(&message, TEXT_MAX);
    va_start(arguments, format);
    assert_int_equal(buf_addv(&message, format, arguments), ERR_OK);
    va_end(arguments);
    kind = kind_of(buf_span(&message));
    buf_fini(&message);
    return kind;
}

#define PGP_TYPE "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\r\n"
#define CONTROL "--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
#define DATA "\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n"

static enum crypto_sealed kind_of_data(const char *armour)
{
    return kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "%s\r\n--b--\r\n", armour);
}

static enum crypto_sealed kind_of_packets(const struct packets *packets, const char *label)
{
    struct buf armour;
    enum crypto_sealed kind;

    buf_init(&armour, TEXT_MAX);
    add_armour(&armour, packets, label);
    kind = kind_of_data(armour.data);
    buf_fini(&armour);
    return kind;
}

static void test_packets_that_are_encrypted(void **state)
{
    struct packets packets = good_packets();

    (void)state;
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_SEALED_OPENPGP);
    packets.len = 0; /* marker, SKESK, PKESK version 6, SEIPD version 2 with a two-octet length */
    add_byte(&packets, 0xc0 | 10);
    add_byte(&packets, 3);
    add_byte(&packets, 'P'), add_byte(&packets, 'G'), add_byte(&packets, 'P');
    add_packet(&packets, 3, 6, 60);
    add_packet(&packets, 1, 6, 60);
    add_byte(&packets, 0xc0 | 18);
    add_byte(&packets, 192), add_byte(&packets, 8);
    add_body(&packets, 2, 200);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_SEALED_OPENPGP);
    packets.len = 0; /* an old-format PKESK with a two-octet length; partial lengths; a four-octet end */
    add_byte(&packets, 0x80 | 1 << 2 | 1);
    add_byte(&packets, 0), add_byte(&packets, 90);
    add_body(&packets, 3, 90);
    add_byte(&packets, 0xc0 | 18);
    add_byte(&packets, 224 | 9);
    add_body(&packets, 1, 512);
    add_byte(&packets, 255);
    add_byte(&packets, 0), add_byte(&packets, 0), add_byte(&packets, 0), add_byte(&packets, 5);
    add_body(&packets, 0, 5);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_SEALED_OPENPGP);
}

static void test_packets_that_are_not(void **state)
{
    struct packets packets = good_packets(), good = packets;

    (void)state;
    add_packet(&packets, 11, 'b', 40); /* literal data after the encryption */
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets = good;
    add_packet(&packets, 10, 'P', 3); /* even a marker */
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets = good;
    packets.len--; /* cut */
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 11, 'b', 40);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 18, 1, 100); /* no session key */
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 1, 3, 90); /* no data */
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    add_packet(&packets, 9, 1, 100); /* without integrity protection */
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 1, 2, 90); /* an unknown version */
    add_packet(&packets, 18, 1, 100);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 1, 3, 90);
    add_packet(&packets, 18, 'H', 100); /* text behind the right tag */
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 1, 3, 90);
    add_byte(&packets, 0xc0 | 18), add_byte(&packets, 224 | 3); /* first partial length too short */
    add_body(&packets, 1, 8);
    add_byte(&packets, 100), add_body(&packets, 1, 100);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 2, 4, 90);
    assert_int_equal(kind_of_packets(&packets, "SIGNATURE"), CRYPTO_NOT_SEALED);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    assert_int_equal(kind_of_packets(&good, "SIGNATURE"), CRYPTO_NOT_SEALED);
}

/* What could carry a text through what parses as encryption. */
static void test_packets_with_room_for_text(void **state)
{
    struct packets packets = {.len = 0};

    (void)state;
    add_packet(&packets, 3, 4, 40); /* a password alone: for no recipient's key */
    add_packet(&packets, 18, 1, 100);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_byte(&packets, 0xc0 | 10), add_byte(&packets, 3); /* a marker that says something */
    add_byte(&packets, 'P'), add_byte(&packets, 'G'), add_byte(&packets, 'x');
    add_packet(&packets, 1, 3, 94);
    add_packet(&packets, 18, 1, 100);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
    packets.len = 0;
    add_packet(&packets, 1, 3, 12); /* too short to hold a session key */
    add_packet(&packets, 18, 1, 100);
    assert_int_equal(kind_of_packets(&packets, "MESSAGE"), CRYPTO_NOT_SEALED);
}

/* Headers of the parts, and of the armour, are beside the encryption. */
static void test_headers_with_room_for_text(void **state)
{
    struct packets packets = good_packets();
    struct buf armour, text;
    char many[400];

    (void)state;
    buf_init(&armour, TEXT_MAX);
    buf_init(&text, TEXT_MAX);
    add_armour(&armour, &packets, "MESSAGE");
    memset(many, 'x', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
#define WITH_PART_FIELD "\r\n--b\r\nContent-Type: application/octet-stream\r\n%s\r\n\r\n%s\r\n--b--\r\n"
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL WITH_PART_FIELD,
                                  "Content-Description: OpenPGP encrypted message\r\n"
                                  "Content-Disposition: inline; filename=\"encrypted.asc\"",
                                  armour.data),
                     CRYPTO_SEALED_OPENPGP);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL WITH_PART_FIELD, "Subject: secret", armour.data), 0);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL WITH_PART_FIELD, "secret", armour.data), 0);
    assert_int_equal(buf_addf(&text, "Content-Description: %s", many), ERR_OK);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL WITH_PART_FIELD, text.data, armour.data), 0);
    assert_int_equal(kind_of_text("the secret\r\n" PGP_TYPE "\r\n" CONTROL DATA "%s\r\n--b--\r\n", armour.data), 0);
    assert_int_equal(kind_of_text("the secret\r\n\r\n%s", armour.data), 0);
    buf_clear(&text);
    assert_int_equal(buf_addf(&text, "-----BEGIN PGP MESSAGE-----\r\nComment: %s%s", many, armour.data + 27), ERR_OK);
    assert_int_equal(kind_of_data(text.data), 0);
    buf_clear(&text);
    assert_int_equal(buf_add_string(&text, "-----BEGIN PGP MESSAGE-----"), ERR_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(buf_add_string(&text, "\r\nComment: a line of the letter"), ERR_OK);
    assert_int_equal(buf_add_string(&text, armour.data + 27), ERR_OK);
    assert_int_equal(kind_of_data(text.data), 0);
    buf_fini(&armour);
    buf_fini(&text);
}

static void test_packets_byte_by_byte(void **state)
{
    struct packets source = good_packets();
    struct crypto_packets packets = {0};

    (void)state;
    for (size_t i = 0; i < source.len; i++) {
        assert_false(crypto_packets_is_encrypted(&packets));
        assert_true(crypto_packets_feed(&packets, (struct span){source.bytes + i, 1}));
    }
    assert_true(crypto_packets_is_encrypted(&packets));
    assert_false(crypto_packets_feed(&packets, SPAN_LIT("\xd2")));
}

static void test_armour_near_misses(void **state)
{
    struct packets packets = good_packets();
    struct buf armour, text;

    (void)state;
    buf_init(&armour, TEXT_MAX);
    buf_init(&text, TEXT_MAX);
    add_armour(&armour, &packets, "MESSAGE");
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "%s\r\n--b--\r\n", armour.data), CRYPTO_SEALED_OPENPGP);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "secret\r\n%s\r\n--b--\r\n", armour.data), 0);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "%ssecret\r\n--b--\r\n", armour.data), 0);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "%s%s\r\n--b--\r\n", armour.data, armour.data), 0);
    assert_int_equal(kind_of_text("Subject: inline\r\n\r\n%s", armour.data), CRYPTO_SEALED_OPENPGP);
    assert_int_equal(kind_of_text("Subject: inline\r\n\r\n\r\n %s\r\n", armour.data), CRYPTO_SEALED_OPENPGP);
    assert_int_equal(kind_of_text("Subject: inline\r\n\r\nhello\r\n%s", armour.data), 0);
    assert_int_equal(kind_of_text("Subject: inline\r\n\r\n%s-- \r\nlist footer\r\n", armour.data), 0);
    assert_int_equal(kind_of_text("Content-Type: text/html\r\n\r\n%s", armour.data), 0);
    assert_int_equal(kind_of_text("Content-Type: text/plain\r\nContent-Type: text/plain\r\n\r\n%s", armour.data), 0);
    assert_int_equal(base64_encode(buf_span(&armour), &text), ERR_OK);
    assert_int_equal(kind_of_text("Content-Transfer-Encoding: base64\r\n\r\n%s\r\n", text.data), CRYPTO_SEALED_OPENPGP);
    assert_int_equal(kind_of_text("Content-Transfer-Encoding: base64\r\n\r\n(secret)\r\n%s\r\n", text.data), 0);
    /* an armour header that is none, a broken line, a hole */
    buf_clear(&text);
    assert_int_equal(buf_add_string(&text, armour.data), ERR_OK);
    memcpy(strstr(text.data, "Comment"), "Secrets", 7);
    assert_int_equal(kind_of_data(text.data), 0);
    memcpy(text.data, armour.data, armour.len);
    memcpy(strstr(text.data, "\r\n\r\n") + 8, "\r\n\r\n", 4);
    assert_int_equal(kind_of_data(text.data), 0);
    memcpy(text.data, armour.data, armour.len);
    strstr(text.data, "\r\n\r\n")[8] = '*';
    assert_int_equal(kind_of_data(text.data), 0);
    buf_fini(&armour);
    buf_fini(&text);
}

static void test_mime_near_misses(void **state)
{
    struct packets packets = good_packets();
    struct buf armour;
    const char *a;

    (void)state;
    buf_init(&armour, TEXT_MAX);
    add_armour(&armour, &packets, "MESSAGE");
    a = armour.data;
    assert_int_equal(kind_of_data("The plan is to meet at noon.\r\n"), CRYPTO_NOT_SEALED);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\nsecret\r\n" CONTROL DATA "%s\r\n--b--\r\n", a), 0);
    assert_int_equal(kind_of_text(PGP_TYPE
                                  "\r\nThis is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)\r\n" CONTROL DATA
                                  "%s\r\n--b--\r\n",
                                  a),
                     CRYPTO_SEALED_OPENPGP);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "%s\r\n--b--\r\nsecret\r\n", a), 0);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "%s\r\n--b\r\n\r\nsecret\r\n--b--\r\n", a), 0);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL DATA "%s", a), 0); /* not closed */
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n" CONTROL "\r\n--b--\r\n"), 0);
    assert_int_equal(kind_of_text(PGP_TYPE "\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
                                           "secret\r\n" DATA "%s\r\n--b--\r\n",
                                  a),
                     0);
    assert_int_equal(
        kind_of_text(PGP_TYPE "\r\n--b\r\nContent-Type: text/plain\r\n\r\nVersion: 1\r\n" DATA "%s\r\n--b--\r\n", a),
        0);
    assert_int_equal(
        kind_of_text(PGP_TYPE "\r\n" CONTROL "\r\n--b\r\nContent-Type: text/plain\r\n\r\n%s\r\n--b--\r\n", a), 0);
    assert_int_equal(
        kind_of_text("Content-Type: multipart/mixed; boundary=b\r\n\r\n" CONTROL DATA "%s\r\n--b--\r\n", a), 0);
    assert_int_equal(
        kind_of_text("Content-Type: multipart/encrypted; boundary=b\r\n\r\n" CONTROL DATA "%s\r\n--b--\r\n", a), 0);
    assert_int_equal(kind_of_text("Content-Type: text/html\r\n" PGP_TYPE "\r\n" CONTROL DATA "%s\r\n--b--\r\n", a), 0);
    assert_int_equal(kind_of_text("Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" PGP_TYPE
                                  "\r\n" CONTROL DATA "%s\r\n--b--\r\n--o--\r\n",
                                  a),
                     0);
    assert_int_equal(
        kind_of_text("Content-Type: message/rfc822\r\n\r\n" PGP_TYPE "\r\n" CONTROL DATA "%s\r\n--b--\r\n", a), 0);
    assert_int_equal(kind_of(SPAN_LIT("")), 0);
    buf_fini(&armour);
}

static void test_looks_sealed(void **state)
{
    (void)state;
    assert_true(crypto_looks_sealed(SPAN_LIT(PGP_TYPE "\r\n"), CRYPTO_SEALED_OPENPGP));
    assert_false(crypto_looks_sealed(SPAN_LIT(PGP_TYPE "\r\n"), CRYPTO_SEALED_SMIME));
    assert_false(crypto_looks_sealed(SPAN_LIT(PGP_TYPE "\r\n"), CRYPTO_NOT_SEALED));
    assert_false(crypto_looks_sealed(SPAN_LIT("Subject: x\r\n\r\n" PGP_TYPE), CRYPTO_SEALED_OPENPGP));
    assert_true(
        crypto_looks_sealed(SPAN_LIT("Subject: x\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n"), CRYPTO_SEALED_OPENPGP));
    assert_false(crypto_looks_sealed(SPAN_LIT("Subject: x\r\n\r\nhello\r\n"), CRYPTO_SEALED_OPENPGP));
    assert_true(crypto_looks_sealed(SPAN_LIT("Content-Transfer-Encoding: base64\r\n\r\n"
                                             "LS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0tDQo=\r\n"),
                                    CRYPTO_SEALED_OPENPGP));
    assert_true(crypto_looks_sealed(SPAN_LIT("Content-Type: application/pkcs7-mime\r\n\r\n"), CRYPTO_SEALED_SMIME));
    assert_true(crypto_looks_sealed(
        SPAN_LIT("Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data\r\n\r\n"), CRYPTO_SEALED_SMIME));
    assert_false(crypto_looks_sealed(
        SPAN_LIT("Content-Type: application/pkcs7-mime; smime-type=\"Signed-Data\"\r\n\r\n"), CRYPTO_SEALED_SMIME));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_that_are_encrypted), cmocka_unit_test(test_packets_that_are_not),
        cmocka_unit_test(test_packets_with_room_for_text), cmocka_unit_test(test_headers_with_room_for_text),
        cmocka_unit_test(test_packets_byte_by_byte),       cmocka_unit_test(test_armour_near_misses),
        cmocka_unit_test(test_mime_near_misses),           cmocka_unit_test(test_looks_sealed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which S/MIME is encrypted as a whole, with no room beside for a text. */
#include "base/base64.h"
#include "crypto/engine.h"
#include "crypto/inspect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX 100000
#define TYPE "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n"

static unsigned digit(char digit)
{
    return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static void add(struct buf *out, unsigned byte)
{
    assert_int_equal(buf_add_byte(out, (char)byte), ERR_OK);
}

/* ASN.1 as it is written here: bytes in hexadecimal; {...} is a definite length and a content, <...> an indefinite one;
   'a*300' is 300 times "a". Returns what follows the closing bracket. */
// NOLINTNEXTLINE(misc-no-recursion)
static const char *encode(const char *at, struct buf *out)
{
    while (*at != '\0' && *at != '}' && *at != '>') {
        if (*at == ' ') {
            at++;
        } else if (*at == '\'') {
            unsigned count = (unsigned)strtoul(at + 3, NULL, 10);
            for (unsigned i = 0; i < count; i++)
                add(out, (unsigned char)at[1]);
            at = strchr(at + 1, '\'') + 1;
        } else if (*at == '<') {
            add(out, 0x80);
            at = encode(at + 1, out);
            add(out, 0);
            add(out, 0);
        } else if (*at == '{') {
            struct buf inner;
            buf_init(&inner, TEXT_MAX);
            at = encode(at + 1, &inner);
            if (inner.len >= 128)
                add(out, 0x82);
            if (inner.len >= 128)
                add(out, (unsigned)(inner.len >> 8));
            add(out, (unsigned)(inner.len & 0xff));
            assert_int_equal(buf_add_span(out, buf_span(&inner)), ERR_OK);
            buf_fini(&inner);
        } else {
            add(out, digit(at[0]) << 4 | digit(at[1]));
            at += 2;
        }
    }
    return *at == '\0' ? at : at + 1;
}

static enum crypto_sealed kind_of_text(const char *text, size_t len, bool *is_signed_out)
{
    struct mime_tree *tree;
    struct span message = {text, len};
    assert_int_equal(mime_parse(message, MIME_LIMITS_DEFAULT, &tree), ERR_OK);
    enum crypto_sealed kind = crypto_sealed_kind(message, tree);
    *is_signed_out = crypto_is_smime_signed(message, tree);
    mime_tree_free(&tree);
    return kind;
}

static enum crypto_sealed kind_of_bytes(struct span bytes, bool *is_signed_out)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    assert_int_equal(buf_add_string(&text, TYPE "Content-Transfer-Encoding: base64\r\n\r\n"), ERR_OK);
    assert_int_equal(base64_encode(bytes, &text), ERR_OK);
    assert_int_equal(buf_add_string(&text, "\r\n"), ERR_OK);
    enum crypto_sealed kind = kind_of_text(text.data, text.len, is_signed_out);
    buf_fini(&text);
    return kind;
}

static bool is_sealed(const char *asn1)
{
    struct buf bytes;
    bool is_signed;
    buf_init(&bytes, TEXT_MAX);
    encode(asn1, &bytes);
    enum crypto_sealed kind = kind_of_bytes(buf_span(&bytes), &is_signed);
    buf_fini(&bytes);
    return kind == CRYPTO_SEALED_SMIME;
}

#define ENVELOPED "0609 2a864886f70d010703 "
#define SIGNED "0609 2a864886f70d010702 "
#define AUTH "060b 2a864886f70d0109100117 "
#define DATA "0609 2a864886f70d010701 "
#define AES "30{0609 60864801650304012a 0410'i*16'} "
#define AES_GCM "30{0609 60864801650304012e 30{040c'i*12' 020110}} "
#define KEY "30{020100 'r*300'} "
#define SET "31{" KEY "a1{'k*100'} a2{'w*100'}} "
#define CIPHER "80{'c*200'} "
#define CONTENT "30{" DATA AES CIPHER "} "
#define GCM "30{" DATA AES_GCM CIPHER "} "
#define TAG "0410'm*16' "
#define EVERY(type, inner) "30{" type "a0{30{020100 " inner "}}}"

static void what_is_encrypted(void **state)
{
    (void)state;
    static const char *const sealed[] = {
        EVERY(ENVELOPED, SET CONTENT), EVERY(AUTH, SET GCM TAG),
        "30<" ENVELOPED "a0<30<020100 31<" KEY "> 30<" DATA AES "a0<04{'c*40'}04{'c*16'}> > > > >",
        "30<" AUTH "a0<30<020100 " SET "30<" DATA AES_GCM "a0<04{'c*40'}> >" TAG "> > >",
        /* what is authenticated tells what the content is, RFC 5083 */
        EVERY(AUTH, SET GCM "a1{30{0609 2a864886f70d010903 31{" DATA "}}}" TAG)};
    for (size_t i = 0; i < sizeof sealed / sizeof *sealed; i++)
        assert_true(is_sealed(sealed[i]));
}

static void what_is_not(void **state)
{
    (void)state;
    static const char *const open[] = {"", "30{}", EVERY(SIGNED, SET CONTENT), EVERY(DATA, SET CONTENT),
                                       /* nobody it is for; nothing in it */
                                       EVERY(ENVELOPED, "31{}" CONTENT), EVERY(ENVELOPED, SET "30{" DATA AES "}"),
                                       EVERY(ENVELOPED, SET "30{" DATA AES "80{}}"),
                                       /* no tag, or one as long as a text */
                                       EVERY(AUTH, SET GCM), EVERY(AUTH, SET GCM "04{'m*4'}"),
                                       EVERY(AUTH, SET GCM "04{'m*200'}"), EVERY(AUTH, SET GCM "24{" TAG "}")};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        assert_false(is_sealed(open[i]));
}

/* Whatever in CMS nobody encrypts. */
static void room_for_text(void **state)
{
    (void)state;
    static const char *const open[] = {
        EVERY(ENVELOPED, SET CONTENT) "'t*300'", EVERY(ENVELOPED, SET CONTENT "a1{30{'t*300'}}"),
        EVERY(ENVELOPED, SET CONTENT "04{'t*300'}"), EVERY(ENVELOPED, "a0{a0{'t*300'}}" SET CONTENT),
        EVERY(AUTH, SET GCM "a1{'t*300'}" TAG), EVERY(AUTH, SET GCM TAG "a2{'t*300'}"),
        /* in the set of recipients: what is none, what is of a kind that anybody may invent, or too long */
        EVERY(ENVELOPED, "31{" KEY "04{'t*300'}}" CONTENT), EVERY(ENVELOPED, "31{" KEY "84{'t*300'}}" CONTENT),
        EVERY(ENVELOPED, "31{" KEY "a4{'t*300'}}" CONTENT), EVERY(ENVELOPED, "31{" KEY "a3{'t*300'}}" CONTENT),
        EVERY(ENVELOPED, "31{" KEY "30{'t*5000'}}" CONTENT), EVERY(ENVELOPED, "31{" KEY "31{'t*300'}}" CONTENT),
        /* as the cipher, or by one that nobody knows */
        EVERY(ENVELOPED, SET "30{" DATA "30{0609 60864801650304012a 04{'t*300'}} " CIPHER "}"),
        EVERY(ENVELOPED, SET "30{" DATA "30{0603 2a0304} " CIPHER "}"),
        EVERY(ENVELOPED, SET "30{" DATA "30{" DATA "} " CIPHER "}"),
        EVERY(ENVELOPED, SET "30{" DATA "30{0500} " CIPHER "}"),
        /* among the pieces of what is encrypted */
        EVERY(ENVELOPED, SET "30{" DATA AES "a0{04{'c*40'} 0c{'t*300'}}}"),
        EVERY(ENVELOPED, SET "30{" DATA AES "a0{24{0c{'t*300'}}}}"),
        EVERY(ENVELOPED, SET "30{" DATA AES CIPHER "04{'t*300'}}"),
        EVERY(ENVELOPED, SET "30{04{'t*300'}" AES CIPHER "}"),
        /* in the version, and after the message */
        "30{" ENVELOPED "a0{30{02{'t*300'}" SET CONTENT "}}}",
        "30{" ENVELOPED "a0{30{020100" SET CONTENT "}04{'t*300'}}}",
        "30{" ENVELOPED "a0{30{020100" SET CONTENT "}}04{'t*300'}}"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (is_sealed(open[i]))
            fail_msg("case %zu passes as encrypted: %s", i, open[i]);
}

static void cut_anywhere(void **state)
{
    (void)state;
    struct buf bytes;
    bool is_signed;
    buf_init(&bytes, TEXT_MAX);
    encode(EVERY(AUTH, SET GCM TAG), &bytes);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(kind_of_bytes(span_slice(buf_span(&bytes), 0, len), &is_signed), CRYPTO_NOT_SEALED);
    assert_int_equal(kind_of_bytes(buf_span(&bytes), &is_signed), CRYPTO_SEALED_SMIME);
    buf_fini(&bytes);
}

static void signed_data_is_told_apart(void **state)
{
    (void)state;
    struct buf bytes;
    bool is_signed;
    buf_init(&bytes, TEXT_MAX);
    encode(EVERY(SIGNED, "31{}"), &bytes);
    assert_int_equal(kind_of_bytes(buf_span(&bytes), &is_signed), CRYPTO_NOT_SEALED);
    assert_true(is_signed);
    buf_fini(&bytes);
}

static void bodies_that_hold_none(void **state)
{
    (void)state;
    static const char *const texts[] = {TYPE "Content-Transfer-Encoding: base64\r\n\r\n", TYPE "\r\nsecret\r\n"};
    bool is_signed;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(kind_of_text(texts[i], strlen(texts[i]), &is_signed), CRYPTO_NOT_SEALED);
}

static void nested_without_end(void **state)
{
    char bytes[4096];
    bool is_signed;
    (void)state;
    for (size_t i = 0; i + 1 < sizeof(bytes); i += 2)
        memcpy(bytes + i, "\x30\x80", 2);
    assert_int_equal(kind_of_bytes((struct span){bytes, sizeof bytes}, &is_signed), CRYPTO_NOT_SEALED);
}

/* What the engine says of a message before it leaves (crypto/engine.h). */
static void the_last_look_sees_what_is_plain(void **state)
{
    static const char *const plain[] = {"Content-Type: text/plain\r\n\r\nx\r\n", (TYPE "\r\nx\r\n"),
                                        "Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nx\r\n",
                                        "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n", "\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct mime_tree *tree;
        struct span message = span_of(plain[i]);
        assert_int_equal(mime_parse(message, MIME_LIMITS_DEFAULT, &tree), ERR_OK);
        assert_false(crypto_engine_smime.is_signed(message, tree));
        assert_false(crypto_engine_smime.is_encrypted(message, tree));
        mime_tree_free(&tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encrypted),     cmocka_unit_test(what_is_not),
        cmocka_unit_test(room_for_text),         cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(bodies_that_hold_none), cmocka_unit_test(signed_data_is_told_apart),
        cmocka_unit_test(nested_without_end),    cmocka_unit_test(the_last_look_sees_what_is_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

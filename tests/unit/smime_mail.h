/*
 * Messages by Bob to Alice, made by OpenSSL's CMS, and what opening makes of them: what the tests of crypto/open.h with
 * S/MIME share.
 */
#ifndef TESTS_UNIT_SMIME_MAIL_H
#define TESTS_UNIT_SMIME_MAIL_H

#include "crypto/learnt.h"
#include "crypto/open.h"
#include "crypto/own.h"
#include "mime/encoding.h"
#include "mime/field.h"
#include "tests/unit/smime_open_world.h"

#include "base/base64.h"
#include "base/clock.h"

#define ALICE "alice@example.org"
#define FROM "From: Bob <bob@example.org>\r\nTo: " ALICE "\r\nSubject: outer\r\n"
#define TEXT "Content-Type: text/plain\r\n\r\nxyzzy-canary\r\n"
#define HTML                                                                                                           \
    "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8;"           \
    " format=flowed\r\n\r\nxyzzy-canary\r\n--x\r\nContent-Type: text/html\r\n\r\n<img src=\"http://mallory/\">\r\n"    \
    "--x--\r\n"

static struct world world;
static struct made root, middle, bob, mallory;
static const struct made *alice;
static char anchor_path[64];
static struct keyring_anchors *anchors;
static struct keyring *nobody;

__attribute__((unused)) static int set_up(void **state)
{
    (void)state;
    const struct made_wish ca = {.name = "Root", .basic = "critical,CA:TRUE"};
    const struct made_wish ca2 = {.name = "Middle", .basic = "critical,CA:TRUE"};
    const struct made_wish a = {.name = "Alice", .san = "email:" ALICE, .rsa_bits = 2048};
    const struct made_wish b = {.name = "Bob", .san = "email:bob@example.org"};
    root = made_certificate(&ca, NULL);
    middle = made_certificate(&ca2, &root);
    bob = made_certificate(&b, &middle);
    mallory = made_certificate(&b, NULL);
    anchors = made_anchors(root.certificate, anchor_path);
    clock_fix(MADE_NOW);
    return keyring_new(&nobody) == ERR_OK && (world_init(&world), true) &&
                   (alice = world_own(&world, made_certificate(&a, &root))) != NULL
               ? 0
               : -1;
}

__attribute__((unused)) static int tear_down(void **state)
{
    (void)state;
    keyring_anchors_close(&anchors);
    keyring_free(&nobody);
    made_free(&root);
    made_free(&middle);
    made_free(&bob);
    made_free(&mallory);
    world_fini(&world);
    return unlink(anchor_path);
}

/* ---- making ---- */

__attribute__((unused)) static void wrap(const char *parameters, struct span der, struct buf *out)
{
    buf_init(out, WORLD_SIZE);
    assert_int_equal(buf_addf(out,
                              "Content-Type: application/pkcs7-mime; %s\r\nContent-Transfer-Encoding: base64\r\n\r\n",
                              parameters),
                     ERR_OK);
    assert_int_equal(base64_encode(der, out), ERR_OK);
    assert_int_equal(buf_add_string(out, "\r\n"), ERR_OK);
}

__attribute__((unused)) static struct buf encrypted_to(const struct made *to, const char *cipher, const char *text)
{
    struct buf der, out;
    world_seal(&(struct world_seal){.to = {to}, .cipher = cipher}, span_of(text), &der);
    wrap("smime-type=enveloped-data", buf_span(&der), &out);
    buf_fini(&der);
    return out;
}

__attribute__((unused)) static struct buf encrypted(const char *cipher, const char *text)
{
    return encrypted_to(alice, cipher, text);
}

/* `more`: a certificate to send along, or NULL. */
__attribute__((unused)) static struct buf signed_by(const struct made *signer, X509 *more, bool is_opaque,
                                                    unsigned flags, const char *text)
{
    const unsigned all = CMS_BINARY | flags | (is_opaque ? 0 : CMS_DETACHED);
    STACK_OF(X509) *others = sk_X509_new_null();
    unsigned char *der = NULL;
    struct buf out, encoded;
    BIO *in = BIO_new_mem_buf(text, -1);
    if (more != NULL)
        sk_X509_push(others, more);
    CMS_ContentInfo *cms = CMS_sign(signer->certificate, signer->key, others, in, all);
    assert_non_null(cms);
    const int len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0);
    const struct span bytes = {(const char *)der, (size_t)len};
    if (is_opaque) {
        wrap("smime-type=signed-data", bytes, &out);
    } else {
        buf_init(&out, WORLD_SIZE);
        buf_init(&encoded, WORLD_SIZE);
        assert_int_equal(base64_encode(bytes, &encoded), ERR_OK);
        assert_int_equal(buf_addf(&out,
                                  "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; "
                                  "micalg=sha-256; boundary=s\r\n\r\npreamble\r\n--s\r\n%s\r\n--s\r\n"
                                  "Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n"
                                  "\r\n%s\r\n--s--\r\n",
                                  text, encoded.data),
                         ERR_OK);
        buf_fini(&encoded);
    }
    OPENSSL_free(der);
    CMS_ContentInfo_free(cms);
    sk_X509_free(others);
    BIO_free(in);
    return out;
}

/* ---- opening ---- */

struct mail {
    struct buf message, view;
    struct crypto_opened opened;
};

__attribute__((unused)) static void mail_fini(struct mail *mail)
{
    buf_fini(&mail->message);
    buf_fini(&mail->view);
    crypto_session_keys_fini(&mail->opened.session_keys);
    crypto_learnt_fini(&mail->opened.learnt);
}

/* The same bytes from what was decided, with no key, no anchor and no folder. */
__attribute__((unused)) static void open_again(const struct mail *mail)
{
    const struct crypto_open_options options = {.output_max = WORLD_SIZE,
                                                .layers_max = 8,
                                                .decided = &mail->opened.decision,
                                                .session_keys = &mail->opened.session_keys};
    struct crypto_opened opened;
    struct buf view;
    buf_init_secret(&view, WORLD_SIZE);
    assert_int_equal(crypto_open(NULL, &options, buf_span(&mail->message), &view, &opened), ERR_OK);
    assert_true(span_is_equal(buf_span(&view), buf_span(&mail->view)));
    assert_memory_equal(&opened.session_keys, &mail->opened.session_keys, sizeof opened.session_keys);
    assert_int_equal(opened.learnt.len, 0);
    buf_fini(&view);
}

__attribute__((unused)) static enum err try_open(const struct crypto_smime *smime, struct mail *mail)
{
    const struct crypto_open_options options = {
        .keyring = nobody, .smime = smime, .least = KEYRING_FOUND, .output_max = WORLD_SIZE, .layers_max = 8};
    buf_init_secret(&mail->view, WORLD_SIZE);
    return crypto_open(NULL, &options, buf_span(&mail->message), &mail->view, &mail->opened);
}

/* Opens `part`, which is wiped, as the whole of a message by Bob. */
__attribute__((unused)) static void open_part(struct buf part, struct mail *mail)
{
    buf_init(&mail->message, WORLD_SIZE);
    assert_int_equal(buf_addf(&mail->message, FROM "%s", part.data), ERR_OK);
    buf_fini(&part);
    world.smime.anchors = anchors;
    assert_int_equal(try_open(&world.smime, mail), ERR_OK);
    open_again(mail);
}

__attribute__((unused)) static void assert_verdict(const struct mail *mail, const char *expected)
{
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(crypto_verdict_format(&mail->opened.verdict, &text), ERR_OK);
    if (strstr(text.data, expected) == NULL)
        fail_msg("%s: wanted %s (%s)", text.data, expected, mail->opened.reason);
    buf_fini(&text);
}

__attribute__((unused)) static bool has(const struct mail *mail, const char *needle)
{
    return strstr(mail->view.data, needle) != NULL;
}

#endif

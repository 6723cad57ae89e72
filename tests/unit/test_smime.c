/* Detached S/MIME signatures: what verifies, what does not, and what is said of the signer. */
#include "tests/unit/x509_made.h"

#include "crypto/smime.h"

#include <openssl/cms.h>

#define TEXT "Content-Type: text/plain\r\n\r\nxyzzy-canary\r\n"
#define ALICE "alice@example.org"

static struct made root, alice, bob;
static struct keyring_anchors *anchors, *none;
static char anchor_path[64];

static int set_up(void **state)
{
    (void)state;
    const struct made_wish ca = {.name = "Root", .basic = "critical,CA:TRUE"};
    const struct made_wish a = {.name = "Alice", .san = "email:" ALICE, .rsa_bits = 2048};
    const struct made_wish b = {.name = "Bob", .san = "email:bob@example.org"};
    root = made_certificate(&ca, NULL);
    alice = made_certificate(&a, &root);
    bob = made_certificate(&b, &root);
    anchors = made_anchors(root.certificate, anchor_path);
    return keyring_anchors_open("", &none) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keyring_anchors_close(&anchors);
    keyring_anchors_close(&none);
    made_free(&root);
    made_free(&alice);
    made_free(&bob);
    return unlink(anchor_path);
}

struct signing {
    const struct made *signers[10]; /* up to the first NULL */
    const char *text, *hash;        /* NULL: TEXT, SHA256 */
    unsigned flags;
};

/* Signs as OpenSSL does; the DER is the caller's. */
static struct span sign(const struct signing *how)
{
    const char *text = how->text == NULL ? TEXT : how->text;
    const EVP_MD *hash = EVP_get_digestbyname(how->hash == NULL ? "SHA256" : how->hash);
    unsigned flags = CMS_BINARY | CMS_DETACHED | how->flags;
    unsigned char *der = NULL;
    BIO *in = BIO_new_mem_buf(text, -1);
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, in, flags | CMS_PARTIAL);
    assert_non_null(cms);
    for (size_t i = 0; how->signers[i] != NULL; i++)
        assert_non_null(CMS_add1_signer(cms, how->signers[i]->certificate, how->signers[i]->key, hash, how->flags));
    assert_int_equal(CMS_final(cms, in, NULL, flags), 1);
    int len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    return (struct span){(const char *)der, (size_t)len};
}

struct found {
    struct crypto_smime_verified verified;
    struct keyring *certificates;
};

static void verify(const struct keyring_anchors *by, struct span der, const char *text, struct found *found)
{
    assert_int_equal(keyring_new(&found->certificates), ERR_OK);
    const struct crypto_smime smime = {.anchors = by};
    struct crypto_learnt learnt = {.len = 0};
    assert_int_equal(crypto_smime_verify(&smime, der, span_of(text), false, MADE_NOW, found->certificates, &learnt,
                                         &found->verified),
                     ERR_OK);
    assert_true(found->verified.len >= 1);
    crypto_learnt_fini(&learnt);
}

/* One signature, in this state; whoever signed is known with this trust for the address (NEVER: not known). */
static void assert_one(const struct keyring_anchors *by, struct span der, const char *text,
                       enum crypto_signature_state expected, const char *address, enum keyring_trust trust)
{
    struct found found;
    size_t first;
    verify(by, der, text, &found);
    assert_int_equal(found.verified.len, 1);
    assert_int_equal(found.verified.signatures[0].state, expected);
    assert_int_equal(found.verified.signatures[0].format, KEYRING_SMIME);
    size_t count = keyring_find(found.certificates, address, &first);
    assert_int_equal(count, trust == KEYRING_NEVER ? 0 : 1);
    if (count == 1) {
        assert_int_equal(keyring_at(found.certificates, first)->trust, trust);
        assert_string_equal(keyring_at(found.certificates, first)->fingerprint,
                            found.verified.signatures[0].fingerprint);
    }
    keyring_free(&found.certificates);
}

static void signed_text_verifies(void **state)
{
    (void)state;
    const struct signing how[] = {
        {.signers = {&alice}}, {.signers = {&alice}, .hash = "SHA512"}, {.signers = {&alice}, .flags = CMS_USE_KEYID}};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        struct span der = sign(&how[i]);
        assert_one(anchors, der, TEXT, CRYPTO_SIG_GOOD, ALICE, KEYRING_FULL);
        assert_one(none, der, TEXT, CRYPTO_SIG_GOOD, ALICE, KEYRING_UNVERIFIED);
        assert_one(anchors, der, TEXT " ", CRYPTO_SIG_BAD, ALICE, KEYRING_NEVER);
        assert_one(anchors, der, "", CRYPTO_SIG_BAD, ALICE, KEYRING_NEVER);
        OPENSSL_free((void *)(uintptr_t)der.ptr);
    }
}

/* What it signs could be the attributes of another message of Alice's. */
static void signature_without_attributes_is_bad(void **state)
{
    (void)state;
    struct span der = sign(&(struct signing){.signers = {&alice}, .flags = CMS_NOATTR});
    assert_one(anchors, der, TEXT, CRYPTO_SIG_BAD, ALICE, KEYRING_NEVER);
    OPENSSL_free((void *)(uintptr_t)der.ptr);
}

static void weak_hash_is_never_good(void **state)
{
    (void)state;
    static const char *const hashes[] = {"SHA1", "MD5"};
    for (size_t i = 0; i < 2; i++) {
        struct span der = sign(&(struct signing){.signers = {&alice}, .hash = hashes[i]});
        assert_one(anchors, der, TEXT, CRYPTO_SIG_WEAK, ALICE, KEYRING_UNVERIFIED);
        OPENSSL_free((void *)(uintptr_t)der.ptr);
    }
}

/* The same with `count` digest algorithms in front, all of them the first one. */
static void repeat_digest(struct span der, size_t count, struct buf *out)
{
    const unsigned char *at = (const unsigned char *)der.ptr, *end = at + der.len, *algorithm;
    long len;
    int tag, class;
    buf_init(out, 65536);
    assert_int_equal(ASN1_get_object(&at, &len, &tag, &class, end - at), V_ASN1_CONSTRUCTED); /* ContentInfo */
    const unsigned char *type = at;
    (void)ASN1_get_object(&at, &len, &tag, &class, end - at);
    at += len;
    assert_int_equal(buf_add(out, "\x30\x80", 2), ERR_OK);
    assert_int_equal(buf_add(out, type, (size_t)(at - type)), ERR_OK);
    (void)ASN1_get_object(&at, &len, &tag, &class, end - at); /* [0] */
    (void)ASN1_get_object(&at, &len, &tag, &class, end - at); /* SignedData */
    const unsigned char *version = at;
    (void)ASN1_get_object(&at, &len, &tag, &class, end - at);
    at += len;
    assert_int_equal(buf_add(out, "\xa0\x80\x30\x80", 4), ERR_OK);
    assert_int_equal(buf_add(out, version, (size_t)(at - version)), ERR_OK);
    (void)ASN1_get_object(&at, &len, &tag, &class, end - at);
    assert_int_equal(tag, V_ASN1_SET);
    algorithm = at;
    (void)ASN1_get_object(&at, &len, &tag, &class, end - at);
    at += len;
    const size_t size = (size_t)(at - algorithm), all = size * count;
    const unsigned char head[] = {0x31, 0x82, (unsigned char)(all >> 8), (unsigned char)all};
    assert_int_equal(buf_add(out, head, sizeof head), ERR_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_add(out, algorithm, size), ERR_OK);
    assert_int_equal(buf_add(out, at, (size_t)(end - at)), ERR_OK);
    assert_int_equal(buf_add(out, "\0\0\0\0\0", 6), ERR_OK);
}

/* OpenSSL digests all of the content once for each. */
static void digests_without_end_are_not_made(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        enum crypto_signature_state state;
    } rows[] = {{1, CRYPTO_SIG_GOOD},
                {CRYPTO_SMIME_SIGNERS_MAX, CRYPTO_SIG_GOOD},
                {CRYPTO_SMIME_SIGNERS_MAX + 1, CRYPTO_SIG_BAD},
                {2000, CRYPTO_SIG_BAD}};
    struct span der = sign(&(struct signing){.signers = {&alice}});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf many;
        repeat_digest(der, rows[i].count, &many);
        assert_one(anchors, buf_span(&many), TEXT, rows[i].state, ALICE,
                   rows[i].state == CRYPTO_SIG_GOOD ? KEYRING_FULL : KEYRING_NEVER);
        buf_fini(&many);
    }
    OPENSSL_free((void *)(uintptr_t)der.ptr);
}

static void every_signer_is_judged(void **state)
{
    (void)state;
    struct found found;
    struct span der = sign(&(struct signing){.signers = {&alice, &bob}});
    verify(anchors, der, TEXT, &found);
    assert_int_equal(found.verified.len, 2);
    assert_int_equal(found.verified.signatures[0].state, CRYPTO_SIG_GOOD);
    assert_int_equal(found.verified.signatures[1].state, CRYPTO_SIG_GOOD);
    assert_string_not_equal(found.verified.signatures[0].fingerprint, found.verified.signatures[1].fingerprint);
    assert_int_equal(keyring_len(found.certificates), 2);
    keyring_free(&found.certificates);
    OPENSSL_free((void *)(uintptr_t)der.ptr);
    der = sign(
        &(struct signing){.signers = {&bob, &bob, &bob, &bob, &bob, &bob, &bob, &bob, &bob}, .flags = CMS_NOCERTS});
    assert_one(anchors, der, TEXT, CRYPTO_SIG_BAD, ALICE, KEYRING_NEVER);
    OPENSSL_free((void *)(uintptr_t)der.ptr);
}

static void signer_without_certificate_is_unknown(void **state)
{
    (void)state;
    struct span der = sign(&(struct signing){.signers = {&alice}, .flags = CMS_NOCERTS});
    assert_one(anchors, der, TEXT, CRYPTO_SIG_UNKNOWN_KEY, ALICE, KEYRING_NEVER);
    OPENSSL_free((void *)(uintptr_t)der.ptr);
}

/* A signature that brings a text of its own signs that, and not what stands beside it. */
static void text_inside_is_bad(void **state)
{
    (void)state;
    unsigned char *der = NULL;
    BIO *in = BIO_new_mem_buf(TEXT, -1);
    CMS_ContentInfo *cms = CMS_sign(alice.certificate, alice.key, NULL, in, CMS_BINARY);
    assert_non_null(cms);
    int len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0);
    assert_one(anchors, (struct span){(const char *)der, (size_t)len}, TEXT, CRYPTO_SIG_BAD, ALICE, KEYRING_NEVER);
    OPENSSL_free(der);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
}

/* The text out of it; whatever is missing at its end, nothing comes. */
static void assert_text(struct span der, const char *expected)
{
    struct buf text;
    buf_init(&text, 1000);
    assert_int_equal(crypto_smime_kind(der), CRYPTO_SMIME_SIGNED);
    assert_int_equal(crypto_smime_signed_text(der, &text), ERR_OK);
    assert_true(span_is_equal(buf_span(&text), span_of(expected)));
    for (size_t len = 0; len < der.len; len++) {
        buf_clear(&text);
        assert_int_equal(crypto_smime_signed_text(span_slice(der, 0, len), &text), ERR_MALFORMED);
        assert_int_equal(text.len, 0);
    }
    buf_fini(&text);
    buf_init(&text, strlen(expected) - 1);
    assert_int_equal(crypto_smime_signed_text(der, &text), ERR_LIMIT);
    assert_int_equal(text.len, 0);
    buf_fini(&text);
}

static void text_inside_comes_out(void **state)
{
    (void)state;
    static const unsigned ways[] = {CMS_BINARY, CMS_BINARY | CMS_STREAM};
    for (size_t i = 0; i < 2; i++) {
        const struct crypto_smime smime = {.anchors = anchors};
        struct crypto_smime_verified verified;
        struct crypto_learnt learnt = {.len = 0};
        struct keyring *certificates;
        char *bytes;
        BIO *in = BIO_new_mem_buf(TEXT, -1), *out = BIO_new(BIO_s_mem());
        CMS_ContentInfo *cms = CMS_sign(alice.certificate, alice.key, NULL, in, ways[i]);
        assert_non_null(cms);
        assert_int_equal(i2d_CMS_bio_stream(out, cms, in, (int)ways[i]), 1);
        long size = BIO_get_mem_data(out, &bytes);
        struct span der = {bytes, (size_t)size};
        assert_text(der, TEXT);
        assert_int_equal(keyring_new(&certificates), ERR_OK);
        assert_int_equal(
            crypto_smime_verify(&smime, der, span_of(TEXT), true, MADE_NOW, certificates, &learnt, &verified), ERR_OK);
        assert_int_equal(verified.len, 1);
        assert_int_equal(verified.signatures[0].state, CRYPTO_SIG_GOOD);
        assert_int_equal(
            crypto_smime_verify(&smime, der, span_of(TEXT "x"), true, MADE_NOW, certificates, &learnt, &verified),
            ERR_OK);
        assert_int_equal(verified.signatures[0].state, CRYPTO_SIG_BAD);
        crypto_learnt_fini(&learnt);
        keyring_free(&certificates);
        CMS_ContentInfo_free(cms);
        BIO_free(in);
        BIO_free(out);
    }
}

static void every_cut_and_every_changed_octet_is_bad(void **state)
{
    (void)state;
    struct span der = sign(&(struct signing){.signers = {&bob}});
    char *copy = malloc(der.len);
    assert_non_null(copy);
    for (size_t len = 0; len < der.len; len++)
        assert_one(anchors, span_slice(der, 0, len), TEXT, CRYPTO_SIG_BAD, ALICE, KEYRING_NEVER);
    for (size_t at = 0; at < der.len; at++) {
        struct found found;
        size_t first;
        memcpy(copy, der.ptr, der.len);
        copy[at] ^= 0x20;
        verify(anchors, (struct span){copy, der.len}, TEXT, &found);
        /* What is not covered by a signature may change, but nobody becomes known by that. */
        assert_int_equal(keyring_find(found.certificates, ALICE, &first), 0);
        keyring_free(&found.certificates);
    }
    free(copy);
    OPENSSL_free((void *)(uintptr_t)der.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signed_text_verifies),
        cmocka_unit_test(signature_without_attributes_is_bad),
        cmocka_unit_test(weak_hash_is_never_good),
        cmocka_unit_test(digests_without_end_are_not_made),
        cmocka_unit_test(every_signer_is_judged),
        cmocka_unit_test(signer_without_certificate_is_unknown),
        cmocka_unit_test(text_inside_is_bad),
        cmocka_unit_test(text_inside_comes_out),
        cmocka_unit_test(every_cut_and_every_changed_octet_is_bad),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

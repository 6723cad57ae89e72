/* Layers of S/MIME that are rare: compressed around a signature, empty, for a password, too large all together. */
#include "tests/unit/smime_mail.h"

#include "crypto/smime.h"
#include "crypto/smime_seal.h"

static struct buf compressed(const char *text)
{
    struct mime_pieces pieces;
    struct buf out;
    char *bytes;
    BIO *der = BIO_new(BIO_s_mem());
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_borrow(&pieces, span_of(text)), ERR_OK);
    assert_int_equal(crypto_smime_compress(&pieces, der), ERR_OK);
    const long size = BIO_get_mem_data(der, &bytes);
    wrap("smime-type=compressed-data", (struct span){bytes, (size_t)size}, &out);
    mime_pieces_fini(&pieces);
    BIO_free(der);
    return out;
}

/* What is expanded is still all that CBC gave; and what a signature within it covers is proven. */
static void cbc_around_a_compressed_signature_is_sound(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const bool is_good = i < 2;
        struct mail mail;
        struct buf inner = signed_by(is_good ? &bob : &mallory, middle.certificate, i % 2 == 1, 0, HTML),
                   between = compressed(inner.data);
        open_part(encrypted("AES-256-CBC", between.data), &mail);
        assert_verdict(&mail, is_good ? "signature=good; signer=bob@example.org; trust=full; encryption=smime; "
                                        "integrity=ok"
                                      : "signature=untrusted; signer=bob@example.org; trust=unverified; "
                                        "encryption=smime; integrity=none");
        assert_int_equal(has(&mail, "text/html\r\n\r\n<img"), is_good);
        mail_fini(&mail);
        buf_fini(&inner);
        buf_fini(&between);
    }
}

/* Compressed outside the signature or inside makes no difference to what is covered; compressed alone covers nothing.
 */
static void compression_proves_nothing(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = compressed(HTML), between;
    open_part(encrypted("AES-256-CBC", inner.data), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=none");
    assert_false(has(&mail, "text/html"));
    mail_fini(&mail);
    between = signed_by(&bob, middle.certificate, true, 0, inner.data);
    open_part(encrypted("AES-256-CBC", between.data), &mail);
    assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=ok");
    assert_true(has(&mail, "text/html"));
    mail_fini(&mail);
    buf_fini(&between);
    buf_fini(&inner);
}

/* The signature that proves it must be the first thing that the cipher gives. */
static void a_signature_within_anothers_proves_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mail mail;
        struct buf inner = signed_by(&bob, middle.certificate, true, 0, HTML),
                   between = signed_by(&mallory, NULL, i == 1, 0, inner.data);
        open_part(encrypted("AES-256-CBC", between.data), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=none");
        assert_false(has(&mail, "text/html\r\n\r\n<img"));
        mail_fini(&mail);
        buf_fini(&inner);
        buf_fini(&between);
    }
}

static void an_empty_text_is_opened(void **state)
{
    (void)state;
    static const char *const names[] = {"AES-128-GCM", "AES-128-CBC"};
    for (size_t i = 0; i < 2; i++) {
        struct mail mail;
        open_part(encrypted(names[i], ""), &mail);
        assert_verdict(&mail, i == 0 ? "signature=none; encryption=smime; integrity=ok"
                                     : "signature=none; encryption=smime; integrity=none");
        assert_true(has(&mail, "Subject: outer\r\n") && !has(&mail, "pkcs7"));
        assert_int_equal(mail.opened.decision.layers, 1);
        mail_fini(&mail);
    }
    for (int is_opaque = 0; is_opaque < 2; is_opaque++) {
        struct mail mail;
        /* A part has a header, and be it only its end. */
        open_part(signed_by(&bob, middle.certificate, is_opaque, 0, is_opaque ? "" : "\r\n"), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org");
        mail_fini(&mail);
    }
}

/* Whoever is asked for a password may give away one that opens something else: no key is tried either. */
static void a_password_is_not_asked_for(void **state)
{
    (void)state;
    for (int with_key = 0; with_key < 2; with_key++) {
        const unsigned used = world.used;
        unsigned char *der = NULL;
        struct mail mail;
        struct buf part;
        BIO *in = BIO_new_mem_buf(TEXT, -1);
        CMS_ContentInfo *cms = CMS_encrypt(NULL, in, EVP_aes_128_cbc(), CMS_BINARY | CMS_PARTIAL);
        assert_non_null(cms);
        if (with_key)
            assert_non_null(CMS_add1_recipient_cert(cms, alice->certificate, 0));
        assert_non_null(CMS_add0_recipient_password(cms, -1, NID_undef, NID_undef,
                                                    (unsigned char *)OPENSSL_strdup("secret"), -1, NULL));
        assert_int_equal(CMS_final(cms, in, NULL, CMS_BINARY), 1);
        const int len = i2d_CMS_ContentInfo(cms, &der);
        assert_true(len > 0);
        wrap("smime-type=enveloped-data", (struct span){(const char *)der, (size_t)len}, &part);
        open_part(part, &mail);
        assert_verdict(&mail, "signature=none; encryption=failed");
        assert_non_null(strstr(mail.opened.reason, "password"));
        assert_false(has(&mail, "xyzzy"));
        assert_int_equal(mail.opened.decision.layers, 0);
        assert_int_equal(world.used, used);
        mail_fini(&mail);
        OPENSSL_free(der);
        CMS_ContentInfo_free(cms);
        BIO_free(in);
    }
}

/* All layers share twice the room of one: three that each fit are too much together. */
static void layers_share_their_room(void **state)
{
    (void)state;
    static const struct {
        size_t output_max, layers;
    } rows[] = {{100000, 3}, {90000, 2}, {70000, 0}};
    struct buf layers[4];
    buf_init(&layers[0], WORLD_SIZE);
    assert_int_equal(buf_add_string(&layers[0], "Content-Type: text/plain\r\n\r\n"), ERR_OK);
    while (layers[0].len < 44000)
        assert_int_equal(buf_add_string(&layers[0], "xyzzy-canary, a line of some length to fill the room\r\n"),
                         ERR_OK);
    for (size_t i = 1; i < 4; i++)
        layers[i] = encrypted("AES-128-GCM", layers[i - 1].data);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct crypto_open_options options = {.keyring = nobody,
                                                    .smime = &world.smime,
                                                    .least = KEYRING_FOUND,
                                                    .output_max = rows[i].output_max,
                                                    .layers_max = 8};
        struct mail mail;
        buf_init(&mail.message, WORLD_SIZE);
        buf_init_secret(&mail.view, WORLD_SIZE);
        assert_int_equal(buf_addf(&mail.message, FROM "%s", layers[3].data), ERR_OK);
        assert_int_equal(crypto_open(NULL, &options, buf_span(&mail.message), &mail.view, &mail.opened), ERR_OK);
        assert_int_equal(mail.opened.decision.layers, rows[i].layers);
        assert_int_equal(has(&mail, "xyzzy-canary"), rows[i].layers == 3);
        mail_fini(&mail);
    }
    for (size_t i = 0; i < 4; i++)
        buf_fini(&layers[i]);
}

static enum err expanded(size_t size, int byte)
{
    struct mime_pieces pieces;
    struct buf out;
    char *text = malloc(size), *bytes;
    BIO *der = BIO_new(BIO_s_mem());
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(byte >= 0 ? (unsigned)byte : (unsigned)(i * 2654435761u) >> 24);
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_borrow(&pieces, (struct span){text, size}), ERR_OK);
    assert_int_equal(crypto_smime_compress(&pieces, der), ERR_OK);
    const long len = BIO_get_mem_data(der, &bytes);
    buf_init(&out, size);
    const enum err err = crypto_smime_expand((struct span){bytes, (size_t)len}, &out);
    assert_int_equal(out.len, err == ERR_OK ? size : 0);
    buf_fini(&out);
    mime_pieces_fini(&pieces);
    BIO_free(der);
    free(text);
    return err;
}

static void what_expands_too_far_is_not_expanded(void **state)
{
    (void)state;
    assert_int_equal(expanded((size_t)15 << 20, 'a'), ERR_OK);
    assert_int_equal(expanded((size_t)17 << 20, 'a'), ERR_LIMIT);
    assert_int_equal(expanded((size_t)17 << 20, -1), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cbc_around_a_compressed_signature_is_sound),
        cmocka_unit_test(compression_proves_nothing),
        cmocka_unit_test(what_expands_too_far_is_not_expanded),
        cmocka_unit_test(a_signature_within_anothers_proves_nothing),
        cmocka_unit_test(an_empty_text_is_opened),
        cmocka_unit_test(a_password_is_not_asked_for),
        cmocka_unit_test(layers_share_their_room),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

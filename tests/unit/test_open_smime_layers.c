/* What one layer of signatures says of a certificate, and what that must not do to another layer. */
#include "tests/unit/smime_mail.h"

#include <openssl/ec.h>

/* Signed twice with the same certificate: outside with its issuer beside it, inside without. */
static struct buf signed_twice(const struct made *signer)
{
    struct buf inner = signed_by(signer, NULL, true, 0, TEXT);
    struct buf outer = signed_by(signer, middle.certificate, true, 0, inner.data);
    buf_fini(&inner);
    return outer;
}

static void assert_not_good(const struct made *signer)
{
    struct mail mail;
    struct buf text;
    open_part(signed_twice(signer), &mail);
    buf_init(&text, 4096);
    assert_int_equal(crypto_verdict_format(&mail.opened.verdict, &text), ERR_OK);
    if (mail.opened.verdict.signature == CRYPTO_SIG_GOOD)
        fail_msg("%s", text.data);
    buf_fini(&text);
    mail_fini(&mail);
}

/* OpenSSL looks at what a certificate is for before it looks at its signature. */
static void a_forged_certificate_is_never_good(void **state)
{
    (void)state;
    const struct made not_middle = {middle.certificate, mallory.key};
    const struct made_wish wish = {.name = "Bob", .san = "email:bob@example.org", .usage = "critical,keyEncipherment"};
    struct made forged = made_certificate(&wish, &not_middle);
    assert_not_good(&forged);
    made_free(&forged);
}

static void what_is_too_old_or_unfit_is_never_good(void **state)
{
    (void)state;
    const struct made_wish wishes[] = {
        {.name = "Bob", .san = "email:bob@example.org", .from_s = -2 * MADE_DAY, .till_s = -MADE_DAY},
        {.name = "Bob", .san = "email:bob@example.org", .extended = "serverAuth"},
        {.name = "Bob", .san = "email:bob@example.org", .rsa_bits = 1024},
    };
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct made made = made_certificate(&wishes[i], &middle);
        assert_not_good(&made);
        made_free(&made);
    }
}

static void who_is_known_may_leave_the_certificate_out(void **state)
{
    (void)state;
    for (int is_known = 0; is_known < 2; is_known++) {
        char fingerprint[KEYRING_FPR_SIZE];
        struct mail mail;
        struct keyring_certificate entry = {.certificate = bob.certificate};
        assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
        if (is_known)
            assert_int_equal(keyring_certificates_put(world.certificates, &entry), ERR_OK);
        open_part(signed_by(&bob, middle.certificate, true, CMS_NOCERTS, TEXT), &mail);
        assert_verdict(&mail, is_known ? "signature=good" : "signature=unknown-key");
        mail_fini(&mail);
        if (is_known)
            assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
    }
}

static enum err say_revoked(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out)
{
    (void)context;
    (void)chain;
    (void)at;
    *is_unknown_out = false;
    return ERR_REVOKED;
}

static void what_is_revoked_is_never_good(void **state)
{
    (void)state;
    world.smime.revocation = say_revoked;
    assert_not_good(&bob);
    world.smime.revocation = NULL;
}

/* The same certificate, with the other of the two signatures by ECDSA that verify. */
static X509 *other_form(X509 *certificate, const struct made *issuer)
{
    X509 *other = X509_dup(certificate);
    const ASN1_BIT_STRING *signature;
    unsigned char *der = NULL;
    X509_get0_signature(&signature, NULL, other);
    const unsigned char *at = ASN1_STRING_get0_data(signature);
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, ASN1_STRING_length(signature));
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *r = BN_dup(ECDSA_SIG_get0_r(pair)), *s = BN_new();
    assert_int_equal(BN_sub(s, EC_GROUP_get0_order(group), ECDSA_SIG_get0_s(pair)), 1);
    assert_int_equal(ECDSA_SIG_set0(pair, r, s), 1);
    int len = i2d_ECDSA_SIG(pair, &der);
    assert_int_equal(ASN1_STRING_set((ASN1_BIT_STRING *)(uintptr_t)signature, der, len), 1);
    assert_int_equal(X509_verify(other, issuer->key), 1);
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    EC_GROUP_free(group);
    return other;
}

static void what_is_known_to_be_revoked_stays_so_in_another_form(void **state)
{
    (void)state;
    char fingerprint[KEYRING_FPR_SIZE];
    struct keyring_certificate entry = {.certificate = bob.certificate, .revoked = MADE_NOW - 1};
    struct made other = {other_form(bob.certificate, &middle), bob.key};
    struct mail mail;
    assert_int_equal(keyring_certificates_put(world.certificates, &entry), ERR_OK);
    open_part(signed_by(&other, middle.certificate, true, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=revoked");
    mail_fini(&mail);
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
    X509_free(other.certificate);
}

/* A reader that takes the last of them shows what stands before the signed part, too. */
static void with_two_types_it_is_no_layer(void **state)
{
    (void)state;
    struct mail mail;
    struct buf part = signed_by(&bob, middle.certificate, false, 0, TEXT), both;
    size_t end = span_find(buf_span(&part), 0, SPAN_LIT("\r\n\r\n")) + 2;
    buf_init(&both, WORLD_SIZE);
    assert_int_equal(buf_add(&both, part.data, end), ERR_OK);
    assert_int_equal(buf_addf(&both, "Content-Type: text/html\r\n%s", part.data + end), ERR_OK);
    buf_fini(&part);
    open_part(both, &mail);
    assert_verdict(&mail, "signature=partial");
    mail_fini(&mail);
}

/* Another process has imported the private key while a message was opened. */
static void what_is_learnt_undoes_nothing(void **state)
{
    (void)state;
    char fingerprint[KEYRING_FPR_SIZE];
    struct keyring_certificate entry = {.certificate = bob.certificate, .takes_gcm = true, .seen = MADE_NOW - 100};
    struct keyring_certificates *others;
    struct mail mail;
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    assert_int_equal(keyring_certificates_put(world.certificates, &entry), ERR_OK);
    open_part(signed_by(&bob, middle.certificate, true, 0, TEXT), &mail);
    assert_int_equal(mail.opened.learnt.len, 2);
    mail.opened.learnt.items[0].made = MADE_NOW - 50;
    assert_int_equal(keyring_certificates_open(world.folder, &others), ERR_OK);
    (void)snprintf(entry.key_place, sizeof entry.key_place, "store");
    assert_int_equal(keyring_certificates_put(others, &entry), ERR_OK);
    crypto_learnt_keep(&mail.opened.learnt, world.certificates, MADE_NOW);
    mail_fini(&mail);
    assert_int_equal(keyring_certificates_refresh(others), ERR_OK);
    assert_false(keyring_certificates_find(others, fingerprint)->takes_gcm);
    assert_string_equal(keyring_certificates_find(others, fingerprint)->key_place, "store");
    keyring_certificates_close(&others);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
    assert_int_equal(keyring_x509_fingerprint(middle.certificate, fingerprint), ERR_OK);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forged_certificate_is_never_good),
        cmocka_unit_test(what_is_too_old_or_unfit_is_never_good),
        cmocka_unit_test(who_is_known_may_leave_the_certificate_out),
        cmocka_unit_test(what_is_revoked_is_never_good),
        cmocka_unit_test(what_is_known_to_be_revoked_stays_so_in_another_form),
        cmocka_unit_test(with_two_types_it_is_no_layer),
        cmocka_unit_test(what_is_learnt_undoes_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

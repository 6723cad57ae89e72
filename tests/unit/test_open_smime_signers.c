/* Who signed by S/MIME: what is kept of their certificates, and what is asked about them. */
#include "crypto/open_internal.h"
#include "tests/unit/smime_mail.h"

/* ---- what is learnt ---- */

static void certificates_of_good_signers_are_kept(void **state)
{
    (void)state;
    struct mail mail;
    char fingerprint[KEYRING_FPR_SIZE], issuer[KEYRING_FPR_SIZE];
    const struct keyring_certificate *found;
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    assert_int_equal(keyring_x509_fingerprint(middle.certificate, issuer), ERR_OK);
    /* Without its issuer it leads nowhere. */
    open_part(signed_by(&bob, NULL, false, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=untrusted");
    assert_int_equal(mail.opened.learnt.len, 0);
    mail_fini(&mail);
    open_part(signed_by(&mallory, middle.certificate, false, 0, TEXT), &mail);
    assert_int_equal(mail.opened.learnt.len, 0);
    mail_fini(&mail);
    open_part(signed_by(&bob, middle.certificate, false, CMS_NOSMIMECAP, TEXT), &mail);
    assert_verdict(&mail, "signature=good");
    assert_int_equal(mail.opened.learnt.len, 2);
    crypto_learnt_keep(&mail.opened.learnt, world.certificates, MADE_NOW);
    mail_fini(&mail);
    assert_non_null(found = keyring_certificates_find(world.certificates, fingerprint));
    assert_int_equal(found->source, KEYRING_SOURCE_MAIL);
    assert_false(found->takes_gcm);
    assert_non_null(keyring_certificates_find(world.certificates, issuer));
    /* What was seen then closes the chain now. */
    open_part(signed_by(&bob, NULL, false, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=good");
    mail_fini(&mail);
    assert_int_equal(keyring_certificates_remove(world.certificates, issuer), ERR_OK);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
}

/* A signature that says its owner's programs read `algorithm`. */
static struct buf signed_with_capability(int algorithm)
{
    struct buf out;
    unsigned char *der = NULL;
    STACK_OF(X509_ALGOR) *capabilities = NULL;
    BIO *in = BIO_new_mem_buf(TEXT, -1);
    const unsigned flags = CMS_BINARY | CMS_NOSMIMECAP;
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, in, CMS_BINARY | CMS_PARTIAL);
    CMS_SignerInfo *signer = CMS_add1_signer(cms, bob.certificate, bob.key, EVP_sha256(), flags);
    assert_int_equal(CMS_add_simple_smimecap(&capabilities, algorithm, -1), 1);
    assert_int_equal(CMS_add_smimecap(signer, capabilities), 1);
    assert_int_equal(CMS_add1_cert(cms, middle.certificate), 1);
    assert_int_equal(CMS_final(cms, in, NULL, CMS_BINARY), 1);
    const int len = i2d_CMS_ContentInfo(cms, &der);
    wrap("smime-type=signed-data", (struct span){(const char *)der, (size_t)len}, &out);
    OPENSSL_free(der);
    sk_X509_ALGOR_pop_free(capabilities, X509_ALGOR_free);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    return out;
}

static void keep_capability(int algorithm, int64_t made, bool expected)
{
    struct mail mail;
    char fingerprint[KEYRING_FPR_SIZE];
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    open_part(signed_with_capability(algorithm), &mail);
    assert_int_equal(mail.opened.learnt.len, 2);
    mail.opened.learnt.items[0].made = made;
    crypto_learnt_keep(&mail.opened.learnt, world.certificates, MADE_NOW);
    assert_int_equal(keyring_certificates_find(world.certificates, fingerprint)->takes_gcm, expected);
    mail_fini(&mail);
}

static void capabilities_follow_the_newest_mail(void **state)
{
    (void)state;
    char fingerprint[KEYRING_FPR_SIZE];
    const struct keyring_certificate *found;
    struct keyring_certificate entry = {
        .certificate = bob.certificate, .source = KEYRING_SOURCE_IMPORT, .key_place = "store", .seen = MADE_NOW - 100};
    assert_int_equal(keyring_certificates_put(world.certificates, &entry), ERR_OK);
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    keep_capability(NID_aes_256_gcm, MADE_NOW - 200, false); /* older than what is known */
    keep_capability(NID_aes_256_gcm, MADE_NOW + 200, false); /* of the future */
    keep_capability(NID_aes_256_gcm, MADE_NOW - 50, true);
    keep_capability(NID_aes_256_cbc, MADE_NOW - 60, true);
    keep_capability(NID_aes_256_cbc, MADE_NOW - 40, false);
    /* Where it came from, and where its key is, stays. */
    assert_non_null(found = keyring_certificates_find(world.certificates, fingerprint));
    assert_int_equal(found->source, KEYRING_SOURCE_IMPORT);
    assert_string_equal(found->key_place, "store");
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
    keep_capability(NID_aes_256_gcm, MADE_NOW - 50, true);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
}

/* ---- what a person says ---- */

static void who_is_ruled_out_is_never_good(void **state)
{
    (void)state;
    struct mail mail;
    struct keyring_entry entry = {.address = "bob@example.org", .format = KEYRING_SMIME, .trust = KEYRING_FULL};
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, entry.fingerprint), ERR_OK);
    assert_int_equal(keyring_add(nobody, &entry), ERR_OK);
    open_part(signed_by(&bob, middle.certificate, false, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=good");
    mail_fini(&mail);
    keyring_free(&nobody);
    assert_int_equal(keyring_new(&nobody), ERR_OK);
    entry.trust = KEYRING_NEVER;
    entry.source = KEYRING_SOURCE_PERSON;
    assert_int_equal(keyring_add(nobody, &entry), ERR_OK);
    open_part(signed_by(&bob, middle.certificate, false, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=untrusted; signer=bob@example.org; trust=never");
    mail_fini(&mail);
    keyring_free(&nobody);
    assert_int_equal(keyring_new(&nobody), ERR_OK);
}

/* ---- revocation ---- */

/* A layer whose signers do not all fit is not judged by those that do. */
static void more_than_are_looked_at(void **state)
{
    (void)state;
    struct crypto_opened result = {.reason = ""};
    struct opening opening = {.result = &result};
    struct crypto_signature good[OPEN_SIGNATURES_MAX / 2 + 1];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        good[i] = (struct crypto_signature){.state = CRYPTO_SIG_GOOD, .format = KEYRING_SMIME};
    open_keep_signatures(&opening, good, sizeof good / sizeof *good);
    assert_string_equal(result.reason, "");
    open_keep_signatures(&opening, good, sizeof good / sizeof *good);
    open_keep_signatures(&opening, good, 1);
    assert_int_equal(opening.signatures_len, OPEN_SIGNATURES_MAX);
    for (size_t i = 0; i < OPEN_SIGNATURES_MAX; i++)
        assert_int_equal(opening.signatures[i].state,
                         opening.signatures[i].layer == 0 ? CRYPTO_SIG_GOOD : CRYPTO_SIG_BAD);
    assert_string_not_equal(result.reason, "");
    assert_int_equal(opening.signed_layers, 3);
}

static enum err answer;
static bool answer_is_unknown;
static int asked;

static enum err ask(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out)
{
    (void)context;
    (void)at;
    assert_int_equal(X509_cmp(sk_X509_value(chain, 0), bob.certificate), 0);
    assert_int_equal(sk_X509_num(chain), 3);
    asked++;
    *is_unknown_out = answer_is_unknown;
    return answer;
}

static void what_is_revoked_is_never_good(void **state)
{
    (void)state;
    static const struct {
        enum err answer;
        bool is_unknown;
        const char *verdict;
        bool has_reason;
    } rows[] = {{ERR_OK, false, "signature=good; signer=bob@example.org; trust=full", false},
                {ERR_OK, true, "signature=good; signer=bob@example.org; trust=full", true},
                {ERR_REVOKED, false, "signature=revoked", true},
                {ERR_LOOKUP, false, "signature=untrusted; signer=bob@example.org; trust=unverified", true},
                {ERR_TIMEOUT, false, "signature=untrusted", true}};
    world.smime.revocation = ask;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mail mail;
        answer = rows[i].answer;
        answer_is_unknown = rows[i].is_unknown;
        asked = 0;
        open_part(signed_by(&bob, middle.certificate, true, 0, TEXT), &mail);
        assert_int_equal(asked, 1); /* not when the view is made again */
        assert_verdict(&mail, rows[i].verdict);
        assert_int_equal(mail.opened.reason[0] != '\0', rows[i].has_reason);
        assert_int_equal(mail.opened.learnt.len, rows[i].answer == ERR_OK ? 2 : 0);
        assert_true(has(&mail, "xyzzy-canary"));
        mail_fini(&mail);
    }
    /* Nobody is asked about what is not good anyway. */
    struct mail mail;
    asked = 0;
    open_part(signed_by(&mallory, NULL, true, 0, TEXT), &mail);
    assert_int_equal(asked, 0);
    mail_fini(&mail);
    world.smime.revocation = NULL;
    /* What is known already. */
    char fingerprint[KEYRING_FPR_SIZE];
    struct keyring_certificate entry = {.certificate = bob.certificate, .revoked = MADE_NOW - 1};
    assert_int_equal(keyring_certificates_put(world.certificates, &entry), ERR_OK);
    open_part(signed_by(&bob, middle.certificate, true, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=revoked");
    mail_fini(&mail);
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_of_good_signers_are_kept),
        cmocka_unit_test(capabilities_follow_the_newest_mail),
        cmocka_unit_test(who_is_ruled_out_is_never_good),
        cmocka_unit_test(what_is_revoked_is_never_good),
        cmocka_unit_test(more_than_are_looked_at),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

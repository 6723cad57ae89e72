/* What one layer of signatures says of a certificate, and what that must not do to another layer. */
#include "tests/unit/smime_mail.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forged_certificate_is_never_good),
        cmocka_unit_test(what_is_too_old_or_unfit_is_never_good),
        cmocka_unit_test(what_is_revoked_is_never_good),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

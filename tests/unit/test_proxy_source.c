/* How far a source's word goes. */
#include "base/log.h"
#include "proxy/source.h"
#include "tests/unit/x509_made.h"

#define ERIN "erin@example.net"

/* Whether the word of a directory that speaks for example.net and example.org counts for a certificate that it has for
   Erin. */
static bool is_found_as(enum keyring_found_kind kind, const char *san, bool is_clear)
{
    char *domains[] = {(char[]){"*@example.net"}, (char[]){"*@example.org"}};
    const struct config_source config = {.kind = KEYRING_SOURCE_DIRECTORY,
                                         .name = "corp",
                                         .belief = is_clear ? CONFIG_BELIEVED_NEVER : CONFIG_BELIEVED_IF_LISTED,
                                         .domains = domains,
                                         .domains_len = 2,
                                         .found_s = 60};
    const struct made_wish wish = {.name = "Erin", .san = san};
    struct made made = made_with_key(&wish, NULL, NULL);
    unsigned char *der = NULL;
    const int len = i2d_X509(made.certificate, &der);
    const struct keyring_piece value = {kind, {(const char *)der, (size_t)len}};
    struct keyring_found found;
    struct buf saved;
    buf_init(&saved, KEYRING_FOUND_SIZE_MAX);
    assert_int_equal(proxy_source_keep(&config, ERIN, &value, &saved), ERR_OK);
    struct span rest = buf_span(&saved);
    assert_int_equal(keyring_found_take(&rest, &found), ERR_OK);
    assert_true(span_is_equal(found.bytes, value.bytes));
    assert_int_equal(found.kind, KEYRING_FOUND_CERTIFICATE);
    assert_string_equal(found.directory, "corp");
    buf_fini(&saved);
    OPENSSL_free(der);
    made_free(&made);
    return found.is_found;
}

static bool is_found(const char *san, bool is_clear)
{
    return is_found_as(KEYRING_FOUND_CERTIFICATE, san, is_clear);
}

/* What a source does not vouch for itself needs a chain, whatever it is believed of other pieces. */
static void test_hint(void **state)
{
    (void)state;
    assert_true(is_found_as(KEYRING_FOUND_CERTIFICATE, "email:" ERIN, false));
    assert_false(is_found_as(KEYRING_FOUND_HINT, "email:" ERIN, false));
}

static void test_every_address_of_a_certificate(void **state)
{
    (void)state;
    assert_true(is_found("email:" ERIN, false));
    assert_true(is_found("email:" ERIN ",email:erin@example.org", false));
    assert_false(is_found("email:" ERIN, true));
    /* Else mail to the bank would be sealed to whoever runs the directory. */
    assert_false(is_found("email:" ERIN ",email:boss@bank.example", false));
    assert_false(is_found("email:boss@bank.example,email:" ERIN, false));
}

static void test_no_certificate(void **state)
{
    (void)state;
    char *domains[] = {(char[]){"*@example.net"}};
    const struct config_source config = {
        .kind = KEYRING_SOURCE_DIRECTORY, .belief = CONFIG_BELIEVED_IF_LISTED, .domains = domains, .domains_len = 1};
    const struct keyring_piece values[] = {{KEYRING_FOUND_CERTIFICATE, SPAN_LIT("0garbage")},
                                           {KEYRING_FOUND_OPENPGP, SPAN_LIT("a key")}};
    for (size_t i = 0; i < 2; i++) {
        struct keyring_found found;
        struct buf saved;
        buf_init(&saved, KEYRING_FOUND_SIZE_MAX);
        assert_int_equal(proxy_source_keep(&config, ERIN, &values[i], &saved), ERR_OK);
        struct span rest = buf_span(&saved);
        assert_int_equal(keyring_found_take(&rest, &found), ERR_OK);
        assert_int_equal(found.is_found, values[i].kind == KEYRING_FOUND_OPENPGP);
        buf_fini(&saved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_address_of_a_certificate),
        cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_hint),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

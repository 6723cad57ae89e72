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

/* Those of the stage alone, each within what its section gives. */
static void test_tellers(void **state)
{
    char *domains[] = {(char[]){"*@example.net"}}, *others[] = {(char[]){"*@example.com"}};
    const struct config_source sources[] = {
        {.kind = KEYRING_SOURCE_WKD, .belief = CONFIG_BELIEVED_BY_DOMAIN, .found_s = 1},
        {.kind = KEYRING_SOURCE_DIRECTORY,
         .name = "corp",
         .belief = CONFIG_BELIEVED_IF_LISTED,
         .domains = domains,
         .domains_len = 1,
         .found_s = 2},
        {.kind = KEYRING_SOURCE_DIRECTORY,
         .name = "elsewhere",
         .belief = CONFIG_BELIEVED_IF_LISTED,
         .domains = others,
         .domains_len = 1,
         .found_s = 3},
        {.kind = KEYRING_SOURCE_DIRECTORY, .name = "clear", .belief = CONFIG_BELIEVED_NEVER, .found_s = 4},
        {.kind = KEYRING_SOURCE_KEYSERVER, .name = "keys", .belief = CONFIG_BELIEVED_NEVER, .found_s = 5}};
    static struct config config;
    struct keyring_teller tellers[KEYRING_TELLERS_MAX];
    (void)state;
    for (size_t i = 0; i < 5; i++)
        config.sources[config.sources_len++] = &sources[i];
    assert_int_equal(proxy_source_tellers(&config, ERIN, 0, tellers), 2);
    assert_int_equal(tellers[0].source, KEYRING_SOURCE_WKD);
    assert_true(tellers[0].is_believed);
    assert_int_equal(tellers[0].seconds, 1 + KEYRING_WORD_LONGER_S);
    assert_string_equal(tellers[1].title, "corp");
    assert_true(tellers[1].is_believed);
    assert_int_equal(tellers[1].seconds, 2 + KEYRING_WORD_LONGER_S);
    assert_int_equal(proxy_source_tellers(&config, ERIN, 1, tellers), 1);
    assert_string_equal(tellers[0].title, "clear");
    assert_false(tellers[0].is_believed);
    assert_int_equal(proxy_source_tellers(&config, ERIN, 2, tellers), 1);
    assert_string_equal(tellers[0].title, "keys");
    assert_int_equal(proxy_source_tellers(&config, ERIN, 3, tellers), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_address_of_a_certificate),
        cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_hint),
        cmocka_unit_test(test_tellers),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What goes into a filter, and what is taken out of values. */
#include "keyring/ldap_internal.h"
#include "tests/unit/x509_made.h"

#define ERIN "erin@example.net"

static void expect_filter(const char *pattern, const char *address, const char *expected)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(keyring_ldap_filter(pattern, address, &out), ERR_OK);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
}

static void test_filter(void **state)
{
    (void)state;
    expect_filter("(mail=%a)", ERIN, "(mail=erin@example.net)");
    expect_filter("(&(uid=%l)(dc=%d)(x=%%))", ERIN, "(&(uid=erin)(dc=example.net)(x=%))");
    expect_filter("(mail=%a)", "\"*)(uid=*\"@example.net", "(mail=\\22\\2a\\29\\28uid\\3d\\2a\\22@example.net)");
    expect_filter("(mail=%a)", "\"a b\"@example.net", "(mail=\\22a\\20b\\22@example.net)");
    expect_filter("(mail=%a)", "\xc3\xa9@example.net", "(mail=\\c3\\a9@example.net)");
    expect_filter("(uid=%l)", "\"a@b\"@example.net", "(uid=\\22a@b\\22)");
}

static void test_every_byte_is_a_value(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        char address[64], normal[MIME_ADDR_SIZE];
        struct buf out;
        snprintf(address, sizeof address, "\"a%s%cb\"@example.net", byte == '"' || byte == '\\' ? "\\" : "", byte);
        if (mime_addr_normalise(span_of(address), normal))
            continue;
        buf_init(&out, 4096);
        assert_int_equal(keyring_ldap_filter("(mail=%a)", normal, &out), ERR_OK);
        /* Between the brackets nothing is left that a filter gives a meaning to but escapes. */
        out.data[out.len - 1] = '\0';
        const char *value = out.data + strlen("(mail=");
        assert_null(strpbrk(value, "()*=&|!<>~ \"%"));
        for (const char *at = value; (at = strchr(at, '\\')) != NULL; at++)
            assert_true(strspn(at + 1, "0123456789abcdef") >= 2);
        buf_fini(&out);
    }
}

static void test_patterns_and_addresses_that_are_none(void **state)
{
    (void)state;
    static const char *const patterns[] = {"",          "mail=%a",      "(mail=%a",   "(mail=%a))", "(mail=x)",
                                           "(mail=%x)", "(mail=%a)(b)", "(mail=%a)x", "(mail=%",    ")mail=%a("};
    static const char *const addresses[] = {
        "", "erin", "@example.net", "erin@", "erin@EXAMPLE.net", "a@b\r\n", "\"erin\"@example.net"};
    struct buf out;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        buf_init(&out, 4096);
        if (keyring_ldap_filter(patterns[i], ERIN, &out) != ERR_CONFIG)
            fail_msg("%s was taken", patterns[i]);
        buf_fini(&out);
    }
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        buf_init(&out, 4096);
        assert_int_equal(keyring_ldap_filter("(mail=%a)", addresses[i], &out), ERR_ADDRESS_SYNTAX);
        assert_int_equal(out.len, 0);
        buf_fini(&out);
    }
}

static void take(struct ldap_answer *answer, struct span value, size_t pieces, size_t ignored)
{
    assert_int_equal(ldap_answer_add(answer, value), ERR_OK);
    assert_int_equal(answer->pieces_len, pieces);
    assert_int_equal(answer->ignored, ignored);
}

static void test_values(void **state)
{
    (void)state;
    struct ldap_answer answer = {.pieces_len = 0};
    struct made erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    unsigned char *der = NULL;
    const int len = i2d_X509(erin.certificate, &der);
    char longer[8192];
    assert_true(len > 0 && (size_t)len < sizeof longer - 1);
    buf_init(&answer.bytes, KEYRING_LDAP_ANSWER_MAX);
    const struct span whole = {(char *)der, (size_t)len};
    take(&answer, whole, 1, 0);
    take(&answer, whole, 1, 0); /* the same once more */
    memcpy(longer, der, (size_t)len);
    longer[len] = 'x';
    take(&answer, (struct span){longer, (size_t)len + 1}, 1, 1);
    size_t ignored = 1;
    for (size_t cut = 0; cut < whole.len; cut++)
        take(&answer, span_slice(whole, 0, cut), 1, ++ignored);
    take(&answer, span_of("\x99\x01 a key"), 2, ignored);
    take(&answer, span_of("\xc6\x01 a key"), 3, ignored);
    take(&answer, span_of("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), 4, ignored);
    take(&answer, span_of("-----BEGIN PGP PRIVATE KEY BLOCK-----\n"), 4, ignored + 1);
    take(&answer, span_of("\x95 a secret key"), 4, ignored + 2);
    for (char number = 0; number < KEYRING_LDAP_VALUES_MAX; number++) {
        const char key[] = {(char)0x99, number};
        assert_int_equal(ldap_answer_add(&answer, (struct span){key, sizeof key}), ERR_OK);
    }
    assert_int_equal(answer.pieces_len, KEYRING_LDAP_VALUES_MAX);
    buf_fini(&answer.bytes);
    OPENSSL_free(der);
    made_free(&erin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_every_byte_is_a_value),
        cmocka_unit_test(test_patterns_and_addresses_that_are_none),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

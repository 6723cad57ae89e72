#include "base/sasl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOGIN_SIZE 32
#define DIGEST "0123456789abcdef0123456789abcdef"

struct row {
    enum sasl_mechanism mechanism;
    struct span response;
    const char *login; /* NULL: refused */
};

#define ROW(mechanism, response, login)                                                                                \
    {                                                                                                                  \
        mechanism, SPAN_LIT(response), login                                                                           \
    }

static const struct row rows[] = {
    ROW(SASL_PLAIN, "\0alice\0secret", "alice"),
    ROW(SASL_PLAIN, "alice\0alice\0secret", "alice"),
    ROW(SASL_PLAIN, "\0alice@example.org\0with = , \x01 signs", "alice@example.org"),
    ROW(SASL_PLAIN, "\0j\xc3\xbcrgen\0secret", "j\xc3\xbcrgen"),
    ROW(SASL_PLAIN, "bob\0alice\0secret", NULL), /* an authorisation identity of another */
    ROW(SASL_PLAIN, "Alice\0alice\0secret", NULL),
    ROW(SASL_PLAIN, "", NULL),
    ROW(SASL_PLAIN, "alice", NULL),
    ROW(SASL_PLAIN, "\0alice", NULL),
    ROW(SASL_PLAIN, "\0alice\0", NULL),
    ROW(SASL_PLAIN, "\0\0secret", NULL),
    ROW(SASL_PLAIN, "\0alice\0secret\0", NULL),
    ROW(SASL_PLAIN, "\0alice\0sec\0ret", NULL),
    ROW(SASL_PLAIN, "\0alice\r\nbob\0secret", NULL),
    ROW(SASL_PLAIN, "\0a123456789b123456789c123456789d\0secret", "a123456789b123456789c123456789d"),
    ROW(SASL_PLAIN, "\0a123456789b123456789c123456789de\0secret", NULL), /* one byte too long */

    ROW(SASL_LOGIN, "alice", "alice"),
    ROW(SASL_LOGIN, "", NULL),
    ROW(SASL_LOGIN, "ali\0ce", NULL),
    ROW(SASL_LOGIN, "alice\n", NULL),

    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "auth=Bearer token\x01\x01",
        "alice"),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "auth=bearer token\x01\x01",
        "alice"),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "host=x\x01"
        "auth=Bearer token\x01\x01",
        "alice"),
    ROW(SASL_XOAUTH2,
        "user=\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "auth=Bearer token\x01",
        NULL),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "auth=Bearer token\x01\x01x",
        NULL),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "auth=Bearer \x01\x01",
        NULL),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "auth=Basic token\x01\x01",
        NULL),
    ROW(SASL_XOAUTH2, "user=alice\x01\x01", NULL),
    ROW(SASL_XOAUTH2,
        "alice\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "auth=Bearer a\x01"
        "auth=Bearer b\x01\x01",
        NULL),
    ROW(SASL_XOAUTH2,
        "user=alice\x01"
        "=x\x01"
        "auth=Bearer token\x01\x01",
        NULL),

    ROW(SASL_OAUTHBEARER,
        "n,a=alice,\x01"
        "auth=Bearer token\x01\x01",
        "alice"),
    ROW(SASL_OAUTHBEARER,
        "y,a=al=2Cice=3D,\x01"
        "host=x\x01port=1\x01"
        "auth=Bearer token\x01\x01",
        "al,ice="),
    ROW(SASL_OAUTHBEARER,
        "n,,\x01"
        "auth=Bearer token\x01\x01",
        NULL), /* no name to choose an account by */
    ROW(SASL_OAUTHBEARER,
        "n,a=,\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER,
        "p=tls-exporter,a=alice,\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER,
        "F,n,a=alice,\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER,
        "n,a=al=2cice,\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER,
        "n,a=alice=2,\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER,
        "n,b=alice,\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER,
        "n,a=alice\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER, "n,a=alice,auth=Bearer token\x01\x01", NULL),
    ROW(SASL_OAUTHBEARER,
        "n,a=al\r\nice,\x01"
        "auth=Bearer token\x01\x01",
        NULL),
    ROW(SASL_OAUTHBEARER, "\x01", NULL),

    ROW(SASL_CRAM_MD5, "alice " DIGEST, "alice"),
    ROW(SASL_CRAM_MD5, "alice liddell " DIGEST, "alice liddell"),
    ROW(SASL_CRAM_MD5, " " DIGEST, NULL),
    ROW(SASL_CRAM_MD5, DIGEST, NULL),
    ROW(SASL_CRAM_MD5, "alice 0" DIGEST, NULL),
    ROW(SASL_CRAM_MD5, "alice 0123456789ABCDEF0123456789abcdef", NULL),
    ROW(SASL_CRAM_MD5, "alice", NULL),

    ROW(SASL_SCRAM_SHA_1, "n,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL", "alice"),
    ROW(SASL_SCRAM_SHA_256, "y,a=alice,n=alice,r=abc", "alice"),
    ROW(SASL_SCRAM_SHA_256, "n,,n=al=2Cice=3D,r=abc", "al,ice="),
    ROW(SASL_SCRAM_SHA_256, "n,,n=alice,r=abc,x=extension", "alice"),
    ROW(SASL_SCRAM_SHA_256, "p=tls-unique,,n=alice,r=abc", NULL),
    ROW(SASL_SCRAM_SHA_256, "n,a=bob,n=alice,r=abc", NULL),
    ROW(SASL_SCRAM_SHA_256, "n,,m=x,n=alice,r=abc", NULL),
    ROW(SASL_SCRAM_SHA_256, "n,,n=alice,r=", NULL),
    ROW(SASL_SCRAM_SHA_256, "n,,n=alice", NULL),
    ROW(SASL_SCRAM_SHA_256, "n,,n=,r=abc", NULL),
    ROW(SASL_SCRAM_SHA_256, "n,,n=al=ice,r=abc", NULL),
    ROW(SASL_SCRAM_SHA_256, "n,n=alice,r=abc", NULL),
    ROW(SASL_SCRAM_SHA_256, "", NULL),

    ROW(SASL_NONE, "alice", NULL),
    ROW(SASL_COUNT, "alice", NULL),
};

static void test_logins(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char login[LOGIN_SIZE] = "unset";
        enum err err = sasl_login(rows[i].mechanism, 0, rows[i].response, login, sizeof login);
        if (err != (rows[i].login ? ERR_OK : ERR_AUTH_FAILED))
            fail_msg("row %zu: %s", i, err_name(err));
        assert_string_equal(login, rows[i].login ? rows[i].login : "");
    }
}

/* No beginning of a response reads beyond its end (each is a block of its own), and none names somebody else. */
static void test_cut_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t len = 0; len <= rows[i].response.len; len++) {
            char login[LOGIN_SIZE];
            char *block = malloc(len ? len : 1);
            assert_non_null(block);
            memcpy(block, rows[i].response.ptr, len);
            if (sasl_login(rows[i].mechanism, 0, (struct span){block, len}, login, sizeof login) == ERR_OK &&
                rows[i].login)
                assert_memory_equal(login, rows[i].login, strlen(login));
            free(block);
        }
    }
}

static void test_later_steps_carry_no_name(void **state)
{
    (void)state;
    char login[LOGIN_SIZE] = "unset";
    for (int i = SASL_NONE + 1; i < SASL_COUNT; i++) {
        assert_int_equal(sasl_login((enum sasl_mechanism)i, 1, SPAN_LIT("secret"), login, sizeof login), ERR_AGAIN);
        assert_string_equal(login, "");
    }
    assert_int_equal(sasl_login(SASL_LOGIN, 0, SPAN_LIT("alice"), login, 0), ERR_INTERNAL);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = SASL_NONE + 1; i < SASL_COUNT; i++) {
        enum sasl_mechanism mechanism = (enum sasl_mechanism)i;
        assert_int_equal(sasl_parse(span_of(sasl_name(mechanism))), mechanism);
    }
    assert_int_equal(sasl_parse(SPAN_LIT("scram-Sha-256")), SASL_SCRAM_SHA_256);
    assert_int_equal(sasl_parse(SPAN_LIT("SCRAM-SHA-256-PLUS")), SASL_NONE);
    assert_int_equal(sasl_parse(SPAN_LIT("GSSAPI")), SASL_NONE);
    assert_int_equal(sasl_parse(SPAN_NONE), SASL_NONE);
    assert_string_equal(sasl_name(SASL_NONE), "");
    assert_string_equal(sasl_name(SASL_COUNT), "");
}

static void test_properties(void **state)
{
    (void)state;
    for (int i = SASL_NONE; i < SASL_COUNT; i++) {
        bool is_hashed = i == SASL_NONE || i == SASL_CRAM_MD5 || i == SASL_SCRAM_SHA_1 || i == SASL_SCRAM_SHA_256;
        assert_int_equal(sasl_is_plaintext((enum sasl_mechanism)i), !is_hashed);
        assert_int_equal(sasl_is_server_first((enum sasl_mechanism)i), i == SASL_CRAM_MD5);
    }
}

static void test_sets(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(buf_add_string(&out, "AUTH "), ERR_OK);
    assert_int_equal(sasl_format_set(1u << SASL_LOGIN | 1u << SASL_PLAIN | 1u << SASL_SCRAM_SHA_256, &out), ERR_OK);
    assert_string_equal(out.data, "AUTH SCRAM-SHA-256 PLAIN LOGIN");
    buf_clear(&out);
    assert_int_equal(sasl_format_set(0, &out), ERR_OK);
    assert_int_equal(sasl_format_set(1u << SASL_NONE | 1u << 31, &out), ERR_OK);
    assert_string_equal(out.data, "");
    assert_int_equal(sasl_format_set(UINT32_MAX, &out), ERR_OK);
    assert_string_equal(out.data, "SCRAM-SHA-256 SCRAM-SHA-1 OAUTHBEARER XOAUTH2 CRAM-MD5 PLAIN LOGIN");
    buf_fini(&out);
    buf_init(&out, 8);
    assert_int_equal(sasl_format_set(1u << SASL_LOGIN | 1u << SASL_PLAIN, &out), ERR_LIMIT);
    assert_string_equal(out.data, "");
    buf_fini(&out);
}

static void test_plain_response(void **state)
{
    (void)state;
    struct buf out;
    char login[LOGIN_SIZE];
    buf_init(&out, 13);
    assert_int_equal(sasl_plain_response(SPAN_LIT("alice"), SPAN_LIT("secret"), &out), ERR_OK);
    assert_true(span_is_equal(buf_span(&out), SPAN_LIT("\0alice\0secret")));
    assert_int_equal(sasl_login(SASL_PLAIN, 0, buf_span(&out), login, sizeof login), ERR_OK);
    assert_string_equal(login, "alice");
    buf_clear(&out);
    assert_int_equal(sasl_plain_response(SPAN_LIT("alice"), SPAN_LIT("secrets"), &out), ERR_LIMIT);
    assert_int_equal(sasl_plain_response(SPAN_LIT("a\0b"), SPAN_LIT("secret"), &out), ERR_AUTH_FAILED);
    assert_int_equal(sasl_plain_response(SPAN_LIT("alice"), SPAN_LIT("a\0b"), &out), ERR_AUTH_FAILED);
    assert_int_equal(sasl_plain_response(SPAN_LIT(""), SPAN_LIT("secret"), &out), ERR_AUTH_FAILED);
    assert_int_equal(sasl_plain_response(SPAN_LIT("alice"), SPAN_LIT(""), &out), ERR_AUTH_FAILED);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_cut_responses),
        cmocka_unit_test(test_later_steps_carry_no_name),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_plain_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

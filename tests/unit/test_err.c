#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A client must never take a failure for success, nor read one thing in the code and another in the enhanced code. */
static void test_each_row_is_whole_and_agrees_with_itself(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        const struct err_entry *entry = err_entry((enum err)i);
        assert_non_null(entry->name);
        assert_non_null(entry->sentence);
        assert_non_null(entry->enhanced);
        const int class = entry->smtp_code / 100;
        assert_true(i == ERR_OK ? class == 2 : class == 4 || class == 5);
        assert_int_equal(entry->enhanced[0], '0' + class);
        assert_int_equal(strspn(entry->enhanced, "0123456789."), strlen(entry->enhanced));
        assert_int_equal(err_is_temporary((enum err)i), class == 4);
        assert_int_not_equal(entry->sentence[strlen(entry->sentence) - 1], '.');
        assert_true(strlen(entry->sentence) < 100);
        assert_null(strpbrk(entry->sentence, "\r\n"));
        assert_int_equal(strspn(entry->name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(entry->name));
    }
}

static void test_names_are_unique(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        for (int j = 0; j < i; j++)
            assert_string_not_equal(err_name((enum err)i), err_name((enum err)j));
    }
}

/* RFC 5530 §3 and RFC 9051 §7.1; RFC 2449 §8 and RFC 3206. */
static void test_response_codes_are_registered(void **state)
{
    (void)state;
    static const char *const imap[] = {"UNAVAILABLE",
                                       "AUTHENTICATIONFAILED",
                                       "AUTHORIZATIONFAILED",
                                       "PRIVACYREQUIRED",
                                       "CONTACTADMIN",
                                       "NOPERM",
                                       "SERVERBUG",
                                       "CLIENTBUG",
                                       "CANNOT",
                                       "LIMIT",
                                       "ALREADYEXISTS",
                                       "NONEXISTENT"};
    static const char *const pop3[] = {"SYS/TEMP", "SYS/PERM", "AUTH"};
    for (int i = 0; i < ERR_COUNT; i++) {
        const struct err_entry *entry = err_entry((enum err)i);
        int found = entry->imap_code == NULL;
        for (size_t j = 0; j < sizeof imap / sizeof *imap && entry->imap_code; j++)
            found += strcmp(imap[j], entry->imap_code) == 0;
        assert_int_equal(found, 1);
        found = entry->pop3_code == NULL;
        for (size_t j = 0; j < sizeof pop3 / sizeof *pop3 && entry->pop3_code; j++)
            found += strcmp(pop3[j], entry->pop3_code) == 0;
        assert_int_equal(found, 1);
    }
}

static void test_codes_that_clients_act_upon(void **state)
{
    (void)state;
    static const struct {
        enum err err;
        int code;
        const char *enhanced;
    } rows[] = {
        {ERR_OK, 250, "2.0.0"},
        {ERR_REFUSED, 550, "5.7.1"},
        {ERR_NO_KEY, 550, "5.7.5"},
        {ERR_WORKER, 451, "4.3.0"},
        {ERR_UPSTREAM_DOWN, 451, "4.4.1"},
        {ERR_UPSTREAM_LOST, 451, "4.4.2"},
        {ERR_TOO_MANY_GROUPS, 452, "4.5.3"},
        {ERR_TOO_MANY_GROUPS_FINAL, 554, "5.5.3"},
        {ERR_TOO_MANY_RECIPIENTS, 452, "4.5.3"},
        {ERR_NO_RECIPIENTS, 554, "5.5.1"},
        {ERR_NEEDS_8BIT, 554, "5.6.3"},
        {ERR_NEEDS_SMTPUTF8, 553, "5.6.7"},
        {ERR_BARE_CR_LF, 550, "5.6.0"},
        {ERR_NUL, 550, "5.6.0"},
        {ERR_LIMIT, 554, "5.6.0"},
        {ERR_TOO_BIG, 552, "5.3.4"},
        {ERR_AUTH_FAILED, 535, "5.7.8"},
        {ERR_AUTH_REQUIRED, 530, "5.7.0"},
        {ERR_TLS_REQUIRED, 530, "5.7.0"},
        {ERR_KEY_LOCKED, 451, "4.7.0"},
        {ERR_MEMORY, 451, "4.3.0"},
        {ERR_DISK_FULL, 452, "4.3.1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(err_entry(rows[i].err)->smtp_code, rows[i].code);
        assert_string_equal(err_entry(rows[i].err)->enhanced, rows[i].enhanced);
    }
    assert_string_equal(err_entry(ERR_KEY_LOCKED)->imap_code, "UNAVAILABLE");
}

static void test_unknown_values_are_internal_errors(void **state)
{
    (void)state;
    assert_ptr_equal(err_entry(ERR_COUNT), err_entry(ERR_INTERNAL));
    assert_ptr_equal(err_entry((enum err) - 1), err_entry(ERR_INTERNAL));
    assert_ptr_equal(err_entry((enum err)1000000), err_entry(ERR_INTERNAL));
}

static void test_errno(void **state)
{
    (void)state;
    assert_int_equal(err_of_errno(ENOMEM), ERR_MEMORY);
    assert_int_equal(err_of_errno(ENOSPC), ERR_DISK_FULL);
    assert_int_equal(err_of_errno(EDQUOT), ERR_DISK_FULL);
    assert_int_equal(err_of_errno(EAGAIN), ERR_AGAIN);
    assert_int_equal(err_of_errno(EINTR), ERR_AGAIN);
    assert_int_equal(err_of_errno(EACCES), ERR_IO);
    assert_int_equal(err_of_errno(0), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row_is_whole_and_agrees_with_itself),
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_response_codes_are_registered),
        cmocka_unit_test(test_codes_that_clients_act_upon),
        cmocka_unit_test(test_unknown_values_are_internal_errors),
        cmocka_unit_test(test_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

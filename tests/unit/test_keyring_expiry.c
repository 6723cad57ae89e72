#include "keyring/expiry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW ((int64_t)1800000000)
#define DAY ((int64_t)86400)
#define ALICE "alice@example.org"

static struct keyring *keyring;

static int set_up(void **state)
{
    (void)state;
    return keyring_new(&keyring) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keyring_free(&keyring);
    return 0;
}

/* An own key that ends so many days from now; 0: never. */
static struct keyring_entry own(const char *fingerprint, int64_t days)
{
    struct keyring_entry entry = {
        .address = ALICE, .format = KEYRING_OPENPGP, .trust = KEYRING_OWN, .has_secret = true};
    (void)snprintf(entry.fingerprint, sizeof entry.fingerprint, "%s", fingerprint);
    entry.created = NOW - 1000 * DAY;
    entry.expires = days == 0 ? 0 : NOW + days * DAY;
    entry.encrypt_until = entry.sign_until = entry.expires;
    return entry;
}

static void add(struct keyring_entry entry)
{
    assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
}

/* What is told of Alice's keys of the format. */
static const char *told(enum keyring_format format, enum keyring_expiry *expiry, const char **fingerprint)
{
    static char text[KEYRING_EXPIRY_TEXT_SIZE];
    int64_t end;
    const struct keyring_entry *entry = keyring_expiry_own(keyring, ALICE, format, NOW, expiry, &end);
    *fingerprint = entry == NULL ? "" : entry->fingerprint;
    text[0] = '\0';
    if (entry != NULL)
        keyring_expiry_text(entry, *expiry, end, text);
    return text;
}

static void thirty_days_ahead(void **state)
{
    static const struct {
        int64_t days;
        enum keyring_expiry expiry;
    } cases[] = {{0, KEYRING_LASTS},     {31, KEYRING_LASTS},     {30, KEYRING_ENDS_SOON},
                 {1, KEYRING_ENDS_SOON}, {-1, KEYRING_HAS_ENDED}, {-900, KEYRING_HAS_ENDED}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum keyring_expiry expiry;
        const char *fingerprint;
        keyring_free(&keyring);
        assert_int_equal(keyring_new(&keyring), ERR_OK);
        add(own("AAAA", cases[i].days));
        const char *text = told(KEYRING_OPENPGP, &expiry, &fingerprint);
        assert_int_equal(expiry, cases[i].expiry);
        assert_string_equal(fingerprint, "AAAA");
        assert_int_equal(strstr(text, "privyseal key renew AAAA") != NULL, cases[i].expiry != KEYRING_LASTS);
        assert_int_equal(strstr(text, "has expired on 20") != NULL, cases[i].expiry == KEYRING_HAS_ENDED);
    }
}

/* A part that ends first is the end: mail can be sealed no more, or signed no more. */
static void first_part_to_end_counts(void **state)
{
    struct keyring_entry entry = own("AAAA", 500);
    enum keyring_expiry expiry;
    const char *fingerprint;
    (void)state;
    entry.encrypt_until = NOW + 3 * DAY;
    add(entry);
    (void)told(KEYRING_OPENPGP, &expiry, &fingerprint);
    assert_int_equal(expiry, KEYRING_ENDS_SOON);
    entry = own("AABB", 3);
    entry.created++;
    entry.sign_until = entry.encrypt_until = NOW + 500 * DAY;
    add(entry);
    (void)told(KEYRING_OPENPGP, &expiry, &fingerprint);
    assert_string_equal(fingerprint, "AABB");
    assert_int_equal(expiry, KEYRING_ENDS_SOON);
    entry = own("BBBB", 0);
    entry.created += 2;
    entry.encrypt_until = -1;
    add(entry);
    (void)told(KEYRING_OPENPGP, &expiry, &fingerprint);
    assert_string_equal(fingerprint, "BBBB");
    assert_int_equal(expiry, KEYRING_LASTS);
    entry = own("CCCC", 0);
    entry.created += 3;
    entry.encrypt_until = NOW - DAY;
    add(entry);
    (void)told(KEYRING_OPENPGP, &expiry, &fingerprint);
    assert_string_equal(fingerprint, "CCCC");
    assert_int_equal(expiry, KEYRING_HAS_ENDED);
}

/* After a rotation nobody is bothered with the old one; of several that have ended the last one is named. */
static void key_in_use_counts(void **state)
{
    struct keyring_entry entry = own("AAAA", -400);
    enum keyring_expiry expiry;
    const char *fingerprint;
    (void)state;
    add(entry);
    add(own("BBBB", -100));
    entry = own("FFFF", -5);
    entry.has_secret = false;
    add(entry);
    entry = own("GGGG", -5);
    entry.is_disabled = true;
    add(entry);
    entry = own("HHHH", 20);
    entry.sign_until = -1;
    add(entry);
    entry = own("CCCC", -10);
    entry.is_revoked = true;
    add(entry);
    entry = own("DDDD", -10);
    entry.trust = KEYRING_FULL;
    add(entry);
    (void)told(KEYRING_OPENPGP, &expiry, &fingerprint);
    assert_string_equal(fingerprint, "BBBB");
    assert_int_equal(expiry, KEYRING_HAS_ENDED);
    add(own("EEEE", 100));
    assert_string_equal(told(KEYRING_OPENPGP, &expiry, &fingerprint), "");
    assert_string_equal(fingerprint, "EEEE");
    assert_int_equal(expiry, KEYRING_LASTS);
    (void)told(KEYRING_SMIME, &expiry, &fingerprint);
    assert_string_equal(fingerprint, "");
}

static void certificates_are_issued_by_others(void **state)
{
    struct keyring_entry entry = own("AAAA", 10);
    enum keyring_expiry expiry;
    const char *fingerprint;
    (void)state;
    entry.format = KEYRING_SMIME;
    add(entry);
    const char *text = told(KEYRING_SMIME, &expiry, &fingerprint);
    assert_non_null(strstr(text, "privyseal key import --own"));
    assert_null(strstr(text, "key renew"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(thirty_days_ahead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(first_part_to_end_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(key_in_use_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(certificates_are_issued_by_others, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

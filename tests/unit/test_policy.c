/* Rules: which one decides, what it takes, and what RCPT is answered. */
#include "policy/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)

static struct policy_rule rule_of(const char *name, char **to, size_t to_len, enum policy_encrypt encrypt)
{
    return (struct policy_rule){.name = (char *)(uintptr_t)name,
                                .to = to,
                                .to_len = to_len,
                                .encrypt = encrypt,
                                .formats = {KEYRING_OPENPGP},
                                .formats_len = 1};
}

static void add_key(struct keyring *keyring, const char *address, enum keyring_trust trust, bool is_revoked)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = trust, .created = 1000, .is_revoked = is_revoked};
    snprintf(entry.address, sizeof entry.address, "%s", address);
    snprintf(entry.fingerprint, sizeof entry.fingerprint, "%040zX", keyring_len(keyring) + 1);
    assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
}

static void test_first_rule_decides(void **state)
{
    (void)state;
    char *lists[] = {"*@lists.example.org"}, *partners[] = {"*@partner.example", "boss@lists.example.org"};
    struct policy_rule rules[] = {rule_of("lists", lists, 1, POLICY_ENCRYPT_NEVER),
                                  rule_of("partners", partners, 2, POLICY_ENCRYPT_REQUIRED)};
    struct policy policy = {rules, 2};
    assert_ptr_equal(policy_match(&policy, "boss@lists.example.org"), &rules[0]);
    assert_ptr_equal(policy_match(&policy, "Bob@PARTNER.example"), &rules[1]);
    const struct policy_rule *last = policy_match(&policy, "x@elsewhere.example");
    assert_int_equal(last->encrypt, POLICY_ENCRYPT_WHEN_POSSIBLE);
    assert_int_equal(last->sign, POLICY_SIGN_ALWAYS);
    struct policy none = {0};
    assert_ptr_equal(policy_match(&none, "x@elsewhere.example"), last);
}

static void test_rule_without_pattern_is_for_all(void **state)
{
    (void)state;
    struct policy_rule rules[] = {rule_of("all", NULL, 0, POLICY_ENCRYPT_NEVER)};
    struct policy policy = {rules, 1};
    assert_ptr_equal(policy_match(&policy, "x@elsewhere.example"), &rules[0]);
}

static void test_least_trust(void **state)
{
    (void)state;
    struct policy_rule rule = {0};
    assert_int_equal(policy_least_trust(&rule), KEYRING_FOUND);
    rule.encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE;
    assert_int_equal(policy_least_trust(&rule), KEYRING_SEEN);
    rule.trust = KEYRING_FULL;
    assert_int_equal(policy_least_trust(&rule), KEYRING_FULL);
}

static void test_zeroed_rule_is_the_strictest(void **state)
{
    (void)state;
    struct policy_rule rule = {0};
    assert_string_equal(policy_encrypt_name(rule.encrypt), "required");
    assert_string_equal(policy_sign_name(rule.sign), "always");
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    add_key(keyring, "bob@example.org", KEYRING_FULL, false);
    struct policy policy = {&rule, 1};
    char detail[POLICY_DETAIL_SIZE];
    assert_int_equal(policy_at_rcpt(&policy, keyring, "bob@example.org", NOW, detail), ERR_NO_KEY);
    keyring_free(&keyring);
}

static void test_rcpt(void **state)
{
    (void)state;
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    add_key(keyring, "good@example.org", KEYRING_FULL, false);
    add_key(keyring, "weak@example.org", KEYRING_UNVERIFIED, false);
    add_key(keyring, "gone@example.org", KEYRING_FULL, true);
    struct policy_rule rules[] = {rule_of("strict", NULL, 0, POLICY_ENCRYPT_REQUIRED)};
    struct policy policy = {rules, 1};
    char detail[POLICY_DETAIL_SIZE];
    assert_int_equal(policy_at_rcpt(&policy, keyring, "good@example.org", NOW, detail), ERR_OK);
    assert_string_equal(detail, "");
    assert_int_equal(policy_at_rcpt(&policy, keyring, "weak@example.org", NOW, detail), ERR_NO_KEY);
    assert_non_null(strstr(detail, "weak@example.org"));
    assert_non_null(strstr(detail, "strict"));
    assert_non_null(strstr(detail, "key pin"));
    assert_int_equal(policy_at_rcpt(&policy, keyring, "gone@example.org", NOW, detail), ERR_NO_KEY);
    assert_non_null(strstr(detail, "revoked"));
    assert_int_equal(policy_at_rcpt(&policy, keyring, "nobody@example.org", NOW, detail), ERR_NO_KEY);
    assert_non_null(strstr(detail, "key import"));
    rules[0].may_ask_less = true;
    assert_int_equal(policy_at_rcpt(&policy, keyring, "nobody@example.org", NOW, detail), ERR_OK);
    rules[0].may_ask_less = false;
    rules[0].encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE;
    assert_int_equal(policy_at_rcpt(&policy, keyring, "nobody@example.org", NOW, detail), ERR_OK);
    keyring_free(&keyring);
}

static void test_choose_tells_why(void **state)
{
    (void)state;
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    add_key(keyring, "weak@example.org", KEYRING_UNVERIFIED, false);
    struct policy policy = {0};
    struct policy_choice choice;
    policy_choose(&policy, keyring, "weak@example.org", NOW, &choice);
    assert_null(choice.key);
    assert_true(choice.has_candidate);
    assert_int_equal(choice.reason, KEYRING_TOO_LITTLE_TRUST);
    policy_choose(&policy, keyring, "none@example.org", NOW, &choice);
    assert_false(choice.has_candidate);
    keyring_free(&keyring);
}

static void test_groups_least(void **state)
{
    (void)state;
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    add_key(keyring, "a@example.org", KEYRING_FULL, false);
    add_key(keyring, "b@example.org", KEYRING_FULL, false);
    struct policy policy = {0};
    const char *const sealed[] = {"a@example.org", "b@example.org"};
    const char *const mixed[] = {"a@example.org", "c@example.org"};
    assert_int_equal(policy_groups_least(&policy, keyring, sealed, 0, NOW), 0);
    assert_int_equal(policy_groups_least(&policy, keyring, sealed, 2, NOW), 1);
    assert_int_equal(policy_groups_least(&policy, keyring, mixed, 2, NOW), 2);
    keyring_free(&keyring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_rule_decides),
        cmocka_unit_test(test_rule_without_pattern_is_for_all),
        cmocka_unit_test(test_least_trust),
        cmocka_unit_test(test_zeroed_rule_is_the_strictest),
        cmocka_unit_test(test_rcpt),
        cmocka_unit_test(test_choose_tells_why),
        cmocka_unit_test(test_groups_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

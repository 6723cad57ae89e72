/* Plans for replies to mail that came encrypted (design 1.1.1). */
#include "tests/unit/plan_world.h"

/* When-possible counts as required, unless the rule says otherwise. */
static void test_reply_to_encrypted(void **state)
{
    (void)state;
    static const struct {
        enum policy_encrypt encrypt;
        bool is_as_rule, has_key, wants_plain;
        enum err err;
        enum plan_action action;
    } cases[] = {
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, false, false, ERR_NO_KEY, PLAN_REFUSE},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, true, false, ERR_OK, PLAN_SIGN_ENCRYPT},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, true, false, false, ERR_OK, PLAN_SIGN},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, true, true, false, ERR_OK, PLAN_SIGN_ENCRYPT},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, false, true, ERR_OK, PLAN_SIGN},
        {POLICY_ENCRYPT_NEVER, true, true, false, ERR_OK, PLAN_SIGN},
        {POLICY_ENCRYPT_NEVER, false, true, false, ERR_OK, PLAN_SIGN_ENCRYPT},
        {POLICY_ENCRYPT_NEVER, false, false, false, ERR_NO_KEY, PLAN_REFUSE},
        {POLICY_ENCRYPT_REQUIRED, true, false, false, ERR_NO_KEY, PLAN_REFUSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        struct policy_plan plan;
        begin(&world);
        add_key(&world, 0, KEYRING_OWN, true);
        if (cases[i].has_key)
            add_key(&world, 1, KEYRING_FULL, false);
        add_rule(&world, NULL, cases[i].encrypt, POLICY_SIGN_ALWAYS);
        world.rules[0].are_replies_as_rule = cases[i].is_as_rule;
        world.rules[0].may_ask_less = true;
        world.message.wants_plain = cases[i].wants_plain;
        world.message.is_reply_to_encrypted = true;
        add_recipient(&world, 1, true);
        assert_int_equal(make(&world, &plan), cases[i].err);
        if (!cases[i].err)
            assert_int_equal(plan.groups[0].action, cases[i].action);
        policy_plan_fini(&plan);
        keyring_free(&world.keyring);
    }
}

/* Without any rule, too; and beside such a recipient nobody gets a plain copy. The person reads why. */
static void test_reply_to_encrypted_says_why(void **state)
{
    (void)state;
    struct world world;
    struct policy_plan plan;
    char detail[POLICY_DETAIL_SIZE];
    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 1, KEYRING_FULL, false);
    add_recipient(&world, 1, true);
    world.message.is_reply_to_encrypted = true;
    assert_int_equal(make(&world, &plan), ERR_OK);
    policy_plan_fini(&plan);
    add_recipient(&world, 2, true);
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &world.message, &plan, detail), ERR_NO_KEY);
    assert_non_null(strstr(detail, people[2]));
    assert_non_null(strstr(detail, "this is a reply to an encrypted message"));
    assert_non_null(strstr(detail, "key import"));
    add_rule(&world, "carol@one.example", POLICY_ENCRYPT_NEVER, POLICY_SIGN_ALWAYS);
    world.rules[0].are_replies_as_rule = true;
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &world.message, &plan, detail), ERR_MIXED);
    assert_non_null(strstr(detail, people[2]));
    assert_non_null(strstr(detail, "this is a reply to an encrypted message"));
    keyring_free(&world.keyring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply_to_encrypted),
        cmocka_unit_test(test_reply_to_encrypted_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

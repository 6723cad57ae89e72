/* Plans where some have OpenPGP keys, some certificates, and some both. */
#include "tests/unit/plan_world.h"

enum { ALICE, BOB, CAROL, DAVE, ERIN };
#define BOTH                                                                                                           \
    {                                                                                                                  \
        KEYRING_OPENPGP, KEYRING_SMIME                                                                                 \
    }
#define REVERSE                                                                                                        \
    {                                                                                                                  \
        KEYRING_SMIME, KEYRING_OPENPGP                                                                                 \
    }

/* Fingerprints tell whose, and by their length of which format. */
static void name_key(size_t person, enum keyring_format format, char out[KEYRING_FPR_SIZE])
{
    if (format == KEYRING_SMIME)
        snprintf(out, KEYRING_FPR_SIZE, "%064zX", person + 1);
    else
        snprintf(out, KEYRING_FPR_SIZE, "%040zX", person + 1);
}

static void add(struct world *world, size_t person, enum keyring_format format, enum keyring_trust trust)
{
    struct keyring_entry entry = {.format = format, .trust = trust, .created = 1000, .has_secret = person == ALICE};
    snprintf(entry.address, sizeof entry.address, "%s", people[person]);
    name_key(person, format, entry.fingerprint);
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
}

static void begin_with(struct world *world, enum policy_encrypt encrypt, enum policy_sign sign,
                       const enum keyring_format formats[2])
{
    begin(world);
    add_rule(world, NULL, encrypt, sign);
    world->rules[0].formats[0] = formats[0];
    world->rules[0].formats[1] = formats[1];
    world->rules[0].formats_len = 2;
}

static bool has_key(const struct policy_group *group, size_t person, enum keyring_format format)
{
    char fingerprint[KEYRING_FPR_SIZE];
    name_key(person, format, fingerprint);
    for (size_t i = 0; i < group->keys_len; i++)
        if (strcmp(group->keys[i], fingerprint) == 0)
            return true;
    return false;
}

/* The group of the recipient at `index`, of which this much is expected; its signer is alice's key of that format. */
static const struct policy_group *expect_group(const struct policy_plan *plan, size_t index, enum plan_action action,
                                               enum keyring_format format)
{
    char signer[KEYRING_FPR_SIZE];
    name_key(ALICE, format, signer);
    for (size_t i = 0; i < plan->groups_len; i++)
        for (size_t j = 0; j < plan->groups[i].recipients_len; j++)
            if (plan->groups[i].recipients[j] == index) {
                assert_int_equal(plan->groups[i].action, action);
                assert_int_equal(plan->groups[i].format, format);
                bool is_signed = action == PLAN_SIGN || action == PLAN_SIGN_ENCRYPT;
                assert_string_equal(plan->groups[i].signer, is_signed ? signer : "");
                return &plan->groups[i];
            }
    fail();
    return NULL;
}

static void end(struct world *world, struct policy_plan *plan)
{
    policy_plan_fini(plan);
    keyring_free(&world->keyring);
}

static void each_goes_in_the_format_that_it_has(void **state)
{
    (void)state;
    struct world world;
    struct policy_plan plan;
    begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE, POLICY_SIGN_ALWAYS, (const enum keyring_format[])BOTH);
    add(&world, ALICE, KEYRING_OPENPGP, KEYRING_OWN);
    add(&world, ALICE, KEYRING_SMIME, KEYRING_OWN);
    add(&world, BOB, KEYRING_OPENPGP, KEYRING_FULL);
    add(&world, CAROL, KEYRING_SMIME, KEYRING_FULL);
    add(&world, DAVE, KEYRING_SMIME, KEYRING_FULL);
    add_recipient(&world, BOB, true);
    add_recipient(&world, CAROL, true);
    add_recipient(&world, DAVE, false);
    add_recipient(&world, ERIN, true);
    assert_int_equal(make(&world, &plan), ERR_OK);
    assert_int_equal(plan.groups_len, 4);
    const struct policy_group *bob = expect_group(&plan, 0, PLAN_SIGN_ENCRYPT, KEYRING_OPENPGP);
    assert_true(bob->keys_len == 2 && has_key(bob, BOB, KEYRING_OPENPGP) && has_key(bob, ALICE, KEYRING_OPENPGP));
    const struct policy_group *carol = expect_group(&plan, 1, PLAN_SIGN_ENCRYPT, KEYRING_SMIME);
    assert_true(carol->keys_len == 2 && has_key(carol, CAROL, KEYRING_SMIME) && has_key(carol, ALICE, KEYRING_SMIME));
    const struct policy_group *dave = expect_group(&plan, 2, PLAN_SIGN_ENCRYPT, KEYRING_SMIME);
    assert_true(dave->recipients_len == 1 && dave->keys_len == 2 && has_key(dave, DAVE, KEYRING_SMIME));
    expect_group(&plan, 3, PLAN_SIGN, KEYRING_OPENPGP);
    const char *const addresses[] = {people[BOB], people[CAROL], people[DAVE], people[ERIN]};
    assert_int_equal(policy_groups_least(&world.policy, world.keyring, addresses, 4, NOW), 3);
    end(&world, &plan);
}

static void order_of_the_rule_decides(void **state)
{
    (void)state;
    for (int is_reverse = 0; is_reverse < 2; is_reverse++) {
        const enum keyring_format formats[2][2] = {BOTH, REVERSE};
        struct world world;
        struct policy_plan plan;
        begin_with(&world, POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS, formats[is_reverse]);
        for (size_t person = ALICE; person <= BOB; person++) {
            add(&world, person, KEYRING_OPENPGP, person == ALICE ? KEYRING_OWN : KEYRING_FOUND);
            add(&world, person, KEYRING_SMIME, person == ALICE ? KEYRING_OWN : KEYRING_FULL);
        }
        add_recipient(&world, BOB, true);
        assert_int_equal(make(&world, &plan), ERR_OK);
        expect_group(&plan, 0, PLAN_SIGN_ENCRYPT, formats[is_reverse][0]);
        end(&world, &plan);
    }
}

/* Both formats would do for bob; alice can sign in one. */
static void what_can_be_signed_is_preferred(void **state)
{
    (void)state;
    const enum policy_sign signs[] = {POLICY_SIGN_ALWAYS, POLICY_SIGN_WHEN_POSSIBLE, POLICY_SIGN_NEVER};
    const enum keyring_format own[] = {KEYRING_OPENPGP, KEYRING_SMIME};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 2; j++) {
            struct world world;
            struct policy_plan plan;
            begin_with(&world, POLICY_ENCRYPT_REQUIRED, signs[i], (const enum keyring_format[])BOTH);
            add(&world, ALICE, own[j], KEYRING_OWN);
            add(&world, BOB, KEYRING_OPENPGP, KEYRING_FULL);
            add(&world, BOB, KEYRING_SMIME, KEYRING_FULL);
            add_recipient(&world, BOB, true);
            assert_int_equal(make(&world, &plan), ERR_OK);
            bool is_signed = signs[i] != POLICY_SIGN_NEVER;
            const struct policy_group *group = expect_group(&plan, 0, is_signed ? PLAN_SIGN_ENCRYPT : PLAN_ENCRYPT,
                                                            is_signed ? own[j] : KEYRING_OPENPGP);
            assert_true(has_key(group, BOB, group->format));
            assert_int_equal(has_key(group, ALICE, group->format), own[j] == group->format);
            /* For 452 at RCPT it is one group, whoever else goes in one of the two. */
            add(&world, CAROL, KEYRING_SMIME, KEYRING_FULL);
            const char *const addresses[] = {people[BOB], people[CAROL]};
            assert_int_equal(policy_groups_least(&world.policy, world.keyring, addresses, 1, NOW), 1);
            assert_int_equal(policy_groups_least(&world.policy, world.keyring, addresses, 2, NOW), is_signed ? 1 : 2);
            end(&world, &plan);
        }
}

static void no_key_to_sign_with_in_the_only_format_is_an_error(void **state)
{
    (void)state;
    struct world world;
    struct policy_plan plan;
    char detail[POLICY_DETAIL_SIZE];
    begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE, POLICY_SIGN_ALWAYS, (const enum keyring_format[])BOTH);
    add(&world, ALICE, KEYRING_OPENPGP, KEYRING_OWN);
    add(&world, BOB, KEYRING_SMIME, KEYRING_FULL);
    add_recipient(&world, BOB, true);
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &world.message, &plan, detail), ERR_NO_SIGNING_KEY);
    assert_non_null(strstr(detail, "no own certificate for alice@example.org"));
    assert_int_equal(plan.groups_len, 0);
    /* Where signing is not demanded, it is encrypted without: never plain. */
    world.rules[0].sign = POLICY_SIGN_WHEN_POSSIBLE;
    assert_int_equal(make(&world, &plan), ERR_OK);
    expect_group(&plan, 0, PLAN_ENCRYPT, KEYRING_SMIME);
    end(&world, &plan);
}

/* An other format that the rule does not trust, or does not take, is no way out. */
static void the_other_format_must_be_good_itself(void **state)
{
    (void)state;
    struct world world;
    begin_with(&world, POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS, (const enum keyring_format[])BOTH);
    add(&world, ALICE, KEYRING_SMIME, KEYRING_OWN);
    add(&world, BOB, KEYRING_OPENPGP, KEYRING_FULL);
    add(&world, BOB, KEYRING_SMIME, KEYRING_UNVERIFIED);
    add_recipient(&world, BOB, true);
    struct policy_plan plan;
    assert_int_equal(make(&world, &plan), ERR_NO_SIGNING_KEY);
    world.rules[0].formats_len = 1;
    assert_int_equal(make(&world, &plan), ERR_NO_SIGNING_KEY);
    world.rules[0].formats[0] = KEYRING_SMIME;
    assert_int_equal(make(&world, &plan), ERR_NO_KEY);
    keyring_free(&world.keyring);
}

static void why_there_is_no_key_names_the_format_that_matters(void **state)
{
    (void)state;
    struct world world;
    char detail[POLICY_DETAIL_SIZE];
    struct policy_choice choice;
    begin_with(&world, POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS, (const enum keyring_format[])BOTH);
    add(&world, BOB, KEYRING_SMIME, KEYRING_UNVERIFIED);
    policy_choose(&world.policy, world.keyring, people[BOB], NOW, &choice);
    assert_null(choice.key);
    assert_int_equal(choice.reason, KEYRING_TOO_LITTLE_TRUST);
    assert_int_equal(choice.tried, KEYRING_SMIME);
    assert_int_equal(policy_at_rcpt(&world.policy, world.keyring, people[BOB], NOW, detail), ERR_NO_KEY);
    assert_non_null(strstr(detail, "smime_ca"));
    world.rules[0].formats_len = 1;
    policy_choose(&world.policy, world.keyring, people[BOB], NOW, &choice);
    assert_int_equal(choice.reason, KEYRING_WRONG_FORMAT);
    /* The certificate stands first in the index; what is said of OpenPGP is of the OpenPGP key all the same. */
    add(&world, BOB, KEYRING_OPENPGP, KEYRING_NEVER);
    policy_choose(&world.policy, world.keyring, people[BOB], NOW, &choice);
    assert_int_equal(choice.reason, KEYRING_TOO_LITTLE_TRUST);
    assert_int_equal(choice.tried, KEYRING_OPENPGP);
    keyring_free(&world.keyring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_goes_in_the_format_that_it_has),
        cmocka_unit_test(order_of_the_rule_decides),
        cmocka_unit_test(what_can_be_signed_is_preferred),
        cmocka_unit_test(no_key_to_sign_with_in_the_only_format_is_an_error),
        cmocka_unit_test(the_other_format_must_be_good_itself),
        cmocka_unit_test(why_there_is_no_key_names_the_format_that_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

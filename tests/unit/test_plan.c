/* Plans: the named cases one by one, and the safety properties over many random worlds. */
#include "tests/unit/plan_world.h"

#define ROUNDS 60000

static uint64_t seed;

static unsigned random_below(unsigned limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % limit;
}

static void expect_error(struct world *world, enum err expected)
{
    struct policy_plan plan;
    assert_int_equal(make(world, &plan), expected);
    keyring_free(&world->keyring);
}

static void test_zeroed_structs_refuse(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    struct policy_plan plan = {0};
    assert_int_equal(plan.groups_len, 0);
    struct policy_group group = {0};
    assert_int_equal(group.action, PLAN_REFUSE);
    assert_string_equal(plan_action_name(group.action), "refuse");
    assert_string_equal(plan_action_name((enum plan_action)99), "refuse");
    struct policy_message message = {0};
    char detail[POLICY_DETAIL_SIZE];
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &message, &plan, detail), ERR_NO_RECIPIENTS);
    /* A message of which only the recipients are known is not its owner's. */
    add_recipient(&world, 1, true);
    message.recipients = world.recipients;
    message.recipients_len = 1;
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &message, &plan, detail), ERR_NOT_OWN_FROM);
    /* A zeroed rule requires everything and takes no key. */
    add_key(&world, 1, KEYRING_FULL, false);
    world.policy.rules_len = 1;
    assert_int_equal(make(&world, &plan), ERR_NO_KEY);
    keyring_free(&world.keyring);
}

static void test_no_groups_allowed(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_recipient(&world, 1, true);
    world.message.groups_max = 0;
    expect_error(&world, ERR_TOO_MANY_GROUPS_FINAL);
}

static void test_each_refusal(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_recipient(&world, 1, true);
    expect_error(&world, ERR_NO_SIGNING_KEY);

    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_recipient(&world, 1, true);
    world.message.from = people[2];
    expect_error(&world, ERR_NOT_OWN_FROM);

    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_recipient(&world, 1, true);
    world.message.wants_encryption = true;
    world.message.wants_plain = true;
    expect_error(&world, ERR_NO_KEY);

    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 1, KEYRING_FULL, false);
    add_rule(&world, NULL, POLICY_ENCRYPT_WHEN_POSSIBLE, POLICY_SIGN_ALWAYS);
    world.rules[0].is_mixed_refused = true;
    add_recipient(&world, 1, true);
    add_recipient(&world, 2, true);
    expect_error(&world, ERR_MIXED);

    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 1, KEYRING_FULL, false);
    add_rule(&world, "bob@example.org", POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS);
    add_recipient(&world, 1, true);
    add_recipient(&world, 2, true);
    expect_error(&world, ERR_MIXED);
}

/* A key that is here with its secret, but is not marked as one's own, signs nothing. */
static void test_only_own_keys_sign(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_key(&world, 0, KEYRING_FULL, true);
    add_recipient(&world, 1, true);
    expect_error(&world, ERR_NO_SIGNING_KEY);
}

static void test_never_is_sealed_beside_required(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 1, KEYRING_FULL, false);
    add_key(&world, 2, KEYRING_FULL, false);
    add_rule(&world, "bob@example.org", POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS);
    add_rule(&world, NULL, POLICY_ENCRYPT_NEVER, POLICY_SIGN_ALWAYS);
    add_recipient(&world, 1, true);
    add_recipient(&world, 2, true);
    struct policy_plan plan;
    assert_int_equal(make(&world, &plan), ERR_OK);
    assert_int_equal(plan.groups_len, 1);
    assert_int_equal(plan.groups[0].action, PLAN_SIGN_ENCRYPT);
    assert_int_equal(plan.groups[0].keys_len, 3);
    policy_plan_fini(&plan);
    keyring_free(&world.keyring);
}

static void test_asking_less(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 1, KEYRING_FULL, false);
    add_rule(&world, NULL, POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS);
    add_recipient(&world, 1, true);
    world.message.wants_plain = true;
    struct policy_plan plan;
    assert_int_equal(make(&world, &plan), ERR_OK);
    assert_int_equal(plan.groups[0].action, PLAN_SIGN_ENCRYPT);
    policy_plan_fini(&plan);
    world.rules[0].may_ask_less = true;
    assert_int_equal(make(&world, &plan), ERR_OK);
    assert_int_equal(plan.groups[0].action, PLAN_SIGN);
    policy_plan_fini(&plan);
    keyring_free(&world.keyring);
}

static void test_sealed_mail_passes_as_one(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_recipient(&world, 1, true);
    add_recipient(&world, 2, false);
    world.message.is_sealed = true;
    struct policy_plan plan;
    assert_int_equal(make(&world, &plan), ERR_OK);
    assert_int_equal(plan.groups_len, 1);
    assert_int_equal(plan.groups[0].action, PLAN_PASS);
    assert_int_equal(plan.groups[0].recipients_len, 2);
    assert_string_equal(plan.groups[0].signer, "");
    policy_plan_fini(&plan);
    keyring_free(&world.keyring);
}

static void make_random(struct world *world)
{
    begin(world);
    static char *const patterns[] = {"*@two.example", "*@*.example", "bob@example.org", "*@one.example", NULL};
    for (unsigned rules = random_below(4); rules > 0; rules--) {
        add_rule(world, patterns[random_below(5)], (enum policy_encrypt)random_below(3),
                 (enum policy_sign)random_below(3));
        struct policy_rule *rule = &world->rules[world->policy.rules_len - 1];
        rule->trust = (enum keyring_trust)random_below(KEYRING_TRUST_COUNT);
        rule->is_mixed_refused = random_below(4) == 0;
        rule->may_ask_less = random_below(3) == 0;
        rule->are_replies_as_rule = random_below(3) == 0;
        rule->formats_len = random_below(10) > 0;
    }
    if (random_below(5) > 0)
        add_key(world, 0, KEYRING_OWN, random_below(5) > 0);
    for (size_t i = 1; i < PEOPLE; i++)
        if (random_below(4) > 0)
            add_key(world, i, random_below(2) ? KEYRING_FULL : (enum keyring_trust)random_below(KEYRING_TRUST_COUNT),
                    random_below(8) == 0);
    for (size_t i = 0; i < PEOPLE; i++)
        if (random_below(2))
            add_recipient(world, i, random_below(3) > 0);
    world->message.is_sealed = random_below(12) == 0;
    world->message.wants_encryption = random_below(6) == 0;
    world->message.wants_plain = random_below(5) == 0;
    world->message.is_reply_to_encrypted = random_below(5) == 0;
    world->message.groups_max = 1 + random_below(PEOPLE);
    if (random_below(8) == 0)
        world->message.from = random_below(2) ? "" : people[1];
}

static bool is_sealing(const struct policy_group *group)
{
    return group->action == PLAN_ENCRYPT || group->action == PLAN_SIGN_ENCRYPT;
}

static bool has_key(const struct policy_group *group, const char *fingerprint)
{
    for (size_t i = 0; i < group->keys_len; i++)
        if (strcmp(group->keys[i], fingerprint) == 0)
            return true;
    return false;
}

static const char *fingerprint_of(const struct world *world, const char *address)
{
    for (size_t i = 0; i < PEOPLE; i++)
        if (strcmp(people[i], address) == 0)
            return world->fingerprints[i];
    fail();
    return NULL;
}

static bool is_required(const struct world *world, const char *address)
{
    const struct policy_rule *rule = policy_match(&world->policy, address);
    if (world->message.wants_encryption)
        return true;
    if (world->message.wants_plain && rule->may_ask_less)
        return false;
    return rule->encrypt == POLICY_ENCRYPT_REQUIRED ||
           (world->message.is_reply_to_encrypted && !rule->are_replies_as_rule);
}

static void check_each_recipient_once(const struct world *world, const struct policy_plan *plan)
{
    size_t seen[PEOPLE] = {0};
    for (size_t i = 0; i < plan->groups_len; i++)
        for (size_t j = 0; j < plan->groups[i].recipients_len; j++) {
            assert_true(plan->groups[i].recipients[j] < world->recipients_len);
            seen[plan->groups[i].recipients[j]]++;
        }
    for (size_t i = 0; i < world->recipients_len; i++)
        assert_int_equal(seen[i], 1);
}

static void check_required_is_never_plain(const struct world *world, const struct policy_plan *plan)
{
    bool has_required = false;
    for (size_t i = 0; i < world->recipients_len; i++)
        has_required = has_required || is_required(world, world->recipients[i].address);
    for (size_t i = 0; i < plan->groups_len; i++) {
        const enum plan_action action = plan->groups[i].action;
        assert_int_not_equal(action, PLAN_REFUSE);
        assert_int_equal(action == PLAN_PASS, world->message.is_sealed);
        if (has_required)
            assert_true(action == PLAN_PASS || is_sealing(&plan->groups[i]));
    }
}

static void check_keys(const struct world *world, const struct policy_plan *plan)
{
    for (size_t i = 0; i < plan->groups_len; i++) {
        const struct policy_group *group = &plan->groups[i];
        if (!is_sealing(group)) {
            assert_int_equal(group->keys_len, 0);
            continue;
        }
        const char *own = world->fingerprints[0];
        const bool is_own = strcmp(world->message.from, people[0]) == 0 && own[0];
        size_t expected = 0;
        bool has_sender = false;
        for (size_t j = 0; j < group->recipients_len; j++) {
            const char *fingerprint = fingerprint_of(world, world->recipients[group->recipients[j]].address);
            assert_true(has_key(group, fingerprint));
            has_sender = has_sender || strcmp(fingerprint, own) == 0;
            expected++;
        }
        assert_int_equal(group->keys_len, expected + (is_own && !has_sender));
        assert_true(!is_own || has_key(group, own));
        for (size_t j = 1; j < group->keys_len; j++)
            assert_true(strcmp(group->keys[j - 1], group->keys[j]) < 0);
    }
}

static void check_bcc_is_blind(const struct world *world, const struct policy_plan *plan)
{
    for (size_t i = 0; i < plan->groups_len; i++)
        for (size_t j = 0; is_sealing(&plan->groups[i]) && j < plan->groups[i].recipients_len; j++) {
            const struct policy_recipient *recipient = &world->recipients[plan->groups[i].recipients[j]];
            if (recipient->is_visible)
                continue;
            assert_int_equal(plan->groups[i].recipients_len, 1);
            if (strcmp(recipient->address, people[0]) == 0)
                continue; /* the sender's own key is in every copy */
            for (size_t other = 0; other < plan->groups_len; other++)
                assert_true(other == i || !has_key(&plan->groups[other], fingerprint_of(world, recipient->address)));
        }
}

static void check_signatures(const struct world *world, const struct policy_plan *plan)
{
    for (size_t i = 0; i < plan->groups_len; i++) {
        const struct policy_group *group = &plan->groups[i];
        const bool is_signing = group->action == PLAN_SIGN || group->action == PLAN_SIGN_ENCRYPT;
        if (is_signing)
            assert_string_equal(group->signer, world->fingerprints[0]);
        else
            assert_string_equal(group->signer, "");
        for (size_t j = 0; j < group->recipients_len; j++) {
            const struct policy_rule *rule =
                policy_match(&world->policy, world->recipients[group->recipients[j]].address);
            if (group->action == PLAN_PASS)
                continue;
            assert_false(rule->sign == POLICY_SIGN_ALWAYS && !is_signing);
            assert_false(rule->sign == POLICY_SIGN_NEVER && is_signing);
        }
        if (i > 0)
            assert_false(is_sealing(group) && !is_sealing(&plan->groups[i - 1]));
    }
}

/* Turns recipients and keyring around: the same groups must come out, in the same order. */
static void check_order_is_nothing(struct world *world, enum err err, const struct policy_plan *plan)
{
    struct world other = *world;
    assert_int_equal(keyring_new(&other.keyring), ERR_OK);
    for (size_t i = keyring_len(world->keyring); i > 0; i--)
        assert_int_equal(keyring_add(other.keyring, keyring_at(world->keyring, i - 1)), ERR_OK);
    other.message.recipients = other.recipients;
    const size_t len = world->recipients_len;
    for (size_t i = 0; i < len; i++)
        other.recipients[i] = world->recipients[len - 1 - i];
    struct policy_plan again;
    assert_int_equal(make(&other, &again), err);
    assert_int_equal(again.groups_len, plan->groups_len);
    for (size_t i = 0; i < plan->groups_len; i++) {
        const struct policy_group *a = &plan->groups[i], *b = &again.groups[i];
        assert_int_equal(a->action, b->action);
        assert_string_equal(a->signer, b->signer);
        assert_int_equal(a->keys_len, b->keys_len);
        if (a->keys_len)
            assert_memory_equal(a->keys, b->keys, a->keys_len * sizeof *a->keys);
        assert_int_equal(a->recipients_len, b->recipients_len);
        for (size_t j = 0; j < a->recipients_len; j++)
            assert_int_equal(a->recipients[j], len - 1 - b->recipients[a->recipients_len - 1 - j]);
    }
    policy_plan_fini(&again);
    keyring_free(&other.keyring);
}

/* What must come out, worked out a second time from the words of plan.h. */
static bool has_usable_key(const struct world *world, const char *address)
{
    const struct policy_rule *rule = policy_match(&world->policy, address);
    const enum keyring_trust least = policy_least_trust(rule);
    size_t first;
    if (rule->formats_len == 0 || keyring_find(world->keyring, address, &first) == 0)
        return false;
    const enum keyring_trust trust = keyring_at(world->keyring, first)->trust;
    return trust != KEYRING_NEVER && trust >= least;
}

static bool has_signer(const struct world *world)
{
    size_t first;
    return strcmp(world->message.from, people[0]) == 0 && keyring_find(world->keyring, people[0], &first) == 1 &&
           keyring_at(world->keyring, first)->trust == KEYRING_OWN && keyring_at(world->keyring, first)->has_secret;
}

static bool is_expected_sealed(const struct world *world, const char *address, bool has_required)
{
    const struct policy_rule *rule = policy_match(&world->policy, address);
    const bool is_plain = rule->encrypt == POLICY_ENCRYPT_NEVER ||
                          (world->message.wants_plain && rule->may_ask_less && !world->message.wants_encryption);
    return has_usable_key(world, address) && (has_required || !is_plain);
}

/* `groups_out`: of each kind one, and one for each Bcc recipient of a sealed copy. */
static enum err expect(const struct world *world, size_t *groups_out)
{
    bool has_required = false, has_sealed = false, has_plain = false, has_refuser = false, lacks_signer = false;
    bool has_kind[2][2] = {{false}};
    *groups_out = 1;
    if (world->recipients_len == 0)
        return ERR_NO_RECIPIENTS;
    if (world->message.is_sealed)
        return ERR_OK;
    for (size_t i = 0; i < world->recipients_len; i++)
        has_required = has_required || is_required(world, world->recipients[i].address);
    for (size_t i = 0; i < world->recipients_len; i++)
        if (is_required(world, world->recipients[i].address) && !has_usable_key(world, world->recipients[i].address))
            return ERR_NO_KEY;
    *groups_out = 0;
    for (size_t i = 0; i < world->recipients_len; i++) {
        const char *address = world->recipients[i].address;
        const struct policy_rule *rule = policy_match(&world->policy, address);
        const bool is_sealed = is_expected_sealed(world, address, has_required);
        const bool is_signed =
            rule->sign != POLICY_SIGN_NEVER && has_signer(world) && (is_sealed || rule->formats_len > 0);
        *(is_sealed ? &has_sealed : &has_plain) = true;
        has_refuser = has_refuser || (rule->is_mixed_refused && rule->encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE &&
                                      !(world->message.wants_plain && rule->may_ask_less));
        lacks_signer = lacks_signer || (rule->sign == POLICY_SIGN_ALWAYS && !is_signed);
        if (is_sealed && !world->recipients[i].is_visible)
            (*groups_out)++;
        else if (!has_kind[is_sealed][is_signed])
            (*groups_out)++, has_kind[is_sealed][is_signed] = true;
    }
    if (has_plain && (has_required || (has_sealed && has_refuser)))
        return ERR_MIXED;
    if (lacks_signer)
        return strcmp(world->message.from, people[0]) == 0 ? ERR_NO_SIGNING_KEY : ERR_NOT_OWN_FROM;
    return *groups_out > world->message.groups_max ? ERR_TOO_MANY_GROUPS_FINAL : ERR_OK;
}

static void test_twice_in_bcc_is_one_copy(void **state)
{
    struct world world;
    struct policy_plan plan;
    (void)state;
    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 1, KEYRING_FULL, false);
    add_key(&world, 2, KEYRING_FULL, false);
    add_recipient(&world, 1, false);
    add_recipient(&world, 2, false);
    world.recipients[world.recipients_len] =
        (struct policy_recipient){.address = "BOB@example.org", .is_visible = false};
    world.message.recipients_len = ++world.recipients_len;
    assert_int_equal(make(&world, &plan), ERR_OK);
    assert_int_equal(plan.groups_len, 2);
    assert_int_equal(plan.groups[0].recipients_len, 2);
    assert_int_equal(plan.groups[0].recipients[0], 0);
    assert_int_equal(plan.groups[0].recipients[1], 2);
    assert_int_equal(plan.groups[0].keys_len, 2);
    assert_int_equal(plan.groups[1].recipients_len, 1);
    policy_plan_fini(&plan);
    keyring_free(&world.keyring);
}

static void test_properties(void **state)
{
    (void)state;
    seed = 20261120;
    size_t made = 0, with_bcc = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        struct world world;
        make_random(&world);
        struct policy_plan plan;
        size_t groups_expected;
        enum err err = make(&world, &plan);
        assert_int_equal(err, expect(&world, &groups_expected));
        check_order_is_nothing(&world, err, &plan);
        if (!err) {
            assert_true(plan.groups_len > 0 && plan.groups_len <= world.message.groups_max);
            assert_int_equal(plan.groups_len, groups_expected);
            check_each_recipient_once(&world, &plan);
            check_required_is_never_plain(&world, &plan);
            check_keys(&world, &plan);
            check_bcc_is_blind(&world, &plan);
            check_signatures(&world, &plan);
            made++;
            with_bcc += plan.groups_len > 2;
        }
        policy_plan_fini(&plan);
        keyring_free(&world.keyring);
    }
    /* The worlds must be of all kinds, or the properties were never tried. */
    assert_in_range(made, ROUNDS / 5, ROUNDS - ROUNDS / 5);
    assert_true(with_bcc > ROUNDS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_structs_refuse),
        cmocka_unit_test(test_no_groups_allowed),
        cmocka_unit_test(test_each_refusal),
        cmocka_unit_test(test_only_own_keys_sign),
        cmocka_unit_test(test_never_is_sealed_beside_required),
        cmocka_unit_test(test_asking_less),
        cmocka_unit_test(test_sealed_mail_passes_as_one),
        cmocka_unit_test(test_twice_in_bcc_is_one_copy),
        cmocka_unit_test(test_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

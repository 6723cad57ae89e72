/* Plans where sources contradict each other, where Autocrypt advises, and where a source's word has run out. */
#include "tests/unit/plan_world.h"

static void add_entry(struct world *world, size_t person, const char *fingerprint, enum keyring_trust trust,
                      enum keyring_source source, enum keyring_advice advice)
{
    struct keyring_entry entry = {
        .format = KEYRING_OPENPGP, .trust = trust, .source = source, .advice = advice, .created = 1000};
    snprintf(entry.address, sizeof entry.address, "%s", people[person]);
    snprintf(entry.fingerprint, sizeof entry.fingerprint, "%s", fingerprint);
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
}

static void add_autocrypt(struct world *world, size_t person, enum keyring_advice advice)
{
    add_entry(world, person, person == 1 ? "AC01" : "AC02", KEYRING_SEEN, KEYRING_SOURCE_AUTOCRYPT, advice);
}

static void begin_with(struct world *world, enum policy_encrypt encrypt)
{
    begin(world);
    add_key(world, 0, KEYRING_OWN, true);
    add_rule(world, NULL, encrypt, POLICY_SIGN_ALWAYS);
    add_recipient(world, 1, true);
}

/* Makes the plan, expects `err`, or of the first recipient's copy `action`. */
static void expect_plan(struct world *world, enum err err, enum plan_action action)
{
    struct policy_plan plan;
    assert_int_equal(make(world, &plan), err);
    for (size_t i = 0; i < plan.groups_len; i++)
        for (size_t j = 0; j < plan.groups[i].recipients_len; j++)
            if (plan.groups[i].recipients[j] == 0)
                assert_int_equal(plan.groups[i].action, action);
    policy_plan_fini(&plan);
}

static void test_conflict(void **state)
{
    (void)state;
    static const struct {
        enum policy_encrypt encrypt;
        bool is_reply, wants_encryption, wants_plain, has_pin;
        enum err at_rcpt, at_data;
        enum plan_action action;
    } cases[] = {
        {POLICY_ENCRYPT_REQUIRED, false, false, false, false, ERR_CONFLICT, ERR_CONFLICT, PLAN_REFUSE},
        {POLICY_ENCRYPT_REQUIRED, false, false, false, true, ERR_OK, ERR_OK, PLAN_SIGN_ENCRYPT},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, false, false, false, ERR_OK, ERR_OK, PLAN_SIGN_ENCRYPT},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, true, false, false, false, ERR_OK, ERR_CONFLICT, PLAN_REFUSE},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, true, false, false, ERR_OK, ERR_CONFLICT, PLAN_REFUSE},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, true, true, false, true, ERR_OK, ERR_OK, PLAN_SIGN_ENCRYPT},
        {POLICY_ENCRYPT_NEVER, false, false, false, false, ERR_OK, ERR_OK, PLAN_SIGN},
        {POLICY_ENCRYPT_NEVER, false, true, false, false, ERR_OK, ERR_CONFLICT, PLAN_REFUSE},
        {POLICY_ENCRYPT_REQUIRED, false, false, true, false, ERR_CONFLICT, ERR_CONFLICT, PLAN_REFUSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        char detail[POLICY_DETAIL_SIZE];
        begin_with(&world, cases[i].encrypt);
        add_entry(&world, 1, "AAAA01", KEYRING_FULL, KEYRING_SOURCE_IMPORT, KEYRING_ADVICE_NONE);
        add_entry(&world, 1, "BBBB02", cases[i].has_pin ? KEYRING_PINNED : KEYRING_FOUND, KEYRING_SOURCE_WKD,
                  KEYRING_ADVICE_NONE);
        world.message.is_reply_to_encrypted = cases[i].is_reply;
        world.message.wants_encryption = cases[i].wants_encryption;
        world.message.wants_plain = cases[i].wants_plain;
        assert_int_equal(policy_at_rcpt(&world.policy, world.keyring, people[1], NOW, detail), cases[i].at_rcpt);
        expect_plan(&world, cases[i].at_data, cases[i].action);
        keyring_free(&world.keyring);
    }
}

static void test_conflict_is_explained(void **state)
{
    (void)state;
    struct world world;
    struct policy_plan plan;
    char detail[POLICY_DETAIL_SIZE];
    begin_with(&world, POLICY_ENCRYPT_REQUIRED);
    add_entry(&world, 1, "AAAA01", KEYRING_FULL, KEYRING_SOURCE_IMPORT, KEYRING_ADVICE_NONE);
    add_entry(&world, 1, "BBBB02", KEYRING_FOUND, KEYRING_SOURCE_WKD, KEYRING_ADVICE_NONE);
    static const char *const parts[] = {"bob@example.org",  "AAAA01",
                                        "the web of trust", "BBBB02",
                                        "a Web Key",        "`privyseal key pin bob@example.org FINGERPRINT`"};
    assert_int_equal(policy_at_rcpt(&world.policy, world.keyring, people[1], NOW, detail), ERR_CONFLICT);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(detail, parts[i]));
    /* Where the message may ask for less, only the message can tell. */
    world.rules[0].may_ask_less = true;
    assert_int_equal(policy_at_rcpt(&world.policy, world.keyring, people[1], NOW, detail), ERR_OK);
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &world.message, &plan, detail), ERR_CONFLICT);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(detail, parts[i]));
    /* When possible it goes on with the better key, and says so. */
    world.rules[0].encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE;
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &world.message, &plan, detail), ERR_OK);
    assert_int_equal(plan.groups[0].keys_len, 2);
    assert_true(strcmp(plan.groups[0].keys[0], "AAAA01") == 0 || strcmp(plan.groups[0].keys[1], "AAAA01") == 0);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(plan.warning, parts[i]));
    policy_plan_fini(&plan);
    /* A copy that leaves in clear has no key to contradict. */
    world.message.wants_plain = true;
    assert_int_equal(policy_plan_make(&world.policy, world.keyring, &world.message, &plan, detail), ERR_OK);
    assert_string_equal(plan.warning, "");
    policy_plan_fini(&plan);
    keyring_free(&world.keyring);
}

/* Required: the next format, if nobody contradicts there. */
static void test_conflict_in_one_format(void **state)
{
    (void)state;
    struct world world;
    struct policy_choice choice;
    char detail[POLICY_DETAIL_SIZE];
    begin_with(&world, POLICY_ENCRYPT_REQUIRED);
    world.rules[0].formats[1] = KEYRING_SMIME;
    world.rules[0].formats_len = 2;
    add_entry(&world, 1, "AAAA01", KEYRING_FULL, KEYRING_SOURCE_IMPORT, KEYRING_ADVICE_NONE);
    add_entry(&world, 1, "BBBB02", KEYRING_FOUND, KEYRING_SOURCE_WKD, KEYRING_ADVICE_NONE);
    struct keyring_entry certificate = *keyring_at(world.keyring, 0);
    snprintf(certificate.address, sizeof certificate.address, "%s", people[1]);
    snprintf(certificate.fingerprint, sizeof certificate.fingerprint, "CCCC03");
    certificate.format = KEYRING_SMIME;
    certificate.trust = KEYRING_FULL;
    certificate.has_secret = false;
    assert_int_equal(keyring_add(world.keyring, &certificate), ERR_OK);
    assert_int_equal(policy_at_rcpt(&world.policy, world.keyring, people[1], NOW, detail), ERR_OK);
    policy_choose(&world.policy, world.keyring, people[1], NOW, &choice);
    assert_string_equal(choice.key->fingerprint, "CCCC03");
    assert_null(choice.rival);
    /* There is no own certificate to sign with, and the other format is no way out. */
    expect_plan(&world, ERR_NO_SIGNING_KEY, PLAN_REFUSE);
    world.rules[0].sign = POLICY_SIGN_NEVER;
    expect_plan(&world, ERR_OK, PLAN_ENCRYPT);
    world.rules[0].encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE;
    policy_choose(&world.policy, world.keyring, people[1], NOW, &choice);
    assert_string_equal(choice.key->fingerprint, "AAAA01");
    assert_string_equal(choice.rival->fingerprint, "BBBB02");
    keyring_free(&world.keyring);
}

/* Autocrypt level 1, 2.4, for each rule, advice and kind of message. */
static void test_each_advice(void **state)
{
    (void)state;
    enum message { FIRST, REPLY, REPLY_AS_RULE, ASKS, MESSAGES };
    for (int advice = KEYRING_ADVICE_NONE; advice < KEYRING_ADVICE_COUNT; advice++)
        for (int encrypt = POLICY_ENCRYPT_REQUIRED; encrypt <= POLICY_ENCRYPT_NEVER; encrypt++)
            for (int kind = FIRST; kind < MESSAGES; kind++)
                for (int is_mutual = 0; is_mutual < 2; is_mutual++) {
                    struct world world;
                    begin_with(&world, (enum policy_encrypt)encrypt);
                    world.rules[0].trust = KEYRING_SEEN;
                    world.rules[0].are_replies_as_rule = kind == REPLY_AS_RULE;
                    world.message.is_reply_to_encrypted = kind == REPLY || kind == REPLY_AS_RULE;
                    world.message.wants_encryption = kind == ASKS;
                    world.message.is_mutual = is_mutual != 0;
                    add_autocrypt(&world, 1, (enum keyring_advice)advice);
                    const bool is_required = encrypt == POLICY_ENCRYPT_REQUIRED || kind == REPLY || kind == ASKS;
                    const bool is_advised = advice == KEYRING_ADVICE_NONE || kind == REPLY_AS_RULE ||
                                            (advice == KEYRING_ADVICE_MUTUAL && is_mutual != 0);
                    const bool is_sealed = is_required || (encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE && is_advised);
                    expect_plan(&world, ERR_OK, is_sealed ? PLAN_SIGN_ENCRYPT : PLAN_SIGN);
                    keyring_free(&world.keyring);
                }
}

/* A key that somebody else vouches for, too, is no matter of Autocrypt's. */
static void test_advice_of_a_trusted_key(void **state)
{
    (void)state;
    struct world world;
    begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE);
    add_entry(&world, 1, "AC01", KEYRING_FOUND, KEYRING_SOURCE_WKD, KEYRING_ADVICE_DISCOURAGE);
    expect_plan(&world, ERR_OK, PLAN_SIGN_ENCRYPT);
    keyring_free(&world.keyring);
}

/* A forged From with a key: what went before goes as it went. */
static void test_forged_field_blocks_nobody(void **state)
{
    (void)state;
    for (int encrypt = POLICY_ENCRYPT_REQUIRED; encrypt <= POLICY_ENCRYPT_NEVER; encrypt++)
        for (int is_reply = 0; is_reply < 2; is_reply++)
            for (int least = KEYRING_NEVER; least <= KEYRING_FOUND; least++) {
                struct world world;
                struct policy_plan before, after;
                begin_with(&world, (enum policy_encrypt)encrypt);
                world.rules[0].trust = (enum keyring_trust)least;
                world.message.is_reply_to_encrypted = is_reply != 0;
                add_entry(&world, 1, "AAAA01", KEYRING_FOUND, KEYRING_SOURCE_WKD, KEYRING_ADVICE_NONE);
                assert_int_equal(make(&world, &before), ERR_OK);
                add_autocrypt(&world, 1, KEYRING_ADVICE_MUTUAL);
                world.message.is_mutual = true;
                assert_int_equal(make(&world, &after), ERR_OK);
                assert_int_equal(after.groups[0].action, before.groups[0].action);
                assert_int_equal(after.groups[0].keys_len, before.groups[0].keys_len);
                for (size_t i = 0; i < before.groups[0].keys_len; i++)
                    assert_string_equal(after.groups[0].keys[i], before.groups[0].keys[i]);
                assert_string_equal(after.warning, "");
                policy_plan_fini(&before);
                policy_plan_fini(&after);
                keyring_free(&world.keyring);
            }
}

/* mixed = refuse: bob has an Autocrypt key, carol one that is firm, such a key too, or none. */
static void test_advice_and_mixed(void **state)
{
    (void)state;
    enum other { NONE, FIRM, AVAILABLE, MUTUAL };
    static const struct {
        enum keyring_advice bob;
        enum other carol;
        enum err err;
        enum plan_action action; /* of both */
    } cases[] = {
        /* Nobody's forged field turns a message that left in clear into one that does not leave. */
        {KEYRING_ADVICE_MUTUAL, NONE, ERR_OK, PLAN_SIGN},
        {KEYRING_ADVICE_AVAILABLE, NONE, ERR_OK, PLAN_SIGN},
        /* Nor one that was encrypted to all. */
        {KEYRING_ADVICE_MUTUAL, FIRM, ERR_OK, PLAN_SIGN_ENCRYPT},
        {KEYRING_ADVICE_AVAILABLE, FIRM, ERR_OK, PLAN_SIGN_ENCRYPT},
        {KEYRING_ADVICE_DISCOURAGE, FIRM, ERR_OK, PLAN_SIGN_ENCRYPT},
        {KEYRING_ADVICE_MUTUAL, MUTUAL, ERR_OK, PLAN_SIGN_ENCRYPT},
        {KEYRING_ADVICE_MUTUAL, AVAILABLE, ERR_OK, PLAN_SIGN},
        {KEYRING_ADVICE_NONE, NONE, ERR_MIXED, PLAN_REFUSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        struct policy_plan plan;
        begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE);
        world.rules[0].is_mixed_refused = true;
        world.message.is_mutual = true;
        add_recipient(&world, 2, true);
        add_autocrypt(&world, 1, cases[i].bob);
        if (cases[i].carol == FIRM)
            add_key(&world, 2, KEYRING_FULL, false);
        else if (cases[i].carol != NONE)
            add_autocrypt(&world, 2, cases[i].carol == MUTUAL ? KEYRING_ADVICE_MUTUAL : KEYRING_ADVICE_AVAILABLE);
        assert_int_equal(make(&world, &plan), cases[i].err);
        assert_int_equal(plan.groups_len, cases[i].err ? 0 : 1);
        if (!cases[i].err)
            assert_int_equal(plan.groups[0].action, cases[i].action);
        policy_plan_fini(&plan);
        /* Without such a rule each goes by itself. */
        world.rules[0].is_mixed_refused = false;
        assert_int_equal(make(&world, &plan), ERR_OK);
        policy_plan_fini(&plan);
        keyring_free(&world.keyring);
    }
}

/* Beside a required recipient whoever can be sealed to is. */
static void test_advice_beside_required(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 2, KEYRING_FULL, false);
    add_rule(&world, people[2], POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS);
    add_recipient(&world, 1, true);
    add_recipient(&world, 2, true);
    add_autocrypt(&world, 1, KEYRING_ADVICE_DISCOURAGE);
    add_rule(&world, NULL, POLICY_ENCRYPT_WHEN_POSSIBLE, POLICY_SIGN_ALWAYS);
    expect_plan(&world, ERR_OK, PLAN_SIGN_ENCRYPT);
    keyring_free(&world.keyring);
}

/* Such a copy may be plain or sealed, so it needs no group that the others have not. */
static void test_advice_and_least_groups(void **state)
{
    (void)state;
    struct world world;
    begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE);
    add_autocrypt(&world, 1, KEYRING_ADVICE_AVAILABLE);
    add_key(&world, 2, KEYRING_FULL, false);
    const char *const both[] = {people[1], people[2]}, *const plain[] = {people[1], people[3]};
    assert_int_equal(policy_groups_least(&world.policy, world.keyring, both, 1, NOW), 1);
    assert_int_equal(policy_groups_least(&world.policy, world.keyring, both, 2, NOW), 1);
    assert_int_equal(policy_groups_least(&world.policy, world.keyring, plain, 2, NOW), 1);
    keyring_free(&world.keyring);
}

/* What is missing for now is a 4xx: a source that could not be asked, or one whose word has run out since RCPT. */
static void test_missing_for_now(void **state)
{
    (void)state;
    static const struct {
        enum policy_encrypt encrypt;
        bool had_word, is_unasked, is_reply, wants_plain;
        enum err err;
        enum plan_action action;
    } cases[] = {
        {POLICY_ENCRYPT_REQUIRED, false, false, false, false, ERR_NO_KEY, PLAN_REFUSE},
        {POLICY_ENCRYPT_REQUIRED, true, false, false, false, ERR_LOOKUP, PLAN_REFUSE},
        {POLICY_ENCRYPT_REQUIRED, false, true, false, false, ERR_LOOKUP, PLAN_REFUSE},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, true, false, false, false, ERR_LOOKUP, PLAN_REFUSE},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, true, false, false, ERR_OK, PLAN_SIGN},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, false, false, false, ERR_OK, PLAN_SIGN},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, true, true, false, ERR_LOOKUP, PLAN_REFUSE},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, false, false, true, false, ERR_NO_KEY, PLAN_REFUSE},
        {POLICY_ENCRYPT_WHEN_POSSIBLE, true, true, false, true, ERR_OK, PLAN_SIGN},
        {POLICY_ENCRYPT_NEVER, true, true, false, false, ERR_OK, PLAN_SIGN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        begin_with(&world, cases[i].encrypt);
        world.rules[0].may_ask_less = cases[i].wants_plain;
        world.recipients[0].had_word = cases[i].had_word;
        world.recipients[0].is_unasked = cases[i].is_unasked;
        world.message.is_reply_to_encrypted = cases[i].is_reply;
        world.message.wants_plain = cases[i].wants_plain;
        expect_plan(&world, cases[i].err, cases[i].action);
        /* A key that anybody could have sent does not step in for one whose word has run out. */
        if (cases[i].err == ERR_LOOKUP && cases[i].had_word) {
            add_autocrypt(&world, 1, KEYRING_ADVICE_MUTUAL);
            world.message.is_mutual = true;
            expect_plan(&world, ERR_LOOKUP, PLAN_REFUSE);
        }
        /* One that mail had told, and newer mail has replaced, is for now, too. */
        if (cases[i].err == ERR_OK && !cases[i].had_word && !cases[i].wants_plain) {
            world.recipients[0].had_heard = true;
            expect_plan(&world, ERR_LOOKUP, PLAN_REFUSE);
            world.recipients[0].had_heard = false;
        }
        /* Any key that is gone is for now, unless it is plain already why the copy cannot leave. */
        if (!cases[i].had_word && !cases[i].is_unasked && !cases[i].wants_plain) {
            world.recipients[0].had_key = true;
            expect_plan(&world, cases[i].err == ERR_OK ? ERR_LOOKUP : cases[i].err, PLAN_REFUSE);
        }
        /* Nothing of that matters where there is a key. */
        add_key(&world, 1, KEYRING_FULL, false);
        const bool is_sealed = cases[i].encrypt != POLICY_ENCRYPT_NEVER && !cases[i].wants_plain;
        expect_plan(&world, ERR_OK, is_sealed ? PLAN_SIGN_ENCRYPT : PLAN_SIGN);
        keyring_free(&world.keyring);
    }
}

/* While some record is damaged nobody gets a copy whose own record has not been read: it may rule the key out. */
static void test_damaged_record(void **state)
{
    (void)state;
    struct world world;
    begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE);
    add_key(&world, 1, KEYRING_FULL, false);
    keyring_set_incomplete(world.keyring);
    expect_plan(&world, ERR_DAMAGED, PLAN_REFUSE);
    world.recipients[0].is_record_read = true;
    expect_plan(&world, ERR_OK, PLAN_SIGN_ENCRYPT);
    keyring_free(&world.keyring);
}

/* Who stands in the way of a required recipient, for now. */
static void test_mixed_for_now(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    add_key(&world, 0, KEYRING_OWN, true);
    add_key(&world, 2, KEYRING_FULL, false);
    add_rule(&world, people[2], POLICY_ENCRYPT_REQUIRED, POLICY_SIGN_ALWAYS);
    add_rule(&world, NULL, POLICY_ENCRYPT_WHEN_POSSIBLE, POLICY_SIGN_ALWAYS);
    add_recipient(&world, 1, true);
    add_recipient(&world, 2, true);
    expect_plan(&world, ERR_MIXED, PLAN_REFUSE);
    world.recipients[0].is_unasked = true;
    expect_plan(&world, ERR_LOOKUP, PLAN_REFUSE);
    keyring_free(&world.keyring);
}

static void test_who_is_asked(void **state)
{
    (void)state;
    struct policy_rule rule = {.encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE};
    struct keyring_entry key = {.trust = KEYRING_FOUND, .ask_again = NOW + 1}, rival = key;
    struct policy_choice choice = {.rule = &rule};
    assert_true(policy_wants_record(&choice) && policy_wants_sources(&choice, NOW));
    choice.key = &key;
    assert_false(policy_wants_record(&choice) || policy_wants_sources(&choice, NOW));
    assert_true(policy_wants_sources(&choice, NOW + 1));
    key.ask_again = 0;
    assert_false(policy_wants_sources(&choice, NOW + 1));
    /* Whoever contradicts it, too, may have changed its mind. */
    choice.rival = &rival;
    assert_false(policy_wants_sources(&choice, NOW));
    assert_true(policy_wants_sources(&choice, NOW + 1));
    choice.rival = NULL;
    key.advice = KEYRING_ADVICE_MUTUAL;
    assert_true(policy_wants_sources(&choice, NOW));
    rule.encrypt = POLICY_ENCRYPT_NEVER;
    assert_false(policy_wants_sources(&choice, NOW));
    choice.key = NULL;
    assert_false(policy_wants_record(&choice) || policy_wants_sources(&choice, NOW));
}

/* What was sealed does not leave in clear because its key has been revoked: not before a person has said so. */
static void test_revoked_is_no_way_to_plain(void **state)
{
    (void)state;
    struct world world;
    char detail[POLICY_DETAIL_SIZE];
    begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE);
    struct keyring_entry revoked = {.format = KEYRING_OPENPGP, .trust = KEYRING_FULL, .created = 1000};
    revoked.is_revoked = true;
    snprintf(revoked.address, sizeof revoked.address, "%s", people[1]);
    snprintf(revoked.fingerprint, sizeof revoked.fingerprint, "DEAD01");
    assert_int_equal(keyring_add(world.keyring, &revoked), ERR_OK);
    assert_int_equal(policy_at_rcpt(&world.policy, world.keyring, people[1], NOW, detail), ERR_KEY_UNUSABLE);
    assert_non_null(strstr(detail, "`privyseal key pin --not bob@example.org DEAD01`"));
    expect_plan(&world, ERR_KEY_UNUSABLE, PLAN_REFUSE);
    world.recipients[0].is_unasked = true;
    expect_plan(&world, ERR_LOOKUP, PLAN_REFUSE);
    world.recipients[0].is_unasked = false;
    world.message.wants_plain = true;
    expect_plan(&world, ERR_KEY_UNUSABLE, PLAN_REFUSE);
    world.rules[0].may_ask_less = true;
    assert_int_equal(policy_at_rcpt(&world.policy, world.keyring, people[1], NOW, detail), ERR_OK);
    expect_plan(&world, ERR_OK, PLAN_SIGN);
    world.rules[0].may_ask_less = world.message.wants_plain = false;
    world.rules[0].encrypt = POLICY_ENCRYPT_NEVER;
    expect_plan(&world, ERR_OK, PLAN_SIGN);
    world.rules[0].encrypt = POLICY_ENCRYPT_REQUIRED;
    expect_plan(&world, ERR_NO_KEY, PLAN_REFUSE);
    world.rules[0].encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE;
    add_key(&world, 1, KEYRING_FULL, false);
    expect_plan(&world, ERR_OK, PLAN_SIGN_ENCRYPT);
    keyring_free(&world.keyring);
    /* The person's word. */
    begin_with(&world, POLICY_ENCRYPT_WHEN_POSSIBLE);
    revoked.trust = KEYRING_NEVER;
    revoked.source = KEYRING_SOURCE_PERSON;
    assert_int_equal(keyring_add(world.keyring, &revoked), ERR_OK);
    expect_plan(&world, ERR_OK, PLAN_SIGN);
    keyring_free(&world.keyring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conflict),
        cmocka_unit_test(test_who_is_asked),
        cmocka_unit_test(test_conflict_is_explained),
        cmocka_unit_test(test_conflict_in_one_format),
        cmocka_unit_test(test_each_advice),
        cmocka_unit_test(test_advice_of_a_trusted_key),
        cmocka_unit_test(test_forged_field_blocks_nobody),
        cmocka_unit_test(test_advice_and_mixed),
        cmocka_unit_test(test_advice_beside_required),
        cmocka_unit_test(test_advice_and_least_groups),
        cmocka_unit_test(test_missing_for_now),
        cmocka_unit_test(test_damaged_record),
        cmocka_unit_test(test_mixed_for_now),
        cmocka_unit_test(test_revoked_is_no_way_to_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

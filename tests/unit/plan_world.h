/*
 * Rules, keys and recipients of a plan. To be included by one file of a test program.
 */
#ifndef TESTS_UNIT_PLAN_WORLD_H
#define TESTS_UNIT_PLAN_WORLD_H

#include "policy/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)
#define PEOPLE 8

/* Addresses and their patterns; person 0 is the sender. */
static char *const people[PEOPLE] = {"alice@example.org",   "bob@example.org",    "carol@one.example",
                                     "dave@two.example",    "erin@two.example",   "frank@one.example",
                                     "grace@x.two.example", "heidi@three.example"};

struct world {
    struct policy_rule rules[3];
    char *patterns[3][1];
    struct policy policy;
    struct keyring *keyring;
    char fingerprints[PEOPLE][KEYRING_FPR_SIZE]; /* "" without any */
    struct policy_recipient recipients[PEOPLE];
    size_t recipients_len;
    const char *own[1];
    struct policy_message message;
};

static inline void add_key(struct world *world, size_t person, enum keyring_trust trust, bool has_secret)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = trust, .created = 1000, .has_secret = has_secret};
    snprintf(entry.address, sizeof entry.address, "%s", people[person]);
    snprintf(entry.fingerprint, sizeof entry.fingerprint, "%040zX", (person * 7 + 3) % PEOPLE + 1);
    snprintf(world->fingerprints[person], KEYRING_FPR_SIZE, "%s", entry.fingerprint);
    assert_int_equal(keyring_add(world->keyring, &entry), ERR_OK);
}

static inline void begin(struct world *world)
{
    *world = (struct world){0};
    assert_int_equal(keyring_new(&world->keyring), ERR_OK);
    world->policy.rules = world->rules;
    world->own[0] = people[0];
    world->message = (struct policy_message){.recipients = world->recipients,
                                             .from = people[0],
                                             .own = world->own,
                                             .own_len = 1,
                                             .now = NOW,
                                             .groups_max = 50};
}

static inline void add_rule(struct world *world, char *pattern, enum policy_encrypt encrypt, enum policy_sign sign)
{
    const size_t index = world->policy.rules_len++;
    world->patterns[index][0] = pattern;
    world->rules[index] = (struct policy_rule){.name = "rule",
                                               .to = pattern ? world->patterns[index] : NULL,
                                               .to_len = pattern ? 1 : 0,
                                               .encrypt = encrypt,
                                               .sign = sign,
                                               .formats = {KEYRING_OPENPGP},
                                               .formats_len = 1};
}

static inline void add_recipient(struct world *world, size_t person, bool is_visible)
{
    world->recipients[world->recipients_len++] =
        (struct policy_recipient){.address = people[person], .is_visible = is_visible};
    world->message.recipients_len = world->recipients_len;
}

static inline enum err make(struct world *world, struct policy_plan *plan)
{
    char detail[POLICY_DETAIL_SIZE];
    enum err err = policy_plan_make(&world->policy, world->keyring, &world->message, plan, detail);
    if (err) {
        assert_int_equal(plan->groups_len, 0);
        assert_true(detail[0] != '\0');
    }
    return err;
}

#endif

#include "policy/rule.h"

#include <stdlib.h>

void policy_fini(struct policy *policy)
{
    for (size_t i = 0; i < policy->rules_len; i++) {
        struct policy_rule *rule = &policy->rules[i];
        for (size_t j = 0; j < rule->to_len; j++)
            free(rule->to[j]);
        free(rule->to);
        free(rule->name);
    }
    free(policy->rules);
    *policy = (struct policy){0};
}

static bool is_for(const struct policy_rule *rule, const char *address)
{
    if (rule->to_len == 0)
        return true;
    for (size_t i = 0; i < rule->to_len; i++)
        if (mime_addr_matches(address, rule->to[i]))
            return true;
    return false;
}

const struct policy_rule *policy_match(const struct policy *policy, const char *address)
{
    static char name[] = "default";
    static const struct policy_rule last = {.name = name,
                                            .encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE,
                                            .sign = POLICY_SIGN_ALWAYS,
                                            .formats = {KEYRING_OPENPGP, KEYRING_SMIME},
                                            .formats_len = POLICY_FORMATS_MAX};
    for (size_t i = 0; i < policy->rules_len; i++)
        if (is_for(&policy->rules[i], address))
            return &policy->rules[i];
    return &last;
}

enum keyring_trust policy_least_trust(const struct policy_rule *rule)
{
    if (rule->trust != KEYRING_NEVER)
        return rule->trust;
    return rule->encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE ? KEYRING_SEEN : KEYRING_FOUND;
}

const char *policy_encrypt_name(enum policy_encrypt encrypt)
{
    switch (encrypt) {
    case POLICY_ENCRYPT_WHEN_POSSIBLE:
        return "when-possible";
    case POLICY_ENCRYPT_NEVER:
        return "never";
    case POLICY_ENCRYPT_REQUIRED:
        break;
    }
    return "required";
}

const char *policy_sign_name(enum policy_sign sign)
{
    switch (sign) {
    case POLICY_SIGN_WHEN_POSSIBLE:
        return "when-possible";
    case POLICY_SIGN_NEVER:
        return "never";
    case POLICY_SIGN_ALWAYS:
        break;
    }
    return "always";
}

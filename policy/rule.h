/*
 * The rules of the configuration: for each recipient the first that matches decides (design, section 5). Pure.
 */
#ifndef POLICY_RULE_H
#define POLICY_RULE_H

#include "keyring/index.h"

enum policy_encrypt { POLICY_ENCRYPT_REQUIRED = 0, POLICY_ENCRYPT_WHEN_POSSIBLE, POLICY_ENCRYPT_NEVER };
enum policy_sign { POLICY_SIGN_ALWAYS = 0, POLICY_SIGN_WHEN_POSSIBLE, POLICY_SIGN_NEVER };

#define POLICY_FORMATS_MAX 2

struct policy_rule {
    char *name;
    char **to; /* patterns of mime_addr_matches; none: every recipient */
    size_t to_len;
    enum policy_encrypt encrypt;
    enum policy_sign sign;
    enum keyring_trust
        trust; /* least trust; KEYRING_NEVER: the default of `encrypt` (required: found, when-possible: seen) */
    enum keyring_format formats[POLICY_FORMATS_MAX]; /* in order of preference */
    size_t formats_len;
    bool is_mixed_refused;    /* mixed = refuse: under when-possible, all copies sealed or none at all */
    bool may_ask_less;        /* `Privyseal: encrypt=never` is heeded */
    bool are_replies_as_rule; /* a reply to mail that came encrypted follows `encrypt`, too, instead of requiring it */
};

struct policy {
    struct policy_rule *rules; /* owned */
    size_t rules_len;
};

/* Frees the rules and all they own. */
void policy_fini(struct policy *policy);
/* The rule for `address` (normal form). Never NULL: after the last comes "sign always, encrypt when possible". */
const struct policy_rule *policy_match(const struct policy *policy, const char *address);
/* The least trust that the rule takes, defaults applied. */
enum keyring_trust policy_least_trust(const struct policy_rule *rule);
const char *policy_encrypt_name(enum policy_encrypt encrypt);
const char *policy_sign_name(enum policy_sign sign);

#endif

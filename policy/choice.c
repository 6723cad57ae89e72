/*
 * One recipient alone: which key its rule takes, and the answer to RCPT.
 */
#include "policy/plan_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void plan_explain(char detail[POLICY_DETAIL_SIZE], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, POLICY_DETAIL_SIZE, format, arguments);
    va_end(arguments);
}

const struct keyring_entry *plan_find_key(const struct policy_rule *rule, const struct keyring *keyring,
                                          const char *address, enum keyring_format format, int64_t now,
                                          enum keyring_reason *reason_out, const struct keyring_entry **rival_out)
{
    const struct keyring_want want = {
        .purpose = KEYRING_ENCRYPT, .formats = (unsigned)format, .least = policy_least_trust(rule), .now = now};
    const struct keyring_entry *key = keyring_choose(keyring, address, &want, reason_out);
    *rival_out = key ? keyring_rival(keyring, key, &want) : NULL;
    return key;
}

/* Without a key: what is wrong with those that there are. */
static void look_at_refused(const struct policy_rule *rule, const struct keyring *keyring, const char *address,
                            enum keyring_format format, int64_t now, enum keyring_reason reason,
                            struct policy_choice *choice)
{
    const struct keyring_want want = {
        .purpose = KEYRING_ENCRYPT, .formats = (unsigned)format, .least = policy_least_trust(rule), .now = now};
    if (!choice->withdrawn)
        choice->withdrawn = keyring_withdrawn(keyring, address, &want);
    if (!choice->has_candidate || choice->reason == KEYRING_WRONG_FORMAT) {
        choice->has_candidate = true;
        choice->reason = reason;
        choice->tried = format;
    }
}

void plan_choose(const struct policy_rule *rule, const struct keyring *keyring, const char *address, int64_t now,
                 bool is_required, struct policy_choice *choice_out)
{
    *choice_out = (struct policy_choice){.rule = rule};
    for (size_t i = 0; i < rule->formats_len; i++) {
        enum keyring_reason reason = KEYRING_TAKEN;
        const struct keyring_entry *rival;
        const struct keyring_entry *key = plan_find_key(rule, keyring, address, rule->formats[i], now, &reason, &rival);
        if (!key && reason != KEYRING_TAKEN)
            look_at_refused(rule, keyring, address, rule->formats[i], now, reason, choice_out);
        if (key && (!choice_out->key || (is_required && choice_out->rival && !rival))) {
            choice_out->key = key;
            choice_out->rival = rival;
        }
    }
    if (choice_out->key) {
        choice_out->has_candidate = true;
        choice_out->reason = KEYRING_TAKEN;
        choice_out->withdrawn = NULL;
    }
}

void policy_explain_damaged(const char *address, char detail[POLICY_DETAIL_SIZE])
{
    plan_explain(detail,
                 "%s: what is kept of it in the store is damaged, and may say which key is not theirs; have it "
                 "forgotten with `privyseal key pin --forget %s`, and say again what you know of its keys",
                 address, address);
}

static bool requires_encryption(const struct policy_rule *rule)
{
    return rule->encrypt != POLICY_ENCRYPT_WHEN_POSSIBLE && rule->encrypt != POLICY_ENCRYPT_NEVER;
}

void policy_choose(const struct policy *policy, const struct keyring *keyring, const char *address, int64_t now,
                   struct policy_choice *choice_out)
{
    const struct policy_rule *rule = policy_match(policy, address);
    plan_choose(rule, keyring, address, now, requires_encryption(rule), choice_out);
}

bool policy_wants_record(const struct policy_choice *choice)
{
    return choice->rule->encrypt != POLICY_ENCRYPT_NEVER && !choice->key;
}

static bool is_due(const struct keyring_entry *entry, int64_t now)
{
    return entry && entry->ask_again != 0 && entry->ask_again <= now;
}

bool policy_wants_sources(const struct policy_choice *choice, int64_t now)
{
    const struct keyring_entry *key = choice->key;
    return choice->rule->encrypt != POLICY_ENCRYPT_NEVER &&
           (!key || key->advice != KEYRING_ADVICE_NONE || is_due(key, now) || is_due(choice->rival, now));
}

static const char *name_of(const struct policy_rule *rule)
{
    return rule->name ? rule->name : "";
}

/* Why there is no key, and what the person can do about it. */
static void explain_no_key(const struct policy_choice *choice, const char *address, const char *why,
                           char detail[POLICY_DETAIL_SIZE])
{
    const char *rule = name_of(choice->rule);
    const char *trust = keyring_trust_name(policy_least_trust(choice->rule));
    if (!choice->has_candidate)
        plan_explain(detail,
                     "%s: %s (rule \"%s\"), and the key ring has no key for this address; import one with "
                     "`privyseal key import`",
                     address, why, rule);
    else if (choice->reason == KEYRING_TOO_LITTLE_TRUST && choice->tried == KEYRING_SMIME)
        plan_explain(detail,
                     "%s: %s (rule \"%s\"), and its certificate is trusted less than \"%s\"; add the certificate of "
                     "who issued it to `smime_ca`, if that is to be trusted, or compare the fingerprint and confirm it "
                     "with `privyseal key pin`",
                     address, why, rule, trust);
    else if (choice->reason == KEYRING_TOO_LITTLE_TRUST)
        plan_explain(detail,
                     "%s: %s (rule \"%s\"), and its key is trusted less than \"%s\"; compare the fingerprint and "
                     "confirm it with `privyseal key pin`",
                     address, why, rule, trust);
    else if (choice->reason == KEYRING_UNCONFIRMED)
        plan_explain(detail,
                     "%s: %s (rule \"%s\"), and the source that named its key has not been heard for more than %d "
                     "days; compare the fingerprint and confirm it with `privyseal key pin`",
                     address, why, rule, (int)(KEYRING_STALE_S / 86400));
    else
        plan_explain(detail,
                     "%s: %s (rule \"%s\"), but its key cannot be used: %s; ask for a new key and import it with "
                     "`privyseal key import`",
                     address, why, rule, keyring_reason_text(choice->reason));
}

void plan_explain_conflict(const struct policy_choice *choice, const char *address, const char *why,
                           char detail[POLICY_DETAIL_SIZE])
{
    plan_explain(detail,
                 "%s: %s (rule \"%s\"), and two sources name different keys: %s by the word of %s, and %s by the word "
                 "of %s; ask its owner which is right, and confirm that with `privyseal key pin %s FINGERPRINT`",
                 address, why, name_of(choice->rule), choice->key->fingerprint, keyring_voucher_text(choice->key),
                 choice->rival->fingerprint, keyring_voucher_text(choice->rival), address);
}

enum err plan_demand(const struct policy_choice *choice, const char *address, const char *why,
                     char detail[POLICY_DETAIL_SIZE])
{
    if (!choice->key) {
        explain_no_key(choice, address, why, detail);
        return ERR_NO_KEY;
    }
    if (choice->rival) {
        plan_explain_conflict(choice, address, why, detail);
        return ERR_CONFLICT;
    }
    return ERR_OK;
}

enum err plan_wish(const struct policy_choice *choice, const char *address, char detail[POLICY_DETAIL_SIZE])
{
    if (!choice->withdrawn)
        return ERR_OK;
    plan_explain(detail,
                 "%s: the rule \"%s\" encrypts when possible, and the key %s has been revoked; import a new one with "
                 "`privyseal key import`, or let mail for %s leave in clear with `privyseal key pin --not %s %s`",
                 address, name_of(choice->rule), choice->withdrawn->fingerprint, address, address,
                 choice->withdrawn->fingerprint);
    return ERR_KEY_UNUSABLE;
}

enum err policy_at_rcpt(const struct policy *policy, const struct keyring *keyring, const char *address, int64_t now,
                        char detail_out[POLICY_DETAIL_SIZE])
{
    detail_out[0] = '\0';
    struct policy_choice choice;
    policy_choose(policy, keyring, address, now, &choice);
    /* Where the message may ask for less, only the message can tell. */
    if (choice.rule->may_ask_less || choice.rule->encrypt == POLICY_ENCRYPT_NEVER)
        return ERR_OK;
    return requires_encryption(choice.rule) ? plan_demand(&choice, address, "encryption is required", detail_out)
                                            : plan_wish(&choice, address, detail_out);
}

#include "policy/plan.h"

#include "policy/plan_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *plan_action_name(enum plan_action action)
{
    static const char *const names[] = {"refuse", "plain", "sign", "encrypt", "sign-encrypt", "pass"};
    const size_t index = (size_t)action;
    return index < sizeof names / sizeof *names ? names[index] : names[PLAN_REFUSE];
}

const struct keyring_entry *plan_sender_key(const struct plan_sender *sender, enum keyring_purpose purpose,
                                            enum keyring_format format)
{
    if (!sender->is_own)
        return NULL;
    const struct keyring_want want = {
        .purpose = purpose, .formats = (unsigned)format, .least = KEYRING_OWN, .now = sender->message->now};
    enum keyring_reason reason;
    return keyring_choose(sender->keyring, sender->message->from, &want, &reason);
}

static bool is_own_from(const struct policy_message *message)
{
    if (!message->from || !message->from[0])
        return false;
    for (size_t i = 0; i < message->own_len; i++)
        if (mime_addr_is_same(message->own[i], message->from))
            return true;
    return false;
}

/* The rule's word, after what the message asks for and what it answers. Values that no rule can have count as required.
 */
static enum policy_encrypt effective_encrypt(const struct policy_rule *rule, const struct policy_message *message)
{
    if (message->wants_encryption)
        return POLICY_ENCRYPT_REQUIRED;
    if (message->wants_plain && rule->may_ask_less)
        return POLICY_ENCRYPT_NEVER;
    if (message->is_reply_to_encrypted && !rule->are_replies_as_rule)
        return POLICY_ENCRYPT_REQUIRED;
    if (rule->encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE || rule->encrypt == POLICY_ENCRYPT_NEVER)
        return rule->encrypt;
    return POLICY_ENCRYPT_REQUIRED;
}

static int compare_recipients(const void *left, const void *right)
{
    const struct plan_recipient *a = left, *b = right;
    int order = strcasecmp(a->address, b->address);
    if (!order)
        order = strcmp(a->address, b->address);
    if (!order && a->is_visible != b->is_visible)
        order = a->is_visible ? -1 : 1;
    if (!order && a->index != b->index)
        order = a->index < b->index ? -1 : 1;
    return order;
}

/* Why a recipient counts as required. */
static const char *reason_of(const struct plan_recipient *recipient, const struct policy_message *message)
{
    if (message->wants_encryption)
        return "the message asks for encryption";
    return recipient->choice.rule->encrypt == POLICY_ENCRYPT_REQUIRED ? "encryption is required"
                                                                      : "this is a reply to an encrypted message";
}

/* There is no key, and there may soon be one: its source was out of reach, or what there was at RCPT has gone since. */
static enum err refuse_for_now(const struct plan_recipient *recipient, char detail[POLICY_DETAIL_SIZE])
{
    plan_explain(detail,
                 "%s: a source that may know its key could not be asked, or what was known has just changed; try again",
                 recipient->address);
    return ERR_LOOKUP;
}

static bool is_by_advice(const struct keyring_entry *key)
{
    return key->advice != KEYRING_ADVICE_NONE && key->trust <= KEYRING_SEEN;
}

/* Each recipient by itself. */
static enum err check_each(const struct policy_message *message, const struct plan_recipient *all, size_t len,
                           char detail[POLICY_DETAIL_SIZE])
{
    for (size_t i = 0; i < len; i++) {
        const struct plan_recipient *recipient = &all[i];
        const struct policy_choice *choice = &recipient->choice;
        enum err err = ERR_OK;
        if (recipient->encrypt == POLICY_ENCRYPT_REQUIRED)
            err = plan_demand(choice, recipient->address, reason_of(recipient, message), detail);
        else if (recipient->encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE)
            err = plan_wish(choice, recipient->address, detail);
        /* A copy that was to be sealed would leave plain, or sealed to what anybody could have sent. */
        const bool has_lost_key =
            recipient->encrypt != POLICY_ENCRYPT_NEVER &&
            ((recipient->had_word && (!choice->key || is_by_advice(choice->key))) ||
             (recipient->had_heard && !choice->key) || (recipient->had_key && !choice->key && !err));
        if (has_lost_key || (err && !choice->key && recipient->is_unasked))
            return refuse_for_now(recipient, detail);
        if (err)
            return err;
    }
    return ERR_OK;
}

bool policy_is_discouraged(const struct keyring_entry *key, const struct policy_message *message)
{
    const bool is_mutual = key->advice == KEYRING_ADVICE_MUTUAL && message->is_mutual;
    return is_by_advice(key) && !is_mutual && !message->is_reply_to_encrypted;
}

/* Where all copies are sealed or none (mixed = refuse), keys that only Autocrypt vouches for follow the others. */
static void even_out(struct plan_recipient *all, size_t len)
{
    bool has_firm = false, has_plain = false;
    for (size_t i = 0; i < len; i++) {
        has_firm = has_firm || (all[i].is_sealing && !is_by_advice(all[i].choice.key));
        has_plain = has_plain || !all[i].is_sealing;
    }
    for (size_t i = 0; i < len; i++)
        if (all[i].choice.key && is_by_advice(all[i].choice.key) && all[i].encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE)
            all[i].is_sealing = has_firm || !has_plain;
}

static const struct plan_recipient *find_refuser(const struct plan_recipient *all, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (all[i].encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE && all[i].choice.rule->is_mixed_refused)
            return &all[i];
    return NULL;
}

static const struct plan_recipient *find_required(const struct plan_recipient *all, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (all[i].encrypt == POLICY_ENCRYPT_REQUIRED)
            return &all[i];
    return NULL;
}

static enum err refuse_mixed(const struct policy_message *message, const struct plan_recipient *plain,
                             const struct plan_recipient *required, const struct plan_recipient *sealed,
                             const struct plan_recipient *refuser, char detail[POLICY_DETAIL_SIZE])
{
    if (plain->had_word || (plain->had_key && !plain->choice.key) || plain->is_unasked)
        return refuse_for_now(plain, detail);
    if (required)
        plan_explain(detail,
                     "%s cannot be sealed to, and no copy may leave in clear: %s (%s); import a key for %s, "
                     "or send to them separately",
                     plain->address, reason_of(required, message), required->address, plain->address);
    else
        plan_explain(detail,
                     "the copy for %s would be encrypted and that for %s not, which the rule \"%s\" refuses; "
                     "import a key for %s, or send to them separately",
                     sealed->address, plain->address, refuser->choice.rule->name ? refuser->choice.rule->name : "",
                     plain->address);
    return ERR_MIXED;
}

/* One required recipient makes all copies sealed (design 1.1.1): a plain copy to somebody else tells as much. */
static enum err decide_sealing(const struct policy_message *message, struct plan_recipient *all, size_t len,
                               char detail[POLICY_DETAIL_SIZE])
{
    enum err err = check_each(message, all, len, detail);
    if (err)
        return err;
    const struct plan_recipient *required = find_required(all, len), *refuser = find_refuser(all, len);
    const struct plan_recipient *plain = NULL, *sealed = NULL;
    for (size_t i = 0; i < len; i++) {
        const struct keyring_entry *key = all[i].choice.key;
        const bool is_wished = all[i].encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE;
        all[i].is_sealing = key && (required || (is_wished && !policy_is_discouraged(key, message)));
    }
    if (!required && refuser)
        even_out(all, len);
    for (size_t i = 0; i < len; i++) {
        const struct plan_recipient **first = all[i].is_sealing ? &sealed : &plain;
        *first = *first ? *first : &all[i];
    }
    if (!plain || !(required || (sealed && refuser)))
        return ERR_OK;
    return refuse_mixed(message, plain, required, sealed, refuser, detail);
}

/* Said once for a message, of the first such recipient. */
static void warn(const struct plan_recipient *all, size_t len, char warning[POLICY_DETAIL_SIZE])
{
    for (size_t i = len; i > 0; i--)
        if (all[i - 1].is_sealing && all[i - 1].choice.rival)
            plan_explain_conflict(&all[i - 1].choice, all[i - 1].address, "it goes on with the better key", warning);
}

/* An encrypted copy is signed in its own format; a plain one in the first format of the rule that has a key. */
static const struct keyring_entry *find_signer(const struct plan_sender *sender, const struct plan_recipient *recipient)
{
    if (recipient->is_sealing)
        return plan_sender_key(sender, KEYRING_SIGN, recipient->choice.key->format);
    const struct policy_rule *rule = recipient->choice.rule;
    const struct keyring_entry *signer = NULL;
    for (size_t i = 0; i < rule->formats_len && !signer; i++)
        signer = plan_sender_key(sender, KEYRING_SIGN, rule->formats[i]);
    return signer;
}

/* Where an encrypted copy could not be signed, but one in another format of the rule could: that one. */
static void prefer_signed(const struct plan_sender *sender, struct plan_recipient *recipient)
{
    const struct policy_rule *rule = recipient->choice.rule;
    const struct keyring_entry *rival;
    enum keyring_reason reason;
    if (!recipient->is_sealing || plan_sender_key(sender, KEYRING_SIGN, recipient->choice.key->format))
        return;
    for (size_t i = 0; i < rule->formats_len; i++) {
        const struct keyring_entry *key = plan_find_key(rule, sender->keyring, recipient->address, rule->formats[i],
                                                        sender->message->now, &reason, &rival);
        const bool is_disputed = rival && recipient->encrypt == POLICY_ENCRYPT_REQUIRED;
        if (key && !is_disputed && plan_sender_key(sender, KEYRING_SIGN, rule->formats[i])) {
            recipient->choice.key = key;
            recipient->choice.rival = rival;
            return;
        }
    }
}

static void explain_no_signer(const struct plan_recipient *recipient, const char *from, char detail[POLICY_DETAIL_SIZE])
{
    const struct policy_rule *rule = recipient->choice.rule;
    const char *name = rule->name ? rule->name : "";
    const bool is_smime = recipient->is_sealing ? recipient->choice.key->format == KEYRING_SMIME
                                                : rule->formats_len == 1 && rule->formats[0] == KEYRING_SMIME;
    if (is_smime)
        plan_explain(
            detail,
            "the rule \"%s\" signs mail to %s, and there is no own certificate for %s; import it and its private "
            "key with `privyseal key import`",
            name, recipient->address, from);
    else
        plan_explain(detail,
                     "the rule \"%s\" signs mail to %s, and there is no own key for %s; make one with "
                     "`privyseal key make`",
                     name, recipient->address, from);
}

static enum err decide_signing(const struct plan_sender *sender, struct plan_recipient *all, size_t len,
                               char detail[POLICY_DETAIL_SIZE])
{
    for (size_t i = 0; i < len; i++) {
        const struct policy_rule *rule = all[i].choice.rule;
        if (rule->sign == POLICY_SIGN_NEVER)
            continue;
        prefer_signed(sender, &all[i]);
        all[i].signer = find_signer(sender, &all[i]);
        if (all[i].signer || rule->sign == POLICY_SIGN_WHEN_POSSIBLE)
            continue;
        const char *from = sender->message->from ? sender->message->from : "";
        if (!sender->is_own) {
            plan_explain(detail,
                         "the rule \"%s\" signs mail to %s, and From (%s) is not exactly one address of this "
                         "account; add it with `also`, or send from your own address",
                         rule->name ? rule->name : "", all[i].address, from[0] ? from : "none, or several");
            return ERR_NOT_OWN_FROM;
        }
        explain_no_signer(&all[i], from, detail);
        return ERR_NO_SIGNING_KEY;
    }
    return ERR_OK;
}

/* Already encrypted: one group for all, as it is. */
static enum err plan_pass(const struct policy_message *message, struct policy_plan *plan)
{
    plan->groups = calloc(1, sizeof *plan->groups);
    if (!plan->groups)
        return ERR_MEMORY;
    plan->groups_len = 1;
    struct policy_group *group = plan->groups;
    group->recipients = calloc(message->recipients_len, sizeof *group->recipients);
    if (!group->recipients)
        return ERR_MEMORY;
    for (size_t i = 0; i < message->recipients_len; i++)
        group->recipients[group->recipients_len++] = i;
    group->action = PLAN_PASS;
    return ERR_OK;
}

static enum err plan_seal(const struct policy *policy, const struct keyring *keyring,
                          const struct policy_message *message, struct policy_plan *plan,
                          char detail[POLICY_DETAIL_SIZE])
{
    const size_t len = message->recipients_len;
    const struct plan_sender sender = {.is_own = is_own_from(message), .message = message, .keyring = keyring};
    struct plan_recipient *all = calloc(len, sizeof *all);
    if (!all)
        return ERR_MEMORY;
    for (size_t i = 0; i < len; i++) {
        all[i].index = i;
        all[i].address = message->recipients[i].address;
        all[i].is_visible = message->recipients[i].is_visible;
        all[i].had_word = message->recipients[i].had_word;
        all[i].had_heard = message->recipients[i].had_heard;
        all[i].had_key = message->recipients[i].had_key;
        all[i].is_unasked = message->recipients[i].is_unasked;
        const struct policy_rule *rule = policy_match(policy, all[i].address);
        all[i].encrypt = effective_encrypt(rule, message);
        plan_choose(rule, keyring, all[i].address, message->now, all[i].encrypt == POLICY_ENCRYPT_REQUIRED,
                    &all[i].choice);
    }
    qsort(all, len, sizeof *all, compare_recipients);
    enum err err = decide_sealing(message, all, len, detail);
    if (!err)
        err = decide_signing(&sender, all, len, detail);
    if (!err)
        err = plan_group_all(&sender, all, len, plan);
    if (!err)
        warn(all, len, plan->warning);
    if (!err && plan->groups_len > message->groups_max) {
        plan_explain(detail,
                     "the message needs %zu different copies, and at most %zu are allowed; send to fewer "
                     "recipients at once, above all to fewer in Bcc",
                     plan->groups_len, message->groups_max);
        err = ERR_TOO_MANY_GROUPS_FINAL;
    }
    free(all);
    return err;
}

enum err policy_plan_make(const struct policy *policy, const struct keyring *keyring,
                          const struct policy_message *message, struct policy_plan *plan_out,
                          char detail_out[POLICY_DETAIL_SIZE])
{
    *plan_out = (struct policy_plan){0};
    detail_out[0] = '\0';
    if (message->recipients_len == 0) {
        plan_explain(detail_out, "the message has no recipients; name at least one");
        return ERR_NO_RECIPIENTS;
    }
    for (size_t i = 0; i < message->recipients_len && !message->is_sealed && keyring_is_incomplete(keyring); i++)
        if (!message->recipients[i].is_record_read) {
            policy_explain_damaged(message->recipients[i].address, detail_out);
            return ERR_DAMAGED;
        }
    enum err err =
        message->is_sealed ? plan_pass(message, plan_out) : plan_seal(policy, keyring, message, plan_out, detail_out);
    if (err)
        policy_plan_fini(plan_out);
    return err;
}

void policy_plan_fini(struct policy_plan *plan)
{
    for (size_t i = 0; i < plan->groups_len; i++) {
        free(plan->groups[i].keys);
        free(plan->groups[i].recipients);
    }
    free(plan->groups);
    *plan = (struct policy_plan){0};
}

/* Who signs may decide for another format than the first, see prefer_signed. */
static bool has_other_format(const struct policy_choice *choice, const struct keyring *keyring, const char *address,
                             int64_t now)
{
    const struct keyring_entry *rival;
    enum keyring_reason reason;
    bool has_other = false;
    for (size_t i = 0; choice->rule->sign != POLICY_SIGN_NEVER && i < choice->rule->formats_len; i++)
        if (choice->rule->formats[i] != choice->key->format)
            has_other = has_other ||
                        plan_find_key(choice->rule, keyring, address, choice->rule->formats[i], now, &reason, &rival);
    return has_other;
}

size_t policy_groups_least(const struct policy *policy, const struct keyring *keyring, const char *const *addresses,
                           size_t addresses_len, int64_t now)
{
    /* Bits of what must differ: for each format and for plain, copies that are signed and copies that never are.
       "When possible" joins whichever is there. */
    enum { SIGNED = 1, UNSIGNED = 2, EITHER = 4 };
    unsigned seen[KEYRING_SMIME + 1] = {0};
    bool has_required = false, has_either_format = false;
    for (size_t i = 0; i < addresses_len; i++) {
        struct policy_choice choice;
        policy_choose(policy, keyring, addresses[i], now, &choice);
        const struct policy_rule *rule = choice.rule;
        const bool is_sealing = choice.key && rule->encrypt != POLICY_ENCRYPT_NEVER;
        /* Plain or sealed, as the message has it. */
        if (is_sealing && rule->encrypt == POLICY_ENCRYPT_WHEN_POSSIBLE && is_by_advice(choice.key)) {
            continue;
        }
        has_required = has_required || (rule->encrypt == POLICY_ENCRYPT_REQUIRED && !rule->may_ask_less);
        if (is_sealing && has_other_format(&choice, keyring, addresses[i], now)) {
            has_either_format = true;
            continue;
        }
        seen[is_sealing ? choice.key->format : 0] |= rule->sign == POLICY_SIGN_ALWAYS  ? SIGNED
                                                     : rule->sign == POLICY_SIGN_NEVER ? UNSIGNED
                                                                                       : EITHER;
    }
    size_t least = 0;
    for (size_t format = has_required ? 1 : 0; format <= KEYRING_SMIME; format++)
        least += (seen[format] & SIGNED && seen[format] & UNSIGNED) ? 2 : seen[format] != 0;
    if (has_either_format && !seen[KEYRING_OPENPGP] && !seen[KEYRING_SMIME])
        least++;
    return least ? least : addresses_len > 0;
}

/*
 * Inside policy/plan: what was decided for one recipient, between its rule and key (choice.c), the whole message
 * (plan.c) and the groups (plan_group.c).
 */
#ifndef POLICY_PLAN_INTERNAL_H
#define POLICY_PLAN_INTERNAL_H

#include "policy/plan.h"

struct plan_recipient {
    size_t index; /* in policy_message.recipients */
    const char *address;
    bool is_visible;
    struct policy_choice choice;
    enum policy_encrypt encrypt;                   /* the rule's, after what the message asked for */
    bool had_word, had_heard, had_key, is_unasked; /* as in policy_recipient */
    bool is_sealing;
    const struct keyring_entry *signer; /* NULL: this copy is not signed */
};

/* The sender: what From gives us to sign with and to add as a reader of her own mail. */
struct plan_sender {
    bool is_own; /* From is exactly one address of the account */
    const struct policy_message *message;
    const struct keyring *keyring;
};
/* The own key of the From address for this purpose and format; NULL if there is none. */
const struct keyring_entry *plan_sender_key(const struct plan_sender *sender, enum keyring_purpose purpose,
                                            enum keyring_format format);

/* ---- choice.c ---- */
void plan_explain(char detail[POLICY_DETAIL_SIZE], const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The key of this format that the rule takes, and the one that contradicts it. */
const struct keyring_entry *plan_find_key(const struct policy_rule *rule, const struct keyring *keyring,
                                          const char *address, enum keyring_format format, int64_t now,
                                          enum keyring_reason *reason_out, const struct keyring_entry **rival_out);
/* As policy_choose, by a known rule, and as if it required encryption (or not). */
void plan_choose(const struct policy_rule *rule, const struct keyring *keyring, const char *address, int64_t now,
                 bool is_required, struct policy_choice *choice_out);
/* What a recipient gets for whom encryption is required, as `why` says: ERR_OK, ERR_NO_KEY or ERR_CONFLICT. */
ERR_RETURN enum err plan_demand(const struct policy_choice *choice, const char *address, const char *why,
                                char detail[POLICY_DETAIL_SIZE]);
/* What one gets for whom it is not: ERR_OK or ERR_KEY_UNUSABLE. */
ERR_RETURN enum err plan_wish(const struct policy_choice *choice, const char *address, char detail[POLICY_DETAIL_SIZE]);
void plan_explain_conflict(const struct policy_choice *choice, const char *address, const char *why,
                           char detail[POLICY_DETAIL_SIZE]);

/* ---- plan_group.c ---- */
/* Puts decided recipients (sorted by address) into groups. */
ERR_RETURN enum err plan_group_all(const struct plan_sender *sender, const struct plan_recipient *recipients,
                                   size_t recipients_len, struct policy_plan *plan);

#endif

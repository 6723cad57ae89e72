/*
 * Inside policy/plan: what was decided for one recipient, between the rules (plan.c) and the groups (plan_group.c).
 */
#ifndef POLICY_PLAN_INTERNAL_H
#define POLICY_PLAN_INTERNAL_H

#include "policy/plan.h"

struct plan_recipient {
    size_t index; /* in policy_message.recipients */
    const char *address;
    bool is_visible;
    struct policy_choice choice;
    enum policy_encrypt encrypt; /* the rule's, after what the message asked for */
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

/* Puts decided recipients (sorted by address) into groups. */
ERR_RETURN enum err plan_group_all(const struct plan_sender *sender, const struct plan_recipient *recipients,
                                   size_t recipients_len, struct policy_plan *plan);

#endif

/*
 * From recipients to groups: what each copy of a message will be, or why there is none. A pure function of rules,
 * keyring, the message's facts and the time. PLAN_REFUSE is the zero value, so a plan nobody made sends nothing
 * (design 1.1.1).
 */
#ifndef POLICY_PLAN_H
#define POLICY_PLAN_H

#include "keyring/answer.h"
#include "policy/rule.h"

#define POLICY_DETAIL_SIZE 1200

enum plan_action {
    PLAN_REFUSE = 0,
    PLAN_PLAIN,
    PLAN_SIGN,
    PLAN_ENCRYPT,
    PLAN_SIGN_ENCRYPT,
    PLAN_PASS /* already encrypted: leaves as it is */
};
const char *plan_action_name(enum plan_action action);

/* ---- choice.c ---- */
/* What the rules and the keyring say of one recipient alone. */
struct policy_choice {
    const struct policy_rule *rule;        /* borrowed */
    const struct keyring_entry *key;       /* borrowed; NULL: none that the rule takes */
    const struct keyring_entry *rival;     /* borrowed; another source names this one: see keyring/answer.h */
    const struct keyring_entry *withdrawn; /* borrowed; without a key: one that would do had it not been revoked */
    enum keyring_reason reason;            /* without a key: what was wrong with the best candidate */
    enum keyring_format tried;             /* the format of that candidate */
    bool has_candidate;                    /* there is a key for the address, but not a usable one */
};
/* The key is of the first format of the rule that has one; where the rule requires encryption, of the first in which
   nobody contradicts it, if there is such. */
void policy_choose(const struct policy *policy, const struct keyring *keyring, const char *address, int64_t now,
                   struct policy_choice *choice_out);
/* Before the recipient is answered: whether mail may have told a key that is not in the ring yet (the correspondent's
   record is looked at), and whether sources are asked. They are where nothing that the rule takes is in the ring, or
   only what anybody could have sent, or what its source has to be asked for again, as that which contradicts it. */
bool policy_wants_record(const struct policy_choice *choice);
bool policy_wants_sources(const struct policy_choice *choice, int64_t now);
/*
 * The answer to RCPT: ERR_OK, or (then `detail_out` names the address, what was tried, and what to do)
 *   ERR_NO_KEY        the rule requires encryption and there is no key
 *   ERR_CONFLICT      it requires encryption, and two sources name different keys
 *   ERR_KEY_UNUSABLE  it encrypts when possible, and the only key that it would take has been revoked
 */
ERR_RETURN enum err policy_at_rcpt(const struct policy *policy, const struct keyring *keyring, const char *address,
                                   int64_t now, char detail_out[POLICY_DETAIL_SIZE]);

/* What to do about an address whose record is damaged (ERR_DAMAGED). */
void policy_explain_damaged(const char *address, char detail_out[POLICY_DETAIL_SIZE]);

/* ---- plan.c ---- */
struct policy_recipient {
    const char *address; /* normal form */
    bool is_visible;     /* stands in To, Cc, Resent-To or Resent-Cc; otherwise it is a Bcc recipient */
    bool had_word;       /* at RCPT there was a key by the word of a source that can be asked again */
    bool had_heard;      /* at RCPT there was a key that mail had told, and which newer mail may have replaced */
    bool had_key;        /* at RCPT there was a key at all: without one now a copy does not leave plain */
    bool is_unasked;     /* a source that may know a key could not be asked */
    bool is_record_read; /* where the keyring is incomplete: the address's own record can be read, or there is none */
};

struct policy_message {
    const struct policy_recipient *recipients;
    size_t recipients_len;
    const char *from;       /* the one From address; "" if there is not exactly one */
    const char *const *own; /* the account's addresses, normal form */
    size_t own_len;
    bool is_sealed;             /* already encrypted in the strict sense */
    bool is_reply_to_encrypted; /* every recipient counts as required unless its rule says otherwise */
    bool wants_encryption;      /* asks for more: every recipient counts as required */
    bool wants_plain;           /* asks for less: heeded where the rule allows, also in a reply */
    bool is_mutual;             /* the account prefers encryption (Autocrypt's prefer-encrypt) */
    int64_t now;
    size_t groups_max;
};

struct policy_group {
    enum plan_action action;
    enum keyring_format format;
    char signer[KEYRING_FPR_SIZE];  /* "" unless the action signs */
    char (*keys)[KEYRING_FPR_SIZE]; /* to encrypt to, sorted, each once, the sender's own included; owned */
    size_t keys_len;
    size_t *recipients; /* indices into policy_message.recipients; owned */
    size_t recipients_len;
};

struct policy_plan {
    struct policy_group *groups; /* owned; sealed copies before plain ones */
    size_t groups_len;
    /* For the log: which recipient's copy is encrypted to one of two keys that contradict each other; "": none. */
    char warning[POLICY_DETAIL_SIZE];
};

/*
 * Makes the plan, or says why not (then the plan is empty and `detail_out` names the address and what to do):
 *   ERR_NO_RECIPIENTS  none at all
 *   ERR_NO_KEY         a recipient counts as required (its rule, the message asks, or it is a reply to mail that
 *                      came encrypted) and has no key
 *   ERR_CONFLICT       the same, and two sources name different keys for it
 *   ERR_KEY_UNUSABLE   a recipient would be encrypted to when possible, and its only key has been revoked: it was
 *                      encrypted to before, and a person must say that mail may now go in clear
 *   ERR_LOOKUP         one of these, for now: a source could not be asked, or its word has run out since RCPT
 *   ERR_NOT_OWN_FROM   a rule signs always and From is not exactly one address of the account
 *   ERR_NO_SIGNING_KEY a rule signs always and the account has no usable key for that address
 *   ERR_MIXED          some copies would be sealed and others plain, which a rule (mixed = refuse) or a required
 *                      recipient forbids
 *   ERR_TOO_MANY_GROUPS_FINAL
 *
 * Recipients with the same action, format and signer whose copies are encrypted share one copy, encrypted to all their
 * keys and to the sender's; each Bcc recipient of an encrypted copy is a group alone (one even if named twice); plain
 * and signed copies share a group whether Bcc or not. A sealed message (PLAN_PASS) is one group, never signed again.
 *
 * An encrypted copy goes in the first format of its rule in which the recipient has a key; but if the rule signs and
 * the account cannot in that format, in the first in which both is possible.
 *
 * A key that only Autocrypt vouches for is encrypted to, under when-possible, as Autocrypt level 1 (2.4) recommends: in
 * a reply to mail that came encrypted, or if both sides prefer encryption; else the copy is plain though there is a
 * key. Under mixed = refuse it follows the others: sealed where another's copy is for a better reason, plain where any
 * copy would be, so that whoever forges an Autocrypt field makes no message fail.
 *
 * If one recipient is required, nothing goes plain: a recipient without a usable key makes the plan fail with
 * ERR_MIXED, and one with a rule `never` who has a key is sealed to.
 */
ERR_RETURN enum err policy_plan_make(const struct policy *policy, const struct keyring *keyring,
                                     const struct policy_message *message, struct policy_plan *plan_out,
                                     char detail_out[POLICY_DETAIL_SIZE]);
void policy_plan_fini(struct policy_plan *plan);
/* Whether the key is one that Autocrypt alone vouches for and that it recommends not to encrypt to (level 1, 2.4), were
   the message to this recipient alone and nothing required. */
bool policy_is_discouraged(const struct keyring_entry *key, const struct policy_message *message);
/* The least number of groups that these recipients need by the rules alone, whatever their visibility, for 452 at RCPT.
   (A message that is encrypted already, or that asks for more than its rules, may do with fewer.) */
size_t policy_groups_least(const struct policy *policy, const struct keyring *keyring, const char *const *addresses,
                           size_t addresses_len, int64_t now);

#endif

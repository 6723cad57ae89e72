#include "policy/plan_internal.h"

#include <stdlib.h>
#include <string.h>

/* A group under way: what its recipients have in common. `recipients` are positions in the sorted list until the end,
   so that groups can be ordered by address. */
struct plan_kind {
    enum plan_action action;
    enum keyring_format format;
    const char *signer;
    bool is_alone; /* the encrypted copy of a Bcc recipient: nobody joins it */
};

static struct plan_kind kind_of(const struct plan_recipient *recipient)
{
    const struct keyring_entry *signer = recipient->signer;
    struct plan_kind kind = {.signer = signer ? signer->fingerprint : ""};
    if (recipient->is_sealing) {
        kind.action = signer ? PLAN_SIGN_ENCRYPT : PLAN_ENCRYPT;
        kind.format = recipient->choice.key->format;
        kind.is_alone = !recipient->is_visible;
    } else {
        kind.action = signer ? PLAN_SIGN : PLAN_PLAIN;
        kind.format = signer ? signer->format : KEYRING_OPENPGP;
    }
    return kind;
}

static bool is_of_kind(const struct policy_group *group, const struct plan_kind *kind)
{
    return group->action == kind->action && group->format == kind->format && strcmp(group->signer, kind->signer) == 0;
}

/* A group for `kind` with room for every recipient; the array of groups is large enough from the start. */
static struct policy_group *add_group(struct policy_plan *plan, const struct plan_kind *kind, size_t recipients_max)
{
    struct policy_group *group = &plan->groups[plan->groups_len];
    *group = (struct policy_group){.action = kind->action, .format = kind->format};
    if (!span_copy(span_of(kind->signer), group->signer, sizeof group->signer) && kind->signer[0])
        return NULL;
    const bool is_sealing = kind->action == PLAN_ENCRYPT || kind->action == PLAN_SIGN_ENCRYPT;
    group->recipients = calloc(recipients_max, sizeof *group->recipients);
    group->keys = is_sealing ? calloc(recipients_max + 1, sizeof *group->keys) : NULL;
    plan->groups_len++;
    return group->recipients && (group->keys || !is_sealing) ? group : NULL;
}

static void add_key(struct policy_group *group, const struct keyring_entry *key)
{
    size_t at = 0;
    int order = 1;
    while (at < group->keys_len && (order = strcmp(group->keys[at], key->fingerprint)) < 0)
        at++;
    if (at < group->keys_len && order == 0)
        return;
    memmove(group->keys[at + 1], group->keys[at], (group->keys_len - at) * sizeof *group->keys);
    memcpy(group->keys[at], key->fingerprint, sizeof *group->keys);
    group->keys_len++;
}

/* How many recipients from `position` on (which are sorted) are one and the same: who is named twice gets one copy. */
static size_t count_same(const struct plan_recipient *recipients, size_t recipients_len, size_t position)
{
    size_t end = position + 1;
    while (end < recipients_len && mime_addr_is_same(recipients[position].address, recipients[end].address))
        end++;
    return end - position;
}

static enum err place(const struct plan_sender *sender, const struct plan_recipient *recipients, size_t recipients_len,
                      size_t position, struct policy_group **shared, size_t *shared_len, struct policy_plan *plan)
{
    const struct plan_recipient *recipient = &recipients[position];
    const struct plan_kind kind = kind_of(recipient);
    struct policy_group *group = NULL;
    for (size_t i = 0; i < *shared_len && !kind.is_alone; i++)
        if (is_of_kind(shared[i], &kind))
            group = shared[i];
    if (kind.is_alone && position > 0 && !recipients[position - 1].is_visible &&
        mime_addr_is_same(recipients[position - 1].address, recipient->address))
        group = &plan->groups[plan->groups_len - 1];
    if (!group) {
        group =
            add_group(plan, &kind, kind.is_alone ? count_same(recipients, recipients_len, position) : recipients_len);
        if (!group)
            return ERR_MEMORY;
        if (!kind.is_alone)
            shared[(*shared_len)++] = group;
        const struct keyring_entry *own =
            recipient->is_sealing ? plan_sender_key(sender, KEYRING_ENCRYPT, kind.format) : NULL;
        if (own)
            add_key(group, own);
    }
    group->recipients[group->recipients_len++] = position;
    if (recipient->is_sealing)
        add_key(group, recipient->choice.key);
    return ERR_OK;
}

/* Sealed copies first, so that what is most likely to fail fails before anything has left; then by their first
   recipient, so that the order of RCPT commands changes nothing. */
static int compare_groups(const void *left, const void *right)
{
    const struct policy_group *a = left, *b = right;
    const bool is_a_sealed = a->keys_len > 0, is_b_sealed = b->keys_len > 0;
    if (is_a_sealed != is_b_sealed)
        return is_a_sealed ? -1 : 1;
    return a->recipients[0] < b->recipients[0] ? -1 : a->recipients[0] > b->recipients[0];
}

static int compare_indices(const void *left, const void *right)
{
    const size_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

enum err plan_group_all(const struct plan_sender *sender, const struct plan_recipient *recipients,
                        size_t recipients_len, struct policy_plan *plan)
{
    plan->groups = calloc(recipients_len, sizeof *plan->groups);
    struct policy_group **shared = calloc(recipients_len, sizeof *shared);
    enum err err = plan->groups && shared ? ERR_OK : ERR_MEMORY;
    size_t shared_len = 0;
    for (size_t i = 0; !err && i < recipients_len; i++)
        err = place(sender, recipients, recipients_len, i, shared, &shared_len, plan);
    free(shared);
    if (err)
        return err;
    qsort(plan->groups, plan->groups_len, sizeof *plan->groups, compare_groups);
    for (size_t i = 0; i < plan->groups_len; i++) {
        struct policy_group *group = &plan->groups[i];
        for (size_t j = 0; j < group->recipients_len; j++)
            group->recipients[j] = recipients[group->recipients[j]].index;
        qsort(group->recipients, group->recipients_len, sizeof *group->recipients, compare_indices);
    }
    return ERR_OK;
}

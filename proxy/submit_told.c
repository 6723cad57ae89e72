/*
 * Correspondents' records are told of what was sent to them, and to which of their keys.
 */
#include "proxy/submit_internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static bool is_key_of(const struct policy_group *group, const struct keyring_entry *entry)
{
    for (size_t i = 0; i < group->keys_len; i++)
        if (entry->format == group->format && strcmp(group->keys[i], entry->fingerprint) == 0)
            return true;
    return false;
}

enum err submit_note_keys(struct proxy_submit *submit, const struct keyring *keyring)
{
    submit->chosen = calloc(submit->session->recipients_len + 1, sizeof(*submit->chosen));
    if (submit->chosen == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < submit->plan.groups_len; i++) {
        const struct policy_group *group = &submit->plan.groups[i];
        for (size_t j = 0; j < group->recipients_len; j++) {
            const size_t number = group->recipients[j];
            size_t first;
            if (number >= submit->session->recipients_len)
                return ERR_INTERNAL;
            const size_t len = keyring_find(keyring, submit->session->recipients[number].rcpt.to.address, &first);
            /* The best that the copy is encrypted to is the one that was chosen. */
            for (size_t k = first; k < first + len && submit->chosen[number][0] == '\0'; k++)
                if (is_key_of(group, keyring_at(keyring, k)))
                    memcpy(submit->chosen[number], keyring_at(keyring, k)->fingerprint, KEYRING_FPR_SIZE);
        }
    }
    return ERR_OK;
}

void submit_tell_sent(struct proxy_submit *submit)
{
    const struct proxy_session *session = submit->session;
    const struct policy_group *planned = submit->groups[submit->current].planned;
    struct proxy_vault_sent *sent = calloc(submit->accepted_len + 1, sizeof(*sent));
    enum err err = sent == NULL ? ERR_MEMORY : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < submit->accepted_len; i++)
        sent[i] = (struct proxy_vault_sent){.address = session->recipients[submit->accepted[i]].rcpt.to.address,
                                            .fingerprint = submit->chosen[submit->accepted[i]]};
    if (err == ERR_OK)
        err = proxy_vault_peer_sent(session->net->vault, submit->key.account, clock_now(),
                                    planned->format == KEYRING_SMIME ? KEYRING_SMIME : KEYRING_OPENPGP, sent,
                                    submit->accepted_len);
    if (err != ERR_OK)
        log_failure(err, "message %s: telling whom it was sent to", submit->facts.message_id);
    free(sent);
}

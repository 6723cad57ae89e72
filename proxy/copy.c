#include "proxy/copy.h"

#include <string.h>

static enum crypto_seal_action action_of(enum plan_action action)
{
    switch (action) {
    case PLAN_PLAIN:
        return CRYPTO_SEAL_PLAIN;
    case PLAN_SIGN:
        return CRYPTO_SEAL_SIGN;
    case PLAN_ENCRYPT:
        return CRYPTO_SEAL_ENCRYPT;
    case PLAN_SIGN_ENCRYPT:
        return CRYPTO_SEAL_SIGN_ENCRYPT;
    case PLAN_PASS:
        return CRYPTO_SEAL_PASS;
    case PLAN_REFUSE:
        break;
    }
    return CRYPTO_SEAL_REFUSE;
}

/* The From's own key, which replies are encrypted to. */
static void announce(const struct proxy_copy *copy, struct crypto_seal_request *request)
{
    const struct policy_message *message = copy->message;
    const struct keyring_want want = {
        .purpose = KEYRING_ENCRYPT, .formats = KEYRING_OPENPGP, .least = KEYRING_OWN, .now = message->now};
    enum keyring_reason reason;
    bool is_own = false;
    if (copy->account->autocrypt == KEYRING_PREFERENCE_OFF)
        return;
    for (size_t i = 0; i < message->own_len; i++)
        is_own = is_own || mime_addr_is_same(message->own[i], message->from);
    const struct keyring_entry *entry = is_own ? keyring_choose(copy->keyring, message->from, &want, &reason) : NULL;
    if (entry == NULL)
        return;
    memcpy(request->autocrypt.address, message->from, strlen(message->from) + 1);
    memcpy(request->autocrypt.fingerprint, entry->fingerprint, sizeof entry->fingerprint);
    request->is_mutual = copy->account->autocrypt == KEYRING_PREFERENCE_MUTUAL;
}

static bool is_key_of(const struct policy_group *group, const char *fingerprint)
{
    for (size_t i = 0; i < group->keys_len; i++)
        if (strcmp(group->keys[i], fingerprint) == 0)
            return true;
    return false;
}

/* The key of `address` among those that the copy is encrypted to; NULL. */
static const struct keyring_entry *key_of(const struct proxy_copy *copy, const struct policy_group *group,
                                          const char *address)
{
    size_t first, len = keyring_find(copy->keyring, address, &first);
    for (size_t i = first; i < first + len; i++)
        if (keyring_at(copy->keyring, i)->format == KEYRING_OPENPGP &&
            is_key_of(group, keyring_at(copy->keyring, i)->fingerprint))
            return keyring_at(copy->keyring, i);
    return NULL;
}

/* Of several who can be seen each is told the others' keys, so that they can answer all; never one of Bcc. */
static void gossip(struct proxy_copy *copy, const struct policy_group *group, struct crypto_seal_request *request)
{
    size_t len = 0, visible = 0;
    if (copy->account->autocrypt == KEYRING_PREFERENCE_OFF || group->format != KEYRING_OPENPGP || group->keys_len == 0)
        return;
    for (size_t i = 0; i < group->recipients_len && len < CRYPTO_GOSSIP_MAX; i++) {
        const struct policy_recipient *recipient = &copy->message->recipients[group->recipients[i]];
        const struct keyring_entry *entry = recipient->is_visible ? key_of(copy, group, recipient->address) : NULL;
        visible += recipient->is_visible;
        if (entry == NULL || !span_copy(span_of(recipient->address), copy->gossip[len].address, MIME_ADDR_SIZE))
            continue;
        memcpy(copy->gossip[len++].fingerprint, entry->fingerprint, sizeof entry->fingerprint);
    }
    request->gossip = copy->gossip;
    request->gossip_len = visible > 1 ? len : 0;
}

void proxy_copy_request(struct proxy_copy *copy, const struct policy_group *group, struct crypto_seal_request *request)
{
    *request = (struct crypto_seal_request){.action = action_of(group->action),
                                            .format = group->format,
                                            .recipients = (const char(*)[KEYRING_FPR_SIZE])group->keys,
                                            .recipients_len = group->keys_len,
                                            .subject_tag = copy->config->subject_tag,
                                            .output_max = copy->config->message_max * 2};
    memcpy(request->signer, group->signer, sizeof(request->signer));
    announce(copy, request);
    gossip(copy, group, request);
}

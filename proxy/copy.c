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

void proxy_copy_request(const struct policy_group *group, const struct config *config,
                        struct crypto_seal_request *request)
{
    *request = (struct crypto_seal_request){.action = action_of(group->action),
                                            .format = group->format,
                                            .recipients = (const char(*)[KEYRING_FPR_SIZE])group->keys,
                                            .recipients_len = group->keys_len,
                                            .subject_tag = config->subject_tag,
                                            .output_max = config->message_max * 2};
    memcpy(request->signer, group->signer, sizeof(request->signer));
}

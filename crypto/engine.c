#include "crypto/engine.h"

/* In the order in which they are asked. */
static const struct crypto_engine *const engines[] = {&crypto_engine_openpgp, &crypto_engine_smime};

const struct crypto_engine *crypto_engine_find(const struct keyring_gpg *gpg, const struct crypto_seal_request *request)
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        if (engines[i]->format == request->format && engines[i]->can_seal(gpg, request))
            return engines[i];
    return NULL;
}

bool crypto_engine_has_two_parts(const struct mime_tree *tree)
{
    const struct mime_part *first = tree->root->first_child;

    return mime_part_is(tree->root, "multipart", "signed") && first != NULL && first->next != NULL &&
           first->next->next == NULL;
}

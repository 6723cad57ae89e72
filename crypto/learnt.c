#include "crypto/learnt.h"

#include "base/log.h"

#include <openssl/err.h>

/* SMIMECapabilities ::= SEQUENCE OF SMIMECapability, each like an AlgorithmIdentifier. */
static void read_capabilities(const CMS_SignerInfo *signer, struct crypto_learnt_item *item)
{
    int at = CMS_signed_get_attr_by_NID(signer, NID_SMIMECapabilities, -1);
    const X509_ATTRIBUTE *attribute = at < 0 ? NULL : CMS_signed_get_attr(signer, at);
    X509_ATTRIBUTE *borrowed = (X509_ATTRIBUTE *)(uintptr_t)attribute;
    const ASN1_TYPE *value = borrowed == NULL ? NULL : X509_ATTRIBUTE_get0_type(borrowed, 0);
    STACK_OF(X509_ALGOR) *list = NULL;
    const ASN1_OBJECT *name;

    if (value != NULL && value->type == V_ASN1_SEQUENCE) {
        const unsigned char *bytes = ASN1_STRING_get0_data(value->value.sequence);

        list = d2i_X509_ALGORS(NULL, &bytes, ASN1_STRING_length(value->value.sequence));
    }
    item->has_capabilities = list != NULL;
    for (int i = 0; i < sk_X509_ALGOR_num(list); i++) {
        X509_ALGOR_get0(&name, NULL, NULL, sk_X509_ALGOR_value(list, i));
        item->takes_gcm = item->takes_gcm || OBJ_obj2nid(name) == NID_aes_256_gcm;
    }
    sk_X509_ALGOR_pop_free(list, X509_ALGOR_free);
    ERR_clear_error();
}

void crypto_learnt_add(struct crypto_learnt *learnt, STACK_OF(X509) * path, const CMS_SignerInfo *signer, int64_t made)
{
    for (int i = 0; i < sk_X509_num(path) - 1 && learnt->len < CRYPTO_LEARNT_MAX; i++) {
        struct crypto_learnt_item *item = &learnt->items[learnt->len];

        *item = (struct crypto_learnt_item){.certificate = sk_X509_value(path, i)};
        if (X509_up_ref(item->certificate) != 1)
            return;
        learnt->len++;
        if (i > 0)
            continue;
        item->made = made;
        read_capabilities(signer, item);
    }
}

static enum err keep(const struct crypto_learnt_item *item, struct keyring_certificates *certificates, int64_t now)
{
    struct keyring_certificate entry = {
        .certificate = item->certificate, .source = KEYRING_SOURCE_MAIL, .takes_gcm = item->takes_gcm, .seen = now};
    const struct keyring_certificate *known;
    enum err result = keyring_x509_fingerprint(item->certificate, entry.fingerprint);

    if (result != ERR_OK)
        return result;
    known = keyring_certificates_find(certificates, entry.fingerprint);
    if (known != NULL) {
        /* An old message that is read late says nothing new. */
        if (!item->has_capabilities || item->takes_gcm == known->takes_gcm || item->made > now ||
            item->made <= known->seen)
            return ERR_OK;
        entry = *known;
        entry.takes_gcm = item->takes_gcm;
        entry.seen = item->made;
    }
    return keyring_certificates_put(certificates, &entry);
}

void crypto_learnt_keep(const struct crypto_learnt *learnt, struct keyring_certificates *certificates, int64_t now)
{
    /* Somebody may have imported the key of one in the meantime: what is written must not undo that. */
    if (learnt->len > 0 && keyring_certificates_refresh(certificates) != ERR_OK)
        return;
    for (size_t i = 0; i < learnt->len; i++) {
        /* While the message was opened others may have put something there, and a private key's place. */
        enum err result = keyring_certificates_refresh(certificates);

        if (result == ERR_OK)
            result = keep(&learnt->items[i], certificates, now);

        if (result != ERR_OK)
            (void)log_failure(result, "keeping a certificate out of signed mail");
    }
}

void crypto_learnt_fini(struct crypto_learnt *learnt)
{
    for (size_t i = 0; i < learnt->len; i++)
        X509_free(learnt->items[i].certificate);
    learnt->len = 0;
}

/*
 * Whose certificates and private keys an S/MIME message is sealed with.
 */
#include "crypto/smime_seal.h"

#include "base/clock.h"
#include "base/log.h"

#include <openssl/x509v3.h>

#define STRENGTH_MIN 112 /* bits, as keyring_x509_judge has it */

/* RFC 8550 §4.4, of a certificate without a chain: who trusts it has other reasons, its owner's word for what it may be
   used for still holds. */
static bool is_fit_alone(X509 *certificate, enum keyring_purpose purpose, int64_t at)
{
    uint32_t usage = X509_get_key_usage(certificate), extended = X509_get_extended_key_usage(certificate);
    uint32_t wanted = purpose == KEYRING_SIGN ? KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION : KU_KEY_ENCIPHERMENT;
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    time_t now = (time_t)at;

    if (key == NULL || EVP_PKEY_get_security_bits(key) < STRENGTH_MIN)
        return false;
    if (purpose == KEYRING_ENCRYPT && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        wanted |= KU_KEY_AGREEMENT;
    return (usage & wanted) != 0 && (extended & (XKU_SMIME | XKU_ANYEKU)) != 0 &&
           X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0;
}

/* `*path_out` is the chain to an anchor, NULL if it has none. */
static enum err judge(const struct crypto_smime *smime, const struct keyring_certificate *entry,
                      enum keyring_purpose purpose, bool *is_fit_out, STACK_OF(X509) * *path_out)
{
    enum keyring_chain chain = KEYRING_CHAIN_UNTRUSTED;
    const char *reason = "there is no chain to an anchor, and by itself it is not for this or not valid now";
    int64_t at = clock_now();
    enum err result = ERR_OK;

    *path_out = NULL;
    if (smime->anchors != NULL)
        result = keyring_certificates_judge(smime->certificates, smime->anchors, entry->fingerprint, purpose, at,
                                            &chain, &reason, path_out);
    *is_fit_out =
        entry->revoked == 0 && (chain == KEYRING_CHAIN_GOOD ||
                                (chain == KEYRING_CHAIN_UNTRUSTED && is_fit_alone(entry->certificate, purpose, at)));
    if (result == ERR_OK && !*is_fit_out)
        log_warning("certificate %s: %s", entry->fingerprint, entry->revoked != 0 ? "it is revoked" : reason);
    return result;
}

enum err crypto_smime_signer_find(const struct crypto_seal_request *request, struct crypto_smime_signer *signer_out)
{
    const struct crypto_smime *smime = request->smime;
    const struct keyring_certificate *entry = keyring_certificates_find(smime->certificates, request->signer);
    STACK_OF(X509) *path = NULL;
    EVP_PKEY *key = NULL;
    bool is_fit = false;
    enum err result;

    if (entry == NULL || smime->private_key == NULL)
        return log_failure(ERR_NO_SIGNING_KEY, "signing with %s", request->signer);
    result = judge(smime, entry, KEYRING_SIGN, &is_fit, &path);
    if (result == ERR_OK && !is_fit)
        result = ERR_NO_SIGNING_KEY;
    if (result == ERR_OK)
        result = smime->private_key(smime->context, entry, !request->is_quiet, &key);
    if (result != ERR_OK) {
        sk_X509_pop_free(path, X509_free);
        return result == ERR_NO_KEY ? ERR_NO_SIGNING_KEY : result;
    }
    (void)X509_up_ref(entry->certificate);
    *signer_out = (struct crypto_smime_signer){.certificate = entry->certificate,
                                               .key = key,
                                               .path = path,
                                               .issuers = keyring_certificates_issuers(smime->certificates),
                                               .is_pss = smime->is_pss,
                                               .at = clock_now()};
    return ERR_OK;
}

void crypto_smime_signer_fini(struct crypto_smime_signer *signer)
{
    X509_free(signer->certificate);
    sk_X509_pop_free(signer->path, X509_free);
    EVP_PKEY_free(signer->key);
    *signer = (struct crypto_smime_signer){.certificate = NULL};
}

/* What the plan goes by next time. Asking takes a while, and others write to the folder meanwhile. */
static enum err note_revoked(const struct crypto_smime *smime, const struct keyring_certificate *entry)
{
    struct keyring_certificate changed;
    char fingerprint[KEYRING_FPR_SIZE];
    enum err result;

    memcpy(fingerprint, entry->fingerprint, sizeof(fingerprint));
    log_warning("certificate %s has been revoked", fingerprint);
    result = keyring_certificates_refresh(smime->certificates);
    entry = result == ERR_OK ? keyring_certificates_find(smime->certificates, fingerprint) : NULL;
    if (entry != NULL) {
        changed = *entry;
        changed.revoked = clock_now();
        X509_up_ref(changed.certificate);
        result = keyring_certificates_put(smime->certificates, &changed);
        X509_free(changed.certificate);
    }
    return result == ERR_OK ? ERR_REVOKED : result;
}

static enum err ask_revocation(const struct crypto_smime *smime, const struct keyring_certificate *entry,
                               STACK_OF(X509) * path)
{
    bool is_unknown = false;
    enum err result;

    /* Of one's own certificate that leads to no anchor one knows oneself. */
    if (smime->revocation == NULL || (path == NULL && entry->key_place[0] != '\0'))
        return ERR_OK;
    result = smime->revocation(smime->context, path, clock_now(), &is_unknown);
    if (result == ERR_OK && is_unknown)
        log_info("certificate %s: whether it is revoked could not be learnt", entry->fingerprint);
    return result == ERR_REVOKED ? note_revoked(smime, entry) : result;
}

enum err crypto_smime_ask_revocation(const struct crypto_smime *smime, const char *fingerprint)
{
    const struct keyring_certificate *entry = keyring_certificates_find(smime->certificates, fingerprint);
    STACK_OF(X509) *path = NULL;
    bool is_fit = false;
    enum err result;

    if (entry == NULL || entry->revoked != 0)
        return ERR_OK;
    result = judge(smime, entry, KEYRING_ENCRYPT, &is_fit, &path);
    /* Of others there is nobody to ask. */
    if (result == ERR_OK && is_fit && path != NULL)
        result = ask_revocation(smime, entry, path);
    sk_X509_pop_free(path, X509_free);
    return result;
}

static enum err add_recipient(const struct crypto_smime *smime, const char *fingerprint, bool is_own,
                              struct crypto_smime_envelope *envelope)
{
    const struct keyring_certificate *entry = keyring_certificates_find(smime->certificates, fingerprint);
    STACK_OF(X509) *path = NULL;
    bool is_fit = false;
    enum err result;

    if (entry == NULL)
        return log_failure(ERR_NO_KEY, "certificate %s is not here", fingerprint);
    /* What goes to others is read here in their company; a copy of one's own, by anything that has the key. */
    if (!entry->takes_gcm && (is_own || entry->key_place[0] == '\0'))
        envelope->is_gcm = false;
    result = judge(smime, entry, KEYRING_ENCRYPT, &is_fit, &path);
    if (result == ERR_OK && !is_fit)
        result = ERR_NO_KEY;
    if (result == ERR_OK && X509_up_ref(entry->certificate) == 1 &&
        sk_X509_push(envelope->recipients, entry->certificate) <= 0) {
        X509_free(entry->certificate);
        result = ERR_MEMORY;
    }
    if (result == ERR_OK)
        result = ask_revocation(smime, entry, path);
    sk_X509_pop_free(path, X509_free);
    return result;
}

static enum err can_sign(const struct crypto_smime *smime, bool *can_sign_out)
{
    enum err result = ERR_OK;

    *can_sign_out = false;
    if (smime->private_key == NULL)
        return ERR_OK;
    for (size_t i = 0; result == ERR_OK && !*can_sign_out && i < keyring_certificates_len(smime->certificates); i++) {
        const struct keyring_certificate *entry = keyring_certificates_at(smime->certificates, i);
        STACK_OF(X509) *path = NULL;

        if (entry->key_place[0] != '\0')
            result = judge(smime, entry, KEYRING_SIGN, can_sign_out, &path);
        sk_X509_pop_free(path, X509_free);
    }
    return result;
}

enum err crypto_smime_envelope_find(const struct crypto_seal_request *request, bool is_signed, bool is_own,
                                    struct crypto_smime_envelope *envelope_out)
{
    const struct crypto_smime *smime = request->smime;
    enum err result = ERR_OK;

    *envelope_out = (struct crypto_smime_envelope){
        .recipients = sk_X509_new_null(), .is_gcm = smime->content == CRYPTO_SMIME_AUTO, .is_oaep = smime->is_oaep};
    if (envelope_out->recipients == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; result == ERR_OK && i < request->recipients_len; i++)
        result = add_recipient(smime, request->recipients[i], is_own, envelope_out);
    if (smime->content == CRYPTO_SMIME_GCM)
        envelope_out->is_gcm = true;
    if (result == ERR_OK && !envelope_out->is_gcm && !is_signed)
        result = can_sign(smime, &envelope_out->is_gcm);
    if (result != ERR_OK)
        crypto_smime_envelope_fini(envelope_out);
    return result;
}

void crypto_smime_envelope_fini(struct crypto_smime_envelope *envelope)
{
    sk_X509_pop_free(envelope->recipients, X509_free);
    envelope->recipients = NULL;
}

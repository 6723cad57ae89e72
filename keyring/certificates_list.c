/*
 * Certificates as entries of the index: how far each is trusted, and what for.
 */
#include "keyring/certificates_internal.h"
#include "keyring/x509_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define STRENGTH_MIN 112 /* bits, as KEYRING_X509_LEVEL demands of chains */
/* What is not good may become so without any change here: an issuer's time begins. */
#define BAD_HOLDS_S 3600

struct listing {
    struct keyring_certificates *certificates;
    const struct keyring_anchors *anchors;
    const char *const *own;
    size_t own_len;
    int64_t at;
};

/* Of the certificate alone, where no chain has told. */
static bool is_weak(X509 *certificate)
{
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    int hash_bits = 0;
    bool is_self_signed = (X509_get_extension_flags(certificate) & EXFLAG_SI) != 0;
    if (key == NULL || EVP_PKEY_get_security_bits(key) < STRENGTH_MIN)
        return true;
    return !is_self_signed &&
           (X509_get_signature_info(certificate, NULL, NULL, &hash_bits, NULL) != 1 || hash_bits < STRENGTH_MIN);
}

/* At a time when the certificate itself is valid: that it has expired is in the entry. */
static int64_t time_inside(const struct keyring_entry *entry, int64_t at)
{
    if (at < entry->created)
        return entry->created;
    return at >= entry->expires ? entry->expires - 1 : at;
}

static bool holds(const struct certificates_judged *judged, const struct keyring_certificates *certificates,
                  const struct keyring_anchors *anchors, int64_t at)
{
    return judged->anchors == anchors->serial && judged->issuers == certificates->issuers_serial &&
           judged->from <= at && at < judged->until;
}

/* `reason_out` is set unless what is known is a good path. */
static enum err judge(struct keyring_certificates *certificates, const struct keyring_anchors *anchors,
                      struct certificates_item *item, enum keyring_purpose purpose, int64_t at, bool keeps_path,
                      const char **reason_out)
{
    struct certificates_judged *judged = &item->judged[purpose];
    STACK_OF(X509) *issuers = keyring_certificates_issuers(certificates);
    STACK_OF(X509) * path;
    if (issuers == NULL)
        return ERR_MEMORY;
    sk_X509_pop_free(judged->path, X509_free);
    judged->path = NULL;
    judged->anchors = 0;
    enum err err =
        keyring_x509_chain(anchors, item->entry.certificate, issuers, purpose, at, &judged->chain, reason_out, &path);
    if (err != ERR_OK)
        return err;
    x509_validity(path, &judged->from, &judged->until);
    if (judged->chain != KEYRING_CHAIN_GOOD) {
        judged->from = at;
        judged->until = at + BAD_HOLDS_S;
    } else if (keeps_path) {
        judged->path = path;
        path = NULL;
    }
    sk_X509_pop_free(path, X509_free);
    judged->anchors = anchors->serial;
    judged->issuers = certificates->issuers_serial;
    return ERR_OK;
}

enum err keyring_certificates_judge(struct keyring_certificates *certificates, const struct keyring_anchors *anchors,
                                    const char *fingerprint, enum keyring_purpose purpose, int64_t at,
                                    enum keyring_chain *chain_out, const char **reason_out, STACK_OF(X509) * *path_out)
{
    struct certificates_item *item = certificates_find(certificates, fingerprint);
    enum err err = item == NULL ? ERR_NOT_FOUND : ERR_OK;
    *chain_out = KEYRING_CHAIN_UNTRUSTED;
    *reason_out = "";
    *path_out = NULL;
    if (err == ERR_OK &&
        (item->judged[purpose].path == NULL || !holds(&item->judged[purpose], certificates, anchors, at)))
        err = judge(certificates, anchors, item, purpose, at, true, reason_out);
    if (err != ERR_OK)
        return err;
    *chain_out = item->judged[purpose].chain;
    if (item->judged[purpose].path != NULL && (*path_out = X509_chain_up_ref(item->judged[purpose].path)) == NULL)
        err = ERR_MEMORY;
    return err;
}

/* One purpose stands for both: what else each needs is in the certificate itself. */
static enum err chain_of(const struct listing *listing, struct certificates_item *item, int64_t at,
                         const struct certificates_judged **judged_out)
{
    bool is_signer = x509_is_fit(item->entry.certificate, KEYRING_SIGN, true);
    enum keyring_purpose purpose = is_signer ? KEYRING_SIGN : KEYRING_ENCRYPT;
    const char *reason;
    *judged_out = &item->judged[purpose];
    return holds(*judged_out, listing->certificates, listing->anchors, at)
               ? ERR_OK
               : judge(listing->certificates, listing->anchors, item, purpose, at, false, &reason);
}

static bool is_own(const struct listing *listing, const struct keyring_certificate *certificate,
                   const struct x509_addresses *addresses)
{
    for (size_t i = 0; certificate->key_place[0] != '\0' && i < listing->own_len; i++)
        for (size_t j = 0; j < addresses->len; j++)
            if (mime_addr_is_same(listing->own[i], addresses->items[j]))
                return true;
    return false;
}

static bool is_found(const struct keyring_certificate *certificate)
{
    return keyring_source_is_asked(certificate->source) && certificate->is_found;
}

static enum err add(struct listing *listing, struct certificates_item *item, struct keyring *keyring)
{
    const struct keyring_certificate *certificate = &item->entry;
    struct keyring_entry entry = {.trust = KEYRING_UNVERIFIED};
    struct x509_addresses addresses = {.len = 0};
    bool is_issuer = certificates_is_issuer(certificate->certificate);
    (void)span_copy(span_of(certificate->fingerprint), entry.fingerprint, sizeof entry.fingerprint);
    x509_describe(certificate->certificate, &entry);
    if (!is_issuer)
        x509_find_addresses(certificate->certificate, &addresses);
    entry.has_secret = certificate->key_place[0] != '\0';
    entry.is_revoked = certificate->revoked != 0;
    entry.source = certificate->source;
    if (keyring_source_is_asked(certificate->source) && certificate->until != 0)
        entry.ask_again = certificate->until > KEYRING_WORD_LONGER_S ? certificate->until - KEYRING_WORD_LONGER_S : 1;
    enum keyring_chain chain = KEYRING_CHAIN_UNTRUSTED;
    const struct certificates_judged *judged = NULL;
    if (listing->anchors != NULL) {
        enum err err = chain_of(listing, item, time_inside(&entry, listing->at), &judged);
        if (err != ERR_OK)
            return err;
        chain = judged->chain;
    }
    if (is_own(listing, certificate, &addresses))
        entry.trust = KEYRING_OWN;
    else if (chain == KEYRING_CHAIN_GOOD)
        entry.trust = KEYRING_FULL;
    else if (is_found(certificate))
        entry.trust = KEYRING_FOUND;
    /* The index is looked at later than it is made: such trust ends with the first certificate of the chain. */
    if (entry.trust == KEYRING_FULL && judged->until < entry.expires)
        entry.encrypt_until = entry.sign_until = judged->until;
    bool is_useless =
        is_issuer || chain == KEYRING_CHAIN_WEAK || (chain != KEYRING_CHAIN_GOOD && is_weak(certificate->certificate));
    if (is_useless || !x509_is_fit(certificate->certificate, KEYRING_ENCRYPT, true))
        entry.encrypt_until = -1;
    if (is_useless || !x509_is_fit(certificate->certificate, KEYRING_SIGN, true))
        entry.sign_until = -1;
    return x509_add_each(&entry, &addresses, keyring);
}

static enum err list(struct listing *listing, bool is_of_issuers, struct keyring *keyring)
{
    struct keyring_certificates *certificates = listing->certificates;
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < certificates->len; i++)
        if (certificates_is_issuer(certificates->items[i]->entry.certificate) == is_of_issuers)
            err = add(listing, certificates->items[i], keyring);
    ERR_clear_error();
    return err;
}

enum err keyring_certificates_list(struct keyring_certificates *certificates, const struct keyring_anchors *anchors,
                                   const char *const *own, size_t own_len, int64_t at, struct keyring *keyring)
{
    struct listing listing = {certificates, anchors, own, own_len, at};
    return list(&listing, false, keyring);
}

enum err keyring_certificates_list_issuers(struct keyring_certificates *certificates,
                                           const struct keyring_anchors *anchors, int64_t at, struct keyring *keyring)
{
    struct listing listing = {certificates, anchors, NULL, 0, at};
    return list(&listing, true, keyring);
}

#include "keyring/learn.h"

#include "base/log.h"
#include "keyring/certificates_internal.h"
#include "keyring/x509_internal.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#define FORGOTTEN_MAX 256

const char *keyring_learnt_text(enum keyring_learnt learnt)
{
    static const char *const texts[] = {
        [KEYRING_LEARNT_GARBAGE] = "it is nothing that can be encrypted to",
        [KEYRING_LEARNT_STRANGER] = "it does not carry the address",
        [KEYRING_LEARNT_EXPIRED] = "it is expired, or not valid yet",
        [KEYRING_LEARNT_KNOWN] = "it is here already",
        [KEYRING_LEARNT_NEW] = "it can be kept",
    };
    return texts[learnt];
}

static bool has_address(const X509 *certificate, const char *address)
{
    struct x509_addresses addresses;
    x509_find_addresses(certificate, &addresses);
    for (size_t i = 0; i < addresses.len; i++)
        if (mime_addr_is_same(addresses.items[i], address))
            return true;
    return false;
}

/* What a person put here, or has the key of, stays as it is, and so does what mail has shown, unless the directory's
   word adds something to it. */
static bool is_better_known(const struct keyring_certificate *known, const struct keyring_found *found, int64_t now)
{
    if (known->source == KEYRING_SOURCE_IMPORT || known->key_place[0] != '\0')
        return true;
    if (known->source == KEYRING_SOURCE_MAIL)
        return !found->is_found;
    return known->is_found && !found->is_found && known->until > now;
}

static enum keyring_learnt judge_certificate(const struct keyring_learner *learner, const struct keyring_found *found,
                                             X509 *certificate)
{
    struct keyring_entry entry = {.trust = KEYRING_UNVERIFIED};
    char fingerprint[KEYRING_FPR_SIZE];
    if (certificates_is_issuer(certificate) || !x509_is_fit(certificate, KEYRING_ENCRYPT, true) ||
        keyring_x509_fingerprint(certificate, fingerprint) != ERR_OK)
        return KEYRING_LEARNT_GARBAGE;
    if (!has_address(certificate, learner->address))
        return KEYRING_LEARNT_STRANGER;
    x509_describe(certificate, &entry);
    if (learner->now < entry.created || (entry.expires != 0 && learner->now >= entry.expires))
        return KEYRING_LEARNT_EXPIRED;
    const struct keyring_certificate *known = keyring_certificates_find(learner->certificates, fingerprint);
    return known != NULL && is_better_known(known, found, learner->now) ? KEYRING_LEARNT_KNOWN : KEYRING_LEARNT_NEW;
}

static X509 *read_certificate(struct span der)
{
    const unsigned char *at = (const unsigned char *)der.ptr;
    X509 *certificate = der.len <= KEYRING_CERTIFICATE_SIZE_MAX ? d2i_X509(NULL, &at, (long)der.len) : NULL;
    ERR_clear_error();
    if (certificate != NULL && at != (const unsigned char *)der.ptr + der.len) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

enum err keyring_learn_judge(const struct keyring_learner *learner, const struct keyring_found *found,
                             enum keyring_learnt *learnt, X509 **certificate_out)
{
    X509 *certificate = NULL;
    enum err err = ERR_OK;
    *learnt = KEYRING_LEARNT_GARBAGE;
    if (found->kind == KEYRING_FOUND_CERTIFICATE && (certificate = read_certificate(found->bytes)) != NULL) {
        *learnt = judge_certificate(learner, found, certificate);
    } else if (found->kind == KEYRING_FOUND_OPENPGP && learner->gpg != NULL) {
        bool is_theirs = false;
        err = keyring_gpg_carries(learner->gpg, found->bytes, learner->address, &is_theirs);
        *learnt = err == ERR_MALFORMED ? KEYRING_LEARNT_GARBAGE
                  : is_theirs          ? KEYRING_LEARNT_NEW
                                       : KEYRING_LEARNT_STRANGER;
        err = err == ERR_MALFORMED ? ERR_OK : err;
    }
    if (certificate_out != NULL)
        *certificate_out = certificate;
    else
        X509_free(certificate);
    return err;
}

static enum err put(const struct keyring_learner *learner, const struct keyring_found *found, X509 *certificate)
{
    struct keyring_certificate entry = {.certificate = certificate,
                                        .source = KEYRING_SOURCE_DIRECTORY,
                                        .is_found = found->is_found,
                                        .seen = learner->now,
                                        .until = found->until};
    memcpy(entry.directory, found->directory, sizeof(entry.directory));
    enum err err = keyring_x509_fingerprint(certificate, entry.fingerprint);
    if (err != ERR_OK)
        return err;
    const struct keyring_certificate *known = keyring_certificates_find(learner->certificates, entry.fingerprint);
    if (known != NULL) {
        entry.takes_gcm = known->takes_gcm;
        entry.revoked = known->revoked;
    }
    return keyring_certificates_put(learner->certificates, &entry);
}

static enum err keep(const struct keyring_learner *learner, const struct keyring_found *found, size_t *kept)
{
    enum keyring_learnt learnt;
    struct keyring_import result;
    X509 *certificate;
    /* Others put certificates there, too, and their private keys' places. */
    enum err err = keyring_certificates_refresh(learner->certificates);
    if (err != ERR_OK)
        return err;
    err = keyring_learn_judge(learner, found, &learnt, &certificate);
    if (err == ERR_OK && learnt != KEYRING_LEARNT_NEW)
        log_info("directory %s: what it has for %s is not taken: %s", found->directory, learner->address,
                 keyring_learnt_text(learnt));
    else if (err == ERR_OK && certificate != NULL)
        err = put(learner, found, certificate);
    else if (err == ERR_OK)
        err = keyring_gpg_import(learner->gpg, found->bytes, true, &result);
    if (err == ERR_OK && learnt == KEYRING_LEARNT_NEW) {
        (*kept)++;
        log_info("directory %s: a key for %s is kept", found->directory, learner->address);
    }
    X509_free(certificate);
    return err;
}

/* True for what a directory's word alone had made good for something, once, and no chain, as far as that is known:
   nothing is judged for this. */
static bool is_stale(const struct keyring_learner *learner, const struct certificates_item *item)
{
    const struct keyring_certificate *known = &item->entry;
    if (known->source != KEYRING_SOURCE_DIRECTORY || known->key_place[0] != '\0' || known->revoked != 0 ||
        known->until == 0 || known->until > learner->now)
        return false;
    return learner->anchors == NULL ||
           (item->judged.anchors == learner->anchors->serial && item->judged.chain != KEYRING_CHAIN_GOOD);
}

/* A directory that has something new for everybody every day must not fill the folder: as many go as may come. */
static void forget_stale(const struct keyring_learner *learner)
{
    struct keyring_certificates *certificates = learner->certificates;
    size_t forgotten = 0;
    for (size_t i = keyring_certificates_len(certificates); i-- > 0 && forgotten < FORGOTTEN_MAX;) {
        char fingerprint[KEYRING_FPR_SIZE];
        if (!is_stale(learner, certificates->items[i]))
            continue;
        memcpy(fingerprint, certificates->items[i]->entry.fingerprint, sizeof(fingerprint));
        if (keyring_certificates_remove(certificates, fingerprint) != ERR_OK)
            return;
        forgotten++;
    }
}

enum err keyring_learn(const struct keyring_learner *learner, struct span saved, size_t *kept)
{
    struct keyring_found found;
    enum err err, first = ERR_OK;
    *kept = 0;
    while ((err = keyring_found_take(&saved, &found)) == ERR_OK) {
        err = keep(learner, &found, kept);
        /* One that cannot be kept is no reason to lose the others. */
        if (err != ERR_OK) {
            log_failure(err, "directory %s: keeping a key for %s", found.directory, learner->address);
            first = first == ERR_OK ? err : first;
        }
    }
    if (err != ERR_END)
        return err;
    if (*kept > 0)
        forget_stale(learner);
    return *kept > 0 ? ERR_OK : first;
}

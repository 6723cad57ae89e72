#include "keyring/learn.h"

#include "base/log.h"
#include "keyring/certificates_internal.h"
#include "keyring/x509_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define FORGOTTEN_MAX 256
/* What a directory said, and was not asked for again, is kept so long beyond its time, for a directory that is down. */
#define STALE_KEPT_S (INT64_C(365) * 86400)

const char *keyring_learnt_text(enum keyring_learnt learnt)
{
    static const char *const texts[] = {
        [KEYRING_LEARNT_GARBAGE] = "it is nothing that can be encrypted to",
        [KEYRING_LEARNT_STRANGER] = "it does not carry the address",
        [KEYRING_LEARNT_EXPIRED] = "it is expired, or not valid yet",
        [KEYRING_LEARNT_ISSUER] = "it is an issuer, and may be part of a chain",
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
static bool is_better_known(const struct keyring_certificate *known, const struct keyring_found *found)
{
    if (known->source == KEYRING_SOURCE_IMPORT || known->key_place[0] != '\0')
        return true;
    if (known->source == KEYRING_SOURCE_MAIL)
        return !found->is_found;
    return known->is_found && !found->is_found;
}

/* One that issued itself could only be an anchor, which no directory names. */
static bool is_intermediate(X509 *certificate)
{
    return certificates_is_issuer(certificate) && (X509_get_extension_flags(certificate) & EXFLAG_SI) == 0;
}

static bool is_issued_by_one(X509 *certificate, STACK_OF(X509) * issuers)
{
    bool is_so = false;
    for (int i = 0; !is_so && i < sk_X509_num(issuers); i++) {
        X509 *issuer = sk_X509_value(issuers, i);
        is_so = X509_check_issued(issuer, certificate) == X509_V_OK &&
                X509_verify(certificate, X509_get0_pubkey(issuer)) == 1;
    }
    ERR_clear_error();
    return is_so;
}

/* Others could stand, by their names, where those do of whom chains are made: enough of them, and no chain is found any
   more (PATHS_MAX, KEYRING_OTHERS_MAX). */
static bool leads_to_anchor(const struct keyring_learner *learner, X509 *issuer)
{
    return learner->anchors != NULL && (is_issued_by_one(issuer, learner->anchors->certificates) ||
                                        is_issued_by_one(issuer, keyring_certificates_issuers(learner->certificates)));
}

static enum keyring_learnt judge_certificate(const struct keyring_learner *learner, const struct keyring_found *found,
                                             X509 *certificate)
{
    struct keyring_entry entry = {.trust = KEYRING_UNVERIFIED};
    char fingerprint[KEYRING_FPR_SIZE];
    const bool is_issuer = certificates_is_issuer(certificate);
    if ((is_issuer ? !is_intermediate(certificate) : !x509_is_fit(certificate, KEYRING_ENCRYPT, true)) ||
        keyring_x509_fingerprint(certificate, fingerprint) != ERR_OK)
        return KEYRING_LEARNT_GARBAGE;
    if (!is_issuer && !has_address(certificate, learner->address))
        return KEYRING_LEARNT_STRANGER;
    x509_describe(certificate, &entry);
    if (learner->now < entry.created || (entry.expires != 0 && learner->now >= entry.expires))
        return KEYRING_LEARNT_EXPIRED;
    const struct keyring_certificate *known = keyring_certificates_find(learner->certificates, fingerprint);
    if (is_issuer && known == NULL)
        return leads_to_anchor(learner, certificate) ? KEYRING_LEARNT_ISSUER : KEYRING_LEARNT_STRANGER;
    if (is_issuer)
        return KEYRING_LEARNT_KNOWN;
    return known != NULL && is_better_known(known, found) ? KEYRING_LEARNT_KNOWN : KEYRING_LEARNT_NEW;
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

/* Out of a correspondent's record: Autocrypt does not look at user IDs (level 1, 2.1.1). */
static bool is_heard(const struct keyring_found *found)
{
    return found->kind == KEYRING_FOUND_OPENPGP &&
           (found->source == KEYRING_SOURCE_AUTOCRYPT || found->source == KEYRING_SOURCE_GOSSIP);
}

/* It came with mail that verified. */
static bool is_attached(const struct keyring_learner *learner, const struct keyring_found *found)
{
    return learner->is_mail && found->kind == KEYRING_FOUND_OPENPGP && found->source == KEYRING_SOURCE_MAIL;
}

enum err keyring_learn_judge(const struct keyring_learner *learner, const struct keyring_found *found,
                             enum keyring_learnt *learnt, X509 **certificate_out)
{
    X509 *certificate = NULL;
    enum err err = ERR_OK;
    *learnt = KEYRING_LEARNT_GARBAGE;
    if (found->kind == KEYRING_FOUND_CERTIFICATE && (certificate = read_certificate(found->bytes)) != NULL) {
        *learnt = judge_certificate(learner, found, certificate);
    } else if (is_heard(found) && learner->gpg != NULL) {
        *learnt = KEYRING_LEARNT_NEW;
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
    const bool is_issuer = certificates_is_issuer(certificate);
    struct keyring_certificate entry = {.certificate = certificate,
                                        .source = found->source,
                                        .is_found = found->is_found && !is_issuer,
                                        .seen = learner->now,
                                        .until = is_issuer ? 0 : found->until};
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

/* For the record of the correspondent; without a fingerprint: the source has told all. */
static enum err add_word(const struct keyring_learner *learner, const struct keyring_found *found,
                         const char *fingerprint)
{
    struct keyring_word word = {.format = KEYRING_OPENPGP,
                                .source = found->source,
                                .trust = found->is_found ? KEYRING_FOUND : KEYRING_UNVERIFIED,
                                .since = learner->now,
                                .until = found->until > 0 ? found->until : learner->now};
    /* What Autocrypt told stands in the record already. */
    if (learner->words == NULL || is_heard(found))
        return ERR_OK;
    if (is_attached(learner, found)) {
        word.trust = keyring_source_trust_max(found->source);
        word.until = 0;
    }
    (void)span_copy(span_of(learner->address), word.address, sizeof(word.address));
    (void)span_copy(span_of(fingerprint), word.fingerprint, sizeof(word.fingerprint));
    (void)span_copy(span_of(found->directory), word.title, sizeof(word.title));
    return keyring_word_add(learner->words, &word);
}

static enum err import(const struct keyring_learner *learner, const struct keyring_found *found)
{
    struct keyring_import result;
    enum err err = keyring_gpg_import(learner->gpg, found->bytes, true, &result);
    if (err == ERR_OK && result.fingerprints_len == 0)
        err = ERR_MALFORMED;
    for (size_t i = 0; err == ERR_OK && i < result.fingerprints_len; i++)
        err = add_word(learner, found, result.fingerprints[i]);
    return err;
}

/* What cannot be kept as a key of the address may still tell of one that is here: that it is revoked, or lasts longer.
   No word comes of it. */
static enum err update(const struct keyring_learner *learner, const struct keyring_found *found)
{
    struct keyring_import result;
    enum err err = keyring_gpg_merge(learner->gpg, found->bytes, &result);
    if (err == ERR_OK && result.changed > 0)
        log_info("%s %s: it has news of the key %.40s", keyring_source_name(found->source), found->directory,
                 result.fingerprints_len > 0 ? result.fingerprints[0] : "");
    return err;
}

static enum err keep(const struct keyring_learner *learner, const struct keyring_found *found, size_t *kept)
{
    enum keyring_learnt learnt;
    X509 *certificate;
    /* Others put certificates there, too, and their private keys' places. */
    enum err err = keyring_certificates_refresh(learner->certificates);
    if (err != ERR_OK)
        return err;
    err = keyring_learn_judge(learner, found, &learnt, &certificate);
    const bool is_refused = err == ERR_OK && learnt < KEYRING_LEARNT_ISSUER;
    if (is_refused)
        log_info("%s %s: what it has for %s is not taken: %s", keyring_source_name(found->source), found->directory,
                 learner->address, keyring_learnt_text(learnt));
    if (is_refused && found->kind == KEYRING_FOUND_OPENPGP && learner->gpg != NULL)
        err = update(learner, found);
    else if (err == ERR_OK && !is_refused && certificate != NULL && learnt != KEYRING_LEARNT_KNOWN)
        err = put(learner, found, certificate);
    else if (err == ERR_OK && learnt == KEYRING_LEARNT_NEW)
        err = import(learner, found);
    if (err == ERR_OK && learnt == KEYRING_LEARNT_NEW) {
        (*kept)++;
        log_info("%s %s: a key for %s is kept", keyring_source_name(found->source), found->directory, learner->address);
    }
    X509_free(certificate);
    return err;
}

/* As far as it has been judged. */
static bool leads_nowhere(const struct keyring_anchors *anchors, const struct certificates_item *item)
{
    bool is_judged = false;
    for (size_t i = 0; i < KEYRING_PURPOSE_COUNT; i++) {
        if (item->judged[i].anchors != anchors->serial)
            continue;
        if (item->judged[i].chain == KEYRING_CHAIN_GOOD)
            return false;
        is_judged = true;
    }
    return is_judged;
}

/* True for what a directory's word alone had made good for something, long ago, and no chain, as far as that is known:
   nothing is judged for this. */
static bool is_left_over(const struct keyring_learner *learner, const struct certificates_item *item)
{
    const struct keyring_certificate *known = &item->entry;
    if (!keyring_source_is_asked(known->source) || known->key_place[0] != '\0' || known->revoked != 0 ||
        known->until == 0 || known->until + (known->is_found ? STALE_KEPT_S : 0) > learner->now)
        return false;
    return learner->anchors == NULL || leads_nowhere(learner->anchors, item);
}

/* A directory that has something new for everybody every day must not fill the folder: as many go as may come. */
static void forget_left_over(const struct keyring_learner *learner)
{
    struct keyring_certificates *certificates = learner->certificates;
    size_t forgotten = 0;
    for (size_t i = keyring_certificates_len(certificates); i-- > 0 && forgotten < FORGOTTEN_MAX;) {
        char fingerprint[KEYRING_FPR_SIZE];
        if (!is_left_over(learner, certificates->items[i]))
            continue;
        memcpy(fingerprint, certificates->items[i]->entry.fingerprint, sizeof(fingerprint));
        if (keyring_certificates_remove(certificates, fingerprint) != ERR_OK)
            return;
        forgotten++;
    }
}

static bool is_of_same(const struct keyring_found *found, const struct keyring_found *other)
{
    return found->source == other->source && strcmp(found->directory, other->directory) == 0;
}

/* True if the source still has it. */
static bool is_in(struct span saved, const struct keyring_found *all, const char *fingerprint)
{
    struct keyring_found found;
    bool is_there = false;
    while (!is_there && keyring_found_take(&saved, &found) == ERR_OK) {
        char own[KEYRING_FPR_SIZE];
        X509 *certificate =
            found.kind == KEYRING_FOUND_CERTIFICATE && is_of_same(&found, all) ? read_certificate(found.bytes) : NULL;
        is_there = certificate != NULL && keyring_x509_fingerprint(certificate, own) == ERR_OK &&
                   strcmp(own, fingerprint) == 0;
        X509_free(certificate);
    }
    return is_there;
}

static enum err remove_gone(const struct keyring_learner *learner, const struct keyring_found *all, struct span saved)
{
    enum err err = ERR_OK;
    for (size_t i = keyring_certificates_len(learner->certificates); err == ERR_OK && i-- > 0;) {
        const struct keyring_certificate *known = keyring_certificates_at(learner->certificates, i);
        char fingerprint[KEYRING_FPR_SIZE];
        if (!keyring_source_is_asked(known->source) || known->key_place[0] != '\0' || known->source != all->source ||
            strcmp(known->directory, all->directory) != 0 || certificates_is_issuer(known->certificate) ||
            !has_address(known->certificate, learner->address) || is_in(saved, all, known->fingerprint))
            continue;
        memcpy(fingerprint, known->fingerprint, sizeof(fingerprint));
        err = keyring_certificates_remove(learner->certificates, fingerprint);
        log_info("%s %s: it no longer has %.16s for %s", keyring_source_name(all->source), all->directory, fingerprint,
                 learner->address);
    }
    return err;
}

/* True if its source is heard. It can claim no more than that may give. */
static bool admit(const struct keyring_learner *learner, struct keyring_found *found)
{
    found->is_found = found->is_found && keyring_source_trust_max(found->source) >= KEYRING_FOUND;
    if (learner->tellers == NULL)
        return true;
    for (size_t i = 0; i < learner->tellers_len; i++) {
        const struct keyring_teller *teller = &learner->tellers[i];
        if (teller->source != found->source || strcmp(teller->title, found->directory) != 0)
            continue;
        const int64_t most = learner->now + teller->seconds;
        found->is_found = found->is_found && teller->is_believed;
        found->until = found->until < most ? found->until : most;
        return true;
    }
    return false;
}

/* The next piece of a source that is heard. */
static enum err take(const struct keyring_learner *learner, struct span *rest, struct keyring_found *found)
{
    enum err err;
    while ((err = keyring_found_take(rest, found)) == ERR_OK)
        if (admit(learner, found))
            return ERR_OK;
    return err;
}

static enum err learn_one(const struct keyring_learner *learner, struct keyring_found *found, struct span all,
                          size_t *kept)
{
    if (!admit(learner, found) ||
        (!keyring_source_is_asked(found->source) && !is_heard(found) && !is_attached(learner, found)))
        return ERR_REFUSED;
    return found->kind == KEYRING_FOUND_ALL ? remove_gone(learner, found, all) : keep(learner, found, kept);
}

/* Those between an anchor and others come in any order: each time that some are kept, more may follow. */
static enum err learn_issuers(const struct keyring_learner *learner, struct span saved)
{
    enum err err = ERR_OK;
    bool is_any = learner->anchors != NULL;
    for (size_t i = 0; err == ERR_OK && is_any && i < KEYRING_CHAIN_MAX; i++) {
        struct span rest = saved;
        struct keyring_found found;
        is_any = false;
        while (err == ERR_OK && take(learner, &rest, &found) == ERR_OK) {
            X509 *certificate = found.kind == KEYRING_FOUND_CERTIFICATE && keyring_source_is_asked(found.source)
                                    ? read_certificate(found.bytes)
                                    : NULL;
            if (certificate != NULL && judge_certificate(learner, &found, certificate) == KEYRING_LEARNT_ISSUER) {
                is_any = true;
                err = put(learner, &found, certificate);
            }
            X509_free(certificate);
        }
    }
    return err;
}

/* Not if one of its keys could not be kept: then it has more than was heard. */
static enum err add_ends(const struct keyring_learner *learner, struct span saved)
{
    struct keyring_found found;
    enum err err;
    while ((err = take(learner, &saved, &found)) == ERR_OK)
        if (found.kind == KEYRING_FOUND_ALL && (err = add_word(learner, &found, "")) != ERR_OK)
            return err;
    return err == ERR_END ? ERR_OK : err;
}

bool keyring_learn_is_junk(enum err err)
{
    return err == ERR_MALFORMED || err == ERR_LIMIT || err == ERR_REFUSED;
}

enum err keyring_learn(const struct keyring_learner *learner, struct span saved, size_t *kept)
{
    const struct span all = saved;
    struct keyring_found found;
    enum err err, first;
    *kept = 0;
    first = learn_issuers(learner, saved);
    while ((err = keyring_found_take(&saved, &found)) == ERR_OK) {
        err = learn_one(learner, &found, all, kept);
        /* One that cannot be kept is no reason to lose the others. */
        if (err != ERR_OK) {
            log_failure(err, "%s %s: keeping a key for %s", keyring_source_name(found.source), found.directory,
                        learner->address);
            first = first == ERR_OK || keyring_learn_is_junk(first) ? err : first;
        }
    }
    if (err != ERR_END)
        return err;
    if (first == ERR_OK)
        first = add_ends(learner, all);
    if (*kept > 0)
        forget_left_over(learner);
    return *kept > 0 && keyring_learn_is_junk(first) ? ERR_OK : first;
}

/* ---- what mail told ---- */

void keyring_learn_list(const struct keyring *keyring, const char *address, struct keyring_learn_listed *listed)
{
    size_t first;
    const size_t len = keyring_find(keyring, address, &first);
    listed->len = 0;
    for (size_t i = first; i < first + len && listed->len < KEYRING_LEARN_LISTED_MAX; i++)
        memcpy(listed->fingerprints[listed->len++], keyring_at(keyring, i)->fingerprint, KEYRING_FPR_SIZE);
}

static enum err add_heard(const struct keyring_learn_listed *listed, enum keyring_source source,
                          const char *fingerprint, const struct buf *key, struct buf *found)
{
    const struct keyring_found piece = {.kind = KEYRING_FOUND_OPENPGP, .source = source, .bytes = buf_span(key)};
    bool is_listed = false;
    for (size_t i = 0; i < listed->len; i++)
        is_listed = is_listed || strcmp(listed->fingerprints[i], fingerprint) == 0;
    return key->len == 0 || is_listed ? ERR_OK : keyring_found_add(found, &piece);
}

enum err keyring_learn_heard(const struct keyring_peer *peer, const struct keyring_learn_listed *listed,
                             struct buf *found)
{
    const struct keyring_autocrypt *told = &peer->autocrypt;
    enum err err = add_heard(listed, KEYRING_SOURCE_AUTOCRYPT, told->fingerprint, &told->key, found);
    return err == ERR_OK ? add_heard(listed, KEYRING_SOURCE_GOSSIP, told->gossip_fingerprint, &told->gossip_key, found)
                         : err;
}

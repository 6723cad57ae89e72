#include "crypto/verdict.h"

#include "base/clock.h"

#include <string.h>

const char *crypto_signature_name(enum crypto_signature_state state)
{
    switch (state) {
    case CRYPTO_SIG_NONE:
        return "none";
    case CRYPTO_SIG_GOOD:
        return "good";
    case CRYPTO_SIG_UNTRUSTED:
        return "untrusted";
    case CRYPTO_SIG_MISMATCH:
        return "mismatch";
    case CRYPTO_SIG_BAD:
        return "bad";
    case CRYPTO_SIG_EXPIRED:
        return "expired";
    case CRYPTO_SIG_REVOKED:
        return "revoked";
    case CRYPTO_SIG_WEAK:
        return "weak";
    case CRYPTO_SIG_UNKNOWN_KEY:
        return "unknown-key";
    case CRYPTO_SIG_PARTIAL:
        return "partial";
    }
    return "bad";
}

const char *crypto_encryption_name(enum crypto_encryption_state state)
{
    switch (state) {
    case CRYPTO_ENC_NONE:
        return "none";
    case CRYPTO_ENC_OPENPGP:
        return "openpgp";
    case CRYPTO_ENC_SMIME:
        return "smime";
    case CRYPTO_ENC_PARTIAL:
        return "partial";
    case CRYPTO_ENC_FAILED:
        return "failed";
    }
    return "failed";
}

/* A quoted local part may hold anything, also what would read as another item of the verdict. */
static enum err add_address(const char *address, struct buf *out)
{
    enum err err = ERR_OK;
    for (; err == ERR_OK && *address != '\0'; address++) {
        unsigned char byte = (unsigned char)*address;
        bool is_plain = byte > 0x20 && byte != 0x7f && strchr(";\"\\(),:<>[]%", byte) == NULL;
        err = is_plain ? buf_add_byte(out, *address) : buf_addf(out, "%%%02X", byte);
    }
    return err;
}

enum err crypto_verdict_format(const struct crypto_verdict *verdict, struct buf *out)
{
    char at[CLOCK_TEXT_SIZE];
    size_t before = out->len;
    clock_format(verdict->at, at);
    enum err err = buf_addf(out, "signature=%s; ", crypto_signature_name(verdict->signature));
    if (err == ERR_OK && verdict->signature != CRYPTO_SIG_NONE && verdict->signer[0] != '\0') {
        err = buf_add_string(out, "signer=");
        if (err == ERR_OK)
            err = add_address(verdict->signer, out);
        if (err == ERR_OK)
            err = buf_addf(out, "; trust=%s; ", keyring_trust_name(verdict->trust));
    }
    if (err == ERR_OK)
        err = buf_addf(out, "encryption=%s; integrity=%s; at=%s", crypto_encryption_name(verdict->encryption),
                       verdict->has_integrity ? "ok" : "none", at);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

/* The best entry of the key for this address: one that is not revoked, else one that is. */
static const struct keyring_entry *find_author(const struct keyring *keyring, const char *author,
                                               const char *fingerprint)
{
    const struct keyring_entry *revoked = NULL;
    size_t first = 0;
    size_t count = *author == '\0' || *fingerprint == '\0' ? 0 : keyring_find(keyring, author, &first);
    for (size_t i = 0; i < count; i++) {
        const struct keyring_entry *entry = keyring_at(keyring, first + i);
        if (strcmp(entry->fingerprint, fingerprint) != 0)
            continue;
        if (!entry->is_revoked)
            return entry;
        if (revoked == NULL)
            revoked = entry;
    }
    return revoked;
}

/* What a source has not said again vouches for no signature: a failed look-up is not a pass (design 1.1.4). */
static enum keyring_trust trust_of(const struct keyring_entry *entry)
{
    return keyring_is_stale(entry, clock_now()) ? KEYRING_UNVERIFIED : entry->trust;
}

static enum crypto_signature_state judge_entry(const struct keyring_entry *entry, enum keyring_trust least)
{
    if (entry == NULL)
        return CRYPTO_SIG_MISMATCH;
    if (entry->is_revoked)
        return CRYPTO_SIG_REVOKED;
    /* A least trust that nobody set must not let through what is known to be wrong. */
    if (entry->is_disabled || entry->trust == KEYRING_NEVER || trust_of(entry) < least)
        return CRYPTO_SIG_UNTRUSTED;
    return CRYPTO_SIG_GOOD;
}

void crypto_verdict_judge(const struct crypto_signature *signature, const char *author, const struct keyring *keyring,
                          enum keyring_trust least, struct crypto_verdict *verdict_out)
{
    verdict_out->signature = signature->state;
    verdict_out->trust = KEYRING_NEVER;
    verdict_out->signer[0] = '\0';
    memcpy(verdict_out->fingerprint, signature->fingerprint, sizeof verdict_out->fingerprint);
    /* Nothing is known of a key that did not make this signature, and nobody vouches. */
    if (signature->state == CRYPTO_SIG_NONE || signature->state == CRYPTO_SIG_BAD ||
        signature->state == CRYPTO_SIG_UNKNOWN_KEY)
        return;
    const struct keyring_entry *entry = find_author(keyring, author, signature->fingerprint);
    if (signature->state == CRYPTO_SIG_GOOD)
        verdict_out->signature = judge_entry(entry, least);
    if (entry == NULL)
        return;
    memcpy(verdict_out->signer, entry->address, sizeof verdict_out->signer);
    verdict_out->trust = trust_of(entry);
}

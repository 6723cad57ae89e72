/*
 * The saved form of a decision: its version, then the fields one after the other. Another version of the program that
 * cannot read it must not guess: whatever is not exactly what save writes is refused.
 */
#include "crypto/decision.h"

#include "base/packed.h"
#include "base/secret.h"

#include <string.h>

#define DECISION_VERSION 1u
#define SESSION_KEYS_VERSION 1u

enum {
    FLAG_INTEGRITY = 1,
    FLAG_CHANGED = 2,
    FLAG_OWN = 4,
    FLAG_UNREAD = 8,
    FLAG_OUTER_FROM = 16,
    FLAG_HEADER_SIGNED = 32,
    FLAG_TEXT_ALONE = 64,
    FLAG_OUTER_HEADER = 128,
    FLAGS_ALL = 255
};

static unsigned flags_of(const struct crypto_decision *decision)
{
    return (decision->verdict.has_integrity ? FLAG_INTEGRITY : 0u) | (decision->is_changed ? FLAG_CHANGED : 0u) |
           (decision->is_own ? FLAG_OWN : 0u) | (decision->is_unread ? FLAG_UNREAD : 0u) |
           (decision->keeps_outer_from ? FLAG_OUTER_FROM : 0u) |
           (decision->is_header_signed ? FLAG_HEADER_SIGNED : 0u) | (decision->is_text_alone ? FLAG_TEXT_ALONE : 0u) |
           (decision->keeps_outer_header ? FLAG_OUTER_HEADER : 0u);
}

static void set_flags(struct crypto_decision *decision, unsigned flags)
{
    decision->verdict.has_integrity = (flags & FLAG_INTEGRITY) != 0;
    decision->is_changed = (flags & FLAG_CHANGED) != 0;
    decision->is_own = (flags & FLAG_OWN) != 0;
    decision->is_unread = (flags & FLAG_UNREAD) != 0;
    decision->keeps_outer_from = (flags & FLAG_OUTER_FROM) != 0;
    decision->is_header_signed = (flags & FLAG_HEADER_SIGNED) != 0;
    decision->is_text_alone = (flags & FLAG_TEXT_ALONE) != 0;
    decision->keeps_outer_header = (flags & FLAG_OUTER_HEADER) != 0;
}

enum err crypto_decision_save(const struct crypto_decision *decision, struct buf *out)
{
    const struct crypto_verdict *verdict = &decision->verdict;
    const unsigned small[] = {
        DECISION_VERSION,         flags_of(decision), (unsigned)verdict->signature, (unsigned)verdict->encryption,
        (unsigned)verdict->trust, decision->layers};
    const char *const texts[] = {verdict->signer, verdict->fingerprint, decision->authserv_id};
    size_t before = out->len;
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(small) / sizeof(*small); i++)
        err = packed_add_number(out, small[i], 1);
    if (err == ERR_OK)
        err = packed_add_number(out, (uint64_t)verdict->at, 8);
    if (err == ERR_OK)
        err = packed_add_number(out, decision->size, 8);
    if (err == ERR_OK)
        err = buf_add(out, decision->digest, sizeof(decision->digest));
    for (size_t i = 0; err == ERR_OK && i < sizeof(texts) / sizeof(*texts); i++)
        err = packed_add_bytes(out, span_of(texts[i]));
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

static bool take_verdict(struct span *rest, struct crypto_verdict *verdict)
{
    unsigned signature, encryption, trust;
    if (!packed_take_small(rest, CRYPTO_SIG_PARTIAL, &signature) ||
        !packed_take_small(rest, CRYPTO_ENC_FAILED, &encryption) ||
        !packed_take_small(rest, KEYRING_TRUST_COUNT - 1, &trust))
        return false;
    verdict->signature = (enum crypto_signature_state)signature;
    verdict->encryption = (enum crypto_encryption_state)encryption;
    verdict->trust = (enum keyring_trust)trust;
    return true;
}

static bool take_decision(struct span *rest, struct crypto_decision *decision)
{
    struct crypto_verdict *verdict = &decision->verdict;
    unsigned version, flags, layers;
    uint64_t at;
    if (!packed_take_small(rest, DECISION_VERSION, &version) || version != DECISION_VERSION ||
        !packed_take_small(rest, FLAGS_ALL, &flags) || !take_verdict(rest, verdict) ||
        !packed_take_small(rest, CRYPTO_SESSION_KEYS_MAX, &layers) || !packed_take_number(rest, 8, &at) ||
        !packed_take_number(rest, 8, &decision->size) || rest->len < sizeof(decision->digest))
        return false;
    memcpy(decision->digest, rest->ptr, sizeof(decision->digest));
    *rest = span_skip(*rest, sizeof(decision->digest));
    set_flags(decision, flags);
    decision->layers = layers;
    verdict->at = (int64_t)at;
    return packed_take_text(rest, verdict->signer, sizeof(verdict->signer)) &&
           packed_take_text(rest, verdict->fingerprint, sizeof(verdict->fingerprint)) &&
           packed_take_text(rest, decision->authserv_id, sizeof(decision->authserv_id)) && rest->len == 0;
}

enum err crypto_decision_load(struct span saved, struct crypto_decision *decision_out)
{
    struct crypto_decision decision = {.layers = 0};
    if (!take_decision(&saved, &decision))
        return ERR_PEER_PROTOCOL;
    *decision_out = decision;
    return ERR_OK;
}

#define SMIME_PREFIX "smime:"
#define HEXADECIMAL "0123456789ABCDEFabcdef"

bool crypto_session_key_is_smime(const struct crypto_session_keys *keys, size_t index)
{
    return span_has_prefix(span_of(keys->keys[index]), SPAN_LIT(SMIME_PREFIX));
}

/* "algorithm:key", both as gpg writes them; what goes back to gpg must be nothing else. "smime:key" of a layer by
   S/MIME.
   "" stands for a key that gpg did not tell, and for a layer that has none. */
static bool is_session_key(const char *key)
{
    size_t digits = strspn(key, "0123456789");
    const char *octets = key + sizeof(SMIME_PREFIX) - 1;
    if (key[0] == '\0')
        return true;
    if (!span_has_prefix(span_of(key), SPAN_LIT(SMIME_PREFIX))) {
        if (digits == 0 || digits > 3 || key[digits] != ':')
            return false;
        octets = key + digits + 1;
    }
    return octets[0] != '\0' && octets[strspn(octets, HEXADECIMAL)] == '\0';
}

enum err crypto_session_keys_save(const struct crypto_session_keys *keys, struct buf *out)
{
    size_t before = out->len;
    enum err err = packed_add_number(out, SESSION_KEYS_VERSION, 1);
    if (err == ERR_OK)
        err = packed_add_number(out, keys->len, 1);
    for (size_t i = 0; err == ERR_OK && i < keys->len; i++)
        err = packed_add_bytes(out, span_of(keys->keys[i]));
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

enum err crypto_session_keys_load(struct span saved, struct crypto_session_keys *keys_out)
{
    unsigned version, len = 0;
    bool is_good = packed_take_small(&saved, SESSION_KEYS_VERSION, &version) && version == SESSION_KEYS_VERSION &&
                   packed_take_small(&saved, CRYPTO_SESSION_KEYS_MAX, &len);
    *keys_out = (struct crypto_session_keys){.len = 0};
    for (unsigned i = 0; is_good && i < len; i++)
        is_good =
            packed_take_text(&saved, keys_out->keys[i], CRYPTO_SESSION_KEY_SIZE) && is_session_key(keys_out->keys[i]);
    if (!is_good || saved.len != 0) {
        crypto_session_keys_fini(keys_out);
        return ERR_PEER_PROTOCOL;
    }
    keys_out->len = len;
    return ERR_OK;
}

void crypto_session_keys_fini(struct crypto_session_keys *keys)
{
    secret_wipe(keys, sizeof(*keys));
}

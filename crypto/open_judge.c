#include "crypto/open_internal.h"

#include "crypto/author.h"
#include "crypto/open_layer.h"
#include "crypto/own.h"
#include "mime/field.h"

#include <string.h>

/* A person said that it is not the author's (`key pin --not`), whatever its chain says. */
static bool is_ruled_out(const struct keyring *ring, const char *author, const char *fingerprint)
{
    size_t first = 0, len = ring == NULL || author[0] == '\0' ? 0 : keyring_find(ring, author, &first);

    for (size_t i = first; i < first + len; i++) {
        const struct keyring_entry *entry = keyring_at(ring, i);

        if (entry->trust == KEYRING_NEVER && entry->source == KEYRING_SOURCE_PERSON &&
            strcmp(entry->fingerprint, fingerprint) == 0)
            return true;
    }
    return false;
}

/* What a person said of the author's keys cannot be known. */
static bool is_unread(const struct crypto_open_options *options, const char *author)
{
    return options->keyring != NULL && keyring_is_incomplete(options->keyring) &&
           (options->can_read_record == NULL || !options->can_read_record(author, options->record_context));
}

static void judge_one(const struct opening *opening, const struct crypto_signature *signature, const char *author,
                      struct crypto_verdict *verdict)
{
    const struct keyring *keyring =
        signature->format == KEYRING_SMIME ? opening->certificates : opening->options->keyring;
    crypto_verdict_judge(signature, author, keyring, opening->options->least, verdict);
    if (verdict->signature != CRYPTO_SIG_GOOD)
        return;
    if (!is_unread(opening->options, author) &&
        (signature->format != KEYRING_SMIME ||
         !is_ruled_out(opening->options->keyring, author, signature->fingerprint)))
        return;
    verdict->signature = CRYPTO_SIG_UNTRUSTED;
    verdict->trust = KEYRING_NEVER;
}

/* The summary of all signatures for one author: the first good one, else the outermost. Several signers of one layer by
   S/MIME speak as one, and the weakest of them counts (RFC 5752 §5).
   Not so of layers: a good one of the author's is over all that is shown, whatever else was signed within it or around
   it, and others are wrapped around a message by those who pass it on (RFC 2634 §1.1, RFC 3183), who are not its author
   and would turn each such message into a mismatch. */
static void judge(struct opening *opening, const char *author, struct crypto_verdict *verdict_out)
{
    const struct crypto_signature *signatures = opening->signatures;
    struct crypto_verdict first = *verdict_out;
    size_t next = 0;

    for (size_t i = 0; i < opening->signatures_len; i = next) {
        struct crypto_verdict verdict = *verdict_out, other = *verdict_out;

        judge_one(opening, &signatures[i], author, &verdict);
        for (next = i + 1; signatures[i].format == KEYRING_SMIME && next < opening->signatures_len &&
                           signatures[next].layer == signatures[i].layer;
             next++) {
            judge_one(opening, &signatures[next], author, &other);
            if (verdict.signature == CRYPTO_SIG_GOOD)
                verdict = other;
        }
        if (verdict.signature == CRYPTO_SIG_GOOD && opening->unproven.is_covered &&
            opening->unproven.covered_by == signatures[i].layer)
            opening->unproven.is_proven = true;
        if (i == 0 || (verdict.signature == CRYPTO_SIG_GOOD && first.signature != CRYPTO_SIG_GOOD))
            first = verdict;
    }
    *verdict_out = first;
}

/* True if the header of the payload came out of a layer of MIME: inline PGP covers no header (design 1.1.3). */
static bool is_header_protected(const struct opening *opening)
{
    return opening->encrypted_len > (opening->is_inline ? 1 : 0) || opening->is_header_signed;
}

/* What is known of the header without judging any signature. */
static enum err find_header(const struct opening *opening, struct crypto_header_merge *merge)
{
    if (is_header_protected(opening))
        merge->inner = opening->header;
    return crypto_header_protection(merge->inner, &merge->protection);
}

/* Decides which header counts, who the author is, and what the signatures say of that author. */
static void judge_author(struct opening *opening, struct crypto_header_merge *merge)
{
    struct crypto_verdict *verdict = &opening->result->verdict;
    bool is_text_alone = opening->is_inline || opening->is_clearsigned, has_inner, is_same;
    char outer[MIME_ADDR_SIZE], inner[MIME_ADDR_SIZE];

    crypto_author(merge->outer, outer);
    has_inner = merge->protection != CRYPTO_HEADER_UNPROTECTED && mime_field_count(merge->inner, "From") > 0;
    crypto_author(has_inner ? merge->inner : merge->outer, inner);
    is_same = !has_inner || (outer[0] != '\0' && mime_addr_is_same(outer, inner));
    /* A signature over the text alone vouches for no From but the one that stands outside anyway. */
    judge(opening, is_same || !is_text_alone ? inner : outer, verdict);
    if (is_same || (verdict->signature == CRYPTO_SIG_GOOD && !is_text_alone))
        return;
    /* RFC 9788 §4.4: an inner From that no good signature vouches for could be anybody's. */
    merge->keeps_outer_from = true;
    open_give_reason(opening, "the author inside is another than outside");
    if (verdict->signature == CRYPTO_SIG_GOOD)
        return;
    if (verdict->signature == CRYPTO_SIG_UNTRUSTED)
        verdict->signature = CRYPTO_SIG_MISMATCH;
    verdict->signer[0] = '\0';
    verdict->trust = KEYRING_NEVER;
}

/* What stands beside other parts is shown as it came, never opened (design 1.1.3). */
static enum err look_for_parts(struct opening *opening)
{
    struct crypto_verdict *verdict = &opening->result->verdict;
    bool has_encrypted, has_signed;
    enum err result;

    if (opening->is_inline || opening->is_clearsigned || verdict->encryption == CRYPTO_ENC_FAILED)
        return ERR_OK;
    result = crypto_layer_scan(opening->part, opening->bytes, &has_encrypted, &has_signed);
    if (result != ERR_OK)
        return result;
    if (has_encrypted && verdict->encryption == CRYPTO_ENC_NONE)
        verdict->encryption = CRYPTO_ENC_PARTIAL;
    if (has_signed && opening->signatures_len == 0)
        verdict->signature = CRYPTO_SIG_PARTIAL;
    if (has_encrypted || has_signed)
        open_give_reason(opening, "parts of the message are protected by themselves");
    return ERR_OK;
}

static bool is_own_key(const struct keyring *keyring, const char *fingerprint)
{
    for (size_t i = 0; i < keyring_len(keyring); i++) {
        const struct keyring_entry *entry = keyring_at(keyring, i);

        if (entry->has_secret && entry->trust == KEYRING_OWN && !entry->is_revoked && !entry->is_disabled &&
            strcmp(entry->fingerprint, fingerprint) == 0)
            return true;
    }
    return false;
}

static bool is_own_certificate(const struct crypto_smime *smime, const char *fingerprint)
{
    const struct keyring_certificate *found = NULL;

    if (smime != NULL && smime->certificates != NULL)
        found = keyring_certificates_find(smime->certificates, fingerprint);
    return found != NULL && found->key_place[0] != '\0' && found->revoked == 0;
}

/* Certificates last for a year or two, and what was saved with one is the account's own for ever: whether it is good
   today does not matter, as long as nobody else may have its key. */
static bool is_sound(enum crypto_signature_state state)
{
    return state == CRYPTO_SIG_GOOD || state == CRYPTO_SIG_EXPIRED || state == CRYPTO_SIG_UNTRUSTED;
}

static bool is_by_own_key(const struct opening *opening)
{
    const struct crypto_signature *signature = &opening->signatures[0];

    if (opening->signatures_len != 1 || !is_sound(signature->state))
        return false;
    return signature->format == KEYRING_SMIME ? is_own_certificate(opening->options->smime, signature->fingerprint)
                                              : is_own_key(opening->options->keyring, signature->fingerprint);
}

/* The outermost layer is encrypted, one sound signature of an own key covers it wholly, and its payload has the mark
   (design 1.2.7). The mark alone says nothing: anybody can encrypt to a public key. */
static bool is_own_copy(const struct opening *opening, struct span payload)
{
    if (!opening->is_outermost_encrypted || opening->encrypted_len != 1 || !crypto_own_has_mark(payload))
        return false;
    return opening->decided != NULL ? opening->decided->is_own : is_by_own_key(opening);
}

enum err open_find_own(struct opening *opening)
{
    struct span payload = mime_part_whole(opening->part, opening->bytes);
    enum err result;

    if (!is_own_copy(opening, payload))
        return ERR_OK;
    result = crypto_own_unwrap(payload, &opening->own);
    opening->result->decision.is_own = result == ERR_OK;
    if (result == ERR_OK)
        return ERR_END;
    return result == ERR_MALFORMED ? ERR_OK : result;
}

static void clear_verdict(struct crypto_verdict *verdict)
{
    *verdict = (struct crypto_verdict){.has_integrity = true, .at = verdict->at};
}

/* Whether what is shown is what was encrypted. */
static void judge_integrity(struct opening *opening)
{
    const struct open_unproven *unproven = &opening->unproven;

    opening->result->decision.is_text_alone = unproven->is_there && !unproven->is_proven;
    opening->result->verdict.has_integrity = !unproven->is_there || (unproven->is_proven && !unproven->is_weak);
    if (unproven->is_weak)
        open_give_reason(opening, "the message is encrypted with a cipher that is too weak");
    else if (opening->result->decision.is_text_alone)
        open_give_reason(opening, "nothing shows that the encrypted message was not changed: only its text is shown");
}

/* Fields that could have been changed replace no outer ones, and their From is nobody's word: what is signed is then
   judged for the outer one. It proves no more for that. */
static void drop_unproven_header(struct opening *opening, struct crypto_header_merge *merge)
{
    struct crypto_verdict *verdict = &opening->result->verdict;

    if (!opening->unproven.is_there || opening->unproven.is_proven || merge->protection == CRYPTO_HEADER_UNPROTECTED)
        return;
    *merge = (struct crypto_header_merge){.outer = merge->outer, .authserv_id = merge->authserv_id};
    *verdict = (struct crypto_verdict){
        .encryption = verdict->encryption, .has_integrity = verdict->has_integrity, .at = verdict->at};
    judge_author(opening, merge);
    opening->unproven.is_proven = false;
    opening->result->decision.keeps_outer_header = true;
}

enum err open_judge(struct opening *opening, struct crypto_header_merge *merge)
{
    enum err result;

    if (opening->result->decision.is_own) {
        clear_verdict(&opening->result->verdict);
        return ERR_OK;
    }
    result = find_header(opening, merge);
    if (result != ERR_OK)
        return result;
    judge_author(opening, merge);
    drop_unproven_header(opening, merge);
    judge_integrity(opening);
    return look_for_parts(opening);
}

enum err open_follow(struct opening *opening, struct crypto_header_merge *merge)
{
    opening->result->verdict = opening->decided->verdict;
    opening->result->decision.is_text_alone = opening->decided->is_text_alone;
    opening->is_header_signed = opening->decided->is_header_signed;
    opening->result->decision.keeps_outer_header = opening->decided->keeps_outer_header;
    merge->keeps_outer_from = opening->decided->keeps_outer_from;
    return opening->decided->keeps_outer_header ? ERR_OK : find_header(opening, merge);
}

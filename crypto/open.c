#include "crypto/open_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "crypto/attached.h"
#include "crypto/open_view.h"
#include "crypto/own.h"
#include "mime/field.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

void open_give_reason(const struct opening *opening, const char *reason)
{
    if (opening->result->reason[0] == '\0')
        snprintf(opening->result->reason, sizeof(opening->result->reason), "%s", reason);
}

/* The message as it came; for a signed one whose outer header was changed on the way, with the signed fields. */
static enum err show_as_it_came(struct opening *opening, const struct crypto_header_merge *merge, struct buf *out)
{
    bool is_same = true;
    enum err result = ERR_OK;

    if (merge->protection != CRYPTO_HEADER_UNPROTECTED)
        result = crypto_header_is_same(merge, &is_same);
    if (result == ERR_OK && is_same) {
        result = crypto_remove_verdicts(merge->outer, merge->authserv_id, out);
    } else if (result == ERR_OK) {
        opening->result->is_changed = true;
        result = crypto_header_merge(merge, out);
        if (result == ERR_OK)
            result = crypto_header_add_structural(merge->outer, false, out);
        if (result == ERR_OK)
            result = buf_add_string(out, "\r\n");
    }
    return result == ERR_OK ? buf_add_span(out, mime_part_body(opening->tree->root, opening->message)) : result;
}

static enum err show_decrypted(struct opening *opening, const struct crypto_header_merge *merge, struct buf *out)
{
    bool is_payload = opening->shown == opening->part;
    enum err result;

    opening->result->is_changed = true;
    result = crypto_header_merge(merge, out);
    if (result == ERR_OK && opening->is_inline)
        return crypto_view_add_inline(opening->header, opening->bytes, out);
    if (result == ERR_OK && opening->result->decision.is_text_alone)
        return crypto_view_add_text_alone(opening->shown, opening->bytes, out);
    if (result != ERR_OK)
        return result;
    /* The structural fields are those of what is shown; the rest came from the payload's header, if that is protected.
     */
    result = crypto_header_add_structural(mime_part_header(opening->shown, opening->bytes),
                                          is_payload && merge->protection != CRYPTO_HEADER_UNPROTECTED, out);
    if (result == ERR_OK)
        result = buf_add_string(out, "\r\n");
    return result == ERR_OK ? crypto_view_add_body(opening->shown, opening->bytes, is_payload, out) : result;
}

/* `message` less the verdict fields of its header, wherever that may end. */
static enum err show_bytes(struct span message, const char *authserv_id, struct buf *out)
{
    struct mime_field field;
    size_t at = 0;
    enum err result;

    while (mime_field_next(message, &at, &field))
        continue;
    result = crypto_remove_verdicts(span_slice(message, 0, at), authserv_id, out);
    return result == ERR_OK ? buf_add_span(out, span_skip(message, at)) : result;
}

static enum err show(struct opening *opening, const struct crypto_header_merge *merge, struct buf *view)
{
    const struct crypto_verdict *verdict = &opening->result->verdict;
    bool has_verdict = verdict->signature != CRYPTO_SIG_NONE || verdict->encryption != CRYPTO_ENC_NONE;
    enum err result = ERR_OK;

    if (opening->result->decision.is_own) {
        opening->result->is_changed = true;
        return show_bytes(buf_span(&opening->own), merge->authserv_id, view);
    }
    /* A message without any protection is not privyseal's: nothing is added to it (design 1.2.4). */
    if (has_verdict)
        result = crypto_view_add_verdict(verdict, merge->authserv_id, view);
    if (result != ERR_OK)
        return result;
    return opening->decrypted_len > 0 ? show_decrypted(opening, merge, view) : show_as_it_came(opening, merge, view);
}

static void opening_fini(struct opening *opening)
{
    for (size_t i = 0; i < opening->decrypted_len; i++) {
        mime_tree_free(&opening->decrypted[i].tree);
        crypto_openpgp_opened_fini(&opening->decrypted[i].opened);
    }
    keyring_free(&opening->certificates);
    buf_fini(&opening->own);
    mime_tree_free(&opening->tree);
}

static enum err open_message(struct opening *opening, const char *authserv_id, struct buf *view)
{
    struct crypto_header_merge merge = {.outer = mime_part_header(opening->tree->root, opening->message),
                                        .authserv_id = authserv_id};
    struct crypto_decision *decision = &opening->result->decision;
    enum err result;

    opening->bytes = opening->message;
    opening->part = opening->shown = opening->tree->root;
    result = open_peel(opening);
    if (result != ERR_OK)
        return result;
    result = opening->decided == NULL ? open_judge(opening, &merge) : open_follow(opening, &merge);
    if (result != ERR_OK)
        return result;
    decision->layers = (uint32_t)opening->decrypted_len;
    decision->keeps_outer_from = merge.keeps_outer_from;
    decision->is_header_signed = opening->is_header_signed;
    return show(opening, &merge, view);
}

/* A message beyond the limits of mime/part.h: as it came, and nothing is said of it. */
static enum err show_unread(struct opening *opening, const char *authserv_id, struct buf *view)
{
    open_give_reason(opening, "the message has too many parts or too long a header");
    opening->result->decision.is_unread = true;
    return show_bytes(opening->message, authserv_id, view);
}

/* Gossip counts only out of what was encrypted as a whole, and could not have been changed. */
static enum err hear(const struct opening *opening)
{
    const struct crypto_open_options *options = opening->options;
    const struct crypto_verdict *verdict = &opening->result->verdict;
    struct span header;
    enum err result;

    if (options->heard == NULL || opening->decided != NULL || opening->tree == NULL || opening->result->decision.is_own)
        return ERR_OK;
    header = mime_part_header(opening->tree->root, opening->message);
    result = crypto_heard_add(options->hearer, header, options->heard);
    if (result == ERR_OK && opening->encrypted_len > 0 && opening->is_outermost_encrypted && !opening->is_inline &&
        verdict->has_integrity &&
        (verdict->encryption == CRYPTO_ENC_OPENPGP || verdict->encryption == CRYPTO_ENC_SMIME))
        result = crypto_heard_gossip(options->hearer, opening->header, header, options->heard);
    if (result != ERR_LIMIT)
        return result;
    log_warning("a message tells of more keys than are taken of one");
    return ERR_OK;
}

/* Keys are taken of nothing but what a correspondent's good signature is over. */
static enum err find_attached(const struct opening *opening)
{
    const struct crypto_verdict *verdict = &opening->result->verdict;
    struct buf *attached = opening->options->attached;

    if (attached == NULL || opening->decided != NULL || opening->tree == NULL ||
        verdict->signature != CRYPTO_SIG_GOOD || verdict->trust == KEYRING_OWN || !verdict->has_integrity ||
        opening->is_inline || opening->is_clearsigned || opening->result->decision.is_text_alone)
        return ERR_OK;
    return crypto_attached_add(opening->part, opening->bytes, attached);
}

static bool is_too_large(const struct opening *opening)
{
    const struct crypto_decision *decided = opening->decided;

    if (decided == NULL)
        return opening->options->is_too_large;
    return decided->is_unread && decided->verdict.encryption == CRYPTO_ENC_FAILED;
}

/* A message that holds more than can be shown: as it came, with that verdict. */
static enum err show_too_large(struct opening *opening, const char *authserv_id, struct buf *view)
{
    struct crypto_verdict *verdict = &opening->result->verdict;
    enum err result;

    verdict->encryption = CRYPTO_ENC_FAILED;
    if (opening->decided != NULL)
        *verdict = opening->decided->verdict;
    open_give_reason(opening, "what the message holds is too large");
    opening->result->decision.is_unread = true;
    result = crypto_view_add_verdict(verdict, authserv_id, view);
    return result == ERR_OK ? show_bytes(opening->message, authserv_id, view) : result;
}

static enum err take_digest(struct span view, uint8_t digest_out[32])
{
    bool is_done = EVP_Digest(view.ptr, view.len, digest_out, NULL, EVP_sha256(), NULL) == 1;

    return is_done ? ERR_OK : log_failure(ERR_INTERNAL, "the digest of a view");
}

/* Completes the decision; or compares the view with what it was when it was decided. */
static enum err decide(const struct opening *opening, const char *authserv_id, struct span view)
{
    struct crypto_opened *opened = opening->result;
    struct crypto_decision *decision = &opened->decision;
    enum err result = take_digest(view, decision->digest);

    if (result != ERR_OK)
        return result;
    decision->verdict = opened->verdict;
    decision->is_changed = opened->is_changed;
    decision->size = view.len;
    if (!span_copy(span_of(authserv_id), decision->authserv_id, sizeof(decision->authserv_id)))
        return log_failure(ERR_INTERNAL, "the name for Authentication-Results");
    /* With a verdict it has a field more. */
    opened->is_plain = span_is_equal(view, opening->message);
    if (opening->decided != NULL && (opening->decided->size != decision->size ||
                                     memcmp(opening->decided->digest, decision->digest, sizeof(decision->digest)) != 0))
        return log_failure(ERR_DECRYPT, "a view that is made again differs from what it was");
    return ERR_OK;
}

enum err crypto_open(struct keyring_gpg *gpg, const struct crypto_open_options *options, struct span message,
                     struct buf *view_out, struct crypto_opened *opened_out)
{
    struct opening opening = {
        .gpg = gpg, .options = options, .decided = options->decided, .message = message, .result = opened_out};
    const char *authserv_id = options->authserv_id;
    size_t len_before = view_out->len;
    enum err result;

    /* The name is part of the view: it stays what it was. */
    if (opening.decided != NULL)
        authserv_id = opening.decided->authserv_id[0] != '\0' ? opening.decided->authserv_id : NULL;
    memset(opened_out, 0, sizeof(*opened_out));
    buf_init_secret(&opening.own, options->output_max > SIZE_MAX ? SIZE_MAX : (size_t)options->output_max);
    opened_out->verdict.has_integrity = true;
    opened_out->verdict.at = clock_now();
    result = mime_parse(message, MIME_LIMITS_DEFAULT, &opening.tree);
    if (is_too_large(&opening) && (result == ERR_OK || result == ERR_LIMIT))
        result = show_too_large(&opening, authserv_id, view_out);
    else if (result == ERR_OK)
        result = open_message(&opening, authserv_id, view_out);
    else if (result == ERR_LIMIT)
        result = show_unread(&opening, authserv_id, view_out);
    if (result == ERR_OK)
        result = decide(&opening, authserv_id, span_skip(buf_span(view_out), len_before));
    if (result == ERR_OK)
        result = hear(&opening);
    if (result == ERR_OK)
        result = find_attached(&opening);
    if (result != ERR_OK) {
        buf_truncate(view_out, len_before);
        crypto_session_keys_fini(&opened_out->session_keys);
        crypto_learnt_fini(&opened_out->learnt);
    }
    opening_fini(&opening);
    return result;
}

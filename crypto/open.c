#include "crypto/open.h"

#include "base/clock.h"
#include "crypto/author.h"
#include "crypto/open_layer.h"
#include "crypto/open_view.h"
#include "crypto/packets.h"
#include "mime/field.h"

#include <stdio.h>
#include <string.h>

#define LAYERS_MAX 16     /* whatever the options say */
#define SIGNATURES_MAX 16 /* of all layers together */

/* What came out of one encrypted layer. */
struct decrypted {
    struct crypto_openpgp_opened opened;
    struct mime_tree *tree; /* of opened.text; NULL for inline text */
};

struct opening {
    struct keyring_gpg *gpg;
    const struct crypto_open_options *options;
    struct span message;
    struct mime_tree *tree;
    struct decrypted decrypted[LAYERS_MAX];
    size_t decrypted_len;
    struct crypto_signature signatures[SIGNATURES_MAX];
    size_t signatures_len;
    struct span bytes;             /* what `part` and `shown` are slices of */
    const struct mime_part *part;  /* where peeling has come to: in the end the payload */
    const struct mime_part *shown; /* what the view shows the body of: the content of the last encrypted layer */
    struct span header;            /* of `part`; stays so when the text of inline PGP has taken its place */
    bool is_inline, is_clearsigned, is_header_signed;
    struct crypto_opened *result;
};

static void give_reason(const struct opening *opening, const char *reason)
{
    if (opening->result->reason[0] == '\0')
        snprintf(opening->result->reason, sizeof(opening->result->reason), "%s", reason);
}

/* Bad data ends in a verdict; only what says nothing of the data is an error. */
static bool is_about_data(enum err result)
{
    return result == ERR_DECRYPT || result == ERR_MALFORMED || result == ERR_LIMIT || result == ERR_TOO_BIG;
}

static void keep_signatures(struct opening *opening, const struct crypto_openpgp_opened *opened)
{
    for (size_t i = 0; i < opened->signatures_len && opening->signatures_len < SIGNATURES_MAX; i++)
        opening->signatures[opening->signatures_len++] = opened->signatures[i];
}

static bool has_valid_signature(const struct opening *opening)
{
    for (size_t i = 0; i < opening->signatures_len; i++)
        if (opening->signatures[i].state == CRYPTO_SIG_GOOD)
            return true;
    return false;
}

static enum err verify_layer(struct opening *opening, const struct crypto_layer *layer)
{
    struct crypto_openpgp_opened opened = {0};
    enum err result = crypto_openpgp_verify(opening->gpg, layer->signature, layer->content, &opened);

    if (result == ERR_OK && opened.signatures_len > 0) {
        keep_signatures(opening, &opened);
    } else if (result == ERR_OK || is_about_data(result) || result == ERR_ENGINE) {
        /* A signature that the engine chokes on is no better than a wrong one; an error here would keep the message
           from ever being shown. */
        if (opening->signatures_len < SIGNATURES_MAX)
            opening->signatures[opening->signatures_len++] = (struct crypto_signature){.state = CRYPTO_SIG_BAD};
        give_reason(opening, "the signature cannot be read");
        result = ERR_OK;
    }
    crypto_openpgp_opened_fini(&opened);
    return result;
}

/* Notes that this layer cannot be opened; the view then ends at the layer before it, or is the message as it came. */
static enum err fail_layer(struct opening *opening, const char *reason)
{
    if (opening->decrypted_len == 0)
        opening->result->verdict.encryption = CRYPTO_ENC_FAILED;
    give_reason(opening, reason);
    return ERR_END;
}

static enum err decrypt_layer(struct opening *opening, const struct crypto_layer *layer)
{
    struct decrypted *next = &opening->decrypted[opening->decrypted_len];
    size_t text_max = opening->options->output_max > SIZE_MAX ? SIZE_MAX : (size_t)opening->options->output_max;
    enum err result;

    if (crypto_cipher_has_password(layer->cipher))
        return fail_layer(opening, "the message is encrypted with a password");
    result = crypto_openpgp_decrypt(opening->gpg, layer->cipher, text_max, &next->opened);
    if (result == ERR_OK && layer->kind == CRYPTO_LAYER_ENCRYPTED)
        result = mime_parse(buf_span(&next->opened.text), MIME_LIMITS_DEFAULT, &next->tree);
    if (result != ERR_OK) {
        crypto_openpgp_opened_fini(&next->opened);
        next->tree = NULL;
        return is_about_data(result) ? fail_layer(opening, "the message could not be decrypted") : result;
    }
    opening->decrypted_len++;
    opening->result->verdict.encryption = CRYPTO_ENC_OPENPGP;
    keep_signatures(opening, &next->opened);
    opening->bytes = buf_span(&next->opened.text);
    opening->is_inline = layer->kind == CRYPTO_LAYER_INLINE;
    if (opening->is_inline)
        return ERR_END;
    opening->part = opening->shown = next->tree->root;
    opening->header = mime_part_header(opening->part, opening->bytes);
    return ERR_OK;
}

/* Peels one layer. ERR_END: there is none, or none further that can be peeled. */
static enum err peel(struct opening *opening)
{
    struct crypto_layer layer;
    enum err result = crypto_layer_find(opening->part, opening->bytes, &layer);

    if (result != ERR_OK)
        return result;
    opening->header = mime_part_header(opening->part, opening->bytes);
    switch (layer.kind) {
    case CRYPTO_LAYER_ENCRYPTED:
    case CRYPTO_LAYER_INLINE:
        result = decrypt_layer(opening, &layer);
        break;
    case CRYPTO_LAYER_SIGNED:
        result = verify_layer(opening, &layer);
        opening->part = layer.signed_part;
        opening->header = mime_part_header(opening->part, opening->bytes);
        opening->is_header_signed = has_valid_signature(opening);
        break;
    case CRYPTO_LAYER_CLEARSIGNED:
        result = verify_layer(opening, &layer);
        opening->is_clearsigned = true;
        result = result == ERR_OK ? ERR_END : result;
        break;
    case CRYPTO_LAYER_SMIME_ENCRYPTED:
        result = fail_layer(opening, "S/MIME cannot be opened by this engine");
        break;
    case CRYPTO_LAYER_SMIME_SIGNED:
        if (opening->signatures_len < SIGNATURES_MAX)
            opening->signatures[opening->signatures_len++] = (struct crypto_signature){.state = CRYPTO_SIG_UNKNOWN_KEY};
        give_reason(opening, "S/MIME signatures cannot be checked by this engine");
        result = ERR_END;
        break;
    default:
        result = ERR_END;
        break;
    }
    crypto_layer_fini(&layer);
    return result;
}

static enum err peel_all(struct opening *opening)
{
    unsigned layers_max = opening->options->layers_max < LAYERS_MAX ? opening->options->layers_max : LAYERS_MAX;
    enum err result = ERR_OK;

    for (unsigned layers = 0; result == ERR_OK && layers < layers_max; layers++)
        result = peel(opening);
    if (result == ERR_OK)
        give_reason(opening, "there are too many layers");
    return result == ERR_END ? ERR_OK : result;
}

/* The summary of all signatures for one author: the first good one, else the outermost. */
static void judge(const struct opening *opening, const char *author, struct crypto_verdict *verdict_out)
{
    struct crypto_verdict first = *verdict_out;

    for (size_t i = 0; i < opening->signatures_len; i++) {
        struct crypto_verdict verdict = *verdict_out;

        crypto_verdict_judge(&opening->signatures[i], author, opening->options->keyring, opening->options->least,
                             &verdict);
        if (i == 0 || (verdict.signature == CRYPTO_SIG_GOOD && first.signature != CRYPTO_SIG_GOOD))
            first = verdict;
    }
    *verdict_out = first;
}

/* True if the header of the payload came out of a layer of MIME: inline PGP covers no header (design 1.1.3). */
static bool is_header_protected(const struct opening *opening)
{
    return opening->decrypted_len > (opening->is_inline ? 1 : 0) || opening->is_header_signed;
}

/* Decides which header counts, who the author is, and what the signatures say of that author. */
static void judge_author(struct opening *opening, struct crypto_header_merge *merge)
{
    struct crypto_verdict *verdict = &opening->result->verdict;
    bool is_text_alone = opening->is_inline || opening->is_clearsigned, has_inner, is_same;
    char outer[MIME_ADDR_SIZE], inner[MIME_ADDR_SIZE];

    if (is_header_protected(opening))
        merge->inner = opening->header;
    merge->protection = crypto_header_protection(merge->inner);
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
    give_reason(opening, "the author inside is another than outside");
    if (verdict->signature == CRYPTO_SIG_GOOD)
        return;
    if (verdict->signature == CRYPTO_SIG_UNTRUSTED)
        verdict->signature = CRYPTO_SIG_MISMATCH;
    verdict->signer[0] = '\0';
    verdict->trust = KEYRING_NEVER;
}

/* What stands beside other parts is shown as it came, never opened (design 1.1.3). */
static void look_for_parts(struct opening *opening)
{
    struct crypto_verdict *verdict = &opening->result->verdict;
    bool has_encrypted, has_signed;

    if (opening->is_inline || opening->is_clearsigned || verdict->encryption == CRYPTO_ENC_FAILED)
        return;
    crypto_layer_scan(opening->part, opening->bytes, &has_encrypted, &has_signed);
    if (has_encrypted && verdict->encryption == CRYPTO_ENC_NONE)
        verdict->encryption = CRYPTO_ENC_PARTIAL;
    if (has_signed && opening->signatures_len == 0)
        verdict->signature = CRYPTO_SIG_PARTIAL;
    if (has_encrypted || has_signed)
        give_reason(opening, "parts of the message are protected by themselves");
}

/* The message as it came; for a signed one whose outer header was changed on the way, with the signed fields. */
static enum err show_as_it_came(struct opening *opening, const struct crypto_header_merge *merge, struct buf *out)
{
    enum err result;

    if (merge->protection == CRYPTO_HEADER_UNPROTECTED || crypto_header_is_same(merge)) {
        result = crypto_remove_verdicts(merge->outer, merge->authserv_id, out);
    } else {
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
    if (result != ERR_OK || opening->is_inline)
        return result == ERR_OK ? crypto_view_add_inline(opening->header, opening->bytes, out) : result;
    result = crypto_header_add_structural(mime_part_header(opening->shown, opening->bytes),
                                          is_payload && merge->protection != CRYPTO_HEADER_UNPROTECTED, out);
    if (result == ERR_OK)
        result = buf_add_string(out, "\r\n");
    return result == ERR_OK ? crypto_view_add_body(opening->shown, opening->bytes, is_payload, out) : result;
}

static enum err show(struct opening *opening, const struct crypto_header_merge *merge, struct buf *view)
{
    const struct crypto_verdict *verdict = &opening->result->verdict;
    bool has_verdict = verdict->signature != CRYPTO_SIG_NONE || verdict->encryption != CRYPTO_ENC_NONE;
    enum err result = ERR_OK;

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
    mime_tree_free(&opening->tree);
}

static enum err open_message(struct opening *opening, struct buf *view)
{
    struct crypto_header_merge merge = {.outer = mime_part_header(opening->tree->root, opening->message),
                                        .authserv_id = opening->options->authserv_id};
    size_t len_before = view->len;
    enum err result;

    opening->bytes = opening->message;
    opening->part = opening->shown = opening->tree->root;
    result = peel_all(opening);
    if (result != ERR_OK)
        return result;
    judge_author(opening, &merge);
    look_for_parts(opening);
    result = show(opening, &merge, view);
    if (result != ERR_OK)
        buf_truncate(view, len_before);
    return result;
}

/* A message beyond the limits of mime/part.h: as it came, and nothing is said of it. */
static enum err show_unread(struct opening *opening, struct buf *view)
{
    struct mime_field field;
    size_t at = 0, len_before = view->len;
    enum err result;

    while (mime_field_next(opening->message, &at, &field))
        continue;
    give_reason(opening, "the message has too many parts or too long a header");
    result = crypto_remove_verdicts(span_slice(opening->message, 0, at), opening->options->authserv_id, view);
    if (result == ERR_OK)
        result = buf_add_span(view, span_skip(opening->message, at));
    if (result != ERR_OK)
        buf_truncate(view, len_before);
    return result;
}

enum err crypto_open(struct keyring_gpg *gpg, const struct crypto_open_options *options, struct span message,
                     struct buf *view_out, struct crypto_opened *opened_out)
{
    struct opening opening = {.gpg = gpg, .options = options, .message = message, .result = opened_out};
    enum err result;

    memset(opened_out, 0, sizeof(*opened_out));
    opened_out->verdict.has_integrity = true;
    opened_out->verdict.at = clock_now();
    result = mime_parse(message, MIME_LIMITS_DEFAULT, &opening.tree);
    if (result == ERR_OK)
        result = open_message(&opening, view_out);
    else if (result == ERR_LIMIT)
        result = show_unread(&opening, view_out);
    opening_fini(&opening);
    return result;
}

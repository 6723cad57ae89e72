#include "crypto/open_internal.h"

#include "base/log.h"
#include "crypto/open_layer.h"
#include "crypto/packets.h"

#include <string.h>

#define HEADER_ROOM ((uint64_t)4 << 20) /* what the header of a view may take */

bool open_is_about_data(enum err result)
{
    return result == ERR_DECRYPT || result == ERR_MALFORMED || result == ERR_LIMIT || result == ERR_TOO_BIG;
}

void open_keep_signatures(struct opening *opening, const struct crypto_signature *signatures, size_t len)
{
    const size_t room = OPEN_SIGNATURES_MAX - opening->signatures_len;
    /* The weakest of a layer's signers by S/MIME counts, and it may be one for which there is no room. */
    const bool is_bad = len > room && signatures[0].format == KEYRING_SMIME;

    for (size_t i = 0; i < len && i < room; i++) {
        struct crypto_signature *kept = &opening->signatures[opening->signatures_len++];
        *kept = signatures[i];
        kept->layer = opening->signed_layers;
        if (is_bad)
            kept->state = CRYPTO_SIG_BAD;
    }
    if (is_bad)
        open_give_reason(opening, "the message has more signatures than are looked at");
    opening->signed_layers++;
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
    enum err result;

    /* What was decided stays, whatever has become of keys since. */
    if (opening->decided != NULL)
        return ERR_OK;
    result = crypto_openpgp_verify(opening->gpg, layer->signature, layer->content, &opened);

    if (result == ERR_OK && opened.signatures_len > 0) {
        open_keep_signatures(opening, opened.signatures, opened.signatures_len);
    } else if (result == ERR_OK || open_is_about_data(result) || result == ERR_ENGINE) {
        /* A signature that the engine chokes on is no better than a wrong one; an error here would keep the message
           from ever being shown. */
        static const struct crypto_signature bad = {.state = CRYPTO_SIG_BAD};
        open_keep_signatures(opening, &bad, 1);
        open_give_reason(opening, "the signature cannot be read");
        result = ERR_OK;
    }
    crypto_openpgp_opened_fini(&opened);
    return result;
}

void open_note_signed(struct opening *opening)
{
    opening->is_header_signed = has_valid_signature(opening);
}

void open_enter_signed(struct opening *opening, const struct crypto_layer *layer)
{
    opening->part = layer->signed_part;
    opening->header = mime_part_header(opening->part, opening->bytes);
    /* What stands beside it anybody could have changed. */
    if (opening->unproven.is_covering)
        opening->shown = opening->part;
    open_note_signed(opening);
}

size_t open_text_max(const struct opening *opening)
{
    /* The view of it must fit, too: twice as long if all line ends were bare, and its header. */
    uint64_t view_max = opening->options->output_max;
    uint64_t text_max = view_max > 4 * HEADER_ROOM ? (view_max - HEADER_ROOM) / 2 : view_max;

    /* All layers together may be twice as large as one. */
    uint64_t left = 2 * text_max;
    for (size_t i = 0; i < opening->decrypted_len; i++)
        left -= opening->decrypted[i].opened.text.len < left ? opening->decrypted[i].opened.text.len : left;
    if (text_max > left)
        text_max = left;
    return text_max > SIZE_MAX ? SIZE_MAX : (size_t)text_max;
}

enum err open_enter_text(struct opening *opening)
{
    struct open_decrypted *next = &opening->decrypted[opening->decrypted_len];
    enum err result = mime_parse(buf_span(&next->opened.text), MIME_LIMITS_DEFAULT, &next->tree);

    if (result != ERR_OK)
        return result;
    opening->decrypted_len++;
    opening->bytes = buf_span(&next->opened.text);
    opening->part = opening->shown = next->tree->root;
    opening->header = mime_part_header(opening->part, opening->bytes);
    return ERR_OK;
}

enum err open_fail_layer(struct opening *opening, const char *reason)
{
    if (opening->encrypted_len == 0)
        opening->result->verdict.encryption = CRYPTO_ENC_FAILED;
    open_give_reason(opening, reason);
    return ERR_END;
}

/* As the message was opened the first time, or as it was then. */
static enum err decrypt(struct opening *opening, struct span cipher, struct crypto_openpgp_opened *opened)
{
    const struct crypto_session_keys *keys = opening->options->session_keys;
    size_t number = opening->decrypted_len;
    struct crypto_openpgp_how how = {.text_max = open_text_max(opening), .asks_person = opening->options->asks_person};
    struct crypto_session_keys *kept = &opening->result->session_keys;
    enum err result;

    if (opening->decided != NULL && keys != NULL && number < keys->len && !crypto_session_key_is_smime(keys, number))
        how.session_key = keys->keys[number];
    result = crypto_openpgp_decrypt(opening->gpg, cipher, &how, opened);
    if (result != ERR_OK)
        return result;
    memcpy(kept->keys[number],
           how.session_key != NULL && how.session_key[0] != '\0' ? how.session_key : opened->session_key,
           CRYPTO_SESSION_KEY_SIZE);
    kept->len = number + 1;
    return ERR_OK;
}

/* What could not be opened then is not tried now; what could, must be. */
static enum err fail_decided(const struct opening *opening, enum err result)
{
    return open_is_about_data(result)
               ? log_failure(ERR_DECRYPT, "layer %zu of a view that is made again", opening->decrypted_len + 1)
               : result;
}

static enum err decrypt_layer(struct opening *opening, const struct crypto_layer *layer)
{
    struct open_decrypted *next = &opening->decrypted[opening->decrypted_len];
    enum err result;

    if (opening->decided != NULL && opening->decrypted_len >= opening->decided->layers)
        return ERR_END;
    if (opening->decided == NULL && crypto_cipher_has_password(layer->cipher))
        return open_fail_layer(opening, "the message is encrypted with a password");
    result = decrypt(opening, layer->cipher, &next->opened);
    if (result == ERR_OK && layer->kind == CRYPTO_LAYER_ENCRYPTED)
        result = open_enter_text(opening);
    if (result != ERR_OK) {
        crypto_openpgp_opened_fini(&next->opened);
        opening->result->session_keys.len = opening->decrypted_len;
        if (opening->decided != NULL)
            return fail_decided(opening, result);
        return open_is_about_data(result) ? open_fail_layer(opening, "the message could not be decrypted") : result;
    }
    opening->encrypted_len++;
    opening->result->verdict.encryption = CRYPTO_ENC_OPENPGP;
    open_keep_signatures(opening, next->opened.signatures, next->opened.signatures_len);
    opening->is_inline = layer->kind == CRYPTO_LAYER_INLINE;
    if (!opening->is_inline)
        return ERR_OK;
    opening->decrypted_len++;
    opening->bytes = buf_span(&next->opened.text);
    return ERR_END;
}

/* Of what CBC gave nothing is sure but what a signature covers, and that must be all of it, compressed or not. */
static void note_cover(struct opening *opening, enum crypto_layer_kind kind)
{
    struct open_unproven *unproven = &opening->unproven;
    bool is_signed =
        kind == CRYPTO_LAYER_SIGNED || kind == CRYPTO_LAYER_SMIME_SIGNED || kind == CRYPTO_LAYER_SMIME_OPAQUE;

    unproven->is_covering = unproven->may_be_covered && is_signed;
    unproven->is_covered = unproven->is_covered || unproven->is_covering;
    if (unproven->is_covering)
        unproven->covered_by = opening->signed_layers;
    unproven->may_be_covered = unproven->may_be_covered && kind == CRYPTO_LAYER_SMIME_COMPRESSED;
}

/* Peels one layer. ERR_END: there is none, or none further that can be peeled. */
static enum err peel(struct opening *opening)
{
    struct crypto_layer layer;
    enum err result = crypto_layer_find(opening->part, opening->bytes, &layer);

    if (result != ERR_OK)
        return result;
    opening->header = mime_part_header(opening->part, opening->bytes);
    note_cover(opening, layer.kind);
    switch (layer.kind) {
    case CRYPTO_LAYER_ENCRYPTED:
    case CRYPTO_LAYER_INLINE:
        result = decrypt_layer(opening, &layer);
        break;
    case CRYPTO_LAYER_SIGNED:
        result = verify_layer(opening, &layer);
        open_enter_signed(opening, &layer);
        break;
    case CRYPTO_LAYER_CLEARSIGNED:
        result = verify_layer(opening, &layer);
        opening->is_clearsigned = true;
        result = result == ERR_OK ? ERR_END : result;
        break;
    case CRYPTO_LAYER_SMIME_ENCRYPTED:
        result = open_smime_encrypted(opening, &layer);
        break;
    case CRYPTO_LAYER_SMIME_SIGNED:
        result = open_smime_signed(opening, &layer);
        break;
    case CRYPTO_LAYER_SMIME_OPAQUE:
        result = open_smime_opaque(opening, &layer);
        break;
    case CRYPTO_LAYER_SMIME_COMPRESSED:
        result = open_smime_compressed(opening, &layer);
        break;
    default:
        result = ERR_END;
        break;
    }
    crypto_layer_fini(&layer);
    return result;
}

enum err open_peel(struct opening *opening)
{
    unsigned layers_max =
        opening->options->layers_max < OPEN_LAYERS_MAX ? opening->options->layers_max : OPEN_LAYERS_MAX;
    enum err result = ERR_OK;

    for (unsigned layers = 0; result == ERR_OK && layers < layers_max; layers++) {
        result = peel(opening);
        /* What an own copy holds is a message as it was saved, whatever that is protected by. */
        if (layers == 0)
            opening->is_outermost_encrypted = opening->encrypted_len == 1;
        if (result == ERR_OK)
            result = open_find_own(opening);
    }
    if (result == ERR_OK)
        open_give_reason(opening, "there are too many layers");
    return result == ERR_END ? ERR_OK : result;
}

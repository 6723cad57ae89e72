/*
 * Layers of S/MIME: signed, with the text beside the signature or inside it; compressed; encrypted.
 */
#include "crypto/open_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "crypto/smime.h"
#include "crypto/smime_decrypt.h"

#include <string.h>

/* The first time signatures are checked; later it stays with what was found. */
static enum err verify(struct opening *opening, struct span cms, struct span content, bool is_inside)
{
    const struct crypto_smime *smime = opening->options->smime;
    struct crypto_smime_verified verified = {.signatures[0].state = CRYPTO_SIG_UNKNOWN_KEY, .len = 1};
    enum err result = ERR_OK;

    if (opening->decided != NULL)
        return ERR_OK;
    if (opening->certificates == NULL)
        result = keyring_new(&opening->certificates);
    if (smime == NULL || smime->anchors == NULL)
        verified.reason = "there are no trust anchors to check signatures by S/MIME";
    else if (result == ERR_OK)
        result = crypto_smime_verify(smime, cms, content, is_inside, clock_now(), opening->certificates,
                                     &opening->result->learnt, &verified);
    if (result == ERR_OK && verified.reason != NULL)
        open_give_reason(opening, verified.reason);
    if (result == ERR_OK)
        open_keep_signatures(opening, verified.signatures, verified.len);
    return result;
}

enum err open_smime_signed(struct opening *opening, const struct crypto_layer *layer)
{
    enum err result = verify(opening, layer->signature, layer->content, false);

    if (result == ERR_OK)
        open_enter_signed(opening, layer);
    return result;
}

/* Where there is a text to go on with, and it is not that of a layer that was not opened the first time. */
static bool may_enter(const struct opening *opening)
{
    return opening->decided == NULL || opening->decrypted_len < opening->decided->layers;
}

/* Takes the next text out of the layer, and goes on with it. ERR_END: there is none. */
static enum err take_text(struct opening *opening, struct span cms, enum err (*take)(struct span, struct buf *))
{
    struct open_decrypted *next = &opening->decrypted[opening->decrypted_len];
    struct crypto_session_keys *kept = &opening->result->session_keys;
    size_t number = opening->decrypted_len;
    enum err result;

    buf_init_secret(&next->opened.text, open_text_max(opening));
    result = take(cms, &next->opened.text);
    if (result == ERR_OK)
        result = open_enter_text(opening);
    if (result != ERR_OK) {
        crypto_openpgp_opened_fini(&next->opened);
        if (result != ERR_MALFORMED && result != ERR_LIMIT)
            return result;
        return opening->decided == NULL ? ERR_END : log_failure(ERR_DECRYPT, "a layer of a view that is made again");
    }
    /* It needs none; the next layer's has the next number. */
    kept->keys[number][0] = '\0';
    kept->len = number + 1;
    return ERR_OK;
}

enum err open_smime_opaque(struct opening *opening, const struct crypto_layer *layer)
{
    static const struct crypto_signature bad = {.state = CRYPTO_SIG_BAD};
    enum err result = may_enter(opening) ? take_text(opening, layer->cipher, crypto_smime_signed_text) : ERR_END;

    if (result == ERR_OK)
        result = verify(opening, layer->cipher, opening->bytes, true);
    if (result == ERR_END && opening->decided == NULL) {
        open_keep_signatures(opening, &bad, 1);
        open_give_reason(opening, "the signature cannot be read");
    }
    if (result == ERR_OK)
        open_note_signed(opening);
    return result;
}

enum err open_smime_compressed(struct opening *opening, const struct crypto_layer *layer)
{
    enum err result = may_enter(opening) ? take_text(opening, layer->cipher, crypto_smime_expand) : ERR_END;

    opening->compressed_len += result == ERR_OK;
    return result == ERR_END ? open_fail_layer(opening, "the message cannot be expanded") : result;
}

static enum err decrypt(struct opening *opening, struct span cms, struct open_decrypted *next,
                        struct crypto_smime_opened *opened)
{
    const struct crypto_session_keys *keys = opening->options->session_keys;
    size_t number = opening->decrypted_len;
    struct crypto_smime_how how = {.smime = opening->options->smime, .asks_person = opening->options->asks_person};
    enum err result;

    /* Whoever can change what CBC holds could have put it anywhere (design 1.1.2). */
    how.takes_cbc = opening->encrypted_len == 0 && opening->compressed_len == 0;
    if (opening->decided != NULL && keys != NULL && number < keys->len && crypto_session_key_is_smime(keys, number))
        how.session_key = keys->keys[number];
    buf_init_secret(&next->opened.text, open_text_max(opening));
    result = crypto_smime_decrypt(cms, &how, &next->opened.text, opened);
    return result == ERR_OK ? open_enter_text(opening) : result;
}

enum err open_smime_encrypted(struct opening *opening, const struct crypto_layer *layer)
{
    struct open_decrypted *next = &opening->decrypted[opening->decrypted_len];
    struct crypto_session_keys *kept = &opening->result->session_keys;
    size_t number = opening->decrypted_len;
    struct crypto_smime_opened opened;
    enum err result;

    if (!may_enter(opening))
        return ERR_END;
    if (opening->decided == NULL && crypto_smime_has_password(layer->cipher))
        return open_fail_layer(opening, "the message is encrypted with a password");
    result = decrypt(opening, layer->cipher, next, &opened);
    if (result == ERR_OK) {
        memcpy(kept->keys[number], opened.session_key, CRYPTO_SESSION_KEY_SIZE);
        kept->len = number + 1;
        opening->encrypted_len++;
        opening->result->verdict.encryption = CRYPTO_ENC_SMIME;
        if (!opened.is_authenticated)
            opening->unproven =
                (struct open_unproven){.is_there = true, .is_weak = opened.is_weak, .may_be_covered = true};
    } else {
        crypto_openpgp_opened_fini(&next->opened);
    }
    secret_wipe(&opened, sizeof(opened));
    if (result == ERR_OK || !open_is_about_data(result))
        return result;
    if (opening->decided != NULL)
        return log_failure(ERR_DECRYPT, "layer %zu of a view that is made again", number + 1);
    return open_fail_layer(opening, "the message could not be decrypted");
}

/*
 * Layers of S/MIME that need no key to be opened: signed, with the text beside the signature or inside it, and
 * compressed.
 */
#include "crypto/open_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "crypto/smime.h"

/* The first time signatures are checked; later it stays with what was found. */
static enum err verify(struct opening *opening, struct span cms, struct span content, bool is_inside)
{
    const struct crypto_smime *smime = opening->options->smime;
    struct crypto_signature signatures[CRYPTO_SMIME_SIGNERS_MAX] = {{.state = CRYPTO_SIG_UNKNOWN_KEY}};
    size_t len = 1;
    enum err result = ERR_OK;

    if (opening->decided != NULL)
        return ERR_OK;
    if (opening->certificates == NULL)
        result = keyring_new(&opening->certificates);
    if (result == ERR_OK && (smime == NULL || smime->anchors == NULL))
        open_give_reason(opening, "there are no trust anchors to check signatures by S/MIME");
    else if (result == ERR_OK)
        result = crypto_smime_verify(smime->anchors, cms, content, is_inside, clock_now(),
                                     opening->certificates, signatures, &len);
    if (result == ERR_OK)
        open_keep_signatures(opening, signatures, len);
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

    return result == ERR_END ? open_fail_layer(opening, "the message cannot be expanded") : result;
}

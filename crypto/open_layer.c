#include "crypto/open_layer.h"

#include "crypto/fields.h"
#include "crypto/packets.h"
#include "crypto/smime.h"
#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/param.h"

static enum err test_param(const struct mime_part *part, struct span bytes, const char *name, const char *wanted,
                           bool *is_it_out)
{
    return crypto_param_is(mime_part_header(part, bytes), name, wanted, is_it_out);
}

/* The decoded body of a leaf: borrowed if it is not encoded, else in `text`. */
static enum err decode_body(const struct mime_part *leaf, struct span bytes, struct buf *text, struct span *body_out)
{
    enum err result;

    *body_out = mime_part_body(leaf, bytes);
    if (leaf->encoding != MIME_BASE64 && leaf->encoding != MIME_QUOTED_PRINTABLE)
        return ERR_OK;
    buf_fini(text);
    buf_init_secret(text, body_out->len + 16);
    result = mime_decode(leaf->encoding, *body_out, text);
    *body_out = buf_span(text);
    return result;
}

/* multipart/encrypted of two parts; or what Exchange makes of it: multipart/mixed, with an empty text before the two.
 */
static enum err find_encrypted(const struct mime_part *part, struct span bytes, struct crypto_layer *layer)
{
    const struct mime_part *control = part->first_child, *data;
    bool is_mangled = mime_part_is(part, "multipart", "mixed");

    if (control == NULL || (!is_mangled && !mime_part_is(part, "multipart", "encrypted")))
        return ERR_OK;
    if (is_mangled) {
        if (!mime_part_is(control, "text", "plain") || span_trim(mime_part_body(control, bytes)).len > 0)
            return ERR_OK;
        control = control->next;
    }
    data = control != NULL ? control->next : NULL;
    if (data == NULL || data->next != NULL || !mime_part_is(control, "application", "pgp-encrypted") ||
        !mime_part_is(data, "application", "octet-stream") || data->kind != MIME_LEAF)
        return ERR_OK;
    layer->kind = CRYPTO_LAYER_ENCRYPTED;
    return decode_body(data, bytes, &layer->texts[0], &layer->cipher);
}

static bool is_smime_name(struct span name)
{
    return span_has_case_suffix(name, SPAN_LIT(".p7m")) || span_has_case_suffix(name, SPAN_LIT(".p7s")) ||
           span_has_case_suffix(name, SPAN_LIT(".p7z"));
}

/* application/octet-stream under a name that says what it is (RFC 8551 §3.2.1), as some programs send it. */
static enum err is_named_smime(const struct mime_part *part, struct span bytes, bool *is_it_out)
{
    static const char *const places[][2] = {{"Content-Type", "name"}, {"Content-Disposition", "filename"}};
    struct mime_field field;
    struct buf name;
    enum err result = ERR_OK;

    *is_it_out = false;
    if (!mime_part_is(part, "application", "octet-stream"))
        return ERR_OK;
    buf_init(&name, MIME_PARAM_MAX);
    for (size_t i = 0; i < 2 && !*is_it_out && result != ERR_MEMORY; i++) {
        buf_clear(&name);
        if (!mime_field_find(mime_part_header(part, bytes), places[i][0], &field))
            continue;
        result = mime_param_get(field.value, places[i][1], &name);
        *is_it_out = result == ERR_OK && is_smime_name(buf_span(&name));
    }
    buf_fini(&name);
    return result == ERR_MEMORY ? result : ERR_OK;
}

/* multipart/signed of two parts (RFC 1847 §2.1). */
static enum err find_signed(const struct mime_part *part, struct span bytes, struct crypto_layer *layer)
{
    const struct mime_part *content = part->first_child, *signature = content != NULL ? content->next : NULL;
    bool is_openpgp, is_named = false;
    enum err result;

    if (!mime_part_is(part, "multipart", "signed") || signature == NULL || signature->next != NULL)
        return ERR_OK;
    layer->content = mime_part_whole(content, bytes);
    layer->signed_part = content;
    result = test_param(part, bytes, "protocol", "application/pgp-signature", &is_openpgp);
    if (result == ERR_OK)
        result = is_named_smime(signature, bytes, &is_named);
    if (result != ERR_OK)
        return result;
    if (mime_part_is(signature, "application", "pgp-signature") && is_openpgp)
        layer->kind = CRYPTO_LAYER_SIGNED;
    else if (is_named || mime_part_is(signature, "application", "pkcs7-signature") ||
             mime_part_is(signature, "application", "x-pkcs7-signature"))
        layer->kind = CRYPTO_LAYER_SMIME_SIGNED;
    return layer->kind == CRYPTO_LAYER_NONE ? ERR_OK
                                            : decode_body(signature, bytes, &layer->texts[0], &layer->signature);
}

/* What it is, its content says; the type counts only for what cannot be read. */
static enum err judge_smime(const struct mime_part *part, struct span bytes, bool is_named, struct crypto_layer *layer)
{
    static const enum crypto_layer_kind kinds[] = {[CRYPTO_SMIME_SIGNED] = CRYPTO_LAYER_SMIME_OPAQUE,
                                                   [CRYPTO_SMIME_ENCRYPTED] = CRYPTO_LAYER_SMIME_ENCRYPTED,
                                                   [CRYPTO_SMIME_COMPRESSED] = CRYPTO_LAYER_SMIME_COMPRESSED};
    enum crypto_smime_kind kind = crypto_smime_kind(layer->cipher);
    bool is_certificates, is_signed = false;
    enum err result = test_param(part, bytes, "smime-type", "certs-only", &is_certificates);

    if (result != ERR_OK || is_certificates)
        return result;
    if (kind == CRYPTO_SMIME_NONE && !is_named)
        result = test_param(part, bytes, "smime-type", "signed-data", &is_signed);
    if (kind != CRYPTO_SMIME_NONE)
        layer->kind = kinds[kind];
    else if (!is_named)
        layer->kind = is_signed ? CRYPTO_LAYER_SMIME_OPAQUE : CRYPTO_LAYER_SMIME_ENCRYPTED;
    return result;
}

static enum err find_smime(const struct mime_part *part, struct span bytes, struct crypto_layer *layer)
{
    bool is_named;
    enum err result = is_named_smime(part, bytes, &is_named);

    if (result != ERR_OK || part->kind != MIME_LEAF ||
        !(is_named || mime_part_is(part, "application", "pkcs7-mime") ||
          mime_part_is(part, "application", "x-pkcs7-mime")))
        return result;
    result = decode_body(part, bytes, &layer->texts[0], &layer->cipher);
    return result == ERR_OK ? judge_smime(part, bytes, is_named, layer) : result;
}

/* Adds one line of clear-signed text as it was signed: without its dash escape, without blanks at its end, with CRLF
   between lines but not after the last (RFC 9580 §7.2). */
static enum err add_signed_line(struct span line, bool is_first, struct buf *out)
{
    enum err result = is_first ? ERR_OK : buf_add_string(out, "\r\n");

    if (span_has_prefix(line, SPAN_LIT("- ")))
        line = span_skip(line, 2);
    while (line.len > 0 && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t'))
        line.len--;
    return result == ERR_OK ? buf_add_span(out, line) : result;
}

/* Clear-signed text: BEGIN line, "Hash:" lines alone (anything else there would be shown and not signed), an empty
   line, dash-escaped lines, and one signature that ends the body (RFC 9580 §7). */
static enum err find_clearsigned(struct span body, struct crypto_layer *layer)
{
    static const struct span mark = {"-----BEGIN PGP SIGNATURE-----", 29};
    struct span rest = span_trim(body), line, ahead;
    bool is_first = true;
    enum err result = ERR_OK;

    if (!crypto_line_take(&rest, &line) ||
        !span_is_equal(span_trim(line), SPAN_LIT("-----BEGIN PGP SIGNED MESSAGE-----")))
        return ERR_OK;
    while (crypto_line_take(&rest, &line) && span_trim(line).len > 0)
        if (!span_has_case_prefix(line, SPAN_LIT("Hash:")))
            return ERR_OK;
    buf_fini(&layer->texts[1]);
    buf_init_secret(&layer->texts[1], body.len + 16);
    for (ahead = rest; result == ERR_OK && crypto_line_take(&ahead, &line); rest = ahead) {
        if (span_is_equal(span_trim(line), mark))
            break;
        if (span_has_prefix(line, SPAN_LIT("-")) && !span_has_prefix(line, SPAN_LIT("- ")))
            return ERR_OK;
        result = add_signed_line(line, is_first, &layer->texts[1]);
        is_first = false;
    }
    if (result != ERR_OK || !crypto_armour_find(rest, "SIGNATURE", NULL))
        return result;
    layer->kind = CRYPTO_LAYER_CLEARSIGNED;
    layer->content = buf_span(&layer->texts[1]);
    layer->signature = rest;
    return ERR_OK;
}

static enum err find_inline(const struct mime_part *part, struct span bytes, struct crypto_layer *layer)
{
    struct span body;
    enum err result;

    if (part->kind != MIME_LEAF || !mime_part_is(part, "text", "plain"))
        return ERR_OK;
    result = decode_body(part, bytes, &layer->texts[0], &body);
    if (result != ERR_OK || !crypto_armour_find(body, "MESSAGE", NULL))
        return result == ERR_OK ? find_clearsigned(body, layer) : result;
    layer->kind = CRYPTO_LAYER_INLINE;
    layer->cipher = body;
    return ERR_OK;
}

enum err crypto_layer_find(const struct mime_part *part, struct span bytes, struct crypto_layer *layer_out)
{
    enum err result;

    *layer_out = (struct crypto_layer){0};
    buf_init(&layer_out->texts[0], 0);
    buf_init(&layer_out->texts[1], 0);
    /* Of two types each reader takes the one it likes: what this one calls signed another may show as something else.
     */
    if (mime_field_count(mime_part_header(part, bytes), "Content-Type") > 1)
        return ERR_OK;
    result = find_encrypted(part, bytes, layer_out);
    if (result == ERR_OK && layer_out->kind == CRYPTO_LAYER_NONE)
        result = find_signed(part, bytes, layer_out);
    if (result == ERR_OK && layer_out->kind == CRYPTO_LAYER_NONE)
        result = find_inline(part, bytes, layer_out);
    if (result == ERR_OK && layer_out->kind == CRYPTO_LAYER_NONE)
        result = find_smime(part, bytes, layer_out);
    if (result != ERR_OK)
        crypto_layer_fini(layer_out);
    return result;
}

void crypto_layer_fini(struct crypto_layer *layer)
{
    buf_fini(&layer->texts[0]);
    buf_fini(&layer->texts[1]);
}

/* True if a line of `text` begins with `mark`. */
static bool has_line(struct span text, struct span mark)
{
    for (size_t at = 0; (at = span_find(text, at, mark)) != SIZE_MAX; at++)
        if (at == 0 || text.ptr[at - 1] == '\n')
            return true;
    return false;
}

static enum err scan_text(const struct mime_part *part, struct span bytes, bool *has_encrypted, bool *has_signed)
{
    struct span body;
    struct buf text;
    enum err result;

    buf_init(&text, 0);
    result = decode_body(part, bytes, &text, &body);
    if (result == ERR_OK) {
        *has_encrypted |= has_line(body, SPAN_LIT("-----BEGIN PGP MESSAGE-----"));
        *has_signed |= has_line(body, SPAN_LIT("-----BEGIN PGP SIGNED MESSAGE-----"));
    }
    buf_fini(&text);
    return result == ERR_MEMORY ? result : ERR_OK;
}

/* What it is, its content says. */
static enum err scan_smime(const struct mime_part *part, struct span bytes, bool *has_encrypted, bool *has_signed)
{
    struct crypto_layer layer = {.kind = CRYPTO_LAYER_NONE};
    enum err result;

    buf_init(&layer.texts[0], 0);
    buf_init(&layer.texts[1], 0);
    result = find_smime(part, bytes, &layer);
    *has_encrypted |= layer.kind == CRYPTO_LAYER_SMIME_ENCRYPTED;
    *has_signed |= layer.kind == CRYPTO_LAYER_SMIME_OPAQUE;
    crypto_layer_fini(&layer);
    return result == ERR_MEMORY ? result : ERR_OK;
}

enum err crypto_layer_scan(const struct mime_part *part, struct span bytes, bool *has_encrypted_out,
                           bool *has_signed_out)
{
    size_t end = part->body_end;
    enum err result = ERR_OK;

    *has_encrypted_out = *has_signed_out = false;
    for (; result == ERR_OK && part != NULL && part->header_at < end; part = mime_part_after(part)) {
        if (mime_part_is(part, "multipart", "encrypted") || mime_part_is(part, "application", "pgp-encrypted"))
            *has_encrypted_out = true;
        else if (mime_part_is(part, "multipart", "signed") || mime_part_is(part, "application", "pkcs7-signature"))
            *has_signed_out = true;
        else if (mime_part_is(part, "application", NULL))
            result = scan_smime(part, bytes, has_encrypted_out, has_signed_out);
        else if (part->kind == MIME_LEAF && mime_part_is(part, "text", NULL))
            result = scan_text(part, bytes, has_encrypted_out, has_signed_out);
    }
    return result;
}

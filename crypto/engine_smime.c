/*
 * S/MIME (RFC 8551), through OpenSSL: how its layers lie in MIME, one within the other, each written as what it holds
 * comes.
 */
#include "crypto/engine.h"

#include "base/log.h"
#include "base/memfd.h"
#include "crypto/protect.h"
#include "crypto/smime.h"
#include "crypto/smime_out.h"
#include "crypto/smime_seal.h"
#include "mime/transfer.h"

#include <unistd.h>

#define P7M_AS(encoding, type, name)                                                                                   \
    "Content-Type: application/pkcs7-mime; smime-type=" type "; name=\"" name "\"\r\n"                                 \
    "Content-Transfer-Encoding: " encoding "\r\n"                                                                      \
    "Content-Disposition: attachment; filename=\"" name "\"\r\n\r\n"
#define P7M(type, name) P7M_AS("base64", type, name)

static bool can_seal(const struct keyring_gpg *gpg, const struct crypto_seal_request *request)
{
    (void)gpg;
    return request->smime != NULL && request->smime->certificates != NULL;
}

/* Writes `head`, then what `write` gives to a BIO in base64. */
struct layer {
    const char *head;
    enum err (*write)(void *context, BIO *out);
    void *context;
};

static enum err write_layer(const struct layer *layer, struct crypto_smime_out *out)
{
    enum err result = crypto_smime_out_text(out, span_of(layer->head));
    BIO *bio = result == ERR_OK ? crypto_smime_out_bio(out) : NULL;

    if (result == ERR_OK)
        result = bio == NULL ? ERR_MEMORY : layer->write(layer->context, bio);
    if (result == ERR_OK)
        result = crypto_smime_out_end(out);
    BIO_free(bio);
    /* What went wrong first is what OpenSSL could not write. */
    return result != ERR_OK && out->err != ERR_OK ? out->err : result;
}

/* ---- signed ---- */

enum signed_form {
    BESIDE, /* multipart/signed */
    INSIDE, /* opaque */
    BINARY  /* opaque without base64: for programs of one's own, within encryption (RFC 8551 §3.1.2) */
};

struct signing {
    const struct crypto_smime_signer *signer;
    const struct mime_pieces *payload;
    enum signed_form form;
    struct mime_pieces parts; /* what BESIDE writes */
};

static enum err write_opaque(void *context, BIO *out)
{
    const struct signing *signing = context;

    return crypto_smime_sign_opaque(signing->signer, signing->payload, out);
}

static enum err add_after(const char *boundary, struct span der, struct mime_pieces *parts)
{
    struct mime_coder coder = {.encoding = MIME_BASE64};
    struct buf text;
    enum err result;

    buf_init(&text, CRYPTO_SMIME_SIGNATURE_MAX * 2);
    result = buf_addf(&text,
                      "\r\n--%s\r\n"
                      "Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n"
                      "Content-Transfer-Encoding: base64\r\n"
                      "Content-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\n",
                      boundary);
    if (result == ERR_OK)
        result = mime_encode_feed(&coder, der, &text);
    if (result == ERR_OK)
        result = mime_encode_end(&coder, &text);
    if (result == ERR_OK)
        result = buf_addf(&text, "\r\n--%s--\r\n", boundary);
    if (result == ERR_OK)
        result = mime_pieces_take(parts, &text);
    buf_fini(&text);
    return result;
}

static enum err add_before(const char *boundary, const char *micalg, struct mime_pieces *parts)
{
    struct buf text;
    enum err result;

    buf_init(&text, CRYPTO_HEADER_MAX);
    result = buf_addf(&text,
                      "Content-Type: multipart/signed; micalg=%s;\r\n"
                      " protocol=\"application/pkcs7-signature\"; boundary=\"%s\"\r\n"
                      "\r\n--%s\r\n",
                      micalg, boundary, boundary);
    if (result == ERR_OK)
        result = mime_pieces_take(parts, &text);
    buf_fini(&text);
    return result;
}

/* multipart/signed: the payload, then a detached signature over exactly its bytes (RFC 8551 §3.5.3). */
static enum err make_parts(struct signing *signing)
{
    char boundary[MIME_BOUNDARY_SIZE];
    const char *micalg = NULL;
    struct buf der;
    enum err result;

    buf_init(&der, CRYPTO_SMIME_SIGNATURE_MAX);
    result = crypto_smime_sign(signing->signer, signing->payload, &der, &micalg);
    if (result == ERR_OK)
        result = mime_boundary_make(boundary);
    if (result == ERR_OK)
        result = add_before(boundary, micalg, &signing->parts);
    for (size_t i = 0; result == ERR_OK && i < signing->payload->len; i++)
        result = mime_pieces_borrow(&signing->parts, signing->payload->items[i].bytes);
    if (result == ERR_OK)
        result = add_after(boundary, buf_span(&der), &signing->parts);
    buf_fini(&der);
    return result;
}

/* What stands beside the text is ready before the first byte is written. */
static enum err signing_init(struct signing *signing, const struct crypto_smime_signer *signer,
                             const struct mime_pieces *payload, enum signed_form form)
{
    *signing = (struct signing){.signer = signer, .payload = payload, .form = form};
    mime_pieces_init(&signing->parts);
    return form == BESIDE ? make_parts(signing) : ERR_OK;
}

static enum err write_binary(struct signing *signing, struct crypto_smime_out *out)
{
    enum err result = crypto_smime_out_text(out, SPAN_LIT(P7M_AS("binary", "signed-data", "smime.p7m")));

    return result == ERR_OK ? write_opaque(signing, out->next) : result;
}

static enum err write_signed_entity(struct signing *signing, struct crypto_smime_out *out)
{
    const struct layer opaque = {P7M("signed-data", "smime.p7m"), write_opaque, signing};

    if (signing->form == BINARY)
        return write_binary(signing, out);
    return signing->form == INSIDE ? write_layer(&opaque, out) : crypto_smime_out_pieces(out, &signing->parts);
}

static enum err begin_message(const struct crypto_engine_job *job, struct crypto_smime_out *out)
{
    enum err result = crypto_smime_out_text(out, job->outer);

    return result == ERR_OK ? crypto_smime_out_text(out, SPAN_LIT("MIME-Version: 1.0\r\n")) : result;
}

static enum err write_signed(const struct crypto_engine_job *job)
{
    struct crypto_smime_signer signer;
    struct crypto_smime_out out;
    struct signing signing;
    enum err result = crypto_smime_signer_find(job->request, &signer);

    if (result != ERR_OK)
        return result;
    crypto_smime_out_init(&out, job->fd, job->output_max, NULL);
    result = signing_init(&signing, &signer, job->payload, job->request->smime->is_opaque ? INSIDE : BESIDE);
    if (result == ERR_OK)
        result = begin_message(job, &out);
    if (result == ERR_OK)
        result = write_signed_entity(&signing, &out);
    mime_pieces_fini(&signing.parts);
    crypto_smime_out_fini(&out);
    crypto_smime_signer_fini(&signer);
    return result;
}

/* ---- encrypted ---- */

struct encrypting {
    const struct crypto_smime_envelope *envelope;
    const struct mime_pieces *payload;
    struct signing *signing; /* NULL: nobody signs */
};

static enum err write_content(const struct encrypting *encrypting, BIO *bio)
{
    struct crypto_smime_out inner;
    enum err result;

    if (encrypting->signing == NULL)
        return crypto_smime_write(bio, encrypting->payload);
    crypto_smime_out_init(&inner, -1, 0, bio);
    result = write_signed_entity(encrypting->signing, &inner);
    crypto_smime_out_fini(&inner);
    return result;
}

static enum err write_envelope(void *context, BIO *out)
{
    const struct encrypting *encrypting = context;
    struct crypto_smime_encrypting cms;
    enum err result = crypto_smime_encrypt_begin(encrypting->envelope, out, &cms);

    return result == ERR_OK ? crypto_smime_encrypt_end(&cms, write_content(encrypting, cms.stream.bio)) : result;
}

static enum err write_compressed(void *context, BIO *out)
{
    return crypto_smime_compress(context, out);
}

/* The payload as an entity that is compressed: in memory, as it is signed and encrypted in two passes. */
struct packed {
    int fd;
    struct span bytes;
    struct mime_pieces pieces;
};

static enum err pack(const struct crypto_engine_job *job, struct packed *packed)
{
    const struct layer layer = {P7M("compressed-data", "smime.p7z"), write_compressed, (void *)(uintptr_t)job->payload};
    struct crypto_smime_out out;
    enum err result = memfd_new("compressed", &packed->fd);

    crypto_smime_out_init(&out, packed->fd, job->output_max, NULL);
    if (result == ERR_OK)
        result = write_layer(&layer, &out);
    if (result == ERR_OK)
        result = memfd_seal(packed->fd);
    if (result == ERR_OK)
        result = memfd_map(packed->fd, job->output_max, &packed->bytes);
    if (result == ERR_OK)
        result = mime_pieces_borrow(&packed->pieces, packed->bytes);
    crypto_smime_out_fini(&out);
    return result;
}

static void packed_fini(struct packed *packed)
{
    mime_pieces_fini(&packed->pieces);
    memfd_unmap(&packed->bytes);
    if (packed->fd >= 0)
        close(packed->fd);
}

/* The signature's key, if there is one, is at hand; only writing is left. */
static enum err encrypt(const struct crypto_engine_job *job, const struct crypto_smime_envelope *envelope,
                        const struct crypto_smime_signer *signer)
{
    const struct crypto_smime *smime = job->request->smime;
    struct packed packed = {.fd = -1, .bytes = SPAN_NONE};
    struct signing signing = {.signer = signer};
    struct encrypting encrypting = {envelope, job->payload, signer == NULL ? NULL : &signing};
    const struct layer layer = {envelope->is_gcm ? P7M("authEnveloped-data", "smime.p7m")
                                                 : P7M("enveloped-data", "smime.p7m"),
                                write_envelope, &encrypting};
    struct crypto_smime_out out;
    enum err result = ERR_OK;

    mime_pieces_init(&packed.pieces);
    mime_pieces_init(&signing.parts);
    crypto_smime_out_init(&out, job->fd, job->output_max, NULL);
    if (smime->is_compressed && !job->is_own) {
        result = pack(job, &packed);
        encrypting.payload = &packed.pieces;
    }
    if (result == ERR_OK && signer != NULL)
        result = signing_init(&signing, signer, encrypting.payload,
                              job->is_own        ? BINARY
                              : smime->is_opaque ? INSIDE
                                                 : BESIDE);
    if (result == ERR_OK)
        result = begin_message(job, &out);
    if (result == ERR_OK)
        result = write_layer(&layer, &out);
    crypto_smime_out_fini(&out);
    mime_pieces_fini(&signing.parts);
    packed_fini(&packed);
    return result;
}

/* Encrypted, around a signed message if it is signed (RFC 8551 §3.7). */
static enum err write_encrypted(const struct crypto_engine_job *job)
{
    struct crypto_smime_signer signer = {.certificate = NULL};
    struct crypto_smime_envelope envelope;
    enum err result = crypto_smime_envelope_find(job->request, job->is_signed, job->is_own, &envelope);

    if (result != ERR_OK)
        return result;
    if (job->is_signed)
        result = crypto_smime_signer_find(job->request, &signer);
    if (result == ERR_OK)
        result = encrypt(job, &envelope, job->is_signed ? &signer : NULL);
    crypto_smime_signer_fini(&signer);
    crypto_smime_envelope_fini(&envelope);
    return result;
}

/* ---- the last look ---- */

static bool is_signed(struct span message, const struct mime_tree *tree)
{
    return crypto_engine_has_two_parts(tree) || crypto_is_smime_signed(message, tree);
}

static bool is_encrypted(struct span message, const struct mime_tree *tree)
{
    return crypto_sealed_kind(message, tree) == CRYPTO_SEALED_SMIME;
}

const struct crypto_engine crypto_engine_smime = {.name = "OpenSSL",
                                                  .format = KEYRING_SMIME,
                                                  .can_seal = can_seal,
                                                  .write_signed = write_signed,
                                                  .write_encrypted = write_encrypted,
                                                  .is_signed = is_signed,
                                                  .is_encrypted = is_encrypted};

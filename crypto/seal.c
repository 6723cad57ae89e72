#include "crypto/seal_internal.h"

#include "base/log.h"
#include "base/memfd.h"
#include "crypto/protect.h"
#include "mime/field.h"
#include "mime/transfer.h"

#include <string.h>

struct sealing {
    struct keyring_gpg *gpg;
    const struct crypto_seal_request *request;
    const struct crypto_engine *engine; /* NULL: nothing is protected */
    struct span message, header;
    const struct mime_part *root;
    size_t output_max;
    int fd;
};

static enum err write_text(const struct sealing *sealing, const struct buf *text)
{
    return memfd_add(sealing->fd, buf_span(text), sealing->output_max);
}

static enum err borrow_all(struct mime_pieces *pieces, const struct mime_pieces *source)
{
    enum err result = ERR_OK;

    for (size_t i = 0; result == ERR_OK && i < source->len; i++)
        result = mime_pieces_borrow(pieces, source->items[i].bytes);
    return result;
}

/* The message as it is, less what no copy carries. */
static enum err seal_plain(const struct sealing *sealing)
{
    bool is_converted = sealing->request->action == CRYPTO_SEAL_PLAIN && sealing->request->wants_7bit &&
                        (sealing->root->body_flags & MIME_HAS_8BIT) != 0;
    enum mime_encoding encoding = sealing->root->encoding;
    unsigned left = 0;
    struct mime_pieces body;
    struct buf header;
    enum err result;

    if (sealing->request->wants_7bit && (sealing->root->header_flags & MIME_HAS_8BIT) != 0)
        return log_failure(ERR_NEEDS_8BIT, "the header holds bytes over 127");
    mime_pieces_init(&body);
    buf_init(&header, CRYPTO_HEADER_MAX);
    if (is_converted)
        result = mime_transfer_body(sealing->root, sealing->message, MIME_SAFE_7BIT, &body, &encoding, &left);
    else
        result = mime_pieces_borrow(&body, mime_part_body(sealing->root, sealing->message));
    if (result == ERR_OK && (left & MIME_HAS_8BIT) != 0)
        result = log_failure(ERR_NEEDS_8BIT, "a signed part holds bytes over 127");
    if (result == ERR_OK)
        result = crypto_protect_plain(sealing->header, sealing->root, encoding, sealing->request->subject_tag, &header);
    if (result == ERR_OK && sealing->request->action == CRYPTO_SEAL_PLAIN)
        result = seal_add_autocrypt(sealing->gpg, sealing->request, sealing->header, &header);
    if (result == ERR_OK)
        result = buf_add_string(&header, "\r\n");
    if (result == ERR_OK)
        result = write_text(sealing, &header);
    if (result == ERR_OK)
        result = mime_pieces_write(&body, sealing->fd, sealing->output_max);
    mime_pieces_fini(&body);
    buf_fini(&header);
    return result;
}

/* The payload: protected header, then the body, fit to be signed if it will be (RFC 3156 §3 wants that of what is
   signed and encrypted, too). `body` keeps what `payload` borrows. */
static enum err make_payload(const struct sealing *sealing, enum crypto_protection protection, bool is_signed,
                             struct mime_pieces *body, struct mime_pieces *payload)
{
    enum mime_encoding encoding = sealing->root->encoding;
    unsigned left = 0;
    struct buf header;
    enum err result;

    if (is_signed)
        result = mime_transfer_body(sealing->root, sealing->message, MIME_SAFE_SIGN, body, &encoding, &left);
    else
        result = mime_pieces_borrow(body, mime_part_body(sealing->root, sealing->message));
    buf_init_secret(&header, CRYPTO_HEADER_MAX);
    if (result == ERR_OK && protection == CRYPTO_PROTECT_CIPHER)
        result = seal_add_gossip(sealing->gpg, sealing->request, sealing->header, &header);
    if (result == ERR_OK)
        result = crypto_protect_inner(sealing->header, sealing->root, encoding, protection,
                                      sealing->request->subject_tag, &header);
    if (result == ERR_OK)
        result = mime_pieces_take(payload, &header);
    if (result == ERR_OK)
        result = borrow_all(payload, body);
    buf_fini(&header);
    return result;
}

/* Signed, encrypted, or both: the payload and the outer header are made here, the rest by the engine. */
static enum err seal_protected(const struct sealing *sealing)
{
    const struct crypto_seal_request *request = sealing->request;
    bool is_encrypted = request->action != CRYPTO_SEAL_SIGN, is_signed = request->action != CRYPTO_SEAL_ENCRYPT;
    enum crypto_protection protection = is_encrypted ? CRYPTO_PROTECT_CIPHER : CRYPTO_PROTECT_CLEAR;
    struct mime_pieces body, payload;
    struct buf outer;
    enum err result;

    mime_pieces_init(&body);
    mime_pieces_init(&payload);
    buf_init(&outer, CRYPTO_HEADER_MAX);
    result = make_payload(sealing, protection, is_signed, &body, &payload);
    if (result == ERR_OK)
        result = crypto_protect_outer(sealing->header, protection, request->subject_tag, &outer);
    if (result == ERR_OK)
        result = seal_add_autocrypt(sealing->gpg, request, sealing->header, &outer);
    if (result == ERR_OK) {
        struct crypto_engine_job job = {.gpg = sealing->gpg,
                                        .request = request,
                                        .outer = buf_span(&outer),
                                        .payload = &payload,
                                        .is_signed = is_signed,
                                        .fd = sealing->fd,
                                        .output_max = sealing->output_max};
        result = is_encrypted ? sealing->engine->write_encrypted(&job) : sealing->engine->write_signed(&job);
    }
    buf_fini(&outer);
    mime_pieces_fini(&payload);
    mime_pieces_fini(&body);
    return result;
}

/* What was asked for must be complete: nothing is made up for what is missing. */
static enum err check_request(struct sealing *sealing)
{
    const struct crypto_seal_request *request = sealing->request;
    bool is_signed = request->action == CRYPTO_SEAL_SIGN || request->action == CRYPTO_SEAL_SIGN_ENCRYPT;
    bool is_encrypted = request->action == CRYPTO_SEAL_ENCRYPT || request->action == CRYPTO_SEAL_SIGN_ENCRYPT;

    if (request->action == CRYPTO_SEAL_PLAIN || request->action == CRYPTO_SEAL_PASS)
        return ERR_OK;
    sealing->engine = crypto_engine_find(sealing->gpg, request);
    if ((!is_signed && !is_encrypted) || sealing->engine == NULL)
        return log_failure(ERR_REFUSED, "sealing in a way that is not known");
    if (is_signed && request->signer[0] == '\0')
        return log_failure(ERR_NO_SIGNING_KEY, "sealing");
    if (is_encrypted && request->recipients_len == 0)
        return log_failure(ERR_NO_RECIPIENTS, "sealing");
    return ERR_OK;
}

/* A header with a line that is no field ends there for some readers, and what follows is their text: as a field of ours
   it would stand outside in clear, and the line itself nowhere. mbox's "From " line before the first field is none. */
static bool is_header_doubtful(struct span header)
{
    struct mime_field field;

    for (size_t at = 0; mime_field_next(header, &at, &field);)
        if (field.name.len == 0 && (field.whole.ptr != header.ptr || !span_has_prefix(header, SPAN_LIT("From "))))
            return true;
    return false;
}

/* Line ends that the next server may read otherwise go nowhere (design 1.1.9). */
static enum err check_message(const struct sealing *sealing, const struct mime_tree *tree)
{
    unsigned flags = tree->root->header_flags | tree->root->body_flags;

    if ((flags & (MIME_HAS_BARE_CR | MIME_HAS_BARE_LF)) != 0)
        return log_failure(ERR_BARE_CR_LF, "sealing");
    if ((flags & MIME_HAS_NUL) != 0)
        return log_failure(ERR_NUL, "sealing");
    if (sealing->request->action != CRYPTO_SEAL_PLAIN && is_header_doubtful(sealing->header))
        return log_failure(ERR_MALFORMED, "a line of the header is no field");
    if (sealing->request->action == CRYPTO_SEAL_PASS && crypto_sealed_kind(sealing->message, tree) == CRYPTO_NOT_SEALED)
        return log_failure(ERR_NOT_SEALED, "passing a message on as encrypted");
    return ERR_OK;
}

static enum err seal(const struct sealing *sealing)
{
    switch (sealing->request->action) {
    case CRYPTO_SEAL_PLAIN:
    case CRYPTO_SEAL_PASS:
        return seal_plain(sealing);
    case CRYPTO_SEAL_SIGN:
    case CRYPTO_SEAL_ENCRYPT:
    case CRYPTO_SEAL_SIGN_ENCRYPT:
        return seal_protected(sealing);
    default:
        return ERR_REFUSED;
    }
}

enum err crypto_seal(struct keyring_gpg *gpg, const struct crypto_seal_request *request, struct span message, int fd,
                     struct crypto_seal_result *result_out)
{
    struct sealing sealing = {.gpg = gpg, .request = request, .message = message, .fd = fd};
    struct mime_tree *tree = NULL;
    enum err result = check_request(&sealing);

    memset(result_out, 0, sizeof(*result_out));
    sealing.output_max = seal_output_max(request);
    if (result == ERR_OK)
        result = mime_parse(message, MIME_LIMITS_DEFAULT, &tree);
    if (result != ERR_OK)
        return result;
    sealing.root = tree->root;
    sealing.header = mime_part_header(tree->root, message);
    result = check_message(&sealing, tree);
    if (result == ERR_OK)
        result = seal(&sealing);
    if (result == ERR_LIMIT)
        result = ERR_TOO_BIG;
    if (result == ERR_OK)
        result = seal_check_file(sealing.engine, request->action, fd, result_out);
    if (result == ERR_OK && (request->action == CRYPTO_SEAL_SIGN || request->action == CRYPTO_SEAL_SIGN_ENCRYPT))
        memcpy(result_out->signed_by, request->signer, sizeof(result_out->signed_by));
    mime_tree_free(&tree);
    return result;
}

#include "crypto/smime_out.h"

#include "base/memfd.h"
#include "crypto/smime_stream.h"

#include <openssl/err.h>

#define TEXT_MAX 65536 /* bytes that wait to be written */
#define PIECE 16384    /* bytes that are taken at a time */

void crypto_smime_out_init(struct crypto_smime_out *out, int fd, size_t size_max, BIO *next)
{
    *out = (struct crypto_smime_out){.fd = fd, .size_max = size_max, .next = next, .coder.encoding = MIME_BASE64};
    buf_init_secret(&out->text, TEXT_MAX);
}

void crypto_smime_out_fini(struct crypto_smime_out *out)
{
    buf_fini(&out->text);
}

static enum err write_bio(BIO *bio, struct span bytes)
{
    while (bytes.len > 0) {
        int count = bytes.len > PIECE ? PIECE : (int)bytes.len;

        if (BIO_write(bio, bytes.ptr, count) != count)
            return ERR_peek_error() != 0 ? crypto_smime_failure("writing CMS") : ERR_ENGINE;
        bytes = span_skip(bytes, (size_t)count);
    }
    return ERR_OK;
}

enum err crypto_smime_out_text(struct crypto_smime_out *out, struct span text)
{
    if (out->err == ERR_OK)
        out->err = out->next != NULL ? write_bio(out->next, text) : memfd_add(out->fd, text, out->size_max);
    return out->err;
}

enum err crypto_smime_out_pieces(struct crypto_smime_out *out, const struct mime_pieces *pieces)
{
    enum err result = out->err;

    for (size_t i = 0; result == ERR_OK && i < pieces->len; i++)
        result = crypto_smime_out_text(out, pieces->items[i].bytes);
    return result;
}

enum err crypto_smime_write(BIO *bio, const struct mime_pieces *pieces)
{
    enum err result = ERR_OK;

    for (size_t i = 0; result == ERR_OK && i < pieces->len; i++)
        result = write_bio(bio, pieces->items[i].bytes);
    return result;
}

static enum err pass_on(struct crypto_smime_out *out)
{
    enum err result = crypto_smime_out_text(out, buf_span(&out->text));

    buf_clear(&out->text);
    return result;
}

static enum err encode(struct crypto_smime_out *out, struct span bytes)
{
    while (out->err == ERR_OK && bytes.len > 0) {
        struct span piece = span_slice(bytes, 0, PIECE);

        out->err = mime_encode_feed(&out->coder, piece, &out->text);
        /* OpenSSL writes many a few bytes; what comes next must have room. */
        if (out->err == ERR_OK && out->text.len > TEXT_MAX / 2)
            out->err = pass_on(out);
        bytes = span_skip(bytes, piece.len);
    }
    return out->err;
}

enum err crypto_smime_out_end(struct crypto_smime_out *out)
{
    if (out->err == ERR_OK)
        out->err = mime_encode_end(&out->coder, &out->text);
    if (out->err == ERR_OK && (out->text.len < 2 || out->text.data[out->text.len - 1] != '\n'))
        out->err = buf_add_string(&out->text, "\r\n");
    out->coder = (struct mime_coder){.encoding = MIME_BASE64};
    return out->err == ERR_OK ? pass_on(out) : out->err;
}

static int bio_write(BIO *bio, const char *bytes, int count)
{
    struct crypto_smime_out *out = BIO_get_data(bio);

    if (count <= 0)
        return 0;
    return encode(out, (struct span){bytes, (size_t)count}) == ERR_OK ? count : -1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH && ((struct crypto_smime_out *)BIO_get_data(bio))->err == ERR_OK;
}

/* Made once and kept for good: OpenSSL has only so many types. */
static const BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;
    int index = method == NULL ? BIO_get_new_index() : -1;

    if (method != NULL || index < 0)
        return method;
    method = BIO_meth_new(index | BIO_TYPE_SOURCE_SINK, "base64 lines");
    if (method != NULL && (BIO_meth_set_write(method, bio_write) != 1 || BIO_meth_set_ctrl(method, bio_control) != 1)) {
        BIO_meth_free(method);
        method = NULL;
    }
    return method;
}

BIO *crypto_smime_out_bio(struct crypto_smime_out *out)
{
    const BIO_METHOD *method = bio_method();
    BIO *bio = method == NULL ? NULL : BIO_new(method);

    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, out);
    BIO_set_init(bio, 1);
    return bio;
}

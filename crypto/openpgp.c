#include "crypto/openpgp_internal.h"

#include "base/log.h"
#include "base/memfd.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define RECIPIENTS_MAX (4u << 20)

static enum err put(struct openpgp_sink *sink, struct span bytes)
{
    return sink->buf != NULL ? buf_add_span(sink->buf, bytes) : memfd_add(sink->fd, bytes, sink->size_max);
}

static enum err put_armour(struct openpgp_sink *sink, struct span bytes)
{
    char lines[8192];
    enum err err = ERR_OK;
    while (err == ERR_OK && bytes.len > 0) {
        size_t taken = 0, len = 0;
        for (; taken < bytes.len && len + 2 <= sizeof lines; taken++) {
            if (bytes.ptr[taken] == '\n')
                lines[len++] = '\r';
            lines[len++] = bytes.ptr[taken];
        }
        err = put(sink, (struct span){lines, len});
        bytes = span_skip(bytes, taken);
    }
    return err;
}

static ssize_t write_sink(void *handle, const void *bytes, size_t count)
{
    struct openpgp_sink *sink = handle;
    struct span span = {bytes, count};
    if (sink->err == ERR_OK)
        sink->err = sink->is_armour ? put_armour(sink, span) : put(sink, span);
    if (sink->err == ERR_OK)
        return (ssize_t)count;
    /* The operation ends with this error; ours is kept in the sink. */
    errno = EFBIG;
    return -1;
}

static ssize_t read_source(void *handle, void *target, size_t count)
{
    struct openpgp_source *source = handle;
    size_t done = mime_pieces_read(source->pieces, source->at, target, count, &source->hint);
    source->at += done;
    return (ssize_t)done;
}

static off_t seek_source(void *handle, off_t offset, int whence)
{
    struct openpgp_source *source = handle;
    off_t base = whence == SEEK_CUR ? (off_t)source->at : whence == SEEK_END ? (off_t)source->pieces->size : 0;
    if (base + offset < 0 || (size_t)(base + offset) > source->pieces->size) {
        errno = EINVAL;
        return -1;
    }
    source->at = (size_t)(base + offset);
    return base + offset;
}

enum err openpgp_sink_data(struct openpgp_sink *sink, gpgme_data_t *data_out)
{
    static struct gpgme_data_cbs calls = {.write = write_sink};
    return keyring_gpg_error(gpgme_data_new_from_cbs(data_out, &calls, sink), "data");
}

enum err openpgp_source_data(struct openpgp_source *source, gpgme_data_t *data_out)
{
    static struct gpgme_data_cbs calls = {.read = read_source, .seek = seek_source};
    return keyring_gpg_error(gpgme_data_new_from_cbs(data_out, &calls, source), "data");
}

/* gpg says only "unusable" where a key is expired, revoked or gone, and of every key if there is no agent. */
static enum err signing_error(gpgme_error_t error, struct keyring_gpg *gpg, gpgme_ctx_t context)
{
    enum err err = keyring_gpg_error(error, "signing");
    gpgme_sign_result_t result = gpgme_op_sign_result(context);
    if (err == ERR_ENGINE && result != NULL && result->invalid_signers != NULL)
        err = ERR_NO_SIGNING_KEY;
    return err == ERR_NO_SIGNING_KEY && !keyring_gpg_has_agent(gpg) ? ERR_KEY_LOCKED : err;
}

static enum err set_signer(struct keyring_gpg *gpg, gpgme_ctx_t context, const char *signer)
{
    gpgme_key_t key;
    enum err err = keyring_gpg_signer(gpg, signer, &key);
    if (err == ERR_NO_SIGNING_KEY && !keyring_gpg_has_agent(gpg))
        return log_failure(ERR_KEY_LOCKED, "no gpg-agent answers for %s", keyring_gpg_home(gpg));
    if (err == ERR_OK && (key->revoked || key->expired || key->disabled || key->invalid)) {
        log_warning("signing key %s is revoked, expired or disabled", signer);
        return ERR_NO_SIGNING_KEY;
    }
    return err == ERR_OK ? keyring_gpg_error(gpgme_signers_add(context, key), "the signer") : err;
}

/* RFC 3156 §5: "pgp-" and the name of the hash in lower case. */
static enum err name_micalg(gpgme_ctx_t context, char micalg_out[24])
{
    gpgme_sign_result_t result = gpgme_op_sign_result(context);
    if (result == NULL || result->signatures == NULL || result->signatures->next != NULL ||
        result->invalid_signers != NULL)
        return ERR_ENGINE;
    const char *name = gpgme_hash_algo_name(result->signatures->hash_algo);
    if (name == NULL)
        return ERR_ENGINE;
    int written = snprintf(micalg_out, 24, "pgp-%s", name);
    for (char *at = micalg_out; *at != '\0'; at++)
        *at = span_lower(*at);
    return written > 0 && written < 24 ? ERR_OK : ERR_ENGINE;
}

enum err crypto_openpgp_sign(struct keyring_gpg *gpg, const char *signer, const struct mime_pieces *content,
                             struct buf *signature_out, char micalg_out[24])
{
    gpgme_ctx_t context = keyring_gpg_context(gpg);
    gpgme_data_t in = NULL, out = NULL;
    size_t before = signature_out->len;
    struct openpgp_source source = {.pieces = content};
    struct openpgp_sink sink = {.buf = signature_out, .is_armour = true};
    enum err err = set_signer(gpg, context, signer);
    if (err == ERR_OK)
        err = openpgp_source_data(&source, &in);
    if (err == ERR_OK)
        err = openpgp_sink_data(&sink, &out);
    if (err == ERR_OK)
        err = signing_error(gpgme_op_sign(context, in, out, GPGME_SIG_MODE_DETACH), gpg, context);
    if (err == ERR_OK)
        err = name_micalg(context, micalg_out);
    if (sink.err != ERR_OK)
        err = sink.err;
    gpgme_data_release(in);
    gpgme_data_release(out);
    gpgme_signers_clear(context);
    if (err != ERR_OK)
        buf_truncate(signature_out, before);
    return err;
}

/* GPGME's list of recipients: "--file", then a path in each line. It strips blanks and knows keywords, so only plain
   absolute paths can be named. */
static enum err name_recipients(const char *const *key_files, size_t key_files_len, struct buf *out)
{
    if (key_files_len == 0)
        return ERR_NO_RECIPIENTS;
    enum err err = buf_add_string(out, "--file\n");
    for (size_t i = 0; err == ERR_OK && i < key_files_len; i++) {
        size_t len = strlen(key_files[i]);
        if (len == 0 || key_files[i][0] != '/' || strpbrk(key_files[i], "\r\n") != NULL ||
            isspace((unsigned char)key_files[i][len - 1]))
            return log_failure(ERR_INTERNAL, "key file %s", key_files[i]);
        err = buf_addf(out, "%s\n", key_files[i]);
    }
    return err;
}

static enum err encrypt_error(gpgme_error_t error, struct keyring_gpg *gpg, gpgme_ctx_t context, bool is_signed)
{
    gpgme_encrypt_result_t result = gpgme_op_encrypt_result(context);
    if (result != NULL && result->invalid_recipients != NULL) {
        log_warning("a recipient's key cannot be used: %s", gpgme_strerror(result->invalid_recipients->reason));
        return ERR_NO_KEY;
    }
    return is_signed ? signing_error(error, gpg, context) : keyring_gpg_error(error, "encrypting");
}

static enum err run_encrypt(struct keyring_gpg *gpg, gpgme_ctx_t context, bool is_signed, const char *recipients,
                            gpgme_data_t in, gpgme_data_t out)
{
    /* Whom to trust was judged by the index; gpg checks no trust of keys in files either. */
    const gpgme_encrypt_flags_t flags = GPGME_ENCRYPT_ALWAYS_TRUST | GPGME_ENCRYPT_NO_ENCRYPT_TO;
    gpgme_error_t error = is_signed ? gpgme_op_encrypt_sign_ext(context, NULL, recipients, flags, in, out)
                                    : gpgme_op_encrypt_ext(context, NULL, recipients, flags, in, out);
    enum err err = encrypt_error(error, gpg, context, is_signed);
    char micalg[24];
    return err == ERR_OK && is_signed ? name_micalg(context, micalg) : err;
}

enum err crypto_openpgp_encrypt(struct keyring_gpg *gpg, const char *signer, bool asks_person,
                                const char *const *key_files, size_t key_files_len, const struct mime_pieces *content,
                                int fd, uint64_t output_max)
{
    gpgme_ctx_t context = keyring_gpg_context(gpg);
    gpgme_data_t in = NULL, out = NULL;
    struct buf recipients;
    struct openpgp_source source = {.pieces = content};
    struct openpgp_sink sink = {
        .fd = fd, .size_max = output_max > SIZE_MAX ? SIZE_MAX : (size_t)output_max, .is_armour = true};
    bool is_signed = *signer != '\0';
    buf_init(&recipients, RECIPIENTS_MAX);
    enum err err = is_signed ? set_signer(gpg, context, signer) : ERR_OK;
    if (err == ERR_OK && !asks_person)
        err = keyring_gpg_error(gpgme_set_pinentry_mode(context, GPGME_PINENTRY_MODE_ERROR), "asking nobody");
    if (err == ERR_OK)
        err = name_recipients(key_files, key_files_len, &recipients);
    if (err == ERR_OK)
        err = openpgp_source_data(&source, &in);
    if (err == ERR_OK)
        err = openpgp_sink_data(&sink, &out);
    if (err == ERR_OK)
        err = run_encrypt(gpg, context, is_signed, recipients.data, in, out);
    if (sink.err != ERR_OK)
        err = sink.err == ERR_LIMIT ? ERR_TOO_BIG : sink.err;
    /* All was read: what was sealed is the whole content. */
    if (err == ERR_OK && source.at != content->size)
        err = log_failure(ERR_ENGINE, "gpg read %zu of %zu bytes", source.at, content->size);
    gpgme_data_release(in);
    gpgme_data_release(out);
    gpgme_signers_clear(context);
    buf_fini(&recipients);
    return err;
}

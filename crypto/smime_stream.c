#include "crypto/smime_stream.h"

#include "base/log.h"

#include <openssl/err.h>

enum err crypto_smime_failure(const char *doing)
{
    unsigned long error = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(error);
    bool is_memory = ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;

    log_warning("%s: %s", doing, reason == NULL ? "OpenSSL does not say why" : reason);
    ERR_clear_error();
    return is_memory ? ERR_MEMORY : ERR_ENGINE;
}

enum err crypto_smime_stream_begin(struct crypto_smime_stream *stream, CMS_ContentInfo *cms, BIO *out)
{
    stream->out = out;
    stream->bio = BIO_new_CMS(out, cms);
    return stream->bio != NULL ? ERR_OK : crypto_smime_failure("beginning a CMS message");
}

enum err crypto_smime_stream_end(struct crypto_smime_stream *stream, enum err so_far)
{
    enum err result = so_far;

    if (result == ERR_OK && BIO_flush(stream->bio) != 1)
        result = crypto_smime_failure("ending a CMS message");
    while (stream->bio != NULL && stream->bio != stream->out) {
        BIO *next = BIO_pop(stream->bio);

        BIO_free(stream->bio);
        stream->bio = next;
    }
    ERR_clear_error();
    return result;
}

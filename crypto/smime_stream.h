/*
 * CMS that OpenSSL writes while its content comes: in BER with indefinite lengths, so that neither is held. What
 * i2d_CMS_bio_stream does, but no failure on the way is lost.
 */
#ifndef CRYPTO_SMIME_STREAM_H
#define CRYPTO_SMIME_STREAM_H

#include "base/err.h"

#include <openssl/cms.h>

struct crypto_smime_stream {
    BIO *bio; /* takes the content */
    BIO *out;
};

/* `cms` was made with CMS_STREAM and outlives the stream; what it becomes goes to `out`. */
ERR_RETURN enum err crypto_smime_stream_begin(struct crypto_smime_stream *stream, CMS_ContentInfo *cms, BIO *out);
/* Ends it, and frees all but `out`; `so_far` is what writing the content came to, and goes first. */
ERR_RETURN enum err crypto_smime_stream_end(struct crypto_smime_stream *stream, enum err so_far);

/* Logs what OpenSSL has to say, and gives the error that it stands for. */
ERR_RETURN enum err crypto_smime_failure(const char *doing);

#endif

/*
 * CompressedData (RFC 3274), written by hand since Debian's OpenSSL leaves it out; crypto_smime_expand reads it.
 */
#include "crypto/smime_out.h"
#include "crypto/smime_seal.h"

#include "base/log.h"

#include <zlib.h>

#define CHUNK 16384

/* ContentInfo { compressedData, [0] { version 0, { zlibCompress }, { data, [0] OCTET STRING } } } with indefinite
   lengths, up to where the pieces of the OCTET STRING stand. */
static const unsigned char head[] = {0x30, 0x80, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01,
                                     0x09, 0xa0, 0x80, 0x30, 0x80, 0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x0b, 0x2a, 0x86,
                                     0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x03, 0x08, 0x30, 0x80, 0x06, 0x09, 0x2a,
                                     0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, 0xa0, 0x80, 0x24, 0x80};
/* End-of-contents of the six that are open. */
static const unsigned char tail[12];

static bool write_all(BIO *out, const unsigned char *bytes, size_t count)
{
    return BIO_write(out, bytes, (int)count) == (int)count;
}

/* One piece of the OCTET STRING. */
static bool write_chunk(BIO *out, const unsigned char *bytes, size_t count)
{
    const unsigned char header[] = {0x04, 0x82, (unsigned char)(count >> 8), (unsigned char)count};

    return count == 0 || (write_all(out, header, sizeof(header)) && write_all(out, bytes, count));
}

/* Deflates `bytes` into pieces; with Z_FINISH to the end. */
static enum err deflate_some(z_stream *stream, struct span bytes, int flush, BIO *out)
{
    unsigned char chunk[CHUNK];
    int state;

    stream->next_in = (z_const Bytef *)(uintptr_t)bytes.ptr;
    stream->avail_in = (uInt)bytes.len;
    do {
        stream->next_out = chunk;
        stream->avail_out = sizeof(chunk);
        state = deflate(stream, flush);
        if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR)
            return log_failure(ERR_ENGINE, "compressing");
        if (!write_chunk(out, chunk, sizeof(chunk) - stream->avail_out))
            return ERR_ENGINE;
    } while (stream->avail_out == 0);
    return flush == Z_FINISH && state != Z_STREAM_END ? log_failure(ERR_ENGINE, "compressing") : ERR_OK;
}

enum err crypto_smime_compress(const struct mime_pieces *content, BIO *out)
{
    z_stream stream = {0};
    enum err result = deflateInit(&stream, Z_DEFAULT_COMPRESSION) == Z_OK ? ERR_OK : ERR_MEMORY;

    if (result != ERR_OK)
        return result;
    if (!write_all(out, head, sizeof(head)))
        result = ERR_ENGINE;
    for (size_t i = 0; result == ERR_OK && i < content->len; i++) {
        struct span rest = content->items[i].bytes;

        while (result == ERR_OK && rest.len > 0) {
            struct span piece = span_slice(rest, 0, CHUNK);

            result = deflate_some(&stream, piece, Z_NO_FLUSH, out);
            rest = span_skip(rest, piece.len);
        }
    }
    if (result == ERR_OK)
        result = deflate_some(&stream, SPAN_NONE, Z_FINISH, out);
    if (result == ERR_OK && !write_all(out, tail, sizeof(tail)))
        result = ERR_ENGINE;
    (void)deflateEnd(&stream);
    return result;
}

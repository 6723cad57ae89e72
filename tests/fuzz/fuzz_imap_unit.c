/* A connection's bytes cut into fragments and literals, in pieces whose size the first byte gives: the pieces make no
   difference, and nothing is lost. */
#include "imap/unit.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX_HERE 200

/* Writes down what was cut; returns the error that ended it, or ERR_AGAIN. */
static enum err split(struct span bytes, size_t step, struct buf *seen)
{
    struct imap_splitter splitter;
    struct evbuffer *input = evbuffer_new();
    enum err err = ERR_AGAIN;
    if (!input)
        abort();
    imap_splitter_init(&splitter, LINE_MAX_HERE, step % 2 == 0);
    for (size_t at = 0; at < bytes.len && err == ERR_AGAIN; at += step) {
        struct span piece = span_slice(bytes, at, at + step);
        if (evbuffer_add(input, piece.ptr, piece.len) != 0)
            abort();
        do {
            char literal[64];
            struct span text;
            struct imap_literal_mark mark;
            size_t want = splitter.literal_left < sizeof literal ? (size_t)splitter.literal_left : sizeof literal;
            int got = want > 0 ? evbuffer_remove(input, literal, want) : 0;
            imap_splitter_took(&splitter, (size_t)got);
            if (buf_add(seen, literal, (size_t)got) != ERR_OK)
                abort();
            if (splitter.literal_left > 0) {
                err = got > 0 ? ERR_OK : ERR_AGAIN;
                continue;
            }
            err = imap_splitter_text(&splitter, input, &text, &mark);
            if (err == ERR_OK && buf_addf(seen, "<%.*s>", (int)text.len, text.ptr) != ERR_OK)
                abort();
        } while (err == ERR_OK);
    }
    imap_splitter_fini(&splitter);
    evbuffer_free(input);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span bytes = {(const char *)data + 1, size - 1};
    struct buf whole, pieces;
    buf_init(&whole, 4 * size + 100);
    buf_init(&pieces, 4 * size + 100);
    enum err whole_err = split(bytes, size, &whole);
    enum err pieces_err = split(bytes, 1 + data[0], &pieces);
    if (whole_err != pieces_err || !span_is_equal(buf_span(&whole), buf_span(&pieces)))
        abort();
    buf_fini(&whole);
    buf_fini(&pieces);
    return 0;
}

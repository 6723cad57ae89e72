/*
 * Compression of a connection (RFC 4978): raw DEFLATE in both directions. What is unpacked is bounded by input_max like
 * any other input: what would be more stays packed until the owner has consumed some. What is packed is let out once
 * per turn of the loop, so that many small writes make one block.
 */
#include "base/conn_internal.h"

#include <stdlib.h>
#include <zlib.h>

/* Windows of 2^-n bytes: raw. The peer may use the largest; ours costs 64 KiB with this memory level. */
#define INFLATE_WINDOW (-15)
#define DEFLATE_WINDOW (-13)
#define DEFLATE_MEMORY 6
#define BLOCK_SIZE 16384u

struct conn_deflate {
    z_stream in, out;
    struct evbuffer *input; /* unpacked */
    struct event *flush;
    bool must_flush;
    bool has_more; /* zlib holds unpacked bytes back */
    bool is_ended; /* the peer's stream has come to its end */
};

void conn_deflate_free(struct conn_deflate **deflate)
{
    struct conn_deflate *packing = *deflate;
    *deflate = NULL;
    if (packing == NULL)
        return;
    (void)inflateEnd(&packing->in);
    (void)deflateEnd(&packing->out);
    if (packing->flush != NULL)
        event_free(packing->flush);
    if (packing->input != NULL)
        evbuffer_free(packing->input);
    free(packing);
}

static void on_flush(int fd, short what, void *context)
{
    struct conn *conn = context;
    (void)fd, (void)what;
    if (conn_deflate_flush(conn) != ERR_OK && conn->state == CONN_OPEN)
        conn_close_with(conn, ERR_MEMORY);
}

enum err conn_start_deflate(struct conn *conn)
{
    if (conn->deflate != NULL || conn->state != CONN_OPEN)
        return ERR_INTERNAL;
    struct conn_deflate *packing = calloc(1, sizeof *packing);
    if (packing == NULL)
        return ERR_MEMORY;
    packing->input = evbuffer_new();
    packing->flush = event_new(conn->options.base, -1, 0, on_flush, conn);
    bool is_good = packing->input != NULL && packing->flush != NULL &&
                   inflateInit2(&packing->in, INFLATE_WINDOW) == Z_OK &&
                   deflateInit2(&packing->out, Z_DEFAULT_COMPRESSION, Z_DEFLATED, DEFLATE_WINDOW, DEFLATE_MEMORY,
                                Z_DEFAULT_STRATEGY) == Z_OK &&
                   evbuffer_add_cb(packing->input, conn_on_input_change, conn) != NULL;
    if (!is_good) {
        conn_deflate_free(&packing);
        return ERR_MEMORY;
    }
    conn->deflate = packing;
    /* What came behind the last command in clear is packed already. */
    if (conn_has_packed(conn))
        bufferevent_trigger(conn->bufferevent, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
    return ERR_OK;
}

bool conn_is_deflating(const struct conn *conn)
{
    return conn->deflate != NULL;
}

struct evbuffer *conn_inflated(const struct conn *conn)
{
    return conn->deflate->input;
}

bool conn_has_packed(const struct conn *conn)
{
    return conn->deflate != NULL &&
           (conn->deflate->has_more || evbuffer_get_length(bufferevent_get_input(conn->bufferevent)) > 0);
}

/* One block of packed bytes, or what zlib still holds of the last. */
static enum err inflate_block(struct conn_deflate *packing, struct evbuffer *raw)
{
    struct evbuffer_iovec packed = {0}, room;
    (void)evbuffer_peek(raw, -1, NULL, &packed, 1);
    if (evbuffer_reserve_space(packing->input, BLOCK_SIZE, &room, 1) != 1)
        return ERR_MEMORY;
    size_t packed_len = packed.iov_len < BLOCK_SIZE ? packed.iov_len : BLOCK_SIZE;
    packing->in.next_in = packed.iov_base;
    packing->in.avail_in = (uInt)packed_len;
    packing->in.next_out = room.iov_base;
    packing->in.avail_out = BLOCK_SIZE;
    int result = inflate(&packing->in, Z_SYNC_FLUSH);
    room.iov_len = BLOCK_SIZE - packing->in.avail_out;
    size_t used = packed_len - packing->in.avail_in;
    packing->has_more = packing->in.avail_out == 0;
    packing->is_ended = result == Z_STREAM_END;
    if (evbuffer_commit_space(packing->input, &room, 1) != 0)
        return ERR_MEMORY;
    evbuffer_drain(raw, used);
    return result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR ? ERR_OK : ERR_MALFORMED;
}

enum err conn_inflate(struct conn *conn)
{
    struct conn_deflate *packing = conn->deflate;
    struct evbuffer *raw = bufferevent_get_input(conn->bufferevent);
    enum err err = ERR_OK;
    while (err == ERR_OK && conn_has_packed(conn) && evbuffer_get_length(packing->input) < conn->input_max)
        err = packing->is_ended ? ERR_MALFORMED : inflate_block(packing, raw);
    return err;
}

static enum err deflate_out(struct conn *conn, struct span bytes, int mode)
{
    struct conn_deflate *packing = conn->deflate;
    struct evbuffer *output = bufferevent_get_output(conn->bufferevent);
    /* zlib's interface is older than const; it only reads. */
    packing->out.next_in = (Bytef *)(uintptr_t)bytes.ptr;
    packing->out.avail_in = (uInt)bytes.len;
    do {
        struct evbuffer_iovec room;
        if (evbuffer_reserve_space(output, BLOCK_SIZE, &room, 1) != 1)
            return ERR_MEMORY;
        packing->out.next_out = room.iov_base;
        packing->out.avail_out = BLOCK_SIZE;
        int result = deflate(&packing->out, mode);
        room.iov_len = BLOCK_SIZE - packing->out.avail_out;
        if ((result != Z_OK && result != Z_BUF_ERROR) || evbuffer_commit_space(output, &room, 1) != 0)
            return ERR_MEMORY;
    } while (packing->out.avail_out == 0);
    return ERR_OK;
}

enum err conn_deflate(struct conn *conn, struct span bytes)
{
    enum err err = ERR_OK;
    while (bytes.len > 0 && err == ERR_OK) {
        struct span part = span_slice(bytes, 0, (size_t)1 << 30);
        err = deflate_out(conn, part, Z_NO_FLUSH);
        bytes = span_skip(bytes, part.len);
    }
    conn->deflate->must_flush = true;
    event_active(conn->deflate->flush, 0, 0);
    return err;
}

bool conn_must_flush(const struct conn *conn)
{
    return conn->deflate != NULL && conn->deflate->must_flush;
}

enum err conn_deflate_flush(struct conn *conn)
{
    if (!conn_must_flush(conn))
        return ERR_OK;
    conn->deflate->must_flush = false;
    return deflate_out(conn, (struct span){"", 0}, Z_SYNC_FLUSH);
}

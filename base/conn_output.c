/*
 * What is sent: copied, moved from another buffer, or lent; and packed where the connection is compressed.
 */
#include "base/conn_internal.h"

#include "base/secret.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static enum err judge_open(const struct conn *conn)
{
    if (conn->is_lost)
        return ERR_UPSTREAM_LOST;
    /* With a session waiting to take over, more clear text would follow the promise of TLS. */
    if (conn->next_session != NULL || conn->state == CONN_RESOLVING || conn->state == CONN_CONNECTING)
        return ERR_INTERNAL;
    return ERR_OK;
}

static enum err judge_write(const struct conn *conn, struct span bytes)
{
    enum err err = judge_open(conn);
    if (err != ERR_OK)
        return err;
    size_t waiting = conn_output_len(conn);
    return waiting > conn->options.output_max || bytes.len > conn->options.output_max - waiting ? ERR_LIMIT : ERR_OK;
}

enum err conn_write(struct conn *conn, struct span bytes)
{
    enum err err = judge_write(conn, bytes);
    if (err != ERR_OK || bytes.len == 0)
        return err;
    conn->has_written = true;
    if (conn->deflate != NULL)
        return conn_deflate(conn, bytes);
    return bufferevent_write(conn->bufferevent, bytes.ptr, bytes.len) == 0 ? ERR_OK : ERR_MEMORY;
}

static void wipe_and_free(const void *bytes, size_t len, void *copy)
{
    (void)bytes;
    secret_wipe(copy, len);
    free(copy);
}

enum err conn_write_secret(struct conn *conn, struct span bytes)
{
    enum err err = judge_write(conn, bytes);
    if (err != ERR_OK || bytes.len == 0)
        return err;
    if (conn->deflate != NULL)
        return conn_write(conn, bytes);
    char *copy = malloc(bytes.len);
    if (copy == NULL)
        return ERR_MEMORY;
    memcpy(copy, bytes.ptr, bytes.len);
    conn->has_written = true;
    struct evbuffer *output = bufferevent_get_output(conn->bufferevent);
    if (evbuffer_add_reference(output, copy, bytes.len, wipe_and_free, copy) == 0)
        return ERR_OK;
    wipe_and_free(copy, bytes.len, copy);
    return ERR_MEMORY;
}

static enum err deflate_from(struct conn *conn, struct evbuffer *source, size_t count)
{
    enum err err = ERR_OK;
    while (count > 0 && err == ERR_OK) {
        struct evbuffer_iovec block;
        if (evbuffer_peek(source, -1, NULL, &block, 1) < 1)
            return ERR_INTERNAL;
        size_t part = block.iov_len < count ? block.iov_len : count;
        err = conn_deflate(conn, (struct span){block.iov_base, part});
        evbuffer_drain(source, part);
        count -= part;
    }
    return err;
}

enum err conn_move(struct conn *conn, struct evbuffer *source, size_t count)
{
    enum err err = judge_open(conn);
    if (err == ERR_OK && (count > INT_MAX || count > evbuffer_get_length(source)))
        err = ERR_INTERNAL;
    if (err != ERR_OK || count == 0) {
        evbuffer_drain(source, count);
        return err;
    }
    conn->has_written = true;
    if (conn->deflate != NULL)
        return deflate_from(conn, source, count);
    struct evbuffer *output = bufferevent_get_output(conn->bufferevent);
    int moved = evbuffer_remove_buffer(source, output, count);
    return moved >= 0 && (size_t)moved == count ? ERR_OK : ERR_MEMORY;
}

struct loan {
    void (*release)(void *context);
    void *context;
};

static void end_loan(const void *bytes, size_t len, void *context)
{
    struct loan *loan = context;
    (void)bytes, (void)len;
    loan->release(loan->context);
    free(loan);
}

enum err conn_lend(struct conn *conn, struct span bytes, void (*give_back)(void *context), void *context)
{
    struct loan *loan = NULL;
    enum err err = judge_open(conn);
    conn->has_written = conn->has_written || (err == ERR_OK && bytes.len > 0);
    if (err == ERR_OK && conn->deflate != NULL)
        err = conn_deflate(conn, bytes);
    else if (err == ERR_OK && bytes.len > 0 && (loan = malloc(sizeof *loan)) == NULL)
        err = ERR_MEMORY;
    if (loan != NULL) {
        struct evbuffer *output = bufferevent_get_output(conn->bufferevent);
        *loan = (struct loan){give_back, context};
        if (evbuffer_add_reference(output, bytes.ptr, bytes.len, end_loan, loan) == 0)
            return ERR_OK;
        free(loan);
        err = ERR_MEMORY;
    }
    give_back(context);
    return err;
}

size_t conn_output_len(const struct conn *conn)
{
    return evbuffer_get_length(bufferevent_get_output(conn->bufferevent)) + (conn_must_flush(conn) ? 1 : 0);
}

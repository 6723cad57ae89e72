#include "tests/servers/common.h"

#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_MAX (1 << 20)
#define SLOW_US 200

static bool fill(struct server_io *io)
{
    long len;
    if (io->ssl != NULL)
        len = SSL_read(io->ssl, io->input, sizeof(io->input));
    else
        len = read(io->fd, io->input, sizeof(io->input));
    if (len <= 0) {
        io->is_over = true;
        return false;
    }
    io->at = 0;
    io->len = (size_t)len;
    if (io->server->wire != NULL) {
        pthread_mutex_lock(&io->server->lock);
        fwrite(io->input, 1, io->len, io->server->wire);
        fflush(io->server->wire);
        pthread_mutex_unlock(&io->server->lock);
    }
    return true;
}

int server_get(struct server_io *io)
{
    if (io->at == io->len && (io->is_over || !fill(io)))
        return -1;
    return (unsigned char)io->input[io->at++];
}

long server_get_line(struct server_io *io, char *line, size_t size)
{
    size_t len = 0;
    for (int byte; (byte = server_get(io)) >= 0;) {
        if (byte == '\n') {
            if (len > 0 && line[len - 1] == '\r')
                len--;
            line[len] = '\0';
            return (long)len;
        }
        if (len + 1 >= size)
            return -1;
        line[len++] = (char)byte;
    }
    return -1;
}

bool server_has_input(const struct server_io *io)
{
    return io->at < io->len || io->is_over || (io->ssl != NULL && SSL_pending(io->ssl) > 0);
}

void server_write(struct server_io *io, const char *bytes, size_t len)
{
    size_t sent = 0;
    while (sent < len && !io->is_over) {
        size_t piece = io->is_slow ? 1 : len - sent < PIECE_MAX ? len - sent : PIECE_MAX;
        long count =
            io->ssl != NULL ? SSL_write(io->ssl, bytes + sent, (int)piece) : write(io->fd, bytes + sent, piece);
        if (count <= 0)
            io->is_over = true;
        else
            sent += (size_t)count;
        if (io->is_slow)
            usleep(SLOW_US);
    }
}

void server_put(struct server_io *io, const char *format, ...)
{
    char text[8192];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len > 0 && (size_t)len < sizeof(text))
        server_write(io, text, (size_t)len);
}

bool server_start_tls(struct server_io *io)
{
    io->ssl = SSL_new(io->server->context);
    io->at = io->len = 0;
    if (io->ssl == NULL || SSL_set_fd(io->ssl, io->fd) != 1 || SSL_accept(io->ssl) != 1) {
        io->is_over = true;
        return false;
    }
    return true;
}

void server_cut(struct server_io *io)
{
    shutdown(io->fd, SHUT_RDWR);
    io->at = io->len = 0;
    io->is_over = true;
}

void server_stall(struct server_io *io)
{
    while (server_get(io) >= 0)
        ;
}

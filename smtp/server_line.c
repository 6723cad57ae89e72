/*
 * Command lines end at CRLF and nowhere else (RFC 5321 §2.3.8, design 1.1.9). A piece that ends in a bare LF is
 * answered at once, so that nobody waits, but the line goes on: what stands between it and the next CRLF is never
 * obeyed.
 */
#include "smtp/server_internal.h"

#include "base/secret.h"

#include <string.h>

/* Takes `count` bytes off the input, wiping them where they lie: they may be a password. */
static void drop(struct evbuffer *input, size_t count)
{
    while (count > 0) {
        struct evbuffer_iovec block;
        if (evbuffer_peek(input, -1, NULL, &block, 1) < 1)
            return;
        size_t part = block.iov_len < count ? block.iov_len : count;
        secret_wipe(block.iov_base, part);
        evbuffer_drain(input, part);
        count -= part;
    }
}

void server_drop_input(struct smtp_server *server)
{
    struct evbuffer *input = conn_input(server->conn);
    drop(input, evbuffer_get_length(input));
    server->is_piece_over = false;
    server->is_line_bad = false;
}

/* The byte at `at`; 0 if there is none. */
static char byte_at(struct evbuffer *input, size_t at)
{
    struct evbuffer_ptr where;
    char byte = 0;
    if (evbuffer_ptr_set(input, &where, at, EVBUFFER_PTR_SET) == 0)
        (void)evbuffer_copyout_from(input, &where, &byte, 1);
    return byte;
}

/* Bytes up to and including the first LF; 0 if there is none. */
static size_t piece_len(struct evbuffer *input)
{
    struct evbuffer_ptr at = evbuffer_search_eol(input, NULL, NULL, EVBUFFER_EOL_LF);
    return at.pos < 0 ? 0 : (size_t)at.pos + 1;
}

static size_t line_max(struct smtp_server *server, struct evbuffer *input)
{
    char verb[5] = "";
    if (server->input == SERVER_INPUT_AUTH)
        return SMTP_AUTH_LINE_MAX;
    if (evbuffer_copyout(input, verb, sizeof verb) != (ev_ssize_t)sizeof verb)
        return SMTP_LINE_MAX;
    bool is_auth = span_is_case_equal((struct span){verb, sizeof verb}, SPAN_LIT("AUTH "));
    secret_wipe(verb, sizeof verb);
    return is_auth ? SMTP_AUTH_LINE_MAX : SMTP_LINE_MAX;
}

/* Skips what is left of a piece that was too long. A CR at the end is kept until it is known what follows. */
static enum err skip_piece(struct smtp_server *server, struct evbuffer *input)
{
    size_t len = piece_len(input);
    size_t waiting = evbuffer_get_length(input);
    if (len == 0) {
        bool ends_in_cr = waiting > 0 && byte_at(input, waiting - 1) == '\r';
        drop(input, ends_in_cr ? waiting - 1 : waiting);
        return ERR_AGAIN;
    }
    server->is_line_bad = len < 2 || byte_at(input, len - 2) != '\r';
    server->is_piece_over = false;
    drop(input, len);
    return ERR_OK;
}

/* Moves a piece that ends in LF into server->line, without its line end. */
static enum err take_piece(struct smtp_server *server, struct evbuffer *input, size_t len)
{
    buf_clear(&server->line);
    enum err err = buf_reserve(&server->line, len);
    if (err != ERR_OK)
        return err;
    char piece[SMTP_AUTH_LINE_MAX];
    (void)evbuffer_copyout(input, piece, len);
    bool is_crlf = len >= 2 && piece[len - 2] == '\r';
    err = buf_add(&server->line, piece, is_crlf ? len - 2 : len - 1);
    secret_wipe(piece, len);
    drop(input, len);
    if (err == ERR_OK && (!is_crlf || server->is_line_bad))
        err = ERR_COMMAND_SYNTAX;
    server->is_line_bad = !is_crlf;
    struct span line = buf_span(&server->line);
    if (span_find_byte(line, 0, '\r') != line.len || span_find_byte(line, 0, '\0') != line.len)
        err = ERR_COMMAND_SYNTAX;
    return err;
}

enum err server_take_line(struct smtp_server *server)
{
    struct evbuffer *input = conn_input(server->conn);
    if (server->is_piece_over && skip_piece(server, input) == ERR_AGAIN)
        return ERR_AGAIN;
    size_t len = piece_len(input);
    size_t max = line_max(server, input);
    if (len > max || (len == 0 && evbuffer_get_length(input) >= max)) {
        server->is_piece_over = true;
        return ERR_LINE_TOO_LONG;
    }
    return len == 0 ? ERR_AGAIN : take_piece(server, input, len);
}

/*
 * The message: DATA up to CRLF . CRLF, or BDAT chunks up to LAST, decoded through one small buffer into a memfd.
 * Whatever goes wrong on the way, the body is read to its end, so that no byte of it is ever taken for a command.
 */
#include "smtp/server_internal.h"

#include "base/log.h"
#include "base/memfd.h"

#include <stdio.h>
#include <unistd.h>

#define PIECE_MAX 16384u /* even if every byte became two it fits server->decoded */

static enum err begin_message(struct smtp_server *server, bool is_chunked)
{
    server->message_err = ERR_OK;
    server->message_size = 0;
    smtp_data_begin(&server->decoder, server->options.is_repairing, is_chunked);
    return memfd_new("message", &server->message_fd);
}

static void spoil_message(struct smtp_server *server, enum err err)
{
    if (server->message_err == ERR_OK)
        server->message_err = err;
    if (server->message_fd >= 0)
        close(server->message_fd);
    server->message_fd = -1;
}

/* Moves what has been decoded into the message, unless that is spoilt. */
static void keep_decoded(struct smtp_server *server)
{
    struct span bytes = buf_span(&server->decoded);
    uint64_t max = server_message_max(server);
    if (server->message_err == ERR_OK && bytes.len > max - server->message_size)
        spoil_message(server, ERR_TOO_BIG);
    if (server->message_err == ERR_OK) {
        enum err err = memfd_add(server->message_fd, bytes, (size_t)max);
        server->message_size += bytes.len;
        if (err != ERR_OK)
            spoil_message(server, err == ERR_LIMIT ? ERR_TOO_BIG : err);
    }
    buf_clear(&server->decoded);
}

/* The body is complete: it goes to the owner, or it is refused and forgotten. */
static void end_message(struct smtp_server *server)
{
    enum err err = server->message_err;
    if (err == ERR_OK)
        err = smtp_data_judge(&server->decoder);
    if (err == ERR_OK)
        err = memfd_seal(server->message_fd);
    if (err != ERR_OK) {
        log_info("%s: message refused: %s", conn_peer(server->conn), err_name(err));
        server_read(server, SERVER_INPUT_COMMAND);
        server_say_err(server, err);
        server_reset_transaction(server);
        return;
    }
    int fd = server->message_fd;
    server->message_fd = -1;
    server_open(server, SMTP_DATA);
    server->options.handlers->on_message(server, fd, server->message_size, server->options.owner);
}

/* data = "DATA" CRLF (RFC 5321 §4.1.1.4) */
void server_do_data(struct smtp_server *server, struct span argument)
{
    (void)argument;
    enum err err = begin_message(server, false);
    if (err != ERR_OK) {
        server_say_err(server, err);
        return;
    }
    server_read(server, SERVER_INPUT_DATA);
    server_say_text(server, 354, NULL, "End data with <CR><LF>.<CR><LF>");
}

/* bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ] CR LF; chunk-size = 1*DIGIT (RFC 3030 §2) */
static bool parse_chunk(struct smtp_server *server, struct span argument)
{
    struct span digits;
    struct span rest = argument;
    (void)span_take_until(&rest, ' ', &digits);
    rest = span_trim(rest);
    server->is_chunk_last = rest.len > 0;
    return span_to_u64(digits, UINT64_MAX, &server->chunk_size) &&
           (rest.len == 0 || span_is_case_equal(rest, SPAN_LIT("LAST")));
}

static void read_chunk(struct smtp_server *server, enum err refusal)
{
    server->chunk_refusal = refusal;
    server->chunk_left = server->chunk_size;
    server_read(server, SERVER_INPUT_CHUNK);
}

void server_refuse_chunk(struct smtp_server *server, struct span argument, enum err err)
{
    if (parse_chunk(server, argument)) {
        read_chunk(server, err);
    } else {
        /* What cannot be counted cannot be skipped, and must not be taken for commands. */
        server_say_err(server, ERR_PARAMETER_SYNTAX);
        server_end_with_421(server, ERR_PARAMETER_SYNTAX, "4.7.0", "Chunk without a size");
    }
}

void server_do_bdat(struct smtp_server *server, struct span argument)
{
    if ((server->features.flags & SMTP_HAS_CHUNKING) == 0) {
        server_refuse_chunk(server, argument, ERR_COMMAND_UNKNOWN);
        return;
    }
    if (!parse_chunk(server, argument)) {
        server_refuse_chunk(server, argument, ERR_PARAMETER_SYNTAX);
        return;
    }
    enum err err = ERR_OK;
    if (server->state != SERVER_BDAT)
        err = begin_message(server, true);
    if (err == ERR_OK) {
        server->state = SERVER_BDAT;
        if (server->chunk_size > server_message_max(server) - server->message_size)
            spoil_message(server, ERR_TOO_BIG);
    }
    read_chunk(server, err);
}

/* All bytes of a chunk have been taken. A refused chunk ends the transaction: the rest of its message may be on the way
   already and gets 503 (RFC 3030 §2). */
static void end_chunk(struct smtp_server *server)
{
    char text[64];
    enum err err = server->chunk_refusal != ERR_OK ? server->chunk_refusal : server->message_err;
    if (err == ERR_OK && server->is_chunk_last) {
        err = smtp_data_end(&server->decoder, &server->decoded);
        if (err != ERR_OK)
            spoil_message(server, err);
        keep_decoded(server);
        end_message(server);
        return;
    }
    server_read(server, SERVER_INPUT_COMMAND);
    if (err != ERR_OK) {
        /* A client that pipelines its chunks learns too late that the first one was refused; a stranger is counted. */
        if (server->is_authenticated)
            server_say_err(server, err);
        else
            server_say_bad(server, err);
        if (err != ERR_NO_RECIPIENTS)
            server_reset_transaction(server);
        return;
    }
    snprintf(text, sizeof text, "%llu octets received", (unsigned long long)server->chunk_size);
    server_say_text(server, 250, "2.0.0", text);
}

/* The first block of the input, at most `max` bytes of it; none if there is no input. */
static struct span peek_input(struct smtp_server *server, uint64_t max)
{
    struct evbuffer_iovec block;
    if (evbuffer_peek(conn_input(server->conn), -1, NULL, &block, 1) < 1)
        return SPAN_NONE;
    size_t len = block.iov_len < PIECE_MAX ? block.iov_len : PIECE_MAX;
    return (struct span){block.iov_base, len < max ? len : (size_t)max};
}

/* The body goes on after these bytes. */
static void count_body(struct smtp_server *server, size_t used)
{
    if (used < server->piece_left)
        server->piece_left -= used;
    else
        server_read(server, server->input);
    bool is_skipped =
        server->message_err != ERR_OK || (server->input == SERVER_INPUT_CHUNK && server->chunk_refusal != ERR_OK);
    server->skipped += is_skipped ? used : 0;
    if (server->skipped > SERVER_SKIPPED_MAX && server->skipped - SERVER_SKIPPED_MAX > server->options.message_max)
        server_end_with_421(server, ERR_TOO_BIG, "4.7.0", "Too many bytes that were refused");
}

enum err server_take_body(struct smtp_server *server)
{
    bool is_chunk = server->input == SERVER_INPUT_CHUNK;
    if (is_chunk && server->chunk_left == 0) {
        end_chunk(server);
        return ERR_OK;
    }
    struct span bytes = peek_input(server, is_chunk ? server->chunk_left : UINT64_MAX);
    if (bytes.len == 0)
        return ERR_AGAIN;
    size_t used = bytes.len;
    enum err err = ERR_OK;
    if (!is_chunk || server->chunk_refusal == ERR_OK)
        err = smtp_data_feed(&server->decoder, bytes, &server->decoded, &used);
    if (err != ERR_OK) {
        /* Where the body ends is not known any more. */
        log_failure(err, "%s: receiving a message", conn_peer(server->conn));
        server_end_with_421(server, err, "4.3.0", err_sentence(err));
        return ERR_OK;
    }
    evbuffer_drain(conn_input(server->conn), used);
    if (server->decoded.len > 0)
        keep_decoded(server);
    server->chunk_left -= is_chunk ? used : 0;
    if (!is_chunk && server->decoder.is_ended)
        end_message(server);
    else
        count_body(server, used);
    return ERR_OK;
}

/*
 * Commands out of the input: fragments of text, and literals between them (RFC 3501 §4.3, RFC 7888). A refused command
 * is answered at once if the client waits before its literal; else it is read to its end first, and its literals are
 * thrown away.
 */
#include "imap/server_internal.h"

#include "base/log.h"
#include "base/memfd.h"
#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void imap_command_free(struct imap_command **command)
{
    if (*command == NULL)
        return;
    imap_unit_fini(&(*command)->unit);
    free(*command);
    *command = NULL;
}

static void drop_file(struct imap_server *server)
{
    if (server->literal_fd >= 0)
        close(server->literal_fd);
    server->literal_fd = -1;
}

struct imap_command *imap_server_release_command(struct imap_server *server)
{
    struct imap_command *command = server->command;
    server->command = NULL;
    server->has_fragment = false;
    server->is_judged = false;
    server->refusal = ERR_OK;
    server->kept = server->skipped = 0;
    return command;
}

void imap_server_drop_command(struct imap_server *server)
{
    struct imap_command *command = imap_server_release_command(server);
    drop_file(server);
    imap_command_free(&command);
}

/* Takes one fragment off the input. An error that is not ERR_AGAIN has ended the session: where the next command would
   begin is not known any more. */
static enum err take_text(struct imap_server *server, struct span *text_out)
{
    enum err err = imap_splitter_text(&server->splitter, conn_input(server->conn), text_out, &server->mark);
    if (err == ERR_AGAIN)
        conn_want_more(server->conn);
    if (err == ERR_OK || err == ERR_AGAIN)
        return err;
    const char *sentence = err_sentence(err == ERR_MALFORMED ? ERR_COMMAND_SYNTAX : err);
    log_info("%s: reading a command: %s", conn_peer(server->conn), sentence);
    imap_server_say_status(server, "", "BAD", "CLIENTBUG", sentence);
    imap_server_end_with_bye(server, ERR_COMMAND_SYNTAX, NULL);
    return err;
}

enum err imap_server_take_line(struct imap_server *server, struct span *line_out)
{
    enum err err = take_text(server, line_out);
    /* There are no literals here: what looks like a mark is a part of the line. */
    server->splitter.literal_left = 0;
    if (err == ERR_OK)
        *line_out = span_slice(*line_out, 0, line_out->len - 2);
    return err;
}

/* Lets the command's spans point into its text as it is now. */
static void point(struct imap_server *server)
{
    struct imap_command *command = server->command;
    imap_cursor_init(&command->arguments, &command->unit);
    command->arguments.at = server->argument_at;
    command->line = span_skip(buf_span(&command->unit.text), server->verb_at);
}

static enum err begin_command(struct imap_server *server)
{
    bool is_new = server->state == IMAP_STATE_NEW;
    server->command = calloc(1, sizeof *server->command);
    if (server->command == NULL)
        return ERR_MEMORY;
    imap_unit_init(&server->command->unit, is_new ? SERVER_TEXT_MAX_NEW : server->options.command_max, is_new);
    return ERR_OK;
}

static enum err take_fragment(struct imap_server *server)
{
    struct span text;
    bool is_first = server->command == NULL;
    enum err err = take_text(server, &text);
    if (err != ERR_OK)
        return err;
    if (is_first)
        err = begin_command(server);
    if (err == ERR_OK && server->refusal == ERR_OK)
        err = imap_unit_text(&server->command->unit, text);
    if (err == ERR_MEMORY || (is_first && err != ERR_OK)) {
        imap_server_end_with_bye(server, err, NULL);
        return err;
    }
    server->has_fragment = true;
    if (err != ERR_OK)
        server->refusal = ERR_LINE_TOO_LONG;
    if (!is_first || imap_server_parse_head(server))
        return ERR_OK;
    /* Not even a tag: nothing that follows could be told from a command of somebody else's making. */
    server->refusal = ERR_COMMAND_SYNTAX;
    server->is_judged = true;
    return ERR_OK;
}

/* What is answered here waits until the owner has answered what came before. */
static bool must_wait(struct imap_server *server)
{
    if (!server->is_judged) {
        enum err err = imap_server_judge(server);
        if (err == ERR_OK || server->open_len == 0) {
            server->is_judged = true;
            server->refusal = err;
        } else {
            return true; /* it may be legal when the commands before it are done */
        }
    }
    return server->open_len > 0 && (server->refusal != ERR_OK || imap_server_is_own(server));
}

static enum err judge_literal(struct imap_server *server)
{
    const struct imap_literal_mark *mark = &server->mark;
    switch (imap_server_literal_policy(server)) {
    case SERVER_LITERAL_OWN:
        /* Nobody is asked for a password in clear. */
        if (server->command->verb != IMAP_ID && !imap_server_may_log_in(server))
            return ERR_TLS_REQUIRED;
        return mark->is_binary ? ERR_COMMAND_SYNTAX : mark->len > SERVER_LITERAL_SMALL ? ERR_TOO_BIG : ERR_OK;
    case SERVER_LITERAL_ASK:
        if (mark->len > server->options.literal_max ||
            server->kept > (SERVER_LITERALS_TIMES - 1) * server->options.literal_max)
            return ERR_TOO_BIG;
        if (server->options.handlers->on_literal == NULL)
            return mark->len > SERVER_LITERAL_HERE ? ERR_TOO_BIG : ERR_OK;
        point(server);
        return server->options.handlers->on_literal(server, server->command, mark, server->options.owner);
    case SERVER_LITERAL_NONE:
        break;
    }
    return ERR_COMMAND_SYNTAX;
}

static enum err begin_literal(struct imap_server *server)
{
    uint64_t len = server->mark.len;
    server->kept += len;
    if (len > SERVER_LITERAL_HERE) {
        server->place = IMAP_LITERAL_FILE;
        return memfd_new("imap-literal", &server->literal_fd);
    }
    server->place = IMAP_LITERAL_HERE;
    enum err err = buf_reserve(&server->command->unit.text, (size_t)len);
    return err == ERR_OK ? imap_unit_literal(&server->command->unit, IMAP_LITERAL_HERE, len, -1) : err;
}

/* Reads on only to find the command's end. */
static void skip_literal(struct imap_server *server)
{
    server->skipped += server->mark.len;
    drop_file(server);
    if (server->mark.len > SERVER_SKIPPED_MAX + server->options.literal_max ||
        server->skipped > SERVER_SKIPPED_MAX + server->options.literal_max ||
        (server->state == IMAP_STATE_NEW && server->skipped > SERVER_TEXT_MAX_NEW)) {
        imap_server_say_err(server, server->command->tag, server->refusal);
        imap_server_end_with_bye(server, ERR_TOO_BIG, NULL);
        return;
    }
    imap_server_read(server, SERVER_INPUT_SKIP);
}

static void take_mark(struct imap_server *server)
{
    if (server->refusal == ERR_OK)
        server->refusal = judge_literal(server);
    if (server->is_freed || server->input == SERVER_INPUT_ENDED)
        return;
    if (server->refusal == ERR_OK)
        server->refusal = begin_literal(server);
    if (server->refusal == ERR_OK) {
        imap_server_read(server, SERVER_INPUT_LITERAL);
        if (server->mark.is_sync)
            imap_server_say(server, SPAN_LIT("+ OK\r\n"));
    } else if (server->mark.is_sync) {
        /* RFC 3501 §7.5: without the continuation the literal does not come, nor anything of the command. */
        server->splitter.literal_left = 0;
        imap_server_say_err(server, server->command->tag, server->refusal);
        imap_server_drop_command(server);
    } else {
        skip_literal(server);
    }
}

static void end_command(struct imap_server *server)
{
    if (server->refusal == ERR_OK) {
        point(server);
        imap_server_do(server);
        return;
    }
    imap_server_say_err(server, server->command->tag, server->refusal);
    imap_server_drop_command(server);
}

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

static enum err keep_here(struct imap_server *server, struct evbuffer *input, size_t count)
{
    enum err err = ERR_OK;
    while (count > 0 && err == ERR_OK) {
        struct evbuffer_iovec block;
        if (evbuffer_peek(input, -1, NULL, &block, 1) < 1)
            return ERR_INTERNAL;
        size_t part = block.iov_len < count ? block.iov_len : count;
        err = imap_unit_literal_bytes(&server->command->unit, (struct span){block.iov_base, part});
        drop(input, part);
        imap_splitter_took(&server->splitter, part);
        count -= part;
    }
    return err;
}

static enum err keep_in_file(struct imap_server *server, struct evbuffer *input, size_t count)
{
    while (count > 0) {
        int written = evbuffer_write_atmost(input, server->literal_fd, (ev_ssize_t)count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return log_failure(ERR_DISK_FULL, "%s: keeping a literal", conn_peer(server->conn));
        imap_splitter_took(&server->splitter, (size_t)written);
        count -= (size_t)written;
    }
    return ERR_OK;
}

static enum err seal_file(struct imap_server *server)
{
    int fd = server->literal_fd;
    enum err err = memfd_seal(fd);
    if (err != ERR_OK)
        return err;
    server->literal_fd = -1;
    return imap_unit_literal(&server->command->unit, IMAP_LITERAL_FILE, server->mark.len, fd);
}

/* Takes what there is of a literal; at its end the text goes on. */
static enum err take_literal(struct imap_server *server)
{
    struct evbuffer *input = conn_input(server->conn);
    size_t waiting = evbuffer_get_length(input);
    uint64_t left = server->splitter.literal_left;
    size_t count = left < waiting ? (size_t)left : waiting;
    enum err err = ERR_OK;
    if (left > 0 && count == 0)
        return ERR_AGAIN;
    if (server->input == SERVER_INPUT_LITERAL && server->place == IMAP_LITERAL_HERE)
        err = keep_here(server, input, count);
    else if (server->input == SERVER_INPUT_LITERAL)
        err = keep_in_file(server, input, count);
    else {
        evbuffer_drain(input, count);
        imap_splitter_took(&server->splitter, count);
    }
    bool is_whole = server->splitter.literal_left == 0;
    if (err == ERR_OK && is_whole && server->input == SERVER_INPUT_LITERAL && server->place == IMAP_LITERAL_FILE)
        err = seal_file(server);
    if (err != ERR_OK) {
        server->refusal = err;
        drop_file(server);
        imap_server_read(server, SERVER_INPUT_SKIP);
    }
    if (is_whole)
        imap_server_read(server, SERVER_INPUT_TEXT);
    return ERR_OK;
}

enum err imap_server_take_unit(struct imap_server *server)
{
    if (server->input == SERVER_INPUT_LITERAL || server->input == SERVER_INPUT_SKIP)
        return take_literal(server);
    if (!server->has_fragment) {
        enum err err = take_fragment(server);
        if (err != ERR_OK)
            return err;
    }
    if (must_wait(server))
        return ERR_AGAIN;
    server->has_fragment = false;
    if (server->mark.is_there)
        take_mark(server);
    else
        end_command(server);
    return ERR_OK;
}

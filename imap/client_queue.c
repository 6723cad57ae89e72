/*
 * The owner's commands on their way out: text, literals as the server takes them (RFC 7888: LITERAL+ at once, LITERAL-
 * up to 4,096 bytes, else after its continuation), files in pieces as the output drains.
 */
#include "imap/client_internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMANDS_MAX 10000u
#define OUTPUT_PAUSE 262144u /* what follows waits until these bytes have gone */
#define PIECE_MAX 65536u
#define LITERAL_MINUS_MAX 4096u
#define EARLY_MAX 65536u

static void out_free(struct imap_out **out)
{
    if (*out == NULL)
        return;
    imap_out_fini(*out);
    free(*out);
    *out = NULL;
}

static void command_free(struct imap_client *client, struct client_command *command)
{
    if (client->sending == command)
        client->sending = NULL;
    client->commands_len--;
    out_free(&command->out);
    buf_fini(&command->initial);
    buf_fini(&command->early);
    free(command);
}

static void drop_queue(struct imap_client *client, struct client_queue *queue)
{
    struct client_command *command;
    while ((command = TAILQ_FIRST(queue)) != NULL) {
        TAILQ_REMOVE(queue, command, link);
        command_free(client, command);
    }
}

void imap_client_drop_commands(struct imap_client *client, bool is_all)
{
    drop_queue(client, &client->waiting);
    if (is_all)
        drop_queue(client, &client->sent);
}

struct client_command *imap_client_find(struct imap_client *client, uint64_t number)
{
    struct client_command *command;
    TAILQ_FOREACH(command, &client->sent, link)
    if (command->number == number)
        return command;
    return NULL;
}

/* ---- going out ---- */

static bool is_sync(const struct imap_client *client, uint64_t len)
{
    uint32_t features = client->capabilities.features;
    return (features & IMAP_HAS_LITERAL_PLUS) == 0 &&
           ((features & IMAP_HAS_LITERAL_MINUS) == 0 || len > LITERAL_MINUS_MAX);
}

static void end_sending(struct imap_client *client, struct client_command *command)
{
    command->stage = COMMAND_SENT;
    out_free(&command->out);
    client->sending = NULL;
    if (command->early.len > 0)
        event_active(client->wake, 0, 0);
}

/* Text up to the next literal, with its mark; or up to the end. */
static enum err send_text(struct imap_client *client, struct client_command *command)
{
    const struct imap_out *out = command->out;
    bool has_literal = command->literal < out->literals_len;
    const struct imap_out_literal *literal = has_literal ? &out->literals[command->literal] : NULL;
    size_t end = has_literal ? literal->at : out->text.len;
    struct buf wire;
    buf_init_secret(&wire, out->text.len + 64);
    enum err err = ERR_OK;
    if (command->literal == 0)
        err = buf_addf(&wire, "P%llu ", (unsigned long long)command->number);
    if (err == ERR_OK)
        err = buf_add_span(&wire, span_slice(buf_span(&out->text), command->text_at, end));
    bool must_wait = has_literal && is_sync(client, literal->len);
    if (err == ERR_OK && has_literal)
        err = buf_addf(&wire, "{%llu%s}", (unsigned long long)literal->len, must_wait ? "" : "+");
    if (err == ERR_OK)
        err = buf_add_string(&wire, "\r\n");
    if (err == ERR_OK)
        imap_client_write(client, buf_span(&wire), command->is_secret);
    buf_fini(&wire);
    command->text_at = end;
    command->literal_at = 0;
    if (has_literal)
        command->stage = must_wait ? COMMAND_WAIT : COMMAND_LITERAL;
    else
        end_sending(client, command);
    return err;
}

/* A file that is shorter than was announced would take what follows for its content: ERR_IO ends the session. */
static enum err send_file_piece(struct imap_client *client, const struct imap_out_literal *literal, uint64_t at,
                                size_t len)
{
    char *piece = malloc(len);
    if (piece == NULL)
        return ERR_MEMORY;
    size_t got = 0;
    while (got < len) {
        ssize_t part = pread(literal->fd, piece + got, len - got, (off_t)(at + got));
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            break;
        got += (size_t)part;
    }
    if (got == len)
        imap_client_write(client, (struct span){piece, len}, false);
    free(piece);
    return got == len ? ERR_OK : log_failure(ERR_IO, "%s: a literal is too short", conn_peer(client->conn));
}

static enum err send_literal(struct imap_client *client, struct client_command *command)
{
    struct imap_out_literal *literal = &command->out->literals[command->literal];
    uint64_t left = literal->len - command->literal_at;
    size_t len = left < PIECE_MAX ? (size_t)left : PIECE_MAX;
    size_t at = (size_t)command->literal_at;
    enum err err = ERR_OK;
    if (len > 0 && literal->fd >= 0)
        err = send_file_piece(client, literal, command->literal_at, len);
    else if (len > 0 && literal->bytes.ptr != NULL)
        imap_client_write(client, span_slice(literal->bytes, at, at + len), command->is_secret);
    else if (len > 0)
        imap_client_write(client, span_slice(buf_span(&command->out->text), literal->at + at, literal->at + at + len),
                          command->is_secret);
    command->literal_at += len;
    if (command->literal_at < literal->len)
        return err;
    if (literal->fd >= 0)
        close(literal->fd);
    else if (literal->bytes.ptr == NULL)
        command->text_at += (size_t)literal->len;
    literal->fd = -1;
    command->literal++;
    command->stage = COMMAND_TEXT;
    return err;
}

/* The next command begins when the one before has gone, and no dialogue is open. */
static bool begin_next(struct imap_client *client)
{
    const struct client_command *before = TAILQ_LAST(&client->sent, client_queue);
    struct client_command *command = TAILQ_FIRST(&client->waiting);
    if (command == NULL || (before != NULL && before->is_dialogue))
        return false;
    TAILQ_REMOVE(&client->waiting, command, link);
    TAILQ_INSERT_TAIL(&client->sent, command, link);
    client->sending = command;
    return true;
}

void imap_client_pump(struct imap_client *client)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && client->failure == ERR_OK && conn_output_len(client->conn) < OUTPUT_PAUSE) {
        struct client_command *command = client->sending;
        if (command == NULL) {
            if (!begin_next(client))
                break;
        } else if (command->stage == COMMAND_WAIT) {
            break;
        } else if (command->stage == COMMAND_TEXT) {
            err = send_text(client, command);
        } else {
            err = send_literal(client, command);
        }
    }
    if (err != ERR_OK)
        imap_client_fail(client, err);
}

bool imap_client_continue(struct imap_client *client)
{
    if (client->sending == NULL || client->sending->stage != COMMAND_WAIT)
        return false;
    client->sending->stage = COMMAND_LITERAL;
    imap_client_pump(client);
    return true;
}

/* ---- answers ---- */

/* A refusal before a literal was let in is the end of the command; one that comes while the rest is still on its way
   (RFC 7888 §3) is told when that has gone, since what was announced must follow. */
void imap_client_answer(struct imap_client *client, struct client_command *command, struct span rest)
{
    struct imap_reply reply;
    if (!imap_client_parse_reply(rest, &reply)) {
        imap_client_fail(client, ERR_UPSTREAM_PROTOCOL);
        return;
    }
    if (client->sending == command && command->stage != COMMAND_WAIT) {
        if (reply.status == IMAP_OK || command->early.len > 0 || buf_add_span(&command->early, rest) != ERR_OK)
            imap_client_fail(client, ERR_UPSTREAM_PROTOCOL);
        return;
    }
    if (command->is_login && reply.status == IMAP_OK) {
        client->is_logged_in = true;
        client->is_fresh = client->is_fresh || span_has_case_prefix(reply.code, SPAN_LIT("CAPABILITY "));
    }
    if (reply.status == IMAP_OK)
        imap_client_hear_code(client, reply.code);
    imap_reply_fn fn = command->fn;
    void *context = command->context;
    TAILQ_REMOVE(&client->sent, command, link);
    command_free(client, command);
    if (!client->is_quitting)
        fn(client, &reply, context);
    if (!imap_client_is_over(client))
        imap_client_pump(client);
}

void imap_client_answer_early(struct imap_client *client)
{
    struct client_command *command, *next;
    for (command = TAILQ_FIRST(&client->sent); command != NULL && !imap_client_is_over(client); command = next) {
        next = TAILQ_NEXT(command, link);
        if (command->stage != COMMAND_SENT || command->early.len == 0)
            continue;
        struct buf rest = command->early;
        buf_init(&command->early, EARLY_MAX);
        imap_client_answer(client, command, buf_span(&rest));
        buf_fini(&rest);
        next = TAILQ_FIRST(&client->sent); /* the owner may have changed the queue */
    }
}

/* ---- the owner's calls ---- */

enum err imap_client_new_command(struct imap_client *client, struct imap_out *out, imap_reply_fn fn, void *context,
                                 struct client_command **command_out)
{
    struct client_command *command = NULL;
    enum err err = out->err;
    if (err == ERR_OK && (client->state == CLIENT_CLOSED || client->failure != ERR_OK))
        err = ERR_UPSTREAM_LOST;
    if (err == ERR_OK && client->commands_len >= COMMANDS_MAX)
        err = ERR_BUSY;
    if (err == ERR_OK && (command = calloc(1, sizeof *command)) == NULL)
        err = ERR_MEMORY;
    if (err == ERR_OK && (command->out = malloc(sizeof *command->out)) == NULL)
        err = ERR_MEMORY;
    if (err != ERR_OK) {
        free(command);
        imap_out_fini(out);
        return err;
    }
    *command->out = *out;
    imap_out_init(out); /* what it held is the command's now */
    command->number = ++client->last_number;
    command->fn = fn;
    command->context = context;
    buf_init_secret(&command->initial, PIECE_MAX);
    buf_init(&command->early, EARLY_MAX);
    client->commands_len++;
    *command_out = command;
    return ERR_OK;
}

void imap_client_queue_command(struct imap_client *client, struct client_command *command)
{
    TAILQ_INSERT_TAIL(&client->waiting, command, link);
    imap_client_pump(client);
    imap_client_set_timeout(client);
}

enum err imap_client_say(struct imap_client *client, const char *word, imap_reply_fn fn, void *context)
{
    struct imap_out out;
    struct client_command *command;
    imap_out_init(&out);
    imap_out_text(&out, span_of(word));
    enum err err = imap_client_new_command(client, &out, fn, context, &command);
    if (err == ERR_OK)
        imap_client_queue_command(client, command);
    return err;
}

enum err imap_client_send(struct imap_client *client, struct imap_out *out, imap_more_fn more, imap_reply_fn fn,
                          void *context)
{
    struct client_command *command;
    if (client->state < CLIENT_READY) {
        imap_out_fini(out);
        return ERR_SEQUENCE;
    }
    enum err err = imap_client_new_command(client, out, fn, context, &command);
    if (err != ERR_OK)
        return err;
    command->more = more;
    command->is_dialogue = more != NULL;
    imap_client_queue_command(client, command);
    return ERR_OK;
}

enum err imap_client_line(struct imap_client *client, const char *line)
{
    struct client_command *command = TAILQ_LAST(&client->sent, client_queue);
    struct buf wire;
    if (client->state != CLIENT_READY || client->failure != ERR_OK)
        return ERR_UPSTREAM_LOST;
    if (client->sending != NULL || command == NULL || !command->is_dialogue)
        return ERR_SEQUENCE;
    buf_init(&wire, PIECE_MAX);
    enum err err = buf_addf(&wire, "%s\r\n", line);
    if (err == ERR_OK) {
        command->is_continued = false;
        imap_client_write(client, buf_span(&wire), false);
        imap_client_set_timeout(client);
    }
    buf_fini(&wire);
    return err;
}

size_t imap_client_open_len(const struct imap_client *client)
{
    return client->commands_len;
}

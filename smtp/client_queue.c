/*
 * The owner's commands: put into words, queued, sent as far as the server's PIPELINING allows (RFC 2920 §3.1).
 */
#include "smtp/client_internal.h"

#include "base/base64.h"

#include <stdlib.h>

#define COMMANDS_MAX 20000u
#define OUTPUT_PAUSE 65536u /* further commands wait until these bytes have gone */

void client_command_free(struct smtp_client *client, struct client_command *command)
{
    client->commands_len--;
    buf_fini(&command->line);
    free(command);
}

struct client_command *client_take_sent(struct smtp_client *client)
{
    struct client_command *command = TAILQ_FIRST(&client->sent);
    if (command != NULL)
        TAILQ_REMOVE(&client->sent, command, link);
    return command;
}

static void drop_queue(struct smtp_client *client, struct client_queue *queue)
{
    struct client_command *command;
    while ((command = TAILQ_FIRST(queue)) != NULL) {
        TAILQ_REMOVE(queue, command, link);
        client_command_free(client, command);
    }
}

void client_drop_commands(struct smtp_client *client, bool is_all)
{
    drop_queue(client, &client->waiting);
    if (is_all)
        drop_queue(client, &client->sent);
}

bool client_is_busy(const struct smtp_client *client)
{
    return client->state != CLIENT_READY || !TAILQ_EMPTY(&client->sent);
}

/* RFC 2920 §3.1: MAIL, RCPT and RSET may stand anywhere in a group, NOOP only at its end. DATA and AUTH, whose replies
   decide what is sent next, go out alone. */
static bool may_send(const struct smtp_client *client, const struct client_command *command)
{
    const struct client_command *before = TAILQ_LAST(&client->sent, client_queue);
    if (client->state != CLIENT_READY || conn_output_len(client->conn) > OUTPUT_PAUSE)
        return false;
    /* Words of the server's that nobody asked for must not become the reply to this command. */
    if (before == NULL)
        return evbuffer_get_length(conn_input(client->conn)) == 0 && client->incoming.code == 0;
    if ((client->features.flags & SMTP_HAS_PIPELINING) == 0)
        return false;
    bool is_open_ended = before->verb == SMTP_MAIL || before->verb == SMTP_RCPT || before->verb == SMTP_RSET;
    return is_open_ended && command->verb != SMTP_DATA && command->verb != SMTP_AUTH;
}

void client_pump(struct smtp_client *client)
{
    struct client_command *command;
    while ((command = TAILQ_FIRST(&client->waiting)) != NULL && may_send(client, command)) {
        TAILQ_REMOVE(&client->waiting, command, link);
        TAILQ_INSERT_TAIL(&client->sent, command, link);
        if (command->verb == SMTP_AUTH)
            client_write_secret(client, buf_span(&command->line));
        else
            client_write(client, buf_span(&command->line));
        buf_fini(&command->line);
        conn_doing(client->conn, smtp_verb_name(command->verb));
    }
    client_set_timeout(client);
}

static enum err judge_state(const struct smtp_client *client)
{
    if (client->state == CLIENT_CLOSED || client->failure != ERR_OK)
        return ERR_UPSTREAM_LOST;
    return client->state < CLIENT_READY ? ERR_SEQUENCE : ERR_OK;
}

static enum err new_command(struct smtp_client *client, enum smtp_verb verb, smtp_reply_fn fn, void *context,
                            struct client_command **command_out)
{
    enum err err = judge_state(client);
    if (err != ERR_OK)
        return err;
    if (client->commands_len >= COMMANDS_MAX)
        return ERR_BUSY;
    struct client_command *command = calloc(1, sizeof *command);
    if (command == NULL)
        return ERR_MEMORY;
    command->verb = verb;
    command->fn = fn;
    command->context = context;
    buf_init_secret(&command->line, SMTP_AUTH_LINE_MAX);
    client->commands_len++;
    *command_out = command;
    return ERR_OK;
}

/* Queues a command whose line was made, or frees it if that failed. */
static enum err queue(struct smtp_client *client, struct client_command *command, enum err err)
{
    if (err != ERR_OK) {
        client_command_free(client, command);
        return err;
    }
    TAILQ_INSERT_TAIL(&client->waiting, command, link);
    client_pump(client);
    return ERR_OK;
}

static enum err queue_word(struct smtp_client *client, enum smtp_verb verb, struct span message, smtp_reply_fn fn,
                           void *context)
{
    struct client_command *command;
    enum err err = new_command(client, verb, fn, context, &command);
    if (err != ERR_OK)
        return err;
    command->message = message;
    return queue(client, command, buf_addf(&command->line, "%s\r\n", smtp_verb_name(verb)));
}

enum err smtp_client_mail(struct smtp_client *client, const struct smtp_mail *mail, smtp_reply_fn fn, void *context)
{
    struct smtp_mail said = *mail;
    struct client_command *command;
    unsigned offered = client->features.flags;
    enum err err = new_command(client, SMTP_MAIL, fn, context, &command);
    if (err != ERR_OK)
        return err;
    /* The body goes out by DATA, so BINARYMIME (which needs BDAT) is never possible. */
    if ((mail->body == SMTP_BODY_8BITMIME && (offered & SMTP_HAS_8BITMIME) == 0) ||
        mail->body == SMTP_BODY_BINARYMIME || (mail->smtputf8 && (offered & SMTP_HAS_SMTPUTF8) == 0))
        return queue(client, command, ERR_UPSTREAM_MISSING);
    if ((offered & SMTP_HAS_8BITMIME) == 0)
        said.body = SMTP_BODY_NONE;
    if ((offered & SMTP_HAS_SIZE) == 0)
        said.has_size = false;
    if ((offered & SMTP_HAS_DSN) == 0)
        said.ret[0] = said.envid[0] = '\0';
    if ((offered & SMTP_HAS_AUTH) == 0)
        said.auth[0] = '\0';
    return queue(client, command, smtp_mail_format(&said, &command->line));
}

enum err smtp_client_rcpt(struct smtp_client *client, const struct smtp_rcpt *rcpt, smtp_reply_fn fn, void *context)
{
    struct smtp_rcpt said = *rcpt;
    struct client_command *command;
    enum err err = new_command(client, SMTP_RCPT, fn, context, &command);
    if (err != ERR_OK)
        return err;
    if ((client->features.flags & SMTP_HAS_DSN) == 0)
        said.notify[0] = said.orcpt[0] = '\0';
    return queue(client, command, smtp_rcpt_format(&said, &command->line));
}

enum err smtp_client_data(struct smtp_client *client, struct span message, smtp_reply_fn fn, void *context)
{
    return queue_word(client, SMTP_DATA, message, fn, context);
}

enum err smtp_client_reset(struct smtp_client *client, smtp_reply_fn fn, void *context)
{
    return queue_word(client, SMTP_RSET, SPAN_NONE, fn, context);
}

enum err smtp_client_noop(struct smtp_client *client, smtp_reply_fn fn, void *context)
{
    return queue_word(client, SMTP_NOOP, SPAN_NONE, fn, context);
}

/* auth-command = "AUTH" SP sasl-mech [SP initial-response]; an empty response is "=" (RFC 4954 §4). */
enum err smtp_client_auth(struct smtp_client *client, enum sasl_mechanism mechanism, bool has_initial,
                          struct span initial, smtp_reply_fn fn, void *context)
{
    struct client_command *command;
    enum err err = new_command(client, SMTP_AUTH, fn, context, &command);
    if (err != ERR_OK)
        return err;
    err = buf_addf(&command->line, "AUTH %s", sasl_name(mechanism));
    if (err == ERR_OK && has_initial)
        err = buf_add_string(&command->line, initial.len == 0 ? " =" : " ");
    if (err == ERR_OK && has_initial)
        err = base64_encode(initial, &command->line);
    if (err == ERR_OK)
        err = buf_add_string(&command->line, "\r\n");
    return queue(client, command, err);
}

static enum err answer_challenge(struct smtp_client *client, struct buf *line, enum err err)
{
    if (err == ERR_OK)
        err = buf_add_string(line, "\r\n");
    if (err == ERR_OK) {
        client->state = CLIENT_READY;
        client_write_secret(client, buf_span(line));
        client_set_timeout(client);
    }
    buf_fini(line);
    return err;
}

static enum err judge_challenge(const struct smtp_client *client)
{
    enum err err = judge_state(client);
    return err == ERR_OK && client->state != CLIENT_CHALLENGED ? ERR_SEQUENCE : err;
}

enum err smtp_client_auth_response(struct smtp_client *client, struct span response)
{
    struct buf line;
    enum err err = judge_challenge(client);
    if (err != ERR_OK)
        return err;
    buf_init_secret(&line, SMTP_AUTH_LINE_MAX);
    return answer_challenge(client, &line, base64_encode(response, &line));
}

enum err smtp_client_auth_cancel(struct smtp_client *client)
{
    struct buf line;
    enum err err = judge_challenge(client);
    if (err != ERR_OK)
        return err;
    buf_init(&line, SMTP_AUTH_LINE_MAX);
    return answer_challenge(client, &line, buf_add_byte(&line, '*'));
}

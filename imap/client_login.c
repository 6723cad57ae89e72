/*
 * Logging in (RFC 3501 §6.2, RFC 4959), challenges, and what the server says that it can do.
 */
#include "imap/client_internal.h"

#include "base/base64.h"
#include "base/log.h"

#include <string.h>

#define RESPONSE_MAX 65536u

/* ---- capabilities ---- */

void imap_client_hear_capabilities(struct imap_client *client, struct span words)
{
    if (imap_capabilities_parse(words, &client->capabilities) != ERR_OK)
        imap_client_fail(client, log_failure(ERR_UPSTREAM_PROTOCOL, "%s: capabilities", conn_peer(client->conn)));
    else
        client->is_fresh = true;
}

void imap_client_hear_code(struct imap_client *client, struct span code)
{
    static const struct span name = SPAN_LIT("CAPABILITY ");
    if (span_has_case_prefix(code, name))
        imap_client_hear_capabilities(client, span_skip(code, name.len));
}

static void on_refreshed(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    imap_reply_fn fn = client->refresh_fn;
    client->refresh_fn = NULL;
    fn(client, reply, context);
}

enum err imap_client_refresh(struct imap_client *client, imap_reply_fn fn, void *context)
{
    if (client->state != CLIENT_READY || client->failure != ERR_OK)
        return ERR_UPSTREAM_LOST;
    if (client->refresh_fn != NULL)
        return ERR_SEQUENCE;
    client->refresh_fn = fn;
    client->refresh_context = context;
    if (!client->is_fresh)
        return imap_client_say(client, "CAPABILITY", on_refreshed, context);
    client->is_refreshed = true;
    event_active(client->wake, 0, 0);
    return ERR_OK;
}

/* ---- login ---- */

static enum err judge(const struct imap_client *client)
{
    if (client->state == CLIENT_CLOSED || client->failure != ERR_OK)
        return ERR_UPSTREAM_LOST;
    return client->state < CLIENT_READY ? ERR_SEQUENCE : ERR_OK;
}

static enum err send_login(struct imap_client *client, struct imap_out *out, imap_reply_fn fn, void *context,
                           struct client_command **command_out)
{
    enum err err = imap_client_new_command(client, out, fn, context, command_out);
    if (err != ERR_OK)
        return err;
    (*command_out)->is_secret = true;
    (*command_out)->is_login = true;
    client->is_fresh = false;
    return ERR_OK;
}

/* authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]; an empty initial response is "=". */
enum err imap_client_auth(struct imap_client *client, enum sasl_mechanism mechanism, bool has_initial,
                          struct span initial, imap_more_fn more, imap_reply_fn fn, void *context)
{
    struct imap_out out;
    struct client_command *command;
    bool is_at_once = has_initial && (client->capabilities.features & IMAP_HAS_SASL_IR) != 0;
    enum err err = judge(client);
    if (err != ERR_OK)
        return err;
    imap_out_init(&out);
    imap_out_addf(&out, "AUTHENTICATE %s", sasl_name(mechanism));
    if (is_at_once)
        imap_out_text(&out, initial.len == 0 ? SPAN_LIT(" =") : SPAN_LIT(" "));
    if (is_at_once && out.err == ERR_OK)
        out.err = base64_encode(initial, &out.text);
    err = send_login(client, &out, fn, context, &command);
    if (err != ERR_OK)
        return err;
    command->more = more;
    command->is_dialogue = true;
    command->has_initial = has_initial && !is_at_once;
    if (command->has_initial)
        err = base64_encode(initial, &command->initial);
    imap_client_queue_command(client, command);
    if (err != ERR_OK)
        imap_client_fail(client, err);
    return ERR_OK;
}

static enum err log_in_plain(struct imap_client *client, struct span user, struct span password, imap_reply_fn fn,
                             void *context)
{
    struct buf response;
    buf_init_secret(&response, RESPONSE_MAX);
    enum err err = sasl_plain_response(user, password, &response);
    if (err == ERR_OK)
        err = imap_client_auth(client, SASL_PLAIN, true, buf_span(&response), NULL, fn, context);
    buf_fini(&response);
    return err;
}

/* login = "LOGIN" SP userid SP password */
enum err imap_client_login(struct imap_client *client, struct span user, struct span password, imap_reply_fn fn,
                           void *context)
{
    struct imap_out out;
    struct client_command *command;
    enum err err = judge(client);
    if (err != ERR_OK)
        return err;
    bool has_plain = (client->capabilities.mechanisms & (sasl_set)1 << SASL_PLAIN) != 0;
    if ((client->capabilities.features & IMAP_HAS_LOGINDISABLED) != 0)
        return has_plain ? log_in_plain(client, user, password, fn, context) : ERR_UPSTREAM_MISSING;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("LOGIN "));
    imap_out_astring(&out, user);
    imap_out_text(&out, SPAN_LIT(" "));
    imap_out_astring(&out, password);
    err = send_login(client, &out, fn, context, &command);
    if (err == ERR_OK)
        imap_client_queue_command(client, command);
    return err;
}

/* ---- challenges ---- */

static enum err answer_challenge(struct imap_client *client, struct client_command *command, struct span response)
{
    struct buf line;
    buf_init_secret(&line, RESPONSE_MAX + 2);
    enum err err = buf_add_span(&line, response);
    if (err == ERR_OK)
        err = buf_add_string(&line, "\r\n");
    if (err == ERR_OK) {
        command->is_continued = false;
        imap_client_write(client, buf_span(&line), true);
        imap_client_set_timeout(client);
    }
    buf_fini(&line);
    return err;
}

enum err imap_client_take_challenge(struct imap_client *client, struct span text)
{
    struct client_command *command = TAILQ_LAST(&client->sent, client_queue);
    if (command == NULL || !command->is_dialogue || command->stage != COMMAND_SENT || command->is_continued)
        return ERR_UPSTREAM_PROTOCOL;
    if (command->has_initial) {
        command->has_initial = false;
        enum err err = answer_challenge(client, command, buf_span(&command->initial));
        buf_fini(&command->initial);
        return err;
    }
    command->is_continued = true;
    imap_client_set_timeout(client);
    if (command->more == NULL)
        return answer_challenge(client, command, SPAN_LIT("*")); /* nobody has an answer to it */
    command->more(client, text, command->context);
    return ERR_OK;
}

static struct client_command *challenged(struct imap_client *client)
{
    struct client_command *command = TAILQ_LAST(&client->sent, client_queue);
    return command != NULL && command->is_login && command->is_continued ? command : NULL;
}

enum err imap_client_auth_response(struct imap_client *client, struct span response)
{
    struct client_command *command = challenged(client);
    struct buf text;
    enum err err = judge(client);
    if (err == ERR_OK && command == NULL)
        err = ERR_SEQUENCE;
    if (err != ERR_OK)
        return err;
    buf_init_secret(&text, RESPONSE_MAX);
    err = base64_encode(response, &text);
    if (err == ERR_OK)
        err = answer_challenge(client, command, buf_span(&text));
    buf_fini(&text);
    return err;
}

enum err imap_client_auth_cancel(struct imap_client *client)
{
    struct client_command *command = challenged(client);
    enum err err = judge(client);
    if (err == ERR_OK && command == NULL)
        err = ERR_SEQUENCE;
    return err == ERR_OK ? answer_challenge(client, command, SPAN_LIT("*")) : err;
}

/*
 * LOGIN and AUTHENTICATE (RFC 3501 §6.2, RFC 4959): the frame around a login that the owner conducts; and STARTTLS,
 * before which neither is taken beyond this machine. Names, passwords and responses are secrets.
 */
#include "imap/server_internal.h"

#include "base/base64.h"
#include "base/log.h"

#include <string.h>

bool imap_server_may_log_in(const struct imap_server *server)
{
    return conn_is_tls(server->conn) || server->options.may_auth_in_clear;
}

static bool may_start_tls(const struct imap_server *server)
{
    return server->options.tls != NULL && !conn_is_tls(server->conn);
}

enum err imap_server_offer(const struct imap_server *server, struct buf *out)
{
    const struct imap_offer offer = {.offers_starttls = may_start_tls(server),
                                     .has_login_disabled = !imap_server_may_log_in(server),
                                     .mechanisms = server->mechanisms};
    return imap_capabilities_before(&offer, out);
}

/* The command is with the owner until it is answered. */
static void open_login(struct imap_server *server, const struct imap_command *command)
{
    memcpy(server->login_tag, command->tag, sizeof server->login_tag);
    conn_doing(server->conn, "logging in");
}

/* login = "LOGIN" SP userid SP password; both are astrings */
void imap_server_do_login(struct imap_server *server, struct imap_command *command)
{
    struct imap_cursor *cursor = &command->arguments;
    struct imap_string user, password;
    if (!imap_server_may_log_in(server)) {
        imap_server_say_err(server, command->tag, ERR_TLS_REQUIRED);
        return;
    }
    if (!imap_take_astring(cursor, &user) || !imap_take_space(cursor) || !imap_take_astring(cursor, &password) ||
        !imap_at_end(cursor)) {
        imap_server_say_err(server, command->tag, ERR_PARAMETER_SYNTAX);
        return;
    }
    struct buf user_text, password_text;
    buf_init_secret(&user_text, SERVER_TEXT_MAX_NEW);
    buf_init_secret(&password_text, SERVER_TEXT_MAX_NEW);
    enum err err = imap_string_add(&user, &user_text);
    if (err == ERR_OK)
        err = imap_string_add(&password, &password_text);
    if (err == ERR_OK) {
        open_login(server, command);
        server->options.handlers->on_login(server, server->login_tag, buf_span(&user_text), buf_span(&password_text),
                                           server->options.owner);
    } else {
        imap_server_say_err(server, command->tag, err == ERR_MALFORMED ? ERR_PARAMETER_SYNTAX : err);
    }
    buf_fini(&user_text);
    buf_fini(&password_text);
}

static enum err judge_mechanism(const struct imap_server *server, enum sasl_mechanism mechanism)
{
    if (!imap_server_may_log_in(server))
        return ERR_TLS_REQUIRED;
    if (mechanism == SASL_NONE || (server->mechanisms & (sasl_set)1 << mechanism) == 0)
        return ERR_AUTH_MECHANISM;
    return ERR_OK;
}

/* authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]; initial-resp = base64 / "=" (RFC 4959 §6) */
void imap_server_do_authenticate(struct imap_server *server, struct imap_command *command)
{
    struct imap_cursor *cursor = &command->arguments;
    struct span name, response = SPAN_NONE;
    struct buf initial;
    enum err err = ERR_OK;
    if (!imap_take_atom(cursor, &name))
        err = ERR_PARAMETER_SYNTAX;
    bool has_initial = err == ERR_OK && imap_take_space(cursor);
    if (err == ERR_OK && ((has_initial && !imap_take_atom(cursor, &response)) || !imap_at_end(cursor)))
        err = ERR_PARAMETER_SYNTAX;
    enum sasl_mechanism mechanism = err == ERR_OK ? sasl_parse(name) : SASL_NONE;
    if (err == ERR_OK)
        err = judge_mechanism(server, mechanism);
    buf_init_secret(&initial, SERVER_TEXT_MAX_NEW);
    if (err == ERR_OK && has_initial && !span_is_equal(response, SPAN_LIT("=")))
        err = base64_decode(response, &initial) == ERR_OK ? ERR_OK : ERR_PARAMETER_SYNTAX;
    if (err == ERR_OK) {
        open_login(server, command);
        server->options.handlers->on_authenticate(server, server->login_tag, mechanism, has_initial, buf_span(&initial),
                                                  server->options.owner);
    } else {
        imap_server_say_err(server, command->tag, err);
    }
    buf_fini(&initial);
}

static void cancel(struct imap_server *server, enum err err)
{
    char tag[sizeof server->login_tag];
    memcpy(tag, server->login_tag, sizeof tag);
    server->login_tag[0] = '\0';
    imap_server_read(server, SERVER_INPUT_TEXT);
    imap_server_say_err(server, tag, err);
    server->options.handlers->on_auth_cancel(server, server->options.owner);
}

/* A response is one line of base64, empty for an empty response, or "*" to give up. */
void imap_server_take_auth_line(struct imap_server *server, struct span line)
{
    struct buf response;
    if (span_is_equal(line, SPAN_LIT("*"))) {
        cancel(server, ERR_AUTH_CANCELLED);
        return;
    }
    buf_init_secret(&response, SERVER_TEXT_MAX_NEW);
    enum err err = base64_decode(line, &response);
    if (err == ERR_OK) {
        imap_server_read(server, SERVER_INPUT_TEXT);
        server->options.handlers->on_auth_response(server, buf_span(&response), server->options.owner);
    } else {
        cancel(server, err == ERR_MALFORMED ? ERR_PARAMETER_SYNTAX : err);
    }
    buf_fini(&response);
}

/* starttls = "STARTTLS" (RFC 3501 §6.2.1). Whatever came behind it was sent in clear, by whoever sat on the line: it is
   thrown away unread (design 1.1.9). */
void imap_server_do_starttls(struct imap_server *server, struct imap_command *command)
{
    if (!may_start_tls(server)) {
        imap_server_say_err(server, command->tag, conn_is_tls(server->conn) ? ERR_SEQUENCE : ERR_COMMAND_UNKNOWN);
        return;
    }
    if (evbuffer_get_length(conn_input(server->conn)) > 0)
        log_warning("%s: commands sent in clear behind STARTTLS are thrown away", conn_peer(server->conn));
    imap_server_say_status(server, command->tag, "OK", NULL, "Begin TLS negotiation now");
    if (server->input == SERVER_INPUT_ENDED)
        return;
    imap_server_read(server, SERVER_INPUT_HANDSHAKE);
    enum err err = conn_start_tls_server(server->conn, server->options.tls);
    if (err != ERR_OK)
        imap_server_end_forced(server, log_failure(err, "%s: STARTTLS", conn_peer(server->conn)));
}

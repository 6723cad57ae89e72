/*
 * AUTH (RFC 4954 §4): the frame around a SASL exchange that the owner conducts. Responses are secrets.
 */
#include "smtp/server_internal.h"

#include "base/base64.h"

bool server_may_offer_auth(const struct smtp_server *server)
{
    return conn_is_tls(server->conn) || server->options.may_auth_in_clear;
}

static enum err judge_mechanism(const struct smtp_server *server, enum sasl_mechanism mechanism)
{
    if (server->is_authenticated)
        return ERR_SEQUENCE;
    if (!server_may_offer_auth(server))
        return ERR_TLS_REQUIRED;
    if ((server->features.flags & SMTP_HAS_AUTH) == 0)
        return ERR_COMMAND_UNKNOWN;
    if (mechanism == SASL_NONE || (server->features.mechanisms & (sasl_set)1 << mechanism) == 0)
        return ERR_AUTH_MECHANISM;
    return ERR_OK;
}

/* auth-command = "AUTH" SP sasl-mech [SP initial-response]; initial-response = base64 / "=" */
void server_do_auth(struct smtp_server *server, struct span argument)
{
    struct span name;
    struct span rest = argument;
    (void)span_take_until(&rest, ' ', &name);
    rest = span_trim(rest);
    enum sasl_mechanism mechanism = sasl_parse(name);
    enum err err = judge_mechanism(server, mechanism);
    if (err != ERR_OK) {
        server_say_bad(server, err);
        return;
    }
    struct buf initial;
    bool has_initial = rest.len > 0;
    buf_init_secret(&initial, SMTP_AUTH_LINE_MAX);
    if (has_initial && !span_is_equal(rest, SPAN_LIT("=")))
        err = base64_decode(rest, &initial);
    if (err == ERR_OK) {
        server_open(server, SMTP_AUTH);
        server->options.handlers->on_auth(server, mechanism, has_initial, buf_span(&initial), server->options.owner);
    } else {
        server_say_text(server, 501, "5.5.2", "The response is no base64");
        server_count_bad(server);
    }
    buf_fini(&initial);
}

void smtp_server_challenge(struct smtp_server *server, struct span challenge)
{
    if (server->open != SMTP_AUTH)
        return;
    struct buf wire;
    buf_init(&wire, SMTP_AUTH_LINE_MAX);
    enum err err = buf_add_string(&wire, "334 ");
    if (err == ERR_OK)
        err = base64_encode(challenge, &wire);
    if (err == ERR_OK)
        err = buf_add_string(&wire, "\r\n");
    if (err == ERR_OK)
        err = conn_write(server->conn, buf_span(&wire));
    buf_fini(&wire);
    if (err != ERR_OK) {
        smtp_server_fail(server, err, NULL);
        return;
    }
    server->open = SMTP_UNKNOWN;
    server_read(server, SERVER_INPUT_AUTH);
    if (server->must_end)
        smtp_server_shutdown(server, server->end_why, NULL);
    else if (!server->is_running)
        event_active(server->wake, 0, 0);
}

void server_cancel_auth(struct smtp_server *server, enum err err)
{
    server_read(server, SERVER_INPUT_COMMAND);
    if (err == ERR_MALFORMED) {
        server_say_text(server, 501, "5.5.2", "The response is no base64");
        server_count_bad(server);
    } else {
        server_say_bad(server, err);
    }
    server->options.handlers->on_auth_cancel(server, server->options.owner);
}

/* A response is one line of base64, empty for an empty response, or "*" to give up. */
void server_take_auth_line(struct smtp_server *server)
{
    struct span line = buf_span(&server->line);
    if (span_is_equal(line, SPAN_LIT("*"))) {
        server_cancel_auth(server, ERR_AUTH_CANCELLED);
        return;
    }
    struct buf response;
    buf_init_secret(&response, SMTP_AUTH_LINE_MAX);
    enum err err = base64_decode(line, &response);
    if (err == ERR_OK) {
        server_open(server, SMTP_AUTH);
        server->options.handlers->on_auth_response(server, buf_span(&response), server->options.owner);
    } else {
        server_cancel_auth(server, err);
    }
    buf_fini(&response);
}

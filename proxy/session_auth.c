/*
 * Login: the client's response names the account, the account names the upstream, and the upstream judges the password.
 */
#include "proxy/session_internal.h"

#include "base/base64.h"
#include "proxy/owner.h"

#include <string.h>

#define RESPONSE_MAX 8192

static void fail(struct proxy_session *session, enum err err)
{
    session->auth = SESSION_AUTH_NONE;
    secret_fini(&session->response);
    smtp_client_free(&session->upstream);
    smtp_server_fail(session->server, err, NULL);
}

static enum err choose_account(struct proxy_session *session, const char *login)
{
    const struct config *config = session->net->config;
    const struct config_account *account = config_account_of_login(config, session->listener, login);
    if (account == NULL || !config_has_upstream(account, CONFIG_SMTP)) {
        /* The name stays out of the log: it may be a password typed into the wrong field. */
        log_warning("%s: no account has the login name given", session->peer);
        return ERR_AUTH_FAILED;
    }
    session->account = (size_t)(account - config->accounts);
    return ERR_OK;
}

static enum err connect_upstream(struct proxy_session *session)
{
    struct smtp_client_options options = proxy_upstream_smtp(session->net, session->account);
    options.handlers = &session_upstream_handlers;
    options.owner = session;
    smtp_client_free(&session->upstream);
    session->auth = SESSION_AUTH_CONNECT;
    session->auth_step = 0;
    enum err err = smtp_client_new(&options, &session->upstream);
    if (err != ERR_OK)
        session->upstream = NULL;
    return err;
}

static enum err ask(struct proxy_session *session, enum session_auth state, const char *challenge)
{
    session->auth = state;
    smtp_server_challenge(session->server, span_of(challenge));
    return ERR_OK;
}

/* The first response: it names the account (in every mechanism but CRAM-MD5, which does not come here). */
static enum err take_initial(struct proxy_session *session, struct span response)
{
    enum err err = sasl_login(session->mechanism, 0, response, session->login, sizeof(session->login));
    if (err == ERR_AGAIN)
        err = ERR_AUTH_FAILED;
    if (err == ERR_OK)
        err = choose_account(session, session->login);
    if (err != ERR_OK)
        return err;
    if (session->mechanism == SASL_LOGIN)
        return ask(session, SESSION_AUTH_PASSWORD, "Password:");
    err = secret_set(&session->response, response, RESPONSE_MAX);
    return err == ERR_OK ? connect_upstream(session) : err;
}

void session_on_auth(struct smtp_server *server, enum sasl_mechanism mechanism, bool has_initial, struct span initial,
                     void *owner)
{
    struct proxy_session *session = owner;
    (void)server;
    session->mechanism = mechanism;
    session->is_authenticated = false; /* a login before STARTTLS counts no more */
    enum err err = proxy_owner_check(session->net->diag, smtp_server_conn(session->server));
    if (err != ERR_OK) {
        fail(session, err);
        return;
    }
    if (has_initial)
        err = take_initial(session, initial);
    else if (mechanism == SASL_CRAM_MD5) {
        /* The challenge comes first; it is offered only where all accounts have this same upstream. */
        session->account = session->listener->accounts[0];
        err = connect_upstream(session);
    } else
        err = ask(session, SESSION_AUTH_INITIAL, mechanism == SASL_LOGIN ? "Username:" : "");
    if (err != ERR_OK)
        fail(session, err);
}

static void on_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context);

/* A password in hand, in the form the upstream takes: PLAIN where it can, else LOGIN. */
static enum err send_password(struct proxy_session *session)
{
    struct buf plain;
    sasl_set offered = smtp_client_features(session->upstream)->mechanisms;
    enum err err = ERR_OK;
    if ((offered & 1u << SASL_PLAIN) == 0 && (offered & 1u << SASL_LOGIN) != 0)
        return smtp_client_auth(session->upstream, SASL_LOGIN, false, SPAN_NONE, on_reply, session);
    buf_init_secret(&plain, RESPONSE_MAX);
    if (session->mechanism == SASL_LOGIN)
        err = sasl_plain_response(span_of(session->login), secret_span(&session->response), &plain);
    else
        err = buf_add_span(&plain, secret_span(&session->response));
    if (err == ERR_OK)
        err = smtp_client_auth(session->upstream, SASL_PLAIN, true, buf_span(&plain), on_reply, session);
    buf_fini(&plain);
    secret_fini(&session->response);
    return err;
}

void session_on_upstream_ready(struct smtp_client *client, void *owner);

void session_on_upstream_ready(struct smtp_client *client, void *owner)
{
    struct proxy_session *session = owner;
    enum err err;
    session->auth = SESSION_AUTH_RELAY;
    if (sasl_is_plaintext(session->mechanism) && session->mechanism != SASL_XOAUTH2 &&
        session->mechanism != SASL_OAUTHBEARER)
        err = send_password(session);
    else if ((smtp_client_features(client)->mechanisms & 1u << session->mechanism) == 0)
        err = ERR_AUTH_MECHANISM;
    else {
        bool has_initial = session->mechanism != SASL_CRAM_MD5;
        err = smtp_client_auth(client, session->mechanism, has_initial, secret_span(&session->response), on_reply,
                               session);
        secret_fini(&session->response);
    }
    if (err != ERR_OK)
        fail(session, err);
}

/* The password out of a PLAIN response: what follows the second NUL (RFC 4616). */
static struct span plain_password(struct span response)
{
    size_t first = span_find_byte(response, 0, '\0');
    size_t second = span_find_byte(response, first + 1, '\0');
    return span_skip(response, second + 1);
}

/* The upstream asks: PLAIN or LOGIN spoken as LOGIN is answered here, everything else goes to the client. */
static enum err take_challenge(struct proxy_session *session, const struct smtp_reply *reply)
{
    struct buf challenge;
    unsigned step = session->auth_step++;
    if (session->mechanism == SASL_PLAIN || session->mechanism == SASL_LOGIN) {
        struct span password = secret_span(&session->response);
        if (session->mechanism == SASL_PLAIN)
            password = plain_password(password);
        if (step > 1 || session->response.data == NULL)
            return ERR_UPSTREAM_PROTOCOL;
        return smtp_client_auth_response(session->upstream, step == 0 ? span_of(session->login) : password);
    }
    buf_init(&challenge, RESPONSE_MAX);
    enum err err = base64_decode(buf_span(&reply->text), &challenge);
    if (err == ERR_OK)
        smtp_server_challenge(session->server, buf_span(&challenge));
    buf_fini(&challenge);
    return err == ERR_OK ? ERR_OK : ERR_UPSTREAM_PROTOCOL;
}

static void on_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct proxy_session *session = context;
    (void)client;
    if (session->server == NULL)
        return;
    if (reply->code == 334) {
        enum err err = take_challenge(session, reply);
        if (err != ERR_OK)
            fail(session, err);
        return;
    }
    /* 235 alone means success (RFC 4954 section 4); another 2yz is an answer to something else. */
    if (smtp_reply_is_ok(reply) && reply->code != 235) {
        fail(session, ERR_UPSTREAM_PROTOCOL);
        return;
    }
    session->auth = SESSION_AUTH_NONE;
    secret_fini(&session->response);
    session->is_authenticated = reply->code == 235;
    log_info("%s: login of %s %s", session->peer, session_account(session)->address,
             session->is_authenticated ? "accepted" : "refused by the server");
    smtp_server_reply(session->server, reply);
    if (!session->is_authenticated)
        smtp_client_quit(&session->upstream);
}

void session_on_auth_response(struct smtp_server *server, struct span response, void *owner)
{
    struct proxy_session *session = owner;
    enum err err = ERR_OK;
    (void)server;
    switch (session->auth) {
    case SESSION_AUTH_INITIAL:
        err = take_initial(session, response);
        break;
    case SESSION_AUTH_PASSWORD:
        err = secret_set(&session->response, response, RESPONSE_MAX);
        if (err == ERR_OK)
            err = connect_upstream(session);
        break;
    case SESSION_AUTH_RELAY:
        if (session->mechanism == SASL_CRAM_MD5 && session->auth_step == 1) {
            err = sasl_login(SASL_CRAM_MD5, 0, response, session->login, sizeof(session->login));
            if (err == ERR_OK)
                err = choose_account(session, session->login);
        }
        if (err == ERR_OK)
            err = smtp_client_auth_response(session->upstream, response);
        break;
    default:
        err = ERR_SEQUENCE;
    }
    if (err != ERR_OK)
        fail(session, err);
}

void session_on_auth_cancel(struct smtp_server *server, void *owner)
{
    struct proxy_session *session = owner;
    (void)server;
    session->auth = SESSION_AUTH_NONE;
    secret_fini(&session->response);
    smtp_client_free(&session->upstream);
}

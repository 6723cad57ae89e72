/*
 * Login: the name chooses the account, the account its server, and the server judges the password. What it offers
 * afterwards is asked before the client is told.
 */
#include "proxy/imap_internal.h"

#include "base/base64.h"
#include "crypto/seal.h"
#include "proxy/owner.h"

#include <stdio.h>
#include <string.h>

#define RESPONSE_MAX 8192

static void end_exchange(struct imap_session *session)
{
    session->auth = IMAP_AUTH_NONE;
    secret_fini(&session->response);
    secret_fini(&session->password);
}

static void fail(struct imap_session *session, enum err err)
{
    end_exchange(session);
    imap_client_free(&session->upstream);
    if (session->server != NULL)
        imap_server_fail(session->server, session->auth_tag, err);
}

void imap_auth_lost(struct imap_session *session, enum err why)
{
    fail(session, why);
}

static enum err choose_account(struct imap_session *session)
{
    const struct config *config = session->net->config;
    const struct config_account *account = config_account_of_login(config, session->listener, session->login);
    if (account == NULL || !config_has_upstream(account, CONFIG_IMAP)) {
        /* The name stays out of the log: it may be a password typed into the wrong field. */
        log_warning("%s: no account has the login name given", session->peer);
        return ERR_AUTH_FAILED;
    }
    session->account = (size_t)(account - config->accounts);
    return ERR_OK;
}

static enum err connect_upstream(struct imap_session *session)
{
    struct imap_client_options options = proxy_upstream_imap(session->net, session->account);
    options.handlers = &imap_session_upstream;
    options.owner = session;
    imap_client_free(&session->upstream);
    session->auth = IMAP_AUTH_CONNECT;
    session->auth_step = 0;
    enum err err = imap_client_new(&options, &session->upstream);
    if (err != ERR_OK)
        session->upstream = NULL;
    return err;
}

/* ---- after the server has accepted ---- */

/* A reply's text without a response code that speaks of the server's own capabilities. */
static struct span text_of(const struct imap_reply *reply)
{
    struct span text = span_trim(reply->rest);
    text = span_skip(text, span_find_byte(text, 0, ' ') + 1);
    if (text.len > 0 && text.ptr[0] == '[')
        text = span_skip(text, span_find_byte(text, 0, ']') + 1);
    return span_trim(text);
}

static enum err show_capabilities(struct imap_session *session)
{
    bool is_sealing = !imap_session_account(session)->append_plain;
    struct imap_offer offer = {.offers_compress = true};
    buf_clear(&session->shown);
    enum err err =
        imap_capabilities_after(imap_client_capabilities(session->upstream), &offer,
                                is_sealing ? CRYPTO_SEALED_PERCENT : 0, CRYPTO_SEALED_HEADERS, &session->shown);
    if (err == ERR_OK)
        imap_server_set_capabilities(session->server, buf_span(&session->shown));
    return err;
}

static void on_capabilities(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_session *session = context;
    struct buf line;
    (void)client;
    buf_init(&line, 32768);
    enum err err = reply->status == IMAP_OK ? show_capabilities(session) : ERR_UPSTREAM_PROTOCOL;
    if (err == ERR_OK)
        err = buf_addf(&line, "OK [CAPABILITY %s] %s\r\n", session->shown.data, session->login_reply.data);
    if (err == ERR_OK) {
        end_exchange(session);
        imap_server_set_state(session->server, IMAP_STATE_AUTHENTICATED);
        imap_server_done_line(session->server, session->auth_tag, buf_span(&line));
        proxy_views_unlock(session->net->views, session->account);
    } else
        fail(session, err);
    buf_fini(&line);
}

static void on_login_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_session *session = context;
    log_info("%s: login of %s %s", session->peer, imap_session_account(session)->address,
             reply->status == IMAP_OK ? "accepted" : "refused by the server");
    if (reply->status != IMAP_OK) {
        end_exchange(session);
        imap_server_done_line(session->server, session->auth_tag, reply->rest);
        imap_client_quit(&session->upstream);
        return;
    }
    session->auth = IMAP_AUTH_CAPABILITIES;
    buf_clear(&session->login_reply);
    enum err err = buf_add_span(&session->login_reply, text_of(reply));
    if (err == ERR_OK)
        err = imap_client_refresh(client, on_capabilities, session);
    if (err != ERR_OK)
        fail(session, err);
}

/* ---- before ---- */

/* A challenge goes to the client as it came; both sides of this dialogue are the mechanism's own business. */
static void on_challenge(struct imap_client *client, struct span text, void *context)
{
    struct imap_session *session = context;
    struct buf challenge;
    (void)client;
    buf_init(&challenge, RESPONSE_MAX);
    session->auth_step++;
    if (base64_decode(text, &challenge) == ERR_OK)
        imap_server_challenge(session->server, buf_span(&challenge));
    else
        fail(session, ERR_UPSTREAM_PROTOCOL);
    buf_fini(&challenge);
}

void imap_auth_on_ready(struct imap_client *client, void *owner)
{
    struct imap_session *session = owner;
    enum err err;
    session->auth = IMAP_AUTH_RELAY;
    if (session->password.data != NULL)
        err = imap_client_login(client, span_of(session->login), secret_span(&session->password), on_login_reply,
                                session);
    else if ((imap_client_capabilities(client)->mechanisms & 1u << session->mechanism) == 0)
        err = ERR_AUTH_MECHANISM;
    else
        err = imap_client_auth(client, session->mechanism, session->mechanism != SASL_CRAM_MD5,
                               secret_span(&session->response), on_challenge, on_login_reply, session);
    secret_fini(&session->response);
    secret_fini(&session->password);
    if (err != ERR_OK)
        fail(session, err);
}

/* A name and a password, in whatever form they came. */
static enum err take_password(struct imap_session *session, struct span password)
{
    enum err err = choose_account(session);
    if (err == ERR_OK)
        err = secret_set(&session->password, password, RESPONSE_MAX);
    return err == ERR_OK ? connect_upstream(session) : err;
}

static bool begin(struct imap_session *session, const char *tag)
{
    snprintf(session->auth_tag, sizeof(session->auth_tag), "%s", tag);
    enum err err = session->auth == IMAP_AUTH_NONE ? ERR_OK : ERR_SEQUENCE;
    if (err == ERR_OK)
        err = proxy_owner_check(session->net->diag, imap_server_conn(session->server));
    if (err != ERR_OK)
        imap_server_fail(session->server, tag, err);
    return err == ERR_OK;
}

void imap_auth_on_login(struct imap_server *server, const char *tag, struct span user, struct span password,
                        void *owner)
{
    struct imap_session *session = owner;
    (void)server;
    if (!begin(session, tag))
        return;
    session->mechanism = SASL_PLAIN;
    enum err err = span_copy(user, session->login, sizeof(session->login)) ? ERR_OK : ERR_AUTH_FAILED;
    if (err == ERR_OK)
        err = take_password(session, password);
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

static enum err ask(struct imap_session *session, enum imap_auth_state state, const char *challenge)
{
    session->auth = state;
    imap_server_challenge(session->server, span_of(challenge));
    return ERR_OK;
}

/* The first response: it names the account (in every mechanism but CRAM-MD5, which does not come here). */
static enum err take_initial(struct imap_session *session, struct span response)
{
    enum err err = sasl_login(session->mechanism, 0, response, session->login, sizeof(session->login));
    if (err != ERR_OK)
        return err == ERR_AGAIN ? ERR_AUTH_FAILED : err;
    if (session->mechanism == SASL_PLAIN)
        return take_password(session, plain_password(response));
    if (session->mechanism == SASL_LOGIN)
        return ask(session, IMAP_AUTH_PASSWORD, "Password:");
    err = choose_account(session);
    if (err == ERR_OK)
        err = secret_set(&session->response, response, RESPONSE_MAX);
    return err == ERR_OK ? connect_upstream(session) : err;
}

void imap_auth_on_authenticate(struct imap_server *server, const char *tag, enum sasl_mechanism mechanism,
                               bool has_initial, struct span initial, void *owner)
{
    struct imap_session *session = owner;
    enum err err;
    (void)server;
    if (!begin(session, tag))
        return;
    session->mechanism = mechanism;
    if (has_initial)
        err = take_initial(session, initial);
    else if (mechanism == SASL_CRAM_MD5) {
        /* The challenge comes first; it is offered only where all accounts have this same server. */
        session->account = session->listener->accounts[0];
        err = connect_upstream(session);
    } else
        err = ask(session, IMAP_AUTH_INITIAL, mechanism == SASL_LOGIN ? "Username:" : "");
    if (err != ERR_OK)
        fail(session, err);
}

static enum err relay_response(struct imap_session *session, struct span response)
{
    if (session->mechanism == SASL_CRAM_MD5 && session->auth_step == 1) {
        enum err err = sasl_login(SASL_CRAM_MD5, 0, response, session->login, sizeof(session->login));
        if (err == ERR_OK)
            err = choose_account(session);
        if (err != ERR_OK)
            return err;
    }
    return imap_client_auth_response(session->upstream, response);
}

void imap_auth_on_response(struct imap_server *server, struct span response, void *owner)
{
    struct imap_session *session = owner;
    enum err err = ERR_SEQUENCE;
    (void)server;
    if (session->auth == IMAP_AUTH_INITIAL)
        err = take_initial(session, response);
    else if (session->auth == IMAP_AUTH_PASSWORD)
        err = take_password(session, response);
    else if (session->auth == IMAP_AUTH_RELAY && session->upstream != NULL)
        err = relay_response(session, response);
    if (err != ERR_OK)
        fail(session, err);
}

void imap_auth_on_cancel(struct imap_server *server, void *owner)
{
    struct imap_session *session = owner;
    (void)server;
    end_exchange(session);
    imap_client_free(&session->upstream);
}

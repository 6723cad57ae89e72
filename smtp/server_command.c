/*
 * The table of verbs: which command is legal in which state, and what it means; and the handlers that are a few lines.
 */
#include "smtp/server_internal.h"

#include "base/log.h"

enum argument { ARGUMENT_NONE, ARGUMENT_OPTIONAL, ARGUMENT_REQUIRED };

/* ehlo = "EHLO" SP ( Domain / address-literal ) CRLF; helo = "HELO" SP Domain CRLF (RFC 5321 §4.1.1.1). The name is not
   looked at: many programs do not know theirs. A hello in mid-transaction is a RSET (§4.1.4). */
static void do_hello(struct smtp_server *server, enum smtp_verb verb)
{
    server_reset_transaction(server);
    server_open(server, verb);
    server->options.handlers->on_hello(server, server->options.owner);
}

static void do_ehlo(struct smtp_server *server, struct span argument)
{
    (void)argument;
    do_hello(server, SMTP_EHLO);
}

static void do_helo(struct smtp_server *server, struct span argument)
{
    (void)argument;
    do_hello(server, SMTP_HELO);
}

/* "STARTTLS" CRLF (RFC 3207 §4). Whatever came behind it was sent in clear, by whoever sat on the line: a client waits
   for the 220. */
static void do_starttls(struct smtp_server *server, struct span argument)
{
    (void)argument;
    if ((server->features.flags & SMTP_HAS_STARTTLS) == 0 || server->options.tls == NULL) {
        server_say_bad(server, ERR_COMMAND_UNKNOWN);
        return;
    }
    if (conn_is_tls(server->conn)) {
        server_say_bad(server, ERR_SEQUENCE);
        return;
    }
    if (evbuffer_get_length(conn_input(server->conn)) > 0) {
        log_warning("%s: commands sent in clear behind STARTTLS are thrown away", conn_peer(server->conn));
        server_drop_input(server);
        server_say_text(server, 554, "5.5.1", "Nothing may follow STARTTLS in clear");
        server_count_bad(server);
        return;
    }
    server_say_text(server, 220, "2.0.0", "Ready to start TLS");
    if (server->input == SERVER_INPUT_ENDED)
        return;
    server_read(server, SERVER_INPUT_HANDSHAKE);
    enum err err = conn_start_tls_server(server->conn, server->options.tls);
    if (err == ERR_OK)
        return;
    log_failure(err, "%s: STARTTLS", conn_peer(server->conn));
    server->is_end_forced = true;
    server_end(server, err);
}

/* rset = "RSET" CRLF (RFC 5321 §4.1.1.5) */
static void do_rset(struct smtp_server *server, struct span argument)
{
    (void)argument;
    server_say_err(server, ERR_OK);
    server_reset_transaction(server);
}

/* noop = "NOOP" [ SP String ] CRLF (RFC 5321 §4.1.1.9) */
static void do_noop(struct smtp_server *server, struct span argument)
{
    (void)argument;
    server_say_err(server, ERR_OK);
}

/* help = "HELP" [ SP String ] CRLF (RFC 5321 §4.1.1.8) */
static void do_help(struct smtp_server *server, struct span argument)
{
    (void)argument;
    server_say_text(server, 214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT; RFC 5321");
}

/* vrfy = "VRFY" SP String CRLF (RFC 5321 §4.1.1.6, §3.5.3: 252 where there is nothing to look in). */
static void do_vrfy(struct smtp_server *server, struct span argument)
{
    (void)argument;
    server_say_text(server, 252, "2.5.0", "Cannot verify, but RCPT will be tried");
}

/* expn = "EXPN" SP String CRLF (RFC 5321 §4.1.1.7); there are no lists here. */
static void do_expn(struct smtp_server *server, struct span argument)
{
    (void)argument;
    server_say_text(server, 502, "5.5.1", "There are no lists to expand here");
}

/* quit = "QUIT" CRLF (RFC 5321 §4.1.1.10) */
static void do_quit(struct smtp_server *server, struct span argument)
{
    (void)argument;
    server_say_text(server, 221, "2.0.0", "Goodbye");
    server_end(server, ERR_END);
}

struct rule {
    void (*handle)(struct smtp_server *server, struct span argument);
    enum argument argument;
    bool needs_auth;
    enum err in_state[SERVER_STATE_COUNT]; /* ERR_OK: legal */
};

#define OK ERR_OK
#define SEQ ERR_SEQUENCE
#define NO_RCPT ERR_NO_RECIPIENTS

/* clang-format off */
static const struct rule rules[SMTP_VERB_COUNT] = {
    /*                                                       new  ready mail    rcpt bdat */
    [SMTP_HELO] =     {do_helo,        ARGUMENT_REQUIRED, false, {OK,  OK,  OK,      OK,  OK}},
    [SMTP_EHLO] =     {do_ehlo,        ARGUMENT_REQUIRED, false, {OK,  OK,  OK,      OK,  OK}},
    [SMTP_STARTTLS] = {do_starttls,    ARGUMENT_NONE,     false, {SEQ, OK,  SEQ,     SEQ, SEQ}},
    [SMTP_AUTH] =     {server_do_auth, ARGUMENT_REQUIRED, false, {SEQ, OK,  SEQ,     SEQ, SEQ}},
    [SMTP_MAIL] =     {server_do_mail, ARGUMENT_REQUIRED, true,  {SEQ, OK,  SEQ,     SEQ, SEQ}},
    [SMTP_RCPT] =     {server_do_rcpt, ARGUMENT_REQUIRED, true,  {SEQ, SEQ, OK,      OK,  SEQ}},
    [SMTP_DATA] =     {server_do_data, ARGUMENT_NONE,     true,  {SEQ, SEQ, NO_RCPT, OK,  SEQ}},
    [SMTP_BDAT] =     {server_do_bdat, ARGUMENT_REQUIRED, true,  {SEQ, SEQ, NO_RCPT, OK,  OK}},
    [SMTP_RSET] =     {do_rset,        ARGUMENT_NONE,     false, {OK,  OK,  OK,      OK,  OK}},
    [SMTP_NOOP] =     {do_noop,        ARGUMENT_OPTIONAL, false, {OK,  OK,  OK,      OK,  OK}},
    [SMTP_VRFY] =     {do_vrfy,        ARGUMENT_REQUIRED, false, {OK,  OK,  OK,      OK,  OK}},
    [SMTP_EXPN] =     {do_expn,        ARGUMENT_REQUIRED, false, {OK,  OK,  OK,      OK,  OK}},
    [SMTP_HELP] =     {do_help,        ARGUMENT_OPTIONAL, false, {OK,  OK,  OK,      OK,  OK}},
    [SMTP_QUIT] =     {do_quit,        ARGUMENT_NONE,     false, {OK,  OK,  OK,      OK,  OK}},
};
/* clang-format on */

static enum err judge(const struct smtp_server *server, enum smtp_verb verb, struct span argument)
{
    const struct rule *rule = &rules[verb];
    if (rule->handle == NULL)
        return ERR_COMMAND_UNKNOWN;
    enum err err = rule->in_state[server->state];
    if (err != ERR_OK)
        return err;
    if (rule->needs_auth && !server->is_authenticated)
        return server_may_offer_auth(server) ? ERR_AUTH_REQUIRED : ERR_TLS_REQUIRED;
    if ((rule->argument == ARGUMENT_NONE && argument.len > 0) ||
        (rule->argument == ARGUMENT_REQUIRED && argument.len == 0))
        return ERR_PARAMETER_SYNTAX;
    /* Addresses may be UTF-8 (RFC 6531), nothing else. */
    if (verb != SMTP_MAIL && verb != SMTP_RCPT && server_has_8bit(buf_span(&server->line)))
        return ERR_COMMAND_SYNTAX;
    return ERR_OK;
}

/* A client that pipelines learns only afterwards that its sender or all its recipients were refused. */
static bool is_forgiven(const struct smtp_server *server, enum smtp_verb verb, enum err err)
{
    return err == ERR_NO_RECIPIENTS || (err == ERR_SEQUENCE && server->state == SERVER_READY &&
                                        server->is_mail_refused && (verb == SMTP_RCPT || verb == SMTP_DATA));
}

void server_take_command(struct smtp_server *server)
{
    struct span argument;
    enum smtp_verb verb = smtp_command_split(buf_span(&server->line), &argument);
    enum err err = judge(server, verb, argument);
    if (err == ERR_OK)
        rules[verb].handle(server, argument);
    else if (verb == SMTP_BDAT)
        server_refuse_chunk(server, argument, err);
    else if (is_forgiven(server, verb, err))
        server_say_err(server, err);
    else
        server_say_bad(server, err);
}

static enum err add_offers(const struct smtp_server *server, struct buf *text)
{
    static const struct {
        enum smtp_feature feature;
        const char *line;
    } plain[] = {{SMTP_HAS_PIPELINING, "\nPIPELINING"},
                 {SMTP_HAS_8BITMIME, "\n8BITMIME"},
                 {SMTP_HAS_ENHANCED, "\nENHANCEDSTATUSCODES"},
                 {SMTP_HAS_CHUNKING, "\nCHUNKING"},
                 {SMTP_HAS_DSN, "\nDSN"},
                 {SMTP_HAS_SMTPUTF8, "\nSMTPUTF8"}};
    unsigned flags = server->features.flags;
    enum err err = ERR_OK;
    if ((flags & SMTP_HAS_SIZE) != 0)
        err = buf_addf(text, "\nSIZE %llu", (unsigned long long)server_message_max(server));
    for (size_t i = 0; i < sizeof plain / sizeof *plain && err == ERR_OK; i++)
        if ((flags & plain[i].feature) != 0)
            err = buf_add_string(text, plain[i].line);
    if (err == ERR_OK && (flags & SMTP_HAS_STARTTLS) != 0 && server->options.tls != NULL && !conn_is_tls(server->conn))
        err = buf_add_string(text, "\nSTARTTLS");
    if (err == ERR_OK && (flags & SMTP_HAS_AUTH) != 0 && server->features.mechanisms != 0 &&
        !server->is_authenticated && server_may_offer_auth(server)) {
        err = buf_add_string(text, "\nAUTH ");
        if (err == ERR_OK)
            err = sasl_format_set(server->features.mechanisms, text);
    }
    return err;
}

void smtp_server_hello(struct smtp_server *server, const struct smtp_features *features)
{
    enum smtp_verb verb = server->open;
    struct smtp_reply reply;
    if (verb != SMTP_EHLO && verb != SMTP_HELO) {
        log_debug("%s: a hello to no command is dropped", conn_peer(server->conn));
        return;
    }
    /* HELO means: no extensions. */
    server->features = verb == SMTP_EHLO ? *features : (struct smtp_features){0};
    server->state = SERVER_READY;
    smtp_reply_init(&reply);
    enum err err = smtp_reply_set(&reply, 250, NULL, server->options.host_name);
    if (err == ERR_OK && verb == SMTP_EHLO)
        err = add_offers(server, &reply.text);
    if (err == ERR_OK)
        smtp_server_reply(server, &reply);
    else
        smtp_server_fail(server, err, NULL);
    smtp_reply_fini(&reply);
}

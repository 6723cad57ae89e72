#include "tests/servers/smtpd.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RECIPIENTS_MAX 1000

struct session {
    struct server_io *io;
    bool has_hello, is_authenticated, has_mail;
    char hello[256], login[256], mail[1024];
    char *recipients[RECIPIENTS_MAX];
    size_t recipients_len;
    char *body;
    size_t body_len, body_capacity;
};

/* Does what is ordered at `point`; true if the command is thereby answered (or the connection over). `*is_late_out`:
   the command is to be carried out and the connection then closed without a reply. */
static bool do_fault(struct server_io *io, const char *action, bool *is_late_out)
{
    if (action == NULL)
        return false;
    if (strcmp(action, "late") == 0) {
        *is_late_out = true;
        return false;
    }
    if (strcmp(action, "cut") == 0)
        server_cut(io);
    else if (strcmp(action, "stall") == 0)
        server_stall(io);
    else if (strcmp(action, "garbage") == 0)
        server_put(io, "\001what? \377\r\n");
    else if (strcmp(action, "endless") == 0)
        while (!io->is_over)
            server_put(io, "250-and so on and so forth and so on and so forth\r\n");
    else if (strcmp(action, "unsolicited") == 0) {
        server_put(io, "250 2.0.0 Surprise\r\n");
        return false;
    } else if (action[0] >= '2' && action[0] <= '5')
        server_put(io, "%s\r\n", action);
    else
        return false;
    return true;
}

static bool fault(struct session *session, const char *point, bool *is_late_out)
{
    char action[512];
    return do_fault(session->io, server_fault_at(session->io->server, point, action), is_late_out);
}

static void clear_transaction(struct session *session)
{
    for (size_t i = 0; i < session->recipients_len; i++)
        free(session->recipients[i]);
    session->recipients_len = 0;
    session->has_mail = false;
    session->body_len = 0;
}

static struct smtpd *smtpd_of(const struct session *session)
{
    return (struct smtpd *)session->io->server;
}

static bool has_word(const struct smtpd *server, const char *word)
{
    const char *found = strcasestr(server->features, word);
    return found != NULL;
}

static void say_hello(struct session *session)
{
    const struct server *server = session->io->server;
    char words[1024], action[512];
    bool is_missing = server_fault_at(session->io->server, "missing", action) != NULL;
    snprintf(words, sizeof(words), "%s", smtpd_of(session)->features);
    server_put(session->io, "250-reference.example\r\n");
    char *rest = words;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        /* "SIZE=1000" among the options is "SIZE 1000" on the wire (RFC 1870 §3). */
        char *equals = strchr(word, '=');
        if (equals != NULL)
            *equals = ' ';
        if (word[0] != '\0')
            server_put(session->io, "250-%s\r\n", word);
    }
    if (server->tls == SERVER_STARTTLS && session->io->ssl == NULL && !is_missing)
        server_put(session->io, "250-STARTTLS\r\n");
    if (server->mechanisms != NULL && (session->io->ssl != NULL || server->tls == SERVER_CLEAR))
        server_put(session->io, "250-AUTH %s\r\n", server->mechanisms);
    server_put(session->io, "250 HELP\r\n");
}

static void add_byte(struct session *session, char byte)
{
    if (session->body_len == session->body_capacity) {
        size_t capacity = session->body_capacity * 2 + 65536;
        char *body = realloc(session->body, capacity);
        if (body == NULL)
            abort();
        session->body = body;
        session->body_capacity = capacity;
    }
    session->body[session->body_len++] = byte;
}

static bool ends_with(const struct session *session, const char *text)
{
    size_t len = strlen(text);
    return session->body_len >= len && memcmp(session->body + session->body_len - len, text, len) == 0;
}

/* Reads up to the end of data, whose lines end as the server believes they do; true when it came. */
static bool read_body(struct session *session)
{
    char action[512] = "";
    long fault_at = server_fault_in_body(session->io->server, action);
    long count = 0;
    bool is_line_start = true, is_lenient = smtpd_of(session)->is_lenient, unused = false;
    session->body_len = 0;
    for (int byte; (byte = server_get(session->io)) >= 0;) {
        if (count++ == fault_at && do_fault(session->io, action, &unused))
            return false;
        if (is_line_start && byte == '.') {
            byte = server_get(session->io);
            if (byte == '\r') {
                byte = server_get(session->io);
                if (byte == '\n')
                    return true;
                add_byte(session, '\r');
            } else if (byte == '\n' && is_lenient)
                return true;
        }
        if (byte < 0)
            return false;
        add_byte(session, (char)byte);
        is_line_start = ends_with(session, "\r\n") || (is_lenient && byte == '\n');
    }
    return false;
}

static void write_message(struct session *session)
{
    struct server *server = session->io->server;
    char path[600];
    pthread_mutex_lock(&server->lock);
    unsigned number = ++smtpd_of(session)->number;
    pthread_mutex_unlock(&server->lock);
    if (server->store == NULL)
        return;
    snprintf(path, sizeof(path), "%s/%u.json", server->store, number);
    json_t *recipients = json_array();
    for (size_t i = 0; i < session->recipients_len; i++)
        json_array_append_new(recipients, json_string(session->recipients[i]));
    json_t *envelope = json_pack("{s:s, s:s, s:o, s:s, s:b}", "hello", session->hello, "mail", session->mail, "rcpt",
                                 recipients, "login", session->login, "tls", session->io->ssl != NULL);
    if (envelope == NULL || json_dump_file(envelope, path, 0) != 0)
        abort();
    json_decref(envelope);
    /* The message itself comes last and whole: who sees it finds its envelope too. */
    char final[600];
    snprintf(path, sizeof(path), "%s/.%u", server->store, number);
    snprintf(final, sizeof(final), "%s/%u.eml", server->store, number);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(session->body, 1, session->body_len, file) != session->body_len || fclose(file) != 0 ||
        rename(path, final) != 0)
        abort();
}

static void do_data(struct session *session)
{
    bool is_late = false;
    if (!session->has_mail || session->recipients_len == 0) {
        server_put(session->io, session->has_mail ? "554 5.5.1 No recipients\r\n" : "503 5.5.1 MAIL first\r\n");
        return;
    }
    if (fault(session, "data", &is_late))
        return;
    server_put(session->io, "354 Go on\r\n");
    if (!read_body(session)) {
        session->io->is_over = true;
        return;
    }
    bool is_answered = fault(session, "dot", &is_late);
    if (!is_answered)
        write_message(session);
    clear_transaction(session);
    if (is_late)
        server_cut(session->io);
    else if (!is_answered)
        server_put(session->io, "250 2.0.0 Queued as %u\r\n", smtpd_of(session)->number);
}

static void do_starttls(struct session *session)
{
    bool is_late = false;
    char text[512];
    const char *action = server_fault_at(session->io->server, "starttls", text);
    if (session->io->server->tls != SERVER_STARTTLS || session->io->ssl != NULL) {
        server_put(session->io, "503 5.5.1 Not now\r\n");
        return;
    }
    if (action != NULL && strcmp(action, "inject") == 0)
        server_put(session->io, "220 2.0.0 Go ahead\r\n250-evil.example\r\n250 AUTH PLAIN\r\n");
    else if (do_fault(session->io, action, &is_late))
        return;
    else
        server_put(session->io, "220 2.0.0 Go ahead\r\n");
    char *hello = session->hello;
    hello[0] = '\0';
    session->has_hello = false;
    server_start_tls(session->io);
}

static void do_hello(struct session *session, const char *argument, bool is_extended)
{
    bool is_late = false;
    if (fault(session, "ehlo", &is_late))
        return;
    snprintf(session->hello, sizeof(session->hello), "%s", argument);
    session->has_hello = true;
    clear_transaction(session);
    if (is_extended)
        say_hello(session);
    else
        server_put(session->io, "250 reference.example\r\n");
}

static void do_mail(struct session *session, const char *argument)
{
    bool is_late = false;
    bool needs_login = session->io->server->mechanisms != NULL;
    if (fault(session, "mail", &is_late))
        return;
    if (session->has_mail || !session->has_hello)
        server_put(session->io, "503 5.5.1 Bad sequence\r\n");
    else if (needs_login && !session->is_authenticated)
        server_put(session->io, "530 5.7.0 Authentication required\r\n");
    else if (strncasecmp(argument, "FROM:<", 6) != 0 ||
             (strcasestr(argument, "BODY=8BIT") != NULL && !has_word(smtpd_of(session), "8BITMIME")))
        server_put(session->io, "555 5.5.4 Bad parameters\r\n");
    else {
        session->has_mail = true;
        snprintf(session->mail, sizeof(session->mail), "%s", argument);
        server_put(session->io, "250 2.1.0 Sender ok\r\n");
    }
}

static void do_rcpt(struct session *session, const char *argument)
{
    bool is_late = false;
    if (fault(session, "rcpt", &is_late))
        return;
    if (!session->has_mail)
        server_put(session->io, "503 5.5.1 MAIL first\r\n");
    else if (strncasecmp(argument, "TO:<", 4) != 0 || session->recipients_len == RECIPIENTS_MAX)
        server_put(session->io, "501 5.5.4 Bad recipient\r\n");
    else {
        session->recipients[session->recipients_len++] = strdup(argument);
        server_put(session->io, "250 2.1.5 Recipient ok\r\n");
    }
}

static long challenge(struct server_io *io, const char *text, char *line, size_t size)
{
    server_put(io, "334 %s\r\n", text);
    return server_get_line(io, line, size);
}

static void do_auth(struct session *session, const char *argument)
{
    bool is_late = false;
    if (fault(session, "auth", &is_late))
        return;
    char mechanism[32];
    size_t len = strcspn(argument, " ");
    snprintf(mechanism, sizeof(mechanism), "%.*s", (int)len, argument);
    enum server_sasl result = server_sasl(session->io, mechanism, argument[len] == ' ' ? argument + len + 1 : NULL,
                                          challenge, session->login, sizeof(session->login));
    session->is_authenticated = result == SERVER_SASL_GOOD;
    static const char *const replies[] = {[SERVER_SASL_GOOD] = "235 2.7.0 Welcome",
                                          [SERVER_SASL_BAD] = "535 5.7.8 Wrong name or password",
                                          [SERVER_SASL_MALFORMED] = "501 5.5.2 Bad base64",
                                          [SERVER_SASL_UNKNOWN] = "504 5.5.4 Unknown mechanism"};
    server_put(session->io, "%s\r\n", replies[result]);
}

static void do_command(struct session *session, const char *verb, const char *argument)
{
    bool is_late = false;
    if (strcasecmp(verb, "EHLO") == 0 || strcasecmp(verb, "HELO") == 0)
        do_hello(session, argument, (verb[0] | 0x20) == 'e');
    else if (strcasecmp(verb, "STARTTLS") == 0)
        do_starttls(session);
    else if (strcasecmp(verb, "AUTH") == 0)
        do_auth(session, argument);
    else if (strcasecmp(verb, "MAIL") == 0)
        do_mail(session, argument);
    else if (strcasecmp(verb, "RCPT") == 0)
        do_rcpt(session, argument);
    else if (strcasecmp(verb, "DATA") == 0)
        do_data(session);
    else if (strcasecmp(verb, "NOOP") == 0)
        server_put(session->io, "250 2.0.0 Ok\r\n");
    else if (strcasecmp(verb, "RSET") == 0) {
        if (fault(session, "rset", &is_late))
            return;
        clear_transaction(session);
        server_put(session->io, "250 2.0.0 Ok\r\n");
    } else if (strcasecmp(verb, "QUIT") == 0) {
        if (!fault(session, "quit", &is_late))
            server_put(session->io, "221 2.0.0 Bye\r\n");
        session->io->is_over = true;
    } else
        server_put(session->io, "500 5.5.2 Unknown command\r\n");
}

void smtpd_session(struct server_io *io)
{
    struct session session = {.io = io};
    char line[16384];
    bool is_late = false;
    if (fault(&session, "connect", &is_late) && io->is_over)
        return;
    if (io->server->tls == SERVER_IMPLICIT && !server_start_tls(io))
        return;
    if (!fault(&session, "banner", &is_late))
        server_put(io, "220 reference.example ESMTP\r\n");
    while (!io->is_over && server_get_line(io, line, sizeof(line)) >= 0) {
        char verb[16];
        size_t len = strcspn(line, " ");
        snprintf(verb, sizeof(verb), "%.*s", (int)len, line);
        do_command(&session, verb, line[len] == ' ' ? line + len + 1 : line + len);
    }
    clear_transaction(&session);
    free(session.body);
}

#include "tests/servers/smtpd.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECIPIENTS_MAX 1000

struct session {
    struct smtpd_io *io;
    bool has_hello, is_authenticated, has_mail;
    char hello[256], login[256], mail[1024];
    char *recipients[RECIPIENTS_MAX];
    size_t recipients_len;
    char *body;
    size_t body_len, body_capacity;
};

static void stall(struct smtpd_io *io)
{
    while (smtpd_get(io) >= 0)
        ;
}

/* Does what is ordered at `point`; true if the command is thereby answered (or the connection over). `*is_late_out`:
   the command is to be carried out and the connection then closed without a reply. */
static bool do_fault(struct smtpd_io *io, const char *action, bool *is_late_out)
{
    if (action == NULL)
        return false;
    if (strcmp(action, "late") == 0) {
        *is_late_out = true;
        return false;
    }
    if (strcmp(action, "cut") == 0) {
        shutdown(io->fd, SHUT_RDWR);
        io->is_over = true;
    } else if (strcmp(action, "stall") == 0)
        stall(io);
    else if (strcmp(action, "garbage") == 0)
        smtpd_put(io, "\001what? \377\r\n");
    else if (strcmp(action, "endless") == 0)
        while (!io->is_over)
            smtpd_put(io, "250-and so on and so forth and so on and so forth\r\n");
    else if (strcmp(action, "unsolicited") == 0) {
        smtpd_put(io, "250 2.0.0 Surprise\r\n");
        return false;
    } else if (action[0] >= '2' && action[0] <= '5')
        smtpd_put(io, "%s\r\n", action);
    else
        return false;
    return true;
}

static bool fault(struct session *session, const char *point, bool *is_late_out)
{
    return do_fault(session->io, smtpd_fault_at(session->io->server, point), is_late_out);
}

static void clear_transaction(struct session *session)
{
    for (size_t i = 0; i < session->recipients_len; i++)
        free(session->recipients[i]);
    session->recipients_len = 0;
    session->has_mail = false;
    session->body_len = 0;
}

static bool has_word(const struct smtpd *server, const char *word)
{
    const char *found = strcasestr(server->features, word);
    return found != NULL;
}

static void say_hello(struct session *session)
{
    const struct smtpd *server = session->io->server;
    const char *missing = smtpd_fault_at(session->io->server, "missing");
    char words[1024];
    snprintf(words, sizeof(words), "%s", server->features);
    smtpd_put(session->io, "250-reference.example\r\n");
    char *rest = words;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        /* "SIZE=1000" among the options is "SIZE 1000" on the wire (RFC 1870 §3). */
        char *equals = strchr(word, '=');
        if (equals != NULL)
            *equals = ' ';
        if (word[0] != '\0')
            smtpd_put(session->io, "250-%s\r\n", word);
    }
    if (server->tls == SMTPD_STARTTLS && session->io->ssl == NULL && missing == NULL)
        smtpd_put(session->io, "250-STARTTLS\r\n");
    if (server->mechanisms != NULL && (session->io->ssl != NULL || server->tls == SMTPD_CLEAR))
        smtpd_put(session->io, "250-AUTH %s\r\n", server->mechanisms);
    smtpd_put(session->io, "250 HELP\r\n");
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
    const char *action = NULL;
    long fault_at = smtpd_fault_in_body(session->io->server, &action);
    long count = 0;
    bool is_line_start = true, is_lenient = session->io->server->is_lenient, unused = false;
    session->body_len = 0;
    for (int byte; (byte = smtpd_get(session->io)) >= 0;) {
        if (count++ == fault_at && do_fault(session->io, action, &unused))
            return false;
        if (is_line_start && byte == '.') {
            byte = smtpd_get(session->io);
            if (byte == '\r') {
                byte = smtpd_get(session->io);
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
    struct smtpd *server = session->io->server;
    char path[600];
    pthread_mutex_lock(&server->lock);
    unsigned number = ++server->number;
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
        smtpd_put(session->io, session->has_mail ? "554 5.5.1 No recipients\r\n" : "503 5.5.1 MAIL first\r\n");
        return;
    }
    if (fault(session, "data", &is_late))
        return;
    smtpd_put(session->io, "354 Go on\r\n");
    if (!read_body(session)) {
        session->io->is_over = true;
        return;
    }
    const char *action = smtpd_fault_at(session->io->server, "dot");
    bool is_answered = do_fault(session->io, action, &is_late);
    if (!is_answered)
        write_message(session);
    clear_transaction(session);
    if (is_late) {
        shutdown(session->io->fd, SHUT_RDWR);
        session->io->is_over = true;
    } else if (!is_answered)
        smtpd_put(session->io, "250 2.0.0 Queued as %u\r\n", session->io->server->number);
}

static void do_starttls(struct session *session)
{
    bool is_late = false;
    const char *action = smtpd_fault_at(session->io->server, "starttls");
    if (session->io->server->tls != SMTPD_STARTTLS || session->io->ssl != NULL) {
        smtpd_put(session->io, "503 5.5.1 Not now\r\n");
        return;
    }
    if (action != NULL && strcmp(action, "inject") == 0)
        smtpd_put(session->io, "220 2.0.0 Go ahead\r\n250-evil.example\r\n250 AUTH PLAIN\r\n");
    else if (do_fault(session->io, action, &is_late))
        return;
    else
        smtpd_put(session->io, "220 2.0.0 Go ahead\r\n");
    char *hello = session->hello;
    hello[0] = '\0';
    session->has_hello = false;
    smtpd_start_tls(session->io);
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
        smtpd_put(session->io, "250 reference.example\r\n");
}

static void do_mail(struct session *session, const char *argument)
{
    bool is_late = false;
    bool needs_login = session->io->server->mechanisms != NULL;
    if (fault(session, "mail", &is_late))
        return;
    if (session->has_mail || !session->has_hello)
        smtpd_put(session->io, "503 5.5.1 Bad sequence\r\n");
    else if (needs_login && !session->is_authenticated)
        smtpd_put(session->io, "530 5.7.0 Authentication required\r\n");
    else if (strncasecmp(argument, "FROM:<", 6) != 0 ||
             (strcasestr(argument, "BODY=8BIT") != NULL && !has_word(session->io->server, "8BITMIME")))
        smtpd_put(session->io, "555 5.5.4 Bad parameters\r\n");
    else {
        session->has_mail = true;
        snprintf(session->mail, sizeof(session->mail), "%s", argument);
        smtpd_put(session->io, "250 2.1.0 Sender ok\r\n");
    }
}

static void do_rcpt(struct session *session, const char *argument)
{
    bool is_late = false;
    if (fault(session, "rcpt", &is_late))
        return;
    if (!session->has_mail)
        smtpd_put(session->io, "503 5.5.1 MAIL first\r\n");
    else if (strncasecmp(argument, "TO:<", 4) != 0 || session->recipients_len == RECIPIENTS_MAX)
        smtpd_put(session->io, "501 5.5.4 Bad recipient\r\n");
    else {
        session->recipients[session->recipients_len++] = strdup(argument);
        smtpd_put(session->io, "250 2.1.5 Recipient ok\r\n");
    }
}

static void do_auth(struct session *session, const char *argument)
{
    bool is_late = false;
    if (fault(session, "auth", &is_late))
        return;
    session->is_authenticated = smtpd_auth(session->io, argument, session->login, sizeof(session->login));
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
        smtpd_put(session->io, "250 2.0.0 Ok\r\n");
    else if (strcasecmp(verb, "RSET") == 0) {
        if (fault(session, "rset", &is_late))
            return;
        clear_transaction(session);
        smtpd_put(session->io, "250 2.0.0 Ok\r\n");
    } else if (strcasecmp(verb, "QUIT") == 0) {
        if (!fault(session, "quit", &is_late))
            smtpd_put(session->io, "221 2.0.0 Bye\r\n");
        session->io->is_over = true;
    } else
        smtpd_put(session->io, "500 5.5.2 Unknown command\r\n");
}

void smtpd_session(struct smtpd_io *io)
{
    struct session session = {.io = io};
    char line[16384];
    bool is_late = false;
    if (fault(&session, "connect", &is_late) && io->is_over)
        return;
    if (io->server->tls == SMTPD_IMPLICIT && !smtpd_start_tls(io))
        return;
    if (!fault(&session, "banner", &is_late))
        smtpd_put(io, "220 reference.example ESMTP\r\n");
    while (!io->is_over && smtpd_get_line(io, line, sizeof(line)) >= 0) {
        char verb[16];
        size_t len = strcspn(line, " ");
        snprintf(verb, sizeof(verb), "%.*s", (int)len, line);
        do_command(&session, verb, line[len] == ' ' ? line + len + 1 : line + len);
    }
    clear_transaction(&session);
    free(session.body);
}

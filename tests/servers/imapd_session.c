#include "tests/servers/imapd.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LINE_MAX_LEN 65536
#define LITERAL_MAX (256u << 20)

/* ---- capabilities ---- */

/* The words before login and after it, with what a fault adds and takes away. */
void imapd_say_capabilities(struct session *session, struct text *out)
{
    const struct server *server = session->io->server;
    struct text words = {0};
    char action[512] = "";
    bool is_clear = session->io->ssl == NULL && server->tls != SERVER_CLEAR;
    text_puts(&words, "IMAP4rev1 SASL-IR ");
    if (is_clear && server->tls == SERVER_STARTTLS)
        text_puts(&words, "STARTTLS LOGINDISABLED ");
    else if (!session->is_authenticated && server->mechanisms != NULL) {
        char *mechanisms = strdup(server->mechanisms), *rest = mechanisms;
        for (char *name; (name = strsep(&rest, " ")) != NULL;)
            text_addf(&words, "AUTH=%s ", name);
        free(mechanisms);
    }
    text_puts(&words, session->imapd->capabilities);
    server_fault_at(session->io->server, "offer", action);
    char *rest = words.bytes, *changes = action;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        char removed[64];
        snprintf(removed, sizeof(removed), "-%s", word);
        if (word[0] != '\0' && !flags_have(action, removed))
            text_addf(out, " %s", word);
    }
    for (char *word; (word = strsep(&changes, " ")) != NULL;)
        if (word[0] == '+')
            text_addf(out, " %s", word + 1);
    text_free(&words);
}

bool imapd_has(struct session *session, const char *capability)
{
    struct text words = {0};
    imapd_say_capabilities(session, &words);
    bool result = flags_have(words.bytes, capability);
    text_free(&words);
    return result;
}

void imapd_flush(struct session *session)
{
    if (session->out.len > 0)
        server_write(session->io, session->out.bytes, session->out.len);
    session->out.len = 0;
}

/* ---- login ---- */

static const char *welcome(struct session *session, bool is_good)
{
    session->is_authenticated = is_good;
    if (!is_good)
        return "NO [AUTHENTICATIONFAILED] Wrong name or password";
    text_puts(&session->code, "CAPABILITY");
    imapd_say_capabilities(session, &session->code);
    return "OK Logged in";
}

static const char *do_login(struct session *session, struct cursor *arguments)
{
    char *user = NULL, *password = NULL;
    const char *result = "BAD LOGIN user password";
    if (imapd_has(session, "LOGINDISABLED"))
        return "NO [PRIVACYREQUIRED] STARTTLS first";
    if (take_space(arguments) && take_astring(arguments, &user) && take_space(arguments) &&
        take_astring(arguments, &password) && take_end(arguments))
        result = welcome(session, server_is_login(session->io->server, user, password));
    free(user);
    free(password);
    return result;
}

static long challenge(struct server_io *io, const char *text, char *line, size_t size)
{
    server_put(io, "+ %s\r\n", text);
    return server_get_line(io, line, size);
}

static const char *do_authenticate(struct session *session, struct cursor *arguments)
{
    struct slice mechanism, initial = {0};
    char name[32], login[256] = "";
    if (imapd_has(session, "LOGINDISABLED"))
        return "NO [PRIVACYREQUIRED] STARTTLS first";
    if (!take_space(arguments) || !take_atom(arguments, &mechanism) ||
        (take_space(arguments) && (!take_atom(arguments, &initial) || !imapd_has(session, "SASL-IR"))) ||
        !take_end(arguments))
        return "BAD AUTHENTICATE mechanism";
    snprintf(name, sizeof(name), "%.*s", (int)mechanism.len, mechanism.at);
    char *first = initial.len > 0 ? strndup(initial.at, initial.len) : NULL;
    imapd_flush(session);
    enum server_sasl result = server_sasl(session->io, name, first, challenge, login, sizeof(login));
    free(first);
    if (result == SERVER_SASL_UNKNOWN)
        return "NO [CANNOT] Unknown mechanism";
    return result == SERVER_SASL_MALFORMED ? "BAD No base64" : welcome(session, result == SERVER_SASL_GOOD);
}

/* ---- what is answered here ---- */

static const char *do_capability(struct session *session, struct cursor *arguments)
{
    (void)arguments;
    text_puts(&session->out, "* CAPABILITY");
    imapd_say_capabilities(session, &session->out);
    text_puts(&session->out, "\r\n");
    return "OK That is all";
}

static const char *do_noop(struct session *session, struct cursor *arguments)
{
    (void)session;
    (void)arguments;
    return "OK Nothing done";
}

static const char *do_logout(struct session *session, struct cursor *arguments)
{
    (void)arguments;
    text_puts(&session->out, "* BYE Until then\r\n");
    text_addf(&session->out, "%s OK Logged out\r\n", session->tag);
    imapd_flush(session);
    session->io->is_over = true;
    return NULL;
}

static const char *do_id(struct session *session, struct cursor *arguments)
{
    (void)arguments;
    text_puts(&session->out, "* ID (\"name\" \"reference\")\r\n");
    return "OK Pleased to meet you";
}

static const char *do_starttls(struct session *session, struct cursor *arguments)
{
    if (!take_end(arguments) || session->io->server->tls != SERVER_STARTTLS || session->io->ssl != NULL)
        return "BAD Not now";
    text_addf(&session->out, "%s OK Go ahead\r\n", session->tag);
    if (strcmp(session->ordered, "inject") == 0)
        text_puts(&session->out, "* CAPABILITY IMAP4rev1 AUTH=PLAIN X-INJECTED\r\n* OK injected\r\n");
    imapd_flush(session);
    server_start_tls(session->io);
    return NULL;
}

static const char *do_enable(struct session *session, struct cursor *arguments)
{
    struct slice word;
    text_puts(&session->out, "* ENABLED");
    while (take_space(arguments) && take_atom(arguments, &word)) {
        if (slice_is(word, "CONDSTORE") && imapd_has(session, "CONDSTORE")) {
            session->has_condstore = true;
            text_puts(&session->out, " CONDSTORE");
        } else if (slice_is(word, "UTF8=ACCEPT") && imapd_has(session, "UTF8=ACCEPT")) {
            session->has_utf8 = true;
            text_puts(&session->out, " UTF8=ACCEPT");
        }
    }
    text_puts(&session->out, "\r\n");
    return "OK Enabled";
}

static const char *do_idle(struct session *session, struct cursor *arguments)
{
    char line[256];
    (void)arguments;
    text_puts(&session->out, "+ idling\r\n");
    sync_idle(session);
    long len = server_get_line(session->io, line, sizeof(line));
    return len == 4 && strcasecmp(line, "DONE") == 0 ? "OK Idled" : "BAD Expected DONE";
}

static const char *do_unselect(struct session *session, struct cursor *arguments)
{
    (void)arguments;
    sync_unselect(session);
    return "OK Unselected";
}

/* ---- the commands ---- */

enum state { ANY, NOT_AUTHENTICATED, AUTHENTICATED, SELECTED };

static const struct command {
    const char *name;
    const char *capability; /* without which it is unknown; NULL: none */
    command_fn fn;
    enum state state;
    bool is_locked;  /* carried out with the mail locked */
    bool no_expunge; /* EXPUNGE may not be told, but for UID commands (RFC 3501 §7.4.1) */
    bool may_have_uid;
} COMMANDS[] = {
    {"capability", NULL, do_capability, ANY, false, false, false},
    {"noop", NULL, do_noop, ANY, false, false, false},
    {"logout", NULL, do_logout, ANY, false, false, false},
    {"id", "ID", do_id, ANY, false, false, false},
    {"starttls", NULL, do_starttls, NOT_AUTHENTICATED, false, false, false},
    {"login", NULL, do_login, NOT_AUTHENTICATED, false, false, false},
    {"authenticate", NULL, do_authenticate, NOT_AUTHENTICATED, false, false, false},
    {"enable", "ENABLE", do_enable, AUTHENTICATED, false, false, false},
    {"namespace", "NAMESPACE", do_namespace, AUTHENTICATED, false, false, false},
    {"list", NULL, do_list, AUTHENTICATED, true, false, false},
    {"lsub", NULL, do_lsub, AUTHENTICATED, true, false, false},
    {"create", NULL, do_create, AUTHENTICATED, true, false, false},
    {"delete", NULL, do_delete, AUTHENTICATED, true, false, false},
    {"rename", NULL, do_rename, AUTHENTICATED, true, false, false},
    {"subscribe", NULL, do_subscribe, AUTHENTICATED, true, false, false},
    {"unsubscribe", NULL, do_unsubscribe, AUTHENTICATED, true, false, false},
    {"status", NULL, do_status, AUTHENTICATED, true, false, false},
    {"select", NULL, do_select, AUTHENTICATED, true, false, false},
    {"examine", NULL, do_select, AUTHENTICATED, true, false, false},
    {"append", NULL, do_append, AUTHENTICATED, true, false, false},
    {"idle", "IDLE", do_idle, AUTHENTICATED, false, false, false},
    {"check", NULL, do_noop, SELECTED, false, false, false},
    {"close", NULL, do_close, SELECTED, true, false, false},
    {"unselect", "UNSELECT", do_unselect, SELECTED, false, false, false},
    {"expunge", NULL, do_expunge, SELECTED, true, false, true},
    {"search", NULL, do_search, SELECTED, true, true, true},
    {"fetch", NULL, do_fetch, SELECTED, false, true, true},
    {"store", NULL, do_store, SELECTED, true, true, true},
    {"copy", NULL, do_copy, SELECTED, true, false, true},
    {"move", "MOVE", do_copy, SELECTED, true, false, true},
};

static const struct command *find_command(struct session *session)
{
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        const struct command *command = &COMMANDS[i];
        if (strcmp(command->name, session->verb) == 0 && (!session->is_uid || command->may_have_uid) &&
            (command->capability == NULL || imapd_has(session, command->capability)))
            return command;
    }
    return NULL;
}

static bool is_allowed(const struct session *session, enum state state)
{
    switch (state) {
    case NOT_AUTHENTICATED:
        return !session->is_authenticated;
    case AUTHENTICATED:
        return session->is_authenticated;
    case SELECTED:
        return session->mailbox != NULL;
    default:
        return true;
    }
}

/* tag SP ["UID" SP] command: true if there is that much. The verb is empty if there is no such word. */
static bool take_verb(struct session *session, struct cursor *cursor)
{
    struct slice tag, verb = {0};
    session->verb[0] = '\0';
    session->is_uid = false;
    if (!take_atom(cursor, &tag) || tag.len >= sizeof(session->tag))
        return false;
    memcpy(session->tag, tag.at, tag.len);
    session->tag[tag.len] = '\0';
    if (!take_space(cursor))
        return true;
    if (take_word(cursor, "UID")) {
        session->is_uid = true;
        take_space(cursor);
    }
    take_atom(cursor, &verb);
    for (size_t i = 0; i < verb.len && i + 1 < sizeof(session->verb); i++) {
        session->verb[i] = (char)tolower((unsigned char)verb.at[i]);
        session->verb[i + 1] = '\0';
    }
    return true;
}

/* ---- reading ---- */

/* "{n}" or "{n+}" at the end of a line; false if there is none. */
static bool literal_mark(const char *line, uint64_t *len_out, bool *is_sync_out)
{
    const char *open = strrchr(line, '{');
    if (open == NULL)
        return false;
    struct cursor cursor = {open + 1, line + strlen(line)};
    if (!take_number(&cursor, len_out))
        return false;
    *is_sync_out = !take_char(&cursor, '+');
    return take_char(&cursor, '}') && take_end(&cursor);
}

/* Says why a literal will not be taken; true if it has. */
static bool refuse_literal(struct session *session, uint64_t len)
{
    struct cursor cursor = {session->command.bytes, session->command.bytes + session->command.len};
    const char *refusal = NULL;
    if (!take_verb(session, &cursor))
        refusal = "BAD Syntax";
    else if (len > LITERAL_MAX)
        refusal = "NO [TOOBIG] Too big";
    else if (strcmp(session->verb, "append") == 0)
        refusal = append_refusal(session, cursor);
    if (refusal != NULL)
        text_addf(&session->out, "%s %s\r\n", session->tag, refusal);
    return refusal != NULL || imapd_fault(session, "continue");
}

/* True if the whole of it came. */
static bool read_literal(struct session *session, uint64_t len)
{
    struct cursor cursor = {session->command.bytes, session->command.bytes + session->command.len};
    char action[512] = "";
    take_verb(session, &cursor);
    long fault_at = strcmp(session->verb, "append") == 0 ? server_fault_in_body(session->io->server, action) : -1;
    text_puts(&session->command, "\r\n");
    for (uint64_t i = 0; i < len; i++) {
        if (fault_at >= 0 && i == (uint64_t)fault_at && strcmp(action, "stall") == 0)
            server_stall(session->io);
        else if (fault_at >= 0 && i == (uint64_t)fault_at)
            server_cut(session->io);
        int byte = server_get(session->io);
        if (byte < 0)
            return false;
        char one = (char)byte;
        text_add(&session->command, &one, 1);
    }
    return true;
}

/* Reads a command with its literals; false if there is none to carry out (see io.is_over for why). */
static bool read_command(struct session *session)
{
    static _Thread_local char line[LINE_MAX_LEN];
    session->command.len = 0;
    for (;;) {
        uint64_t len = 0;
        bool is_sync = false;
        long count = server_get_line(session->io, line, sizeof(line));
        if (count < 0) {
            session->io->is_over = true;
            return false;
        }
        text_add(&session->command, line, (size_t)count);
        if (!literal_mark(line, &len, &is_sync) || (!is_sync && !imapd_has(session, "LITERAL+")))
            return true;
        if (is_sync || len > LITERAL_MAX) {
            bool is_refused = refuse_literal(session, len);
            if (!is_refused)
                text_puts(&session->out, "+ Go on\r\n");
            imapd_flush(session);
            if (is_refused)
                return false;
        }
        if (!read_literal(session, len))
            return false;
    }
}

static void answer(struct session *session, const char *result)
{
    if (session->is_late || result == NULL || session->io->is_over) {
        session->io->is_over = session->io->is_over || session->is_late;
        if (session->is_late)
            server_cut(session->io);
        return;
    }
    if (imapd_fault_at_command(session, ".end"))
        return;
    if (session->code.len > 0 && strncmp(result, "OK ", 3) == 0) {
        text_addf(&session->out, "%s OK [", session->tag);
        text_add(&session->out, session->code.bytes, session->code.len);
        text_addf(&session->out, "] %s\r\n", result + 3);
    } else
        text_addf(&session->out, "%s %s\r\n", session->tag, result);
}

static void carry_out(struct session *session)
{
    struct cursor cursor = {session->command.bytes, session->command.bytes + session->command.len};
    session->code.len = 0;
    session->omitted = session->emptied = 0;
    session->is_split = session->is_woven = false;
    if (!take_verb(session, &cursor)) {
        text_puts(&session->out, "* BAD What?\r\n");
        return;
    }
    const struct command *command = find_command(session);
    if (imapd_fault_at_command(session, ""))
        return;
    if (command == NULL || !is_allowed(session, command->state)) {
        answer(session, command == NULL ? "BAD Unknown command" : "BAD Not now");
        return;
    }
    if (command->is_locked)
        pthread_mutex_lock(&session->imapd->mail);
    const char *result = command->fn(session, &cursor);
    if (command->is_locked)
        pthread_mutex_unlock(&session->imapd->mail);
    if (result != NULL) {
        pthread_mutex_lock(&session->imapd->mail);
        sync_tell(session, !command->no_expunge || session->is_uid);
        pthread_mutex_unlock(&session->imapd->mail);
    }
    answer(session, result);
}

static void carry_out_behind(struct session *session)
{
    session->command.len = 0;
    text_add(&session->command, session->behind.bytes, session->behind.len);
    session->behind.len = 0;
    carry_out(session);
}

static void greet(struct session *session)
{
    session->is_authenticated = strcmp(session->ordered, "preauth") == 0;
    text_addf(&session->out, "* %s [CAPABILITY", session->is_authenticated ? "PREAUTH" : "OK");
    imapd_say_capabilities(session, &session->out);
    text_puts(&session->out, "] reference.example\r\n");
}

static void link_session(struct session *session)
{
    pthread_mutex_lock(&session->imapd->mail);
    session->next = session->imapd->sessions;
    session->imapd->sessions = session;
    pthread_mutex_unlock(&session->imapd->mail);
}

static void unlink_session(struct session *session)
{
    pthread_mutex_lock(&session->imapd->mail);
    struct session **at = &session->imapd->sessions;
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    pthread_mutex_unlock(&session->imapd->mail);
}

void imapd_session(struct server_io *io)
{
    struct session session = {
        .imapd = (struct imapd *)io->server, .io = io, .tag = "*", .wakeup = eventfd(0, EFD_CLOEXEC)};
    link_session(&session);
    if (!imapd_fault(&session, "connect") && (io->server->tls != SERVER_IMPLICIT || server_start_tls(io))) {
        if (!imapd_fault(&session, "greeting"))
            greet(&session);
        imapd_flush(&session);
        while (!io->is_over) {
            bool has_behind = session.behind.len > 0;
            if (read_command(&session))
                carry_out(&session);
            if (has_behind && !io->is_over)
                carry_out_behind(&session);
            imapd_flush(&session);
        }
    }
    unlink_session(&session);
    close(session.wakeup);
    text_free(&session.command);
    text_free(&session.behind);
    text_free(&session.out);
    text_free(&session.code);
    free(session.seen);
}

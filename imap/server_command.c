/*
 * The table of verbs: which command is legal in which state, what it needs, and who answers it; and the handlers that
 * are a few lines.
 */
#include "imap/server_internal.h"

#include <string.h>

enum states {
    IN_NEW = 1 << IMAP_STATE_NEW,
    IN_AUTHENTICATED = 1 << IMAP_STATE_AUTHENTICATED,
    IN_SELECTED = 1 << IMAP_STATE_SELECTED,
    IN_LOGGED_IN = IN_AUTHENTICATED | IN_SELECTED,
    IN_ANY = IN_NEW | IN_LOGGED_IN
};

static void done_ok(struct imap_server *server, const struct imap_command *command, const char *text)
{
    server->bad_commands = server->state == IMAP_STATE_NEW ? server->bad_commands : 0;
    imap_server_say_status(server, command->tag, "OK", NULL, text);
}

/* capability = "CAPABILITY" (RFC 3501 §6.1.1): the same words as in the greeting and in response codes. */
static void do_capability(struct imap_server *server, struct imap_command *command)
{
    struct buf words;
    buf_init(&words, SERVER_SHOWN_MAX);
    enum err err = server->state == IMAP_STATE_NEW ? imap_server_offer(server, &words)
                                                   : buf_add_span(&words, buf_span(&server->shown));
    if (err == ERR_OK) {
        imap_server_sayf(server, "* CAPABILITY %s\r\n", words.data);
        done_ok(server, command, "Capability completed");
    } else {
        imap_server_say_err(server, command->tag, err);
    }
    buf_fini(&words);
}

/* noop = "NOOP" (RFC 3501 §6.1.2); after login the owner's, since it brings news of the mailbox. */
static void do_noop(struct imap_server *server, struct imap_command *command)
{
    done_ok(server, command, "NOOP completed");
}

/* logout = "LOGOUT" (RFC 3501 §6.1.3) */
static void do_logout(struct imap_server *server, struct imap_command *command)
{
    imap_server_say(server, SPAN_LIT("* BYE Logging out\r\n"));
    done_ok(server, command, "Logout completed");
    server->state = IMAP_STATE_LOGOUT;
    if (server->options.handlers->on_logout != NULL)
        server->options.handlers->on_logout(server, server->options.owner);
    if (!server->is_freed)
        imap_server_end(server, ERR_END);
}

/* id = "ID" SP id-params-list; id-params-list = "(" *(string SP nstring) ")" / nil (RFC 2971). What the client says of
   itself is not looked at, and not passed on: the server shall not know who reads. */
static void do_id(struct imap_server *server, struct imap_command *command)
{
    struct span value;
    if (!imap_take_value(&command->arguments, &value) || !imap_at_end(&command->arguments)) {
        imap_server_say_err(server, command->tag, ERR_PARAMETER_SYNTAX);
        return;
    }
    imap_server_say(server, SPAN_LIT("* ID (\"name\" \"privyseal\")\r\n"));
    done_ok(server, command, "ID completed");
}

/* compress = "COMPRESS" SP algorithm; algorithm = "DEFLATE" (RFC 4978). All that follows the OK is compressed, and all
   that follows the command's CRLF. */
static void do_compress(struct imap_server *server, struct imap_command *command)
{
    if (!imap_take_word(&command->arguments, "DEFLATE") || !imap_at_end(&command->arguments)) {
        imap_server_say_err(server, command->tag, ERR_PARAMETER_UNKNOWN);
        return;
    }
    if (conn_is_deflating(server->conn)) {
        imap_server_say_status(server, command->tag, "NO", "COMPRESSIONACTIVE", "Compression is active already");
        return;
    }
    done_ok(server, command, "DEFLATE active");
    enum err err = conn_start_deflate(server->conn);
    if (err != ERR_OK)
        imap_server_end_forced(server, err);
}

enum argument { NO_ARGUMENT, HAS_ARGUMENT, MAY_HAVE_ARGUMENT };

#define NONE SERVER_LITERAL_NONE
#define SMALL SERVER_LITERAL_OWN
#define OWNER 0, SERVER_LITERAL_ASK, MAY_HAVE_ARGUMENT

struct rule {
    const char *name;
    const char *capability; /* that the client must have been shown; NULL: none */
    void (*handle)(struct imap_server *server, struct imap_command *command);
    unsigned states;
    unsigned own_states; /* in which we answer, the argument being checked here; in the others the owner does */
    enum server_literal literal;
    enum argument argument;
};

/* clang-format off */
static const struct rule rules[IMAP_VERB_COUNT] = {
    [IMAP_CAPABILITY] =   {"CAPABILITY", NULL, do_capability,     IN_ANY, IN_ANY, NONE,  NO_ARGUMENT},
    [IMAP_NOOP] =         {"NOOP",       NULL, do_noop,           IN_ANY, IN_NEW, NONE,  NO_ARGUMENT},
    [IMAP_LOGOUT] =       {"LOGOUT",     NULL, do_logout,         IN_ANY, IN_ANY, NONE,  NO_ARGUMENT},
    [IMAP_ID] =           {"ID",         NULL, do_id,             IN_ANY, IN_ANY, SMALL, HAS_ARGUMENT},
    [IMAP_STARTTLS] =     {"STARTTLS",   NULL, imap_server_do_starttls, IN_NEW, IN_ANY, NONE,  NO_ARGUMENT},
    [IMAP_LOGIN] =        {"LOGIN",      NULL, imap_server_do_login,    IN_NEW, IN_ANY, SMALL, HAS_ARGUMENT},
    [IMAP_AUTHENTICATE] = {"AUTHENTICATE", NULL, imap_server_do_authenticate, IN_NEW, IN_ANY, SMALL, HAS_ARGUMENT},
    [IMAP_COMPRESS] =     {"COMPRESS", "COMPRESS=DEFLATE", do_compress, IN_LOGGED_IN, IN_ANY, NONE, HAS_ARGUMENT},

    [IMAP_ENABLE] =       {"ENABLE",       "ENABLE",    NULL, IN_LOGGED_IN, OWNER},
    [IMAP_SELECT] =       {"SELECT",       NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_EXAMINE] =      {"EXAMINE",      NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_CREATE] =       {"CREATE",       NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_DELETE] =       {"DELETE",       NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_RENAME] =       {"RENAME",       NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_SUBSCRIBE] =    {"SUBSCRIBE",    NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_UNSUBSCRIBE] =  {"UNSUBSCRIBE",  NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_LIST] =         {"LIST",         NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_LSUB] =         {"LSUB",         NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_XLIST] =        {"XLIST",        "XLIST",     NULL, IN_LOGGED_IN, OWNER},
    [IMAP_STATUS] =       {"STATUS",       NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_NAMESPACE] =    {"NAMESPACE",    "NAMESPACE", NULL, IN_LOGGED_IN, OWNER},
    [IMAP_APPEND] =       {"APPEND",       NULL,        NULL, IN_LOGGED_IN, OWNER},
    [IMAP_IDLE] =         {"IDLE",         "IDLE",      NULL, IN_LOGGED_IN, OWNER},
    [IMAP_GETACL] =       {"GETACL",       "ACL",       NULL, IN_LOGGED_IN, OWNER},
    [IMAP_SETACL] =       {"SETACL",       "ACL",       NULL, IN_LOGGED_IN, OWNER},
    [IMAP_DELETEACL] =    {"DELETEACL",    "ACL",       NULL, IN_LOGGED_IN, OWNER},
    [IMAP_LISTRIGHTS] =   {"LISTRIGHTS",   "ACL",       NULL, IN_LOGGED_IN, OWNER},
    [IMAP_MYRIGHTS] =     {"MYRIGHTS",     "ACL",       NULL, IN_LOGGED_IN, OWNER},
    [IMAP_GETMETADATA] =  {"GETMETADATA",  "METADATA",  NULL, IN_LOGGED_IN, OWNER},
    [IMAP_SETMETADATA] =  {"SETMETADATA",  "METADATA",  NULL, IN_LOGGED_IN, OWNER},
    [IMAP_GETQUOTA] =     {"GETQUOTA",     "QUOTA",     NULL, IN_LOGGED_IN, OWNER},
    [IMAP_GETQUOTAROOT] = {"GETQUOTAROOT", "QUOTA",     NULL, IN_LOGGED_IN, OWNER},
    [IMAP_SETQUOTA] =     {"SETQUOTA",     "QUOTA",     NULL, IN_LOGGED_IN, OWNER},

    [IMAP_CHECK] =        {"CHECK",        NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_CLOSE] =        {"CLOSE",        NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_UNSELECT] =     {"UNSELECT",     "UNSELECT",  NULL, IN_SELECTED,  OWNER},
    [IMAP_EXPUNGE] =      {"EXPUNGE",      NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_SEARCH] =       {"SEARCH",       NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_FETCH] =        {"FETCH",        NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_STORE] =        {"STORE",        NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_COPY] =         {"COPY",         NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_MOVE] =         {"MOVE",         "MOVE",      NULL, IN_SELECTED,  OWNER},
    [IMAP_UID_EXPUNGE] =  {"UID EXPUNGE",  "UIDPLUS",   NULL, IN_SELECTED,  OWNER},
    [IMAP_UID_SEARCH] =   {"UID SEARCH",   NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_UID_FETCH] =    {"UID FETCH",    NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_UID_STORE] =    {"UID STORE",    NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_UID_COPY] =     {"UID COPY",     NULL,        NULL, IN_SELECTED,  OWNER},
    [IMAP_UID_MOVE] =     {"UID MOVE",     "MOVE",      NULL, IN_SELECTED,  OWNER},
};
/* clang-format on */

/* tag = 1*<any ASTRING-CHAR except "+"> (RFC 3501 §9) */
static bool is_tag(struct span tag)
{
    for (size_t i = 0; i < tag.len; i++)
        if (tag.ptr[i] <= ' ' || tag.ptr[i] == 0x7f || strchr("(){%*\"\\+", tag.ptr[i]) != NULL)
            return false;
    return tag.len > 0 && tag.len <= IMAP_TAG_MAX;
}

static enum imap_verb find_verb(struct span name)
{
    for (int verb = IMAP_UNKNOWN + 1; verb < IMAP_VERB_COUNT; verb++)
        if (span_is_case_equal(name, span_of(rules[verb].name)))
            return (enum imap_verb)verb;
    return IMAP_UNKNOWN;
}

/* Up to the next blank or the end of the line. */
static size_t word_end(struct span line, size_t from)
{
    return from + span_find_byte(span_skip(line, from), 0, ' ');
}

/* command = tag SP (command-any / command-auth / ...) CRLF; "UID" and the verb after it are one here. */
bool imap_server_parse_head(struct imap_server *server)
{
    struct imap_command *command = server->command;
    struct span text = buf_span(&command->unit.text);
    struct span line = span_slice(text, 0, text.len - 2);
    size_t tag_end = word_end(line, 0);
    struct span tag = span_slice(line, 0, tag_end);
    server->verb_at = server->argument_at = line.len;
    if (!is_tag(tag))
        return false;
    (void)span_copy(tag, command->tag, sizeof command->tag);
    if (tag_end == line.len)
        return true;
    size_t verb_end = word_end(line, tag_end + 1);
    server->verb_at = tag_end + 1;
    if (span_is_case_equal(span_slice(line, server->verb_at, verb_end), SPAN_LIT("UID")) && verb_end < line.len)
        verb_end = word_end(line, verb_end + 1);
    command->verb = find_verb(span_slice(line, server->verb_at, verb_end));
    server->argument_at = verb_end < line.len ? verb_end + 1 : line.len;
    return true;
}

static const struct rule *rule_of(const struct imap_server *server)
{
    return &rules[server->command->verb];
}

/* A command that is hidden looks like one that nobody knows. */
enum err imap_server_judge(const struct imap_server *server)
{
    const struct rule *rule = rule_of(server);
    if (server->command->verb == IMAP_UNKNOWN)
        return ERR_COMMAND_UNKNOWN;
    if ((rule->states & 1u << server->state) == 0)
        return ERR_SEQUENCE;
    if (rule->capability != NULL && !imap_capabilities_has(buf_span(&server->shown), rule->capability))
        return ERR_COMMAND_UNKNOWN;
    return ERR_OK;
}

bool imap_server_is_own(const struct imap_server *server)
{
    return (rule_of(server)->own_states & 1u << server->state) != 0;
}

enum server_literal imap_server_literal_policy(const struct imap_server *server)
{
    return rule_of(server)->literal;
}

void imap_server_do(struct imap_server *server)
{
    const struct rule *rule = rule_of(server);
    bool is_own = imap_server_is_own(server);
    struct imap_command *command = imap_server_release_command(server);
    bool has_argument = !imap_at_end(&command->arguments);
    if (is_own &&
        ((rule->argument == NO_ARGUMENT && has_argument) || (rule->argument == HAS_ARGUMENT && !has_argument))) {
        imap_server_say_err(server, command->tag, ERR_PARAMETER_SYNTAX);
    } else if (is_own) {
        rule->handle(server, command);
    } else {
        server->open_len++;
        if (command->verb == IMAP_IDLE)
            memcpy(server->idle_tag, command->tag, sizeof server->idle_tag);
        imap_server_set_timeout(server, false);
        server->options.handlers->on_command(server, command, server->options.owner);
        return;
    }
    imap_command_free(&command);
}

/*
 * A whole IMAP session with a client, fed with any bytes in pieces whose size the first byte chooses, before an owner
 * that answers everything at once or from the loop, half a response in between. What reaches the owner must be a
 * command: a tag, a known verb, text that ends in CRLF, literals of the announced length.
 */
#include "base/log.h"
#include "base/memfd.h"
#include "imap/server.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LITERAL_MAX 100000u

struct owner {
    struct imap_server *server;
    bool is_late;
    bool is_halting; /* leaves a response half said for a while */
    bool is_half;
    char open[64][IMAP_TAG_MAX + 1];
    size_t open_len;
    char login[IMAP_TAG_MAX + 1];
    char idle[IMAP_TAG_MAX + 1];
};

static void answer_all(struct owner *owner)
{
    size_t len = owner->open_len;
    owner->open_len = 0;
    for (size_t i = 0; i < len && owner->server != NULL; i++)
        imap_server_done(owner->server, owner->open[i], (enum imap_status)(i % 3), i % 2 == 0 ? NULL : "X", NULL);
}

static void log_in(struct owner *owner, struct span secret)
{
    bool is_good = secret.len > 0 && secret.ptr[0] != '-';
    if (is_good)
        imap_server_set_capabilities(owner->server, SPAN_LIT("IMAP4rev1 IDLE MOVE UIDPLUS COMPRESS=DEFLATE ENABLE"));
    imap_server_done(owner->server, owner->login, is_good ? IMAP_OK : IMAP_NO, NULL, "said");
}

static void on_login(struct imap_server *server, const char *tag, struct span user, struct span password, void *context)
{
    struct owner *owner = context;
    (void)server, (void)user;
    memcpy(owner->login, tag, sizeof owner->login);
    log_in(owner, password);
}

static void on_authenticate(struct imap_server *server, const char *tag, enum sasl_mechanism mechanism,
                            bool has_initial, struct span initial, void *context)
{
    struct owner *owner = context;
    (void)mechanism;
    memcpy(owner->login, tag, sizeof owner->login);
    if (has_initial)
        log_in(owner, initial);
    else
        imap_server_challenge(server, SPAN_LIT("who"));
}

static void on_auth_response(struct imap_server *server, struct span response, void *context)
{
    (void)server;
    log_in(context, response);
}

static void on_nothing(struct imap_server *server, void *context)
{
    (void)server, (void)context;
}

static enum err on_literal(struct imap_server *server, const struct imap_command *command,
                           const struct imap_literal_mark *mark, void *context)
{
    (void)server, (void)context;
    if (mark->len > LITERAL_MAX || !mark->is_there || command->verb == IMAP_LOGIN)
        abort();
    return mark->len == 13 ? ERR_DISK_FULL : ERR_OK;
}

static void check(struct imap_command *command)
{
    struct span text = buf_span(&command->unit.text);
    if (command->tag[0] == '\0' || command->verb == IMAP_UNKNOWN || command->verb >= IMAP_VERB_COUNT || text.len < 2 ||
        memcmp(text.ptr + text.len - 2, "\r\n", 2) != 0)
        abort();
    if (command->line.ptr + command->line.len != text.ptr + text.len || command->arguments.at > text.len)
        abort();
    for (size_t i = 0; i < command->unit.literals_len; i++) {
        const struct imap_literal *literal = &command->unit.literals[i];
        size_t size = 0;
        if (literal->place == IMAP_LITERAL_GONE || literal->at > text.len)
            abort();
        if (literal->place == IMAP_LITERAL_HERE && literal->len > text.len - literal->at)
            abort();
        if (literal->place == IMAP_LITERAL_FILE &&
            (memfd_check(literal->fd, LITERAL_MAX, &size) != ERR_OK || size != literal->len))
            abort();
    }
}

static void on_command(struct imap_server *server, struct imap_command *command, void *context)
{
    struct owner *owner = context;
    check(command);
    if (command->verb == IMAP_SELECT)
        imap_server_set_state(server, IMAP_STATE_SELECTED);
    if (command->verb == IMAP_IDLE) {
        memcpy(owner->idle, command->tag, sizeof owner->idle);
        imap_server_idle(server);
    } else if (owner->open_len < 64) {
        memcpy(owner->open[owner->open_len++], command->tag, sizeof command->tag);
        if (owner->is_halting && command->verb == IMAP_FETCH) {
            imap_server_write(server, SPAN_LIT("* 1 FETCH (BODY[] {3}\r\na"));
            owner->is_half = true;
        }
        if (!owner->is_late)
            answer_all(owner);
    } else {
        imap_server_done(server, command->tag, IMAP_NO, NULL, "enough");
    }
    imap_command_free(&command);
}

static void on_idle_done(struct imap_server *server, void *context)
{
    struct owner *owner = context;
    imap_server_done(server, owner->idle, IMAP_OK, NULL, NULL);
}

static void on_close(struct imap_server *server, enum err why, void *context)
{
    struct owner *owner = context;
    (void)server, (void)why;
    imap_server_free(&owner->server);
}

static const struct imap_server_handlers HANDLERS = {.on_login = on_login,
                                                     .on_authenticate = on_authenticate,
                                                     .on_auth_response = on_auth_response,
                                                     .on_auth_cancel = on_nothing,
                                                     .on_literal = on_literal,
                                                     .on_command = on_command,
                                                     .on_idle_done = on_idle_done,
                                                     .on_close = on_close};

static void turn(struct owner *owner, struct event_base *base, int fd)
{
    char replies[16384];
    for (int i = 0; i < 3; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (recv(fd, replies, sizeof replies, MSG_DONTWAIT) > 0)
            continue;
        if (owner->server != NULL && owner->is_half)
            imap_server_write(owner->server, SPAN_LIT("bc)\r\n"));
        owner->is_half = false;
        answer_all(owner);
    }
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    log_init("fuzz", LOG_LEVEL_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    if (size < 1 || size > 65536 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
        return 0;
    struct owner owner = {.is_late = (data[0] & 1) != 0, .is_halting = (data[0] & 2) != 0};
    struct event_base *base = event_base_new();
    const struct imap_server_options options = {.base = base,
                                                .handlers = &HANDLERS,
                                                .owner = &owner,
                                                .may_auth_in_clear = true,
                                                .literal_max = LITERAL_MAX,
                                                .command_max = 8192,
                                                .command_timeout_ms = 1000000,
                                                .login_timeout_ms = 1000000};
    if (imap_server_new(&options, ends[0], &owner.server) != ERR_OK)
        abort();
    imap_server_greet(owner.server, 1u << SASL_PLAIN | 1u << SASL_LOGIN);
    if ((data[0] & 4) != 0) {
        imap_server_set_capabilities(owner.server, SPAN_LIT("IMAP4rev1 IDLE MOVE UIDPLUS COMPRESS=DEFLATE ENABLE"));
        imap_server_set_state(owner.server, IMAP_STATE_SELECTED);
    }
    size_t step = (size_t)(data[0] >> 3) * 32 + 1;
    step = size / step > 200 ? size / 200 : step; /* bounds the number of turns */
    for (size_t at = 1; at < size && owner.server != NULL; at += step) {
        size_t len = size - at < step ? size - at : step;
        (void)send(ends[1], data + at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        turn(&owner, base, ends[1]);
    }
    shutdown(ends[1], SHUT_WR);
    turn(&owner, base, ends[1]);
    imap_server_free(&owner.server);
    turn(&owner, base, ends[1]); /* what was said last is still being sent */
    close(ends[1]);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    return 0;
}

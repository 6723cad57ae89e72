/*
 * A whole SMTP session fed with any bytes, in pieces whose size the first byte chooses, before an owner that says yes
 * to everything (at once or from the loop). What reaches the owner as a message must be clean and within its limit.
 */
#include "base/log.h"
#include "base/memfd.h"
#include "smtp/server.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX 4096u

struct owner {
    struct smtp_server *server;
    bool is_late;
    bool is_waiting;
    bool is_hello; /* what waits is EHLO or HELO */
    int code;
};

static const struct smtp_features FEATURES = {.flags = SMTP_HAS_PIPELINING | SMTP_HAS_8BITMIME | SMTP_HAS_ENHANCED |
                                                       SMTP_HAS_CHUNKING | SMTP_HAS_AUTH | SMTP_HAS_DSN |
                                                       SMTP_HAS_SMTPUTF8 | SMTP_HAS_SIZE,
                                              .size_max = MESSAGE_MAX,
                                              .mechanisms = 1u << SASL_PLAIN | 1u << SASL_LOGIN};

static void answer(struct owner *owner)
{
    owner->is_waiting = false;
    if (owner->is_hello)
        smtp_server_hello(owner->server, &FEATURES);
    else
        smtp_server_reply_text(owner->server, owner->code, NULL, "yes");
}

static void take(struct owner *owner, bool is_hello, int code)
{
    owner->is_hello = is_hello;
    owner->code = code;
    owner->is_waiting = true;
    if (!owner->is_late)
        answer(owner);
}

static void on_hello(struct smtp_server *server, void *context)
{
    (void)server;
    take(context, true, 250);
}

static void on_auth(struct smtp_server *server, enum sasl_mechanism mechanism, bool has_initial, struct span initial,
                    void *context)
{
    (void)mechanism, (void)initial;
    if (has_initial)
        take(context, false, 235);
    else
        smtp_server_challenge(server, SPAN_LIT("who"));
}

static void on_auth_response(struct smtp_server *server, struct span response, void *context)
{
    (void)server, (void)response;
    take(context, false, 235);
}

static void on_mail(struct smtp_server *server, const struct smtp_mail *mail, void *context)
{
    (void)server;
    if (mail->has_size && mail->size > MESSAGE_MAX)
        abort();
    take(context, false, 250);
}

static void on_rcpt(struct smtp_server *server, const struct smtp_rcpt *rcpt, void *context)
{
    (void)server;
    if (memchr(rcpt->to.path, '\n', sizeof rcpt->to.path) != NULL)
        abort();
    take(context, false, 250);
}

/* A bare CR, a bare LF or a NUL must not get this far. */
static void on_message(struct smtp_server *server, int fd, size_t size, void *context)
{
    struct span content;
    (void)server;
    if (size > MESSAGE_MAX || memfd_map(fd, MESSAGE_MAX, &content) != ERR_OK || content.len != size)
        abort();
    for (size_t i = 0; i < size; i++) {
        char byte = content.ptr[i];
        if (byte == '\0' || (byte == '\n' && (i == 0 || content.ptr[i - 1] != '\r')) ||
            (byte == '\r' && (i + 1 == size || content.ptr[i + 1] != '\n')))
            abort();
    }
    memfd_unmap(&content);
    close(fd);
    take(context, false, 250);
}

static void on_nothing(struct smtp_server *server, void *context)
{
    (void)server, (void)context;
}

static void on_close(struct smtp_server *server, enum err why, void *context)
{
    struct owner *owner = context;
    (void)server, (void)why;
    owner->is_waiting = false;
    smtp_server_free(&owner->server);
}

static const struct smtp_server_handlers HANDLERS = {.on_hello = on_hello,
                                                     .on_auth = on_auth,
                                                     .on_auth_response = on_auth_response,
                                                     .on_auth_cancel = on_nothing,
                                                     .on_mail = on_mail,
                                                     .on_rcpt = on_rcpt,
                                                     .on_message = on_message,
                                                     .on_reset = on_nothing,
                                                     .on_close = on_close};

static void turn(struct owner *owner, struct event_base *base, int fd)
{
    char replies[16384];
    for (int i = 0; i < 3; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (recv(fd, replies, sizeof replies, MSG_DONTWAIT) > 0)
            continue;
        if (owner->is_waiting)
            answer(owner);
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
    if (size < 1 || size > 16384 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
        return 0;
    struct owner owner = {.is_late = (data[0] & 1) != 0};
    struct event_base *base = event_base_new();
    const struct smtp_server_options options = {.base = base,
                                                .handlers = &HANDLERS,
                                                .owner = &owner,
                                                .host_name = "fuzz",
                                                .may_auth_in_clear = true,
                                                .is_repairing = (data[0] & 2) != 0,
                                                .recipients_max = 10,
                                                .message_max = MESSAGE_MAX};
    if (smtp_server_new(&options, ends[0], &owner.server) != ERR_OK)
        abort();
    size_t step = (size_t)(data[0] >> 2) * 16 + 1;
    step = size / step > 200 ? size / 200 : step; /* bounds the number of turns */
    for (size_t at = 1; at < size && owner.server != NULL; at += step) {
        size_t len = size - at < step ? size - at : step;
        (void)send(ends[1], data + at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        turn(&owner, base, ends[1]);
    }
    shutdown(ends[1], SHUT_WR);
    turn(&owner, base, ends[1]);
    smtp_server_free(&owner.server);
    turn(&owner, base, ends[1]); /* what was said last is still being sent */
    close(ends[1]);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    return 0;
}

#include "proxy/finderlink.h"

#include "base/log.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#define REQUESTS_MAX 10000u

struct proxy_finder_request {
    TAILQ_ENTRY(proxy_finder_request) link;
    struct proxy_finderlink *owner;
    uint32_t number;
    struct event *deadline;
    enum err err; /* what it fails with, once it has */
    proxy_finder_fn fn;
    void *context;
};

struct proxy_finderlink {
    struct event_base *base;
    proxy_finder_lost_fn on_lost;
    void *lost_context;
    int socket; /* -1: no finder at the moment */
    struct event *readable;
    TAILQ_HEAD(, proxy_finder_request) requests;
    size_t requests_len;
    uint32_t last_number;
};

static void request_free(struct proxy_finder_request *request)
{
    TAILQ_REMOVE(&request->owner->requests, request, link);
    request->owner->requests_len--;
    if (request->deadline != NULL)
        event_free(request->deadline);
    free(request);
}

static void tell(struct proxy_finder_request *request, enum err err, const struct proxy_finder_answer *answer)
{
    proxy_finder_fn fn = request->fn;
    void *context = request->context;
    request_free(request);
    fn(err, answer, context);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct proxy_finder_request *request = context;
    (void)fd;
    (void)what;
    tell(request, request->err, NULL);
}

/* From the loop, so that no function fires before its question has been asked. */
static void fail_soon(struct proxy_finder_request *request)
{
    event_active(request->deadline, EV_TIMEOUT, 0);
}

static void disconnect(struct proxy_finderlink *link)
{
    struct proxy_finder_request *request;
    if (link->readable != NULL)
        event_free(link->readable);
    link->readable = NULL;
    if (link->socket >= 0)
        close(link->socket);
    link->socket = -1;
    for (request = TAILQ_FIRST(&link->requests); request != NULL; request = TAILQ_NEXT(request, link))
        fail_soon(request);
}

/* One that nobody awaits any more is read all the same. */
static enum err take_answer(struct proxy_finderlink *link, struct ipc_in *in)
{
    struct proxy_finder_answer answer = {.file = -1};
    struct proxy_finder_request *request;
    const uint32_t number = ipc_get_u32(in), code = ipc_get_u32(in);
    if (code == ERR_OK) {
        answer.seconds = ipc_get_u32(in);
        answer.pieces_len = ipc_get_u32(in);
        answer.is_partial = ipc_get_u32(in) != 0;
        answer.file = ipc_get_u32(in) != 0 ? ipc_get_file(in) : -1;
    }
    enum err err = ipc_type(in) != PROXY_FINDER_DONE || code >= ERR_COUNT ? ERR_PEER_PROTOCOL : ipc_in_end(in);
    if (err == ERR_OK && answer.pieces_len > 0 && answer.file < 0)
        err = ERR_PEER_PROTOCOL;
    for (request = TAILQ_FIRST(&link->requests); request != NULL; request = TAILQ_NEXT(request, link))
        if (request->number == number)
            break;
    if (err == ERR_OK && request != NULL)
        tell(request, (enum err)code, code == ERR_OK ? &answer : NULL);
    if (answer.file >= 0)
        close(answer.file);
    return err;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct proxy_finderlink *link = context;
    struct ipc_in in;
    (void)what;
    enum err err = ipc_recv(fd, &in);
    if (err == ERR_OK) {
        err = take_answer(link, &in);
        ipc_in_fini(&in);
    }
    if (err == ERR_OK || err == ERR_AGAIN)
        return;
    log_failure(err, "the finder");
    disconnect(link);
    link->on_lost(link->lost_context);
}

void proxy_finderlink_connect(struct proxy_finderlink *link, int socket)
{
    disconnect(link);
    link->socket = socket;
    link->readable = event_new(link->base, socket, EV_READ | EV_PERSIST, on_readable, link);
    if (link->readable == NULL || event_add(link->readable, NULL) != 0) {
        log_failure(ERR_MEMORY, "taking the line to the finder over");
        disconnect(link);
    }
}

enum err proxy_finder_find(struct proxy_finderlink *link, const char *address, size_t stage, const char *fingerprint,
                           uint32_t timeout_ms, proxy_finder_fn fn, void *context,
                           struct proxy_finder_request **request_out)
{
    const struct timeval time = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    struct ipc_out out;
    struct proxy_finder_request *request = link->requests_len < REQUESTS_MAX ? calloc(1, sizeof(*request)) : NULL;
    if (request == NULL)
        return ERR_BUSY;
    *request = (struct proxy_finder_request){
        .owner = link, .number = ++link->last_number, .err = ERR_LOOKUP, .fn = fn, .context = context};
    TAILQ_INSERT_TAIL(&link->requests, request, link);
    link->requests_len++;
    request->deadline = evtimer_new(link->base, on_deadline, request);
    if (request->deadline == NULL || evtimer_add(request->deadline, &time) != 0) {
        request_free(request);
        return ERR_MEMORY;
    }
    ipc_out_begin(&out, PROXY_FIND);
    ipc_put_u32(&out, request->number);
    ipc_put_string(&out, address);
    ipc_put_u32(&out, (uint32_t)stage);
    ipc_put_string(&out, fingerprint == NULL ? "" : fingerprint);
    ipc_put_u32(&out, fingerprint != NULL);
    enum err err = ERR_END;
    if (link->socket >= 0)
        err = ipc_send(link->socket, &out);
    else
        ipc_out_fini(&out);
    if (err != ERR_OK) {
        log_failure(ERR_LOOKUP, "there is no finder to ask");
        fail_soon(request);
    }
    *request_out = request;
    return ERR_OK;
}

void proxy_finder_cancel(struct proxy_finder_request **request)
{
    if (*request != NULL)
        request_free(*request);
    *request = NULL;
}

enum err proxy_finderlink_new(struct event_base *base, proxy_finder_lost_fn on_lost, void *context,
                              struct proxy_finderlink **link_out)
{
    struct proxy_finderlink *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return ERR_MEMORY;
    *link = (struct proxy_finderlink){.base = base, .on_lost = on_lost, .lost_context = context, .socket = -1};
    TAILQ_INIT(&link->requests);
    *link_out = link;
    return ERR_OK;
}

void proxy_finderlink_free(struct proxy_finderlink **link_pointer)
{
    struct proxy_finderlink *link = *link_pointer;
    *link_pointer = NULL;
    if (link == NULL)
        return;
    while (!TAILQ_EMPTY(&link->requests))
        request_free(TAILQ_FIRST(&link->requests));
    disconnect(link);
    free(link);
}

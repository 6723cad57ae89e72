#include "proxy/vaultlink_internal.h"

#include "base/log.h"
#include "proxy/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define REQUESTS_MAX 10000u
#define STALL_S 30
#define HELD_MAX 1000u

struct proxy_vault_request {
    STAILQ_ENTRY(proxy_vault_request) link;
    struct ipc_out message; /* kept, with its files, until the answer is there */
    bool is_sent_twice;
    bool was_held; /* once is enough */
    bool is_over;  /* cancelled or given up; its answer may still come and is dropped */
    proxy_vault_answer_fn fn;
    void *context;
    struct proxy_vault_typed typed;
};

STAILQ_HEAD(requests, proxy_vault_request);

struct proxy_vaultlink {
    struct event_base *base;
    proxy_vault_lost_fn on_lost;
    void *lost_context;
    int socket; /* -1: no vault at the moment */
    struct event *readable, *writable;
    struct event *stall;    /* nothing has come for too long */
    struct requests unsent; /* wait for room in the socket, or for a vault */
    struct requests open;   /* in the order in which the vault answers */
    size_t requests_len;
    struct requests held; /* until the keys that they take are open */
    size_t held_len;      /* of those that nobody awaits */
    proxy_vault_locked_fn on_locked;
    void *locked_context;
    proxy_vault_words_fn on_words;
    void *words_context;
};

static struct proxy_vault_request *take_first(struct proxy_vaultlink *link, struct requests *queue)
{
    struct proxy_vault_request *request = STAILQ_FIRST(queue);
    STAILQ_REMOVE_HEAD(queue, link);
    link->requests_len--;
    return request;
}

static void close_files(struct ipc_out *message)
{
    for (size_t i = 0; i < message->files_len; i++)
        close(message->files[i]);
    message->files_len = 0;
}

static void request_free(struct proxy_vault_request *request)
{
    close_files(&request->message);
    ipc_out_fini(&request->message);
    free(request);
}

static void tell(struct proxy_vault_request *request, enum err err, struct ipc_in *answer)
{
    if (request->is_over)
        return;
    request->is_over = true;
    if (request->fn != NULL)
        request->fn(err, answer, request->context);
    else if (err != ERR_OK)
        log_failure(err, "what the vault was to keep");
}

void proxy_vault_cancel(struct proxy_vault_request **request)
{
    if (*request != NULL)
        (*request)->is_over = true;
    *request = NULL;
}

static void watch_stall(struct proxy_vaultlink *link)
{
    const struct timeval time = {STALL_S, 0};
    if (link->requests_len == 0)
        evtimer_del(link->stall);
    else
        evtimer_add(link->stall, &time);
}

static enum err send_copy(int socket, const struct proxy_vault_request *request)
{
    struct ipc_out copy = {.err = ERR_OK};
    buf_init_secret(&copy.bytes, IPC_SIZE_MAX);
    copy.err = buf_add_span(&copy.bytes, buf_span(&request->message.bytes));
    copy.files_len = request->message.files_len;
    memcpy(copy.files, request->message.files, sizeof(copy.files));
    return ipc_send(socket, &copy);
}

/* Sends what there is room for. A socket that has failed is told by its end, from the loop. */
static void flush(struct proxy_vaultlink *link)
{
    struct proxy_vault_request *request;
    while (link->socket >= 0 && (request = STAILQ_FIRST(&link->unsent)) != NULL) {
        enum err err = send_copy(link->socket, request);
        if (err == ERR_AGAIN)
            event_add(link->writable, NULL);
        else if (err != ERR_OK)
            log_failure(err, "asking the vault");
        if (err != ERR_OK)
            return;
        STAILQ_REMOVE_HEAD(&link->unsent, link);
        STAILQ_INSERT_TAIL(&link->open, request, link);
    }
}

static void close_socket(struct proxy_vaultlink *link)
{
    if (link->readable != NULL)
        event_free(link->readable);
    if (link->writable != NULL)
        event_free(link->writable);
    link->readable = link->writable = NULL;
    if (link->socket >= 0)
        close(link->socket);
    link->socket = -1;
}

/* What was open waits for the next vault, before what came later; what was open for the second time fails: it may be
   what the vaults die of. */
static void disconnect(struct proxy_vaultlink *link)
{
    struct requests failed = STAILQ_HEAD_INITIALIZER(failed);
    struct requests again = STAILQ_HEAD_INITIALIZER(again);
    struct proxy_vault_request *request;
    close_socket(link);
    while ((request = STAILQ_FIRST(&link->open)) != NULL) {
        STAILQ_REMOVE_HEAD(&link->open, link);
        if (request->is_sent_twice || request->is_over)
            STAILQ_INSERT_TAIL(&failed, request, link);
        else
            STAILQ_INSERT_TAIL(&again, request, link);
        request->is_sent_twice = true;
    }
    STAILQ_CONCAT(&again, &link->unsent);
    STAILQ_CONCAT(&link->unsent, &again);
    while (!STAILQ_EMPTY(&failed)) {
        request = take_first(link, &failed);
        tell(request, ERR_STORE, NULL);
        request_free(request);
    }
}

static void on_stall(evutil_socket_t fd, short what, void *context)
{
    struct proxy_vaultlink *link = context;
    struct requests failed = STAILQ_HEAD_INITIALIZER(failed);
    struct proxy_vault_request *request;
    size_t open_len = 0;
    (void)fd;
    (void)what;
    log_error("the vault has not answered for %d s", STALL_S);
    STAILQ_CONCAT(&failed, &link->unsent);
    STAILQ_FOREACH(request, &link->open, link)
    open_len++;
    /* Those that were sent keep their places, so that late answers find the right ones. */
    request = STAILQ_FIRST(&link->open);
    for (; open_len > 0; open_len--, request = STAILQ_NEXT(request, link))
        tell(request, ERR_STORE, NULL);
    while (!STAILQ_EMPTY(&failed)) {
        request = take_first(link, &failed);
        tell(request, ERR_STORE, NULL);
        request_free(request);
    }
}

/* Of those that somebody awaits there are no more than there are sessions' questions. */
static bool is_unawaited(const struct proxy_vault_request *request)
{
    return request->fn == NULL && !request->is_over;
}

static bool may_hold(const struct proxy_vaultlink *link, const struct proxy_vault_request *request)
{
    return link->on_locked != NULL && request->typed.account != NULL && !request->is_over && !request->was_held &&
           (!is_unawaited(request) || link->held_len < HELD_MAX);
}

static void hold(struct proxy_vaultlink *link, struct proxy_vault_request *request)
{
    const char *account = request->typed.account;
    request->was_held = true;
    request->is_sent_twice = false;
    STAILQ_INSERT_TAIL(&link->held, request, link);
    link->held_len += is_unawaited(request);
    link->on_locked(account, link->locked_context);
}

void proxy_vaultlink_on_locked(struct proxy_vaultlink *link, proxy_vault_locked_fn on_locked, void *context)
{
    link->on_locked = on_locked;
    link->locked_context = context;
}

void proxy_vaultlink_unlocked(struct proxy_vaultlink *link, const char *account, enum err err)
{
    struct requests held = STAILQ_HEAD_INITIALIZER(held), failed = STAILQ_HEAD_INITIALIZER(failed);
    struct proxy_vault_request *request;
    STAILQ_CONCAT(&held, &link->held);
    while ((request = STAILQ_FIRST(&held)) != NULL) {
        STAILQ_REMOVE_HEAD(&held, link);
        const bool is_meant = request->is_over || strcmp(request->typed.account, account) == 0;
        if (!is_meant || (err != ERR_OK && is_unawaited(request))) {
            STAILQ_INSERT_TAIL(&link->held, request, link);
            continue;
        }
        link->held_len -= is_unawaited(request);
        if (err == ERR_OK && !request->is_over) {
            STAILQ_INSERT_TAIL(&link->unsent, request, link);
            link->requests_len++;
        } else {
            STAILQ_INSERT_TAIL(&failed, request, link);
        }
    }
    while ((request = STAILQ_FIRST(&failed)) != NULL) {
        STAILQ_REMOVE_HEAD(&failed, link);
        tell(request, ERR_KEY_LOCKED, NULL);
        request_free(request);
    }
    watch_stall(link);
    flush(link);
}

void proxy_vaultlink_on_words(struct proxy_vaultlink *link, proxy_vault_words_fn on_words, void *context)
{
    link->on_words = on_words;
    link->words_context = context;
}

/* What the vault says by itself. */
static enum err take_changed(struct proxy_vaultlink *link, struct ipc_in *in)
{
    char account[MIME_ADDR_SIZE];
    ipc_get_string(in, account, sizeof(account));
    const uint32_t is_by_mail = ipc_get_u32(in);
    enum err err = is_by_mail > 1 ? ERR_PEER_PROTOCOL : ipc_in_end(in);
    if (err == ERR_OK && link->on_words != NULL)
        link->on_words(account, is_by_mail != 0, link->words_context);
    return err;
}

/* Reads one answer; ERR_PEER_PROTOCOL if it is none. */
static enum err take_answer(struct proxy_vaultlink *link, struct ipc_in *in)
{
    if (ipc_type(in) == PROXY_PEER_CHANGED)
        return take_changed(link, in);
    uint32_t code = ipc_get_u32(in);
    if (STAILQ_EMPTY(&link->open) || ipc_type(in) != PROXY_VAULT_DONE || in->err != ERR_OK || code >= ERR_COUNT ||
        (code != ERR_OK && ipc_in_end(in) != ERR_OK))
        return ERR_PEER_PROTOCOL;
    struct proxy_vault_request *request = take_first(link, &link->open);
    if (code == ERR_KEY_LOCKED && may_hold(link, request)) {
        hold(link, request);
        return ERR_OK;
    }
    bool is_read = !request->is_over && request->fn != NULL;
    tell(request, (enum err)code, code == ERR_OK ? in : NULL);
    request_free(request);
    return is_read ? ipc_in_end(in) : ERR_OK;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct proxy_vaultlink *link = context;
    struct ipc_in in;
    (void)what;
    enum err err = ipc_recv(fd, &in);
    if (err == ERR_AGAIN)
        return;
    if (err == ERR_OK) {
        err = take_answer(link, &in);
        ipc_in_fini(&in);
    }
    if (err == ERR_OK) {
        watch_stall(link);
        return;
    }
    log_failure(err, "the vault");
    disconnect(link);
    link->on_lost(link->lost_context);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    flush(context);
}

void proxy_vaultlink_connect(struct proxy_vaultlink *link, int socket)
{
    disconnect(link);
    link->socket = socket;
    link->readable = event_new(link->base, socket, EV_READ | EV_PERSIST, on_readable, link);
    link->writable = event_new(link->base, socket, EV_WRITE, on_writable, link);
    if (link->readable == NULL || link->writable == NULL || event_add(link->readable, NULL) != 0) {
        log_failure(ERR_MEMORY, "taking the line to the vault over");
        disconnect(link);
        return;
    }
    watch_stall(link);
    /* What was changed while there was no line nobody has told. */
    if (link->on_words != NULL)
        link->on_words(NULL, false, link->words_context);
    flush(link);
}

/* The caller's descriptors may be closed before the request is sent, or sent again. */
static enum err take_files(struct ipc_out *message)
{
    size_t len = message->files_len;
    message->files_len = 0;
    for (size_t i = 0; i < len; i++) {
        int fd = fcntl(message->files[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            enum err err = err_of_errno(errno);
            close_files(message);
            return err;
        }
        message->files[message->files_len++] = fd;
    }
    return ERR_OK;
}

static enum err enter(struct proxy_vaultlink *link, struct ipc_out *out, struct proxy_vault_request **request_out)
{
    enum err err = out->err;
    struct proxy_vault_request *request = NULL;
    if (err == ERR_OK && link->requests_len >= REQUESTS_MAX)
        err = ERR_BUSY;
    if (err == ERR_OK && (request = calloc(1, sizeof(*request))) == NULL)
        err = ERR_MEMORY;
    if (err == ERR_OK)
        err = take_files(out);
    if (err != ERR_OK) {
        ipc_out_fini(out);
        free(request);
        return err;
    }
    request->message = *out;
    STAILQ_INSERT_TAIL(&link->unsent, request, link);
    link->requests_len++;
    if (!evtimer_pending(link->stall, NULL))
        watch_stall(link);
    flush(link);
    *request_out = request;
    return ERR_OK;
}

enum err proxy_vault_ask(struct proxy_vaultlink *link, struct ipc_out *out, proxy_vault_answer_fn fn, void *context,
                         struct proxy_vault_request **request_out)
{
    struct proxy_vault_request *request;
    enum err err = enter(link, out, &request);
    if (err != ERR_OK)
        return err;
    request->fn = fn;
    request->context = context;
    if (request_out != NULL)
        *request_out = request;
    return ERR_OK;
}

enum err proxy_vault_ask_typed(struct proxy_vaultlink *link, struct ipc_out *out, proxy_vault_answer_fn fn,
                               const struct proxy_vault_typed *typed, struct proxy_vault_request **request_out)
{
    struct proxy_vault_request *request;
    enum err err = proxy_vault_ask(link, out, fn, NULL, &request);
    if (err != ERR_OK)
        return err;
    request->typed = *typed;
    request->context = &request->typed;
    if (request_out != NULL)
        *request_out = request;
    return ERR_OK;
}

enum err proxy_vaultlink_new(struct event_base *base, proxy_vault_lost_fn on_lost, void *context,
                             struct proxy_vaultlink **link_out)
{
    struct proxy_vaultlink *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return ERR_MEMORY;
    *link = (struct proxy_vaultlink){.base = base, .on_lost = on_lost, .lost_context = context, .socket = -1};
    STAILQ_INIT(&link->unsent);
    STAILQ_INIT(&link->open);
    STAILQ_INIT(&link->held);
    link->stall = evtimer_new(base, on_stall, link);
    if (link->stall == NULL) {
        free(link);
        return ERR_MEMORY;
    }
    *link_out = link;
    return ERR_OK;
}

void proxy_vaultlink_free(struct proxy_vaultlink **link_pointer)
{
    struct proxy_vaultlink *link = *link_pointer;
    *link_pointer = NULL;
    if (link == NULL)
        return;
    close_socket(link);
    STAILQ_CONCAT(&link->open, &link->unsent);
    STAILQ_CONCAT(&link->open, &link->held);
    while (!STAILQ_EMPTY(&link->open))
        request_free(take_first(link, &link->open));
    event_free(link->stall);
    free(link);
}

#include "base/conn_internal.h"

#include "base/log.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FINISH_TIMEOUT_MS 10000
#define EVENT_READ_SIZE 4096u /* what libevent reads at a time */
#define READ_SIZE 65280u      /* with what libevent puts before it, a block of 64 KiB */
#define WRITE_SIZE 1048576u   /* instead of libevent's 16 KiB */

static void on_read(struct bufferevent *bufferevent, void *context);
static void on_write(struct bufferevent *bufferevent, void *context);
static void on_event(struct bufferevent *bufferevent, short what, void *context);

void conn_start_timer(struct event *timer, uint32_t timeout_ms)
{
    const struct timeval interval = {.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    event_add(timer, &interval);
}

/* What waits for the owner, and packed input that waits to become that. */
static size_t input_len(const struct conn *conn)
{
    size_t raw = evbuffer_get_length(bufferevent_get_input(conn->bufferevent));
    return conn->deflate == NULL ? raw : raw + evbuffer_get_length(conn_inflated(conn));
}

static void restart_timeout(struct conn *conn)
{
    if (conn->timeout_ms != 0 && conn->state == CONN_OPEN)
        conn_start_timer(conn->late_timer, conn->timeout_ms);
    else
        event_del(conn->late_timer);
}

/* Reading is on while the owner wants input and has room. libevent's own high watermark is not used: under TLS it
   leaves the rest of a record inside OpenSSL, where no readable socket would ever wake us for it. */
void conn_adjust_reading(struct conn *conn)
{
    /* A handshake reads as OpenSSL needs it. */
    if (conn->state == CONN_HANDSHAKE && conn->session != NULL)
        return;
    bool is_wanted = false;
    if (conn->state == CONN_FINISHING)
        is_wanted = !conn->has_ended;
    else if (conn->state == CONN_OPEN)
        is_wanted = !conn->is_paused && input_len(conn) < conn->input_max;
    bool is_on = (bufferevent_get_enabled(conn->bufferevent) & EV_READ) != 0;
    if (is_wanted && !is_on)
        bufferevent_enable(conn->bufferevent, EV_READ);
    else if (!is_wanted && is_on)
        bufferevent_disable(conn->bufferevent, EV_READ);
}

static void mute(struct conn *conn)
{
    bufferevent_setcb(conn->bufferevent, NULL, NULL, NULL, NULL);
    evbuffer_remove_cb(bufferevent_get_input(conn->bufferevent), conn_on_input_change, conn);
}

enum err conn_replace_bufferevent(struct conn *conn, struct bufferevent *bufferevent)
{
    if (bufferevent == NULL)
        return ERR_MEMORY;
    if (conn->bufferevent != NULL) {
        mute(conn);
        bufferevent_free(conn->bufferevent);
    }
    conn->bufferevent = bufferevent;
    bufferevent_setcb(bufferevent, on_read, on_write, on_event, conn);
    (void)bufferevent_set_max_single_write(bufferevent, WRITE_SIZE);
    return evbuffer_add_cb(bufferevent_get_input(bufferevent), conn_on_input_change, conn) == NULL ? ERR_MEMORY
                                                                                                   : ERR_OK;
}

void conn_destroy(struct conn *conn)
{
    address_query_cancel(&conn->query);
    if (conn->bufferevent != NULL) {
        mute(conn);
        /* libevent closes the descriptor only when the loop next turns. */
        if (conn_fd(conn) >= 0)
            shutdown(conn_fd(conn), SHUT_RDWR);
        bufferevent_free(conn->bufferevent);
    }
    conn_deflate_free(&conn->deflate);
    SSL_free(conn->next_session);
    if (conn->phase_timer != NULL)
        event_free(conn->phase_timer);
    if (conn->late_timer != NULL)
        event_free(conn->late_timer);
    free(conn);
}

static void release(struct conn *conn)
{
    conn->is_freed = true;
    conn->state = CONN_CLOSED;
    event_del(conn->phase_timer);
    event_del(conn->late_timer);
    if (conn->callback_depth == 0)
        conn_destroy(conn);
}

static void enter_callback(struct conn *conn)
{
    conn->callback_depth++;
}

static void leave_callback(struct conn *conn)
{
    if (--conn->callback_depth == 0 && conn->is_freed)
        conn_destroy(conn);
}

void conn_close_with(struct conn *conn, enum err why)
{
    conn->has_ended = why == ERR_END;
    /* After an orderly end, or with a peer that was only silent, last words may still be sent. */
    conn->is_lost = why != ERR_END && !(why == ERR_TIMEOUT && conn->state == CONN_OPEN);
    conn->state = CONN_CLOSED;
    address_query_cancel(&conn->query);
    conn_adjust_reading(conn);
    event_del(conn->phase_timer);
    event_del(conn->late_timer);
    enter_callback(conn);
    conn->options.handlers->on_close(conn, why, conn->options.owner);
    leave_callback(conn);
}

void conn_become_ready(struct conn *conn)
{
    conn->state = CONN_OPEN;
    event_del(conn->phase_timer);
    restart_timeout(conn);
    enter_callback(conn);
    conn->options.handlers->on_ready(conn, conn->options.owner);
    conn_adjust_reading(conn);
    leave_callback(conn);
}

static void on_phase_timer(int fd, short what, void *context)
{
    (void)fd, (void)what;
    struct conn *conn = context;
    switch (conn->state) {
    case CONN_ACCEPTED:
        conn_become_ready(conn);
        break;
    case CONN_RESOLVING:
        conn_close_with(conn, ERR_UPSTREAM_DOWN);
        break;
    case CONN_CONNECTING:
        if (conn->address_next > 0)
            log_info("%s: connecting: no answer", conn->peer);
        conn_connect_next(conn);
        break;
    case CONN_HANDSHAKE:
        log_info("%s: %s: no end of the TLS handshake", conn->peer, conn->doing);
        conn_close_with(conn, ERR_TIMEOUT);
        break;
    case CONN_FINISHING:
        release(conn);
        break;
    case CONN_OPEN:
    case CONN_CLOSED:
        break;
    }
}

/* A peer is not to blame for silence while we do not read and owe it no output. */
static void on_timeout(int fd, short what, void *context)
{
    (void)fd, (void)what;
    struct conn *conn = context;
    bool is_reading = (bufferevent_get_enabled(conn->bufferevent) & EV_READ) != 0;
    if (conn->state != CONN_OPEN)
        return;
    if (!is_reading && conn_output_len(conn) == 0)
        restart_timeout(conn);
    else
        conn_close_with(conn, ERR_TIMEOUT);
}

static void tell_input(struct conn *conn)
{
    bufferevent_trigger(conn->bufferevent, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

void conn_on_input_change(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *context)
{
    struct conn *conn = context;
    if (info->n_deleted == 0)
        return;
    bool is_owners = buffer == conn_input(conn);
    if (is_owners)
        conn->input_max = conn->options.input_max;
    conn_adjust_reading(conn);
    if (is_owners && conn->state == CONN_OPEN && !conn->is_paused && conn_has_packed(conn))
        tell_input(conn);
}

/* libevent has read as much as it ever does at a time: there is probably more, and of a stream each turn of the loop
   should move a good piece. An end or an error met here is left for libevent to find. */
static void read_more(struct conn *conn)
{
    struct evbuffer *input = bufferevent_get_input(conn->bufferevent);
    struct evbuffer_iovec room;
    if (conn->session != NULL || evbuffer_get_length(input) < EVENT_READ_SIZE)
        return;
    evbuffer_unfreeze(input, 0);
    for (ssize_t count = 1; count > 0;) {
        size_t len = evbuffer_get_length(input);
        size_t wanted = len >= conn->input_max ? 0 : conn->input_max - len;
        wanted = wanted < READ_SIZE ? wanted : READ_SIZE;
        if (wanted == 0 || evbuffer_reserve_space(input, (ev_ssize_t)wanted, &room, 1) != 1)
            break;
        count = recv(conn_fd(conn), room.iov_base, wanted, MSG_DONTWAIT);
        room.iov_len = count > 0 ? (size_t)count : 0;
        if (evbuffer_commit_space(input, &room, 1) != 0 || room.iov_len < wanted)
            break;
    }
    evbuffer_freeze(input, 0);
}

static void on_read(struct bufferevent *bufferevent, void *context)
{
    struct conn *conn = context;
    if (conn->state == CONN_OPEN && !conn->is_paused)
        read_more(conn);
    if (conn->state == CONN_FINISHING) {
        struct evbuffer *input = bufferevent_get_input(bufferevent);
        evbuffer_drain(input, evbuffer_get_length(input));
    }
    if (conn->state != CONN_OPEN || conn->is_paused)
        return;
    if (conn->deflate != NULL && conn_inflate(conn) != ERR_OK) {
        log_info("%s: %s: what came is not compressed", conn->peer, conn->doing);
        conn_close_with(conn, ERR_UPSTREAM_LOST);
        return;
    }
    enter_callback(conn);
    conn->options.handlers->on_input(conn, conn->options.owner);
    conn_adjust_reading(conn);
    leave_callback(conn);
}

/* The last word of a connection that is finishing has been handed to the kernel. What the peer still sends is read and
   thrown away until it closes: closing with unread input would reset the connection and could take our last reply with
   it. */
static void end_output(struct conn *conn)
{
    if (conn->has_ended) {
        release(conn);
        return;
    }
    if (conn->session != NULL && SSL_is_init_finished(conn->session)) {
        SSL_shutdown(conn->session);
        ERR_clear_error();
    }
    shutdown(conn_fd(conn), SHUT_WR);
    conn_adjust_reading(conn);
}

static void on_write(struct bufferevent *bufferevent, void *context)
{
    (void)bufferevent;
    struct conn *conn = context;
    if (conn_output_len(conn) > 0)
        return;
    if (conn->state == CONN_FINISHING) {
        end_output(conn);
    } else if (conn->state == CONN_HANDSHAKE && conn->next_session != NULL) {
        if (conn_begin_tls(conn) != ERR_OK)
            conn_close_with(conn, ERR_MEMORY);
    } else if (conn->state == CONN_OPEN && conn->has_written) {
        conn->has_written = false;
        enter_callback(conn);
        if (conn->options.handlers->on_drain != NULL)
            conn->options.handlers->on_drain(conn, conn->options.owner);
        leave_callback(conn);
    }
}

/* Under TLS an end without close_notify may have been cut by anybody, so only a closed session is an orderly end. */
static enum err reason_of(const struct conn *conn, short what)
{
    if (conn->session != NULL)
        return (SSL_get_shutdown(conn->session) & SSL_RECEIVED_SHUTDOWN) ? ERR_END : ERR_UPSTREAM_LOST;
    return (what & BEV_EVENT_EOF) && !(what & BEV_EVENT_ERROR) ? ERR_END : ERR_UPSTREAM_LOST;
}

static void on_event(struct bufferevent *bufferevent, short what, void *context)
{
    (void)bufferevent;
    struct conn *conn = context;
    bool is_connected = (what & BEV_EVENT_CONNECTED) != 0;
    switch (conn->state) {
    case CONN_CONNECTING:
        if (is_connected) {
            conn_connected(conn);
        } else {
            log_info("%s: connecting: %s", conn->peer, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
            conn_connect_next(conn);
        }
        break;
    case CONN_HANDSHAKE:
        if (is_connected) {
            conn_become_ready(conn);
        } else {
            conn_log_tls_failure(conn);
            conn_close_with(conn, ERR_UPSTREAM_TLS);
        }
        break;
    case CONN_ACCEPTED:
    case CONN_OPEN:
        if (is_connected)
            break;
        if (reason_of(conn, what) != ERR_END)
            conn_log_tls_failure(conn);
        conn_close_with(conn, reason_of(conn, what));
        break;
    case CONN_FINISHING:
        if (is_connected)
            break;
        conn->has_ended = true;
        /* A peer that has ended its side in an orderly way may still want to hear the rest. */
        if (reason_of(conn, what) == ERR_END && conn_output_len(conn) > 0)
            bufferevent_enable(conn->bufferevent, EV_WRITE);
        else
            release(conn);
        break;
    case CONN_RESOLVING:
    case CONN_CLOSED:
        break;
    }
}

enum err conn_new(const struct conn_options *options, enum conn_state state, int fd, struct conn **conn_out)
{
    *conn_out = NULL;
    /* A peer that is gone must fail one write, not end the process. */
    signal(SIGPIPE, SIG_IGN);
    struct conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return ERR_MEMORY;
    conn->options = *options;
    conn->state = state;
    conn->input_max = options->input_max;
    conn->doing = "connected";
    snprintf(conn->peer, sizeof conn->peer, "unknown");
    conn->phase_timer = event_new(options->base, -1, 0, on_phase_timer, conn);
    conn->late_timer = event_new(options->base, -1, 0, on_timeout, conn);
    if (conn->phase_timer == NULL || conn->late_timer == NULL ||
        conn_replace_bufferevent(conn, bufferevent_socket_new(options->base, fd, BUFFEREVENT_OPTIONS)) != ERR_OK) {
        if (conn->bufferevent == NULL && fd >= 0)
            close(fd);
        conn_destroy(conn);
        return ERR_MEMORY;
    }
    *conn_out = conn;
    return ERR_OK;
}

void conn_set_socket_options(int fd)
{
    const int on = 1;
    /* Fails, harmlessly, where the socket is not TCP. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

enum err conn_accept(const struct conn_options *options, int fd, SSL_CTX *context, struct conn **conn_out)
{
    evutil_make_socket_nonblocking(fd);
    conn_set_socket_options(fd);
    struct conn *conn;
    enum err err = conn_new(options, CONN_ACCEPTED, fd, &conn);
    *conn_out = NULL;
    if (err != ERR_OK)
        return err;
    struct address peer = {.len = sizeof peer.storage};
    if (getpeername(fd, (struct sockaddr *)&peer.storage, &peer.len) == 0)
        address_format(&peer, conn->peer);
    if (context == NULL)
        conn_start_timer(conn->phase_timer, 0);
    else
        err = conn_start_tls_server(conn, context);
    if (err != ERR_OK)
        conn_destroy(conn);
    else
        *conn_out = conn;
    return err;
}

struct evbuffer *conn_input(struct conn *conn)
{
    return conn->deflate != NULL ? conn_inflated(conn) : bufferevent_get_input(conn->bufferevent);
}

void conn_want_more(struct conn *conn)
{
    size_t len = evbuffer_get_length(conn_input(conn));
    if (len < conn->input_max)
        return;
    conn->input_max = len + conn->options.input_max;
    conn_adjust_reading(conn);
    if (conn_has_packed(conn))
        tell_input(conn);
}

void conn_pause(struct conn *conn)
{
    conn->is_paused = true;
    conn_adjust_reading(conn);
}

void conn_resume(struct conn *conn)
{
    if (!conn->is_paused)
        return;
    conn->is_paused = false;
    restart_timeout(conn);
    conn_adjust_reading(conn);
    /* What came just before the pause has not been told. */
    if (conn->state == CONN_OPEN && input_len(conn) > 0)
        tell_input(conn);
}

void conn_set_timeout(struct conn *conn, uint32_t timeout_ms)
{
    conn->timeout_ms = timeout_ms;
    restart_timeout(conn);
}

void conn_doing(struct conn *conn, const char *doing)
{
    conn->doing = doing;
}

const char *conn_get_doing(const struct conn *conn)
{
    return conn->doing;
}

bool conn_is_tls(const struct conn *conn)
{
    return conn->session != NULL && SSL_is_init_finished(conn->session);
}

int conn_fd(const struct conn *conn)
{
    return bufferevent_getfd(conn->bufferevent);
}

const char *conn_peer(const struct conn *conn)
{
    return conn->peer;
}

bool conn_is_loopback(const struct conn *conn)
{
    struct address own = {.len = sizeof own.storage};
    struct address peer = {.len = sizeof peer.storage};
    return getsockname(conn_fd(conn), (struct sockaddr *)&own.storage, &own.len) == 0 &&
           getpeername(conn_fd(conn), (struct sockaddr *)&peer.storage, &peer.len) == 0 && address_is_loopback(&own) &&
           address_is_loopback(&peer);
}

void conn_finish(struct conn **conn_ref)
{
    struct conn *conn = *conn_ref;
    *conn_ref = NULL;
    if (conn == NULL)
        return;
    if (conn_deflate_flush(conn) != ERR_OK)
        conn->is_lost = true;
    bool can_send =
        !conn->is_lost && conn->next_session == NULL && conn->state != CONN_RESOLVING && conn->state != CONN_CONNECTING;
    bool is_waiting = conn_output_len(conn) > 0;
    if (!can_send || (conn->state == CONN_HANDSHAKE && !is_waiting)) {
        release(conn);
        return;
    }
    bool is_handshake = conn->state == CONN_HANDSHAKE;
    conn->state = CONN_FINISHING;
    event_del(conn->late_timer);
    conn_start_timer(conn->phase_timer, FINISH_TIMEOUT_MS);
    /* libevent sends the output by itself when a handshake under way is done. */
    if (!is_waiting)
        end_output(conn);
    else if (!is_handshake)
        conn_adjust_reading(conn);
}

void conn_free(struct conn **conn_ref)
{
    if (*conn_ref == NULL)
        return;
    release(*conn_ref);
    *conn_ref = NULL;
}

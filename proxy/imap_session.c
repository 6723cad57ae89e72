/*
 * The life of an IMAP session, and the order in which its commands are carried out.
 */
#include "proxy/imap_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The client's output beyond which the upstream is not read, and below which it is again (on_drain). */
#define OUTPUT_HIGH ((size_t)256 << 10)
#define WORKS_MAX 100
#define COMMAND_MAX ((size_t)1 << 20)
#define LOGIN_TIMEOUT_MS 180000u
#define COMMAND_TIMEOUT_MS (31u * 60u * 1000u) /* RFC 3501 §5.4: at least 30 minutes */
#define PROGRESS_EVERY_MS 2000u

/* ---- works ---- */

static const struct imap_work_type *type_of(enum imap_verb verb)
{
    static const struct imap_work_type *const types[IMAP_VERB_COUNT] = {
        [IMAP_SELECT] = &imap_select_type,     [IMAP_EXAMINE] = &imap_select_type,  [IMAP_CLOSE] = &imap_select_type,
        [IMAP_UNSELECT] = &imap_select_type,   [IMAP_RENAME] = &imap_places_type,   [IMAP_DELETE] = &imap_places_type,
        [IMAP_COPY] = &imap_places_type,       [IMAP_MOVE] = &imap_places_type,     [IMAP_UID_COPY] = &imap_places_type,
        [IMAP_UID_MOVE] = &imap_places_type,   [IMAP_IDLE] = &imap_idle_type,       [IMAP_ENABLE] = &imap_enable_type,
        [IMAP_FETCH] = &imap_fetch_type,       [IMAP_UID_FETCH] = &imap_fetch_type, [IMAP_SEARCH] = &imap_search_type,
        [IMAP_UID_SEARCH] = &imap_search_type, [IMAP_APPEND] = &imap_append_type};
    return types[verb] == NULL ? &imap_relay_type : types[verb];
}

/* Whether the work may begin while earlier ones, which also may, are not answered yet. */
static bool may_follow(const struct imap_work *work)
{
    if (work->type == &imap_fetch_type)
        return imap_fetch_may_follow(work->session, work->command);
    return work->type == &imap_relay_type;
}

static void work_free(struct imap_work *work)
{
    struct imap_session *session = work->session;
    if (work->type->fini != NULL && work->has_started)
        work->type->fini(work);
    TAILQ_REMOVE(&session->works, work, link);
    session->works_len--;
    session->appends_len -= work->type == &imap_append_type;
    imap_command_free(&work->command);
    free(work);
}

static void start_works(struct imap_session *session)
{
    struct imap_work *work, *next;
    if (session->is_starting)
        return;
    session->is_starting = true;
    for (work = TAILQ_FIRST(&session->works); work != NULL && !session->is_ending; work = next) {
        if (!work->has_started) {
            work->may_follow = may_follow(work);
            if (work != TAILQ_FIRST(&session->works) && !work->may_follow)
                break;
            work->has_started = true;
            work->type->start(work);
        } else if (work->is_done) {
            next = TAILQ_NEXT(work, link);
            work_free(work);
            continue;
        }
        /* It may have ended within start: then it is looked at once more, and freed. */
        next = work->is_done ? work : TAILQ_NEXT(work, link);
        if (!work->is_done && !work->may_follow)
            break;
    }
    session->is_starting = false;
    if (session->server == NULL || session->is_ending)
        return;
    if (session->works_len < WORKS_MAX / 2 && session->appends_len == 0)
        imap_server_resume(session->server);
    if (session->works_len == 0 && session->net->is_draining)
        imap_session_end(session, ERR_SHUTDOWN);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    start_works(context);
}

void imap_work_done(struct imap_work *work)
{
    struct imap_session *session = work->session;
    work->is_done = true;
    /* Its functions may still be on the stack: it is freed from the loop. */
    event_active(session->wake, EV_TIMEOUT, 0);
}

void imap_work_fail(struct imap_work *work, enum err err)
{
    if (work->session->server != NULL)
        imap_server_fail(work->session->server, work->command->tag, err);
    imap_work_done(work);
}

void imap_work_reply(struct imap_work *work, const struct imap_reply *reply)
{
    static const char *const statuses[] = {[IMAP_OK] = "OK", [IMAP_NO] = "NO", [IMAP_BAD] = "BAD"};
    struct imap_server *server = work->session->server;
    /* What the server offers is not what the client was shown. */
    bool is_own = span_has_case_prefix(reply->code, SPAN_LIT("CAPABILITY"));
    if (server != NULL && is_own)
        imap_server_done(server, work->command->tag, reply->status, NULL, statuses[reply->status]);
    else if (server != NULL)
        imap_server_done_line(server, work->command->tag, reply->rest);
    imap_work_done(work);
}

static void on_command(struct imap_server *server, struct imap_command *command, void *owner)
{
    struct imap_session *session = owner;
    const struct imap_work_type *type = type_of(command->verb);
    struct imap_work *work = calloc(1, type->size);
    if (work == NULL) {
        imap_server_fail(server, command->tag, ERR_MEMORY);
        imap_command_free(&command);
        return;
    }
    work->session = session;
    work->type = type;
    work->command = command;
    TAILQ_INSERT_TAIL(&session->works, work, link);
    session->appends_len += type == &imap_append_type;
    /* One client's messages on their way are held one command at a time. */
    if (++session->works_len >= WORKS_MAX || session->appends_len > 0)
        imap_server_pause(server);
    start_works(session);
}

static struct imap_work *oldest(struct imap_session *session)
{
    struct imap_work *work;
    for (work = TAILQ_FIRST(&session->works); work != NULL; work = TAILQ_NEXT(work, link))
        if (work->has_started && !work->is_done)
            return work;
    return NULL;
}

/* ---- what the upstream says ---- */

/* The work that an untagged response belongs to. Commands that pass through are under way together, and a server may
   finish a later one first: what is said of messages belongs to one that asked for content, if there is any. */
static struct imap_work *work_of(struct imap_session *session, const struct imap_head *head)
{
    struct imap_work *first = oldest(session), *work;
    if (first == NULL || !first->may_follow || head->kind != IMAP_RESPONSE_FETCH)
        return first;
    for (work = first; work != NULL && work->has_started; work = TAILQ_NEXT(work, link))
        if (!work->is_done && imap_fetch_passes_content(work))
            return work;
    return first;
}

/* Only what a FETCH of the client's asked for may speak of a message's content: a server that sends it unasked could
   show a verdict of its own making. */
static bool is_content(const struct imap_unit *unit)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    size_t len;
    uint64_t number;
    imap_cursor_init(&cursor, unit);
    if (!imap_take_char(&cursor, '*') || !imap_take_space(&cursor) || !imap_take_number(&cursor, UINT32_MAX, &number) ||
        !imap_take_space(&cursor) || !imap_take_word(&cursor, "FETCH") || !imap_take_space(&cursor) ||
        imap_fetch_answers(&cursor, answers, &len) != ERR_OK)
        return true;
    for (size_t i = 0; i < len; i++)
        if (imap_answer_is_content(&answers[i]))
            return true;
    return false;
}

/* Answers to the mailbox's own question for UIDs carry nothing else. */
static bool is_uid_alone(const struct imap_unit *unit)
{
    struct span text = buf_span(&unit->text);
    size_t open = span_find_byte(text, 0, '(');
    return span_has_case_prefix(span_skip(text, open + 1), SPAN_LIT("UID ")) &&
           span_find_byte(text, open + 5, ' ') == text.len;
}

static bool is_capability(const struct imap_head *head)
{
    static const struct span code = SPAN_LIT("[CAPABILITY ");
    return span_is_case_equal(head->word, SPAN_LIT("CAPABILITY")) ||
           (head->kind == IMAP_RESPONSE_STATUS && span_find_case(head->text, 0, code) != SIZE_MAX);
}

/* A number that cannot be is not waited for: what is said of it must not reach the client. */
static bool is_beyond(const struct imap_session *session, const struct imap_head *head)
{
    return session->mailbox != NULL && head->kind == IMAP_RESPONSE_FETCH &&
           head->number > imap_map_count(imap_mailbox_map(session->mailbox));
}

static bool has_literal(const struct imap_head *head)
{
    struct imap_literal_mark mark;
    return head->kind != IMAP_RESPONSE_STATUS && (imap_literal_mark(head->text, &mark) != ERR_OK || mark.is_there);
}

static bool on_head(struct imap_client *client, const struct imap_head *head, void *owner)
{
    struct imap_session *session = owner;
    struct imap_work *work = work_of(session, head);
    (void)client;
    session->fate = IMAP_FATE_PASS;
    session->is_guarded = head->kind == IMAP_RESPONSE_FETCH;
    session->is_hidden = session->auth != IMAP_AUTH_NONE || is_capability(head);
    if (session->is_hidden)
        return false;
    if (is_beyond(session, head)) {
        session->is_hidden = true;
        imap_session_end(session, ERR_UPSTREAM_PROTOCOL);
        return false;
    }
    if (work != NULL && work->type->on_head != NULL)
        session->fate = work->type->on_head(work, head);
    session->is_checked = session->fate == IMAP_FATE_PASS && head->kind == IMAP_RESPONSE_FETCH &&
                          (work == NULL || work->type != &imap_fetch_type);
    if (session->mailbox != NULL && head->kind == IMAP_RESPONSE_FETCH && imap_mailbox_is_loading(session->mailbox))
        session->is_checked = true;
    session->is_line =
        session->fate == IMAP_FATE_PASS && !session->is_checked && session->mailbox != NULL && !has_literal(head);
    return session->fate == IMAP_FATE_PASS && !session->is_checked && !session->is_line;
}

static void hold_back(struct imap_session *session)
{
    if (imap_server_output_len(session->server) > OUTPUT_HIGH)
        imap_client_pause(session->upstream);
}

static void on_text(struct imap_client *client, struct span text, const struct imap_literal_mark *mark, void *owner)
{
    struct imap_session *session = owner;
    struct buf changed;
    (void)client;
    (void)mark;
    if (session->server == NULL)
        return;
    buf_init(&changed, text.len);
    enum err err = session->is_guarded ? imap_guard_text(&session->guard, text, &changed) : ERR_OK;
    if (err != ERR_OK)
        imap_session_end(session, err);
    else
        imap_server_write(session->server, changed.len > 0 ? buf_span(&changed) : text);
    buf_fini(&changed);
    hold_back(session);
}

/* The bytes stand in the input's own blocks, which nobody else reads. */
static enum err guard_literal(struct imap_guard *guard, struct evbuffer *input, size_t count)
{
    struct evbuffer_ptr at = {.pos = -1};
    struct evbuffer_iovec piece;
    size_t done = 0;
    while (guard->is_watching && done < count) {
        if (evbuffer_ptr_set(input, &at, done, EVBUFFER_PTR_SET) != 0 ||
            evbuffer_peek(input, (ev_ssize_t)(count - done), &at, &piece, 1) < 1)
            return ERR_INTERNAL;
        size_t len = piece.iov_len < count - done ? piece.iov_len : count - done;
        imap_guard_bytes(guard, piece.iov_base, len);
        done += len;
    }
    return ERR_OK;
}

static void on_literal(struct imap_client *client, struct evbuffer *input, size_t count, void *owner)
{
    struct imap_session *session = owner;
    (void)client;
    if (session->server == NULL) {
        evbuffer_drain(input, count);
        return;
    }
    enum err err = session->is_guarded ? guard_literal(&session->guard, input, count) : ERR_OK;
    if (err != ERR_OK) {
        evbuffer_drain(input, count);
        imap_session_end(session, err);
        return;
    }
    imap_server_move(session->server, input, count);
    hold_back(session);
}

/* What becomes of a response that was kept. */
static void judge_kept(struct imap_session *session, const struct imap_head *head, struct imap_unit *unit)
{
    struct imap_work *work = work_of(session, head);
    bool passes;
    if (session->is_checked && session->fate == IMAP_FATE_PASS) {
        passes = !is_content(unit);
        if (!passes)
            log_warning("%s: the server sent content that nobody asked for; not passed on", session->peer);
    } else
        passes = work != NULL && work->type->on_response != NULL && work->type->on_response(work, head, unit) &&
                 session->fate == IMAP_FATE_FILTER;
    if (passes && !imap_unit_is_whole(unit))
        log_warning("%s: a response is too long to be passed on", session->peer);
    else if (passes && session->server != NULL)
        imap_server_write(session->server, buf_span(&unit->text));
}

static void on_response(struct imap_client *client, const struct imap_head *head, struct imap_unit *unit, void *owner)
{
    struct imap_session *session = owner;
    bool is_streamed = session->fate == IMAP_FATE_PASS && !session->is_checked;
    if (session->is_hidden || session->is_ending)
        return;
    if (session->mailbox != NULL) {
        bool is_loading = imap_mailbox_is_loading(session->mailbox);
        enum err err = imap_mailbox_hear(session->mailbox, head, unit);
        if (err != ERR_OK) {
            imap_session_end(session, err);
            return;
        }
        if (is_loading && head->kind == IMAP_RESPONSE_FETCH && is_uid_alone(unit))
            return;
    }
    if (session->is_line)
        on_text(client, buf_span(&unit->text), NULL, session);
    else if (!is_streamed)
        judge_kept(session, head, unit);
}

static void on_upstream_close(struct imap_client *client, enum err why, void *owner)
{
    struct imap_session *session = owner;
    (void)client;
    log_info("%s: upstream of %s: %s", session->peer, imap_session_account(session)->address, err_sentence(why));
    if (session->auth != IMAP_AUTH_NONE)
        imap_auth_lost(session, why);
    else
        imap_session_end(session, why);
}

const struct imap_client_handlers imap_session_upstream = {.on_ready = imap_auth_on_ready,
                                                           .on_head = on_head,
                                                           .on_text = on_text,
                                                           .on_literal = on_literal,
                                                           .on_response = on_response,
                                                           .on_close = on_upstream_close};

/* ---- what the client does ---- */

static void on_idle_done(struct imap_server *server, void *owner)
{
    struct imap_session *session = owner;
    (void)server;
    enum err err = session->upstream == NULL ? ERR_UPSTREAM_LOST : imap_client_line(session->upstream, "DONE");
    if (err != ERR_OK)
        imap_session_end(session, err);
}

static void on_drain(struct imap_server *server, void *owner)
{
    struct imap_session *session = owner;
    struct imap_work *work = oldest(session);
    (void)server;
    if (session->upstream != NULL)
        imap_client_resume(session->upstream);
    if (work != NULL && work->type->on_drain != NULL)
        work->type->on_drain(work);
}

static enum err on_server_literal(struct imap_server *server, const struct imap_command *command,
                                  const struct imap_literal_mark *mark, void *owner)
{
    (void)server;
    if (command->verb == IMAP_APPEND)
        return imap_append_on_literal(owner, command, mark);
    return mark->len <= COMMAND_MAX ? ERR_OK : ERR_TOO_BIG;
}

static void destroy(struct imap_session *session)
{
    struct imap_work *work;
    session->is_ending = true;
    while ((work = TAILQ_FIRST(&session->works)) != NULL)
        work_free(work);
    imap_mailbox_free(&session->mailbox);
    proxy_probe_cancel(&session->probe_wait);
    imap_server_free(&session->server);
    if (session->upstream != NULL)
        imap_client_quit(&session->upstream);
    secret_fini(&session->response);
    secret_fini(&session->password);
    buf_fini(&session->shown);
    buf_fini(&session->login_reply);
    if (session->wake != NULL)
        event_free(session->wake);
    proxy_client_leave(&session->client);
    free(session);
}

static void on_client_close(struct imap_server *server, enum err why, void *owner)
{
    struct imap_session *session = owner;
    (void)server;
    log_debug("%s: client: %s", session->peer, why == ERR_UPSTREAM_LOST ? "connection lost" : err_sentence(why));
    destroy(session);
}

static const struct imap_server_handlers SERVER_HANDLERS = {.on_login = imap_auth_on_login,
                                                            .on_authenticate = imap_auth_on_authenticate,
                                                            .on_auth_response = imap_auth_on_response,
                                                            .on_auth_cancel = imap_auth_on_cancel,
                                                            .on_literal = on_server_literal,
                                                            .on_command = on_command,
                                                            .on_idle_done = on_idle_done,
                                                            .on_drain = on_drain,
                                                            .on_close = on_client_close};

/* ---- for the works ---- */

void imap_session_send(struct imap_session *session, struct imap_out *out, imap_more_fn more, imap_reply_fn fn,
                       void *context)
{
    enum err err = ERR_UPSTREAM_LOST;
    if (session->upstream != NULL && !session->is_ending)
        err = imap_client_send(session->upstream, out, more, fn, context);
    else
        imap_out_fini(out);
    if (err != ERR_OK)
        imap_session_end(session, err);
}

void imap_session_end(struct imap_session *session, enum err why)
{
    struct imap_work *work;
    if (session->is_ending)
        return;
    session->is_ending = true;
    log_info("%s: session of %s ends: %s", session->peer, imap_session_account(session)->address, err_sentence(why));
    /* Nobody answers any more: what the works wait for must not come back to them. */
    for (work = TAILQ_FIRST(&session->works); work != NULL; work = TAILQ_NEXT(work, link))
        work->is_done = true;
    if (session->server != NULL)
        imap_server_shutdown(session->server, why, NULL);
}

void imap_session_progress(struct imap_session *session, const char *tag, size_t done, size_t total)
{
    char line[200];
    uint64_t now = clock_monotonic_ms();
    if (session->server == NULL || now - session->progress_ms < PROGRESS_EVERY_MS)
        return;
    bool is_first = session->progress_ms == 0;
    session->progress_ms = now;
    if (is_first)
        return;
    /* RFC 9585 §4: the tag as a string; one that would need quoting is left out. */
    bool has_tag = strpbrk(tag, "\"\\") == NULL;
    int len = snprintf(line, sizeof(line), "* OK [INPROGRESS (%s%s%s %zu %zu)] Opening messages\r\n",
                       has_tag ? "\"" : "", has_tag ? tag : "NIL", has_tag ? "\"" : "", done, total);
    if (len > 0 && (size_t)len < sizeof(line))
        imap_server_write(session->server, (struct span){line, (size_t)len});
}

/* ---- life ---- */

static void on_shared(const struct proxy_shared *shared, void *context)
{
    struct imap_session *session = context;
    session->probe_wait = NULL;
    if (session->server != NULL)
        imap_server_greet(session->server, shared->mechanisms);
}

static uint32_t scaled(const struct config *config, uint32_t ms)
{
    return (uint32_t)((uint64_t)ms * config->timeout_percent / 100);
}

static enum err open_session(struct imap_session *session, int fd)
{
    const struct config *config = session->net->config;
    const struct config_listener *listener = session->listener;
    struct imap_server_options options = {.base = session->net->base,
                                          .handlers = &SERVER_HANDLERS,
                                          .owner = session,
                                          .tls = listener->tls == CONFIG_TLS_NONE ? NULL : session->net->server_tls,
                                          .is_tls_implicit = listener->tls == CONFIG_TLS_IMPLICIT,
                                          .may_auth_in_clear = true,
                                          .literal_max = config->message_max,
                                          .command_max = COMMAND_MAX,
                                          .command_timeout_ms = scaled(config, COMMAND_TIMEOUT_MS),
                                          .login_timeout_ms = scaled(config, LOGIN_TIMEOUT_MS)};
    for (size_t i = 0; i < listener->at_len; i++)
        options.may_auth_in_clear = options.may_auth_in_clear && listener->at[i].is_loopback;
    session->wake = event_new(session->net->base, -1, 0, on_wake, session);
    if (session->wake == NULL) {
        close(fd);
        return ERR_MEMORY;
    }
    enum err err = imap_server_new(&options, fd, &session->server);
    if (err != ERR_OK) {
        session->server = NULL;
        return err;
    }
    snprintf(session->peer, sizeof(session->peer), "%s", conn_peer(imap_server_conn(session->server)));
    return proxy_probe_ask(session->net->probe, listener, on_shared, session, &session->probe_wait);
}

static enum err start(struct proxy_net *net, const struct config_listener *listener, int fd, const char *host)
{
    struct imap_session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        close(fd);
        return ERR_MEMORY;
    }
    session->net = net;
    session->listener = listener;
    TAILQ_INIT(&session->works);
    buf_init(&session->shown, 16384);
    buf_init(&session->login_reply, 16384);
    proxy_client_enter(net, &session->client, &proxy_imap, host);
    enum err err = open_session(session, fd);
    if (err != ERR_OK)
        destroy(session);
    return err;
}

static void drain(struct proxy_client *client)
{
    struct imap_session *session = (struct imap_session *)client;
    struct imap_work *work = oldest(session);
    if (work == NULL || work->type == &imap_idle_type)
        imap_session_end(session, ERR_SHUTDOWN);
}

static void free_at_once(struct proxy_client *client)
{
    destroy((struct imap_session *)client);
}

const struct proxy_protocol proxy_imap = {.name = "imap",
                                          .busy = "* BYE [LIMIT] Too many sessions\r\n",
                                          .start = start,
                                          .drain = drain,
                                          .free = free_at_once};

/*
 * The reference keyserver (HKP) and Web Key Directory, over TLS or in clear: libevent's evhttp over files.
 *
 * A request for host H and path P is answered with the file STORE/H/P, each "/" of P (without its first) written as
 * "_"; one for /pks/lookup with STORE/H/pks_ADDRESS. What is sent to /pks/add becomes the file STORE/H/added, field and
 * all. 404 if there is none such. Every request is a line of the wire
 * file: host, blank, what stands in the request. Faults of the point "answer":
 *
 *   status CODE    redirect URL    file NAME (of STORE)    hang    cut    slow    huge    late (when the answer goes
 * out there is a second line in the wire file: "answered" before the same words)
 */
#include "tests/servers/common.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>

#define HUGE_MAX ((size_t)64 << 20)
#define SLOW_MS 20
#define LATE_MS 700

static struct server server;
static struct event_base *base;

/* An answer that goes out piece by piece. */
struct stream {
    struct evhttp_request *request;
    struct evbuffer *body;
    size_t sent;
    struct event *timer; /* slow */
    bool is_cut;
};

static struct evbuffer *read_file(const char *path)
{
    char block[8192];
    size_t len;
    FILE *file = fopen(path, "rbe");
    struct evbuffer *body = file == NULL ? NULL : evbuffer_new();
    while (body != NULL && (len = fread(block, 1, sizeof(block), file)) > 0)
        evbuffer_add(body, block, len);
    if (file != NULL)
        fclose(file);
    return body;
}

/* The name of the file for a request; false if there is none that it could name. */
static bool name_of(struct evhttp_request *request, const char *host, char *name, size_t size)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri), *search = NULL;
    struct evkeyvalq fields;
    int len;
    TAILQ_INIT(&fields);
    if (path == NULL || path[0] != '/' || strstr(path, "..") != NULL || strchr(host, '/') != NULL)
        return false;
    if (strcmp(path, "/pks/lookup") == 0 && query != NULL && evhttp_parse_query_str(query, &fields) == 0)
        search = evhttp_find_header(&fields, "search");
    len = snprintf(name, size, "%s/%s/%s%s", server.store, host, search == NULL ? "" : "pks_",
                   search == NULL ? path + 1 : search);
    evhttp_clear_headers(&fields);
    if (len < 0 || (size_t)len >= size)
        return false;
    for (char *at = name + strlen(server.store) + strlen(host) + 2; *at != '\0'; at++)
        if (*at == '/')
            *at = '_';
    return true;
}

static void on_gone(struct evhttp_connection *connection, void *context)
{
    struct stream *stream = context;
    (void)connection;
    if (stream->timer != NULL)
        event_free(stream->timer);
    evbuffer_free(stream->body);
    free(stream);
}

static void cut(evutil_socket_t unused, short what, void *context)
{
    (void)unused;
    (void)what;
    evhttp_connection_free(context);
}

static void on_written(struct evhttp_connection *connection, void *context)
{
    struct stream *stream = context;
    static const char zeros[65536];
    struct evbuffer *piece;
    if (stream->is_cut) {
        const struct timeval now = {0, 0};
        event_base_once(base, -1, EV_TIMEOUT, cut, connection, &now);
        return;
    }
    if (stream->sent >= HUGE_MAX)
        return;
    piece = evbuffer_new();
    evbuffer_add(piece, zeros, sizeof(zeros));
    stream->sent += sizeof(zeros);
    evhttp_send_reply_chunk_with_cb(stream->request, piece, on_written, stream);
    evbuffer_free(piece);
}

static void on_timer(evutil_socket_t unused, short what, void *context)
{
    struct stream *stream = context;
    struct evbuffer *piece = evbuffer_new();
    (void)unused;
    (void)what;
    evbuffer_remove_buffer(stream->body, piece, 1);
    evhttp_send_reply_chunk(stream->request, piece);
    evbuffer_free(piece);
}

static void begin_stream(struct evhttp_request *request, struct evbuffer *body, const char *action)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    const struct timeval pause = {0, SLOW_MS * 1000};
    if (stream == NULL) {
        evhttp_send_error(request, HTTP_INTERNAL, NULL);
        evbuffer_free(body);
        return;
    }
    stream->request = request;
    stream->body = body;
    stream->is_cut = strcmp(action, "cut") == 0;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, stream);
    evhttp_send_reply_start(request, HTTP_OK, "OK");
    if (strcmp(action, "slow") == 0) {
        stream->timer = event_new(base, -1, EV_PERSIST, on_timer, stream);
        event_add(stream->timer, &pause);
        return;
    }
    struct evbuffer *piece = evbuffer_new();
    if (stream->is_cut)
        evbuffer_remove_buffer(body, piece, evbuffer_get_length(body) / 2);
    else
        evbuffer_add(piece, "\x98", 1);
    evhttp_send_reply_chunk_with_cb(request, piece, on_written, stream);
    evbuffer_free(piece);
}

static void note(const char *what, struct evhttp_request *request)
{
    const char *host = evhttp_request_get_host(request);
    if (server.wire == NULL)
        return;
    fprintf(server.wire, "%s%s %s\n", what, host == NULL ? "-" : host, evhttp_request_get_uri(request));
    fflush(server.wire);
}

static void on_late(evutil_socket_t unused, short what, void *context)
{
    struct stream *stream = context;
    (void)unused;
    (void)what;
    note("answered ", stream->request);
    evhttp_connection_set_closecb(evhttp_request_get_connection(stream->request), NULL, NULL);
    evhttp_send_reply(stream->request, HTTP_OK, "OK", stream->body);
    on_gone(NULL, stream);
}

static void answer_late(struct evhttp_request *request, struct evbuffer *body)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    const struct timeval pause = {0, LATE_MS * 1000};
    if (stream == NULL)
        server_fail("no memory");
    *stream = (struct stream){.request = request, .body = body, .timer = evtimer_new(base, on_late, stream)};
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, stream);
    evtimer_add(stream->timer, &pause);
}

static void take_key(struct evhttp_request *request, const char *host)
{
    struct evbuffer *sent = evhttp_request_get_input_buffer(request);
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s/added", server.store, host);
    FILE *file = strcmp(evhttp_request_get_uri(request), "/pks/add") == 0 ? fopen(path, "wbe") : NULL;
    if (file == NULL) {
        evhttp_send_error(request, HTTP_NOTFOUND, NULL);
        return;
    }
    fwrite(evbuffer_pullup(sent, -1), 1, evbuffer_get_length(sent), file);
    fclose(file);
    evhttp_send_reply(request, HTTP_OK, "OK", NULL);
}

static void on_request(struct evhttp_request *request, void *context)
{
    char action[512] = "", name[2048], path[4096];
    const char *host = evhttp_request_get_host(request);
    struct evbuffer *body = NULL;
    (void)context;
    if (host == NULL)
        host = "-";
    note("", request);
    (void)server_fault_at(&server, "answer", action);
    if (strcmp(action, "hang") == 0)
        return;
    if (strncmp(action, "redirect ", 9) == 0) {
        evhttp_add_header(evhttp_request_get_output_headers(request), "Location", action + 9);
        evhttp_send_reply(request, HTTP_MOVEPERM, "Moved", NULL);
        return;
    }
    if (strncmp(action, "status ", 7) == 0) {
        evhttp_send_reply(request, (int)strtol(action + 7, NULL, 10), "As ordered", NULL);
        return;
    }
    if (evhttp_request_get_command(request) == EVHTTP_REQ_POST) {
        take_key(request, host);
        return;
    }
    if (strncmp(action, "file ", 5) == 0) {
        snprintf(path, sizeof(path), "%s/%s", server.store, action + 5);
        body = read_file(path);
    } else if (name_of(request, host, name, sizeof(name)))
        body = read_file(name);
    if (strcmp(action, "huge") == 0 && body == NULL)
        body = evbuffer_new();
    if (body == NULL) {
        evhttp_send_error(request, HTTP_NOTFOUND, NULL);
        return;
    }
    if (strcmp(action, "late") == 0) {
        answer_late(request, body);
        return;
    }
    if (strcmp(action, "cut") == 0 || strcmp(action, "slow") == 0 || strcmp(action, "huge") == 0) {
        begin_stream(request, body, action);
        return;
    }
    evhttp_send_reply(request, HTTP_OK, "OK", body);
    evbuffer_free(body);
}

static struct bufferevent *take_line(struct event_base *at, void *context)
{
    (void)context;
    return bufferevent_openssl_socket_new(at, -1, SSL_new(server.context), BUFFEREVENT_SSL_ACCEPTING,
                                          BEV_OPT_CLOSE_ON_FREE);
}

static void make_context(const char *certificate, const char *key)
{
    server.context = SSL_CTX_new(TLS_server_method());
    if (server.context == NULL || key == NULL || SSL_CTX_use_certificate_chain_file(server.context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(server.context, key, SSL_FILETYPE_PEM) != 1)
        server_fail("TLS needs --cert and --key");
}

static void take_options(int argc, char **argv, int *port, const char **address)
{
    const char *certificate = NULL, *key = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--port") == 0)
            *port = (int)strtol(value, NULL, 10);
        else if (strcmp(name, "--address") == 0)
            *address = value;
        else if (strcmp(name, "--cert") == 0)
            certificate = value;
        else if (strcmp(name, "--key") == 0)
            key = value;
        else if (strcmp(name, "--store") == 0)
            server.store = value;
        else if (strcmp(name, "--faults") == 0)
            server.faults = value;
        else if (strcmp(name, "--wire") == 0)
            server.wire = fopen(value, "wbe");
        else
            server_fail("usage: --store DIR [--address IP] [--port N] [--cert FILE --key FILE] [--wire FILE]"
                        " [--faults FILE]");
    }
    if (server.store == NULL)
        server_fail("--store is missing");
    if (certificate != NULL)
        make_context(certificate, key);
}

int main(int argc, char **argv)
{
    int port = 0;
    const char *address = "127.0.0.1";
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    take_options(argc, argv, &port, &address);
    signal(SIGPIPE, SIG_IGN);
    /* A test that is killed takes its server with it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_mutex_init(&server.lock, NULL);
    base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    struct evhttp_bound_socket *bound =
        http == NULL ? NULL : evhttp_bind_socket_with_handle(http, address, (uint16_t)port);
    if (bound == NULL || getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&at, &len) != 0)
        server_fail("cannot listen");
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST);
    evhttp_set_gencb(http, on_request, NULL);
    if (server.context != NULL)
        evhttp_set_bevcb(http, take_line, NULL);
    printf("ready %d\n", ntohs(at.sin_port));
    fflush(stdout);
    event_base_dispatch(base);
    return 2;
}

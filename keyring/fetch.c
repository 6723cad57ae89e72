#include "keyring/fetch.h"

#include "base/log.h"
#include "base/tls.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <ldap.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 16384
#define TARGET_SIZE 2048
#define LIST_ATTRIBUTE "certificateRevocationList;binary"

struct keyring_fetch {
    const struct keyring_fetch_options *options;
    keyring_fetch_fn fn;
    void *context;
    char host[ADDRESS_HOST_SIZE];
    char target[TARGET_SIZE]; /* path and query */
    char body_type[64];       /* "": GET */
    struct buf body, answer;
    int port;
    struct address_query *query;
    struct address_list addresses; /* that may be connected to */
    size_t next;
    struct evhttp_connection *connection;
    struct keyring_ldap_query *values; /* of a directory */
    struct event *deadline;
    struct event *turn; /* goes on out of the loop, where nothing of libevent's own is under way */
    enum err result;    /* ERR_AGAIN: not known yet */
    enum err so_far;    /* what it is if no other address does better */
};

/* ---- addresses ---- */

/* RFC 6890 and its registry: first address, bits. */
static bool is_public_v4(uint32_t address)
{
    static const struct {
        uint32_t first;
        unsigned bits;
    } others[] = {{0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
                  {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
                  {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (address >> (32 - others[i].bits) == others[i].first >> (32 - others[i].bits))
            return false;
    return true;
}

static uint32_t v4_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is_public_v6(const uint8_t bytes[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, translated[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(bytes, mapped, sizeof mapped) == 0 || memcmp(bytes, translated, sizeof translated) == 0)
        return is_public_v4(v4_at(bytes + 12));
    if (bytes[0] == 0x20 && bytes[1] == 0x02) /* 6to4 */
        return is_public_v4(v4_at(bytes + 2));
    bool is_special =
        bytes[0] == 0x20 && bytes[1] == 0x01 && (bytes[2] < 0x02 || (bytes[2] == 0x0d && bytes[3] == 0xb8));
    bool is_documentation = bytes[0] == 0x3f && bytes[1] == 0xff && bytes[2] < 0x10;
    return bytes[0] >> 5 == 1 && !is_special && !is_documentation;
}

bool keyring_fetch_is_public(const struct address *address)
{
    if (address->storage.ss_family == AF_INET)
        return is_public_v4(ntohl(((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr));
    return address->storage.ss_family == AF_INET6 &&
           is_public_v6(((const struct sockaddr_in6 *)&address->storage)->sin6_addr.s6_addr);
}

static bool may_be_private(const struct keyring_fetch *fetch)
{
    for (size_t i = 0; i < fetch->options->hosts_len; i++)
        if (span_is_case_equal(span_of(fetch->host), span_of(fetch->options->hosts[i])))
            return true;
    return false;
}

/* ---- the end ---- */

static void fetch_free(struct keyring_fetch *fetch)
{
    address_query_cancel(&fetch->query);
    keyring_ldap_cancel(&fetch->values);
    if (fetch->connection != NULL)
        evhttp_connection_free(fetch->connection);
    if (fetch->deadline != NULL)
        event_free(fetch->deadline);
    if (fetch->turn != NULL)
        event_free(fetch->turn);
    buf_fini(&fetch->body);
    buf_fini(&fetch->answer);
    free(fetch);
}

void keyring_fetch_cancel(struct keyring_fetch **fetch)
{
    if (*fetch != NULL)
        fetch_free(*fetch);
    *fetch = NULL;
}

static void take_result(struct keyring_fetch *fetch, enum err result)
{
    if (fetch->result != ERR_AGAIN)
        return;
    fetch->result = result;
    event_active(fetch->turn, EV_TIMEOUT, 0);
}

static void on_deadline(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    take_result(context, ERR_TIMEOUT);
}

/* ---- request and answer ---- */

static void on_error(enum evhttp_request_error error, void *context)
{
    struct keyring_fetch *fetch = context;
    /* Somebody is there. */
    fetch->so_far = ERR_LOOKUP;
    if (error == EVREQ_HTTP_DATA_TOO_LONG)
        take_result(fetch, ERR_LIMIT);
}

/* What an answer other than 200 says of what was asked for. */
static enum err judge_code(int code)
{
    enum { GONE = 410, TIMED_OUT = 408, TOO_EARLY = 425, TOO_MANY = 429 };
    if (code == HTTP_NOTFOUND || code == GONE)
        return ERR_UPSTREAM_REJECTED;
    if (code < 300 || code >= 500 || code == TIMED_OUT || code == TOO_EARLY || code == TOO_MANY)
        return ERR_LOOKUP;
    return ERR_UPSTREAM_PROTOCOL;
}

static void on_response(struct evhttp_request *request, void *context)
{
    struct keyring_fetch *fetch = context;
    int code = request == NULL ? 0 : evhttp_request_get_response_code(request);
    if (fetch->result != ERR_AGAIN)
        return;
    /* Nobody was there: another address may do. */
    if (code == 0) {
        event_active(fetch->turn, EV_TIMEOUT, 0);
        return;
    }
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t len = evbuffer_get_length(body);
    const unsigned char *bytes = len == 0 ? NULL : evbuffer_pullup(body, -1);
    enum err err = judge_code(code);
    if (code == HTTP_OK && (len == 0 || bytes != NULL))
        err = buf_add(&fetch->answer, bytes == NULL ? (const unsigned char *)"" : bytes, len);
    else
        log_info("%s answers %d%s", fetch->host, code, code / 100 == 3 ? ", which is not followed" : "");
    take_result(fetch, err);
}

static int usual_port(const struct keyring_fetch *fetch)
{
    return fetch->options->tls == NULL ? 80 : 443;
}

static bool send_request(struct keyring_fetch *fetch)
{
    char host[ADDRESS_HOST_SIZE + 8];
    struct evhttp_request *request = evhttp_request_new(on_response, fetch);
    if (request == NULL)
        return false;
    evhttp_request_set_error_cb(request, on_error);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    const char *const form = strchr(fetch->host, ':') == NULL ? "%s:%d" : "[%s]:%d";
    (void)snprintf(host, sizeof host,
                   fetch->port != usual_port(fetch)   ? form
                   : strchr(fetch->host, ':') == NULL ? "%s"
                                                      : "[%s]",
                   fetch->host, fetch->port);
    bool is_made =
        evhttp_add_header(headers, "Host", host) == 0 && evhttp_add_header(headers, "Connection", "close") == 0;
    if (fetch->body_type[0] != '\0')
        is_made = is_made && evhttp_add_header(headers, "Content-Type", fetch->body_type) == 0 &&
                  evbuffer_add(evhttp_request_get_output_buffer(request), fetch->body.data, fetch->body.len) == 0;
    if (!is_made) {
        evhttp_request_free(request);
        return false;
    }
    /* On failure the connection has freed the request. */
    return evhttp_make_request(fetch->connection, request,
                               fetch->body_type[0] == '\0' ? EVHTTP_REQ_GET : EVHTTP_REQ_POST, fetch->target) == 0;
}

/* NULL: there is no memory for it, or the host cannot be one. */
static struct bufferevent *open_tls(const struct keyring_fetch *fetch)
{
    SSL *session = NULL;
    if (tls_client_session(fetch->options->tls, fetch->host, &session) != ERR_OK)
        return NULL;
    struct bufferevent *line = bufferevent_openssl_socket_new(fetch->options->base, -1, session,
                                                              BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (line == NULL)
        SSL_free(session);
    return line;
}

/* Says what a handshake came to grief over. */
static void look_at_certificate(struct keyring_fetch *fetch)
{
    SSL *session = fetch->options->tls == NULL
                       ? NULL
                       : bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(fetch->connection));
    const long result = session == NULL ? X509_V_OK : SSL_get_verify_result(session);
    if (result == X509_V_OK)
        return;
    log_warning("%s: its certificate: %s", fetch->host, X509_verify_cert_error_string(result));
    fetch->so_far = ERR_UPSTREAM_TLS;
}

static bool connect_to(struct keyring_fetch *fetch, const struct address *address)
{
    char host[NI_MAXHOST];
    if (getnameinfo((const struct sockaddr *)&address->storage, address->len, host, sizeof host, NULL, 0,
                    NI_NUMERICHOST) != 0)
        return false;
    struct bufferevent *line = fetch->options->tls == NULL ? NULL : open_tls(fetch);
    if (fetch->options->tls != NULL && line == NULL)
        return false;
    fetch->connection =
        evhttp_connection_base_bufferevent_new(fetch->options->base, NULL, line, host, (unsigned short)fetch->port);
    if (fetch->connection == NULL) {
        if (line != NULL)
            bufferevent_free(line);
        return false;
    }
    evhttp_connection_set_max_headers_size(fetch->connection, HEADERS_MAX);
    evhttp_connection_set_max_body_size(fetch->connection, (ev_ssize_t)fetch->options->answer_max);
    evhttp_connection_set_retries(fetch->connection, 0);
    evhttp_connection_set_timeout(fetch->connection, (int)(fetch->options->timeout_ms / 1000) + 1);
    return send_request(fetch);
}

/* Tells how it ended, or goes on to the next address. */
static void on_turn(evutil_socket_t unused, short events, void *context)
{
    struct keyring_fetch *fetch = context;
    (void)unused;
    (void)events;
    while (fetch->result == ERR_AGAIN) {
        if (fetch->connection != NULL) {
            look_at_certificate(fetch);
            evhttp_connection_free(fetch->connection);
        }
        fetch->connection = NULL;
        if (fetch->next >= fetch->addresses.count)
            fetch->result = fetch->so_far;
        else if (connect_to(fetch, &fetch->addresses.items[fetch->next++]))
            return;
    }
    fetch->fn(fetch->context, fetch->result, fetch->result == ERR_OK ? buf_span(&fetch->answer) : SPAN_NONE);
    fetch_free(fetch);
}

/* ---- directories ---- */

static void on_values(enum err err, const struct keyring_piece *values, size_t len, const char *problem, void *context)
{
    struct keyring_fetch *fetch = context;
    (void)problem; /* has been logged */
    fetch->values = NULL;
    if (fetch->result != ERR_AGAIN)
        return;
    if (err == ERR_OK && len > 0)
        err = buf_add_span(&fetch->answer, values[0].bytes);
    take_result(fetch, len > 0 ? err : ERR_LOOKUP);
}

static enum err read_entry(struct keyring_fetch *fetch, const LDAPURLDesc *url)
{
    const struct keyring_fetch_options *options = fetch->options;
    const char *attribute = url->lud_attrs == NULL ? LIST_ATTRIBUTE : url->lud_attrs[0];
    const bool is_plain = url->lud_dn != NULL && (url->lud_attrs == NULL || url->lud_attrs[1] == NULL) &&
                          (url->lud_scope == LDAP_SCOPE_BASE || url->lud_scope == LDAP_SCOPE_DEFAULT) &&
                          url->lud_exts == NULL;
    const char *host = url->lud_host == NULL ? "" : url->lud_host;
    if (!is_plain)
        return ERR_MALFORMED;
    for (size_t i = 0; i < options->directories_len; i++)
        if (*host == '\0' || span_is_case_equal(span_of(host), span_of(options->directories[i].host)))
            return keyring_ldap_read(options->directories[i].ldap, url->lud_dn, attribute, on_values, fetch,
                                     &fetch->values);
    log_info("%s is no directory of the configuration, and not asked", *host == '\0' ? "an unnamed server" : host);
    return ERR_REFUSED;
}

static enum err ask_directory(struct keyring_fetch *fetch, const char *url)
{
    LDAPURLDesc *parts = NULL;
    if (ldap_url_parse(url, &parts) != LDAP_URL_SUCCESS)
        return ERR_MALFORMED;
    enum err err = read_entry(fetch, parts);
    ldap_free_urldesc(parts);
    return err;
}

/* ---- the beginning ---- */

static void on_addresses(enum err err, const struct address_list *list, void *context)
{
    struct keyring_fetch *fetch = context;
    bool is_trusted = may_be_private(fetch);
    fetch->query = NULL;
    for (size_t i = 0; err == ERR_OK && i < list->count; i++)
        if (is_trusted || keyring_fetch_is_public(&list->items[i]))
            fetch->addresses.items[fetch->addresses.count++] = list->items[i];
    if (err == ERR_OK && fetch->addresses.count == 0) {
        log_warning("%s has none but private addresses, and the configuration does not let it", fetch->host);
        err = ERR_REFUSED;
    }
    if (err != ERR_OK)
        take_result(fetch, err);
    else
        event_active(fetch->turn, EV_TIMEOUT, 0);
}

static bool take_url(struct keyring_fetch *fetch, const char *url)
{
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    const char *scheme = uri == NULL ? NULL : evhttp_uri_get_scheme(uri),
               *host = uri == NULL ? NULL : evhttp_uri_get_host(uri);
    const struct span wanted = fetch->options->tls == NULL ? SPAN_LIT("http") : SPAN_LIT("https");
    bool is_taken = false;
    if (scheme != NULL && host != NULL && evhttp_uri_get_userinfo(uri) == NULL &&
        span_is_case_equal(span_of(scheme), wanted) && address_host(host, fetch->host) == ERR_OK) {
        const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
        int len = snprintf(fetch->target, sizeof fetch->target, "%s%s%s", path == NULL || *path == '\0' ? "/" : path,
                           query == NULL ? "" : "?", query == NULL ? "" : query);
        int port = evhttp_uri_get_port(uri);
        fetch->port = port < 0 ? usual_port(fetch) : port;
        is_taken = len > 0 && (size_t)len < sizeof fetch->target && fetch->port > 0 && fetch->port <= UINT16_MAX;
    }
    if (uri != NULL)
        evhttp_uri_free(uri);
    return is_taken;
}

static enum err resolve(struct keyring_fetch *fetch)
{
    struct address_list list;
    if (address_literal(fetch->host, fetch->port, &list) == ERR_OK) {
        on_addresses(ERR_OK, &list, fetch);
        return ERR_OK;
    }
    if (fetch->options->dns == NULL) {
        on_addresses(ERR_UPSTREAM_DOWN, NULL, fetch);
        return ERR_OK;
    }
    return address_query_begin(fetch->options->dns, fetch->host, fetch->port, on_addresses, fetch, &fetch->query);
}

enum err keyring_fetch_begin(const struct keyring_fetch_options *options, const char *url, const char *body_type,
                             struct span body, keyring_fetch_fn fn, void *context, struct keyring_fetch **fetch_out)
{
    const struct timeval time = {options->timeout_ms / 1000, (suseconds_t)(options->timeout_ms % 1000) * 1000};
    struct keyring_fetch *fetch = calloc(1, sizeof *fetch);
    *fetch_out = NULL;
    if (fetch == NULL)
        return ERR_MEMORY;
    fetch->options = options;
    fetch->fn = fn;
    fetch->context = context;
    fetch->result = ERR_AGAIN;
    fetch->so_far = ERR_UPSTREAM_DOWN;
    buf_init(&fetch->body, body.len);
    buf_init(&fetch->answer, options->answer_max);
    const bool is_ldap = options->tls == NULL && span_has_case_prefix(span_of(url), SPAN_LIT("ldap://"));
    enum err err = is_ldap || take_url(fetch, url) ? buf_add_span(&fetch->body, body) : ERR_MALFORMED;
    if (err == ERR_OK && body_type != NULL && !span_copy(span_of(body_type), fetch->body_type, sizeof fetch->body_type))
        err = ERR_INTERNAL;
    if (err == ERR_OK) {
        fetch->deadline = evtimer_new(options->base, on_deadline, fetch);
        fetch->turn = evtimer_new(options->base, on_turn, fetch);
        if (fetch->deadline == NULL || fetch->turn == NULL || evtimer_add(fetch->deadline, &time) != 0)
            err = ERR_MEMORY;
    }
    if (err == ERR_OK)
        err = is_ldap ? ask_directory(fetch, url) : resolve(fetch);
    if (err == ERR_OK)
        *fetch_out = fetch;
    else
        fetch_free(fetch);
    return err;
}

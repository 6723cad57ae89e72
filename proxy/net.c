#include "proxy/net.h"

#include "base/sandbox.h"
#include "mime/charset.h"
#include "proxy/expiry.h"
#include "proxy/net_internal.h"
#include "proxy/owner.h"
#include "proxy/refresh.h"
#include "proxy/state.h"
#include "proxy/views.h"
#include "proxy/wire.h"

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define FILES_MAX 65536
#define HEAP_KEPT (2 << 20)
/* How long nothing is accepted when there is no descriptor or memory for it: the loop would only spin. */
#define ACCEPT_PAUSE_MS 200

struct acceptor {
    struct proxy_net *net;
    const struct config_listener *listener;
    const struct proxy_protocol *protocol;
    struct event *event;
    struct event *resume;
};

static const struct proxy_protocol *const PROTOCOLS[] = {[CONFIG_SMTP] = &proxy_smtp, [CONFIG_IMAP] = &proxy_imap};

struct net_process {
    struct proxy_net net;
    struct acceptor *acceptors;
    size_t acceptors_len;
    struct event *control;
};

/* Under both limits: of all sessions, and of those from the client's address. */
static bool has_room(const struct proxy_net *net, const char *host)
{
    size_t same = 0;
    struct proxy_client *client;
    if (net->clients_len >= net->config->sessions_max)
        return false;
    for (client = TAILQ_FIRST(&net->clients); client != NULL; client = TAILQ_NEXT(client, link))
        same += strcmp(client->host, host) == 0;
    return same < net->config->sessions_per_address;
}

void proxy_client_enter(struct proxy_net *net, struct proxy_client *client, const struct proxy_protocol *protocol,
                        const char *host)
{
    client->protocol = protocol;
    client->net = net;
    snprintf(client->host, sizeof(client->host), "%s", host);
    TAILQ_INSERT_TAIL(&net->clients, client, link);
    net->clients_len++;
}

void proxy_client_leave(struct proxy_client *client)
{
    TAILQ_REMOVE(&client->net->clients, client, link);
    client->net->clients_len--;
}

/* The client's address without its port, in a form to compare and print. */
static void host_of(const struct sockaddr_storage *address, socklen_t len, char host[PROXY_HOST_SIZE])
{
    if (getnameinfo((const struct sockaddr *)address, len, host, PROXY_HOST_SIZE, NULL, 0, NI_NUMERICHOST) != 0)
        host[0] = '\0';
}

/* A word costs nothing and tells the client to come back; a client that does not read it loses only the word. */
static void turn_away(const struct acceptor *acceptor, int client, const char *host)
{
    const char *busy = acceptor->protocol->busy;
    ssize_t sent = acceptor->listener->tls == CONFIG_TLS_IMPLICIT
                       ? 0
                       : send(client, busy, strlen(busy), MSG_DONTWAIT | MSG_NOSIGNAL);
    log_warning("too many sessions; one from %s turned away%s", host, sent < 0 ? " without a word" : "");
    close(client);
}

/* What a failed accept means for the next one. */
static void judge_accept(struct acceptor *acceptor, int reason)
{
    const struct timeval pause = {0, ACCEPT_PAUSE_MS * 1000};
    if (reason == EAGAIN || reason == EINTR || reason == ECONNABORTED)
        return;
    log_warning("accepting a connection: %s", strerror(reason));
    event_del(acceptor->event);
    evtimer_add(acceptor->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *context)
{
    struct acceptor *acceptor = context;
    (void)fd;
    (void)what;
    event_add(acceptor->event, NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *context)
{
    struct acceptor *acceptor = context;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);
        char host[PROXY_HOST_SIZE];
        int client = accept4(fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            judge_accept(acceptor, errno);
            return;
        }
        host_of(&address, len, host);
        if (!has_room(acceptor->net, host)) {
            turn_away(acceptor, client, host);
            continue;
        }
        enum err err = acceptor->protocol->start(acceptor->net, acceptor->listener, client, host);
        if (err != ERR_OK)
            log_failure(err, "a new session");
    }
}

static void stop_accepting(struct net_process *process)
{
    for (size_t i = 0; i < process->acceptors_len; i++) {
        if (process->acceptors[i].event == NULL)
            continue;
        close(event_get_fd(process->acceptors[i].event));
        event_free(process->acceptors[i].event);
        process->acceptors[i].event = NULL;
        if (process->acceptors[i].resume != NULL)
            event_free(process->acceptors[i].resume);
    }
}

static void drain(struct net_process *process)
{
    struct proxy_client *client, *next;
    stop_accepting(process);
    process->net.is_draining = true;
    for (client = TAILQ_FIRST(&process->net.clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        client->protocol->drain(client);
    }
}

static enum err take_message(struct net_process *process, struct ipc_in *in)
{
    struct proxy_net *net = &process->net;
    uint16_t type = ipc_type(in);
    uint32_t account = type == PROXY_NET_KEEPER || type == PROXY_NET_NO_KEEPER ? ipc_get_u32(in) : 0;
    uint32_t pid = type == PROXY_NET_KEEPER ? ipc_get_u32(in) : 0;
    bool has_file = type == PROXY_NET_KEEPER || type == PROXY_NET_VAULT || type == PROXY_NET_FINDER;
    int fd = has_file ? ipc_get_file(in) : -1;
    enum err err = ipc_in_end(in);
    if (err != ERR_OK) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    switch (type) {
    case PROXY_NET_KEEPER:
        proxy_pool_keeper(net->pool, account, pid, fd);
        return ERR_OK;
    case PROXY_NET_NO_KEEPER:
        proxy_pool_no_keeper(net->pool, account);
        return ERR_OK;
    case PROXY_NET_VAULT:
        proxy_pool_renew(net->pool);
        proxy_vaultlink_connect(net->vault, fd);
        return ERR_OK;
    case PROXY_NET_FINDER:
        proxy_pool_renew(net->pool);
        proxy_finderlink_connect(net->finder, fd);
        return ERR_OK;
    case PROXY_NET_DRAIN:
        drain(process);
        return ERR_OK;
    default:
        return ERR_PEER_PROTOCOL;
    }
}

static void on_control(evutil_socket_t fd, short what, void *context)
{
    struct net_process *process = context;
    struct ipc_in in;
    (void)what;
    enum err err = ipc_recv(fd, &in);
    if (err == ERR_OK) {
        err = take_message(process, &in);
        ipc_in_fini(&in);
    }
    if (err == ERR_OK || err == ERR_AGAIN)
        return;
    /* Without the master nothing here can go on. */
    log_failure(err, "the master");
    event_base_loopbreak(process->net.base);
}

/* A vault that died is started again anyway, and handed over then; this is for a line that alone has broken. */
static void on_vault_lost(void *context)
{
    struct proxy_net *net = context;
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_MASTER_NEED_VAULT);
    enum err err = ipc_send(net->master, &out);
    if (err != ERR_OK)
        log_failure(err, "asking for a line to the vault");
}

static void on_words(const char *account, bool is_by_mail, void *context)
{
    struct proxy_net *net = context;
    proxy_ring_words_changed(net->ring, account, is_by_mail);
}

static void on_finder_lost(void *context)
{
    struct proxy_net *net = context;
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_MASTER_NEED_FINDER);
    enum err err = ipc_send(net->master, &out);
    if (err != ERR_OK)
        log_failure(err, "asking for a line to the finder");
}

/* Everything that reads files or asks the system for more than memory: before the sandbox closes. */
static enum err open_all(struct proxy_net *net)
{
    char certificate[CONFIG_PATH_SIZE], key[CONFIG_PATH_SIZE];
    const struct config *config = net->config;
    mime_charset_keep();
    net->base = event_base_new();
    if (net->base == NULL)
        return ERR_MEMORY;
    /* Without a name server in resolv.conf literal addresses and the hosts file still work. */
    net->dns = evdns_base_new(net->base, 0);
    if (net->dns == NULL)
        return ERR_MEMORY;
    if (evdns_base_resolv_conf_parse(net->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf") != 0)
        log_info("no name server is configured");
    enum err err = proxy_state_certificate(config, certificate, key);
    if (err == ERR_OK)
        err = tls_server_new(certificate, key, &net->server_tls);
    net->client_tls = calloc(config->accounts_len + 1, sizeof(SSL_CTX *));
    if (net->client_tls == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; err == ERR_OK && i < config->accounts_len; i++) {
        const struct config_upstream *upstreams = config->accounts[i].upstreams;
        for (int protocol = 0; err == ERR_OK && protocol < CONFIG_PROTOCOL_COUNT; protocol++)
            if (upstreams[protocol].host[0] != '\0' && upstreams[protocol].security != CONFIG_CLEAR &&
                net->client_tls[i] == NULL)
                err = tls_client_new(upstreams[protocol].ca_file[0] == '\0' ? NULL : upstreams[protocol].ca_file,
                                     &net->client_tls[i]);
    }
    if (err == ERR_OK)
        err = proxy_owner_open(&net->diag);
    if (err == ERR_OK)
        err = proxy_ring_new(config, &net->ring);
    return err;
}

static enum err enter_sandbox(const struct config *config)
{
    struct rlimit files;
    struct sandbox_options options = {
        .role = SANDBOX_NET, .user = config->user, .file_size_max = config->message_max * 2};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        options.files_max = files.rlim_max < FILES_MAX ? (uint32_t)files.rlim_max : FILES_MAX;
    return sandbox_enter(&options);
}

static enum err start(struct net_process *process, const struct proxy_sockets *sockets)
{
    struct proxy_net *net = &process->net;
    enum err err = proxy_pool_new(net->base, net->config, net->master, &net->pool);
    if (err == ERR_OK)
        err = proxy_vaultlink_new(net->base, on_vault_lost, net, &net->vault);
    if (err == ERR_OK)
        proxy_vaultlink_on_words(net->vault, on_words, net);
    if (err == ERR_OK)
        err = proxy_finderlink_new(net->base, on_finder_lost, net, &net->finder);
    if (err == ERR_OK)
        err = proxy_lookups_new(net->config, net->pool, net->finder, net->vault, &net->lookups);
    if (err == ERR_OK)
        err = proxy_probe_new(net, &net->probe);
    if (err == ERR_OK)
        err = proxy_views_new(net, &net->views);
    if (err == ERR_OK)
        err = proxy_expiry_new(net, &net->expiry);
    if (err == ERR_OK)
        err = proxy_refresh_new(net, &net->refresh);
    if (err != ERR_OK)
        return err;
    proxy_ring_set_pool(net->ring, net->pool);
    process->acceptors = calloc(sockets->len + 1, sizeof(*process->acceptors));
    process->control = event_new(net->base, net->master, EV_READ | EV_PERSIST, on_control, process);
    if (process->acceptors == NULL || process->control == NULL || event_add(process->control, NULL) != 0)
        return ERR_MEMORY;
    for (size_t i = 0; i < sockets->len; i++) {
        struct acceptor *acceptor = &process->acceptors[process->acceptors_len++];
        const struct config_listener *listener = &net->config->listeners[sockets->items[i].listener];
        *acceptor = (struct acceptor){.net = net, .listener = listener, .protocol = PROTOCOLS[listener->protocol]};
        acceptor->event = event_new(net->base, sockets->items[i].fd, EV_READ | EV_PERSIST, on_accept, acceptor);
        acceptor->resume = evtimer_new(net->base, on_resume, acceptor);
        if (acceptor->event == NULL || acceptor->resume == NULL || event_add(acceptor->event, NULL) != 0)
            return ERR_MEMORY;
    }
    return ERR_OK;
}

static enum err tell_ready(const struct proxy_net *net)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_MASTER_READY);
    return ipc_send(net->master, &out);
}

/* The loop ends when the last session of a draining process has ended. */
static void run(struct proxy_net *net)
{
    while (!(net->is_draining && net->clients_len == 0) && !event_base_got_break(net->base))
        if (event_base_loop(net->base, EVLOOP_ONCE) != 0)
            return;
}

static void close_all(struct net_process *process)
{
    struct proxy_net *net = &process->net;
    stop_accepting(process);
    if (process->control != NULL)
        event_free(process->control);
    while (!TAILQ_EMPTY(&net->clients)) {
        struct proxy_client *client = TAILQ_FIRST(&net->clients);
        client->protocol->free(client);
    }
    /* libevent lets go of a connection's output, and of the views lent to it, only when the loop next turns. */
    if (net->views != NULL)
        (void)event_base_loop(net->base, EVLOOP_NONBLOCK);
    /* Those above may have asked something of those below, and give it up. */
    proxy_views_free(&net->views);
    proxy_refresh_free(&net->refresh);
    proxy_lookups_free(&net->lookups);
    proxy_finderlink_free(&net->finder);
    proxy_vaultlink_free(&net->vault);
    proxy_probe_free(&net->probe);
    proxy_expiry_free(&net->expiry);
    proxy_ring_free(&net->ring);
    proxy_pool_free(&net->pool);
    free(process->acceptors);
    for (size_t i = 0; net->client_tls != NULL && i < net->config->accounts_len; i++)
        SSL_CTX_free(net->client_tls[i]);
    free(net->client_tls);
    SSL_CTX_free(net->server_tls);
    if (net->dns != NULL)
        evdns_base_free(net->dns, 0);
    if (net->base != NULL)
        event_base_free(net->base);
}

int proxy_net_main(const struct config *config, const struct proxy_sockets *sockets, int master)
{
    struct net_process process = {.net = {.config = config, .master = master, .diag = -1}};
    TAILQ_INIT(&process.net.clients);
    log_init("net", config->log_level);
    signal(SIGPIPE, SIG_IGN);
    /* What passes through needs buffers again and again: given back to the kernel and got again each time, they cost as
       much as the copying itself. */
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_KEPT / 2);
    /* A terminal and systemd signal every process; this one ends when the master says so, or is no more. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    enum err err = evutil_make_socket_nonblocking(master) == 0 ? open_all(&process.net) : ERR_IO;
    if (err == ERR_OK)
        err = enter_sandbox(config);
    if (err == ERR_OK)
        err = start(&process, sockets);
    if (err == ERR_OK)
        err = tell_ready(&process.net);
    if (err == ERR_OK)
        run(&process.net);
    else
        log_failure(err, "starting net");
    close_all(&process);
    return err == ERR_OK ? 0 : 3;
}

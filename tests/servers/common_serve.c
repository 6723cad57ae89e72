#include "tests/servers/common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct options {
    int port;
    const char *certificate, *key;
};

struct connection {
    struct server_io io;
    void (*session)(struct server_io *io);
};

void server_fail(const char *what)
{
    fprintf(stderr, "server: %s\n", what);
    exit(2);
}

static int listen_at(int port, int *port_out)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        server_fail("cannot listen");
    *port_out = ntohs(address.sin_port);
    return fd;
}

static SSL_CTX *make_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || certificate == NULL || key == NULL ||
        SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        server_fail("TLS needs --cert and --key");
    return context;
}

static void *serve(void *argument)
{
    struct connection *connection = argument;
    connection->session(&connection->io);
    if (connection->io.ssl != NULL)
        SSL_free(connection->io.ssl);
    close(connection->io.fd);
    free(connection);
    return NULL;
}

_Noreturn static void accept_forever(struct server *server, int listener, const struct server_kind *kind)
{
    const int yes = 1;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            server_fail("accept");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        struct connection *connection = calloc(1, sizeof(*connection));
        pthread_t thread;
        if (connection == NULL)
            server_fail("memory");
        connection->io.server = server;
        connection->io.fd = fd;
        connection->session = kind->session;
        if (pthread_create(&thread, NULL, serve, connection) != 0)
            server_fail("thread");
        pthread_detach(thread);
    }
}

static const char USAGE[] =
    "usage: [--port N] [--tls none|starttls|implicit --cert FILE --key FILE] [--auth MECHANISMS --user NAME\n"
    "       --password TEXT] [--store DIR] [--wire FILE] [--faults FILE]";

/* Takes an option that all servers have; false if it is none. */
static bool take_option(struct server *server, const char *name, const char *value, struct options *options)
{
    if (strcmp(name, "--port") == 0)
        options->port = (int)strtol(value, NULL, 10);
    else if (strcmp(name, "--tls") == 0)
        server->tls = strcmp(value, "implicit") == 0   ? SERVER_IMPLICIT
                      : strcmp(value, "starttls") == 0 ? SERVER_STARTTLS
                                                       : SERVER_CLEAR;
    else if (strcmp(name, "--cert") == 0)
        options->certificate = value;
    else if (strcmp(name, "--key") == 0)
        options->key = value;
    else if (strcmp(name, "--auth") == 0)
        server->mechanisms = value;
    else if (strcmp(name, "--user") == 0)
        server->user = value;
    else if (strcmp(name, "--password") == 0)
        server->password = value;
    else if (strcmp(name, "--store") == 0)
        server->store = value;
    else if (strcmp(name, "--faults") == 0)
        server->faults = value;
    else if (strcmp(name, "--wire") == 0) {
        server->wire = fopen(value, "wbe");
        if (server->wire == NULL)
            server_fail("cannot write the wire file");
    } else
        return false;
    return true;
}

void server_run(struct server *server, int argc, char **argv, const struct server_kind *kind)
{
    struct options options = {0};
    int count = 0;
    for (int i = 1; i < argc; i += count) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        count = kind->take_option(server, argv[i], value);
        if (count == 0 && value != NULL && take_option(server, argv[i], value, &options))
            count = 2;
        if (count == 0) {
            fprintf(stderr, "%s\n       %s\n", USAGE, kind->usage);
            exit(2);
        }
    }
    signal(SIGPIPE, SIG_IGN);
    /* A test that is killed takes its server with it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_mutex_init(&server->lock, NULL);
    if (server->tls != SERVER_CLEAR)
        server->context = make_context(options.certificate, options.key);
    if (kind->start != NULL)
        kind->start(server);
    int listener = listen_at(options.port, &options.port);
    printf("ready %d\n", options.port);
    fflush(stdout);
    accept_forever(server, listener, kind);
}

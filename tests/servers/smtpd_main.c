#include "tests/servers/smtpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
    fprintf(stderr, "smtpd: %s\n", what);
    exit(2);
}

static int listen_at(const char *host, int port, int *port_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof(address);
    const int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        fail("cannot listen");
    *port_out = ntohs(address.sin_port);
    return fd;
}

static SSL_CTX *make_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || certificate == NULL || key == NULL ||
        SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        fail("TLS needs --cert and --key");
    return context;
}

static void *serve(void *argument)
{
    struct smtpd_io *io = argument;
    smtpd_session(io);
    if (io->ssl != NULL)
        SSL_free(io->ssl);
    close(io->fd);
    free(io);
    return NULL;
}

static void accept_forever(struct smtpd *server, int listener)
{
    const int yes = 1;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            fail("accept");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        struct smtpd_io *io = calloc(1, sizeof(*io));
        pthread_t thread;
        if (io == NULL)
            fail("memory");
        io->server = server;
        io->fd = fd;
        if (pthread_create(&thread, NULL, serve, io) != 0)
            fail("thread");
        pthread_detach(thread);
    }
}

static const char USAGE[] =
    "usage: smtpd [--port N] [--tls none|starttls|implicit --cert FILE --key FILE] [--features WORDS]\n"
    "             [--auth MECHANISMS --user NAME --password TEXT] [--store DIR] [--wire FILE] [--faults FILE] "
    "[--lenient]\n";

static void take_option(struct smtpd *server, int option, int *port, const char **certificate, const char **key)
{
    switch (option) {
    case 'p':
        *port = (int)strtol(optarg, NULL, 10);
        break;
    case 't':
        server->tls = strcmp(optarg, "implicit") == 0   ? SMTPD_IMPLICIT
                      : strcmp(optarg, "starttls") == 0 ? SMTPD_STARTTLS
                                                        : SMTPD_CLEAR;
        break;
    case 'c':
        *certificate = optarg;
        break;
    case 'k':
        *key = optarg;
        break;
    case 'f':
        server->features = optarg;
        break;
    case 'a':
        server->mechanisms = optarg;
        break;
    case 'u':
        server->user = optarg;
        break;
    case 'w':
        server->password = optarg;
        break;
    case 's':
        server->store = optarg;
        break;
    case 'W':
        server->wire = fopen(optarg, "wb");
        if (server->wire == NULL)
            fail("cannot write the wire file");
        break;
    case 'F':
        server->faults = optarg;
        break;
    case 'l':
        server->is_lenient = true;
        break;
    default:
        fputs(USAGE, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},     {"tls", 1, NULL, 't'},  {"cert", 1, NULL, 'c'},   {"key", 1, NULL, 'k'},
        {"features", 1, NULL, 'f'}, {"auth", 1, NULL, 'a'}, {"user", 1, NULL, 'u'},   {"password", 1, NULL, 'w'},
        {"store", 1, NULL, 's'},    {"wire", 1, NULL, 'W'}, {"faults", 1, NULL, 'F'}, {"lenient", 0, NULL, 'l'},
        {NULL, 0, NULL, 0}};
    static struct smtpd server = {.features = "PIPELINING,SIZE=104857600,8BITMIME,ENHANCEDSTATUSCODES,DSN,SMTPUTF8",
                                  .user = "alice",
                                  .password = "secret"};
    const char *certificate = NULL, *key = NULL;
    int port = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        take_option(&server, option, &port, &certificate, &key);
    signal(SIGPIPE, SIG_IGN);
    /* A test that is killed takes its server with it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_mutex_init(&server.lock, NULL);
    if (server.tls != SMTPD_CLEAR)
        server.context = make_context(certificate, key);
    int listener = listen_at("127.0.0.1", port, &port);
    printf("ready %d\n", port);
    fflush(stdout);
    accept_forever(&server, listener);
}

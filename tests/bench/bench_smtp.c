/*
 * A mail program in a hurry: many SMTP sessions at once, each in a thread of its own, that wait for every reply.
 *
 * Usage: bench_smtp send PORT SESSIONS SECONDS MESSAGE FROM TO SERVER_PORT
 *        bench_smtp once PORT MESSAGE FROM TO
 *        bench_smtp idle PORT SESSIONS clear|tls
 * `send` prints, in JSON, the messages a second and the delay of a NOOP sent every few milliseconds in a session beside
 * them, and likewise of one sent to the server at SERVER_PORT: what of the delay is the machine's; `idle` logs in,
 * prints "ready", and keeps the sessions until its input ends. Any reply other than the one expected ends the program
 * with 2.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signal.h>
#include <time.h>
#include <unistd.h>

#define SESSIONS_MAX 4000
#define NOOPS_MAX 100000
#define NOOP_PAUSE_NS 3000000
#define WARM_S 0.7
/* AUTH PLAIN of alice, secret: what the harness of the tests gives every server. */
#define LOG_IN "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"

struct session {
    int fd;
    SSL *ssl;
    char line[4096];
    size_t len;
    size_t at;
};

/* What all threads of one run share. */
struct run {
    int port;
    const char *from, *to;
    char *message; /* with dots doubled and the end of data */
    size_t message_len;
    double counts_from, until;
    atomic_ulong sent;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_smtp: %s: %s\n", what, why);
    exit(2);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void put(struct session *session, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t piece = len < 1u << 20 ? len : 1u << 20;
        ssize_t count =
            session->ssl != NULL ? SSL_write(session->ssl, bytes, (int)piece) : write(session->fd, bytes, piece);
        if (count <= 0)
            fail("writing", strerror(errno));
        bytes += count;
        len -= (size_t)count;
    }
}

static void fill(struct session *session)
{
    ssize_t count = session->ssl != NULL ? SSL_read(session->ssl, session->line, sizeof(session->line) - 1)
                                         : read(session->fd, session->line, sizeof(session->line) - 1);
    if (count <= 0)
        fail("reading", "the server has gone");
    session->at = 0;
    session->len = (size_t)count;
}

static void get_line(struct session *session, char *line, size_t size)
{
    size_t len = 0;
    do {
        if (session->at == session->len)
            fill(session);
        if (len + 1 == size)
            fail("reading", "a long line");
        line[len++] = session->line[session->at++];
    } while (line[len - 1] != '\n');
    line[len] = '\0';
}

/* Reads a reply to its last line; its code must begin as `expected` does. */
static void expect(struct session *session, const char *expected)
{
    char line[1024];
    do
        get_line(session, line, sizeof(line));
    while (strlen(line) > 3 && line[3] == '-');
    if (strncmp(line, expected, strlen(expected)) != 0)
        fail("reply", line);
}

static void say(struct session *session, const char *command, const char *expected)
{
    put(session, command, strlen(command));
    expect(session, expected);
}

static void open_session(struct session *session, int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int yes = 1;
    *session = (struct session){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (session->fd < 0 || connect(session->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        fail("connecting", strerror(errno));
    setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    expect(session, "220");
    say(session, "EHLO client.example\r\n", "250");
}

static void start_tls(struct session *session, SSL_CTX *context)
{
    say(session, "STARTTLS\r\n", "220");
    session->ssl = SSL_new(context);
    if (session->ssl == NULL || SSL_set_fd(session->ssl, session->fd) != 1 || SSL_connect(session->ssl) != 1)
        fail("STARTTLS", "no handshake");
    say(session, "EHLO client.example\r\n", "250");
}

static void send_message(struct session *session, const struct run *run)
{
    char command[512];
    snprintf(command, sizeof(command), "MAIL FROM:<%s>\r\n", run->from);
    say(session, command, "250");
    snprintf(command, sizeof(command), "RCPT TO:<%s>\r\n", run->to);
    say(session, command, "250");
    say(session, "DATA\r\n", "354");
    put(session, run->message, run->message_len);
    expect(session, "250");
}

static void *send_many(void *context)
{
    struct run *run = context;
    struct session session;
    open_session(&session, run->port);
    say(&session, LOG_IN, "235");
    while (now() < run->until) {
        send_message(&session, run);
        double at = now();
        if (at >= run->counts_from && at < run->until)
            atomic_fetch_add(&run->sent, 1);
    }
    say(&session, "QUIT\r\n", "221");
    close(session.fd);
    return NULL;
}

/* Doubles the dots that begin a line, and ends the data. */
static void read_message(struct run *run, const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = file != NULL && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    run->message = size > 0 ? malloc((size_t)size * 2 + 8) : NULL;
    if (text == NULL || run->message == NULL || fseek(file, 0, SEEK_SET) != 0 ||
        fread(text, 1, (size_t)size, file) != (size_t)size)
        fail("reading the message", path);
    for (long i = 0; i < size; i++) {
        if (text[i] == '.' && (i == 0 || text[i - 1] == '\n'))
            run->message[run->message_len++] = '.';
        run->message[run->message_len++] = text[i];
    }
    memcpy(run->message + run->message_len, ".\r\n", 3);
    run->message_len += 3;
    free(text);
    fclose(file);
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

struct delays {
    double ms[NOOPS_MAX];
    size_t len;
};

static void measure_noop(struct session *session, double counts_from, struct delays *delays)
{
    double began = now();
    say(session, "NOOP\r\n", "250");
    if (began >= counts_from && delays->len < NOOPS_MAX)
        delays->ms[delays->len++] = (now() - began) * 1000;
}

/* Sends NOOPs in turns to both while the others are at it. */
static void measure_noops(const struct run *run, int server_port, struct delays *ours, struct delays *servers)
{
    const struct timespec pause = {0, NOOP_PAUSE_NS};
    struct session proxy, server;
    open_session(&proxy, run->port);
    open_session(&server, server_port);
    say(&proxy, LOG_IN, "235");
    say(&server, LOG_IN, "235");
    while (now() < run->until) {
        measure_noop(&proxy, run->counts_from, ours);
        measure_noop(&server, run->counts_from, servers);
        nanosleep(&pause, NULL);
    }
    close(proxy.fd);
    close(server.fd);
}

/* The delay that `percent` of all did not exceed. */
static double percentile(struct delays *delays, size_t percent)
{
    if (delays->len == 0)
        fail("NOOP", "none was answered in time");
    qsort(delays->ms, delays->len, sizeof(*delays->ms), compare);
    return delays->ms[(delays->len - 1) * percent / 100];
}

static int send_for(struct run *run, long sessions, double seconds, int server_port)
{
    static struct delays ours, servers;
    static pthread_t threads[SESSIONS_MAX];
    run->counts_from = now() + WARM_S;
    run->until = run->counts_from + seconds;
    for (long i = 0; i < sessions; i++)
        if (pthread_create(&threads[i], NULL, send_many, run) != 0)
            fail("thread", strerror(errno));
    measure_noops(run, server_port, &ours, &servers);
    for (long i = 0; i < sessions; i++)
        pthread_join(threads[i], NULL);
    printf("{\"rate\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"server_p50_ms\": %.3f, \"server_p99_ms\": %.3f}\n",
           (double)atomic_load(&run->sent) / seconds, percentile(&ours, 50), percentile(&ours, 99),
           percentile(&servers, 50), percentile(&servers, 99));
    return 0;
}

static int send_once(struct run *run)
{
    struct session session;
    open_session(&session, run->port);
    say(&session, LOG_IN, "235");
    send_message(&session, run);
    say(&session, "QUIT\r\n", "221");
    return 0;
}

static int stay_idle(int port, long sessions, bool has_tls)
{
    static struct session all[SESSIONS_MAX];
    /* Whose certificate it is makes no difference to memory. */
    SSL_CTX *context = has_tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    char end;
    for (long i = 0; i < sessions; i++) {
        open_session(&all[i], port);
        if (has_tls)
            start_tls(&all[i], context);
        say(&all[i], LOG_IN, "235");
    }
    printf("ready\n");
    fflush(stdout);
    while (read(STDIN_FILENO, &end, 1) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    static struct run run;
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    run.port = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    long sessions = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    if (argc == 9 && strcmp(argv[1], "send") == 0 && sessions > 0 && sessions <= SESSIONS_MAX) {
        read_message(&run, argv[5]);
        run.from = argv[6];
        run.to = argv[7];
        return send_for(&run, sessions, strtod(argv[4], NULL), (int)strtol(argv[8], NULL, 10));
    }
    if (argc == 6 && strcmp(argv[1], "once") == 0) {
        read_message(&run, argv[3]);
        run.from = argv[4];
        run.to = argv[5];
        return send_once(&run);
    }
    if (argc == 5 && strcmp(argv[1], "idle") == 0 && sessions > 0 && sessions <= SESSIONS_MAX)
        return stay_idle(run.port, sessions, strcmp(argv[4], "tls") == 0);
    fputs("usage: bench_smtp send|once|idle PORT ...\n", stderr);
    return 2;
}
